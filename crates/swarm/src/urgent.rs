//! What readers wait for: pieces with deadlines, asked for before all others and in order.
//!
//! A reader says where it is ([`Swarm::reader_at`]). The pieces from there on, as far as it reads
//! within [`AHEAD`], are urgent: each has a deadline, which is when the reader gets there at its
//! present rate. They leave the picker, so that nobody takes them for being rare, and every peer
//! that would deliver in time, or about as soon as anybody, takes the next of their blocks. A block
//! that will be late with one peer is asked of a second one.

mod blocks;
mod copies;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, PieceIndex};
use wire::{BlockRequest, Message};

use crate::endgame::{UNMEASURED_LATENCY, UNMEASURED_RATE};
use crate::peer::Peer;
use crate::rate::Rate;
use crate::{Action, PeerKey, Swarm, steps};

/// How far ahead of a reader pieces are urgent: so many seconds of its own rate.
const AHEAD: f64 = 10.0;
/// But at least so many bytes, and at most so many: a film's half minute, and a share of the memory.
const AHEAD_BYTES_MIN: f64 = 2.0 * 1024.0 * 1024.0;
const AHEAD_BYTES_MAX: f64 = 32.0 * 1024.0 * 1024.0;
/// Urgent pieces of one reader, however small they are.
const PIECES_MAX: u32 = 256;
/// What a reader is taken to read, in bytes a second, before it has read: a film.
const RATE_MIN: f64 = 256.0 * 1024.0;
/// Pieces that are looked at for one block.
const LOOKS_MAX: usize = 64;
/// Pieces for which a peer is compared with the others, when it can't keep the deadline.
const COMPARED_MAX: usize = 4;
/// A peer may take so many seconds longer than what is left for all together: the guess is no better.
const SLACK_SECONDS: f64 = 0.25;
/// For how long a comparison holds: it is a walk over the peers.
const PACE_AGE_MAX: Duration = Duration::from_millis(100);
/// What is added to the guess for a peer that does not deliver.
const SNUBBED_SECONDS: f64 = 10.0;

/// Names somebody who reads the torrent's bytes in order. Its owner keeps them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// Where a reader is, and what it needs when.
struct Reader {
    at: u64,
    /// Where what it was promised ends.
    until: u64,
    rate: Rate,
    due: BTreeMap<PieceIndex, Duration>,
    /// Where it was when that was put together.
    planned_at: u64,
}

impl Reader {
    fn new(now: Duration, at: u64) -> Self {
        Self { at, until: at, rate: Rate::new(now), due: BTreeMap::new(), planned_at: at }
    }

    /// It is at byte `at` and goes on to `end`. A deadline that stays does not move back. Whether it
    /// went elsewhere than it was promised: for sure, if it `skips` bytes.
    fn moves(
        &mut self,
        now: Duration,
        at: u64,
        end: u64,
        skips: bool,
        geometry: &Geometry,
    ) -> bool {
        let jumps = skips || self.due.is_empty() || !(self.at..=self.until).contains(&at);
        if jumps {
            self.rate = Rate::new(now); // it went elsewhere
            self.due.clear();
        } else {
            let read = u32::try_from(at - self.at).unwrap_or(u32::MAX);
            self.rate.add(now, read);
        }
        (self.at, self.planned_at) = (at, at);
        let end = end.min(geometry.end());
        let before = std::mem::take(&mut self.due);
        let length = u64::from(geometry.piece_length());
        if at >= end || length == 0 {
            self.until = at;
            return false;
        }
        let rate = (self.rate.get(now) as f64).max(RATE_MIN);
        let bytes = (rate * AHEAD).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX) as u64;
        let first = at / length;
        let last =
            (at.saturating_add(bytes) / length).clamp(first + 1, first + u64::from(PIECES_MAX));
        let last = last.min((end - 1) / length);
        self.until = ((last + 1) * length).min(end);
        for piece in first..=last {
            let left = (piece * length).saturating_sub(at);
            let due = now + Duration::from_secs_f64(left as f64 / rate);
            let piece = piece as PieceIndex;
            let due = before.get(&piece).map_or(due, |before| due.min(*before));
            self.due.insert(piece, due);
        }
        jumps
    }
}

/// How soon the peers that have a piece could be done with it.
#[derive(Clone, Copy)]
struct Pace {
    until: Duration,
    /// Whose next block comes soonest, in how many seconds, and in how many that of the next best.
    soonest: Option<PeerKey>,
    seconds: f64,
    next_seconds: f64,
    /// How many they are, and their bytes a second together.
    peers: u32,
    rate: f64,
}

