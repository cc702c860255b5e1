//! The session's one byte budget for blocks in memory.
//!
//! A torrent's brain reserves a whole piece when it opens it, so what is charged here bounds the
//! arena: no queue behind it can overrun. Torrents on all shards draw from the same pool.

use std::sync::atomic::{AtomicI64, Ordering};

/// Blocks (16 KiB each) that may still be reserved.
pub(crate) struct Budget {
    free_blocks: AtomicI64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let blocks = bytes / u64::from(metainfo::BLOCK_LENGTH);
        Self { free_blocks: AtomicI64::new(i64::try_from(blocks).unwrap_or(i64::MAX)) }
    }

    /// Records that a torrent's reservation went from `before` to `after` blocks.
    pub(crate) fn moved(&self, before: u32, after: u32) {
        self.free_blocks.fetch_add(i64::from(before) - i64::from(after), Ordering::Relaxed);
    }

    /// Blocks a torrent that holds `held` of them may hold in all.
    pub(crate) fn limit_for(&self, held: u32) -> u32 {
        // Every torrent may open one piece whatever the others hold, so the sum can pass the
        // budget for a moment: then nobody grows.
        let free = self.free_blocks.load(Ordering::Relaxed).max(0);
        u32::try_from(free).unwrap_or(u32::MAX).saturating_add(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_the_other_cannot_take() {
        let budget = Budget::new(10 * u64::from(metainfo::BLOCK_LENGTH));
        budget.moved(0, 4);
        assert_eq!(budget.limit_for(4), 10);
        assert_eq!(budget.limit_for(0), 6);
        budget.moved(0, 8); // one piece more than there is room for
        assert_eq!(budget.limit_for(8), 8);
        budget.moved(8, 0);
        assert_eq!(budget.limit_for(0), 6);
    }
}
