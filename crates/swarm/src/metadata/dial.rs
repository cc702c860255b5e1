//! Whom to connect to, while the metadata is looked for.

use std::net::SocketAddr;
use std::time::Duration;

use super::Metadata;
use crate::reach::owner;
use crate::{Reached, Source, Way};

impl Metadata {
    /// The next address to connect to; every one is answered by [`Self::add_peer`] or
    /// [`Self::dial_failed`].
    pub fn next_dial(&mut self, now: Duration) -> Option<SocketAddr> {
        self.now = now;
        if self.found || self.is_full() && self.least(None).is_none() {
            return None;
        }
        let liars = &self.liars;
        self.candidates.next(now, false, |addr| liars.contains(&owner(addr.ip())))
    }

    /// No connection came of it.
    pub fn dial_failed(&mut self, now: Duration, addr: SocketAddr) {
        self.now = now;
        let jitter = self.rng.f64();
        self.candidates.unreached(now, addr, jitter);
    }

    /// The same of one that took a TCP connection and said nothing: it is dialled by uTP next, once.
    pub fn dial_hung_up(&mut self, now: Duration, addr: SocketAddr) {
        self.now = now;
        let jitter = self.rng.f64();
        self.candidates.hung_up(now, addr, jitter);
    }

    /// Where an address is from, if it is being dialled: whoever takes over is not to dial it as well.
    pub fn dialled_from(&self, addr: SocketAddr) -> Option<Source> {
        self.candidates.dialled_from(addr)
    }

    /// How to dial the address.
    pub fn way_to(&self, addr: SocketAddr) -> Way {
        self.candidates.way_to(addr)
    }

    /// The address was reached, and its owner shook hands.
    pub fn opened(&mut self, addr: SocketAddr, reached: Reached) {
        self.candidates.opened(addr, reached);
    }
}
