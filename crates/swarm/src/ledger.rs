//! Where the time goes: each second of each peer is charged to one thing, and each second without
//! peers to the reason that there are none.
//!
//! It is charged when what a peer is at becomes another, for all the time since the last change: a
//! comparison for each event, nothing for a tick, and a walk over the peers for who asks. Every peer
//! whose state changed passes `refill_windows` or [`Swarm::account`] before the next event.

use std::time::Duration;

use crate::candidates::Tried;
use crate::peer::Peer;
use crate::{PeerKey, Swarm};

/// What a second of a peer was spent on. All variants are known to who explains them: a new one is to
/// be explained too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spent {
    /// It sends what it was asked for, as fast as it and the path do.
    Sending,
    /// It sends, and would send more if more could be asked for at once.
    Window,
    /// It was asked and sends nothing.
    Unanswered,
    /// It does not let us ask.
    Choked,
    /// It refuses what it is asked for, and is given time.
    Rejecting,
    /// It has nothing that is missing.
    NothingNew,
    /// All that it has of what is missing is asked of others, or there already.
    AllAsked,
    /// No memory is left for another piece.
    Memory,
    /// No memory is left, as pieces wait to be hashed and written.
    Disk,
    /// A rate limit lets no more be asked for.
    Limited,
    /// The driver wants nothing: the disk refuses, or the torrent only seeds.
    Paused,
    /// Nobody is connected, and the first addresses are being tried.
    Connecting,
    /// Nobody is connected: those that were tried did not answer as peers.
    Unreached,
    /// Nobody is connected: who was has left.
    Left,
    /// Nobody is connected: who was sent bad data.
    Banned,
    /// Nobody is connected, and no address is known.
    NobodyKnown,
    /// All is there: it may ask, and is served.
    Serving,
    /// All is there: it wants something, and all upload slots are others'.
    NoSlot,
    /// All is there: it wants nothing.
    Unwanted,
    /// All is there, and nobody is connected.
    Unvisited,
}

impl Spent {
    /// All of them, in order.
    pub const ALL: [Self; 20] = [
        Self::Sending,
        Self::Window,
        Self::Unanswered,
        Self::Choked,
        Self::Rejecting,
        Self::NothingNew,
        Self::AllAsked,
        Self::Memory,
        Self::Disk,
        Self::Limited,
        Self::Paused,
        Self::Connecting,
        Self::Unreached,
        Self::Left,
        Self::Banned,
        Self::NobodyKnown,
        Self::Serving,
        Self::NoSlot,
        Self::Unwanted,
        Self::Unvisited,
    ];
}

/// One line of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// What for.
    pub what: Spent,
    /// Seconds of peers, over the swarm's life; without peers, seconds.
    pub time: Duration,
    /// Connected peers that are at it now.
    pub peers: u32,
}

/// What was charged so far.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Nothing for a torrent that nothing ever happened to, of which there may be ten thousand.
    nanos: Option<Box<[u64; Spent::ALL.len()]>>,
    /// Why nobody is connected, and since when that holds.
    alone: Option<Spent>,
    alone_since: Duration,
}

impl Ledger {
    pub(crate) fn new(now: Duration) -> Self {
        Self { nanos: None, alone: None, alone_since: now }
    }

