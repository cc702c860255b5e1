//! A torrent's web seeds (BEP 17, 19). To the brain each is a peer; what it asks of them waits in a
//! queue, which up to four connections to the server take runs from. A seed that fails leaves the
//! brain, its blocks go to others, and it joins again when its rest is over.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use metainfo::PieceIndex;
use storage::Block;
use swarm::{BlockFate, BlockOutcome, PeerKey, Swarm};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use webseed::{Failure, Kind, Names, Part, Place, Queue, Source, Standing, parts};
use wire::{BlockRequest, Message};

use super::{State, Torrent};
use crate::events::Event;
use crate::handle::TorrentShared;
use crate::http::Lines;
use crate::web_seed::{self, Fetcher, Filler, Unfetched, WebSeedState, WebSeedStatus};

/// Connections to one web seed: more than one hides the round trips of the others, and more than a
/// few is unkind to the server.
const CONNECTIONS_MAX: usize = 4;
/// Web seeds that are asked at the same time: the others are for when these fail.
const ACTIVE_MAX: usize = 8;
/// How long a connection without work is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Time for a connection and the head of an answer.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Answers that break off behind some bytes before that is a failure.
const RESUMED_MAX: u32 = 3;

/// All web seeds of a torrent.
pub(super) struct WebSeeds {
    seeds: Vec<WebSeed>,
    /// `None` without seeds: a torrent that rests costs little.
    names: Option<Rc<Names>>,
    rng: fastrand::Rng,
}

struct WebSeed {
    source: Source,
    /// What the brain calls it, while it is asked.
    key: Option<PeerKey>,
    queue: Queue,
    standing: Standing,
    failure: Option<Failure>,
    /// Files that it does not have.
    lacks: BTreeSet<usize>,
    downloaded: u64,
    workers: usize,
    idle: usize,
    /// There is work for those that have none.
    work: Rc<Notify>,
    /// It is not asked any more.
    over: CancellationToken,
}

