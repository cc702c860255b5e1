//! What the blocks of one piece lead up to (BEP 52).

use crate::BLOCK_LENGTH;
use crate::merkle::{self, MerkleHash};

/// The part of a file's hash tree that is above one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceTree {
    /// The node above all of the piece's blocks.
    pub root: MerkleHash,
    /// The layer that it is in; the blocks' hashes are layer 0.
    pub top: u32,
    /// Bytes of the file in the piece. What is behind them, in a hybrid, is padding: zeros that no
    /// leaf covers.
    pub bytes: u32,
}

impl PieceTree {
    /// Blocks that have a leaf.
    pub fn leaf_count(&self) -> u32 {
        self.bytes.div_ceil(BLOCK_LENGTH)
    }

    /// Bytes of a block that its leaf covers; none where there is no leaf.
    pub fn leaf_bytes(&self, block: u32) -> u32 {
        let before = u64::from(block).saturating_mul(u64::from(BLOCK_LENGTH));
        u64::from(self.bytes).saturating_sub(before).min(u64::from(BLOCK_LENGTH)) as u32
    }

    /// Whether these are all of the piece's leaves.
    pub fn is_over(&self, leaves: &[MerkleHash]) -> bool {
        leaves.len() as u64 == u64::from(self.leaf_count())
            && merkle::root(leaves, 0, self.top) == self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_of_the_files_bytes_alone() {
        let leaves: Vec<_> = [&[1; BLOCK_LENGTH as usize][..], &[2; 100]].map(merkle::leaf).into();
        let root = merkle::root(&leaves, 0, 2);
        let tree = PieceTree { root, top: 2, bytes: BLOCK_LENGTH + 100 };
        assert_eq!(tree.leaf_count(), 2);
        assert_eq!([0, 1, 2, u32::MAX].map(|n| tree.leaf_bytes(n)), [BLOCK_LENGTH, 100, 0, 0]);
        assert!(tree.is_over(&leaves));
        assert!(!tree.is_over(&leaves[..1]) && !tree.is_over(&[leaves[1], leaves[0]]));
        assert!(!tree.is_over(&[leaves[0], leaves[1], [0; 32]]), "padding is not given");
    }
}
