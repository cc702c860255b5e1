//! Whom to connect to, while the metadata is looked for.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Metadata, PEERS_MAX};

impl Metadata {
    /// The next address to connect to; every one is answered by [`Self::add_peer`] or
    /// [`Self::dial_failed`].
    pub fn next_dial(&mut self, now: Duration) -> Option<SocketAddr> {
        self.now = now;
        if self.found || self.peers.len() >= PEERS_MAX {
            return None;
        }
        let liars = &self.liars;
        self.candidates.next(now, false, |addr| liars.contains(&addr.ip()))
    }

    /// No connection came of it.
    pub fn dial_failed(&mut self, now: Duration, addr: SocketAddr) {
        self.now = now;
        let jitter = self.rng.f64();
        self.candidates.unreached(now, addr, jitter);
    }
}
