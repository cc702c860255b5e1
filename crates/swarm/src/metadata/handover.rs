//! What the swarm has to know of a peer that it takes over once the metadata is there: the connection
//! stays, and with it all that was said.
//!
//! Nobody knows yet how many pieces there are, so what a peer says of them is kept as it came, and is
//! read like anything else that it says once that is known. Lengths and numbers are checked then.

use std::net::SocketAddr;

use wire::Message;

use super::{Metadata, Peer};
use crate::{Hello, PeerKey};

/// Bytes kept of what a peer said: a bitfield of two million pieces, and as much as peers say besides.
/// Who says more is dialled anew.
const SAID_BYTES_MAX: usize = (256 + 64) * 1024;

/// A peer that was connected before there was a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquainted {
    /// Its handshake.
    pub hello: Hello,
    /// Where it accepts connections, if known.
    pub listens_at: Option<SocketAddr>,
    /// Its messages, in order and as on the wire, but for those about metadata.
    pub said: Vec<u8>,
}

/// What a peer said that is of use later.
#[derive(Debug, Default)]
pub(super) struct Said {
    bytes: Vec<u8>,
    is_too_much: bool,
}

impl Said {
    pub(super) fn note(&mut self, message: &Message<'_>) {
        let is_of_use = match message {
            Message::KeepAlive => false,
            // Nothing else was offered by us.
            Message::Extended { id, .. } => *id == 0,
            _ => true,
        };
        if is_of_use && !self.is_too_much {
            message.encode(&mut self.bytes);
            if self.bytes.len() > SAID_BYTES_MAX {
                *self = Self { bytes: Vec::new(), is_too_much: true };
            }
        }
    }
}

impl Metadata {
    /// The metadata is there, and the peer's connection goes over to [`crate::Swarm::take_over`]. From
    /// then on it is unknown here. `None` when the connection is to end: [`Self::remove_peer`] follows.
    pub fn hand_over(&mut self, key: PeerKey) -> Option<Acquainted> {
        let liars = &self.liars;
        let is_fit = |peer: &Peer| {
            !peer.closing && !peer.said.is_too_much && !liars.contains(&peer.hello.addr.ip())
        };
        self.peers.get(&key).filter(|peer| self.found && is_fit(peer))?;
        let peer = self.peers.remove(&key)?;
        let Peer { hello, listens_at, said, .. } = peer;
        Some(Acquainted { hello, listens_at, said: said.bytes })
    }
}

#[cfg(test)]
mod tests;
