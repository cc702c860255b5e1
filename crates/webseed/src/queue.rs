//! What the brain asked of a web seed and what of it one connection fetches next: blocks that follow
//! each other become one run. Free connections share what waits, so that the last to be free does not
//! find one of them with everything.

use std::collections::{HashSet, VecDeque};

use metainfo::Geometry;
use wire::{BlockRequest, Message};

/// Bytes of the longest run: the round trip before each is small beside it, and what a slow
/// connection holds is not much.
pub const RUN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a run before it is worth another connection.
const RUN_BYTES_SHARED: u64 = 256 * 1024;

/// The requests of one web seed.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<BlockRequest>,
    /// Those and what is being fetched: a block that is asked for again is on its way already.
    known: HashSet<BlockRequest>,
}

impl Queue {
    /// What the brain says to the seed, as to any peer: most of it is of no use to one.
    pub fn told(&mut self, message: &Message<'_>) {
        match message {
            Message::Request(block) => self.ask(*block),
            Message::Cancel(block) => self.cancel(*block),
            _ => {}
        }
    }

    /// The brain wants a block.
    pub fn ask(&mut self, block: BlockRequest) {
        if self.known.insert(block) {
            self.waiting.push_back(block);
        }
    }

    /// It does not any more. On its way it comes all the same, if others of its run are wanted.
    pub fn cancel(&mut self, block: BlockRequest) {
        self.known.remove(&block);
        self.waiting.retain(|waiting| *waiting != block);
    }

    /// Whether any of these blocks is still wanted: a run of which none is, is not worth its rest.
    pub fn wants_any<'a>(&self, mut blocks: impl Iterator<Item = &'a BlockRequest>) -> bool {
        blocks.any(|block| self.known.contains(block))
    }

    /// The block came.
    pub fn arrived(&mut self, block: BlockRequest) {
        self.known.remove(&block);
    }

    /// Blocks of a run that were not fetched, to be taken first.
    pub fn give_back(&mut self, blocks: &[BlockRequest]) {
        for block in blocks.iter().rev().filter(|block| self.known.contains(block)) {
            self.waiting.push_front(*block);
        }
    }

    /// Forgets blocks that nobody wants of this seed any more.
    pub fn forget(&mut self, which: impl Fn(&BlockRequest) -> bool) {
        self.waiting.retain(|block| !which(block));
        self.known.retain(|block| !which(block));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nobody waits to be fetched.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next run for one of `idle` connections, itself among them; blocks follow each other
    /// without a gap. Empty when nothing waits.
    pub fn take(&mut self, idle: usize, geometry: &Geometry) -> Vec<BlockRequest> {
        let mut run = Vec::new();
        let waiting: u64 = self.waiting.iter().map(|block| u64::from(block.length)).sum();
        let share = waiting / (idle.max(1) as u64);
        let most = share.clamp(RUN_BYTES_SHARED, RUN_BYTES_MAX);
        let (mut bytes, mut end) = (0, None);
        while let Some(next) = self.waiting.front() {
            let (start, length) = (offset(geometry, next), u64::from(next.length));
            if end.is_some_and(|end| end != start) || bytes >= most {
                break;
            }
            (bytes, end) = (bytes + length, Some(start + length));
            run.extend(self.waiting.pop_front());
        }
        run
    }
}

