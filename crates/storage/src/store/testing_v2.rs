//! Torrents of the second version and hybrids (BEP 52) with known contents, for the tests of this crate.

use std::path::Path;
use std::sync::Arc;

use metainfo::bencode::Encoder;
use metainfo::merkle::{self, MerkleHash};
use metainfo::{BLOCK_LENGTH, PieceIndex, PieceTree, Torrent};

use super::{FileStore, StoreOptions};
use crate::arena::{Arena, Block};
use crate::handles::HandleCache;

/// A torrent and the bytes of its pieces, gaps or padding included.
pub(crate) struct SampleV2 {
    pub(crate) torrent: Torrent,
    pieces: Vec<Vec<u8>>,
}

impl SampleV2 {
    /// Files of these lengths, not zero, in a folder `t`.
    pub(crate) fn new(lengths: &[usize], piece_length: usize, hybrid: bool) -> Self {
        let files: Vec<Vec<u8>> = (1_u8..)
            .zip(lengths)
            .map(|(seed, length)| (0..*length).map(|at| (at / 7) as u8 ^ seed).collect())
            .collect();
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for (number, file) in files.iter().enumerate() {
            pieces.extend(file.chunks(piece_length).map(<[u8]>::to_vec));
            if let (true, Some(last)) = (hybrid && number + 1 < files.len(), pieces.last_mut()) {
                last.resize(piece_length, 0);
            }
        }
        let bytes = document(&files, &pieces, piece_length, hybrid);
        Self { torrent: Torrent::parse(&bytes).unwrap(), pieces }
    }

    pub(crate) fn open(&self, root: &Path) -> Arc<FileStore> {
        let (info, handles) = (Arc::clone(&self.torrent.info), Arc::new(HandleCache::new(64)));
        let store = FileStore::open(root, info, handles, StoreOptions::default()).unwrap();
        store.set_layers(Arc::new(self.torrent.piece_layers.clone()));
        store
    }

    pub(crate) fn piece(&self, piece: PieceIndex) -> &[u8] {
        &self.pieces[piece as usize]
    }

    pub(crate) fn tree(&self, piece: PieceIndex) -> PieceTree {
        self.torrent.piece_layers.piece_tree(&self.torrent.info, piece).unwrap()
    }

    /// A piece as if peers had sent it.
    pub(crate) fn blocks(&self, arena: &Arena, piece: PieceIndex) -> Vec<Option<Block>> {
        let block = |bytes: &[u8]| {
            let mut block = arena.take();
            block[..bytes.len()].copy_from_slice(bytes);
            Some(block)
        };
        self.piece(piece).chunks(BLOCK_LENGTH as usize).map(block).collect()
    }
}

fn leaves(bytes: &[u8]) -> Vec<MerkleHash> {
    bytes.chunks(BLOCK_LENGTH as usize).map(merkle::leaf).collect()
}

fn int(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

fn document(files: &[Vec<u8>], pieces: &[Vec<u8>], piece_length: usize, hybrid: bool) -> Vec<u8> {
    let name = |number: usize| format!("{number}").into_bytes();
    let mut layers = Vec::new();
    let mut out = Encoder::new();
    out.begin_dict().key(b"info").begin_dict();
    out.key(b"file tree").begin_dict();
    for (number, file) in files.iter().enumerate() {
        let leaves = leaves(file);
        let root = merkle::root(&leaves, 0, merkle::height(leaves.len() as u64));
        out.key(&name(number)).begin_dict().key(b"").begin_dict();
        out.key(b"length").int(int(file.len())).key(b"pieces root").bytes(&root).end().end();
        if file.len() > piece_length {
            let top = merkle::piece_layer(piece_length as u32);
            let each = leaves.chunks(1 << top).map(|part| merkle::root(part, 0, top));
            layers.push((root, each.flatten().collect::<Vec<u8>>()));
        }
    }
    out.end();
    if hybrid {
        out.key(b"files").begin_list();
        for (number, file) in files.iter().enumerate() {
            out.begin_dict().key(b"length").int(int(file.len()));
            out.key(b"path").begin_list().bytes(&name(number)).end().end();
            let gap = file.len().next_multiple_of(piece_length) - file.len();
            if gap > 0 && number + 1 < files.len() {
                out.begin_dict().key(b"attr").bytes(b"p").key(b"length").int(int(gap));
                let pad = gap.to_string().into_bytes();
                out.key(b"path").begin_list().bytes(b".pad").bytes(&pad).end().end();
            }
        }
        out.end();
    }
    out.key(b"meta version").int(2).key(b"name").bytes(b"t");
    out.key(b"piece length").int(int(piece_length));
    if hybrid {
        let hashes: Vec<u8> = pieces.iter().flat_map(|piece| digest::sha1(&[piece])).collect();
        out.key(b"pieces").bytes(&hashes);
    }
    out.end();
    layers.sort();
    out.key(b"piece layers").begin_dict();
    for (root, layer) in &layers {
        out.key(root).bytes(layer);
    }
    out.end().end();
    out.finish()
}
