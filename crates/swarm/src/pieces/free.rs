//! Taking free blocks of open pieces, from the first on or from where a reader is.

use metainfo::PieceIndex;
use wire::BlockRequest;

use super::{BlockState, OpenPiece, Pieces};

impl OpenPiece {
    /// Takes the first free block that is not before number `first`, for a peer.
    pub(super) fn take_free_from(&mut self, first: u32, peer: u32) -> Option<u32> {
        let block = self.free_from(first)?;
        if first as usize <= self.first_free {
            self.first_free = block as usize + 1;
        }
        self.set(block, BlockState::Requested(peer));
        self.free -= 1;
        Some(block)
    }

    /// The first free block that is not before this one.
    pub(crate) fn free_from(&self, first: u32) -> Option<u32> {
        let first = self.first_free.max(first as usize);
        let mut blocks = self.blocks.iter().enumerate().skip(first);
        blocks.find(|(_, state)| **state == BlockState::Free).map(|(block, _)| block as u32)
    }
}

impl Pieces {
    /// Takes the first free block of the piece for a peer.
    pub(crate) fn take_free(&mut self, piece: PieceIndex, peer: u32) -> Option<BlockRequest> {
        self.take_free_from(piece, 0, peer)
    }

    /// The first that is not before block number `first`.
    pub(crate) fn take_free_from(
        &mut self,
        piece: PieceIndex,
        first: u32,
        peer: u32,
    ) -> Option<BlockRequest> {
        let open = self.open.get_mut(&piece)?;
        let block = open.take_free_from(first, peer)?;
        if open.worker.is_none() {
            open.worker = Some(peer);
        }
        self.sort(piece);
        Some(self.request(piece, block))
    }
}
