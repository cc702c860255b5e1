//! What a connection reads: messages go to the brain, block bodies to their piece.

use std::time::Duration;

use storage::Block;
use swarm::{BlockFate, BlockOutcome, Fault};
use wire::{BlockRequest, Message};

use super::{State, Torrent};
use crate::peer::{Connection, Sink};

/// Hands what one peer sent to the brain, and block bodies to their piece.
pub(super) struct PeerSink<'a> {
    pub(super) torrent: &'a Torrent,
    pub(super) state: &'a mut State,
    pub(super) connection: &'a Connection,
    pub(super) now: Duration,
}

impl PeerSink<'_> {
    /// A panic in here is the torrent's, outside it is the peer's.
    fn change<T>(&mut self, call: impl FnOnce(&mut State) -> T) -> T {
        self.torrent.changing.set(true);
        let result = call(self.state);
        self.torrent.changing.set(false);
        result
    }
}

impl Sink for PeerSink<'_> {
    fn message(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let (now, key) = (self.now, self.connection.key);
        #[cfg(test)]
        let torrent = self.torrent;
        self.change(|state| {
            #[cfg(test)]
            torrent.shared.spot(crate::panics::Spot::Message);
            state.swarm.handle(now, key, message)
        })
    }

    fn expected(&self) -> usize {
        self.state.swarm.expected(self.connection.key)
    }

    fn memory(&self) -> Block {
        self.torrent.context.arena.take()
    }

    fn block_head(&mut self, block: BlockRequest) -> Result<BlockFate, Fault> {
        let (now, key) = (self.now, self.connection.key);
        self.change(|state| state.swarm.block_head(now, key, block))
    }

    fn block(&mut self, block: BlockRequest, data: Option<Block>) {
        let (now, key) = (self.now, self.connection.key);
        self.change(|state| {
            let outcome = state.swarm.block(now, key, block);
            if let (BlockOutcome::Stored, Some(data)) = (outcome, data) {
                state.keep(block, data);
            }
        });
    }
}

impl State {
    /// Puts a block where it belongs in its piece.
    pub(super) fn keep(&mut self, block: BlockRequest, data: Block) {
        let count = self.swarm.geometry().block_count(block.piece) as usize;
        let blocks = self.pieces.entry(block.piece).or_insert_with(|| {
            let mut blocks = Vec::new();
            blocks.resize_with(count, || None);
            blocks
        });
        if let Some(slot) = blocks.get_mut((block.begin / metainfo::BLOCK_LENGTH) as usize) {
            *slot = Some(data);
        }
    }
}
