//! Where received bytes land: in the blocks that the peer was asked for, and in one buffer for
//! everything else.
//!
//! Peers answer requests in the order they came. So what the next bytes of a connection will be is
//! mostly known, and one `readv` can put several bodies where they belong, each behind its head.
//! One of these serves all connections of a shard; nothing in it outlives a read but memory.

use std::io::IoSliceMut;

use metainfo::BLOCK_LENGTH;
use storage::Block;
use wire::{BLOCK_HEAD_LENGTH, BlockRequest};

/// Bytes for what was not foreseen: reads smaller than this cost more CPU per byte, larger ones
/// fall out of the second-level cache.
const REST_BYTES: usize = 256 * 1024;

/// Blocks foreseen in one read: as many bytes as for the rest.
pub(super) const FORESEEN_MAX: usize = REST_BYTES / BLOCK_LENGTH as usize;

/// Slices of one read: what a message still lacks, heads and bodies in turn, the rest.
const SLICES_MAX: usize = 1 + 2 * FORESEEN_MAX + 1;

/// The receive memory of a shard.
pub(crate) struct Landing {
    /// What the next bytes may be, in order.
    pub(super) foreseen: Vec<BlockRequest>,
    pub(super) heads: [[u8; BLOCK_HEAD_LENGTH]; FORESEEN_MAX],
    /// One for each that is foreseen, and perhaps more from before.
    bodies: Vec<Option<Block>>,
    pub(super) rest: Vec<u8>,
}

impl Landing {
    pub(crate) fn new() -> Self {
        Self {
            foreseen: Vec::with_capacity(FORESEEN_MAX),
            heads: [[0; BLOCK_HEAD_LENGTH]; FORESEEN_MAX],
            bodies: Vec::new(),
            rest: vec![0; REST_BYTES],
        }
    }

    /// Sees that there is memory for each body that is foreseen.
    pub(super) fn prepare(&mut self, memory: impl Fn() -> Block) {
        self.foreseen.truncate(FORESEEN_MAX);
        if self.bodies.len() < self.foreseen.len() {
            self.bodies.resize_with(self.foreseen.len(), || None);
        }
        for body in self.bodies.iter_mut().take(self.foreseen.len()) {
            body.get_or_insert_with(&memory);
        }
    }

    /// Runs one scattered read: into `first`, then what is foreseen, then the rest.
    pub(super) fn read<T>(
        &mut self,
        first: &mut [u8],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
    ) -> T {
        let mut slices: [IoSliceMut<'_>; SLICES_MAX] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let foreseen = self.foreseen.iter().zip(&mut self.heads).zip(&mut self.bodies);
        let bodies = foreseen.flat_map(|((block, head), body)| {
            let body = body.as_deref_mut().and_then(|body| body.get_mut(..block.length as usize));
            [&mut head[..], body.unwrap_or_default()]
        });
        let all = [first].into_iter().chain(bodies).chain([&mut self.rest[..]]);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSliceMut::new(bytes);
            count += 1;
        }
        read(&mut slices[..count])
    }

    /// What landed as the body of what was foreseen at `index`.
    pub(super) fn body(&self, index: usize) -> &[u8] {
        self.bodies.get(index).and_then(Option::as_deref).unwrap_or_default()
    }

    /// Takes that body's memory along.
    pub(super) fn take_body(&mut self, index: usize) -> Option<Block> {
        self.bodies.get_mut(index).and_then(Option::take)
    }
}
