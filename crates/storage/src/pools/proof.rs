//! Blocks of v2 torrents (BEP 52): compared with their leaves where they lie, many at once, and
//! leaves made from what is on the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use metainfo::merkle::MerkleHash;
use metainfo::{BLOCK_LENGTH, PieceIndex};

use super::lane::survive;
use crate::arena::Block;
use crate::buffer::Buffer;
use crate::error::StorageError;
use crate::store::FileStore;

/// Bytes read and hashed at a time: enough blocks to fill the lanes of a hash kernel several times.
const READ_BYTES: usize = 64 * BLOCK_LENGTH as usize;

/// A block on its way to being proved, and what came of it.
#[derive(Debug)]
pub struct Unproved {
    /// Of which piece.
    pub piece: PieceIndex,
    /// Byte offset within it.
    pub begin: u32,
    /// Bytes of the block.
    pub length: u32,
    /// Its bytes.
    pub data: Block,
    /// What the hash of its first bytes should be.
    pub leaf: MerkleHash,
    /// How many bytes that are. What is behind them is padding, and must be zeros.
    pub leaf_bytes: u32,
    /// For the caller.
    pub opened: u32,
    /// Whether it is what it should be.
    pub is_good: bool,
}

impl Unproved {
    fn parts(&self) -> (&[u8], &[u8]) {
        let bytes = self.data.get(..self.length as usize).unwrap_or_default();
        bytes.split_at_checked(self.leaf_bytes as usize).unwrap_or_default()
    }
}

/// The blocks that one read brought.
pub(super) struct ProofJob {
    pub(super) blocks: Vec<Unproved>,
    pub(super) done: Box<dyn FnOnce(Vec<Unproved>) + Send>,
}

/// Hashes the blocks of several jobs together.
pub(super) fn run(mut batch: Vec<ProofJob>) {
    // What could not be hashed stays bad: nothing that is not known good is kept.
    let hashed = catch_unwind(AssertUnwindSafe(|| hash(&batch))).unwrap_or_default();
    let blocks = batch.iter_mut().flat_map(|job| &mut job.blocks);
    for (block, hash) in blocks.zip(hashed) {
        block.is_good = hash == block.leaf && block.parts().1.iter().all(|byte| *byte == 0);
    }
    for ProofJob { blocks, done } in batch {
        survive(move || done(blocks));
    }
}

fn hash(batch: &[ProofJob]) -> Vec<MerkleHash> {
    let blocks = batch.iter().flat_map(|job| &job.blocks);
    let blocks: Vec<[&[u8]; 1]> = blocks.map(|block| [block.parts().0]).collect();
    let messages: Vec<&[&[u8]]> = blocks.iter().map(|block| &block[..]).collect();
    digest::sha256_batch(&messages)
}

/// The leaves of a piece's first `bytes` bytes, as they are on the disk.
pub(super) fn leaves(
    store: &FileStore,
    piece: PieceIndex,
    bytes: u32,
) -> Result<Vec<MerkleHash>, StorageError> {
    let mut leaves = Vec::with_capacity(bytes.div_ceil(BLOCK_LENGTH) as usize);
    let mut buffer = Buffer::default();
    let mut begin = 0;
    while begin < bytes {
        let now = (bytes - begin).min(READ_BYTES as u32);
        buffer.reserve(now as usize);
        let Some(part) = buffer.get_mut(..now as usize) else { break };
        store.read(piece, begin, part)?;
        leaves.extend(leaves_of(part));
        begin += now;
    }
    Ok(leaves)
}

/// The leaves of bytes that begin with a block.
pub(crate) fn leaves_of(bytes: &[u8]) -> Vec<MerkleHash> {
    let blocks: Vec<[&[u8]; 1]> =
        bytes.chunks(BLOCK_LENGTH as usize).map(|block| [block]).collect();
    let messages: Vec<&[&[u8]]> = blocks.iter().map(|block| &block[..]).collect();
    digest::sha256_batch(&messages)
}

#[cfg(test)]
mod tests;
