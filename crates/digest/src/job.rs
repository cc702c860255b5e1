//! One message on its way through the rounds: where it is, and its next whole blocks.
//!
//! Whole blocks are hashed where they lie. Only a block that a border between slices cuts, and the
//! padding, are put together in the job.

use std::ops::Range;

use crate::{BLOCK_BYTES, Block};

/// A message that is being hashed.
pub(crate) struct Job<'a, const W: usize> {
    /// The message's place in the batch.
    pub(crate) index: usize,
    /// The state after the blocks that were taken.
    pub(crate) state: [u32; W],
    /// Slices not looked at yet.
    slices: std::slice::Iter<'a, &'a [u8]>,
    /// Whole blocks of the current slice.
    blocks: &'a [Block],
    /// What follows them in the slice: less than a block.
    tail: &'a [u8],
    /// A block put together of several slices, or one or two of the message's end and padding.
    cut: [Block; 2],
    /// Bytes of an unfinished block in `cut`.
    cut_bytes: usize,
    /// Finished blocks in `cut`; they come before `blocks`.
    cut_ready: Range<usize>,
    /// Of the slices looked at.
    message_bytes: u64,
    is_padded: bool,
}

impl<'a, const W: usize> Job<'a, W> {
    pub(crate) fn new(index: usize, initial: [u32; W], message: &'a [&'a [u8]]) -> Self {
        let mut job = Self {
            index,
            state: initial,
            slices: message.iter(),
            blocks: &[],
            tail: &[],
            cut: [[0; BLOCK_BYTES]; 2],
            cut_bytes: 0,
            cut_ready: 0..0,
            message_bytes: 0,
            is_padded: false,
        };
        job.refill();
        job
    }

    /// The next blocks, in one run; none when the message is done.
    pub(crate) fn run(&self) -> &[Block] {
        let cut = &self.cut[self.cut_ready.clone()];
        if cut.is_empty() { self.blocks } else { cut }
    }

    /// The first `count` blocks of [`run`](Self::run) are in the state now.
    pub(crate) fn advance(&mut self, count: usize) {
        if self.cut_ready.is_empty() {
            self.blocks = &self.blocks[count..];
        } else {
            self.cut_ready.start += count;
        }
        self.refill();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_padded && self.run().is_empty()
    }

    fn refill(&mut self) {
        while self.run().is_empty() && !self.is_padded {
            let tail = std::mem::take(&mut self.tail);
            self.cut.as_flattened_mut()[self.cut_bytes..][..tail.len()].copy_from_slice(tail);
            self.cut_bytes += tail.len();
            match self.slices.next() {
                Some(slice) => self.enter(slice),
                None => self.pad(),
            }
        }
    }

    fn enter(&mut self, slice: &'a [u8]) {
        self.message_bytes += slice.len() as u64;
        let mut rest = slice;
        if self.cut_bytes > 0 {
            let head;
            (head, rest) = slice.split_at(slice.len().min(BLOCK_BYTES - self.cut_bytes));
            self.cut[0][self.cut_bytes..][..head.len()].copy_from_slice(head);
            self.cut_bytes += head.len();
            if self.cut_bytes == BLOCK_BYTES {
                self.cut_bytes = 0;
                self.cut_ready = 0..1;
            }
        }
        (self.blocks, self.tail) = rest.as_chunks();
    }

    /// A one bit, zeros, and the length in bits (FIPS 180-4, section 5.1.1).
    fn pad(&mut self) {
        self.cut.as_flattened_mut()[self.cut_bytes..].fill(0);
        self.cut[0][self.cut_bytes] = 0x80;
        let length = (8 * self.message_bytes).to_be_bytes();
        let last = usize::from(self.cut_bytes + 1 + length.len() > BLOCK_BYTES);
        self.cut[last][BLOCK_BYTES - length.len()..].copy_from_slice(&length);
        self.cut_ready = 0..last + 1;
        self.is_padded = true;
    }
}
