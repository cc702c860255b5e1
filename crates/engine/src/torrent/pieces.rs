//! A piece's way from complete in memory to verified, written and announced.

use std::time::Duration;

use metainfo::PieceIndex;
use storage::{Block, PieceOutcome, StorageError};

use super::{State, Torrent, proving};
use crate::announcing;
use crate::events::Event;
use crate::resume::unix_now;
use crate::reusing;
use crate::shard::ShardMessage;

/// How long after a failed write the disk is tried again: soon enough that freed space is used
/// within seconds.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// Bytes of complete pieces that may wait for a torrent's disk before no more pieces are opened:
/// enough to ride out a pause of the disk. What waits longer only falls out of the caches.
const BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Torrent {
    /// Whether the disk has more complete pieces to take than is worth holding in memory.
    pub(super) fn disk_is_behind(&self, state: &State) -> bool {
        let piece_length = state.swarm.geometry().piece_length();
        u64::from(self.in_pool.get()) * u64::from(piece_length) > BACKLOG_BYTES_MAX
    }

    /// Sends a piece to the hash and disk pool.
    pub(super) fn verify(&self, state: &mut State, piece: PieceIndex) {
        let count = state.swarm.geometry().block_count(piece) as usize;
        let mut blocks = state.pieces.remove(&piece).unwrap_or_default();
        blocks.resize_with(count, || None);
        let want_digests = state.swarm.wants_digests(piece);
        let tree = proving::tree_check(&state.swarm, piece);
        let done = self.piece_done(piece);
        let (pools, store) = (&self.context.pools, &self.shared.store);
        pools.verify_and_write(store, piece, blocks, tree, want_digests, done);
    }

    /// Pieces that the pool has not answered for.
    pub(crate) fn is_drained(&self) -> bool {
        self.in_pool.get() == 0
    }

    fn piece_done(&self, piece: PieceIndex) -> impl FnOnce(PieceOutcome) + Send + 'static {
        self.in_pool.set(self.in_pool.get() + 1);
        let (shard, info_hash) = (self.context.sender.clone(), self.shared.info_hash());
        move |outcome| {
            // The shard is gone only when the session is: nobody is left to tell.
            let _ = shard.send(ShardMessage::Piece { info_hash, piece, outcome });
        }
    }

    /// The pool is done with a piece.
    pub(crate) fn piece_outcome(&self, piece: PieceIndex, outcome: PieceOutcome) {
        self.in_pool.set(self.in_pool.get() - 1);
        if let (PieceOutcome::Written { .. }, Some(record)) = (&outcome, self.shared.record.get()) {
            record.written(piece);
        }
        if !self.failed.get() {
            self.change(|state, now| self.take_outcome(state, now, piece, outcome));
        }
        self.release();
    }

    fn take_outcome(
        &self,
        state: &mut State,
        now: Duration,
        piece: PieceIndex,
        outcome: PieceOutcome,
    ) {
        match outcome {
            PieceOutcome::Written { digests } => {
                if let Some(digests) = digests {
                    state.swarm.piece_good_digests(now, piece, &digests);
                }
                #[cfg(test)]
                self.shared.spot(crate::panics::Spot::Piece);
                state.swarm.piece_written(now, piece);
                state.readers.proved(piece);
                let info_hash = self.shared.info_hash();
                self.context.session.events.send(Event::PieceCompleted { info_hash, piece });
                let recovers = state.unwritten.is_empty() && !state.contradicts;
                if recovers && state.storage_error.take().is_some() {
                    state.swarm.set_paused(now, self.shared.seed_only);
                    self.context.session.events.send(Event::StorageRecovered { info_hash });
                }
            }
            PieceOutcome::HashMismatch { digests } => {
                tracing::info!(piece, torrent = %self.shared.info_hash(), "piece failed its hash");
                state.swarm.piece_failed(now, piece, &digests);
            }
            PieceOutcome::Contradiction => state.swarm.piece_contradicts(now, piece),
            PieceOutcome::WriteFailed { error, blocks, .. } => {
                self.write_failed(state, now, piece, blocks, &error);
            }
        }
    }

    /// Holds the verified piece and stops asking for more until the disk takes it.
    fn write_failed(
        &self,
        state: &mut State,
        now: Duration,
        piece: PieceIndex,
        blocks: Vec<Option<Block>>,
        error: &StorageError,
    ) {
        let message = error.to_string();
        if state.storage_error.as_ref() != Some(&message) {
            // An event says it too: who shows those need not see it twice.
            tracing::warn!(torrent = %self.shared.info_hash(), error = %message, "write failed");
            let info_hash = self.shared.info_hash();
            let message = message.clone();
            self.context.session.events.send(Event::StorageError { info_hash, message });
        }
        state.storage_error = Some(message);
        state.swarm.set_paused(now, true);
        state.unwritten.push((piece, blocks));
        state.retry_at.get_or_insert(now + RETRY_EVERY);
        self.wake();
    }

    pub(super) fn retry_writes(&self, state: &mut State, now: Duration) {
        if state.retry_at.is_none_or(|at| now < at) {
            return;
        }
        state.retry_at = None;
        for (piece, blocks) in std::mem::take(&mut state.unwritten) {
            let done = self.piece_done(piece);
            self.context.pools.write_again(&self.shared.store, piece, blocks, done);
        }
    }

    /// Data that was verified can't be read any more: stop offering it.
    pub(super) fn lost(
        &self,
        state: &mut State,
        now: Duration,
        piece: PieceIndex,
        error: &StorageError,
    ) {
        if let Some(record) = self.shared.record.get() {
            record.lost(piece);
        }
        state.swarm.piece_lost(now, piece);
        self.unreadable(state, error);
        self.wake();
    }

    /// Data could not be read: the owner hears of it, once for all the pieces of a file. Whether it
    /// stays offered is for the caller to say.
    pub(super) fn unreadable(&self, state: &mut State, error: &StorageError) {
        let info_hash = self.shared.info_hash();
        let message = error.to_string();
        if state.read_error.as_ref() != Some(&message) {
            tracing::error!(torrent = %info_hash, error = %message, "can't read for a peer");
            state.read_error = Some(message.clone());
            self.context.session.events.send(Event::StorageError { info_hash, message });
        }
    }

    pub(super) fn completed(&self, state: &mut State, now: Duration) {
        let info_hash = self.shared.info_hash();
        tracing::info!(torrent = %info_hash, "complete");
        self.publish(state, now);
        if let Some(record) = self.shared.record.get() {
            record.completed(unix_now());
        }
        reusing::shelve(&self.shared);
        if announcing::is_complete(&self.shared.stats()) {
            self.shared.announce_completed();
        }
        self.context.session.events.send(Event::Completed { info_hash });
    }
}
