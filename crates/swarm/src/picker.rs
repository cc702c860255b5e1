//! Rarest first with random ties, O(1) for each change of availability.
//!
//! `order` holds the pieces that may be picked, sorted by how many connected peers have them;
//! `ends` holds where each count's run ends. One more copy of a piece is a swap to the end of its
//! run and a step of the border. Peers that have everything count once, in one integer. A peer
//! with many pieces at once only marks the order stale; it is rebuilt in one counting sort when
//! next asked.

use metainfo::PieceIndex;
use wire::Bitfield;

const NOWHERE: u32 = u32::MAX;

pub(crate) struct Picker {
    /// Copies among peers that don't have everything.
    copies: Vec<u32>,
    seeds: u32,
    order: Vec<PieceIndex>,
    /// Where a piece stands in `order`; `NOWHERE` when it is not to be picked.
    place: Vec<u32>,
    /// `ends[c]` is where the run of pieces with `c` copies ends.
    ends: Vec<u32>,
    stale: bool,
    /// Grows whenever a piece becomes pickable: who found nothing at one version finds nothing
    /// until the next.
    version: u64,
    #[cfg(test)]
    swaps: u64,
    /// Pieces looked at by picks.
    #[cfg(test)]
    pub(crate) looks: std::cell::Cell<u64>,
}

