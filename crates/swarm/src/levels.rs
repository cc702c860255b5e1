//! A picker for each rank that a piece has: the highest rank first, within it the rarest, or the first
//! in order. Each change costs so many times as much as there are ranks in use, which is mostly one.

use std::cmp::Reverse;

use metainfo::PieceIndex;
use wire::Bitfield;

use crate::picker::Picker;
use crate::wishes::{Rank, Wishes};

/// The pieces of one rank.
struct Level {
    rank: Rank,
    /// Knows the copies of all pieces, and picks those of its rank.
    picker: Picker,
    /// No piece before this one may be picked.
    first: PieceIndex,
}

pub(crate) struct Levels {
    /// The highest first; at least one.
    by_rank: Vec<Level>,
    /// One for each piece, while there are several levels.
    ranks: Vec<Rank>,
    sequential: bool,
}

impl Levels {
    /// All pieces of one rank, the rarest first.
    pub(crate) fn new(pieces: u32, pickable: impl Iterator<Item = PieceIndex>) -> Self {
        let picker = Picker::new(pieces, pickable);
        let level = Level { rank: Rank::Normal, picker, first: 0 };
        Self { by_rank: vec![level], ranks: Vec::new(), sequential: false }
    }

    /// Sorts the pieces anew. Costs a walk over all of them.
    pub(crate) fn set_wishes(&mut self, wishes: &Wishes, pickable: &Bitfield) {
        let version = self.version() + 1;
        let Some(before) = self.by_rank.first() else { return };
        let mut used = [false; Rank::First as usize + 1];
        for piece in pickable.iter() {
            if let Some(used) = used.get_mut(wishes.rank(piece) as usize) {
                *used = true;
            }
        }
        let ranks = [Rank::First, Rank::High, Rank::Normal, Rank::Low];
        let among = |rank: &Rank| used.get(*rank as usize) == Some(&true);
        // A piece that comes back later may be of any rank that the wishes have.
        let unnamed = wishes.ranks.len() < pickable.len() as usize;
        let later = |rank: &Rank| wishes.ranks.contains(rank) || unnamed && *rank == Rank::Normal;
        let ranks: Vec<Rank> =
            ranks.into_iter().filter(|rank| among(rank) || later(rank)).collect();
        let single = ranks.len() <= 1;
        let ranks = if ranks.is_empty() { vec![Rank::Normal] } else { ranks };
        let levels = ranks.into_iter().map(|rank| {
            let mut of_rank = Bitfield::new(pickable.len());
            for piece in pickable.iter().filter(|piece| single || wishes.rank(*piece) == rank) {
                of_rank.insert(piece);
            }
            Level { rank, picker: before.picker.with(of_rank, version), first: 0 }
        });
        self.by_rank = levels.collect();
        self.ranks = if single { Vec::new() } else { wishes.ranks.clone() };
        self.sequential = wishes.sequential;
    }

    /// Whether the owner wants some pieces before others: then peers' suggestions count for nothing.
    pub(crate) fn has_order(&self) -> bool {
        self.sequential || self.by_rank.len() > 1
    }

    pub(crate) fn is_sequential(&self) -> bool {
        self.sequential
    }

    /// Whether it is as any other that has no piece to pick: its owner wished for nothing special.
    pub(crate) fn is_plain(&self) -> bool {
        let normal = self.by_rank.first().is_none_or(|level| level.rank == Rank::Normal);
        normal && !self.has_order() && self.ranks.is_empty()
    }

    fn level(&mut self, piece: PieceIndex) -> Option<&mut Level> {
        if self.by_rank.len() == 1 {
            return self.by_rank.first_mut();
        }
        let rank = self.ranks.get(piece as usize).copied().unwrap_or_default();
        self.by_rank.iter_mut().find(|level| level.rank == rank)
    }

    fn each(&mut self, change: impl FnMut(&mut Picker)) {
        self.by_rank.iter_mut().map(|level| &mut level.picker).for_each(change);
    }

    pub(crate) fn rest(&mut self) {
        self.each(Picker::rest);
    }

