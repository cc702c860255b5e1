//! A torrent's web seeds (BEP 17, 19). To the brain each is a peer; what it asks of them waits in a
//! queue, which up to four connections to the server take runs from. A seed that fails leaves the
//! brain, its blocks go to others, and it joins again when its rest is over.

mod list;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use metainfo::PieceIndex;
use storage::Block;
use swarm::{BlockFate, BlockOutcome, PeerKey};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use webseed::{Failure, Names, Part, Place, Source, parts};
use wire::BlockRequest;

use super::{State, Torrent};
use crate::events::Event;
use crate::http::Lines;
use crate::web_seed::{self, Fetcher, Filler, Unfetched};
pub(super) use list::WebSeeds;

/// Connections to one web seed: more than one hides the round trips of the others, and more than a
/// few is unkind to the server.
const CONNECTIONS_MAX: usize = 4;
/// How long a connection without work is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Time for a connection and the head of an answer.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Answers that break off behind some bytes before that is a failure.
const RESUMED_MAX: u32 = 3;

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
            self.change(|state, _| {
                if let Some(seed) = state.web.asked(number, run.key) {
                    seed.standing.served();
                    seed.failure = seed.failure.take().filter(Failure::is_of_one_file);
                }
            });
        }
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
