//! What there is to know of connections.

use std::net::SocketAddr;
use std::time::Duration;

use super::{ConnectionId, Endpoint};

impl Endpoint {
    /// How many connections there are, those included that are being opened or closed.
    pub fn connections(&self) -> usize {
        self.ids.len()
    }

    /// Where the peer is.
    pub fn remote(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.get(id).map(|connection| connection.remote)
    }

    /// Whether a connection goes by this port of ours.
    pub fn uses(&self, local_port: u16) -> bool {
        let connections = self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        connections
            .filter_map(|connection| connection.local)
            .any(|local| local.port() == local_port)
    }

    /// Bytes that may be in flight, and how long packets queue.
    pub fn window(&self, id: ConnectionId) -> Option<(usize, Duration)> {
        let connection = self.get(id)?;
        Some((connection.window(), Duration::from_micros(connection.path(0).queue)))
    }
}