impl WebSeeds {
    pub(super) fn new(shared: &TorrentShared) -> Self {
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

    /// Lets as many join as may be asked and are of use.
    pub(super) fn join(&mut self, swarm: &mut Swarm, now: Duration, shared: &TorrentShared) {
        if shared.seed_only || swarm.is_complete() {
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

    /// When one may be asked that rests.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let resting = self.seeds.iter().filter(|seed| seed.key.is_none());
        resting.filter_map(|seed| seed.standing.ready_at()).filter(|at| !at.is_zero()).min()
    }

    /// Whether any is asked.
    pub(super) fn is_active(&self) -> bool {
        self.seeds.iter().any(|seed| seed.key.is_some())
    }

    /// Whether none is asked, and no connection to one is left.
    pub(super) fn is_at_rest(&self) -> bool {
        self.seeds.iter().all(|seed| seed.key.is_none() && seed.workers == 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    /// What the brain says to a peer, if that is a web seed.
    pub(super) fn told(&mut self, peer: PeerKey, message: &Message<'_>) -> bool {
        let Some(seed) = self.seeds.iter_mut().find(|seed| seed.key == Some(peer)) else {
            return false;
        };
        match message {
            Message::Request(block) => seed.queue.ask(*block),
            Message::Cancel(block) => seed.queue.cancel(*block),
            _ => {}
        }
        true
    }

    /// A peer is not asked any more. False when that is no web seed.
    pub(super) fn leave(&mut self, peer: PeerKey) -> bool {
        let seed = self.seeds.iter_mut().find(|seed| seed.key == Some(peer));
        seed.map(WebSeed::leave).is_some()
    }

    /// None is asked any more.
    pub(super) fn leave_all(&mut self) -> Vec<PeerKey> {
        self.seeds.iter_mut().filter_map(WebSeed::leave).collect()
    }

    /// Whose address this is, if it is a web seed's.
    pub(super) fn number_of(&self, ip: IpAddr) -> Option<u16> {
        (0..).take(self.seeds.len()).find(|number| swarm::web_seed_ip(*number) == ip)
    }

    fn at(&mut self, number: u16) -> Option<&mut WebSeed> {
        self.seeds.get_mut(usize::from(number))
    }

    /// The seed, if it is still asked under this key.
    fn asked(&mut self, number: u16, key: PeerKey) -> Option<&mut WebSeed> {
        self.at(number).filter(|seed| seed.key == Some(key))
    }

    /// A snapshot for people.
    pub(super) fn statuses(
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

    fn leave(&mut self) -> Option<PeerKey> {
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

/// A run that one connection fetches.
struct Run {
    key: PeerKey,
    blocks: Vec<BlockRequest>,
    start: u64,
    end: u64,
}

/// Why a run was not fetched whole.
struct Stopped {
    /// `None` when nobody wants it any more.
    failure: Option<Failure>,
    file: Option<usize>,
    left: Vec<BlockRequest>,
}

impl Torrent {
    /// Gives what waits for web seeds to connections: to those without work, else to a new one.
    pub(super) fn serve_web_seeds(&self, state: &mut State) {
        for number in (0u16..).take(state.web.seeds.len()) {
            let Some(seed) = state.web.at(number) else { break };
            if seed.key.is_none() || seed.queue.is_empty() {
                continue;
            }
            if seed.idle > 0 {
                seed.work.notify_waiters();
                continue;
            }
            let connections = Arc::clone(&self.context.session.connections);
            if seed.workers < CONNECTIONS_MAX
                && let Some(torrent) = self.me.upgrade()
                && let Ok(slot) = connections.try_acquire_owned()
            {
                seed.workers += 1;
                let over = seed.over.clone();
                tokio::task::spawn_local(torrent.web_seed_worker(number, over, slot));
            }
        }
    }

    async fn web_seed_worker(
        self: Rc<Self>,
        number: u16,
        over: CancellationToken,
        _slot: OwnedSemaphorePermit,
    ) {
        let addr = (swarm::web_seed_ip(number), 0).into();
        let work = self.guarded_peer(addr, self.web_seed_work(number));
        let done = tokio::select! {
            () = over.cancelled() => Ok(()),
            done = work => done,
        };
        if self.failed.get() {
            return;
        }
        if let Err(panicked) = done {
            let failure = Failure::Broken(panicked.to_string());
            self.change(|state, now| self.web_seed_failed(state, now, number, failure));
        }
        // Whoever follows it takes what it left.
        self.change(|state, _| {
            let Some(seed) = state.web.at(number) else { return };
            seed.workers -= 1;
            seed.idle = seed.idle.min(seed.workers);
        });
        self.wake();
    }

    /// Fetches run after run over the connections that it keeps, as long as there are some.
    async fn web_seed_work(&self, number: u16) {
        let Some((source, names)) = self.web_seed_source(number) else { return };
        let http = self.context.session.trackers.http().clone();
        let allow_private = self.context.session.settings.allow_private_trackers;
        let policy = web_seed::policy(&source, allow_private);
        let mut fetcher = Fetcher::new(Lines::new(http, HEAD_LIMIT), policy);
        while let Some(run) = self.next_run(number).await {
            fetcher.rested();
            let stopped = self.fetch_run(number, &source, &names, &mut fetcher, &run).await;
            let Err(stopped) = stopped else { continue };
            let Some(failure) = stopped.failure else { return };
            let goes_on = self.change(|state, now| {
                let asked = state.web.asked(number, run.key)?;
                if failure.is_of_one_file()
                    && let Some(file) = stopped.file
                {
                    asked.queue.give_back(&stopped.left);
                    self.web_seed_lacks(state, now, number, file, failure)
                } else {
                    self.web_seed_failed(state, now, number, failure);
                    None
                }
            });
            if goes_on.is_none() {
                return;
            }
        }
    }

    fn web_seed_source(&self, number: u16) -> Option<(Source, Rc<Names>)> {
        let mut state = self.state();
        let names = state.web.names.clone()?;
        Some((state.web.at(number)?.source.clone(), names))
    }

    /// Waits for a run to fetch; `None` when none comes for a while.
    async fn next_run(&self, number: u16) -> Option<Run> {
        loop {
            let work = Rc::clone(&self.state().web.at(number)?.work);
            let notified = work.notified(); // from here on no work is missed
            if self.stopped.get() {
                return None;
            }
            let run = self.change(|state, _| {
                let geometry = state.swarm.geometry().clone();
                let seed = state.web.at(number)?;
                let free = CONNECTIONS_MAX - (seed.workers - seed.idle) + 1;
                let blocks = seed.queue.take(free, &geometry);
                let (key, first, last) = (seed.key?, *blocks.first()?, *blocks.last()?);
                let at = |block: BlockRequest| {
                    geometry.piece_offset(block.piece) + u64::from(block.begin)
                };
                let (start, end) = (at(first), at(last) + u64::from(last.length));
                Some(Run { key, blocks, start, end })
            });
            if run.is_some() {
                return run;
            }
            self.state().web.at(number)?.idle += 1;
            let came = tokio::time::timeout(KEPT_FOR, notified).await;
            let mut state = self.state();
            let seed = state.web.at(number)?;
            seed.idle = seed.idle.saturating_sub(1);
            came.ok()?;
        }
    }

    async fn fetch_run(
        &self,
        number: u16,
        source: &Source,
        names: &Names,
        fetcher: &mut Fetcher,
        run: &Run,
    ) -> Result<(), Stopped> {
        let info = &self.shared.torrent.info;
        let mut filler = Filler::new(run.blocks.clone());
        for part in parts(info, source.kind, run.start, run.end) {
            let fetched =
                self.fetch_part(number, source, names, fetcher, run.key, &mut filler, part);
            if let Err(failure) = fetched.await {
                let file = match part.place {
                    Place::File { file, .. } => Some(file),
                    Place::Pad | Place::Piece { .. } => None,
                };
                return Err(Stopped { failure, file, left: filler.left().copied().collect() });
            }
        }
        self.change(|state, _| {
            if let Some(seed) = state.web.asked(number, run.key) {
                seed.standing.served();
                seed.failure = seed.failure.take().filter(Failure::is_of_one_file);
            }
        });
        Ok(())
    }

    /// Fetches a part to its end. An answer that breaks off is gone on with where it ended.
    #[allow(clippy::too_many_arguments, reason = "one run's, all of them different")]
    async fn fetch_part(
        &self,
        number: u16,
        source: &Source,
        names: &Names,
        fetcher: &mut Fetcher,
        key: PeerKey,
        filler: &mut Filler,
        part: Part,
    ) -> Result<(), Option<Failure>> {
        let (info, info_hash) = (&self.shared.torrent.info, self.shared.info_hash());
        let mut sink = |bytes: &[u8]| {
            let whole = filler.push(bytes, || self.context.arena.take());
            whole.is_empty() || self.web_seed_blocks(number, key, whole, filler)
        };
        let (mut left, mut resumed) = (Some(part), 0);
        while let Some(part) = left {
            let Some(request) = source.request(info, info_hash, names, &part) else {
                if part.place != Place::Pad {
                    return Err(Some(Failure::BadUrl("the torrent has no such file".into())));
                }
                let zeros = vec![0; part.length.min(64 * 1024) as usize];
                if !sink(&zeros) {
                    return Err(None);
                }
                left = part.after(zeros.len() as u64);
                continue;
            };
            let came = match fetcher.fetch(&request, &mut sink).await {
                Ok(came) => came,
                Err(Unfetched { came, failure: Some(Failure::Broken(_)) })
                    if came > 0 && resumed < RESUMED_MAX =>
                {
                    resumed += 1;
                    came
                }
                Err(Unfetched { failure, .. }) => return Err(failure),
            };
            left = part.after(came);
        }
        Ok(())
    }

    /// Hands blocks to the brain. False when it does not want any from this seed.
    fn web_seed_blocks(
        &self,
        number: u16,
        key: PeerKey,
        blocks: Vec<(BlockRequest, Block)>,
        filler: &Filler,
    ) -> bool {
        if self.stopped.get() {
            return false;
        }
        self.change(|state, now| {
            for (block, data) in blocks {
                let Some(seed) = state.web.asked(number, key) else { return false };
                seed.queue.arrived(block);
                seed.downloaded += u64::from(block.length);
                let keep = matches!(state.swarm.block_head(now, key, block), Ok(BlockFate::Keep));
                if state.swarm.block(now, key, block) == BlockOutcome::Stored && keep {
                    state.keep(block, data);
                }
            }
            let left = || filler.left();
            let asked = state.web.asked(number, key);
            left().next().is_none() || asked.is_some_and(|seed| seed.queue.wants_any(left()))
        })
    }

    /// A file can't be had of the seed: the pieces that it has a part in come from others.
    fn web_seed_lacks(
        &self,
        state: &mut State,
        now: Duration,
        number: u16,
        file: usize,
        failure: Failure,
    ) -> Option<()> {
        let info = &self.shared.torrent.info;
        let seed = state.web.at(number)?;
        let key = seed.key?;
        seed.lacks.insert(file);
        let has_data = |file: &metainfo::FileEntry| file.length > 0 && !file.attributes.pad;
        let mut files = info.files().iter().enumerate().filter(|(_, file)| has_data(file));
        if files.all(|(file, _)| seed.lacks.contains(&file)) {
            self.web_seed_failed(state, now, number, Failure::HasNothing);
            return None;
        }
        let pieces: std::ops::Range<PieceIndex> = info.pieces_of_file(file);
        seed.queue.forget(|block| pieces.contains(&block.piece));
        let path = info.files().get(file).map(|file| file.path.display()).unwrap_or_default();
        let message = format!("{failure}: {path}");
        let next_step = failure.next_step();
        seed.failure = Some(failure);
        let url = seed.source.shown();
        state.swarm.web_seed_lacks(now, key, pieces);
        self.web_seed_event(url, message, next_step);
        Some(())
    }

    /// The seed is not asked for a while, or never again.
    pub(super) fn web_seed_failed(
        &self,
        state: &mut State,
        now: Duration,
        number: u16,
        failure: Failure,
    ) {
        let WebSeeds { seeds, rng, .. } = &mut state.web;
        let Some(seed) = seeds.get_mut(usize::from(number)) else { return };
        seed.standing.failed(now, &failure, rng);
        self.web_seed_event(seed.source.shown(), failure.to_string(), failure.next_step());
        seed.failure = Some(failure);
        if let Some(key) = seed.leave() {
            state.swarm.remove_peer(now, key);
        }
        self.wake();
    }

    fn web_seed_event(&self, url: String, message: String, next_step: &'static str) {
        let info_hash = self.shared.info_hash();
        tracing::warn!(%url, torrent = %info_hash, error = message, "web seed failed");
        self.context.session.events.send(Event::WebSeedFailed {
            info_hash,
            url,
            message,
            next_step,
        });
    }
}
