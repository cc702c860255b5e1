//! Super-seeding (BEP 16): a first seed that gives every piece away about once.
//!
//! Who connects is told of nothing but one piece at a time, one that nobody else has or was told of.
//! The next follows when another peer announced it: then the first has passed it on. What is with
//! somebody is for the peers to share out; only who waited long in vain is shown a second copy.
//!
//! Who is alone has nobody to pass anything on to, and is shown one piece after the other: it will be
//! the seed of those that come later. But many leave once they are complete, and the only copy with
//! them. So the last piece is kept back until the others are spread.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{Bitfield, Message};

use crate::peer::Peer;
use crate::{PeerKey, Swarm};

/// How long a peer waits for somebody to announce what it was shown, before it is shown more: others
/// may be unable to reach it. Looked at once a choker's round.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the last piece is kept back from who is alone, and where others could get the rest from who
/// lacks only that. All in all: who connects anew does not begin to wait anew.
const KEPT_FROM_ONE: Duration = Duration::from_mins(1);
const KEPT_FROM_SEVERAL: Duration = Duration::from_mins(10);

/// The last piece is given away when each other is with so many peers, or with all where they are
/// fewer, but never with one alone: one may leave when it is complete.
const SPREAD: RangeInclusive<u32> = 2..=4;

/// How often it is looked whether they are spread, at most: that costs a look at every piece.
const LOOK: Duration = Duration::from_secs(1);

/// What one peer was shown.
pub(crate) struct Shown {
    /// All of it: what it may ask for.
    pieces: Bitfield,
    /// The last of it, until another peer announces that.
    awaited: Option<PieceIndex>,
    /// When it was shown that, or had to wait.
    since: Duration,
}

/// Pieces that peers were shown and nobody else has announced, and to how many.
#[derive(Default)]
pub(crate) struct SuperSeed {
    shown: BTreeMap<PieceIndex, Vec<PeerKey>>,
    last: Last,
}

/// The last piece that nobody was given yet.
#[derive(Default)]
struct Last {
    /// When it was first kept back.
    since: Option<Duration>,
    /// When it was looked whether it may go, while it is kept back.
    looked: Option<Duration>,
    /// It was given away, or kept back for long enough. What is lost again later is not kept back.
    is_given: bool,
}

impl Swarm {
    /// Whether who connects now is told of one piece at a time.
    pub(crate) fn super_seeds(&self) -> bool {
        self.settings.super_seed && self.have.is_full() && !self.have.is_empty()
    }

