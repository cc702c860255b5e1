//! What a torrent *is*: bencode, `.torrent` files, info hashes, piece geometry and safe paths.
//!
//! Pure: bytes in, values out. Nothing here opens a file or a socket.

pub mod bencode;
mod geometry;
mod info_hash;

pub use geometry::{BLOCK_LENGTH, Geometry, PieceIndex, Segment};
pub use info_hash::{InfoHash, ParseInfoHashError};
