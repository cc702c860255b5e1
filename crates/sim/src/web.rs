//! Web seeds (BEP 19): the real `webseed` crate between the brain and HTTP servers that serve well,
//! badly, or not at all. The counterpart of the engine's `torrent/web_seeds.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use metainfo::BLOCK_LENGTH;
use swarm::{BlockFate, BlockOutcome, PeerKey};
use webseed::{
    Failure, Head, Kind, Names, Pace, Part, Place, Queue, Request, Source, Standing, judge, parts,
};
use wire::{BlockRequest, Message};

use crate::content::scramble;
use crate::invariants::Invariant;
use crate::plan::WebConduct;
use crate::world::{Event, World};

/// Connections to one web seed.
const CONNECTIONS_MAX: usize = 2;
/// From a request to the head of its answer.
const ROUND_TRIP: Duration = Duration::from_millis(60);
/// Who can't be connected to says so after this.
const REFUSAL: Duration = Duration::from_millis(200);
/// As in the engine: answers that break off behind some bytes before that is a failure.
const RESUMED_MAX: u32 = 3;
/// What a busy server asks for.
const BUSY_SECONDS: &[u8] = b"2";

/// What a peer knows of one web seed.
#[derive(Default)]
pub(crate) struct WebSeed {
    key: Option<PeerKey>,
    queue: Queue,
    standing: Standing,
    lacks: BTreeSet<usize>,
    fetching: BTreeMap<u64, Fetch>,
    begun: u64,
}

/// A run that one connection fetches.
struct Fetch {
    key: PeerKey,
    /// Blocks that have not come whole, and bytes of the first one that have.
    left: VecDeque<BlockRequest>,
    came: u32,
    /// A part of that block is wrong.
    is_wrong: bool,
    parts: VecDeque<Part>,
    resumed: u32,
    /// Bytes of the answer's body that are still to come: to be skipped, to be taken, and to be taken
    /// before it breaks off.
    skip: u64,
    take: u64,
    breaks_after: Option<u64>,
    /// Bytes taken of the part since it was asked for.
    taken: u64,
    pace: Pace,
}

/// What comes from a server.
#[derive(Clone, Copy)]
pub(crate) enum Came {
    /// The head of an answer, or none.
    Head,
    /// Bytes of its body.
    Bytes(u64),
}

impl WebSeed {
    fn leave(&mut self) -> Option<PeerKey> {
        self.queue.clear();
        self.fetching.clear();
        self.key.take()
    }
}

impl World {
    /// Those join that may be asked.
    pub(crate) fn web_seeds_join(&mut self, node: usize) {
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        if brain.swarm.is_complete() {
            return;
        }
        for (number, seed) in (0..).zip(&mut brain.web) {
            let ready = seed.standing.ready_at().is_some_and(|at| at <= now);
            if seed.key.is_some() || !ready {
                continue;
            }
            let Ok(key) = brain.swarm.add_web_seed(now, number) else { continue };
            seed.key = Some(key);
            for file in &seed.lacks {
                brain.swarm.web_seed_lacks(now, key, self.data.info.pieces_of_file(*file));
            }
        }
    }

    /// None is asked any more.
    pub(crate) fn web_seeds_leave(&mut self, node: usize) {
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        for key in brain.web.iter_mut().filter_map(WebSeed::leave) {
            brain.swarm.remove_peer(now, key);
        }
    }

    /// What the brain says to a peer, if that is a web seed.
    pub(crate) fn web_seed_told(
        &mut self,
        node: usize,
        peer: PeerKey,
        message: &Message<'_>,
    ) -> bool {
        let Some(brain) = &mut self.nodes[node].brain else { return false };
        let Some(seed) = brain.web.iter_mut().find(|seed| seed.key == Some(peer)) else {
            return false;
        };
        seed.queue.told(message);
        true
    }

    /// The brain is done with a peer, which may be a web seed.
    pub(crate) fn web_seed_ended(&mut self, node: usize, peer: PeerKey) {
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let seed = brain.web.iter_mut().find(|seed| seed.key == Some(peer));
        if let Some(key) = seed.and_then(WebSeed::leave) {
            brain.swarm.remove_peer(now, key);
        }
    }

