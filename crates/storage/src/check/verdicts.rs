//! Whether pieces have the hashes that the torrent says: v1, v2, or both of a hybrid (BEP 52).

use std::sync::OnceLock;

use digest::Sha1Digest;
use metainfo::merkle::MerkleHash;
use metainfo::{BLOCK_LENGTH, PieceIndex, PieceTree};

use super::Check;
use crate::pools::leaves_of;

impl Check<'_> {
    /// Whether nothing but zeros is what the piece's tree is over; `None` when it has no tree.
    pub(super) fn is_tree_of_zeros(&self, piece: PieceIndex) -> Option<bool> {
        static BLOCK: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];
        static LEAF: OnceLock<MerkleHash> = OnceLock::new();
        let tree = self.store.piece_tree(piece)?;
        let whole = *LEAF.get_or_init(|| digest::sha256(&[&BLOCK]));
        let leaf = |block| match tree.leaf_bytes(block) {
            BLOCK_LENGTH => whole,
            bytes => digest::sha256(&[BLOCK.get(..bytes as usize).unwrap_or_default()]),
        };
        let leaves: Vec<MerkleHash> = (0..tree.leaf_count()).map(leaf).collect();
        Some(tree.is_over(&leaves))
    }

    /// Which of these pieces have all the hashes that they should have, and one at least.
    pub(super) fn verify(&self, start: PieceIndex, pieces: &[[&[u8]; 1]]) -> Vec<bool> {
        let info = self.store.info();
        let v1: Vec<Sha1Digest> = if info.has_v1() {
            let messages: Vec<&[&[u8]]> = pieces.iter().map(|piece| &piece[..]).collect();
            digest::sha1_batch(&messages)
        } else {
            Vec::new()
        };
        let verdict = |(number, (piece, [bytes])): (usize, (PieceIndex, &[&[u8]; 1]))| {
            let tree = self.store.piece_tree(piece).map(|tree| fits(&tree, bytes));
            let hash = v1.get(number).map(|hash| info.piece_hash(piece) == Some(*hash));
            hash.or(tree) == Some(true) && tree != Some(false)
        };
        (start..).zip(pieces).enumerate().map(verdict).collect()
    }
}

/// Whether a piece's bytes are what its tree is over.
fn fits(tree: &PieceTree, bytes: &[u8]) -> bool {
    let covered = bytes.get(..tree.bytes as usize);
    covered.is_some_and(|covered| tree.is_over(&leaves_of(covered)))
}
