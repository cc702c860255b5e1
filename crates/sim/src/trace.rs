//! A running hash of everything that happens, in order: equal hashes are equal runs, on any
//! machine. FNV-1a, because it is a few lines and never changes.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Hashes events as they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Trace {
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// Adds a number, as a whole: the trace of a large run is long.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(PRIME).rotate_left(29);
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_hash_as_the_algorithm_says() {
        let mut trace = Trace::default();
        trace.bytes(b"foobar");
        assert_eq!(trace.hash(), 0x8594_4171_f739_67e8, "a published value of FNV-1a");
    }

    #[test]
    fn order_matters() {
        let of = |numbers: [u64; 2]| {
            let mut trace = Trace::default();
            numbers.iter().for_each(|number| trace.number(*number));
            trace.hash()
        };
        assert_ne!(of([1, 2]), of([2, 1]));
    }
}
