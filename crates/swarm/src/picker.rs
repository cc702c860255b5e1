//! Rarest first with random ties, O(1) for each change of availability and of what may be picked.
//!
//! `order` holds all pieces, sorted by how many connected peers have them; `runs` holds where each
//! count's run ends, and how far those that may be picked go, which stand first in it. One more copy
//! of a piece is a swap to the end of its run and a step of the border. Peers that have everything
//! count once, in one integer. A peer with many pieces at once only marks the order stale; it is
//! rebuilt in one counting sort when next asked.
//!
//! A pick looks at the rarest pieces first, but not for ever: a peer that has none of the rarest
//! [`LOOKS_MAX`] gets the rarest of [`SAMPLE`] that it has.

use metainfo::PieceIndex;
use wire::Bitfield;

use crate::steps;

/// Pieces and runs that a pick looks at in the order of rarity.
const LOOKS_MAX: usize = 256;
/// Pieces of the peer that are compared after that: the best of so many is about the rarest
/// hundredth.
const SAMPLE: usize = 64;
/// A peer with fewer pieces than this share of all is counted one by one: a sort costs more.
const FEW: u32 = 16;

/// The pieces with one number of copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Run {
    /// Where those that may be picked end.
    pickable: u32,
    end: u32,
}

pub(crate) struct Picker {
    /// Copies among peers that don't have everything. Empty, as the tables below, until it is needed:
    /// a seed that nobody talks to has no memory for each piece.
    copies: Vec<u32>,
    seeds: u32,
    order: Vec<PieceIndex>,
    /// Where a piece stands in `order`.
    place: Vec<u32>,
    runs: Vec<Run>,
    pickable: Bitfield,
    stale: bool,
    /// Grows whenever a piece becomes pickable: who found nothing at one version finds nothing
    /// until the next.
    version: u64,
}

// Indices into these vectors are the picker's own: pieces are checked against the torrent before
// they come here, and places are kept consistent below (the property test recounts them).
#[allow(clippy::indexing_slicing)]
impl Picker {
    pub(crate) fn new(pieces: u32, pickable: impl Iterator<Item = PieceIndex>) -> Self {
        let mut set = Bitfield::new(pieces);
        pickable.for_each(|piece| _ = set.insert(piece));
        Self {
            copies: Vec::new(),
            seeds: 0,
            order: Vec::new(),
            place: Vec::new(),
            runs: Vec::new(),
            pickable: set,
            stale: true,
            version: 0,
        }
    }

    /// One that knows the same copies and picks these pieces, at a version of its own.
    pub(crate) fn with(&self, pickable: Bitfield, version: u64) -> Self {
        Self {
            copies: self.copies.clone(),
            seeds: self.seeds,
            order: Vec::new(),
            place: Vec::new(),
            runs: Vec::new(),
            pickable,
            stale: true,
            version,
        }
    }

    /// Gives the memory back that choosing takes. For when no peer is left and nothing is to be chosen.
    pub(crate) fn rest(&mut self) {
        self.copies = Vec::new();
        self.order = Vec::new();
        self.place = Vec::new();
        self.runs = Vec::new();
        self.stale = true;
    }

    fn count_copies(&mut self) {
        self.copies.resize(self.pickable.len() as usize, 0);
    }

    pub(crate) fn copies_of(&self, piece: PieceIndex) -> u32 {
        self.copies.get(piece as usize).copied().unwrap_or_default()
    }

    /// Copies among all connected peers.
    pub(crate) fn all_copies_of(&self, piece: PieceIndex) -> u32 {
        self.copies_of(piece) + self.seeds
    }

    pub(crate) fn add_seed(&mut self) {
        self.seeds += 1;
    }

