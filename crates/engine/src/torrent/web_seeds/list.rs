//! Which web seeds a torrent has, how each is doing, and who of them is asked at the moment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use swarm::{PeerKey, Swarm};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use webseed::{Failure, Kind, Names, Queue, Source, Standing};
use wire::Message;

use crate::handle::TorrentShared;
use crate::net::Network;
use crate::web_seed::{WebSeedState, WebSeedStatus};

/// Web seeds that are asked at the same time: the others are for when these fail.
const ACTIVE_MAX: usize = 8;

/// All web seeds of a torrent.
pub(in super::super) struct WebSeeds {
    pub(super) seeds: Vec<WebSeed>,
    /// `None` without seeds: a torrent that rests costs little.
    pub(super) names: Option<Rc<Names>>,
    pub(super) rng: fastrand::Rng,
}

pub(super) struct WebSeed {
    pub(super) source: Source,
    /// What the brain calls it, while it is asked.
    pub(super) key: Option<PeerKey>,
    pub(super) queue: Queue,
    pub(super) standing: Standing,
    pub(super) failure: Option<Failure>,
    /// Files that it does not have.
    pub(super) lacks: BTreeSet<usize>,
    pub(super) downloaded: u64,
    pub(super) workers: usize,
    pub(super) idle: usize,
    /// There is work for those that have none.
    pub(super) work: Rc<Notify>,
    /// It is not asked any more.
    pub(super) over: CancellationToken,
}

impl WebSeeds {
    pub(in super::super) fn new(shared: &TorrentShared) -> Self {
        let torrent = &shared.torrent;
        let kinds = [(Kind::Files, &torrent.web_seeds), (Kind::Pieces, &torrent.http_seeds)];
        let mut seeds: Vec<WebSeed> = Vec::new();
        for (kind, urls) in kinds {
            for url in urls {
                let source = Source { url: url.clone(), kind };
                let known = seeds.iter().any(|seed| seed.source == source);
                if !known && seeds.len() < usize::from(u16::MAX) {
                    seeds.push(WebSeed::new(source));
                }
            }
        }
        let names = (!seeds.is_empty()).then(|| Rc::new(Names::of(&torrent.info)));
        Self { seeds, names, rng: fastrand::Rng::new() }
    }

    /// Lets as many join as may be asked and are of use. Not while the network is away.
    pub(in super::super) fn join(
        &mut self,
        swarm: &mut Swarm,
        now: Duration,
        shared: &TorrentShared,
        network: &Network,
    ) {
        if shared.seed_only || swarm.is_complete() || network.is_lost() {
            return;
        }
        let mut active = self.seeds.iter().filter(|seed| seed.key.is_some()).count();
        for (seed, number) in self.seeds.iter_mut().zip(0..) {
            let ready = seed.standing.ready_at().is_some_and(|at| at <= now);
            if active >= ACTIVE_MAX || seed.key.is_some() || !ready {
                continue;
            }
            let Ok(key) = swarm.add_web_seed(now, number) else { continue };
            active += 1;
            seed.key = Some(key);
            seed.over = CancellationToken::new();
            for file in &seed.lacks {
                swarm.web_seed_lacks(now, key, shared.torrent.info.pieces_of_file(*file));
            }
        }
    }

    /// The network is back: who rests for want of it need not.
    pub(in super::super) fn network_back(&mut self) {
        self.seeds.iter_mut().for_each(|seed| seed.standing.network_back());
    }

    /// When one may be asked that rests.
    pub(in super::super) fn next_at(&self) -> Option<Duration> {
        let resting = self.seeds.iter().filter(|seed| seed.key.is_none());
        resting.filter_map(|seed| seed.standing.ready_at()).filter(|at| !at.is_zero()).min()
    }

    /// Whether any is asked.
    pub(in super::super) fn is_active(&self) -> bool {
        self.seeds.iter().any(|seed| seed.key.is_some())
    }

    /// Whether none is asked, and no connection to one is left.
    pub(in super::super) fn is_at_rest(&self) -> bool {
        self.seeds.iter().all(|seed| seed.key.is_none() && seed.workers == 0)
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    /// What the brain says to a peer, if that is a web seed.
    pub(in super::super) fn told(&mut self, peer: PeerKey, message: &Message<'_>) -> bool {
        let Some(seed) = self.seeds.iter_mut().find(|seed| seed.key == Some(peer)) else {
            return false;
        };
        seed.queue.told(message);
        true
    }

    /// A peer is not asked any more. False when that is no web seed.
    pub(in super::super) fn leave(&mut self, peer: PeerKey) -> bool {
        let seed = self.seeds.iter_mut().find(|seed| seed.key == Some(peer));
        seed.map(WebSeed::leave).is_some()
    }

    /// None is asked any more.
    pub(in super::super) fn leave_all(&mut self) -> Vec<PeerKey> {
        self.seeds.iter_mut().filter_map(WebSeed::leave).collect()
    }

    /// Whose address this is, if it is a web seed's.
    pub(in super::super) fn number_of(&self, ip: IpAddr) -> Option<u16> {
        (0..).take(self.seeds.len()).find(|number| swarm::web_seed_ip(*number) == ip)
    }

    pub(super) fn at(&mut self, number: u16) -> Option<&mut WebSeed> {
        self.seeds.get_mut(usize::from(number))
    }

    /// The seed, if it is still asked under this key.
    pub(super) fn asked(&mut self, number: u16, key: PeerKey) -> Option<&mut WebSeed> {
        self.at(number).filter(|seed| seed.key == Some(key))
    }

    /// A snapshot for people.
    pub(in super::super) fn statuses(
        &self,
        now: Duration,
        rate_of: impl Fn(IpAddr) -> u64,
    ) -> Vec<WebSeedStatus> {
        let numbered = self.seeds.iter().zip(0..);
        numbered
            .map(|(seed, number)| seed.status(now, rate_of(swarm::web_seed_ip(number))))
            .collect()
    }
}

impl WebSeed {
    fn new(source: Source) -> Self {
        Self {
            source,
            key: None,
            queue: Queue::default(),
            standing: Standing::default(),
            failure: None,
            lacks: BTreeSet::new(),
            downloaded: 0,
            workers: 0,
            idle: 0,
            work: Rc::default(),
            over: CancellationToken::new(),
        }
    }

    pub(super) fn leave(&mut self) -> Option<PeerKey> {
        self.queue.clear();
        self.over.cancel();
        self.key.take()
    }

    fn status(&self, now: Duration, download_rate: u64) -> WebSeedStatus {
        let next_in = self.standing.ready_at().and_then(|at| at.checked_sub(now));
        let next_in = next_in.filter(|_| self.key.is_none());
        let state = match next_in {
            _ if self.key.is_some() => WebSeedState::Active,
            _ if self.standing.is_out() => WebSeedState::Out,
            Some(_) => WebSeedState::Resting,
            None => WebSeedState::Idle,
        };
        WebSeedStatus {
            url: self.source.shown(),
            state,
            downloaded: self.downloaded,
            download_rate,
            connections: self.workers as u32,
            files_missing: self.lacks.len() as u32,
            error: self.failure.as_ref().map(Failure::to_string),
            next_step: self.failure.as_ref().map(Failure::next_step),
            next_in,
        }
    }
}