    /// Super-seeds to those that connect from now on, or not. Those that were told of everything
    /// know it already; the others are told now.
    pub fn set_super_seed(&mut self, now: Duration, on: bool) {
        self.now = now;
        self.settings.super_seed = on;
        if on {
            return;
        }
        self.super_seed = SuperSeed::default();
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let Some(shown) = peer.shown.take() else { continue };
            let rest = self.have.iter().filter(|piece| !shown.pieces.has(*piece));
            for piece in rest.collect::<Vec<_>>() {
                self.send(key, Message::Have(piece));
            }
        }
    }

    /// The first piece for a newcomer.
    pub(crate) fn begin_showing(&mut self, key: PeerKey) {
        let (now, count) = (self.now, self.geometry.piece_count());
        if let Some(peer) = self.peers.get_mut(key) {
            let shown = Shown { pieces: Bitfield::new(count), awaited: None, since: now };
            peer.shown = Some(Box::new(shown));
        }
        self.show_next(key, 0);
    }

    /// The peer announced a piece: whoever else was shown it has passed it on.
    pub(crate) fn hears_of(&mut self, key: PeerKey, piece: PieceIndex) {
        self.look_at_the_last();
        let Some(shown_to) = self.super_seed.shown.get(&piece) else { return };
        let by_itself = shown_to.contains(&key);
        let others: Vec<PeerKey> = shown_to.iter().copied().filter(|to| *to != key).collect();
        for other in others {
            self.stops_waiting(other);
            self.show_next(other, 0);
        }
        // Nobody is left to pass it on to.
        let lacks = |peer: &Peer| peer.key != key && !peer.closing && !peer.has(piece);
        if by_itself && !self.peers.iter().any(lacks) {
            self.stops_waiting(key);
            self.show_next(key, 0);
        }
    }

    /// A peer has these from before: who was shown one of them, the peer itself too, is shown another.
    pub(crate) fn hears_of_all(&mut self, from: PeerKey) {
        let Some(peer) = self.peers.get(from) else { return };
        let known = self.super_seed.shown.iter().filter(|(piece, _)| peer.has(**piece));
        let to: Vec<PeerKey> = known.flat_map(|(_, to)| to).copied().collect();
        for key in to {
            self.stops_waiting(key);
            self.show_next(key, 0);
        }
    }

    /// The peer is gone: what it was shown, or alone had, may be shown to another.
    pub(crate) fn shows_no_more(&mut self, gone: &Peer) {
        let Some(shown) = &gone.shown else { return };
        if let Some(piece) = shown.awaited {
            self.forget_shown(piece, gone.key);
        }
        self.show_to_the_waiting();
    }

    /// Shows what nobody was shown to those that were shown nothing. Who has least comes first: who lacks
    /// only that leaves with it.
    fn show_to_the_waiting(&mut self) {
        let count = self.geometry.piece_count();
        let waits = |peer: &&Peer| peer.shown.as_ref().is_some_and(|it| it.awaited.is_none());
        let waiting = self.peers.iter().filter(waits);
        let mut waiting: Vec<_> = waiting.map(|peer| (peer.count(count), peer.key)).collect();
        waiting.sort_unstable();
        for (_, key) in waiting {
            self.show_next(key, 0);
        }
    }

    /// Gives the last piece away once the others are spread.
    fn look_at_the_last(&mut self) {
        let Some(looked) = self.super_seed.last.looked else { return };
        if self.now.saturating_sub(looked) >= LOOK && self.kept_back().is_none() {
            self.show_to_the_waiting();
        }
    }

    /// Who waited for long is shown something all the same.
    pub(crate) fn show_to_the_patient(&mut self) {
        let now = self.now;
        self.look_at_the_last();
        for key in self.peers.keys() {
            let shown = self.peers.get(key).and_then(|peer| peer.shown.as_deref());
            let waited = shown.map_or(Duration::ZERO, |shown| now.saturating_sub(shown.since));
            if waited >= PATIENCE {
                self.stops_waiting(key);
                self.show_next(key, u32::MAX);
            }
        }
    }

    /// Whether the peer may ask for a piece that is there.
    pub(crate) fn may_see(&self, key: PeerKey, piece: PieceIndex) -> bool {
        let shown = self.peers.get(key).and_then(|peer| peer.shown.as_deref());
        shown.is_none_or(|shown| shown.pieces.has(piece))
    }

    fn forget_shown(&mut self, piece: PieceIndex, key: PeerKey) {
        if let Some(to) = self.super_seed.shown.get_mut(&piece) {
            to.retain(|other| *other != key);
            if to.is_empty() {
                self.super_seed.shown.remove(&piece);
            }
        }
    }

    fn stops_waiting(&mut self, key: PeerKey) {
        let shown = self.peers.get_mut(key).and_then(|peer| peer.shown.as_deref_mut());
        let Some(shown) = shown else { return };
        if let Some(piece) = shown.awaited.take() {
            shown.since = self.now;
            self.forget_shown(piece, key);
        }
    }

    /// The last piece that nobody was given, as long as the others are not spread.
    fn kept_back(&mut self) -> Option<PieceIndex> {
        self.super_seed.last.looked = None;
        if self.super_seed.last.is_given {
            return None;
        }
        let present = self.peers.iter().filter(|peer| !peer.closing).count() as u32;
        let spread = present.clamp(*SPREAD.start(), *SPREAD.end());
        let (mut left, mut is_thin) = (None, false);
        for piece in 0..self.geometry.piece_count() {
            let copies = self.picker.all_copies_of(piece);
            if copies > 0 || self.super_seed.shown.contains_key(&piece) {
                is_thin |= copies < spread;
            } else if left.replace(piece).is_some() {
                return None; // not the last
            }
        }
        let last = &mut self.super_seed.last;
        let patience = if present > 1 { KEPT_FROM_SEVERAL } else { KEPT_FROM_ONE };
        let long = |since| self.now.saturating_sub(since) >= patience;
        last.is_given = left.is_none() || !is_thin || last.since.is_some_and(long);
        if last.is_given {
            return None;
        }
        last.since.get_or_insert(self.now);
        last.looked = Some(self.now);
        left
    }

    /// Shows the peer a piece that it lacks, of which there are the fewest copies and at most so many.
    fn show_next(&mut self, key: PeerKey, copies_max: u32) {
        let (now, count) = (self.now, self.geometry.piece_count());
        let kept_back = self.kept_back();
        let Some(peer) = self.peers.get(key).filter(|peer| !peer.closing) else { return };
        let Some(shown) = peer.shown.as_deref() else { return };
        let first = self.rng.u32(..count.max(1));
        let pieces = (first..count).chain(0..first);
        let new = pieces.filter(|piece| {
            !shown.pieces.has(*piece) && !peer.has(*piece) && Some(*piece) != kept_back
        });
        let copies = |piece: &PieceIndex| {
            let shown = self.super_seed.shown.get(piece).map_or(0, Vec::len) as u32;
            self.picker.all_copies_of(*piece) + shown
        };
        let chosen = new.min_by_key(copies).filter(|piece| copies(piece) <= copies_max);
        if let Some(shown) = self.peers.get_mut(key).and_then(|peer| peer.shown.as_deref_mut()) {
            shown.awaited = chosen;
            if let Some(piece) = chosen {
                shown.since = now; // who is shown nothing goes on waiting
                shown.pieces.insert(piece);
            }
        }
        if let Some(piece) = chosen {
            self.super_seed.shown.entry(piece).or_default().push(key);
            self.send(key, Message::Have(piece));
        }
    }
}
