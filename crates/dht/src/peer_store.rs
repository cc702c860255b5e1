//! The peers that announced to us (BEP 5, 33): bounded for each torrent and in all, and forgotten
//! in time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Family, Origin, origin};
use crate::bloom::Bloom;
use crate::id::Id;

/// Who does not announce again is forgotten after this long; clients do after 15 minutes.
const LIFETIME: Duration = Duration::from_mins(30);

/// How often a full store is looked through for who expired: everybody may announce something that there
/// is no room for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Peer {
    addr: SocketAddr,
    is_seed: bool,
    expires: Duration,
}

/// Peers of a torrent, one for each address (BEP 33): ports and all else change.
type Swarm = BTreeMap<(Family, Origin), Peer>;

#[derive(Debug)]
pub(crate) struct PeerStore {
    swarms: BTreeMap<Id, Swarm>,
    peers: usize,
    /// When it was looked through last.
    looked_at: Option<Duration>,
    limits: PeerLimits,
}

/// How much is kept for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Torrents.
    pub torrents_max: usize,
    /// Peers of one torrent. Above 6,000 filters of them say nothing (BEP 33).
    pub peers_per_torrent_max: usize,
    /// Peers in all; each costs about 100 bytes.
    pub peers_max: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { torrents_max: 20_000, peers_per_torrent_max: 2_000, peers_max: 50_000 }
    }
}

impl PeerStore {
    pub(crate) fn new(limits: PeerLimits) -> Self {
        Self { swarms: BTreeMap::new(), peers: 0, looked_at: None, limits }
    }