    /// A web seed is banned, if that is one's address. Whether it is innocent.
    pub(crate) fn web_seed_banned(&mut self, node: usize, addr: IpAddr) -> bool {
        let numbers = 0..self.plan.web_seeds.len();
        let Some(number) = numbers.into_iter().find(|n| swarm::web_seed_ip(*n as u16) == addr)
        else {
            return false;
        };
        self.web_seed_failed(node, number, &Failure::SentBadData);
        !matches!(self.plan.web_seeds[number].conduct, WebConduct::Lies(_))
    }

    /// Gives what waits to free connections.
    pub(crate) fn serve_web_seeds(&mut self, node: usize) {
        for number in 0..self.plan.web_seeds.len() {
            loop {
                let (now, geometry) = (self.now, &self.data.geometry);
                let Some(brain) = &mut self.nodes[node].brain else { return };
                let seed = &mut brain.web[number];
                let free = CONNECTIONS_MAX - seed.fetching.len();
                let Some(key) = seed.key.filter(|_| free > 0) else { break };
                let run = seed.queue.take(free, geometry);
                let (Some(first), Some(last)) = (run.first(), run.last()) else { break };
                let at = |block: &BlockRequest| {
                    geometry.piece_offset(block.piece) + u64::from(block.begin)
                };
                let (start, end) = (at(first), at(last) + u64::from(last.length));
                let parts = parts(&self.data.info, Kind::Files, start, end).into();
                seed.begun += 1;
                let fetch = Fetch {
                    key,
                    left: run.into(),
                    came: 0,
                    is_wrong: false,
                    parts,
                    resumed: 0,
                    skip: 0,
                    take: 0,
                    breaks_after: None,
                    taken: 0,
                    pace: Pace::new(now),
                };
                seed.fetching.insert(seed.begun, fetch);
                let id = seed.begun;
                self.ask_web_seed(node, number, id);
            }
        }
    }

    fn fetch(&mut self, node: usize, seed: usize, id: u64) -> Option<&mut Fetch> {
        self.nodes[node].brain.as_mut()?.web[seed].fetching.get_mut(&id)
    }

    /// Asks for the next part of a run; a run without parts is done.
    fn ask_web_seed(&mut self, node: usize, seed: usize, id: u64) {
        while let Some(fetch) = self.fetch(node, seed, id) {
            fetch.taken = 0;
            match fetch.parts.front().copied() {
                Some(Part { place: Place::Pad, length }) => {
                    fetch.parts.pop_front();
                    fetch.take = length;
                    self.web_seed_bytes(node, seed, id, length);
                }
                Some(_) => {
                    let (at, epoch) = (self.now + ROUND_TRIP, self.nodes[node].epoch);
                    let event = Event::Web { node, epoch, seed, fetch: id, came: Came::Head };
                    return self.queue.push(at, event);
                }
                None => {
                    let left = fetch.left.len();
                    let Some(brain) = &mut self.nodes[node].brain else { return };
                    brain.web[seed].fetching.remove(&id);
                    if left > 0 {
                        let what = format!("{left} blocks of a web seed's run were not fetched");
                        self.violated(Invariant::Unfinished, node, what);
                    }
                    return;
                }
            }
        }
    }

    pub(crate) fn web_seed_came(&mut self, node: usize, seed: usize, id: u64, came: Came) {
        if self.fetch(node, seed, id).is_none() {
            return;
        }
        match came {
            Came::Head => self.web_seed_head(node, seed, id),
            Came::Bytes(bytes) => {
                self.web_seed_bytes(node, seed, id, bytes);
                self.web_seed_goes_on(node, seed, id);
            }
        }
        self.settle(node);
    }

    fn web_request(&mut self, node: usize, seed: usize, id: u64) -> Option<(Part, Request)> {
        let part = *self.fetch(node, seed, id)?.parts.front()?;
        let source = Source { url: "http://web.test/".into(), kind: Kind::Files };
        let names = Names::of(&self.data.info);
        let request = source.request(&self.data.info, self.data.info_hash, &names, &part);
        Some((part, request?))
    }

