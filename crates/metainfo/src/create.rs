//! Making a .torrent (BEP 3, 12, 19, 27, 47, 52): the pure half. Whoever hashes the files brings their
//! names, lengths and piece hashes here.

mod info;

use std::collections::BTreeMap;

use crate::bencode::Encoder;
use crate::merkle::{MerkleHash, root_of_piece_layer};
use crate::{InfoHash, Torrent, TorrentError};

/// Piece lengths the default is chosen from, in bytes: no shorter than a block, no longer than
/// what old clients load.
const PIECE_LENGTH_MIN: u32 = 16 * 1024;
const PIECE_LENGTH_MAX: u32 = 16 * 1024 * 1024;
/// Pieces to aim at: enough that peers can share early, few enough for a small .torrent.
const PIECES_AIM: u64 = 1500;

/// The piece length that suits a payload of `total` bytes: a power of two from 16 KiB to 16 MiB
/// that makes about 750 to 1,500 pieces.
pub fn default_piece_length(total: u64) -> u32 {
    let ideal = u32::try_from(total.div_ceil(PIECES_AIM)).unwrap_or(u32::MAX);
    ideal.checked_next_power_of_two().unwrap_or(u32::MAX).clamp(PIECE_LENGTH_MIN, PIECE_LENGTH_MAX)
}

/// Which clients can read a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// SHA-1 of each piece (BEP 3): all of them.
    #[default]
    V1,
    /// A hash tree for each file (BEP 52): those that know v2.
    V2,
    /// Both, with padding so that every file begins a piece.
    Hybrid,
}

impl Format {
    /// Whether pieces have SHA-1 hashes.
    pub fn has_v1(self) -> bool {
        self != Self::V2
    }

    /// Whether files have hash trees, and each begins a piece.
    pub fn has_v2(self) -> bool {
        self != Self::V1
    }
}

/// The hashes of a payload, cut into pieces of [`CreateOptions::piece_length_for`] the total length.
#[derive(Debug, Clone, Copy, Default)]
pub struct PieceHashes<'a> {
    /// The 20-byte SHA-1 of each piece; in a hybrid each file, if there are several, is filled up
    /// with zeros to the end of its last piece.
    pub v1: &'a [u8],
    /// For each file, the hash over each of its pieces; a file of one piece has its root, an empty one
    /// and a symlink nothing.
    pub v2: &'a [Vec<MerkleHash>],
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for PieceHashes<'a> {
    fn from(v1: &'a T) -> Self {
        Self { v1: v1.as_ref(), v2: &[] }
    }
}

/// What a creator may say besides the payload. Nothing is added that is not given here, so the
/// same input gives the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Which versions it is of.
    pub format: Format,
    /// Bytes; `None` is [`default_piece_length`].
    pub piece_length: Option<u32>,
    /// Announce URLs, in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// HTTP sources (BEP 19).
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// Peers from the trackers only (BEP 27).
    pub private: bool,
    /// Torrents that may have the same files (BEP 38); in `info`, where links lead to it.
    pub similar: Vec<InfoHash>,
    /// Collections that it belongs to (BEP 38); as above.
    pub collections: Vec<String>,
}

impl CreateOptions {
    /// The piece length to hash a payload of `total` bytes with.
    pub fn piece_length_for(&self, total: u64) -> u32 {
        self.piece_length.unwrap_or_else(|| default_piece_length(total))
    }
}

/// A file of the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateFile {
    /// Names below the payload's own, outermost first.
    pub path: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// BEP 47 `x`.
    pub executable: bool,
    /// BEP 47 `h`.
    pub hidden: bool,
    /// Where a symlink leads: names below the payload's own (BEP 47). Its length is zero.
    pub symlink_target: Option<Vec<Vec<u8>>>,
}

/// What is in the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatePayload {
    /// One file, which is the payload itself.
    File {
        /// Bytes.
        length: u64,
        /// BEP 47 `x`.
        executable: bool,
    },
    /// A folder's files, in the order in which their bytes were hashed. So that a folder gives the
    /// same torrent on every machine, that order is [`CreatePayload::sort`]'s.
    Folder(Vec<CreateFile>),
}