    /// Torrents and peers.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.swarms.len(), self.peers)
    }

    pub(crate) fn expire(&mut self, now: Duration) {
        self.looked_at = Some(now);
        self.swarms.retain(|_, swarm| {
            swarm.retain(|_, peer| peer.expires > now);
            !swarm.is_empty()
        });
        self.peers = self.swarms.values().map(BTreeMap::len).sum();
    }

    /// Whether another peer of this torrent would be taken: if not, no token is given (BEP 33).
    pub(crate) fn has_room(&self, info_hash: Id) -> bool {
        self.swarms
            .get(&info_hash)
            .is_none_or(|swarm| swarm.len() < self.limits.peers_per_torrent_max)
    }

    /// Keeps a peer, or tells that there is no room. `own`: torrents far from our id make room
    /// for nearer ones.
    pub(crate) fn announce(
        &mut self,
        now: Duration,
        own: Id,
        info_hash: Id,
        addr: SocketAddr,
        is_seed: bool,
    ) -> bool {
        let key = (Family::of(addr), origin(addr));
        let peer = Peer { addr, is_seed, expires: now.saturating_add(LIFETIME) };
        if let Some(known) = self.swarms.get_mut(&info_hash).and_then(|swarm| swarm.get_mut(&key)) {
            *known = peer;
            return true;
        }
        let is_fresh = self.looked_at.is_some_and(|at| now.saturating_sub(at) < LOOK_EVERY);
        if self.is_full_for(info_hash) && !is_fresh {
            self.expire(now);
        }
        if !self.has_room(info_hash) {
            return false;
        }
        while self.is_full_for(info_hash) {
            let furthest = own.furthest_of(&self.swarms);
            let furthest = furthest.filter(|id| id.distance(own) > info_hash.distance(own));
            let Some(swarm) = furthest.and_then(|id| self.swarms.remove(&id)) else {
                return false;
            };
            self.peers = self.peers.saturating_sub(swarm.len());
        }
        self.swarms.entry(info_hash).or_default().insert(key, peer);
        self.peers = self.peers.saturating_add(1);
        true
    }

    fn is_full_for(&self, info_hash: Id) -> bool {
        let is_new = !self.swarms.contains_key(&info_hash);
        self.peers >= self.limits.peers_max
            || (is_new && self.swarms.len() >= self.limits.torrents_max)
            || !self.has_room(info_hash)
    }

    /// A random choice of at most `count` peers of one family.
    pub(crate) fn sample(
        &self,
        now: Duration,
        info_hash: Id,
        family: Family,
        no_seeds: bool,
        count: usize,
        rng: &mut fastrand::Rng,
    ) -> Vec<SocketAddr> {
        let Some(swarm) = self.swarms.get(&info_hash) else { return Vec::new() };
        let fits = |peer: &&Peer| {
            peer.expires > now && Family::of(peer.addr) == family && !(no_seeds && peer.is_seed)
        };
        let fitting = swarm.values().filter(fits).map(|peer| peer.addr);
        rng.choose_multiple(fitting, count)
    }

    /// Filters of the seeds and of the others (BEP 33); `None` for a torrent we know nothing of.
    pub(crate) fn blooms(&self, now: Duration, info_hash: Id) -> Option<(Bloom, Bloom)> {
        let swarm = self.swarms.get(&info_hash)?;
        let (mut seeds, mut peers) = (Bloom::default(), Bloom::default());
        for peer in swarm.values().filter(|peer| peer.expires > now) {
            let filter = if peer.is_seed { &mut seeds } else { &mut peers };
            filter.insert(peer.addr.ip());
        }
        Some((seeds, peers))
    }

    /// A random choice of torrents (BEP 51).
    pub(crate) fn torrents(&self, count: usize, rng: &mut fastrand::Rng) -> Vec<Id> {
        rng.choose_multiple(self.swarms.keys().copied(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Id = Id([0; 20]);

    fn peer(n: u32, port: u16) -> SocketAddr {
        SocketAddr::from(((0x0800_0000 + n).to_be_bytes(), port))
    }

    fn torrent(n: u8) -> Id {
        Id([n; 20])
    }

    fn store(torrents_max: usize, peers_per_torrent_max: usize, peers_max: usize) -> PeerStore {
        PeerStore::new(PeerLimits { torrents_max, peers_per_torrent_max, peers_max })
    }

    fn all(store: &PeerStore, now: Duration, torrent: Id) -> Vec<SocketAddr> {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut all = store.sample(now, torrent, Family::V4, false, 1000, rng);
        all.sort();
        all
    }

    #[test]
    fn an_address_is_one_peer_whose_port_may_change_and_who_expires() {
        let mut store = store(10, 10, 10);
        let at = Duration::from_mins;
        assert!(store.announce(at(0), OWN, torrent(1), peer(1, 1), false));
        assert!(store.announce(at(10), OWN, torrent(1), peer(1, 2), true));
        assert_eq!(all(&store, at(10), torrent(1)), [peer(1, 2)]);
        assert_eq!(all(&store, at(39), torrent(1)), [peer(1, 2)]);
        assert_eq!(all(&store, at(40), torrent(1)), [], "after thirty minutes");
        store.expire(at(40));
        assert_eq!(store.len(), (0, 0));
    }

    /// features.md 70: limits of every kind.
    #[test]
    fn every_limit_holds_and_near_torrents_win() {
        let now = Duration::ZERO;
        let mut store = store(3, 5, 12);
        assert_eq!(
            (0..50).filter(|n| store.announce(now, OWN, torrent(9), peer(*n, 1), false)).count(),
            5
        );
        assert!(!store.has_room(torrent(9)));
        assert!(store.announce(now, OWN, torrent(9), peer(1, 7), false), "who is there may stay");
        for near in [4, 3] {
            (0..5)
                .for_each(|n| assert!(store.announce(now, OWN, torrent(near), peer(n, 1), false)));
        }
        assert_eq!(store.len(), (2, 10), "the furthest made room");
        assert!(!store.announce(now, OWN, torrent(200), peer(0, 1), false) || store.len().1 <= 12);
        for n in 10..250 {
            let _ = store.announce(now, OWN, torrent(n), peer(0, 1), false);
            assert!(store.len().0 <= 3 && store.len().1 <= 12);
        }
        assert!(!store.has_room(torrent(3)), "near ones are still there");
        let later = Duration::from_mins(31);
        assert!(store.announce(later, OWN, torrent(250), peer(0, 1), false), "the old expire");
        assert_eq!(store.len(), (1, 1));
    }

    #[test]
    fn a_full_store_is_not_looked_through_for_each_who_asks() {
        let mut store = store(10, 10, 1);
        let at = Duration::from_secs;
        assert!(store.announce(Duration::ZERO, OWN, torrent(1), peer(1, 1), false));
        // The first expires after thirty minutes.
        assert!(!store.announce(at(1795), OWN, torrent(2), peer(2, 1), false), "looked through");
        assert!(!store.announce(at(1800), OWN, torrent(2), peer(2, 1), false), "not again yet");
        assert!(store.announce(at(1805), OWN, torrent(2), peer(2, 1), false));
    }

    #[test]
    fn seeds_are_left_out_and_counted_apart() {
        let now = Duration::ZERO;
        let mut store = store(10, 100, 100);
        (0..20).for_each(|n| assert!(store.announce(now, OWN, torrent(1), peer(n, 1), n < 5)));
        let v6 = "[2600::1]:1".parse().unwrap();
        assert!(store.announce(now, OWN, torrent(1), v6, false));
        let rng = &mut fastrand::Rng::with_seed(1);
        assert_eq!(store.sample(now, torrent(1), Family::V4, true, 100, rng).len(), 15);
        assert_eq!(store.sample(now, torrent(1), Family::V4, false, 7, rng).len(), 7);
        assert_eq!(store.sample(now, torrent(1), Family::V6, false, 7, rng), [v6]);
        let (seeds, peers) = store.blooms(now, torrent(1)).unwrap();
        assert!((seeds.estimate() - 5.0).abs() < 1.0 && (peers.estimate() - 16.0).abs() < 1.0);
        assert!(store.blooms(now, torrent(2)).is_none());
        assert_eq!(store.torrents(20, rng), [torrent(1)]);
    }
}
