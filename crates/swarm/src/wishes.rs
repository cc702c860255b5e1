//! What the owner wants of a torrent, and what follows when that changes while it runs: requests are
//! taken back, peers hear whether they are of interest (BEP 3), and who has all that it wants says so
//! (BEP 21).

use std::time::Duration;

use metainfo::PieceIndex;
use wire::{Bitfield, Extension, Message};

use crate::{Action, Swarm};

/// How much a piece is wanted. Of two that a peer has the higher is asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rank {
    /// Not at all.
    Skip,
    /// After all others.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// Before most.
    High,
    /// Before all others: the ends of files, which say what is in them.
    First,
}

/// Which pieces are wanted, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// One for each piece; pieces past its end are [`Rank::Normal`].
    pub ranks: Vec<Rank>,
    /// Pieces of one rank in the order of the torrent, not the rarest first.
    pub sequential: bool,
}

impl Wishes {
    /// How much a piece is wanted.
    pub fn rank(&self, piece: PieceIndex) -> Rank {
        self.ranks.get(piece as usize).copied().unwrap_or_default()
    }

    /// The pieces that are wanted, of so many; `None` is all.
    pub fn wanted(&self, count: u32) -> Option<Bitfield> {
        if !self.ranks.contains(&Rank::Skip) {
            return None;
        }
        let mut wanted = Bitfield::new(count);
        for piece in (0..count).filter(|piece| self.rank(*piece) > Rank::Skip) {
            wanted.insert(piece);
        }
        Some(wanted)
    }
}

impl Swarm {
    /// Wants these pieces from now on, in place of what it wanted before. What is open and no longer
    /// wanted is given up; what is being verified still arrives. When all that is wanted is there,
    /// [`Action::Complete`] follows, if it was not so before.
    pub fn set_wishes(&mut self, now: Duration, wishes: &Wishes) {
        self.now = now;
        let was_complete = self.is_complete();
        let count = self.geometry.piece_count();
        self.wanted = wishes.wanted(count);
        let open = self.pieces.open_pieces();
        let unwanted: Vec<PieceIndex> = open.filter(|piece| !self.is_missing(*piece)).collect();
        unwanted.into_iter().for_each(|piece| self.give_up(piece));
        let mut missing = Bitfield::new(count);
        let mut pickable = Bitfield::new(count);
        for piece in (0..count).filter(|piece| self.is_missing(*piece)) {
            missing.insert(piece);
            if !self.pieces.is_begun(piece) {
                pickable.insert(piece);
            }
        }
        self.missing = missing.count();
        self.picker.set_wishes(wishes, &pickable);
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            peer.interesting = match peer.listed() {
                None => missing.count(),
                Some(has) => missing.common_from(has, 0).count() as u32,
            };
            self.changed_interest(key);
        }
        self.account_alone();
        match (was_complete, self.is_complete()) {
            (false, true) => self.completed(),
            (true, false) => {
                self.candidates.want_seeds(now);
                for key in self.peers.keys() {
                    self.send_extended(key, Extension::UploadOnly, vec![0]);
                }
            }
            _ => {}
        }
        self.refill_everybody();
    }

    /// Drops an open piece, and takes back what was asked of it.
    fn give_up(&mut self, piece: PieceIndex) {
        for index in self.peers.indices() {
            let Some(peer) = self.peers.at(index) else { continue };
            let key = peer.key;
            peer.working = peer.working.filter(|working| *working != piece);
            let taken = peer.take_back(|request| request.block.piece == piece);
            for block in taken {
                self.send(key, Message::Cancel(block));
            }
        }
        self.totals.wasted += self.pieces.abandon(piece);
        self.actions.push_back(Action::Abandon { piece });
    }
}
