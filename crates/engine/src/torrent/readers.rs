//! Who reads the torrent's bytes while they arrive, and what each waits for.

use std::time::Duration;

use metainfo::PieceIndex;
use swarm::ReaderId;
use tokio::sync::oneshot;

use super::{State, Torrent};
use crate::handle::TorrentError;

/// Hears when the piece is there, or why it will not be; dropped when the torrent ends.
pub(crate) type Reply = oneshot::Sender<Result<(), TorrentError>>;

/// Readers that wait, and for which piece.
#[derive(Default)]
pub(super) struct Readers(Vec<(ReaderId, PieceIndex, Reply)>);

impl Readers {
    /// The piece is verified and written.
    pub(super) fn proved(&mut self, piece: PieceIndex) {
        for (_, _, reply) in self.0.extract_if(.., |(_, waits_for, _)| *waits_for == piece) {
            let _ = reply.send(Ok(())); // the reader may have gone
        }
    }

    fn forget(&mut self, reader: ReaderId) {
        self.0.retain(|(other, _, _)| *other != reader);
    }

    /// The torrent ends, and all that wait hear of it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Torrent {
    /// A reader is at byte `at` of the torrent, wants to know when it is there, and goes on to `end`.
    pub(crate) fn reader_at(&self, reader: ReaderId, at: u64, end: u64, reply: Reply) {
        if self.stopped.get() {
            return; // dropping the reply tells it
        }
        self.change(|state, now| {
            state.readers.forget(reader); // what it waited for before, it wants no more
            state.swarm.reader_at(now, reader, at, end);
            self.answer(state, reader, at, reply);
        });
        self.wake(); // there may be no peer yet whose blocks would move it on
    }

    fn answer(&self, state: &mut State, reader: ReaderId, at: u64, reply: Reply) {
        let length = u64::from(state.swarm.geometry().piece_length().max(1));
        let piece = (at / length) as PieceIndex;
        let is_there = state.swarm.have().has(piece);
        if is_there {
            let _ = reply.send(Ok(())); // the reader may have gone
        } else if self.shared.seed_only || !state.swarm.is_missing(piece) {
            let _ = reply.send(Err(TorrentError::NotComing(piece)));
        } else {
            state.readers.0.push((reader, piece, reply));
        }
    }

    /// Nobody needs what the reader needed.
    pub(crate) fn reader_gone(&self, reader: ReaderId) {
        if !self.stopped.get() {
            self.change(|state: &mut State, now: Duration| {
                state.readers.forget(reader);
                state.swarm.reader_gone(now, reader);
            });
        }
    }
}
