//! Blocks that are compared with their leaves (BEP 52), one by one.

use std::net::IpAddr;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use wire::BlockRequest;

use super::{BlockState, Pieces};

/// What a comparison with a leaf came to.
pub(crate) struct Proof {
    /// Who sent the block, if it is bad.
    pub(crate) guilty: Option<IpAddr>,
}

impl Pieces {
    /// A block that is there is being compared with its leaf. The number says of which opening of
    /// its piece it is.
    pub(crate) fn checks(&mut self, block: BlockRequest) -> Option<u32> {
        let open = self.open.get_mut(&block.piece)?;
        let number = block.begin / BLOCK_LENGTH;
        let BlockState::Received(source) = open.state(number)? else { return None };
        open.set(number, BlockState::Checking(source));
        open.checking += 1;
        Some(open.opened)
    }

    /// A block was compared with its leaf. `None` when its piece was given up meanwhile. A bad one
    /// is free again.
    pub(crate) fn proved(&mut self, block: BlockRequest, opened: u32, good: bool) -> Option<Proof> {
        let open = self.open.get_mut(&block.piece).filter(|open| open.opened == opened)?;
        let number = block.begin / BLOCK_LENGTH;
        let BlockState::Checking(source) = open.state(number)? else { return None };
        open.checking -= 1;
        if good {
            open.set(number, BlockState::Proved(source));
            return Some(Proof { guilty: None });
        }
        open.set(number, BlockState::Free);
        open.free += 1;
        open.missing += 1;
        open.first_free = open.first_free.min(number as usize);
        let guilty = open.sources.get(usize::from(source)).copied();
        self.sort(block.piece);
        Some(Proof { guilty })
    }

    /// Blocks of an open piece that are there and were not compared with their leaves.
    pub(crate) fn unproved(&self, piece: PieceIndex) -> Vec<BlockRequest> {
        let blocks = self.open.get(&piece).map(|open| &open.blocks[..]).unwrap_or_default();
        let unproved = |state: &BlockState| matches!(state, BlockState::Received(_));
        let unproved = (0..).zip(blocks).filter(|(_, state)| unproved(state));
        unproved.map(|(block, _)| self.request(piece, block)).collect()
    }

    pub(crate) fn is_block_proved(&self, piece: PieceIndex, block: u32) -> bool {
        let open = self.open.get(&piece).or_else(|| self.verifying.get(&piece));
        let state = open.and_then(|open| open.state(block));
        matches!(state, Some(BlockState::Proved(_)))
    }

    /// Whether all blocks of a complete piece were compared with their leaves.
    pub(crate) fn is_proved(&self, piece: PieceIndex) -> bool {
        let proved = |state: &BlockState| matches!(state, BlockState::Proved(_) | BlockState::Pad);
        self.verifying.get(&piece).is_some_and(|open| open.blocks.iter().all(proved))
    }
}
