//! Blocks that peers asked for: merged reads, answered in order.

use std::rc::Rc;
use std::time::Duration;

use storage::{READ_BYTES_MAX, ReadBuffer, StorageError};
use swarm::PeerKey;
use wire::{BlockRequest, Message};

use super::{State, Torrent, touch};
use crate::limits::Way;
use crate::peer::Connection;
use crate::peer::calls::{self, Call};
use crate::shard::ShardMessage;

impl Torrent {
    /// Takes on as many of the peer's requests as its socket is about to need. True when some of
    /// it is ready to be sent.
    pub(super) fn start_uploads(
        &self,
        state: &mut State,
        now: Duration,
        connection: &Rc<Connection>,
    ) -> bool {
        loop {
            let room = connection.upload_room();
            if room == 0 || !state.swarm.has_uploads(connection.key) {
                return false;
            }
            let limited = self.shared.bounds.bind(Way::Up);
            let room = if limited {
                let allowed = self.upload_room(state, now, connection.key);
                u32::try_from(allowed).unwrap_or(u32::MAX).min(room)
            } else {
                room
            };
            if room == 0 {
                return false;
            }
            let blocks = &mut state.asked;
            blocks.clear();
            let bytes_max = room.min(READ_BYTES_MAX);
            state.swarm.take_uploads(now, connection.key, bytes_max, blocks);
            if blocks.is_empty() {
                return false;
            }
            if limited {
                let bytes = blocks.iter().map(|block| u64::from(block.length)).sum();
                self.shared.bounds.spend(Way::Up, now, bytes);
            }
            let mut is_ready = false;
            for run in contiguous(blocks) {
                is_ready |= self.read_run(connection, run);
            }
            // Sent at once, while it is in the processor's cache.
            if is_ready && connection.has_output() {
                return true;
            }
        }
    }

    /// True when the run was there at once.
    fn read_run(&self, connection: &Connection, blocks: &[BlockRequest]) -> bool {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return false;
        };
        let length = last.begin + last.length - first.begin;
        let run = connection.run_started(first.begin, blocks);
        let (pools, store) = (&self.context.pools, &self.shared.store);
        let cached = pools.read_cached(store, first.piece, first.begin, length);
        connection.reads_cached(cached.is_some());
        calls::count(if cached.is_some() { Call::ReadCached } else { Call::ReadDisk });
        if let Some(data) = cached {
            connection.run_read(run, data);
            return true;
        }
        let (shard, info_hash, peer) =
            (self.context.sender.clone(), self.shared.info_hash(), connection.key);
        pools.read(store, first.piece, first.begin, length, move |result| {
            // The shard is gone only when the session is: nobody is left to tell.
            let _ = shard.send(ShardMessage::Read { info_hash, peer, run, result });
        });
        false
    }

    /// The pool read a run, or could not.
    pub(crate) fn run_read(
        &self,
        peer: PeerKey,
        run: u64,
        result: Result<ReadBuffer, StorageError>,
    ) {
        let now = self.context.clock.now();
        let Some(mut state) = self.state_if_awake() else { return };
        let Some(connection) = state.peers.get(&peer).map(Rc::clone) else { return };
        match result {
            Ok(data) => connection.run_read(run, data),
            Err(error) => {
                let failed = connection.run_failed(run);
                match (failed.first(), &error) {
                    (Some(block), StorageError::Missing { .. } | StorageError::InTheWay { .. }) => {
                        self.lost(&mut state, now, block.piece, &error);
                    }
                    // The data may well be there: too many open files, an unplugged disk.
                    _ => self.unreadable(&mut state, &error),
                }
                if state.swarm.is_fast(peer) {
                    failed
                        .iter()
                        .for_each(|block| connection.push(&Message::RejectRequest(*block)));
                }
            }
        }
        touch(&mut state, peer, |_| {});
        self.settle(&mut state, now);
    }
}

/// Splits blocks into runs that follow each other within one piece.
fn contiguous(blocks: &[BlockRequest]) -> impl Iterator<Item = &[BlockRequest]> {
    blocks.chunk_by(|last, next| follows(*last, *next))
}

fn follows(last: BlockRequest, next: BlockRequest) -> bool {
    last.piece == next.piece && last.begin + last.length == next.begin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32, begin: u32, length: u32) -> BlockRequest {
        BlockRequest { piece, begin, length }
    }

    #[test]
    fn only_neighbours_in_one_piece_are_merged() {
        let blocks = [
            block(1, 0, 16),
            block(1, 16, 16),
            block(1, 48, 16),
            block(2, 64, 16),
            block(2, 0, 16),
        ];
        let sizes: Vec<usize> = contiguous(&blocks).map(<[_]>::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
    }
}