impl Pace {
    /// Whether nobody else may be asked.
    fn is_alone(&self, key: PeerKey) -> bool {
        self.soonest == Some(key) && self.peers == 1
    }

    /// Seconds in which all but this peer, of that rate, deliver so many bytes.
    fn of_others(&self, key: PeerKey, own_rate: f64, bytes: f64) -> f64 {
        let first = if self.soonest == Some(key) { self.next_seconds } else { self.seconds };
        first + bytes / (self.rate - own_rate).max(1.0)
    }
}

/// All urgent pieces.
#[derive(Default)]
pub(crate) struct Urgent {
    readers: BTreeMap<ReaderId, Reader>,
    due: BTreeMap<PieceIndex, Duration>,
    /// Those that may have a block to ask for.
    todo: BTreeSet<(Duration, PieceIndex)>,
    /// Those of which every block was asked for or is there.
    asked: BTreeSet<(Duration, PieceIndex)>,
    paces: BTreeMap<PieceIndex, Pace>,
}

impl Urgent {
    /// Whether nobody reads.
    pub(crate) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        self.due.contains_key(&piece)
    }

    /// Whether it is the next for a reader.
    pub(crate) fn has_reader_in(&self, piece: PieceIndex) -> bool {
        self.readers.values().any(|reader| reader.due.keys().next() == Some(&piece))
    }

    pub(crate) fn has_todo(&self) -> bool {
        !self.todo.is_empty()
    }

    /// A block of the piece is free again.
    pub(crate) fn reopens(&mut self, piece: PieceIndex) {
        if let Some(due) = self.due.get(&piece)
            && self.asked.remove(&(*due, piece))
        {
            self.todo.insert((*due, piece));
        }
    }

    fn is_asked(&mut self, due: Duration, piece: PieceIndex) {
        if self.todo.remove(&(due, piece)) {
            self.asked.insert((due, piece));
        }
    }

    /// The piece is there.
    pub(crate) fn done(&mut self, piece: PieceIndex) {
        if let Some(due) = self.due.remove(&piece) {
            self.todo.remove(&(due, piece));
            self.asked.remove(&(due, piece));
            self.paces.remove(&piece);
        }
    }

    /// The next after `before` that may have a block to ask for.
    fn next(&self, before: Option<(Duration, PieceIndex)>) -> Option<(Duration, PieceIndex)> {
        let from = before.map_or(Bound::Unbounded, Bound::Excluded);
        self.todo.range((from, Bound::Unbounded)).next().copied()
    }
}

/// What readers want of a peer.
pub(crate) enum NextUrgent {
    Block(BlockRequest),
    /// It has its first block, and is asked for no more until that came.
    Waits,
    Nothing,
}

impl Swarm {
    /// A reader waits for byte `at` of the torrent and will go on to `end`, or it is there and has
    /// read what lies before. To be called at least once for each piece that it passes, and for each
    /// read of a piece that is not complete.
    pub fn reader_at(&mut self, now: Duration, reader: ReaderId, at: u64, end: u64) {
        self.now = now;
        let was_at = self.urgent.readers.get(&reader).map(|reader| reader.at);
        let skips = self.goes_by_blocks() && was_at.is_some_and(|was_at| self.skips(was_at, at));
        let readers = &mut self.urgent.readers;
        if !skips
            && let Some(reader) = readers.get_mut(&reader)
            && reader.goes_on(now, at, &self.geometry)
        {
            return;
        }
        let reader = readers.entry(reader).or_insert_with(|| Reader::new(now, at));
        let jumps = reader.moves(now, at, end, skips, &self.geometry);
        self.plan_urgent();
        if jumps && self.urgent.has_todo() {
            self.clear_the_way();
        }
    }

    /// The reader is gone, and nothing is urgent for it.
    pub fn reader_gone(&mut self, now: Duration, reader: ReaderId) {
        self.now = now;
        if self.urgent.readers.remove(&reader).is_some() {
            self.plan_urgent();
        }
    }

    /// Whether a reader is about to need the piece, which is not there.
    pub fn is_urgent(&self, piece: PieceIndex) -> bool {
        self.urgent.has(piece)
    }

