//! Which hashes of a file's merkle tree are asked for, refused or sent (BEP 52).
//!
//! A tree has a leaf for each 16 KiB block of its file, filled up to a power of two. Layers are
//! counted from the leaves, which are layer 0, up to the root.

/// Hashes asked for at once, at most: what the clients in use serve.
pub const HASHES_MAX: u32 = 8192;
/// Hashes of other branches that a proof has at most: one a layer, and no file has 2^48 blocks.
const UNCLES_MAX: u32 = 48;
/// Bytes of one hash.
const HASH_BYTES: u32 = 32;
/// Bytes of a request: root and four numbers.
pub(crate) const REQUEST_BYTES: u32 = 48;
/// Bytes of the longest `hashes` body.
pub(crate) const HASHES_BYTES_MAX: u32 =
    REQUEST_BYTES.saturating_add(HASHES_MAX.saturating_add(UNCLES_MAX).saturating_mul(HASH_BYTES));

/// A run of hashes within one layer, and how much of a proof: what `hash request`, `hashes` and
/// `hash reject` name. Unchecked as it comes from the wire; see [`Self::is_sound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HashRequest {
    /// The root of the file's tree, which names the file.
    pub root: [u8; 32],
    /// The layer that the run is of; 0 has the leaves.
    pub base_layer: u32,
    /// The first hash's number in it.
    pub index: u32,
    /// How many hashes.
    pub length: u32,
    /// Layers above the base for which the proof is wanted. Those that can be computed from the
    /// run itself count, but nothing is sent for them.
    pub proof_layers: u32,
}

impl HashRequest {
    /// Whether it may be asked of a file whose tree has `layers` layers above its leaves: a run of
    /// two or more, a power of two, on a boundary of its own length, inside the tree, with a proof
    /// that ends below the root.
    pub fn is_sound(&self, layers: u32) -> bool {
        let Some(above) = layers.checked_sub(self.base_layer) else { return false };
        let width = 1_u64.checked_shl(above).unwrap_or(0);
        self.length >= 2
            && self.length <= HASHES_MAX
            && self.length.is_power_of_two()
            && self.index.is_multiple_of(self.length)
            && u64::from(self.index).saturating_add(u64::from(self.length)) <= width
            && self.proof_layers < above
    }

    /// Hashes of other branches that the answer has behind the run: one for each proof layer that
    /// can't be computed from it.
    pub fn uncles(&self) -> u32 {
        let computed = self.length.checked_ilog2().unwrap_or(0).saturating_sub(1);
        self.proof_layers.saturating_sub(computed)
    }

    pub(crate) fn from_wire(body: &[u8]) -> Option<(Self, &[u8])> {
        let (root, rest) = body.split_first_chunk::<32>()?;
        let (numbers, rest) = rest.split_first_chunk::<16>()?;
        let mut numbers = numbers.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
        let mut next = || numbers.next().unwrap_or_default();
        let (base_layer, index, length, proof_layers) = (next(), next(), next(), next());
        Some((Self { root: *root, base_layer, index, length, proof_layers }, rest))
    }

    pub(crate) fn to_wire(self) -> [u8; REQUEST_BYTES as usize] {
        let mut bytes = [0; REQUEST_BYTES as usize];
        let numbers = [self.base_layer, self.index, self.length, self.proof_layers];
        let numbers = numbers.map(u32::to_be_bytes);
        let parts = self.root.iter().chain(numbers.as_flattened());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(base_layer: u32, index: u32, length: u32, proof_layers: u32) -> HashRequest {
        HashRequest { root: [7; 32], base_layer, index, length, proof_layers }
    }

    #[test]
    fn what_lies_in_the_tree_and_on_its_boundary_is_sound() {
        // 16 leaves.
        for request in
            [of(0, 0, 2, 0), of(0, 14, 2, 3), of(0, 0, 16, 3), of(2, 0, 4, 1), of(3, 0, 2, 0)]
        {
            assert!(request.is_sound(4), "{request:?}");
        }
        for request in [
            of(0, 0, 1, 0),            // one hash has no parent
            of(0, 0, 3, 0),            // not a power of two
            of(0, 1, 2, 0),            // off its boundary
            of(0, 16, 2, 0),           // past the end
            of(0, 0, 32, 0),           // longer than the layer
            of(0, 0, 2, 4),            // a proof beyond the root
            of(4, 0, 2, 0),            // the root is no layer
            of(5, 0, 2, 0),            // nor what is above it
            of(0, u32::MAX - 1, 2, 0), // far out
            of(u32::MAX, 0, 2, 0),     // so far up
            of(0, 0, 1 << 31, 0),      // more than anybody serves
            of(0, 0, 2, u32::MAX),     // no tree is so high
        ] {
            assert!(!request.is_sound(4), "{request:?}");
        }
        assert!(!of(0, 0, HASHES_MAX * 2, 0).is_sound(40));
        assert!(!of(0, 0, 2, 0).is_sound(0), "a file of one block has no hashes but its root");
    }

    #[test]
    fn what_the_run_covers_needs_no_uncle() {
        assert_eq!(of(0, 0, 2, 0).uncles(), 0);
        assert_eq!(of(0, 0, 2, 3).uncles(), 3);
        assert_eq!(of(0, 0, 8, 3).uncles(), 1);
        assert_eq!(of(0, 0, 16, 3).uncles(), 0);
        assert_eq!(of(0, 0, 0, u32::MAX).uncles(), u32::MAX, "whatever it says");
    }
}
