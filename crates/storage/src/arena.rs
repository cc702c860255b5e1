//! Memory for blocks on their way from a socket to a file.
//!
//! Blocks are handed out last in, first out, so that a block that was just written is the next to
//! be received into, while it is still in the processor's cache. Blocks are parts of slabs that the
//! kernel touches once, and are then recycled. Nothing is refused here: requests are issued against the
//! session's byte budget, and the arena only counts what that budget let in.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metainfo::BLOCK_LENGTH;
use sys::Part;

use crate::last_use::LastUse;

const BLOCK_BYTES: usize = BLOCK_LENGTH as usize;

/// A store of recycled 16 KiB blocks. Clones share it.
#[derive(Clone)]
pub struct Arena(Arc<Shared>);

struct Shared {
    free: Mutex<Vec<Part>>,
    blocks_max: usize,
    in_use: AtomicUsize,
    last_use: LastUse,
}

/// 16 KiB of memory, with zeros or old bytes in it. Dropping it gives it back to its arena.
pub struct Block {
    /// `None` only while it is being dropped.
    bytes: Option<Part>,
    arena: Arc<Shared>,
}

impl Arena {
    /// `blocks_max` is how many blocks are kept in all, used and free; what goes beyond it under
    /// load is given back to the system instead of being recycled.
    pub fn new(blocks_max: usize) -> Self {
        Self(Arc::new(Shared {
            free: Mutex::default(),
            blocks_max,
            in_use: AtomicUsize::new(0),
            last_use: LastUse::default(),
        }))
    }

    /// A block, recycled if there is one. Its contents are arbitrary.
    pub fn take(&self) -> Block {
        let bytes = self.0.take();
        self.0.last_use.note();
        self.0.in_use.fetch_add(1, Ordering::Relaxed);
        Block { bytes, arena: Arc::clone(&self.0) }
    }

    /// Blocks handed out and not given back.
    pub fn in_use(&self) -> usize {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Blocks held for the next taker.
    pub fn idle(&self) -> usize {
        self.0.lock().len()
    }

    /// To be called now and then: gives all idle memory back to the system when nobody took a
    /// block between two calls. Whether it did.
    pub fn rest(&self) -> bool {
        let over = self.0.last_use.is_over();
        if over {
            drop(mem::take(&mut *self.0.lock()));
        }
        over
    }
}

impl Shared {
    /// A free part, of a new slab if there is none.
    fn take(&self) -> Option<Part> {
        let mut free = self.lock();
        if free.is_empty() {
            // What `std` does when the allocator has no memory.
            let parts = sys::slab(BLOCK_BYTES)
                .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[u8; sys::SLAB_BYTES]>()));
            free.extend(parts);
        }
        free.pop()
    }

    /// A list of free blocks is whole at every moment, whoever panicked while holding the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = self.bytes.take();
        let in_use = self.arena.in_use.fetch_sub(1, Ordering::Relaxed) - 1;
        let mut free = self.arena.lock();
        if free.len() + in_use < self.arena.blocks_max {
            free.extend(bytes);
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").finish_non_exhaustive()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("in_use", &self.in_use()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLAB_BLOCKS: usize = sys::SLAB_BYTES / BLOCK_BYTES;

    #[test]
    fn the_last_block_given_back_is_the_first_handed_out() {
        let arena = Arena::new(SLAB_BLOCKS);
        let (mut first, second) = (arena.take(), arena.take());
        first[0] = 7;
        drop(second);
        drop(first);
        assert_eq!(arena.take()[0], 7, "recycled, not zeroed");
        assert_eq!((arena.in_use(), arena.idle()), (0, SLAB_BLOCKS));
    }

    #[test]
    fn blocks_beyond_the_budget_are_not_kept() {
        let arena = Arena::new(SLAB_BLOCKS);
        let blocks: Vec<Block> = (0..3 * SLAB_BLOCKS).map(|_| arena.take()).collect();
        assert_eq!(arena.in_use(), 3 * SLAB_BLOCKS, "nothing is refused");
        drop(blocks);
        assert_eq!((arena.in_use(), arena.idle()), (0, SLAB_BLOCKS));
    }

    #[test]
    fn idle_memory_is_given_back_when_nobody_wants_it_any_more() {
        let arena = Arena::new(SLAB_BLOCKS);
        drop(arena.take());
        arena.rest();
        drop(arena.take());
        arena.rest();
        assert!(arena.idle() > 0, "taken since");
        arena.rest();
        assert_eq!(arena.idle(), 0);
    }

    #[test]
    fn a_block_outlives_every_handle_to_its_arena() {
        let arena = Arena::new(1);
        let block = arena.take();
        drop(arena);
        assert_eq!(block.len(), BLOCK_BYTES);
    }

    #[test]
    fn blocks_move_between_threads() {
        let arena = Arena::new(SLAB_BLOCKS);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| drop((arena.take(), arena.take()))));
            }
        });
        assert_eq!(arena.in_use(), 0);
        assert!(arena.idle() <= SLAB_BLOCKS);
    }
}
