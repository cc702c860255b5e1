//! One connection to one peer: sockets in, messages out. All decisions are the swarm's.

pub(crate) mod calls;
pub(crate) mod connection;
mod encrypt;
pub(crate) mod handshake;
mod landing;
mod line;
mod out;
pub(crate) mod outgoing;
mod receive;

pub(crate) use connection::Connection;
pub use handshake::HandshakeFailure;
pub(crate) use landing::Landing;
pub(crate) use line::Line;
pub(crate) use receive::{ReceiveError, Receiver, Sink};
