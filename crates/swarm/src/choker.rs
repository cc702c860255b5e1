//! Whom to serve (BEP 3): tit for tat while downloading, turns while seeding, and always one peer
//! on trust.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crowd::{Host, host};
use crate::peer::Peer;
use crate::{PeerKey, Swarm};

/// How often slots are dealt anew: shorter and TCP never gets up to speed.
const ROUND: Duration = Duration::from_secs(10);
/// How long a peer is served on trust.
const OPTIMISTIC_TURN: Duration = Duration::from_secs(30);
/// A peer this young has had no chance to give anything: it counts three times in the draw.
const NEWCOMER: Duration = Duration::from_mins(1);
const NEWCOMER_WEIGHT: usize = 3;
/// While seeding, how long a peer keeps its slot when others wait.
const SEED_TURN: Duration = Duration::from_mins(1);

pub(crate) struct Choker {
    next_round: Duration,
    optimistic: Option<PeerKey>,
    optimistic_until: Duration,
}

impl Choker {
    pub(crate) fn new(now: Duration) -> Self {
        Self { next_round: now + ROUND, optimistic: None, optimistic_until: now }
    }

    pub(crate) fn next_round(&self) -> Duration {
        self.next_round
    }
}

impl Swarm {
    /// A peer's interest in us changed. A free slot is given away at once, not at the next round.
    pub(crate) fn interested(&mut self, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.is_interested == interested {
            return;
        }
        peer.is_interested = interested;
        let frees_slot = !interested && !peer.am_choking;
        if frees_slot {
            self.choke(key);
        }
        if interested || frees_slot {
            self.fill_upload_slots();
        }
        self.account(key);
    }

    /// Gives free slots to those who wait, the best first.
    pub(crate) fn fill_upload_slots(&mut self) {
        let used = self.peers.iter().filter(|peer| !peer.am_choking && !peer.closing).count();
        let free = self.settings.upload_slots.saturating_sub(used);
        if free == 0 {
            return; // a peer that changes its mind all the time has nobody ranked
        }
        let served = self.peers.iter().filter(|peer| !peer.am_choking && !peer.closing);
        let waiting = self.in_turns(self.ranked(|peer| peer.am_choking), served);
        for key in waiting.into_iter().take(free) {
            self.unchoke(key);
        }
    }

    pub(crate) fn choke_round(&mut self) {
        if self.now < self.choker.next_round {
            return;
        }
        self.choker.next_round = self.now + ROUND;
        self.show_to_the_patient();
        let slots = self.settings.upload_slots;
        let waiting = self.peers.iter().filter(|peer| is_candidate(peer)).count();
        let mut served: Vec<PeerKey> = if waiting <= slots {
            self.ranked(|_| true) // nobody has to wait: no reason to choke anybody
        } else {
            let optimistic = self.optimistic();
            let regular = slots.saturating_sub(usize::from(optimistic.is_some()));
            let ranked = self.ranked(|peer| Some(peer.key) != optimistic);
            let on_trust = optimistic.and_then(|key| self.peers.get(key));
            let ranked = self.in_turns(ranked, on_trust.into_iter());
            ranked.into_iter().take(regular).chain(optimistic).collect()
        };
        served.sort_unstable();
        let now_served = self.peers.iter().filter(|peer| !peer.am_choking);
        let dropped = now_served.map(|peer| peer.key).filter(|key| !served.contains(key));
        for key in dropped.collect::<Vec<_>>() {
            self.choke(key);
        }
        for key in served {
            self.unchoke(key);
        }
    }

    /// Interested peers that `which` names, the most deserving first.
    fn ranked(&self, which: impl Fn(&Peer) -> bool) -> Vec<PeerKey> {
        let (now, seeding) = (self.now, self.is_complete() || self.paused);
        let peers = self.peers.iter().filter(|peer| is_candidate(peer) && which(peer));
        let mut ranked: Vec<_> = peers
            .map(|peer| {
                let since = now.saturating_sub(peer.choke_changed);
                let rank = if seeding {
                    // Whoever has its turn keeps it, the fastest first; then the longest wait.
                    let in_turn = !peer.am_choking && since < SEED_TURN;
                    let speed = if in_turn { peer.upload.get(now) } else { 0 };
                    let wait = if peer.am_choking { since } else { Duration::ZERO };
                    (in_turn, speed, wait)
                } else {
                    // Whoever gives most; a peer that stalls on us has stopped giving.
                    let gives = !peer.window.is_snubbed();
                    (gives, peer.download.get(now), Duration::ZERO)
                };
                (rank, peer.key)
            })
            .collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.into_iter().map(|(_, key)| key).collect()
    }

    /// The same, but nobody's second connection is before another's first, besides those that are served.
    /// Who gives keeps the place that it earned.
    fn in_turns<'a>(
        &self,
        ranked: Vec<PeerKey>,
        served: impl Iterator<Item = &'a Peer>,
    ) -> Vec<PeerKey> {
        let (now, seeding) = (self.now, self.is_complete() || self.paused);
        let mut turns: BTreeMap<Host, u32> = BTreeMap::new();
        for peer in served {
            *turns.entry(host(peer.hello.addr)).or_default() += 1;
        }
        let turn = |key: PeerKey| {
            let peer = self.peers.get(key)?;
            let gives = !seeding && peer.download.get(now) > 0;
            let turn = turns.entry(host(peer.hello.addr)).or_default();
            *turn += 1;
            Some((if gives { 0 } else { *turn }, key))
        };
        let mut turns: Vec<_> = ranked.into_iter().filter_map(turn).collect();
        turns.sort_by_key(|(turn, _)| *turn); // those of one turn stay in their order
        turns.into_iter().map(|(_, key)| key).collect()
    }

    /// The peer served on trust: drawn anew when its turn is over, and each host is drawn as one.
    fn optimistic(&mut self) -> Option<PeerKey> {
        if self.settings.without.optimistic_unchoke {
            return None;
        }
        let now = self.now;
        let current = self.choker.optimistic.filter(|_| now < self.choker.optimistic_until);
        let current = current.filter(|key| self.peers.get(*key).is_some_and(is_candidate));
        if current.is_some() {
            return current;
        }
        let waiting = self.peers.iter().filter(|peer| is_candidate(peer) && peer.am_choking);
        let mut hosts: Vec<(Host, bool, Vec<PeerKey>)> = Vec::new();
        for peer in waiting {
            let new = now.saturating_sub(peer.connected_at) < NEWCOMER;
            let whose = host(peer.hello.addr);
            match hosts.iter_mut().find(|(host, ..)| *host == whose) {
                Some((_, is_new, keys)) => {
                    *is_new |= new;
                    keys.push(peer.key);
                }
                None => hosts.push((whose, new, vec![peer.key])),
            }
        }
        let tickets = hosts.iter().flat_map(|(_, new, keys)| {
            std::iter::repeat_n(keys, if *new { NEWCOMER_WEIGHT } else { 1 })
        });
        self.choker.optimistic = match self.rng.choice(tickets.collect::<Vec<_>>()) {
            Some(keys) if keys.len() > 1 => self.rng.choice(keys).copied(),
            keys => keys.and_then(|keys| keys.first().copied()),
        };
        self.choker.optimistic_until = now + OPTIMISTIC_TURN;
        self.choker.optimistic
    }
}

/// Who can be served at all.
fn is_candidate(peer: &Peer) -> bool {
    peer.is_interested && !peer.closing
}
