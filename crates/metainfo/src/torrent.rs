//! .torrent files (BEP 3, 12, 19, 27, 47, 52): from bytes to what a client works with.

mod error;
mod files;
mod hints;
mod hybrid;
mod layers;
mod layout;
mod names;
mod tree;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::bencode::{self, Encoder, Kind, Limits, Node};
use crate::merkle::MerkleHash;
use crate::text::{is_deceptive, percent_encode};
use crate::{
    BLOCK_LENGTH, Geometry, InfoHash, InfoHashV2, InfoHashes, Magnet, PathRules, PieceIndex,
    SafePath,
};

pub use error::TorrentError;
pub use hints::Hints;
pub use layers::PieceLayers;

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

/// A parsed .torrent file.
#[derive(Debug, Clone)]
pub struct Torrent {
    /// What is shared.
    pub info: Arc<Info>,
    /// What handshakes, trackers and the DHT call it: SHA-1 of [`Self::info_bytes`] or, in a torrent
    /// that is v2 only, the first 20 bytes of their SHA-256.
    pub info_hash: InfoHash,
    /// The hash of each version that it is of.
    pub info_hashes: InfoHashes,
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
    /// The hashes of a v2 torrent's pieces (BEP 52). They are outside of the info dictionary: whoever
    /// got that from peers asks peers for them too.
    pub piece_layers: PieceLayers,
    /// What [`Self::hints`] gives; `None`, which takes no memory, for most.
    pub hints: Option<Box<Hints>>,
}

