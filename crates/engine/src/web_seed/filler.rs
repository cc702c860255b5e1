//! Bytes as they come, put into the blocks of a run.

use std::collections::VecDeque;

use storage::Block;
use wire::BlockRequest;

/// The blocks of a run that are not there yet, the first perhaps begun.
pub(crate) struct Filler {
    left: VecDeque<BlockRequest>,
    begun: Option<Block>,
    /// Bytes of it that are there.
    filled: usize,
}

impl Filler {
    pub(crate) fn new(run: Vec<BlockRequest>) -> Self {
        Self { left: run.into(), begun: None, filled: 0 }
    }

    /// Takes bytes in order; returns the blocks that they complete. `memory` gives room for one.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        memory: impl Fn() -> Block,
    ) -> Vec<(BlockRequest, Block)> {
        let mut whole = Vec::new();
        while let Some(block) = self.left.front().filter(|_| !bytes.is_empty()) {
            let begun = self.begun.get_or_insert_with(&memory);
            let length = (block.length as usize).min(begun.len());
            let (now, rest) = bytes.split_at(bytes.len().min(length - self.filled));
            begun[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == length {
                self.filled = 0;
                whole.extend(self.left.pop_front().zip(self.begun.take()));
            }
        }
        whole
    }

    /// What has not come, the block that has begun among it.
    pub(crate) fn left(&self) -> impl Iterator<Item = &BlockRequest> {
        self.left.iter()
    }
}
