//! Which whole files torrents have, kept with their records: where a torrent that is added may find its
//! own (BEP 38, and the roots of BEP 52). What is written here is where to look, never what is there.

use std::path::PathBuf;

use metainfo::merkle::MerkleHash;
use metainfo::{Hints, InfoHash};

/// Files kept of one torrent: the index stays small, and whoever has more has small ones.
pub const SHELF_FILES_MAX: usize = 10_000;

/// What a torrent has to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// Its info hashes, as `similar` has them.
    pub names: Vec<InfoHash>,
    /// What it says itself.
    pub hints: Hints,
    /// Its whole files.
    pub files: Vec<ShelfFile>,
}

/// A whole file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfFile {
    /// Its number in the torrent.
    pub file: usize,
    /// Where it is.
    pub source: Source,
}

/// A file that may be the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Absolute.
    pub path: PathBuf,
    /// Bytes it had.
    pub length: u64,
    /// The root of its hash tree (BEP 52), if it is known.
    pub root: Option<MerkleHash>,
}

/// What a torrent that is added looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its info hashes: others may name them as similar.
    pub names: Vec<InfoHash>,
    /// Where it says to look.
    pub hints: Hints,
    /// The length and root of each file that is missing.
    pub files: Vec<(u64, Option<MerkleHash>)>,
}
