//! What a simulated torrent contains. A block of 16 KiB is one number, so that a swarm of a
//! thousand peers fits into memory: right data is one number for each block, anything else is wrong.
//! Pieces have real SHA-1 hashes, over those numbers, in a real `.torrent`.

use std::collections::BTreeSet;
use std::sync::Arc;

use metainfo::merkle::{self, MerkleHash};
use metainfo::{
    BLOCK_LENGTH, CreateFile, CreateOptions, CreatePayload, Geometry, Info, InfoHash, PieceHashes,
    PieceIndex, PieceLayers, PieceTree, Torrent, create,
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
    /// Its name; the v1 name of a hybrid.
    pub info_hash: InfoHash,
    /// Its v2 name (BEP 52).
    pub v2: Option<InfoHash>,
    /// Its sizes.
    pub geometry: Geometry,
    /// Blocks in every piece but the last, and but those at a file's end in a torrent that is v2 only.
    pub blocks_per_piece: u32,
    /// Blocks of padding.
    pads: BTreeSet<(PieceIndex, u32)>,
    layers: PieceLayers,
}

/// The files of a plan's torrent, by pieces and blocks.
struct Files {
    /// The first piece of each, and the blocks in it.
    files: Vec<(PieceIndex, u32)>,
    blocks_per_piece: u32,
}

impl Files {
    /// Each begins a piece, and leaves its last one a little short.
    fn aligned(plan: &Plan) -> Self {
        let (pieces, each) = (plan.pieces, plan.blocks_per_piece);
        let files = plan.files.clamp(1, pieces);
        let begin = |file: u32| (u64::from(file) * u64::from(pieces) / u64::from(files)) as u32;
        let short = |file: u32| (scramble(plan.seed ^ u64::from(file)) % u64::from(each)) as u32;
        let file = |file| (begin(file), (begin(file + 1) - begin(file)) * each - short(file));
        Self { files: (0..files).map(file).collect(), blocks_per_piece: each }
    }

    /// The right blocks of each piece of a file.
    fn pieces(&self, (first, blocks): (PieceIndex, u32)) -> Vec<Vec<Content>> {
        let each = self.blocks_per_piece;
        let count = |piece: u32| (blocks - piece * each).min(each);
        let piece = |piece| (0..count(piece)).map(|block| right(first + piece, block)).collect();
        (0..blocks.div_ceil(each)).map(piece).collect()
    }

    /// The hash over each piece of a file.
    fn layer(&self, file: (PieceIndex, u32)) -> Vec<MerkleHash> {
        let whole = merkle::height(u64::from(self.blocks_per_piece));
        let top = whole.min(merkle::height(u64::from(file.1)));
        let pieces = self.pieces(file).into_iter();
        pieces.map(|blocks| merkle::root(&leaves(&blocks), 0, top)).collect()
    }
}

impl Data {
    /// A torrent of whole pieces, its files cut at blocks; with hash trees, each file begins a piece.
    ///
    /// # Panics
    /// When the numbers make no torrent: a plan is ours.
    pub fn new(plan: &Plan) -> Self {
        let Plan { pieces, blocks_per_piece, private, format, .. } = *plan;
        let aligned = Files::aligned(plan);
        let lengths: Vec<u32> = if format.has_v2() {
            aligned.files.iter().map(|(_, blocks)| *blocks).collect()
        } else {
            let blocks = u64::from(pieces) * u64::from(blocks_per_piece);
            let files = u64::from(plan.files).clamp(1, blocks);
            let cut = |file: u64| (file * blocks / files) as u32;
            (0..files).map(|file| cut(file + 1) - cut(file)).collect()
        };
        let entry = |(file, blocks): (usize, &u32)| CreateFile {
            path: vec![format!("{file:03}").into_bytes()],
            length: u64::from(*blocks) * u64::from(BLOCK_LENGTH),
            ..CreateFile::default()
        };
        let payload = CreatePayload::Folder(lengths.iter().enumerate().map(entry).collect());
        let mut blocks: Vec<Vec<Content>> = if format.has_v2() {
            aligned.files.iter().flat_map(|file| aligned.pieces(*file)).collect()
        } else {
            let piece = |piece| (0..blocks_per_piece).map(|block| right(piece, block)).collect();
            (0..pieces).map(piece).collect()
        };
        if lengths.len() > 1 {
            // Where a hybrid has padding. Without trees there is none.
            blocks.iter_mut().for_each(|piece| piece.resize(blocks_per_piece as usize, 0));
        }
        let v1: Vec<u8> = blocks.iter().flat_map(|piece| hash(piece)).collect();
        let v2: Vec<_> = aligned.files.iter().map(|file| aligned.layer(*file)).collect();
        let hashes = PieceHashes {
            v1: if format.has_v1() { &v1 } else { &[] },
            v2: if format.has_v2() { &v2 } else { &[] },
        };
        let options = CreateOptions {
            format,
            piece_length: Some(blocks_per_piece * BLOCK_LENGTH),
            trackers: vec![vec![format!("{}/announce", plan.tracker())]],
            private,
            ..CreateOptions::default()
        };
        let bytes = create(b"simulated", &payload, hashes, &options).expect("sizes of a torrent");
        let torrent = Torrent::parse(&bytes).expect("what was just made");
        let geometry = torrent.info.geometry().clone();
        Self {
            pads: torrent.info.pad_blocks().collect(),
            v2: torrent.info_hashes.v2().map(|name| name.truncated()),
            layers: torrent.piece_layers,
            info: torrent.info,
            info_hash: torrent.info_hash,
            geometry,
            blocks_per_piece,
        }
    }