    pub(crate) fn add_seed(&mut self) {
        self.each(Picker::add_seed);
    }

    pub(crate) fn remove_seed(&mut self) {
        self.each(Picker::remove_seed);
    }

    pub(crate) fn add_all(&mut self, pieces: &Bitfield, rng: &mut fastrand::Rng) {
        self.each(|picker| picker.add_all(pieces, rng));
    }

    pub(crate) fn remove_all(&mut self, pieces: &Bitfield, rng: &mut fastrand::Rng) {
        self.each(|picker| picker.remove_all(pieces, rng));
    }

    pub(crate) fn add_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        self.each(|picker| picker.add_copy(piece, rng));
    }

    pub(crate) fn remove_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        self.each(|picker| picker.remove_copy(piece, rng));
    }

    pub(crate) fn insert(&mut self, piece: PieceIndex) {
        if let Some(level) = self.level(piece) {
            level.picker.insert(piece);
            level.first = level.first.min(piece);
        }
    }

    pub(crate) fn remove(&mut self, piece: PieceIndex) {
        if let Some(level) = self.level(piece) {
            level.picker.remove(piece);
        }
    }

    /// The piece to ask a peer for: one with these pieces, or with all.
    pub(crate) fn pick(
        &mut self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
    ) -> Option<PieceIndex> {
        let sequential = self.sequential;
        self.by_rank.iter_mut().find_map(|level| {
            if !sequential {
                return level.picker.pick(rng, has);
            }
            let first = level.picker.pick_from(level.first, None)?;
            level.first = first;
            level.picker.pick_from(first, has)
        })
    }

    /// The first piece of a long gap, for who gives runs of pieces: see [`Picker::pick_gap`]. In a
    /// torrent that is wanted in order, the piece that is first.
    pub(crate) fn pick_gap(
        &mut self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
        gaps: u32,
        counted: u32,
    ) -> Option<PieceIndex> {
        if self.sequential {
            return self.pick(rng, has);
        }
        self.by_rank.iter().find_map(|level| level.picker.pick_gap(rng, has, gaps, counted))
    }

    /// Any piece of the highest rank that a peer has.
    pub(crate) fn pick_any(
        &self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
    ) -> Option<PieceIndex> {
        self.by_rank.iter().find_map(|level| level.picker.pick_any(rng, has))
    }

    /// The most wanted of these pieces that may be picked; of several the rarest.
    pub(crate) fn pick_of(&self, pieces: impl Iterator<Item = PieceIndex>) -> Option<PieceIndex> {
        let place = |piece: &PieceIndex| {
            let level = self.by_rank.iter().find(|level| level.picker.is_pickable(*piece))?;
            Some((Reverse(level.rank), level.picker.copies_of(*piece)))
        };
        let placed = pieces.filter_map(|piece| Some((place(&piece)?, piece)));
        placed.min_by_key(|(place, _)| *place).map(|(_, piece)| piece)
    }

    /// Changes whenever a piece becomes pickable.
    pub(crate) fn version(&self) -> u64 {
        self.by_rank.iter().map(|level| level.picker.version()).sum()
    }

    pub(crate) fn is_any_available(&mut self, rng: &mut fastrand::Rng) -> bool {
        self.by_rank.iter_mut().any(|level| level.picker.is_any_available(rng))
    }

    pub(crate) fn is_pickable(&self, piece: PieceIndex) -> bool {
        self.by_rank.iter().any(|level| level.picker.is_pickable(piece))
    }

    pub(crate) fn all_copies_of(&self, piece: PieceIndex) -> u32 {
        self.by_rank.first().map_or(0, |level| level.picker.all_copies_of(piece))
    }

    pub(crate) fn fewest_copies(&self) -> u32 {
        self.by_rank.first().map_or(0, |level| level.picker.fewest_copies())
    }

    pub(crate) fn commoner_share(&self) -> f64 {
        self.by_rank.first().map_or(0.0, |level| level.picker.commoner_share())
    }
}

#[cfg(test)]
mod tests;