// Indices into these vectors are the picker's own: pieces are checked against the torrent before
// they come here, and places are kept consistent below (the property test recounts them).
#[allow(clippy::indexing_slicing)]
impl Picker {
    pub(crate) fn new(pieces: u32, pickable: impl Iterator<Item = PieceIndex>) -> Self {
        let order: Vec<PieceIndex> = pickable.collect();
        let mut place = vec![NOWHERE; pieces as usize];
        for (at, piece) in (0..).zip(&order) {
            place[*piece as usize] = at;
        }
        Self {
            copies: vec![0; pieces as usize],
            seeds: 0,
            order,
            place,
            ends: vec![0],
            stale: true,
            version: 0,
            #[cfg(test)]
            swaps: 0,
            #[cfg(test)]
            looks: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn add_seed(&mut self) {
        self.seeds += 1;
    }

    pub(crate) fn remove_seed(&mut self) {
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// A peer came with these pieces.
    pub(crate) fn add_all(&mut self, pieces: &Bitfield) {
        pieces.iter().for_each(|piece| self.copies[piece as usize] += 1);
        self.stale |= pieces.count() > 0;
    }

    /// A peer left with these pieces.
    pub(crate) fn remove_all(&mut self, pieces: &Bitfield) {
        for piece in pieces.iter() {
            let copies = &mut self.copies[piece as usize];
            *copies = copies.saturating_sub(1);
        }
        self.stale |= pieces.count() > 0;
    }

    /// One peer more has the piece.
    pub(crate) fn add_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        let copies = self.copies[piece as usize];
        self.copies[piece as usize] = copies + 1;
        if self.stale || self.place[piece as usize] == NOWHERE {
            return;
        }
        let copies = copies as usize;
        if self.ends.len() <= copies + 1 {
            self.ends.resize(copies + 2, self.order.len() as u32);
        }
        let last = self.ends[copies] - 1;
        self.swap(self.place[piece as usize], last);
        self.ends[copies] = last;
        self.swap(last, rng.u32(last..self.ends[copies + 1])); // a random place among its equals
    }

    /// One peer fewer has the piece.
    pub(crate) fn remove_copy(&mut self, piece: PieceIndex, rng: &mut fastrand::Rng) {
        let copies = self.copies[piece as usize];
        let Some(fewer) = copies.checked_sub(1) else { return };
        self.copies[piece as usize] = fewer;
        if self.stale || self.place[piece as usize] == NOWHERE {
            return;
        }
        let fewer = fewer as usize;
        let first = self.ends[fewer];
        self.swap(self.place[piece as usize], first);
        self.ends[fewer] = first + 1;
        let start = if fewer == 0 { 0 } else { self.ends[fewer - 1] };
        self.swap(first, rng.u32(start..=first));
    }

    /// The piece may be picked again.
    pub(crate) fn insert(&mut self, piece: PieceIndex) {
        if self.place[piece as usize] != NOWHERE {
            return;
        }
        self.version += 1;
        self.place[piece as usize] = self.order.len() as u32;
        self.order.push(piece);
        if self.stale {
            return;
        }
        let copies = self.copies[piece as usize] as usize;
        if self.ends.len() <= copies {
            self.ends.resize(copies + 1, self.order.len() as u32 - 1);
        }
        // One swap for each run behind its own: as many as peers, not as pieces.
        for run in (copies..self.ends.len()).rev() {
            self.ends[run] += 1;
            if run > copies {
                let first = self.ends[run - 1];
                self.swap(self.place[piece as usize], first);
            }
        }
    }

    /// The piece is not to be picked: it is open, or there.
    pub(crate) fn remove(&mut self, piece: PieceIndex) {
        if self.place[piece as usize] == NOWHERE {
            return;
        }
        if self.stale {
            let place = self.place[piece as usize];
            self.swap(place, self.order.len() as u32 - 1);
        } else {
            for run in self.copies[piece as usize] as usize..self.ends.len() {
                let last = self.ends[run] - 1;
                self.swap(self.place[piece as usize], last);
                self.ends[run] = last;
            }
        }
        self.order.pop();
        self.place[piece as usize] = NOWHERE;
    }

    /// The rarest piece that `has` says the peer has.
    pub(crate) fn pick(
        &mut self,
        rng: &mut fastrand::Rng,
        has: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        if self.stale {
            self.rebuild(rng);
        }
        self.looked_at(self.order.iter().copied()).find(|piece| has(*piece))
    }

    /// Any piece that `has` says the peer has: the first one after a random place. While nothing is
    /// there to give, a piece that many have is had soonest.
    pub(crate) fn pick_any(
        &self,
        rng: &mut fastrand::Rng,
        has: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        if self.order.is_empty() {
            return None;
        }
        let (before, after) = self.order.split_at(rng.usize(..self.order.len()));
        self.looked_at(after.iter().chain(before).copied()).find(|piece| has(*piece))
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests count")]
    fn looked_at<I: Iterator<Item = PieceIndex>>(&self, pieces: I) -> I {
        pieces
    }

    #[cfg(test)]
    fn looked_at(
        &self,
        pieces: impl Iterator<Item = PieceIndex>,
    ) -> impl Iterator<Item = PieceIndex> {
        pieces.inspect(|_| self.looks.set(self.looks.get() + 1))
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
        self.order.last().is_some_and(|piece| self.seeds > 0 || self.copies[*piece as usize] > 0)
    }

    /// Whether the piece may be picked.
    pub(crate) fn is_pickable(&self, piece: PieceIndex) -> bool {
        self.place.get(piece as usize).is_some_and(|place| *place != NOWHERE)
    }

    /// The fewest copies of any piece.
    pub(crate) fn fewest_copies(&self) -> u32 {
        self.copies.iter().min().map_or(0, |fewest| fewest + self.seeds)
    }

    /// The share of pieces with more copies than the fewest.
    pub(crate) fn commoner_share(&self) -> f64 {
        let fewest = self.copies.iter().min().copied().unwrap_or_default();
        let more = self.copies.iter().filter(|copies| **copies > fewest).count();
        more as f64 / self.copies.len().max(1) as f64
    }

    fn rebuild(&mut self, rng: &mut fastrand::Rng) {
        rng.shuffle(&mut self.order);
        let most = self.order.iter().map(|piece| self.copies[*piece as usize]).max().unwrap_or(0);
        let mut ends = vec![0; most as usize + 1];
        for piece in &self.order {
            ends[self.copies[*piece as usize] as usize] += 1;
        }
        let mut total = 0;
        let mut next: Vec<u32> = Vec::with_capacity(ends.len());
        for end in &mut ends {
            next.push(total);
            total += *end;
            *end = total;
        }
        let mut order = vec![0; self.order.len()];
        for piece in &self.order {
            let slot = &mut next[self.copies[*piece as usize] as usize];
            order[*slot as usize] = *piece;
            self.place[*piece as usize] = *slot;
            *slot += 1;
        }
        self.order = order;
        self.ends = ends;
        self.stale = false;
    }

    fn swap(&mut self, a: u32, b: u32) {
        #[cfg(test)]
        {
            self.swaps += 1;
        }
        self.order.swap(a as usize, b as usize);
        let piece = self.order[a as usize];
        self.place[piece as usize] = a;
        let piece = self.order[b as usize];
        self.place[piece as usize] = b;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_sorted(picker: &Picker) {
        let copies: Vec<u32> =
            picker.order.iter().map(|piece| picker.copies[*piece as usize]).collect();
        assert!(copies.is_sorted(), "{copies:?}");
        for (place, piece) in picker.order.iter().enumerate() {
            assert_eq!(picker.place[*piece as usize] as usize, place);
        }
        for (count, end) in picker.ends.iter().enumerate() {
            let right = copies.iter().filter(|copies| **copies as usize <= count).count();
            assert_eq!(*end as usize, right, "run {count} of {copies:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_holds_through_any_changes(
            steps in proptest::collection::vec((0..6u8, 0..20u32), 0..200),
        ) {
            let mut rng = fastrand::Rng::with_seed(1);
            let mut picker = Picker::new(20, 0..20);
            picker.pick(&mut rng, |_| false);
            for (kind, piece) in steps {
                match kind {
                    0 | 1 => picker.add_copy(piece, &mut rng),
                    2 => picker.remove_copy(piece, &mut rng),
                    3 => picker.remove(piece),
                    4 => picker.insert(piece),
                    _ => {
                        picker.add_all(&Bitfield::full(piece.max(1)).clone());
                        picker.pick(&mut rng, |_| false);
                    }
                }
                assert_sorted(&picker);
            }
        }
    }

    #[test]
    fn one_change_costs_the_same_however_large_the_torrent() {
        let mut rng = fastrand::Rng::with_seed(1);
        for pieces in [100, 100_000] {
            let mut picker = Picker::new(pieces, 0..pieces);
            picker.pick(&mut rng, |_| false);
            for piece in 0..100 {
                picker.add_copy(piece, &mut rng);
            }
            for piece in 0..50 {
                picker.remove_copy(piece, &mut rng);
            }
            assert_eq!(picker.swaps, 300, "two swaps a change");
        }
    }

    #[test]
    fn the_rarest_comes_first_and_ties_are_random() {
        let mut firsts = std::collections::HashSet::new();
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut picker = Picker::new(10, 0..10);
            picker.add_seed();
            let mut common = Bitfield::full(10);
            common.remove(3);
            common.remove(7);
            picker.add_all(&common);
            let first = picker.pick(&mut rng, |_| true).unwrap();
            assert!(matches!(first, 3 | 7));
            assert_eq!(picker.fewest_copies(), 1);
            firsts.insert(first);
        }
        assert_eq!(firsts.len(), 2);
    }
}