    fn charge(&mut self, what: Spent, time: Duration) {
        if time.is_zero() {
            return;
        }
        let nanos = self.nanos.get_or_insert_default();
        if let Some(nanos) = nanos.get_mut(what as usize) {
            *nanos = nanos.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// From now on nobody is connected for this reason, or somebody is.
    fn is_alone(&mut self, now: Duration, alone: Option<Spent>) {
        if alone == self.alone {
            return;
        }
        if let Some(before) = self.alone {
            self.charge(before, now.saturating_sub(self.alone_since));
        }
        (self.alone, self.alone_since) = (alone, now);
    }
}

impl Swarm {
    /// Where the peers' time went since the swarm began: what nothing was spent on and nobody is at
    /// is left out, so that some line is always there. Costs a walk over the peers.
    pub fn spending(&self, now: Duration) -> Vec<Spending> {
        let mut lines = Spent::ALL.map(|what| {
            let charged = self.ledger.nanos.as_ref().and_then(|nanos| nanos.get(what as usize));
            let nanos = charged.copied().unwrap_or_default();
            Spending { what, time: Duration::from_nanos(nanos), peers: 0 }
        });
        let alone = self.ledger.alone.map(|what| (what, self.ledger.alone_since, 0));
        let open = self.peers.iter().map(|peer| (peer.spent, peer.spent_since, 1)).chain(alone);
        for (what, since, peers) in open {
            if let Some(line) = lines.get_mut(what as usize) {
                line.time += now.saturating_sub(since);
                line.peers += peers;
            }
        }
        let said = |line: &Spending| {
            !line.time.is_zero() || line.peers > 0 || self.ledger.alone == Some(line.what)
        };
        lines.into_iter().filter(said).collect()
    }

    /// Charges a peer's time if it is at something else by now.
    pub(crate) fn account(&mut self, key: PeerKey) {
        self.account_from(key, self.now);
    }

    /// The same, if what it is at now has been so since an earlier moment.
    pub(crate) fn account_from(&mut self, key: PeerKey, from: Duration) {
        let Some(peer) = self.peers.get(key) else { return };
        let spent = self.spends(peer);
        if spent == peer.spent {
            return;
        }
        let from = from.max(peer.spent_since);
        self.ledger.charge(peer.spent, from.saturating_sub(peer.spent_since));
        if let Some(peer) = self.peers.get_mut(key) {
            (peer.spent, peer.spent_since) = (spent, from);
        }
    }

    /// Charges what is left of a peer's time: it is gone.
    pub(crate) fn account_last(&mut self, gone: &Peer) {
        self.ledger.charge(gone.spent, self.now.saturating_sub(gone.spent_since));
    }

    /// Charges the time without peers, if its reason is another by now.
    pub(crate) fn account_alone(&mut self) {
        let alone = (self.peers.len() == 0).then(|| self.lacks());
        self.ledger.is_alone(self.now, alone);
    }

    /// What a peer is at.
    fn spends(&self, peer: &Peer) -> Spent {
        if self.missing == 0 {
            return match (peer.is_interested, peer.am_choking) {
                (false, _) => Spent::Unwanted,
                (true, true) => Spent::NoSlot,
                (true, false) => Spent::Serving,
            };
        }
        if self.paused {
            return Spent::Paused;
        }
        if !peer.am_interested {
            return Spent::NothingNew;
        }
        let asked = !peer.outstanding.is_empty();
        if peer.is_choking && (!asked || peer.allowed_in.is_empty()) {
            return Spent::Choked;
        }
        if peer.window.is_snubbed() || asked && peer.downloaded == 0 {
            return Spent::Unanswered;
        }
        // With half a window it is still kept busy.
        let starves = peer.live_bytes * 2 < peer.window.bytes();
        match peer.held_up {
            // What is under way was let through, and the window is as small as the rate.
            Some(Spent::Limited) => Spent::Limited,
            Some(held_up) if !asked || starves => held_up,
            _ if asked && peer.window.is_the_limit() => Spent::Window,
            _ if asked => Spent::Sending,
            _ if self.now < peer.patient_until => Spent::Rejecting,
            _ => Spent::AllAsked,
        }
    }

    /// Why nobody is connected.
    fn lacks(&self) -> Spent {
        if self.missing == 0 {
            return Spent::Unvisited;
        }
        if self.paused {
            return Spent::Paused;
        }
        match self.candidates.tried() {
            Tried::Unreached => Spent::Unreached,
            Tried::Left => Spent::Left,
            Tried::Banned => Spent::Banned,
            Tried::Nothing if self.candidates.is_empty() => Spent::NobodyKnown,
            Tried::Nothing => Spent::Connecting,
        }
    }

    /// Why a peer with room in its window was not asked for another block.
    pub(crate) fn holds_up(&self, peer: &Peer) -> Option<Spent> {
        if peer.exhausted == Some(self.picker.version()) {
            // An occupied one has its own blocks to send first.
            return peer.outstanding.is_empty().then_some(Spent::AllAsked);
        }
        let piece = self.geometry.block_count(0);
        (!self.fits(piece)).then(|| {
            let waiting = self.pieces.verifying_count().saturating_mul(piece);
            let much = waiting >= self.pieces.reserved_blocks() / DISK_SHARE;
            if much { Spent::Disk } else { Spent::Memory }
        })
    }
}

/// When memory is used up and one in so many blocks of it waits for the disk, it is the disk that holds
/// things up: on the way of a disk that keeps up there are a few pieces.
const DISK_SHARE: u32 = 4;

#[cfg(test)]
mod tests;
