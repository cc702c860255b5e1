//! .torrent files (BEP 3, 12, 19, 27, 47): from bytes to what a client works with.

mod files;
mod layout;
mod names;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use crate::bencode::{self, Kind, Limits, Node};
use crate::text::{is_deceptive, percent_encode};
use crate::{Geometry, InfoHash, Magnet, PathRules, PieceIndex, SafePath};

/// Bytes of the largest .torrent file taken: more than twice the largest seen.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the longest piece taken: no common client loads a longer one. A piece is held in
/// memory whole.
const PIECE_LENGTH_MAX: i64 = 256 * 1024 * 1024;
/// Pieces of the largest torrent taken: 40 MB of hashes.
const PIECES_MAX: u32 = 2_097_152;
/// Files of the largest torrent taken: twice the largest seen.
pub const FILES_MAX: usize = 400_000;
/// Names in the longest path taken. No system opens one with more than 2,048; no torrent seen has
/// 30.
const PATH_DEPTH_MAX: usize = 100;
/// Trackers and web seeds kept: more is an attack on somebody.
const URLS_MAX: usize = 200;
/// Bytes of a URL kept.
const URL_BYTES_MAX: usize = 2048;
/// Bytes of a comment or creator kept.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Why bytes are not a torrent this client can use. The text says what is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorrentError {
    /// Not bencode.
    #[error("not a .torrent file: {0}")]
    Bencode(#[from] bencode::Error),
    /// Not a dictionary.
    #[error("not a .torrent file: it is not a dictionary")]
    NotADictionary,
    /// A key that must be there is not, or is of the wrong type.
    #[error("`{0}` is missing or of the wrong type")]
    Missing(&'static str),
    /// A number outside what makes sense.
    #[error("`{key}` is {value}, which makes no sense")]
    BadNumber {
        /// The key.
        key: &'static str,
        /// What it says.
        value: i64,
    },
    /// `piece length` beyond what is taken.
    #[error("a piece length of {0} bytes is more than this client takes")]
    PieceTooLong(i64),
    /// More pieces than are taken.
    #[error("{0} pieces are more than this client takes")]
    TooManyPieces(u64),
    /// More files than are taken.
    #[error("more than {FILES_MAX} files")]
    TooManyFiles,
    /// A file deeper in folders than is taken.
    #[error("a file {0} folders deep, more than this client takes")]
    PathTooDeep(usize),
    /// `pieces` is not 20 bytes for each piece.
    #[error("`pieces` has {got} bytes where {expected} belong")]
    PiecesLength {
        /// Bytes there.
        got: usize,
        /// Bytes that belong.
        expected: u64,
    },
    /// Both `length` and `files`.
    #[error("both `length` and `files`: a torrent is one file or many")]
    BothLengthAndFiles,
    /// `files` is empty.
    #[error("a torrent without files")]
    NoFiles,
    /// The lengths add up to more than 2^63.
    #[error("the files' lengths add up to too much")]
    LengthOverflow,
    /// Only a v2 file tree.
    #[error("a BitTorrent v2 torrent without v1 pieces, which this version can't use")]
    V2Only,
}

/// A parsed .torrent file.
#[derive(Debug, Clone)]
pub struct Torrent {
    /// What is shared.
    pub info: Arc<Info>,
    /// SHA-1 of [`Self::info_bytes`].
    pub info_hash: InfoHash,
    /// The raw `info` value, as peers exchange it (BEP 9).
    pub info_bytes: Arc<[u8]>,
    /// Announce URLs in tiers (BEP 12); `announce-list` replaces `announce` where it names any.
    pub trackers: Vec<Vec<String>>,
    /// HTTP sources (BEP 19).
    pub web_seeds: Vec<String>,
    /// HTTP sources that are asked for pieces (BEP 17).
    pub http_seeds: Vec<String>,
    /// Free text, not to be shown unescaped.
    pub comment: Option<String>,
    /// The program that made it, by its own word.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// The `info` dictionary: what the info hash stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    name: Box<[u8]>,
    geometry: Geometry,
    /// The raw dictionary.
    bytes: Arc<[u8]>,
    /// Where the hashes of all pieces are in it: most of its bytes, which exist once.
    pieces: Range<usize>,
    files: Vec<FileEntry>,
    private: bool,
    single_file: bool,
}

/// One file of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Below the download folder; in a torrent of many files it begins with the torrent's name.
    pub path: SafePath,
    /// Bytes.
    pub length: u64,
    /// Where the file begins in the torrent, in bytes.
    pub offset: u64,
    /// BEP 47.
    pub attributes: FileAttributes,
    /// Where a symlink leads, below the same folder as [`Self::path`] (BEP 47). A symlink without
    /// one had none inside the torrent's own folder, and is not to be made.
    pub symlink_target: Option<SafePath>,
}

