//! Making a .torrent (BEP 3, 12, 19, 27, 47): the pure half. Whoever hashes the files brings their
//! names, lengths and piece hashes here.

use crate::bencode::Encoder;
use crate::{Torrent, TorrentError};

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

/// What a creator may say besides the payload. Nothing is added that is not given here, so the
/// same input gives the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOptions {
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
}

impl CreateOptions {
    /// The piece length to hash a payload of `total` bytes with.
    pub fn piece_length_for(&self, total: u64) -> u32 {
        self.piece_length.unwrap_or_else(|| default_piece_length(total))
    }
}

/// A file of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateFile {
    /// Names below the payload's own, outermost first.
    pub path: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// BEP 47 `x`.
    pub executable: bool,
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

/// The .torrent file's bytes, canonical. `pieces` holds the 20-byte SHA-1 of each piece, cut by
/// [`CreateOptions::piece_length_for`] the total length.
///
/// # Errors
/// Whatever [`Torrent::parse`] would say of the result: nothing is made that can't be read.
pub fn create(
    name: &[u8],
    payload: &CreatePayload,
    pieces: &[u8],
    options: &CreateOptions,
) -> Result<Vec<u8>, TorrentError> {
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
    out.key(b"info").raw(&info(name, payload, piece_length, pieces, options.private));
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

fn info(
    name: &[u8],
    payload: &CreatePayload,
    piece_length: u32,
    pieces: &[u8],
    private: bool,
) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_dict();
    match payload {
        CreatePayload::File { length, executable } => {
            if *executable {
                out.key(b"attr").bytes(b"x");
            }
            out.key(b"length").int(i64::try_from(*length).unwrap_or(i64::MAX));
        }
        CreatePayload::Folder(files) => {
            out.key(b"files").begin_list();
            for file in files {
                out.begin_dict();
                if file.executable {
                    out.key(b"attr").bytes(b"x");
                }
                out.key(b"length").int(i64::try_from(file.length).unwrap_or(i64::MAX));
                out.key(b"path").begin_list();
                for name in &file.path {
                    out.bytes(name);
                }
                out.end().end();
            }
            out.end();
        }
    }
    out.key(b"name").bytes(name);
    out.key(b"piece length").int(i64::from(piece_length));
    out.key(b"pieces").bytes(pieces);
    if private {
        out.key(b"private").int(1);
    }
    out.end().finish()
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
