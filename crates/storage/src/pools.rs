//! The threads that hash, write and read, so that no thread with sockets ever waits for a disk.
//!
//! Each device has queues and threads of its own ([`lane`]): a slow or hanging disk delays its own
//! torrents only. A piece is hashed and written by the same thread, one hop from the network. Jobs
//! report through callbacks that run on the pool's thread and must not block.

mod buffers;
mod lane;
mod piece;
mod proof;

use std::collections::HashMap;
use std::hash::RandomState;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use metainfo::merkle::MerkleHash;
use metainfo::{PieceIndex, PieceTree};
use wire::Bitfield;

use crate::arena::Block;
use crate::check::{self, CheckProgress, CheckReport};
use crate::error::StorageError;
use crate::store::FileStore;

use buffers::Buffers;
pub use buffers::ReadBuffer;
use lane::Lane;
use piece::PieceJob;
use proof::ProofJob;
pub use proof::Unproved;
pub(crate) use proof::leaves_of;

/// Bytes of the longest single read: long enough that its cost is the copy alone.
pub const READ_BYTES_MAX: u32 = 256 * 1024;

/// Threads per device that hash and write; more cores than this are left to the network.
const HASH_THREADS_MAX: usize = 4;
/// Threads per device that read: a few, so that a disk can reorder what it is asked for.
const DISK_THREADS: usize = 4;
/// Devices with threads of their own. Whoever has more shares them.
const LANES_MAX: u64 = 32;

/// How many threads each device gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Threads that hash and write pieces, at least one.
    pub hash_threads: usize,
    /// Threads that read and sync, at least one.
    pub disk_threads: usize,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { hash_threads: cores.min(HASH_THREADS_MAX), disk_threads: DISK_THREADS }
    }
}

/// What a piece is compared with, beside its v1 hash if it has one. A piece that has nothing to be
/// compared with is a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeCheck {
    /// Nothing: the torrent is of v1, or this part of its tree is not known.
    None,
    /// Its part of its file's tree (BEP 52).
    Tree(PieceTree),
    /// The same, and every block was already found to fit its leaf.
    Proved,
}

/// What became of a piece.
#[derive(Debug)]
pub enum PieceOutcome {
    /// The hash was good and the kernel has the bytes.
    Written {
        /// One for each block, when they were asked for.
        digests: Option<Vec<u64>>,
    },
    /// The hash was bad; nothing was written.
    HashMismatch {
        /// One for each block: equal for equal bytes, within this process.
        digests: Vec<u64>,
    },
    /// It fits its tree and not its v1 hash, so no other bytes can fit both; nothing was written.
    Contradiction,
    /// The hash was good, and the disk refused.
    WriteFailed {
        /// Why.
        error: StorageError,
        /// The verified blocks, for [`Pools::write_again`].
        blocks: Vec<Option<Block>>,
        /// As in [`Self::Written`].
        digests: Option<Vec<u64>>,
    },
}

/// The pools of a process. Clones are handles to the same threads, which end when the last handle
/// is dropped and the queues are empty.
#[derive(Clone)]
pub struct Pools(Arc<Inner>);

struct Inner {
    settings: PoolSettings,
    /// One for each device; [`FileStore::device`] is the key.
    lanes: Mutex<HashMap<u64, Arc<Lane>>>,
    /// For torrents on a device for which the system gave no threads.
    first: Arc<Lane>,
    buffers: Arc<Buffers>,
    /// Keyed at random, so that nobody can make two blocks that look alike to us.
    digests: RandomState,
}