    /// The server answers, as it does, and the answer is judged.
    fn web_seed_head(&mut self, node: usize, seed: usize, id: u64) {
        let plan = self.plan.web_seeds[seed];
        let Some((part, request)) = self.web_request(node, seed, id) else {
            return self.violated(Invariant::Fault, node, "a part that no url is for".into());
        };
        let (Place::File { file, .. }, Some((first, last))) = (part.place, request.range) else {
            return self.violated(Invariant::Fault, node, format!("no part of a file: {part:?}"));
        };
        let whole = self.data.info.files()[file].length;
        let range = format!("bytes {first}-{last}/{whole}");
        let good = Head {
            status: 206,
            length: Some(last - first + 1),
            range: Some(range.as_bytes()),
            ..Head::default()
        };
        let now = self.now;
        let head = match plan.conduct {
            WebConduct::Away(from, to) if (from..to).contains(&now) => {
                let failure = Failure::Unreachable("nobody is there".into());
                return self.fetch_failed(node, seed, id, &failure, None);
            }
            WebConduct::Lacks(lacked) if lacked == file => Head { status: 404, ..Head::default() },
            WebConduct::Busy(percent) if self.rng.u32(0..100) < percent => {
                Head { status: 503, retry_after: Some(BUSY_SECONDS), ..Head::default() }
            }
            WebConduct::WholeFiles => Head { status: 200, length: Some(whole), ..Head::default() },
            _ => good,
        };
        let body = match judge(&head, &request.wanted) {
            Ok(body) => body,
            Err(failure) => return self.fetch_failed(node, seed, id, &failure, Some(file)),
        };
        let breaks_after = match plan.conduct {
            WebConduct::BreaksOff(percent) if self.rng.u32(0..100) < percent => {
                Some(self.rng.u64(0..body.take))
            }
            _ => None,
        };
        if let Some(fetch) = self.fetch(node, seed, id) {
            (fetch.skip, fetch.take, fetch.breaks_after) = (body.skip, body.take, breaks_after);
        }
        self.web_seed_goes_on(node, seed, id);
    }

