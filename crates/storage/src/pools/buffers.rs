//! Recycled memory for reads.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metainfo::BLOCK_LENGTH;

use super::READ_BYTES_MAX;
use crate::buffer::Buffer;
use crate::last_use::LastUse;

/// Buffer sizes: one block, and doubled until the longest read.
const CLASSES: usize = (READ_BYTES_MAX / BLOCK_LENGTH).ilog2() as usize + 1;

/// Bytes of idle buffers kept for each size. What a burst of uploads took beyond it goes back.
const IDLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Free buffers by size.
#[derive(Default)]
pub(super) struct Buffers {
    idle: Mutex<[Vec<Buffer>; CLASSES]>,
    last_use: LastUse,
}

/// Bytes that were read. Dropping it recycles the memory.
pub struct ReadBuffer {
    bytes: Buffer,
    length: usize,
    home: Arc<Buffers>,
}

fn class_bytes(class: usize) -> usize {
    (BLOCK_LENGTH as usize) << class
}

impl Buffers {
    /// A buffer of `length` bytes, at most [`READ_BYTES_MAX`], with old bytes in it.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> ReadBuffer {
        self.last_use.note();
        let class = (0..CLASSES).find(|class| class_bytes(*class) >= length).unwrap_or(CLASSES - 1);
        let recycled = self.lock().get_mut(class).and_then(Vec::pop);
        let bytes = recycled.unwrap_or_else(|| Buffer::new(class_bytes(class)));
        let length = length.min(bytes.len());
        ReadBuffer { bytes, length, home: Arc::clone(self) }
    }

    /// Gives idle memory back when none was taken since the last call, and says whether it did.
    pub(super) fn rest(&self) -> bool {
        let over = self.last_use.is_over();
        if over {
            drop(mem::take(&mut *self.lock()));
        }
        over
    }

    /// Lists of free buffers are whole at every moment, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, [Vec<Buffer>; CLASSES]> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        let mut idle = self.home.lock();
        let size = bytes.len();
        let class = (0..CLASSES).find(|class| class_bytes(*class) == size);
        if let Some(idle) = class.and_then(|class| idle.get_mut(class))
            && (idle.len() + 1) * size <= IDLE_BYTES_MAX
        {
            idle.push(bytes);
        }
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_recycled_by_size_and_not_without_end() {
        let buffers = Arc::new(Buffers::default());
        let mut small = buffers.take(100);
        small[0] = 9;
        assert_eq!(small.len(), 100);
        drop(small);
        assert_eq!(buffers.take(BLOCK_LENGTH as usize)[0], 9);
        assert_eq!(buffers.take(BLOCK_LENGTH as usize + 1)[0], 0, "another size");
        let many: Vec<_> = (0..100).map(|_| buffers.take(READ_BYTES_MAX as usize)).collect();
        drop(many);
        assert_eq!(buffers.lock()[CLASSES - 1].len(), IDLE_BYTES_MAX / READ_BYTES_MAX as usize);
        assert_eq!([buffers.rest(), buffers.rest()], [false, true]);
        assert!(buffers.lock().iter().all(Vec::is_empty));
    }
}