    /// Whether these blocks are the piece, by all of its hashes.
    pub fn is_good(&self, piece: PieceIndex, blocks: &[Content]) -> bool {
        let tree = self.layers.piece_tree(&self.info, piece);
        self.fits_v1(piece, blocks) && tree.is_none_or(|tree| fits(&tree, blocks))
    }

    /// Whether these blocks are the piece by its v1 hash, if it has one.
    pub fn fits_v1(&self, piece: PieceIndex, blocks: &[Content]) -> bool {
        self.info.piece_hash(piece).is_none_or(|known| known == hash(blocks))
    }

    /// The files' trees, with the layers that `known` says yes to.
    pub fn trees(&self, known: impl Fn(&MerkleHash) -> bool) -> Vec<swarm::Tree> {
        let tree = |(file, entry): (usize, &metainfo::FileEntry)| {
            let root = entry.root?;
            let layer = self.layers.of_file(&self.info, file).filter(|_| known(&root));
            let first_piece = self.info.pieces_of_file(file).start;
            Some(swarm::Tree {
                root,
                length: entry.length,
                first_piece,
                layer: layer.map(Into::into),
            })
        };
        self.info.files().iter().enumerate().filter_map(tree).collect()
    }

    /// Whether a piece can be hashed by who knows those layers alone.
    pub fn is_known(&self, piece: PieceIndex, known: impl Fn(&MerkleHash) -> bool) -> bool {
        let file = self.info.file_of_piece(piece).map(|(file, _)| file);
        let root = file.and_then(|file| self.info.files().get(file)?.root);
        let one_piece = file.is_some_and(|file| self.info.pieces_of_file(file).len() == 1);
        self.info.has_v1() || one_piece || root.is_some_and(|root| known(&root))
    }

    /// What belongs into a block.
    pub fn right(&self, piece: PieceIndex, block: u32) -> Content {
        if self.is_pad(piece, block) { 0 } else { right(piece, block) }
    }

    /// Whether a block is padding, which nobody sends.
    pub fn is_pad(&self, piece: PieceIndex, block: u32) -> bool {
        self.pads.contains(&(piece, block))
    }

    /// All blocks of padding.
    pub fn pads(&self) -> Vec<(PieceIndex, u32)> {
        self.pads.iter().copied().collect()
    }

    /// Blocks of a piece that have to be fetched.
    pub fn fetched_blocks(&self, piece: PieceIndex) -> u32 {
        let count = self.geometry.block_count(piece);
        (0..count).filter(|block| !self.is_pad(piece, *block)).count() as u32
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

/// The leaves of blocks: real SHA-256, over their numbers.
pub fn leaves(blocks: &[Content]) -> Vec<MerkleHash> {
    blocks.iter().map(|content| merkle::leaf(&content.to_be_bytes())).collect()
}

/// Whether these blocks are those of a piece with this tree: what no leaf covers has to be zeros.
pub fn fits(tree: &PieceTree, blocks: &[Content]) -> bool {
    let (data, rest) = blocks.split_at((tree.leaf_count() as usize).min(blocks.len()));
    tree.is_over(&leaves(data)) && rest.iter().all(|content| *content == 0)
}

/// What belongs into a block that is no padding.
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
    use metainfo::Format;

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

    #[test]
    fn trees_are_over_the_files_and_nothing_of_padding() {
        for format in [Format::V2, Format::Hybrid] {
            let plan = Plan {
                pieces: 9,
                blocks_per_piece: 4,
                files: 3,
                format,
                seed: 3,
                ..Plan::default()
            };
            let data = Data::new(&plan);
            assert_eq!((data.geometry.piece_count(), data.v2.is_some()), (9, true));
            assert_eq!(!data.pads.is_empty(), format == Format::Hybrid);
            for piece in 0..9 {
                let count = data.geometry.block_count(piece);
                let mut blocks: Vec<_> = (0..count).map(|block| data.right(piece, block)).collect();
                assert!(data.is_good(piece, &blocks), "{format:?}, piece {piece}");
                blocks[count as usize - 1] ^= 2;
                assert!(!data.is_good(piece, &blocks), "{format:?}, piece {piece}");
            }
            assert_eq!(data.trees(|_| true).iter().filter(|tree| tree.layer.is_some()).count(), 3);
            assert!(data.trees(|_| false).iter().all(|tree| tree.layer.is_none()));
            assert_eq!(data.is_known(0, |_| false), format == Format::Hybrid);
        }
    }
}
