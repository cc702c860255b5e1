//! Complete pieces: hashed where they lie, written if they are good, neighbours in one go.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use metainfo::merkle::MerkleHash;
use metainfo::{PieceIndex, PieceTree};

use super::lane::survive;
use super::{PieceOutcome, TreeCheck, guarded};
use crate::arena::Block;
use crate::store::{FileStore, PieceBlocks, slices};

/// Bytes of neighbouring pieces that go into one write: beyond it nothing is saved.
const MERGED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A piece on its way to the disk.
pub(super) struct PieceJob {
    pub(super) store: Arc<FileStore>,
    pub(super) piece: PieceIndex,
    pub(super) blocks: Vec<Option<Block>>,
    pub(super) tree: TreeCheck,
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
    let verdicts = catch_unwind(AssertUnwindSafe(|| verify(&batch))).unwrap_or_default();
    let mut writable = Vec::with_capacity(batch.len());
    for (index, job) in batch.into_iter().enumerate() {
        // A hash that could not be computed is a bad one: what is not known good is not written.
        let verdict = verdicts.get(index).copied().unwrap_or(Verdict::Bad);
        if job.verified || verdict == Verdict::Good {
            writable.push(job);
        } else if verdict == Verdict::Contradiction {
            let done = job.done;
            drop(job.blocks);
            survive(move || done(PieceOutcome::Contradiction));
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

/// What a piece's hashes say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It has all that there are, and one at least.
    Good,
    Bad,
    /// The v2 hashes fit and the v1 hash does not.
    Contradiction,
}

impl Verdict {
    fn of(v1: Option<bool>, v2: Option<bool>) -> Self {
        match (v1, v2) {
            (Some(true), None | Some(true)) | (None, Some(true)) => Self::Good,
            (Some(false), Some(true)) => Self::Contradiction,
            _ => Self::Bad,
        }
    }
}

/// Compares pieces with the hashes that the torrent has of them.
fn verify(batch: &[PieceJob]) -> Vec<Verdict> {
    let start = Instant::now();
    let v1 = verify_v1(batch);
    let v2 = verify_v2(batch);
    let each = start.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    batch.iter().for_each(|job| job.store.hashed_for(each));
    v1.into_iter().zip(v2).map(|(v1, v2)| Verdict::of(v1, v2)).collect()
}

/// By their v1 hashes; `None` for those of v2 torrents, which have none.
fn verify_v1(batch: &[PieceJob]) -> Vec<Option<bool>> {
    let pieces: Vec<Vec<&[u8]>> = batch
        .iter()
        .map(|job| {
            let unverified = !job.verified && job.store.info().has_v1();
            let unverified = unverified.then(|| slices(&job.store, job.piece, &job.blocks));
            unverified.into_iter().flatten().collect()
        })
        .collect();
    let messages: Vec<&[&[u8]]> = pieces.iter().map(Vec::as_slice).collect();
    let hashes = digest::sha1_batch(&messages);
    let verdict = |(job, got): (&PieceJob, _)| {
        let info = job.store.info();
        info.has_v1().then(|| info.piece_hash(job.piece) == Some(got))
    };
    batch.iter().zip(hashes).map(verdict).collect()
}

/// By their trees; `None` for those that have none.
fn verify_v2(batch: &[PieceJob]) -> Vec<Option<bool>> {
    let mut blocks: Vec<[&[u8]; 1]> = Vec::new();
    for job in batch {
        if let TreeCheck::Tree(tree) = job.tree {
            let slices = slices(&job.store, job.piece, &job.blocks).zip(0..tree.leaf_count());
            let covered = slices.map(|(slice, block)| {
                let bytes = tree.leaf_bytes(block) as usize;
                [slice.get(..bytes).unwrap_or(slice)]
            });
            blocks.extend(covered);
        }
    }
    let messages: Vec<&[&[u8]]> = blocks.iter().map(|block| &block[..]).collect();
    let leaves = if messages.is_empty() { Vec::new() } else { digest::sha256_batch(&messages) };
    let mut leaves = leaves.into_iter();
    let verdict = |job: &PieceJob| match job.tree {
        TreeCheck::None => None,
        TreeCheck::Proved => Some(true),
        TreeCheck::Tree(tree) => {
            let count = tree.leaf_count().min(count(job)) as usize;
            let leaves: Vec<MerkleHash> = leaves.by_ref().take(count).collect();
            Some(tree.is_over(&leaves) && is_padded(job, &tree))
        }
    };
    batch.iter().map(verdict).collect()
}

/// Whether what no leaf covers is the zeros that it should be: else its sender could make a sound torrent
/// look as if it contradicted itself.
fn is_padded(job: &PieceJob, tree: &PieceTree) -> bool {
    (0..).zip(slices(&job.store, job.piece, &job.blocks)).all(|(block, slice)| {
        let covered = tree.leaf_bytes(block) as usize;
        slice.get(covered..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0))
    })
}

fn count(job: &PieceJob) -> u32 {
    job.store.info().geometry().block_count(job.piece)
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
