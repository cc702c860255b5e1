//! Torrents with known contents, for the tests of this crate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metainfo::bencode::Encoder;
use metainfo::{BLOCK_LENGTH, Info, PieceIndex, Torrent};

use super::{FileStore, StoreOptions};
use crate::arena::{Arena, Block};
use crate::error::StorageError;
use crate::handles::HandleCache;

/// A file of a torrent to be made: path components, length, BEP 47 attributes, link target.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) path: Vec<Vec<u8>>,
    pub(crate) length: usize,
    pub(crate) attributes: &'static str,
    pub(crate) target: Option<Vec<Vec<u8>>>,
}

fn split(path: &str) -> Vec<Vec<u8>> {
    path.split('/').map(|part| part.as_bytes().to_vec()).collect()
}

pub(crate) fn file(path: &str, length: usize) -> Entry {
    Entry { path: split(path), length, attributes: "", target: None }
}

pub(crate) fn pad(length: usize) -> Entry {
    Entry { attributes: "p", ..file(".pad/pad", length) }
}

pub(crate) fn link(path: &str, target: &str) -> Entry {
    Entry { attributes: "l", target: Some(split(target)), ..file(path, 0) }
}

/// A torrent and its bytes.
pub(crate) struct Sample {
    pub(crate) torrent: Torrent,
    pub(crate) content: Vec<u8>,
}

impl Sample {
    /// A folder `t` with these files, in pieces of `piece_length`.
    pub(crate) fn new(files: &[Entry], piece_length: usize) -> Self {
        let mut content = Vec::new();
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        for file in files {
            if file.attributes.contains('p') {
                content.resize(content.len() + file.length, 0);
                continue;
            }
            for _ in 0..file.length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                content.push((state >> 56) as u8);
            }
        }
        let hashes: Vec<u8> =
            content.chunks(piece_length).flat_map(|piece| digest::sha1(&[piece])).collect();
        Self { torrent: torrent(files, piece_length, &hashes), content }
    }

    /// One file of so many pieces of 32 KiB.
    pub(crate) fn single(pieces: usize) -> Self {
        Self::new(&[file("file", pieces * 32 * 1024)], 32 * 1024)
    }

    pub(crate) fn info(&self) -> &Arc<Info> {
        &self.torrent.info
    }

    pub(crate) fn open(&self, root: &Path) -> Arc<FileStore> {
        self.open_with(root, 64, StoreOptions::default()).unwrap()
    }

    pub(crate) fn open_with(
        &self,
        root: &Path,
        handles: usize,
        options: StoreOptions,
    ) -> Result<Arc<FileStore>, StorageError> {
        FileStore::open(root, Arc::clone(self.info()), Arc::new(HandleCache::new(handles)), options)
    }

    pub(crate) fn piece(&self, piece: PieceIndex) -> &[u8] {
        let geometry = self.info().geometry();
        let start = geometry.piece_offset(piece) as usize;
        &self.content[start..start + geometry.piece_size(piece) as usize]
    }

    /// A piece in memory, with nothing where a block lies wholly in a pad file.
    pub(crate) fn blocks(&self, arena: &Arena, piece: PieceIndex) -> Vec<Option<Block>> {
        let pads: Vec<_> = self.info().pad_blocks().collect();
        let chunks = self.piece(piece).chunks(BLOCK_LENGTH as usize).zip(0..);
        chunks
            .map(|(bytes, index)| {
                let mut block = arena.take();
                block[..bytes.len()].copy_from_slice(bytes);
                (!pads.contains(&(piece, index))).then_some(block)
            })
            .collect()
    }

    pub(crate) fn write(&self, store: &FileStore, piece: PieceIndex) -> Result<(), StorageError> {
        store.write(&[(piece, &self.blocks(&Arena::new(0), piece))])
    }

    pub(crate) fn write_all(&self, store: &FileStore) {
        (0..self.info().geometry().piece_count()).for_each(|p| self.write(store, p).unwrap());
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, file: usize) -> &[u8] {
        let entry = &self.info().files()[file];
        &self.content[entry.offset as usize..(entry.offset + entry.length) as usize]
    }

    pub(crate) fn read(
        &self,
        store: &FileStore,
        piece: PieceIndex,
    ) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0xee; self.piece(piece).len()];
        store.read(piece, 0, &mut bytes)?;
        Ok(bytes)
    }
}

impl FileStore {
    /// The files and folders that the next sync will cover.
    pub(crate) fn unsynced(&self) -> (Vec<usize>, Vec<PathBuf>) {
        let changes = self.changes();
        (
            changes.unsynced.iter().copied().collect(),
            changes.unsynced_folders.iter().cloned().collect(),
        )
    }
}

/// A torrent named `t` with these files and piece hashes.
pub(crate) fn torrent(files: &[Entry], piece_length: usize, hashes: &[u8]) -> Torrent {
    let mut out = Encoder::new();
    out.begin_dict().key(b"info").begin_dict().key(b"files").begin_list();
    for file in files {
        out.begin_dict();
        if !file.attributes.is_empty() {
            out.key(b"attr").bytes(file.attributes.as_bytes());
        }
        out.key(b"length").int(integer(file.length));
        list(out.key(b"path"), &file.path);
        if let Some(target) = &file.target {
            list(out.key(b"symlink path"), target);
        }
        out.end();
    }
    out.end().key(b"name").bytes(b"t");
    out.key(b"piece length").int(integer(piece_length)).key(b"pieces").bytes(hashes);
    Torrent::parse(&out.end().end().finish()).unwrap()
}

fn integer(value: usize) -> i64 {
    i64::try_from(value).unwrap()
}

fn list(out: &mut Encoder, parts: &[Vec<u8>]) {
    out.begin_list();
    for part in parts {
        out.bytes(part);
    }
    out.end();
}