/// BEP 47 `attr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileAttributes {
    /// Zeros that align the next file; never written.
    pub pad: bool,
    /// Executable.
    pub executable: bool,
    /// Hidden.
    pub hidden: bool,
    /// A symbolic link, always of length zero.
    pub symlink: bool,
}

impl Torrent {
    /// Reads a .torrent file. Hybrids (BEP 52) are read as the v1 torrent they also are.
    ///
    /// # Errors
    /// [`TorrentError`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TorrentError> {
        let tape = bencode::parse(bytes, Limits::default())?;
        let root = tape.root();
        if root.kind() != Kind::Dict {
            return Err(TorrentError::NotADictionary);
        }
        let info = root.get(b"info").ok_or(TorrentError::Missing("info"))?;
        let info = Info::read(info)?;
        Ok(Self {
            info_hash: InfoHash(Sha1::digest(&info.bytes).into()),
            info_bytes: Arc::clone(&info.bytes),
            info: Arc::new(info),
            trackers: trackers(root),
            web_seeds: urls(root, b"url-list"),
            http_seeds: urls(root, b"httpseeds"),
            comment: text(root, b"comment.utf-8").or_else(|| text(root, b"comment")),
            created_by: text(root, b"created by"),
            creation_date: root.get(b"creation date").and_then(|date| date.as_int()),
        })
    }

    /// A torrent from its `info` value, as peers exchange it (BEP 9), and what a magnet link said
    /// beside it. Whether the value is the one that was asked for is for [`crate::InfoHashes::verify`].
    ///
    /// # Errors
    /// [`TorrentError`] says what is wrong with it.
    pub fn from_info(info: &[u8], magnet: &Magnet) -> Result<Self, TorrentError> {
        let tape = bencode::parse(info, Limits::default())?;
        let info = Info::read(tape.root())?;
        Ok(Self {
            info_hash: InfoHash(Sha1::digest(&info.bytes).into()),
            info_bytes: Arc::clone(&info.bytes),
            info: Arc::new(info),
            trackers: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            web_seeds: magnet.web_seeds.clone(),
            http_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        })
    }

    /// A magnet link with the name and trackers (BEP 9).
    pub fn magnet(&self) -> String {
        let mut link = format!("magnet:?xt=urn:btih:{}&dn=", self.info_hash);
        percent_encode(&self.info.name, &mut link);
        for url in self.trackers.iter().flatten() {
            link.push_str("&tr=");
            percent_encode(url.as_bytes(), &mut link);
        }
        link
    }
}

impl Info {
    fn read(info: Node<'_, '_>) -> Result<Self, TorrentError> {
        if info.kind() != Kind::Dict {
            return Err(TorrentError::Missing("info"));
        }
        let pieces = info.get(b"pieces").and_then(|pieces| pieces.as_bytes());
        let is_v2 = info.get(b"meta version").or(info.get(b"file tree")).is_some();
        if pieces.is_none() && is_v2 {
            return Err(TorrentError::V2Only);
        }
        let name = preferred(info, b"name.utf-8", b"name")
            .filter(|name| !name.is_empty())
            .ok_or(TorrentError::Missing("name"))?;
        let piece_length = match number(info, "piece length")? {
            value @ ..=0 => return Err(TorrentError::BadNumber { key: "piece length", value }),
            value @ 1..=PIECE_LENGTH_MAX => value as u32,
            value => return Err(TorrentError::PieceTooLong(value)),
        };
        let (files, total, single_file) = files::read(info, name)?;
        let count = total.div_ceil(u64::from(piece_length));
        let geometry = Geometry::new(total, piece_length)
            .filter(|geometry| geometry.piece_count() <= PIECES_MAX)
            .ok_or(TorrentError::TooManyPieces(count))?;
        let pieces = pieces.ok_or(TorrentError::Missing("pieces"))?;
        let expected = count.saturating_mul(20);
        if pieces.len() as u64 != expected {
            return Err(TorrentError::PiecesLength { got: pieces.len(), expected });
        }
        let raw = info.raw();
        // A value of the dictionary lies in it.
        let begin = pieces.as_ptr().addr().saturating_sub(raw.as_ptr().addr());
        Ok(Self {
            name: name.into(),
            geometry,
            bytes: raw.into(),
            pieces: begin..begin.saturating_add(pieces.len()),
            files,
            private: info.get(b"private").and_then(|private| private.as_int()) == Some(1),
            single_file,
        })
    }

