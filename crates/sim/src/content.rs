//! What a simulated torrent contains. A block of 16 KiB is one number, so that a swarm of a
//! thousand peers fits into memory: right data is one number for each block, anything else is wrong.
//! Pieces have real SHA-1 hashes, over those numbers, in a real `.torrent`.

use std::sync::Arc;

use metainfo::{
    BLOCK_LENGTH, CreateFile, CreateOptions, CreatePayload, Geometry, Info, InfoHash, PieceIndex,
    Torrent, create,
};
use sha1::{Digest, Sha1};

use crate::plan::Plan;

/// A block's bytes. Zero stands for a block of zeros, as a hole in a file reads.
pub type Content = u64;

/// A torrent and what its data is.
#[derive(Debug, Clone)]
pub struct Data {
    /// Its metadata, as [`Torrent::parse`] read it.
    pub info: Arc<Info>,
    /// Its name.
    pub info_hash: InfoHash,
    /// Its sizes.
    pub geometry: Geometry,
    /// Blocks in every piece but the last.
    pub blocks_per_piece: u32,
}

impl Data {
    /// A torrent of whole pieces, its files cut at blocks.
    ///
    /// # Panics
    /// When the numbers make no torrent: a plan is ours.
    pub fn new(plan: &Plan) -> Self {
        let Plan { pieces, blocks_per_piece, files, private, .. } = *plan;
        let blocks = u64::from(pieces) * u64::from(blocks_per_piece);
        let files = u64::from(files).clamp(1, blocks);
        let cut = |file: u64| file * blocks / files * u64::from(BLOCK_LENGTH);
        let entry = |file: u64| CreateFile {
            path: vec![format!("{file:03}").into_bytes()],
            length: cut(file + 1) - cut(file),
            ..CreateFile::default()
        };
        let payload = CreatePayload::Folder((0..files).map(entry).collect());
        let hashes: Vec<u8> = (0..pieces)
            .flat_map(|piece| {
                let blocks: Vec<Content> =
                    (0..blocks_per_piece).map(|block| right(piece, block)).collect();
                hash(&blocks)
            })
            .collect();
        let options = CreateOptions {
            piece_length: Some(blocks_per_piece * BLOCK_LENGTH),
            trackers: vec![vec![format!("{}/announce", plan.tracker())]],
            private,
            ..CreateOptions::default()
        };
        let bytes = create(b"simulated", &payload, &hashes, &options).expect("sizes of a torrent");
        let torrent = Torrent::parse(&bytes).expect("what was just made");
        let geometry = torrent.info.geometry().clone();
        Self { info: torrent.info, info_hash: torrent.info_hash, geometry, blocks_per_piece }
    }

    /// Whether these blocks are the piece, by its hash.
    pub fn is_good(&self, piece: PieceIndex, blocks: &[Content]) -> bool {
        self.info.piece_hash(piece) == Some(hash(blocks))
    }

    /// A block's number within the torrent.
    pub fn block_number(&self, piece: PieceIndex, block: u32) -> u32 {
        piece * self.blocks_per_piece + block
    }

    /// The piece's blocks, by number within the torrent.
    pub fn blocks_of(&self, piece: PieceIndex) -> std::ops::Range<usize> {
        let first = self.block_number(piece, 0) as usize;
        first..first + self.geometry.block_count(piece) as usize
    }
}

/// What belongs into a block.
pub fn right(piece: PieceIndex, block: u32) -> Content {
    scramble(u64::from(piece) << 32 | u64::from(block)) | 1
}

/// Another number for each number (the finish of `SplitMix64`).
pub fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn hash(blocks: &[Content]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    blocks.iter().for_each(|block| sha1.update(block.to_be_bytes()));
    sha1.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_good_with_every_block_right_only() {
        let data = Data::new(&Plan {
            pieces: 3,
            blocks_per_piece: 4,
            files: 2,
            private: true,
            ..Plan::default()
        });
        assert!(data.info.is_private());
        assert_eq!((data.geometry.piece_count(), data.info.files().len()), (3, 2));
        let mut blocks: Vec<Content> = (0..4).map(|block| right(2, block)).collect();
        assert!(data.is_good(2, &blocks) && !data.is_good(1, &blocks));
        blocks[3] ^= 2;
        assert!(!data.is_good(2, &blocks));
    }
}
