//! Peer exchange (BEP 11): each peer is told whom we are connected to, and tells us the same.
//!
//! What goes out is what changed since the last message to that peer, once a minute. What comes in is
//! hearsay: it is bounded by message, by time, by connection and, in `candidates`, altogether.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wire::{Extension, PEX_SENT_MAX, PexFlags, PexMessage};

use crate::peer::Peer;
use crate::{PeerKey, Source, Swarm, holepunch, is_stand_in};

/// How often one peer is told (BEP 11).
const EVERY: Duration = Duration::from_mins(1);
/// Peers that come and go within this are told of together.
const GATHER: Duration = Duration::from_secs(2);
/// Messages that come sooner after the last are ignored. Clients' clocks are not exact.
const HEARD_EVERY: Duration = Duration::from_secs(45);
/// Addresses that one connection may tell us of. Whose swarm is larger has trackers too.
const HEARD_MAX: usize = 1000;

/// What one peer and we have told each other of others.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Whom it knows from us, in order.
    told: Vec<SocketAddr>,
    /// When it may be told more.
    next_at: Duration,
    heard_at: Option<Duration>,
    heard: usize,
}

impl Swarm {
    /// Somebody came, left, or said where it listens.
    pub(crate) fn exchange_soon(&mut self) {
        if self.settings.peer_exchange {
            let soon = self.now + GATHER;
            self.exchange_at = Some(self.exchange_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Tells those of others who have not been told for a minute.
    pub(crate) fn exchange_round(&mut self) {
        if self.exchange_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.exchange_at = None;
        let listens = |peer: &Peer| peer.extensions.id_of(Extension::PeerExchange).is_some();
        let listeners: Vec<PeerKey> =
            self.peers.iter().filter(|peer| listens(peer)).map(|peer| peer.key).collect();
        if listeners.is_empty() {
            return;
        }
        let mut known: Vec<_> =
            self.peers.iter().filter_map(|peer| self.introduction(peer)).collect();
        known.sort_unstable();
        known.dedup_by_key(|(addr, _)| *addr);
        let now = self.now;
        for key in listeners {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let message = if peer.exchange.next_at <= now { peer.news(now, &known) } else { None };
            let next_at = peer.exchange.next_at;
            if let Some(message) = message {
                self.send_extended(key, Extension::PeerExchange, message.encode());
            } else if next_at <= now {
                continue; // nothing is new to it, and what will be makes another round
            }
            self.exchange_at = Some(self.exchange_at.map_or(next_at, |at| at.min(next_at)));
        }
    }

    /// How others hear of a peer: where it can be reached, not where it came from.
    fn introduction(&self, peer: &Peer) -> Option<(SocketAddr, PexFlags)> {
        let addr = peer.listens_at.filter(|_| !peer.closing)?;
        if self.blame.is_banned(addr.ip()) {
            return None;
        }
        let mut flags = PexFlags::default();
        if peer.upload_only || peer.is_seed() {
            flags = flags.with(PexFlags::UPLOAD_ONLY);
        }
        if peer.hello.outgoing {
            flags = flags.with(PexFlags::REACHABLE);
        }
        if peer.by_utp {
            flags = flags.with(PexFlags::UTP);
        }
        if holepunch::speaks(peer) && self.punches() {
            flags = flags.with(PexFlags::HOLEPUNCH);
        }
        Some((addr, flags))
    }

    /// A peer tells us of others.
    pub(crate) fn told_of_peers(&mut self, key: PeerKey, payload: &[u8]) {
        let (now, complete) = (self.now, self.is_complete());
        let Some(peer) = self.peers.get_mut(key).filter(|_| self.settings.peer_exchange) else {
            return;
        };
        let exchange = &mut peer.exchange;
        if exchange.heard_at.is_some_and(|at| now < at + HEARD_EVERY) {
            return;
        }
        exchange.heard_at = Some(now);
        // What does not parse says nothing; the peer may be fine otherwise.
        let Ok(message) = PexMessage::decode(payload) else { return };
        let teller = peer.hello.addr.ip();
        let (room, before) = (HEARD_MAX.saturating_sub(exchange.heard), exchange.heard);
        let fresh: Vec<_> = message.added.into_iter().take(room).collect();
        exchange.heard = before + fresh.len();
        for (addr, flags) in fresh {
            // Who is complete has no use for who only uploads.
            let useless = complete && flags.has(PexFlags::UPLOAD_ONLY);
            if !useless && may_tell(addr.ip(), teller) {
                self.candidates.add(now, Source::PeerExchange, addr);
                self.candidates.told(addr, key, flags);
            }
        }
    }
}

impl Peer {
    /// What this peer has not been told of `known`, which is in order; `None` when that is nothing.
    fn news(&mut self, now: Duration, known: &[(SocketAddr, PexFlags)]) -> Option<PexMessage> {
        let own = [Some(self.hello.addr), self.listens_at];
        let told = &self.exchange.told;
        let is_new = |addr: &SocketAddr| {
            !own.contains(&Some(*addr))
                && told.binary_search(addr).is_err()
                && may_tell(addr.ip(), self.hello.addr.ip())
        };
        let added = known.iter().filter(|(addr, _)| is_new(addr)).take(PEX_SENT_MAX);
        let is_gone =
            |addr: &&SocketAddr| known.binary_search_by_key(*addr, |(known, _)| *known).is_err();
        let dropped = told.iter().filter(is_gone).copied().take(PEX_SENT_MAX);
        let message = PexMessage { added: added.copied().collect(), dropped: dropped.collect() };
        if message.added.is_empty() && message.dropped.is_empty() {
            return None;
        }
        let exchange = &mut self.exchange;
        exchange.told.retain(|addr| message.dropped.binary_search(addr).is_err());
        exchange.told.extend(message.added.iter().map(|(addr, _)| *addr));
        exchange.told.sort_unstable();
        exchange.next_at = now + EVERY;
        Some(message)
    }
}

/// Whether an address means the same to who tells of it and to who hears of it, of whom `other` is not
/// us: one that only a machine or a local network knows is for others there, and one that stands in for
/// something else for nobody. So nobody far away makes us knock at our own doors.
pub(crate) fn may_tell(addr: IpAddr, other: IpAddr) -> bool {
    Reach::of(addr) >= Reach::of(other) && !is_stand_in(addr)
}

/// From how far an address leads to the same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reach {
    /// From the same machine.
    #[default]
    Machine,
    /// From the same network.
    Network,
    /// From everywhere.
    World,
}

impl Reach {
    /// Of this address.
    pub fn of(ip: IpAddr) -> Self {
        let local = match ip {
            IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        match () {
            () if ip.is_loopback() => Self::Machine,
            () if local => Self::Network,
            () => Self::World,
        }
    }
}