/// Where in the torrent a block begins.
fn offset(geometry: &Geometry, block: &BlockRequest) -> u64 {
    geometry.piece_offset(block.piece).saturating_add(u64::from(block.begin))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: u32 = 16 * 1024;

    fn geometry() -> Geometry {
        Geometry::new(1 << 30, 1 << 20).unwrap()
    }

    fn block(number: u32) -> BlockRequest {
        BlockRequest { piece: number / 64, begin: number % 64 * BLOCK, length: BLOCK }
    }

    fn asked(numbers: impl IntoIterator<Item = u32>) -> Queue {
        let mut queue = Queue::default();
        numbers.into_iter().for_each(|number| queue.ask(block(number)));
        queue
    }

    #[test]
    fn a_run_goes_over_pieces_and_ends_at_a_gap() {
        let mut queue = asked((60..70).chain(80..81));
        assert_eq!(queue.take(1, &geometry()), (60..70).map(block).collect::<Vec<_>>());
        assert_eq!(queue.take(1, &geometry()), [block(80)]);
        assert!(queue.is_empty() && queue.take(1, &geometry()).is_empty());
    }

    #[test]
    fn free_connections_share_and_none_takes_more_than_the_most() {
        let mut queue = asked(0..64);
        assert_eq!(queue.take(4, &geometry()).len(), 16);
        assert_eq!(queue.take(3, &geometry()).len(), 16);
        assert_eq!(queue.take(1, &geometry()).len(), 32);
        assert_eq!(asked(0..1000).take(1, &geometry()).len(), 256);
        assert_eq!(asked(0..20).take(4, &geometry()).len(), 16, "not worth splitting");
    }

    #[test]
    fn what_nobody_wants_any_more_is_forgotten_and_may_come_again() {
        let mut queue = asked(0..8);
        queue.forget(|block| block.piece == 0 && block.begin < 4 * BLOCK);
        queue.ask(block(1));
        queue.ask(block(6)); // it waits already
        assert_eq!(queue.take(1, &geometry()), (4..8).map(block).collect::<Vec<_>>());
        assert_eq!(queue.take(1, &geometry()), [block(1)]);
        queue.clear();
        queue.give_back(&[block(1)]);
        assert!(queue.is_empty(), "nobody wants it");
    }

    #[test]
    fn what_is_on_its_way_is_not_asked_for_twice() {
        let mut queue = asked(0..4);
        let run = queue.take(1, &geometry());
        queue.ask(block(2));
        assert!(queue.is_empty());
        queue.arrived(block(0));
        queue.give_back(&run[1..]);
        queue.told(&Message::Request(block(9)));
        queue.told(&Message::Cancel(block(2)));
        queue.told(&Message::Interested);
        assert_eq!(queue.take(1, &geometry()), [block(1)]);
        assert_eq!(queue.take(1, &geometry()), [block(3)]);
        queue.arrived(block(1));
        queue.ask(block(1)); // it was bad, say
        assert_eq!(queue.take(1, &geometry()), [block(9)]);
        assert_eq!(queue.take(1, &geometry()), [block(1)]);
    }

    #[test]
    fn a_run_that_nobody_wants_is_known() {
        let mut queue = asked(0..4);
        let run = queue.take(1, &geometry());
        run[1..3].iter().for_each(|block| queue.cancel(*block));
        assert!(queue.wants_any(run[1..].iter()));
        assert!(!queue.wants_any(run[1..3].iter()));
        queue.give_back(&run[1..]);
        assert_eq!(queue.take(1, &geometry()), [block(3)], "what was cancelled stays so");
    }

    proptest! {
        #[test]
        fn every_block_is_taken_once_and_runs_have_no_gap(
            numbers in proptest::collection::vec(0..300u32, 0..200),
            idle in 0..6usize,
        ) {
            let mut queue = asked(numbers.iter().copied());
            let mut taken = HashSet::new();
            loop {
                let run = queue.take(idle, &geometry());
                if run.is_empty() {
                    break;
                }
                let at = |block: &BlockRequest| offset(&geometry(), block);
                prop_assert!(run.windows(2).all(|two| at(&two[0]) + u64::from(BLOCK) == at(&two[1])));
                let bytes: u64 = run.iter().map(|block| u64::from(block.length)).sum();
                prop_assert!(bytes <= RUN_BYTES_MAX);
                for block in run {
                    prop_assert!(taken.insert(block));
                }
            }
            let wanted: HashSet<_> = numbers.into_iter().map(block).collect();
            prop_assert_eq!(taken, wanted);
        }
    }
}
