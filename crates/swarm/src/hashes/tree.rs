//! Where the pieces of a file are in its merkle tree, and runs of hashes put together from parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use metainfo::PieceIndex;
use metainfo::merkle::{self, MerkleHash};

/// A file that has a merkle tree: every file with bytes of a v2 torrent or a hybrid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The root, from the metadata.
    pub root: MerkleHash,
    /// Bytes of the file, not zero.
    pub length: u64,
    /// The piece that it begins with.
    pub first_piece: PieceIndex,
    /// A hash for each piece, proved by the root. `None` when it is not known yet. That of a file
    /// of one piece is not looked at: its root says the same.
    pub layer: Option<Arc<[MerkleHash]>>,
}

impl Tree {
    /// Leaves, padding apart.
    pub(super) fn leaves(&self) -> u64 {
        merkle::leaf_count(self.length)
    }

    /// The root's layer.
    pub(super) fn height(&self) -> u32 {
        merkle::height(self.leaves())
    }

    pub(super) fn piece_count(&self, piece_length: u32) -> u32 {
        self.length.div_ceil(u64::from(piece_length.max(1))) as u32
    }

    /// The layer of the nodes that are each above one piece.
    pub(super) fn piece_top(&self, piece_length: u32) -> u32 {
        merkle::piece_layer(piece_length).min(self.height())
    }

    /// Bytes of the file in a piece, by its number within the file.
    pub(super) fn piece_bytes(&self, number: u32, piece_length: u32) -> u32 {
        let before = u64::from(number).saturating_mul(u64::from(piece_length));
        self.length.saturating_sub(before).min(u64::from(piece_length)) as u32
    }
}

/// A run of hashes that comes in parts, each proved by itself.
#[derive(Debug)]
pub(super) struct Parts {
    /// Hashes in a part; a power of two.
    pub(super) each: u32,
    /// Hashes in all, padding apart.
    pub(super) count: u32,
    there: BTreeMap<u32, Vec<MerkleHash>>,
}

impl Parts {
    pub(super) fn new(each: u32, count: u32) -> Self {
        Self { each: each.max(1), count, there: BTreeMap::new() }
    }

    fn parts(&self) -> u32 {
        self.count.div_ceil(self.each)
    }

    /// The parts that have not come.
    pub(super) fn missing(&self) -> impl Iterator<Item = u32> {
        (0..self.parts()).filter(|part| !self.there.contains_key(part))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.there.len() as u32 >= self.parts()
    }

    pub(super) fn get(&self, index: u32) -> Option<MerkleHash> {
        let part = self.there.get(&index.checked_div(self.each)?)?;
        part.get(index.checked_rem(self.each)? as usize).copied()
    }

    /// A part came. Padding behind the last hash is left out.
    pub(super) fn put(&mut self, part: u32, hashes: &[MerkleHash]) {
        let before = part.saturating_mul(self.each);
        let count = self.count.saturating_sub(before).min(self.each) as usize;
        self.there.insert(part, hashes.get(..count).unwrap_or(hashes).to_vec());
    }

    /// All of them, one after the other.
    pub(super) fn join(self) -> Vec<MerkleHash> {
        self.there.into_values().flatten().collect()
    }
}