    pub(crate) fn remove_seed(&mut self) {
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// A peer came with these pieces.
    pub(crate) fn add_all(&mut self, pieces: &Bitfield, rng: &mut fastrand::Rng) {
        if pieces.count() < pieces.len() / FEW {
            return pieces.iter().for_each(|piece| self.add_copy(piece, rng));
        }
        self.count_copies();
        for piece in pieces.iter() {
            steps::count();
            self.copies[piece as usize] += 1;
        }
        self.stale |= pieces.count() > 0;
    }

    /// A peer left with these pieces.
    pub(crate) fn remove_all(&mut self, pieces: &Bitfield, rng: &mut fastrand::Rng) {
        if pieces.count() < pieces.len() / FEW {
            return pieces.iter().for_each(|piece| self.remove_copy(piece, rng));
        }
        for piece in pieces.iter() {
            steps::count();
            if let Some(copies) = self.copies.get_mut(piece as usize) {
                *copies = copies.saturating_sub(1);
            }
        }
        self.stale |= pieces.count() > 0;
    }

    /// One peer more has the piece.
    pub(crate) fn add_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        self.count_copies();
        let before = self.copies[piece as usize];
        self.copies[piece as usize] = before + 1;
        if self.stale {
            return;
        }
        let run = before as usize;
        if self.runs.len() <= run + 1 {
            let end = self.order.len() as u32;
            self.runs.resize(run + 2, Run { pickable: end, end });
        }
        let pickable = self.pickable.has(piece);
        if pickable {
            self.leave_pickable(piece, run);
        }
        let last = self.runs[run].end - 1;
        self.swap(self.place[piece as usize], last);
        self.runs[run].end = last;
        // It is the first of its new run now: before those that may be picked.
        let first_other = self.runs[run + 1].pickable;
        if pickable {
            self.swap(last, rng.u32(last..first_other)); // a random place among its equals
        } else {
            self.swap(last, first_other - 1);
            self.runs[run + 1].pickable = first_other - 1;
        }
    }

