//! What a torrent *is*: bencode, `.torrent` files, info hashes, hash trees, piece geometry and safe paths.
//!
//! Pure: bytes in, values out. Nothing here opens a file or a socket.
//!
//! ```
//! let file = metainfo::create(
//!     b"hello.txt",
//!     &metainfo::CreatePayload::File { length: 5, executable: false },
//!     &[0; 20], // SHA-1 of each piece
//!     &metainfo::CreateOptions::default(),
//! )?;
//! let torrent = metainfo::Torrent::parse(&file)?;
//! assert_eq!(torrent.info.name(), "hello.txt");
//! assert_eq!(torrent.info.geometry().piece_count(), 1);
//! # Ok::<(), metainfo::TorrentError>(())
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod bencode;
mod choice;
mod create;
mod edit;
mod geometry;
mod info_hash;
mod magnet;
pub mod merkle;
mod path;
mod piece_tree;
mod text;
mod torrent;

pub use choice::{ChoiceError, FileChoice, FilePriority};
pub use create::{
    CreateFile, CreateOptions, CreatePayload, Format, PieceHashes, create, default_piece_length,
    padding_after,
};
pub use edit::{Change, Edit};
pub use geometry::{BLOCK_LENGTH, Geometry, PieceIndex, Segment};
pub use info_hash::{InfoHash, InfoHashV2, ParseInfoHashError, ParseInfoHashV2Error};
pub use magnet::{InfoHashes, Magnet, MagnetError};
pub use merkle::MerkleHash;
pub use path::{PathRules, SafePath};
pub use piece_tree::PieceTree;
pub use text::{is_deceptive, percent_encode};
pub use torrent::{
    BYTES_MAX as TORRENT_BYTES_MAX, FILES_MAX, FileAttributes, FileEntry, Hints, Info, PieceLayers,
    Torrent, TorrentError,
};
