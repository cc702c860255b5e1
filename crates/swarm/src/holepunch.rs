//! Holepunching (BEP 55): peers behind NATs dial each other at a moment that a third one, the relay,
//! gives them. We are the relay, and either end.
//!
//! Everybody in it may be a stranger who lies. As relay we send what is asked for to two peers of ours
//! and to nobody else, at most one small message for one. As an end we dial what a relay names, by
//! uTP, whose first packet is smaller than the message. Both are bounded for each peer.

use std::net::SocketAddr;
use std::time::Duration;

use wire::{Extension, HolepunchError, HolepunchMessage};

use crate::candidates::canonical;
use crate::peer::Peer;
use crate::reach::may_tell;
use crate::{Action, PeerKey, Source, Swarm};

/// What a peer may ask of us at once, or have us do. A relay of many peers names many.
const BURST: u32 = 10;
/// And how often after that.
const EVERY: Duration = Duration::from_secs(3);

/// How much of something a peer may still cause.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// Since when it grows.
    since: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: BURST, since: Duration::ZERO }
    }
}

impl Allowance {
    fn take(&mut self, now: Duration) -> bool {
        let grown = now.saturating_sub(self.since).as_secs() / EVERY.as_secs();
        if self.left == BURST || grown >= u64::from(BURST - self.left) {
            (self.left, self.since) = (BURST, now);
        } else {
            self.left += grown as u32;
            self.since += EVERY * grown as u32;
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

/// What a peer has caused by the extension.
#[derive(Debug, Default)]
pub(crate) struct Holepunch {
    /// Its wishes to meet others.
    asked: Allowance,
    /// The wishes of others to meet it.
    wanted: Allowance,
    /// Addresses that it had us dial.
    named: Allowance,
}

impl Swarm {
    /// Whether the extension is spoken at all: it names peers, which private torrents' may not.
    pub(crate) fn punches(&self) -> bool {
        self.settings.holepunch && self.settings.peer_exchange
    }

    pub(crate) fn holepunch(&mut self, key: PeerKey, payload: &[u8]) {
        let speaks = self.peers.get(key).is_some_and(speaks);
        if !speaks || !self.punches() {
            return; // BEP 55: silently
        }
        match HolepunchMessage::decode(payload) {
            Some(HolepunchMessage::Rendezvous(addr)) => self.relay(key, addr),
            Some(HolepunchMessage::Connect(addr)) => self.meet(key, canonical(addr)),
            Some(HolepunchMessage::Error(addr, _)) => {
                self.candidates.not_introduced(canonical(addr), key);
            }
            None => {}
        }
    }

    /// Brings `asker` together with a peer of ours that is known by `addr`.
    fn relay(&mut self, asker: PeerKey, addr: SocketAddr) {
        let now = self.now;
        let Some(from) = self.peers.get_mut(asker) else { return };
        if !from.holepunch.asked.take(now) {
            return;
        }
        let from_addr = from.hole();
        match self.acquaintance(asker, addr) {
            Ok(other) => {
                let Some(to) = self.peers.get_mut(other) else { return };
                if !to.holepunch.wanted.take(now) {
                    return;
                }
                let to_addr = to.hole();
                self.say(other, HolepunchMessage::Connect(from_addr));
                self.say(asker, HolepunchMessage::Connect(to_addr));
            }
            Err(error) => self.say(asker, HolepunchMessage::Error(addr, error)),
        }
    }

    /// Who is known to others by this address, and may be brought together with `asker`.
    fn acquaintance(&self, asker: PeerKey, addr: SocketAddr) -> Result<PeerKey, HolepunchError> {
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return Err(HolepunchError::NoSuchPeer);
        }
        if self.candidates.is_ourselves(addr) {
            return Err(HolepunchError::NoSelf);
        }
        let asking = self.peers.get(asker).ok_or(HolepunchError::NotConnected)?.hello.addr.ip();
        let is_meant = |peer: &&Peer| {
            let known = peer.hello.addr == addr || peer.listens_at == Some(addr);
            // Nobody hears of who is in a network that it is not in itself.
            let apart = may_tell(addr.ip(), asking) && may_tell(asking, addr.ip());
            known && apart && peer.key != asker && !peer.closing
        };
        let meant = self.peers.iter().find(is_meant).ok_or(HolepunchError::NotConnected)?;
        if speaks(meant) { Ok(meant.key) } else { Err(HolepunchError::NoSupport) }
    }

    /// A relay says that the owner of `addr` dials us now.
    fn meet(&mut self, relay: PeerKey, addr: SocketAddr) {
        let now = self.now;
        let is_there = |peer: &Peer| {
            !peer.closing && (peer.hello.addr == addr || peer.listens_at == Some(addr))
        };
        if self.blame.is_banned(addr.ip()) || self.peers.iter().any(is_there) || !self.may_dial() {
            return;
        }
        let Some(peer) = self.peers.get_mut(relay) else { return };
        let may = may_tell(addr.ip(), peer.hello.addr.ip());
        if !may || !peer.holepunch.named.take(now) {
            return;
        }
        self.candidates.add(now, Source::PeerExchange, addr);
        if self.candidates.punch(now, addr) {
            self.punches.push_back(addr);
            self.actions.push_back(Action::Dial);
        }
    }

    /// The next address to dial by uTP alone, whose owner dials us at the same time. What comes of it
    /// is for [`Self::add_peer`] or [`Self::punch_failed`].
    pub fn next_punch(&mut self) -> Option<SocketAddr> {
        self.punches.pop_front()
    }

    /// An address of [`Self::next_punch`] did not become a peer.
    pub fn punch_failed(&mut self, addr: SocketAddr) {
        self.candidates.punched(addr);
    }

    /// A peer's connection is a uTP one: its address is where the NAT lets it be dialled.
    pub fn came_by_utp(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.by_utp = true;
        }
    }

    /// Asks whoever told of an address that could not be dialled to bring us together.
    pub(crate) fn ask_for_introduction(&mut self, addr: SocketAddr) {
        let Some(teller) = self.candidates.told_by(addr).filter(|_| self.punches()) else { return };
        if self.peers.get(teller).is_some_and(speaks) {
            self.say(teller, HolepunchMessage::Rendezvous(addr));
        }
    }

    fn say(&mut self, to: PeerKey, message: HolepunchMessage) {
        self.send_extended(to, Extension::Holepunch, message.encode());
    }
}

/// Whether a peer knows the extension.
pub(crate) fn speaks(peer: &Peer) -> bool {
    peer.extensions.id_of(Extension::Holepunch).is_some()
}

impl Peer {
    /// Where others are to dial it. A uTP connection comes from the socket that listens, so its
    /// address is what the NAT has made of that; of a TCP connection the port is another.
    fn hole(&self) -> SocketAddr {
        match self.listens_at {
            Some(addr) if !self.by_utp => addr,
            _ => self.hello.addr,
        }
    }
}
