//! Who reads the torrent's bytes while they arrive, and what each waits for.
//!
//! A piece that is verified and written is read from the disk. Of one that is not, blocks that their
//! leaves proved (BEP 52) are copied out of the memory that they wait in.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use storage::READ_BYTES_MAX;
use swarm::ReaderId;
use tokio::sync::oneshot;

use super::{State, Torrent};
use crate::handle::TorrentError;

/// Hears where the bytes are, or why they will not be there; dropped when the torrent ends.
pub(crate) type Reply = oneshot::Sender<Result<Found, TorrentError>>;

/// Where a reader finds what it waited for.
pub(crate) enum Found {
    /// The whole piece is on the disk.
    OnDisk,
    /// The piece is not there yet; these bytes of it are proved. At most [`READ_BYTES_MAX`], not none.
    Bytes(Vec<u8>),
}

/// Readers that wait.
#[derive(Default)]
pub(super) struct Readers(Vec<Waiting>);

struct Waiting {
    reader: ReaderId,
    piece: PieceIndex,
    /// Where in the torrent, and where what it reads ends.
    at: u64,
    end: u64,
    reply: Reply,
}

impl Readers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The piece is verified and written.
    pub(super) fn proved(&mut self, piece: PieceIndex) {
        for waiting in self.0.extract_if(.., |waiting| waiting.piece == piece) {
            let _ = waiting.reply.send(Ok(Found::OnDisk)); // the reader may have gone
        }
    }

    fn forget(&mut self, reader: ReaderId) {
        self.0.retain(|waiting| waiting.reader != reader);
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
        let length = u64::from(self.shared.torrent.info.geometry().piece_length().max(1));
        let piece = (at / length) as PieceIndex;
        self.change(|state, now| {
            state.readers.forget(reader); // what it waited for before, it wants no more
            state.swarm.reader_at(now, reader, at, end);
            self.answer(state, Waiting { reader, piece, at, end, reply });
        });
        self.wake(); // there may be no peer yet whose blocks would move it on
    }

    fn answer(&self, state: &mut State, waiting: Waiting) {
        let Waiting { piece, reply, .. } = waiting;
        let is_there = state.swarm.have().has(piece);
        if is_there {
            let _ = reply.send(Ok(Found::OnDisk)); // the reader may have gone
        } else if self.shared.seed_only || !state.swarm.is_missing(piece) {
            let _ = reply.send(Err(TorrentError::NotComing(piece)));
        } else {
            state.readers.0.push(Waiting { reply, ..waiting });
            state.serve_readers();
        }
    }

    /// Nobody needs what the reader needed.
    pub(crate) fn reader_gone(&self, reader: ReaderId) {
        if !self.stopped.get() {
            self.change(|state: &mut State, now: Duration| {
                state.readers.forget(reader);
                state.swarm.reader_gone(now, reader);
            });
            self.wake(); // nothing else may keep it awake
        }
    }
}

impl State {
    /// Gives those who wait what is proved by now of pieces that are not complete.
    pub(super) fn serve_readers(&mut self) {
        for waiting in std::mem::take(&mut self.readers.0) {
            let bytes = self.proved_bytes(&waiting);
            if bytes.is_empty() {
                self.readers.0.push(waiting);
            } else {
                let _ = waiting.reply.send(Ok(Found::Bytes(bytes))); // the reader may have gone
            }
        }
    }

    /// A copy of what lies in memory from where the reader is on, as far as it is proved.
    fn proved_bytes(&self, waiting: &Waiting) -> Vec<u8> {
        let Waiting { piece, at, end, .. } = *waiting;
        let mut bytes = Vec::new();
        let Some(blocks) = self.pieces.get(&piece) else { return bytes };
        let geometry = self.swarm.geometry();
        let within = at % u64::from(geometry.piece_length().max(1));
        let left = end.saturating_sub(at).min(u64::from(READ_BYTES_MAX)) as usize;
        let (first, mut skip) =
            (within / u64::from(BLOCK_LENGTH), within % u64::from(BLOCK_LENGTH));
        for (number, block) in (0..).zip(blocks).skip(first as usize) {
            let block = block.as_deref().filter(|_| self.swarm.is_block_proved(piece, number));
            let size = geometry.block_size(piece, number) as usize;
            let part = block.and_then(|block| block.get(skip as usize..size));
            let Some(part) = part.filter(|_| bytes.len() < left) else { break };
            bytes.extend_from_slice(part.get(..left - bytes.len()).unwrap_or(part));
            skip = 0;
        }
        bytes
    }
}