impl CreatePayload {
    /// Puts a folder's files in their canonical order: by path, name by name, each compared byte
    /// for byte.
    pub fn sort(&mut self) {
        if let Self::Folder(files) = self {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        }
    }

    /// Bytes in all; `None` when there are more than a torrent can hold.
    pub fn total_length(&self) -> Option<u64> {
        let total = match self {
            Self::File { length, .. } => Some(*length),
            Self::Folder(files) => {
                files.iter().try_fold(0_u64, |total, file| total.checked_add(file.length))
            }
        };
        total.filter(|total| i64::try_from(*total).is_ok())
    }
}

/// Bytes of padding behind a file of `length`, so that the next one begins a piece; nothing behind
/// the only one.
pub fn padding_after(length: u64, piece_length: u32, files: usize) -> u64 {
    let past = length.checked_rem(u64::from(piece_length)).filter(|past| *past > 0 && files > 1);
    past.map_or(0, |past| u64::from(piece_length).saturating_sub(past))
}

/// The .torrent file's bytes, canonical.
///
/// # Errors
/// Whatever [`Torrent::parse`] would say of the result: nothing is made that can't be read.
pub fn create<'a>(
    name: &[u8],
    payload: &CreatePayload,
    hashes: impl Into<PieceHashes<'a>>,
    options: &CreateOptions,
) -> Result<Vec<u8>, TorrentError> {
    let hashes = hashes.into();
    let total = payload.total_length().ok_or(TorrentError::LengthOverflow)?;
    let piece_length = options.piece_length_for(total);
    let mut out = Encoder::new();
    out.begin_dict();
    if let Some(first) = options.trackers.iter().flatten().next() {
        out.key(b"announce").bytes(first.as_bytes());
    }
    if options.trackers.iter().flatten().nth(1).is_some() {
        out.key(b"announce-list").begin_list();
        for tier in options.trackers.iter().filter(|tier| !tier.is_empty()) {
            out.begin_list();
            for url in tier {
                out.bytes(url.as_bytes());
            }
            out.end();
        }
        out.end();
    }
    if let Some(comment) = &options.comment {
        out.key(b"comment").bytes(comment.as_bytes());
    }
    if let Some(program) = &options.created_by {
        out.key(b"created by").bytes(program.as_bytes());
    }
    if let Some(date) = options.creation_date {
        out.key(b"creation date").int(date);
    }
    let roots: Vec<Option<MerkleHash>> =
        hashes.v2.iter().map(|layer| root(layer, piece_length)).collect();
    let info = info::Description { name, payload, piece_length, hashes, roots: &roots, options };
    out.key(b"info").raw(&info.encode()?);
    if options.format.has_v2() {
        let layers = roots.iter().zip(hashes.v2).filter(|(_, layer)| layer.len() > 1);
        let layers: BTreeMap<_, _> =
            layers.filter_map(|(root, layer)| Some(((*root)?, layer))).collect();
        out.key(b"piece layers").begin_dict();
        for (root, layer) in layers {
            out.key(&root).bytes(layer.as_flattened());
        }
        out.end();
    }
    match options.web_seeds.as_slice() {
        [] => {}
        [one] => {
            out.key(b"url-list").bytes(one.as_bytes());
        }
        many => {
            out.key(b"url-list").begin_list();
            for url in many {
                out.bytes(url.as_bytes());
            }
            out.end();
        }
    }
    let bytes = out.end().finish();
    Torrent::parse(&bytes)?;
    Ok(bytes)
}

/// The root of a file with such piece hashes.
fn root(layer: &[MerkleHash], piece_length: u32) -> Option<MerkleHash> {
    match layer {
        [] => None,
        [root] => Some(*root),
        layer => Some(root_of_piece_layer(layer, piece_length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_piece_lengths() {
        const GIB: u64 = 1 << 30;
        for (total, expected) in [
            (0, 16 * 1024),
            (1, 16 * 1024),
            (1500 * 16 * 1024, 16 * 1024),
            (1500 * 16 * 1024 + 1, 32 * 1024),
            (100 << 20, 128 * 1024),
            (GIB, 1024 * 1024),
            (100 * GIB, 16 * 1024 * 1024),
            (u64::MAX, 16 * 1024 * 1024),
        ] {
            assert_eq!(default_piece_length(total), expected, "{total}");
        }
    }
}