    /// Puts together what all readers need.
    fn plan_urgent(&mut self) {
        let mut due: BTreeMap<PieceIndex, Duration> = BTreeMap::new();
        for (piece, at) in self.urgent.readers.values().flat_map(|reader| &reader.due) {
            if self.is_missing(*piece) {
                due.entry(*piece).and_modify(|before| *before = (*at).min(*before)).or_insert(*at);
            }
        }
        let before = std::mem::replace(&mut self.urgent.due, due);
        for piece in before.into_keys() {
            if !self.urgent.has(piece) {
                self.pickable_again(piece);
            }
        }
        for piece in self.urgent.due.keys() {
            self.picker.remove(*piece);
        }
        self.urgent.todo = self.urgent.due.iter().map(|(piece, due)| (*due, *piece)).collect();
        self.urgent.asked.clear();
        self.urgent.paces.clear();
        self.refill_everybody();
    }

    /// Takes back what peers were asked for and nobody waits for: it would come first.
    fn clear_the_way(&mut self) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get(key) else { continue };
            let by_blocks = self.goes_by_blocks();
            let stays = |block: BlockRequest| {
                self.urgent.has(block.piece) && (!by_blocks || self.is_near_reader(block))
            };
            let blocks = peer.outstanding.iter().map(|request| request.block);
            let goes: BTreeSet<_> = blocks.filter(|block| !stays(*block)).map(place).collect();
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let taken = peer.take_back(|request| goes.contains(&place(request.block)));
            for block in &taken {
                self.send(key, Message::Cancel(*block));
            }
            self.release(key.index, taken);
        }
    }

    /// Nothing is held of the piece: whoever is asked for the rarest may be asked for it, unless a
    /// reader waits for it.
    pub(crate) fn pickable_again(&mut self, piece: PieceIndex) {
        if self.urgent.has(piece) {
            return self.urgent.reopens(piece);
        }
        let begun = self.pieces.get(piece).is_some() || self.pieces.is_verifying(piece);
        if self.is_missing(piece) && !begun {
            self.picker.insert(piece);
        }
    }

    /// The next block for a peer of what readers wait for: a copy of one that would be late, or one
    /// that is free.
    pub(crate) fn next_urgent(&mut self, key: PeerKey) -> NextUrgent {
        if self.urgent.due.is_empty() {
            return NextUrgent::Nothing;
        }
        if let Some(block) = self.copy_urgent(key) {
            return NextUrgent::Block(block);
        }
        let Some(peer) = self.peers.get(key) else { return NextUrgent::Nothing };
        let untried = peer.window.latency_min().is_none() && !peer.outstanding.is_empty();
        let free = if self.goes_by_blocks() {
            self.free_urgent_block(key, untried)
        } else {
            self.free_urgent(key, untried)
        };
        match free {
            Some(block) => NextUrgent::Block(block),
            // What else it is asked for now would stand before what it is asked for next.
            None if untried => NextUrgent::Waits,
            None => NextUrgent::Nothing,
        }
    }

    fn free_urgent(&mut self, key: PeerKey, untried: bool) -> Option<BlockRequest> {
        let (mut before, mut ahead_bytes, mut compared) = (None, 0, 0);
        for _ in 0..LOOKS_MAX {
            let (due, piece) = self.urgent.next(before)?;
            before = Some((due, piece));
            let Some(free) = self.free_of_urgent(due, piece) else { continue };
            ahead_bytes += u64::from(free) * u64::from(BLOCK_LENGTH);
            let peer = self.peers.get(key)?;
            if !self.may_fill(peer, piece) {
                continue;
            }
            let seconds = guess(self.now, peer, peer.outstanding.len() + 1);
            if seconds > due.saturating_sub(self.now).as_secs_f64() {
                compared += 1;
                if compared > COMPARED_MAX
                    || !self.is_soon(key, piece, seconds, ahead_bytes, untried)
                {
                    if untried {
                        return None; // what it has to show first stands before all else
                    }
                    continue;
                }
            }
            if self.pieces.get(piece).is_none() && !self.open_urgent(key, piece)? {
                continue;
            }
            let Some(block) = self.pieces.take_free(piece, key.index) else { continue };
            self.works_on(key, piece);
            return Some(block);
        }
        None
    }

    /// How many blocks of an urgent piece may be asked for. One that has none is put aside.
    fn free_of_urgent(&mut self, due: Duration, piece: PieceIndex) -> Option<u32> {
        steps::count();
        let free = match self.pieces.get(piece) {
            Some(open) => open.free,
            None if self.pieces.is_verifying(piece) => 0,
            None => self.geometry.block_count(piece),
        };
        if free == 0 {
            self.urgent.is_asked(due, piece);
        }
        Some(free).filter(|free| *free > 0)
    }

    /// Whether a peer may be asked for the piece. Who is to blame must stay clear: one at a time fills
    /// a piece that was bad.
    fn may_fill(&self, peer: &Peer, piece: PieceIndex) -> bool {
        let others = self.pieces.get(piece).is_some_and(|open| {
            open.parole && open.worker.is_some_and(|worker| worker != peer.key.index)
        });
        !others && peer.may_request(piece)
    }

    /// Opens an urgent piece; `None` when there is no room for it, false when nothing of it may be asked
    /// for: it is all padding, or its hash is not known yet.
    fn open_urgent(&mut self, key: PeerKey, piece: PieceIndex) -> Option<bool> {
        if !self.may_open(piece) {
            return Some(false);
        }
        let idle = self.peers.get(key)?.outstanding.is_empty();
        while !self.fits(self.geometry.block_count(piece)) {
            let hopeless = self.hopeless().filter(|_| idle);
            self.abandon(hopeless.or_else(|| self.left_behind(piece))?);
        }
        let parole = self.blame.suspects(piece);
        let all_padding = self.pieces.open(piece, key.index, parole);
        if all_padding {
            self.actions.push_back(Action::Verify { piece });
        } else {
            self.wants_leaves(piece);
        }
        Some(!all_padding)
    }

    /// Whether a peer that delivers within so many seconds is about as soon as all others that have
    /// the piece would be done with it and with what comes before. Somebody `untried` has a first
    /// block to show that.
    fn is_soon(
        &mut self,
        key: PeerKey,
        piece: PieceIndex,
        seconds: f64,
        bytes: u64,
        untried: bool,
    ) -> bool {
        let pace = self.pace_now(piece);
        let Some(peer) = self.peers.get(key) else { return false };
        let left = bytes.saturating_sub(u64::from(BLOCK_LENGTH)) as f64;
        let others = pace.of_others(key, rate(peer), left);
        pace.is_alone(key) || !untried && seconds <= others + SLACK_SECONDS
    }

    fn pace_now(&mut self, piece: PieceIndex) -> Pace {
        match self.urgent.paces.get(&piece) {
            Some(pace) if pace.until > self.now => *pace,
            _ => {
                let pace = self.pace(piece);
                self.urgent.paces.insert(piece, pace);
                pace
            }
        }
    }

    fn pace(&self, piece: PieceIndex) -> Pace {
        let (now, max) = (self.now, f64::MAX);
        let mut pace = Pace {
            until: now + PACE_AGE_MAX,
            soonest: None,
            seconds: max,
            next_seconds: max,
            peers: 0,
            rate: 0.0,
        };
        let able = |peer: &&Peer| peer.may_request_any(now) && self.may_fill(peer, piece);
        for peer in self.peers.iter().filter(able) {
            let seconds = guess(now, peer, peer.outstanding.len() + 1);
            if seconds < pace.seconds {
                pace.next_seconds = std::mem::replace(&mut pace.seconds, seconds);
                pace.soonest = Some(peer.key);
            } else {
                pace.next_seconds = pace.next_seconds.min(seconds);
            }
            pace.peers += 1;
            pace.rate += if peer.window.is_snubbed() { 0.0 } else { rate(peer) };
        }
        pace
    }
}