    /// Sizes of pieces and blocks.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The torrent's name for people: lossy, and with control and bidi characters spelt out as
    /// `\u{…}`, so that it can be printed.
    pub fn name(&self) -> String {
        let mut shown = String::with_capacity(self.name.len());
        for character in String::from_utf8_lossy(&self.name).chars() {
            if is_deceptive(character) {
                shown.extend(character.escape_unicode());
            } else {
                shown.push(character);
            }
        }
        shown
    }

    /// The name's bytes as the torrent has them.
    pub fn raw_name(&self) -> &[u8] {
        &self.name
    }

    /// All files, pad files included, in the order of their bytes.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// SHA-1 of a piece; `None` past the last.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<[u8; 20]> {
        let hashes = self.bytes.get(self.pieces.clone())?;
        hashes.as_chunks().0.get(piece as usize).copied()
    }

    /// Whether peers may come from its trackers only (BEP 27).
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether the torrent is one file, named by the torrent itself.
    pub fn is_single_file(&self) -> bool {
        self.single_file
    }
}

impl FileEntry {
    /// Where the file ends in the torrent, in bytes.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// The bytes under the first key that is there and is a non-empty string.
fn preferred<'a>(node: Node<'_, 'a>, first: &[u8], second: &[u8]) -> Option<&'a [u8]> {
    let string = |key| node.get(key).and_then(|value| value.as_bytes());
    string(first).filter(|bytes| !bytes.is_empty()).or_else(|| string(second))
}

fn number(node: Node<'_, '_>, key: &'static str) -> Result<i64, TorrentError> {
    node.get(key.as_bytes()).and_then(|n| n.as_int()).ok_or(TorrentError::Missing(key))
}

fn text(root: Node<'_, '_>, key: &[u8]) -> Option<String> {
    let bytes = root.get(key)?.as_bytes()?;
    let bytes = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn url(node: Node<'_, '_>) -> Option<String> {
    let url = node.as_str()?.trim();
    (!url.is_empty() && url.len() <= URL_BYTES_MAX).then(|| url.to_string())
}

/// No URL twice: a tracker in two tiers would be announced to twice.
fn trackers(root: Node<'_, '_>) -> Vec<Vec<String>> {
    let mut seen: HashSet<String> = HashSet::new();
    let list = root.get(b"announce-list").and_then(|list| list.list());
    let tiers = list.into_iter().flatten().map(|tier| {
        // Some creators write a plain list of URLs: each is a tier.
        let urls = tier.list().into_iter().flatten().filter_map(url).chain(url(tier));
        urls.filter(|url| seen.len() < URLS_MAX && seen.insert(url.clone())).collect::<Vec<_>>()
    });
    let tiers: Vec<_> = tiers.filter(|tier| !tier.is_empty()).collect();
    if tiers.is_empty() {
        return root.get(b"announce").and_then(url).into_iter().map(|url| vec![url]).collect();
    }
    tiers
}

/// One URL or a list of them.
fn urls(root: Node<'_, '_>, key: &[u8]) -> Vec<String> {
    let Some(node) = root.get(key) else {
        return Vec::new();
    };
    let many = node.list().into_iter().flatten().filter_map(url);
    url(node).into_iter().chain(many).take(URLS_MAX).collect()
}
