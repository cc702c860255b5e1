//! The peer wire protocol (BEP 3, 4, 6, 10, 11, 14, 20, 21, 40, 52, 54, 55): bytes to typed views and
//! back.
//!
//! Pure: a caller reads and writes sockets; this crate turns byte slices into messages and
//! messages into byte slices. It allocates nothing on the strength of a length it was told.
//!
//! ```
//! # use wire::{Decoded, FrameError, Limits, Message, decode};
//! # fn receive(mut bytes: &[u8]) -> Result<usize, FrameError> {
//! # let mut messages = 0;
//! let limits = Limits { bitfield_bytes: 16, block_bytes: 16 * 1024, extended_bytes: 4096 };
//! loop {
//!     match decode(bytes, &limits)? {
//!         Decoded::Incomplete { need: _ } => break, // read on until there are that many
//!         Decoded::Message { message: _, consumed } => bytes = &bytes[consumed..],
//!         Decoded::BlockHead { block, consumed } => {
//!             // the caller places the body, perhaps straight from the socket
//!             bytes = &bytes[consumed + block.length as usize..];
//!         }
//!     }
//! #   messages += 1;
//! }
//! # Ok(messages)
//! # }
//! # let mut stream = Vec::new();
//! # Message::Unchoke.encode(&mut stream);
//! # let block = wire::BlockRequest { piece: 1, begin: 0, length: 3 };
//! # stream.extend(wire::encode_block_head(block));
//! # stream.extend([1, 2, 3]);
//! # assert_eq!(receive(&stream), Ok(2));
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

mod bitfield;
mod extended;
mod fast;
mod handshake;
mod hashes;
mod holepunch;
mod local_search;
mod message;
mod metadata;
pub mod mse;
mod peer_id;
mod pex;
mod priority;
pub mod proxy;

pub use bitfield::{Bitfield, BitfieldError};
pub use extended::{ExtendedHandshake, Extension, PeerExtensions};
pub use fast::allowed_fast_set;
pub use handshake::{HANDSHAKE_LENGTH, Handshake, HandshakeError, Reserved};
pub use hashes::{HASHES_MAX, HashRequest};
pub use holepunch::{HolepunchError, HolepunchMessage};
pub use local_search::{LOCAL_GROUP_V4, LOCAL_GROUP_V6, LOCAL_TORRENTS_MAX, LocalSearch};
pub use message::{
    BLOCK_HEAD_LENGTH, BlockRequest, Decoded, FrameError, Limits, Message, decode,
    encode_block_head,
};
pub use metadata::{METADATA_PIECE_LENGTH, MetadataMessage};
pub use peer_id::PeerId;
pub use pex::{PEX_SENT_MAX, PexFlags, PexMessage};
pub use priority::peer_priority;
