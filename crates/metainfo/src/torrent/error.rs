//! What can be wrong with a .torrent file.

use super::FILES_MAX;
use crate::bencode;

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
    /// A later `meta version` than BEP 52's.
    #[error("a torrent of BitTorrent version {0}; this client knows versions 1 and 2")]
    UnknownVersion(i64),
    /// A `piece length` that v2 can't have.
    #[error("a piece length of {0} bytes; BitTorrent v2 wants a power of two from 16 KiB on")]
    PieceLengthV2(u32),
    /// A file at the root of the file tree, where names belong.
    #[error("the root of the file tree is a file")]
    RootIsFile,
    /// Something in the file tree that is a file and a folder.
    #[error("{0} is both a file and a folder")]
    FileWithSiblings(String),
    /// A file with bytes and no `pieces root`, or without bytes and with one.
    #[error("the `pieces root` of {0} is missing, of the wrong size, or that of an empty file")]
    PiecesRoot(String),
    /// Padding in the file tree, which has none (BEP 47).
    #[error("{0} is a pad file in a v2 file tree")]
    PadInTree(String),
    /// A file of a v2 torrent that begins inside a piece.
    #[error("{0} does not begin at a piece, as files of a v2 torrent must")]
    Unaligned(String),
    /// A hybrid's `files` and `file tree` differ.
    #[error("the v1 and the v2 description of this hybrid do not agree about {0}")]
    InconsistentHybrid(String),
    /// Files of a new v2 torrent that are not sorted, or a name that is a file and a folder.
    #[error("{0} is out of order, there twice, or below a file")]
    FileOrder(String),
    /// A piece layer with too many hashes or too few.
    #[error("the piece layer of {path} has {got} bytes where {expected} belong")]
    LayerLength {
        /// The file.
        path: String,
        /// Bytes there.
        got: usize,
        /// Bytes that belong.
        expected: u64,
    },
    /// A piece layer that is another file's.
    #[error("the piece layer of {0} does not lead to its `pieces root`")]
    LayerRoot(String),
}
