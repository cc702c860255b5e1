//! The peer wire protocol (BEP 3, 4, 6, 10, 20, 40): bytes to typed views and back.
//!
//! Pure: a caller reads and writes sockets; this crate turns byte slices into messages and
//! messages into byte slices. It allocates nothing on the strength of a length it was told.

mod bitfield;
mod message;

pub use bitfield::{Bitfield, BitfieldError};
pub use message::{BlockRequest, Decoded, FrameError, Limits, Message};
