//! Finds a mark behind padding of unknown length, and never looks further than it may be.

use super::{MseError, PAD_MAX};

/// The search for one mark of `N` bytes.
pub(super) struct Scan<const N: usize> {
    mark: [u8; N],
    /// The last bytes that came.
    tail: [u8; N],
    passed: usize,
}

impl<const N: usize> Scan<N> {
    pub(super) fn new(mark: [u8; N]) -> Self {
        Self { mark, tail: [0; N], passed: 0 }
    }

    /// True when the mark ends with this byte.
    ///
    /// # Errors
    /// [`MseError::NoMark`] when it can't come any more.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, MseError> {
        self.tail.rotate_left(1);
        self.tail.last_mut().into_iter().for_each(|last| *last = byte);
        self.passed = self.passed.saturating_add(1);
        if self.ends_with(N) {
            return Ok(true);
        }
        if self.passed >= PAD_MAX.saturating_add(N) { Err(MseError::NoMark) } else { Ok(false) }
    }

    /// As many bytes have to come at least until the mark is whole.
    pub(super) fn need(&self) -> usize {
        let begun = (1..N).rev().find(|length| self.ends_with(*length)).unwrap_or(0);
        N.saturating_sub(begun)
    }

    /// Whether what came ends with so many bytes of the mark's front.
    fn ends_with(&self, length: usize) -> bool {
        let tail = self.tail.get(N.saturating_sub(length)..);
        self.passed >= length && tail == self.mark.get(..length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the mark ends, and that no byte behind it was ever needed.
    fn find(mark: [u8; 4], stream: &[u8]) -> Result<usize, MseError> {
        let mut scan = Scan::new(mark);
        for (at, byte) in stream.iter().enumerate() {
            assert!(at + scan.need() <= stream.len().max(PAD_MAX + 4));
            if scan.push(*byte)? {
                return Ok(at + 1);
            }
        }
        panic!("the stream ended within the search");
    }

    #[test]
    fn finds_it_at_the_first_and_at_the_last_place() {
        for pad in [0, 1, 3, 4, 511, PAD_MAX] {
            let stream = [vec![9; pad], vec![1, 2, 3, 4]].concat();
            assert_eq!(find([1, 2, 3, 4], &stream), Ok(pad + 4));
        }
        let stream = [vec![9; PAD_MAX + 1], vec![1, 2, 3, 4]].concat();
        assert_eq!(find([1, 2, 3, 4], &stream), Err(MseError::NoMark));
    }

    #[test]
    fn a_false_start_hides_nothing() {
        assert_eq!(find([1, 1, 1, 2], &[1, 1, 1, 1, 1, 2]), Ok(6));
        assert_eq!(find([1, 2, 1, 3], &[1, 2, 1, 2, 1, 3]), Ok(6));
        assert_eq!(find([0; 4], &[0; 4]), Ok(4), "zeros that never came don't count");
    }

    #[test]
    fn needs_as_little_as_the_mark_lacks() {
        let mut scan = Scan::new([1, 2, 1, 3]);
        let needs: Vec<usize> =
            [1, 2, 1, 2, 1, 9].map(|byte| scan.push(byte).map(|_| scan.need()).unwrap()).to_vec();
        assert_eq!(needs, [3, 2, 1, 2, 1, 4]);
    }
}