/// The `info` dictionary: what the info hash stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    name: Box<[u8]>,
    geometry: Geometry,
    /// The raw dictionary.
    bytes: Arc<[u8]>,
    /// Where the v1 hashes of all pieces are in it: most of its bytes, which exist once.
    pieces: Option<Range<usize>>,
    is_v2: bool,
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
    /// The root of its hash tree (BEP 52); every file with bytes of a v2 torrent has one.
    pub root: Option<MerkleHash>,
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
    /// Reads a .torrent file.
    ///
    /// # Errors
    /// [`TorrentError`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TorrentError> {
        let tape = bencode::parse(bytes, Limits::default())?;
        let root = tape.root();
        if root.kind() != Kind::Dict {
            return Err(TorrentError::NotADictionary);
        }
        let node = root.get(b"info").ok_or(TorrentError::Missing("info"))?;
        let info = Info::read(node)?;
        let piece_layers = PieceLayers::read(root.get(b"piece layers"), &info)?;
        Ok(Self {
            trackers: trackers(root),
            web_seeds: urls(root, b"url-list"),
            http_seeds: urls(root, b"httpseeds"),
            comment: text(root, b"comment.utf-8").or_else(|| text(root, b"comment")),
            created_by: text(root, b"created by"),
            creation_date: root.get(b"creation date").and_then(|date| date.as_int()),
            piece_layers,
            hints: Hints::read(&[root, node]),
            ..Self::of(info)
        })
    }

    /// A torrent from its `info` value, as peers exchange it (BEP 9), and what a magnet link said
    /// beside it. Whether the value is the one that was asked for is for [`crate::InfoHashes::verify`].
    /// A v2 torrent lacks its piece layers then.
    ///
    /// # Errors
    /// [`TorrentError`] says what is wrong with it.
    pub fn from_info(info: &[u8], magnet: &Magnet) -> Result<Self, TorrentError> {
        let tape = bencode::parse(info, Limits::default())?;
        let info = Info::read(tape.root())?;
        Ok(Self {
            trackers: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            web_seeds: magnet.web_seeds.clone(),
            hints: Hints::read(&[tape.root()]),
            ..Self::of(info)
        })
    }

    fn of(info: Info) -> Self {
        let info_hashes = info.hashes();
        Self {
            info_hash: info_hashes.on_the_wire(),
            info_hashes,
            info_bytes: Arc::clone(&info.bytes),
            info: Arc::new(info),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            piece_layers: PieceLayers::default(),
            hints: None,
        }
    }

    /// The hash over a piece's part of a file, in a v2 torrent whose layers are here.
    pub fn piece_root(&self, piece: PieceIndex) -> Option<MerkleHash> {
        self.piece_layers.piece_root(&self.info, piece)
    }

    /// Whether a v2 torrent's pieces can't all be verified yet: layers have to come from peers.
    pub fn lacks_layers(&self) -> bool {
        self.piece_layers.missing(&self.info).next().is_some()
    }

    /// A .torrent file with nothing but the info dictionary and these layers: all that it takes to know
    /// the torrent again.
    pub fn with_layers(&self, layers: &PieceLayers) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().key(b"info").raw(&self.info_bytes);
        if self.info.has_v2() {
            out.key(b"piece layers");
            layers.write(&mut out);
        }
        out.end();
        out.finish()
    }

    /// Torrents that may have the same files, by its own word (BEP 38).
    pub fn hints(&self) -> &Hints {
        static NONE: Hints = Hints { similar: Vec::new(), collections: Vec::new() };
        self.hints.as_deref().unwrap_or(&NONE)
    }

    /// A magnet link with all its hashes, the name and trackers (BEP 9).
    pub fn magnet(&self) -> String {
        let v1 = self.info_hashes.v1().map(|hash| format!("xt=urn:btih:{hash}"));
        let v2 = self.info_hashes.v2().map(|hash| format!("xt=urn:btmh:1220{hash}"));
        let topics: Vec<String> = v1.into_iter().chain(v2).collect();
        let mut link = format!("magnet:?{}&dn=", topics.join("&"));
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
        // First of all: nothing else is known to mean what it did (BEP 52).
        let is_v2 = match info.get(b"meta version").map(|version| version.as_int()) {
            None | Some(Some(1)) => false,
            Some(Some(2)) => true,
            Some(Some(other)) => return Err(TorrentError::UnknownVersion(other)),
            Some(None) => return Err(TorrentError::Missing("meta version")),
        };
        let name = preferred(info, b"name.utf-8", b"name")
            .filter(|name| !name.is_empty())
            .ok_or(TorrentError::Missing("name"))?;
        let piece_length = match number(info, "piece length")? {
            value @ ..=0 => return Err(TorrentError::BadNumber { key: "piece length", value }),
            value @ 1..=PIECE_LENGTH_MAX => value as u32,
            value => return Err(TorrentError::PieceTooLong(value)),
        };
        if is_v2 && !(piece_length.is_power_of_two() && piece_length >= BLOCK_LENGTH) {
            return Err(TorrentError::PieceLengthV2(piece_length));
        }
        let pieces = info.get(b"pieces").and_then(|pieces| pieces.as_bytes());
        let has_v1 = !is_v2 || pieces.is_some();
        let (files, geometry, single_file) = if has_v1 {
            let (mut files, total, single_file) = files::read(info, name)?;
            if is_v2 {
                hybrid::join(&mut files, info, name, single_file, piece_length)?;
            }
            let geometry = bounded(total, Geometry::new(total, piece_length), piece_length)?;
            (files, geometry, single_file)
        } else {
            let (files, end, single_file) = tree::read(info, name, None, piece_length)?;
            let lengths = files.iter().map(|file| file.length);
            let geometry = bounded(end, Geometry::aligned(lengths, piece_length), piece_length)?;
            (files, geometry, single_file)
        };
        let raw = info.raw();
        let count = geometry.piece_count();
        let pieces = has_v1.then(|| piece_hashes(pieces, raw, count)).transpose()?;
        Ok(Self {
            name: name.into(),
            geometry,
            bytes: raw.into(),
            pieces,
            is_v2,
            files,
            private: info.get(b"private").and_then(|private| private.as_int()) == Some(1),
            single_file,
        })
    }

    fn hashes(&self) -> InfoHashes {
        let v1 = self.has_v1().then(|| InfoHash(Sha1::digest(&self.bytes).into()));
        let v2 = self.has_v2().then(|| InfoHashV2(Sha256::digest(&self.bytes).into()));
        InfoHashes::of(v1, v2)
    }

    /// Whether its pieces have SHA-1 hashes (BEP 3).
    pub fn has_v1(&self) -> bool {
        self.pieces.is_some()
    }

    /// Whether its files have hash trees (BEP 52); hybrids have both.
    pub fn has_v2(&self) -> bool {
        self.is_v2
    }

    /// Sizes of pieces and blocks. A hybrid's are those of v1, with padding as files.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
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

    /// SHA-1 of a piece; `None` past the last, and in a torrent that is v2 only.
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<[u8; 20]> {
        let hashes = self.bytes.get(self.pieces.clone()?)?;
        hashes.as_chunks().0.get(piece as usize).copied()
    }

    /// SHA-1 of the dictionary, hashed anew at each call.
    pub fn info_hash(&self) -> InfoHash {
        InfoHash(Sha1::digest(&self.bytes).into())
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

/// Refuses more pieces than are taken; `end` is where the last file ends.
fn bounded(
    end: u64,
    geometry: Option<Geometry>,
    piece_length: u32,
) -> Result<Geometry, TorrentError> {
    geometry
        .filter(|geometry| geometry.piece_count() <= PIECES_MAX)
        .ok_or(TorrentError::TooManyPieces(end.div_ceil(u64::from(piece_length))))
}

/// Where in `raw`, the whole dictionary, the v1 hashes of so many pieces are.
fn piece_hashes(
    pieces: Option<&[u8]>,
    raw: &[u8],
    count: u32,
) -> Result<Range<usize>, TorrentError> {
    let pieces = pieces.ok_or(TorrentError::Missing("pieces"))?;
    let expected = u64::from(count).saturating_mul(20);
    if pieces.len() as u64 != expected {
        return Err(TorrentError::PiecesLength { got: pieces.len(), expected });
    }
    // A value of the dictionary lies in it.
    let begin = pieces.as_ptr().addr().saturating_sub(raw.as_ptr().addr());
    Ok(begin..begin.saturating_add(pieces.len()))
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
