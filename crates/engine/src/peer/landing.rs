//! Where received bytes land: bodies of blocks each in their own memory, everything else in one
//! buffer.
//!
//! A peer that was asked for blocks sends one after the other, all of one length. So which bytes
//! will be heads and which bodies is mostly known before they come, whatever their order, and one
//! `readv` can part them. One of these serves all connections of a shard; nothing in it outlives a
//! read but memory.

use std::io::IoSliceMut;

use metainfo::BLOCK_LENGTH;
use storage::Block;
use wire::BLOCK_HEAD_LENGTH;

/// Bytes for what was not foreseen: reads smaller than this cost more CPU per byte, larger ones
/// fall out of the second-level cache.
const REST_BYTES: usize = 256 * 1024;

/// And for what comes behind foreseen blocks: more of them are better read by the next call.
const TAIL_BYTES: usize = 8 * 1024;

/// Blocks foreseen in one read: as many bytes as for the rest.
pub(super) const FORESEEN_MAX: usize = REST_BYTES / BLOCK_LENGTH as usize;

/// Slices of one read: what a message still lacks, heads and bodies in turn, the rest.
const SLICES_MAX: usize = 1 + 2 * FORESEEN_MAX + 1;

/// The receive memory of a shard.
pub(crate) struct Landing {
    /// How many blocks the next bytes may be.
    foreseen: usize,
    pub(super) heads: [[u8; BLOCK_HEAD_LENGTH]; FORESEEN_MAX],
    /// There is one for each that is foreseen.
    bodies: [Option<Block>; FORESEEN_MAX],
    pub(super) rest: Vec<u8>,
}

impl Landing {
    pub(crate) fn new() -> Self {
        Self {
            foreseen: 0,
            heads: [[0; BLOCK_HEAD_LENGTH]; FORESEEN_MAX],
            bodies: Default::default(),
            rest: vec![0; REST_BYTES],
        }
    }

    /// Prepares for so many blocks.
    pub(super) fn foresee(&mut self, blocks: usize, memory: impl Fn() -> Block) {
        self.foreseen = blocks.min(FORESEEN_MAX);
        for body in &mut self.bodies[..self.foreseen] {
            body.get_or_insert_with(&memory);
        }
    }

    pub(super) fn foreseen(&self) -> usize {
        self.foreseen
    }

    /// Bytes that the rest has room for.
    pub(super) fn rest_bytes(&self) -> usize {
        if self.foreseen == 0 { REST_BYTES } else { TAIL_BYTES }
    }

    /// Runs one scattered read: into `first`, then what is foreseen, then the rest.
    pub(super) fn read<T>(
        &mut self,
        first: &mut [u8],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
    ) -> T {
        let mut slices: [IoSliceMut<'_>; SLICES_MAX] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let rest_bytes = self.rest_bytes();
        let foreseen = self.heads.iter_mut().zip(&mut self.bodies).take(self.foreseen);
        let blocks = foreseen
            .flat_map(|(head, body)| [&mut head[..], body.as_deref_mut().unwrap_or_default()]);
        let all = [first].into_iter().chain(blocks).chain([&mut self.rest[..rest_bytes]]);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(all) {
            *slice = IoSliceMut::new(bytes);
            count += 1;
        }
        read(&mut slices[..count])
    }

    /// What landed as a body.
    pub(super) fn body(&self, index: usize) -> &[u8] {
        self.bodies[index].as_deref().unwrap_or_default()
    }

    /// The same, memory and all.
    pub(super) fn take_body(&mut self, index: usize) -> Option<Block> {
        self.bodies[index].take()
    }
}