    /// One peer fewer has the piece.
    pub(crate) fn remove_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        let before = self.copies_of(piece);
        let Some(fewer) = before.checked_sub(1) else { return };
        self.copies[piece as usize] = fewer;
        if self.stale {
            return;
        }
        let (run, fewer) = (before as usize, fewer as usize);
        let pickable = self.pickable.has(piece);
        let first = self.start(run);
        if pickable {
            self.swap(self.place[piece as usize], first);
        } else {
            // The first that may be picked goes where the last one is, and that one to its place.
            let last_pickable = self.runs[run].pickable;
            self.swap(self.place[piece as usize], last_pickable);
            self.swap(last_pickable, first);
            self.runs[run].pickable = last_pickable + 1;
        }
        self.runs[fewer].end = first + 1;
        if pickable {
            self.join_pickable(piece, fewer);
            let (start, end) = (self.start(fewer), self.runs[fewer].pickable);
            self.swap(end - 1, rng.u32(start..end));
        }
    }

    /// The piece may be picked again.
    pub(crate) fn insert(&mut self, piece: PieceIndex) {
        if self.pickable.insert(piece) {
            self.version += 1;
            if !self.stale {
                self.join_pickable(piece, self.copies[piece as usize] as usize);
            }
        }
    }

    /// The piece is not to be picked: it is open, or there.
    pub(crate) fn remove(&mut self, piece: PieceIndex) {
        if self.pickable.remove(piece) && !self.stale {
            self.leave_pickable(piece, self.copies[piece as usize] as usize);
        }
    }

    /// Puts a piece of the run behind the last that may be picked, as one of them.
    fn join_pickable(&mut self, piece: PieceIndex, run: usize) {
        let next = self.runs[run].pickable;
        self.swap(self.place[piece as usize], next);
        self.runs[run].pickable = next + 1;
    }

    /// Puts a piece of the run before those that may not be picked, as one of them.
    fn leave_pickable(&mut self, piece: PieceIndex, run: usize) {
        let last = self.runs[run].pickable - 1;
        self.swap(self.place[piece as usize], last);
        self.runs[run].pickable = last;
    }

    fn start(&self, run: usize) -> u32 {
        run.checked_sub(1).map_or(0, |before| self.runs[before].end)
    }

    /// The rarest piece that a peer has: one with these pieces, or with all.
    pub(crate) fn pick(
        &mut self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
    ) -> Option<PieceIndex> {
        if self.stale {
            self.rebuild(rng);
        }
        let mut looks = 0;
        // What nobody but seeds has, comes first and only seeds give.
        for run in usize::from(has.is_some())..self.runs.len() {
            looks += 1;
            steps::count();
            for place in self.start(run)..self.runs[run].pickable {
                let piece = self.order[place as usize];
                if has.is_none_or(|has| has.has(piece)) {
                    return Some(piece);
                }
                looks += 1;
                steps::count();
                if looks >= LOOKS_MAX {
                    break;
                }
            }
            if looks >= LOOKS_MAX {
                let sample = self.anywhere(rng, has).take(SAMPLE);
                return sample.min_by_key(|piece| self.copies[*piece as usize]);
            }
        }
        None
    }

    /// Any piece that a peer has: the first one after a random place. While nothing is there to
    /// give, a piece that many have is had soonest.
    pub(crate) fn pick_any(
        &self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
    ) -> Option<PieceIndex> {
        self.anywhere(rng, has).next()
    }

    /// The first piece in order that a peer has, from one on before which none may be picked.
    pub(crate) fn pick_from(
        &self,
        first: PieceIndex,
        has: Option<&Bitfield>,
    ) -> Option<PieceIndex> {
        steps::count(); // and one for each 64 pieces that were passed
        self.pickable.common_from(has.unwrap_or(&self.pickable), first).next()
    }

    /// The first piece of the longest of some gaps: runs of pieces that may be picked and that a
    /// peer has, with this many pieces at most counted of each.
    pub(crate) fn pick_gap(
        &self,
        rng: &mut fastrand::Rng,
        has: Option<&Bitfield>,
        gaps: u32,
        counted: u32,
    ) -> Option<PieceIndex> {
        let may = |piece: PieceIndex| {
            steps::count();
            self.is_pickable(piece) && has.is_none_or(|has| has.has(piece))
        };
        let gap_at = |piece: PieceIndex| {
            let first =
                (piece.saturating_sub(counted)..piece).rev().take_while(|at| may(*at)).last();
            let first = first.unwrap_or(piece);
            let length = (first..first.saturating_add(counted)).take_while(|at| may(*at)).count();
            (length, first)
        };
        let mut longest: Option<(usize, PieceIndex)> = None;
        for _ in 0..gaps {
            let (length, first) = gap_at(self.anywhere(rng, has).next()?);
            if longest.is_none_or(|(before, _)| length > before) {
                longest = Some((length, first));
            }
        }
        longest.map(|(_, first)| first)
    }

    fn anywhere<'a>(
        &'a self,
        rng: &mut fastrand::Rng,
        has: Option<&'a Bitfield>,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let first = rng.u32(..self.pickable.len().max(1));
        let pieces = self.pickable.common_from(has.unwrap_or(&self.pickable), first);
        pieces.inspect(|_| steps::count()) // and one for each 64 pieces of the torrent
    }

    /// Changes whenever a piece becomes pickable.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a connected peer has a piece that may be picked.
    pub(crate) fn is_any_available(&mut self, rng: &mut fastrand::Rng) -> bool {
        if self.stale {
            self.rebuild(rng);
        }
        let nobodys = self.runs.first().map_or(0, |run| run.pickable);
        self.pickable.count() > if self.seeds > 0 { 0 } else { nobodys }
    }

    /// Whether the piece may be picked.
    pub(crate) fn is_pickable(&self, piece: PieceIndex) -> bool {
        self.pickable.has(piece)
    }

    /// The fewest copies of any piece.
    pub(crate) fn fewest_copies(&self) -> u32 {
        let fewest = self.copies.iter().min().copied().unwrap_or_default();
        if self.pickable.is_empty() { 0 } else { fewest + self.seeds }
    }

    /// The share of pieces with more copies than the fewest.
    pub(crate) fn commoner_share(&self) -> f64 {
        let fewest = self.copies.iter().min().copied().unwrap_or_default();
        let more = self.copies.iter().filter(|copies| **copies > fewest).count();
        more as f64 / self.copies.len().max(1) as f64
    }

    fn rebuild(&mut self, rng: &mut fastrand::Rng) {
        self.count_copies();
        if self.order.is_empty() {
            self.order = (0..self.pickable.len()).collect();
            self.place = vec![0; self.order.len()];
        }
        rng.shuffle(&mut self.order);
        let most = self.copies.iter().max().copied().unwrap_or_default();
        self.runs.clear();
        self.runs.resize(most as usize + 1, Run::default());
        for (copies, piece) in self.copies.iter().zip(0..) {
            steps::count();
            let run = &mut self.runs[*copies as usize];
            run.end += 1;
            run.pickable += u32::from(self.pickable.has(piece));
        }
        let mut total = 0;
        for run in &mut self.runs {
            let start = total;
            total += run.end;
            // For now each part's begin; every piece that is placed moves it on.
            *run = Run { end: start + run.pickable, pickable: start };
        }
        let mut order = vec![0; self.order.len()];
        for piece in &self.order {
            let run = &mut self.runs[self.copies[*piece as usize] as usize];
            let next = if self.pickable.has(*piece) { &mut run.pickable } else { &mut run.end };
            order[*next as usize] = *piece;
            self.place[*piece as usize] = *next;
            *next += 1;
        }
        self.order = order;
        self.stale = false;
    }

    fn swap(&mut self, a: u32, b: u32) {
        steps::count();
        self.order.swap(a as usize, b as usize);
        let piece = self.order[a as usize];
        self.place[piece as usize] = a;
        let piece = self.order[b as usize];
        self.place[piece as usize] = b;
    }
}

#[cfg(test)]
mod tests;
