//! Complete pieces: hashed where they lie, written if they are good, neighbours in one go.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use metainfo::PieceIndex;

use super::lane::survive;
use super::{PieceOutcome, guarded};
use crate::arena::Block;
use crate::store::{FileStore, PieceBlocks, slices};

/// Bytes of neighbouring pieces that go into one write: beyond it nothing is saved.
const MERGED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A piece on its way to the disk.
pub(super) struct PieceJob {
    pub(super) store: Arc<FileStore>,
    pub(super) piece: PieceIndex,
    pub(super) blocks: Vec<Option<Block>>,
    /// The hash is known to be good.
    pub(super) verified: bool,
    pub(super) want_digests: bool,
    pub(super) hasher: RandomState,
    pub(super) done: Box<dyn FnOnce(PieceOutcome) + Send>,
}

impl PieceJob {
    fn digests(&self) -> Vec<u64> {
        let digest = |bytes: &[u8]| self.hasher.hash_one(bytes);
        let all = || slices(&self.store, self.piece, &self.blocks).map(digest).collect();
        catch_unwind(AssertUnwindSafe(all)).unwrap_or_default()
    }

    fn finish(self, written: Result<(), crate::error::StorageError>) {
        let digests = self.want_digests.then(|| self.digests());
        let Self { blocks, done, .. } = self;
        let outcome = match written {
            Ok(()) => {
                drop(blocks); // first of all: they are the next ones to be received into
                PieceOutcome::Written { digests }
            }
            Err(error) => PieceOutcome::WriteFailed { error, blocks, digests },
        };
        survive(move || done(outcome));
    }

    fn follows(&self, before: &Self) -> bool {
        self.store.id() == before.store.id() && Some(self.piece) == before.piece.checked_add(1)
    }

    fn bytes(&self) -> u64 {
        u64::from(self.store.info().geometry().piece_size(self.piece))
    }
}

/// Takes a batch of pieces all the way.
pub(super) fn run(batch: Vec<PieceJob>) {
    let good = catch_unwind(AssertUnwindSafe(|| verify(&batch))).unwrap_or_default();
    let mut writable = Vec::with_capacity(batch.len());
    for (index, job) in batch.into_iter().enumerate() {
        // A hash that could not be computed is a bad one: what is not known good is not written.
        if job.verified || good.get(index) == Some(&true) {
            writable.push(job);
        } else {
            let digests = job.digests();
            let done = job.done;
            drop(job.blocks);
            survive(move || done(PieceOutcome::HashMismatch { digests }));
        }
    }
    writable.sort_by_key(|job| (job.store.id(), job.piece));
    let mut run: Vec<PieceJob> = Vec::with_capacity(writable.len());
    let mut bytes = 0;
    for job in writable {
        let joins = run.last().is_some_and(|last| job.follows(last));
        if !joins || bytes + job.bytes() > MERGED_BYTES_MAX {
            write(std::mem::take(&mut run));
            bytes = 0;
        }
        bytes += job.bytes();
        run.push(job);
    }
    write(run);
}

/// Which jobs' pieces have the hash that the torrent says.
fn verify(batch: &[PieceJob]) -> Vec<bool> {
    let pieces: Vec<Vec<&[u8]>> = batch
        .iter()
        .map(|job| {
            let unverified = (!job.verified).then(|| slices(&job.store, job.piece, &job.blocks));
            unverified.into_iter().flatten().collect()
        })
        .collect();
    let messages: Vec<&[&[u8]]> = pieces.iter().map(Vec::as_slice).collect();
    let start = Instant::now();
    let hashes = digest::sha1_batch(&messages);
    let each = start.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    batch.iter().for_each(|job| job.store.hashed_for(each));
    let expected = batch.iter().map(|job| job.store.info().piece_hash(job.piece));
    expected.zip(hashes).map(|(expected, got)| expected == Some(got)).collect()
}

/// Writes neighbours at once, or each by itself when that fails, so that each gets its own verdict.
fn write(run: Vec<PieceJob>) {
    let Some(store) = run.first().map(|job| Arc::clone(&job.store)) else { return };
    let pieces: Vec<PieceBlocks<'_>> = run.iter().map(|job| (job.piece, &*job.blocks)).collect();
    let start = Instant::now();
    let together = guarded(|| store.write(&pieces));
    store.wrote_for(start.elapsed());
    drop(pieces);
    match together {
        Err(error) if run.len() == 1 => {
            run.into_iter().zip([error]).for_each(|(job, error)| job.finish(Err(error)));
        }
        Err(_) => {
            for job in run {
                let alone = guarded(|| store.write(&[(job.piece, &*job.blocks)]));
                job.finish(alone);
            }
        }
        Ok(()) => run.into_iter().for_each(|job| job.finish(Ok(()))),
    }
}