impl Pools {
    /// Starts the first threads; those of further devices start when they are first used.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(settings: PoolSettings) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            settings,
            lanes: Mutex::default(),
            first: Lane::start(settings)?,
            buffers: Arc::default(),
            digests: RandomState::new(),
        })))
    }

    /// Hashes a piece and, if it is good and fits its tree, writes it. `want_digests` asks for the
    /// blocks' digests even then.
    pub fn verify_and_write(
        &self,
        store: &Arc<FileStore>,
        piece: PieceIndex,
        blocks: Vec<Option<Block>>,
        tree: TreeCheck,
        want_digests: bool,
        done: impl FnOnce(PieceOutcome) + Send + 'static,
    ) {
        let job = PieceJob {
            store: Arc::clone(store),
            piece,
            blocks,
            tree,
            verified: false,
            want_digests,
            hasher: self.0.digests.clone(),
            done: Box::new(done),
        };
        let lane = self.0.lane(store);
        if store.is_write_back_due() {
            let store = Arc::clone(store);
            lane.syncs.push(Box::new(move || store.begin_write_back()));
        }
        lane.pieces.push(job);
    }

    /// Writes a piece that came back in [`PieceOutcome::WriteFailed`]. It is not hashed again.
    pub fn write_again(
        &self,
        store: &Arc<FileStore>,
        piece: PieceIndex,
        blocks: Vec<Option<Block>>,
        done: impl FnOnce(PieceOutcome) + Send + 'static,
    ) {
        let job = PieceJob {
            store: Arc::clone(store),
            piece,
            blocks,
            tree: TreeCheck::None,
            verified: true,
            want_digests: false,
            hasher: self.0.digests.clone(),
            done: Box::new(done),
        };
        self.0.lane(store).pieces.push(job);
    }

    /// Compares blocks with their leaves, and gives them back with the outcome.
    pub fn prove(
        &self,
        store: &FileStore,
        blocks: Vec<Unproved>,
        done: impl FnOnce(Vec<Unproved>) + Send + 'static,
    ) {
        self.0.lane(store).proofs.push(ProofJob { blocks, done: Box::new(done) });
    }

    /// Reads the first `bytes` bytes of a piece and hashes each block of them.
    pub fn hash_leaves(
        &self,
        store: &Arc<FileStore>,
        piece: PieceIndex,
        bytes: u32,
        done: impl FnOnce(Result<Vec<MerkleHash>, StorageError>) + Send + 'static,
    ) {
        let lane = self.0.lane(store);
        let store = Arc::clone(store);
        lane.disk.push(Box::new(move || done(guarded(|| proof::leaves(&store, piece, bytes)))));
    }

    /// Does what takes long and needs no disk, in the place of reads of this torrent. `None` when it panicked.
    pub fn compute<T>(
        &self,
        store: &FileStore,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + Send + 'static,
    ) {
        let lane = self.0.lane(store);
        lane.disk.push(Box::new(move || done(catch_unwind(AssertUnwindSafe(work)).ok())));
    }

    /// What [`Self::read`] would give, at once and on this thread, where the kernel has it in
    /// memory: a hop to another thread would cost more than the copy. `None` for all else.
    pub fn read_cached(
        &self,
        store: &FileStore,
        piece: PieceIndex,
        begin: u32,
        length: u32,
    ) -> Option<ReadBuffer> {
        let mut buffer = self.0.buffers.take(length.min(READ_BYTES_MAX) as usize);
        (buffer.len() == length as usize && store.read_cached(piece, begin, &mut buffer))
            .then_some(buffer)
    }

    /// Reads at most [`READ_BYTES_MAX`] bytes of a piece.
    pub fn read(
        &self,
        store: &Arc<FileStore>,
        piece: PieceIndex,
        begin: u32,
        length: u32,
        done: impl FnOnce(Result<ReadBuffer, StorageError>) + Send + 'static,
    ) {
        let lane = self.0.lane(store);
        let (store, buffers) = (Arc::clone(store), Arc::clone(&self.0.buffers));
        lane.disk.push(Box::new(move || {
            let read = || {
                if length > READ_BYTES_MAX {
                    return Err(StorageError::OutOfRange { piece, begin, length });
                }
                let mut buffer = buffers.take(length as usize);
                store.read(piece, begin, &mut buffer)?;
                Ok(buffer)
            };
            done(guarded(read));
        }));
    }

    /// To be called now and then: gives memory for reads back when nothing was read between two
    /// calls. Whether it did.
    pub fn rest(&self) -> bool {
        self.0.buffers.rest()
    }

    /// Makes everything durable that was written before this call; see [`FileStore::sync`].
    pub fn sync(
        &self,
        store: &Arc<FileStore>,
        done: impl FnOnce(Result<(), StorageError>) + Send + 'static,
    ) {
        let lane = self.0.lane(store);
        let store = Arc::clone(store);
        lane.syncs.push(Box::new(move || done(guarded(|| store.sync()))));
    }

    /// Hashes pieces as they are on the disk, with all cores; see [`check::check`]. Checks of
    /// torrents on one device run one after the other.
    pub fn check(
        &self,
        store: &Arc<FileStore>,
        pieces: Bitfield,
        progress: impl Fn(CheckProgress) + Send + Sync + 'static,
        cancel: Arc<AtomicBool>,
        done: impl FnOnce(CheckReport) + Send + 'static,
    ) {
        let lane = self.0.lane(store);
        let store = Arc::clone(store);
        lane.checks.push(Box::new(move || {
            let run = || check::check(&store, &pieces, &progress, &cancel);
            let report = catch_unwind(AssertUnwindSafe(run));
            done(report.unwrap_or_else(|_| CheckReport::interrupted(&store)));
        }));
    }
}

impl Inner {
    fn lane(&self, store: &FileStore) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let device = store.device();
        let key = if (lanes.len() as u64) < LANES_MAX { device } else { device % LANES_MAX };
        if let Some(lane) = lanes.get(&device).or_else(|| lanes.get(&key)) {
            return Arc::clone(lane);
        }
        let lane = if lanes.is_empty() {
            Arc::clone(&self.first)
        } else {
            Lane::start(self.settings).unwrap_or_else(|error| {
                tracing::error!(%error, "no threads for another device: it shares those of the first");
                Arc::clone(&self.first)
            })
        };
        lanes.insert(key, Arc::clone(&lane));
        lane
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lanes = self.lanes.get_mut().unwrap_or_else(PoisonError::into_inner);
        lanes.values().chain([&self.first]).for_each(|lane| lane.close());
    }
}

/// A job's result; a panic in it becomes an error, and the thread goes on.
fn guarded<T>(job: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or(Err(StorageError::Panicked))
}

#[cfg(test)]
mod tests;