    /// What comes next of a body, and when; or of the run, when the body is there.
    fn web_seed_goes_on(&mut self, node: usize, seed: usize, id: u64) {
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        let rate = self.plan.web_seeds[seed].rate;
        let Some(fetch) = self.fetch(node, seed, id) else { return };
        let until_break = fetch.breaks_after.map(|at| at.saturating_sub(fetch.taken));
        if until_break == Some(0) && fetch.skip == 0 {
            return self.broke_off(node, seed, id);
        }
        if fetch.skip + fetch.take > 0 {
            let at_once = rate.clamp(1, u64::from(BLOCK_LENGTH));
            let most = if fetch.skip > 0 { fetch.skip } else { until_break.unwrap_or(u64::MAX) };
            let left = if fetch.skip > 0 { fetch.skip } else { fetch.take };
            let bytes = at_once.min(left).min(most);
            let at = now + Duration::from_secs_f64(bytes as f64 / rate as f64);
            let event = Event::Web { node, epoch, seed, fetch: id, came: Came::Bytes(bytes) };
            return self.queue.push(at, event);
        }
        fetch.parts.pop_front();
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.web[seed].standing.served();
        }
        self.ask_web_seed(node, seed, id);
    }

    /// The connection is over in the middle of a body: it is asked for the rest.
    fn broke_off(&mut self, node: usize, seed: usize, id: u64) {
        let Some(fetch) = self.fetch(node, seed, id) else { return };
        if fetch.taken == 0 || fetch.resumed >= RESUMED_MAX {
            let failure = Failure::Broken("the connection ended".into());
            return self.fetch_failed(node, seed, id, &failure, None);
        }
        fetch.resumed += 1;
        let rest = fetch.parts.pop_front().and_then(|part| part.after(fetch.taken));
        if let Some(rest) = rest {
            fetch.parts.push_front(rest);
        }
        self.ask_web_seed(node, seed, id);
    }

    /// Bytes of a body, or of padding: whole blocks go to the brain.
    fn web_seed_bytes(&mut self, node: usize, seed: usize, id: u64, bytes: u64) {
        let now = self.now;
        let lies = match self.plan.web_seeds[seed].conduct {
            WebConduct::Lies(percent) => percent,
            _ => 0,
        };
        let Some(fetch) = self.fetch(node, seed, id) else { return };
        if !fetch.pace.got(now, bytes) {
            return self.fetch_failed(node, seed, id, &Failure::TooSlow, None);
        }
        if fetch.skip > 0 {
            fetch.skip -= bytes;
            return;
        }
        (fetch.take, fetch.taken) = (fetch.take - bytes, fetch.taken + bytes);
        let mut bytes = bytes as u32;
        while bytes > 0 {
            let wrong = lies > 0 && self.rng.u32(0..100) < lies;
            let Some(fetch) = self.fetch(node, seed, id) else { return };
            let Some(block) = fetch.left.front().copied() else {
                return self.violated(Invariant::Fault, node, "more than a run has".into());
            };
            let taken = bytes.min(block.length - fetch.came);
            bytes -= taken;
            fetch.came += taken;
            fetch.is_wrong |= wrong && fetch.came == block.length;
            if fetch.came == block.length {
                let is_wrong = std::mem::take(&mut fetch.is_wrong);
                fetch.came = 0;
                fetch.left.pop_front();
                self.web_seed_block(node, seed, id, block, is_wrong);
            }
        }
    }

    fn web_seed_block(
        &mut self,
        node: usize,
        seed: usize,
        id: u64,
        block: BlockRequest,
        is_wrong: bool,
    ) {
        let now = self.now;
        let number = block.begin / BLOCK_LENGTH;
        let content = self.data.right(block.piece, number);
        let content = if is_wrong { scramble(content) } else { content };
        let count = self.data.geometry.block_count(block.piece) as usize;
        self.trace.number(content);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let web = &mut brain.web[seed];
        web.queue.arrived(block);
        let Some(key) = web.fetching.get(&id).map(|fetch| fetch.key) else { return };
        let keep = matches!(brain.swarm.block_head(now, key, block), Ok(BlockFate::Keep));
        if brain.swarm.block(now, key, block) == BlockOutcome::Stored && keep {
            let open = brain.open.entry(block.piece).or_insert_with(|| vec![None; count]);
            open[number as usize] = Some(content);
            brain.held_blocks += 1;
        }
        // A run of which nobody wants the rest is not worth it.
        let web = &mut brain.web[seed];
        let wanted = web
            .fetching
            .get(&id)
            .is_some_and(|fetch| fetch.left.is_empty() || web.queue.wants_any(fetch.left.iter()));
        if !wanted {
            web.fetching.remove(&id);
        }
    }

    /// A run was not fetched whole. A file that is not there is all that the seed lacks; of anything else
    /// it rests.
    fn fetch_failed(
        &mut self,
        node: usize,
        seed: usize,
        id: u64,
        failure: &Failure,
        file: Option<usize>,
    ) {
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let web = &mut brain.web[seed];
        let Some(fetch) = web.fetching.remove(&id) else { return };
        let Some(file) = file.filter(|_| failure.is_of_one_file()) else {
            return self.web_seed_failed(node, seed, failure);
        };
        web.queue.give_back(&fetch.left.into_iter().collect::<Vec<_>>());
        web.lacks.insert(file);
        let files = self.data.info.files().iter().enumerate();
        let mut files = files.filter(|(_, file)| file.length > 0 && !file.attributes.pad);
        if files.all(|(file, _)| web.lacks.contains(&file)) {
            return self.web_seed_failed(node, seed, &Failure::HasNothing);
        }
        let pieces = self.data.info.pieces_of_file(file);
        web.queue.forget(|block| pieces.contains(&block.piece));
        brain.swarm.web_seed_lacks(now, fetch.key, pieces);
    }

    fn web_seed_failed(&mut self, node: usize, seed: usize, failure: &Failure) {
        let now = self.now;
        let late =
            matches!(failure, Failure::Unreachable(_)).then_some(REFUSAL).unwrap_or_default();
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let web = &mut brain.web[seed];
        web.standing.failed(now + late, failure, &mut self.rng);
        if let Some(key) = web.leave() {
            brain.swarm.remove_peer(now, key);
        }
    }
}