/// Names a block.
fn place(block: BlockRequest) -> (PieceIndex, u32) {
    (block.piece, block.begin)
}

/// Seconds until a peer delivers the last of so many blocks, if it was asked for them.
fn guess(now: Duration, peer: &Peer, blocks: usize) -> f64 {
    let latency = peer.window.latency_min().unwrap_or(UNMEASURED_LATENCY);
    let waiting = now.saturating_sub(peer.last_block).as_secs_f64();
    let stalled = if peer.outstanding.is_empty() { 0.0 } else { waiting };
    let snubbed = if peer.window.is_snubbed() { SNUBBED_SECONDS } else { 0.0 };
    let bytes = blocks as f64 * f64::from(BLOCK_LENGTH);
    latency.as_secs_f64() + bytes / rate(peer) + stalled + snubbed
}

/// Bytes a second that a peer delivers. Before that was measured, its latency is taken for the time
/// that a block takes: which is too long, if anything.
fn rate(peer: &Peer) -> f64 {
    let measured = Some(peer.window.best_rate()).filter(|rate| *rate > 0.0);
    let block = |latency: Duration| f64::from(BLOCK_LENGTH) / latency.as_secs_f64().max(0.001);
    measured.or_else(|| peer.window.latency_min().map(block)).unwrap_or(UNMEASURED_RATE)
}

#[cfg(test)]
mod tests;
