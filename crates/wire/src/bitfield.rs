//! A set of pieces, in memory as on the wire: most significant bit first, spare bits zero (BEP 3).

use metainfo::PieceIndex;

/// Why received bytes are not a bitfield of this torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitfieldError {
    /// Not `piece_count.div_ceil(8)` bytes.
    #[error("a bitfield of {got} bytes where {expected} belong")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes that belong.
        expected: usize,
    },
    /// A bit past the last piece is set.
    #[error("a bitfield with spare bits set")]
    SpareBits,
}

/// A set of pieces of a torrent with a fixed number of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitfield {
    words: Vec<u64>, // big-endian bit order: piece 0 is the top bit of words[0]
    length: u32,
    count: u32,
}

impl Bitfield {
    /// No pieces out of `length`.
    pub fn new(length: u32) -> Self {
        Self { words: vec![0; length.div_ceil(64) as usize], length, count: 0 }
    }

    /// All of `length` pieces.
    pub fn full(length: u32) -> Self {
        let mut set =
            Self { words: vec![u64::MAX; length.div_ceil(64) as usize], length, count: length };
        if let (Some(last), true) = (set.words.last_mut(), !length.is_multiple_of(64)) {
            *last = !(u64::MAX >> (length % 64));
        }
        set
    }

    /// From a `bitfield` message's body.
    pub fn from_wire(bytes: &[u8], length: u32) -> Result<Self, BitfieldError> {
        let expected = length.div_ceil(8) as usize;
        if bytes.len() != expected {
            return Err(BitfieldError::Length { got: bytes.len(), expected });
        }
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
                u64::from_be_bytes(word)
            })
            .collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        let spare = words.last().is_some_and(|last| {
            let used = length % 64;
            used != 0 && last << used != 0
        });
        if spare {
            return Err(BitfieldError::SpareBits);
        }
        Ok(Self { words, length, count })
    }

    /// The body of a `bitfield` message.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(self.length.div_ceil(8) as usize);
        bytes
    }

    /// Number of pieces of the torrent.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Whether the torrent has no pieces at all.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Pieces in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.length
    }

    /// Whether `piece` is in the set; false past the end.
    pub fn has(&self, piece: PieceIndex) -> bool {
        piece < self.length
            && self.words.get(piece as usize / 64).is_some_and(|word| word & mask(piece) != 0)
    }

    /// Puts `piece` in; true when it was not there before. Past the end: false.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece >= self.length || self.has(piece) {
            return false;
        }
        if let Some(word) = self.words.get_mut(piece as usize / 64) {
            *word |= mask(piece);
            self.count = self.count.saturating_add(1);
        }
        true
    }

    /// Takes `piece` out; true when it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.has(piece) {
            return false;
        }
        if let Some(word) = self.words.get_mut(piece as usize / 64) {
            *word &= !mask(piece);
            self.count = self.count.saturating_sub(1);
        }
        true
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.words.iter().zip((0u32..).step_by(64)).flat_map(|(word, base)| ones(*word, base))
    }

    /// The pieces in both sets: in order from `first` on, then those before it. What is in neither
    /// costs a sixty-fourth of a step.
    pub fn common_from<'a>(
        &'a self,
        other: &'a Self,
        first: PieceIndex,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let word = move |at: u32, keep: u64| {
            let at_both = |set: &Self| set.words.get(at as usize).copied().unwrap_or_default();
            ones(at_both(self) & at_both(other) & keep, at.saturating_mul(64))
        };
        let (split, from) = (first / 64, u64::MAX >> (first % 64));
        let after = (split.saturating_add(1)..self.length.div_ceil(64)).chain(0..split);
        word(split, from)
            .chain(after.flat_map(move |at| word(at, u64::MAX)))
            .chain(word(split, !from))
    }
}

/// The pieces whose bits a word has.
fn ones(mut left: u64, base: PieceIndex) -> impl Iterator<Item = PieceIndex> {
    std::iter::from_fn(move || {
        let bit = left.leading_zeros();
        if bit == 64 {
            return None;
        }
        left &= !(TOP >> bit);
        Some(base.saturating_add(bit))
    })
}

/// The bit of a word's first piece.
const TOP: u64 = 1 << 63;

fn mask(piece: PieceIndex) -> u64 {
    TOP >> (piece % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_order_is_most_significant_bit_first() {
        let mut set = Bitfield::new(10);
        assert!(set.insert(0));
        assert!(set.insert(9));
        assert!(!set.insert(9));
        assert!(!set.insert(10));
        assert_eq!(set.to_wire(), [0x80, 0x40]);
        assert_eq!(Bitfield::from_wire(&[0x80, 0x40], 10), Ok(set));
    }

    #[test]
    fn refuses_spare_bits_and_wrong_lengths() {
        assert_eq!(Bitfield::from_wire(&[0, 0x20], 10), Err(BitfieldError::SpareBits));
        assert!(matches!(Bitfield::from_wire(&[0], 10), Err(BitfieldError::Length { .. })));
        assert!(Bitfield::from_wire(&[0xff; 8], 64).unwrap().is_full());
        assert!(Bitfield::from_wire(&[], 0).unwrap().is_full());
    }

    #[test]
    fn full_has_every_piece_and_no_more() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let set = Bitfield::full(length);
            assert_eq!(set.iter().collect::<Vec<_>>(), (0..length).collect::<Vec<_>>());
            assert_eq!(Bitfield::from_wire(&set.to_wire(), length), Ok(set));
        }
    }

    #[test]
    fn what_two_sets_share_comes_from_anywhere_on_and_once_round() {
        let (mut thirds, mut halves) = (Bitfield::new(200), Bitfield::new(200));
        (0..200).step_by(3).for_each(|piece| assert!(thirds.insert(piece)));
        (0..200).step_by(2).for_each(|piece| assert!(halves.insert(piece)));
        for first in [0, 1, 63, 64, 66, 127, 150, 199] {
            let sixths = || (0..200).step_by(6);
            let expected = sixths().filter(|p| *p >= first).chain(sixths().filter(|p| *p < first));
            assert!(thirds.common_from(&halves, first).eq(expected), "{first}");
        }
        assert_eq!(thirds.common_from(&Bitfield::new(200), 5).next(), None);
    }

    #[test]
    fn remove_counts_down_once() {
        let mut set = Bitfield::full(70);
        assert!(set.remove(69));
        assert!(!set.remove(69));
        assert_eq!((set.count(), set.has(69)), (69, false));
    }
}
