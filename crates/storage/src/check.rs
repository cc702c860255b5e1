//! Comparing what is on the disk with what the torrent says, as fast as cores and disk allow.
//!
//! Runs of adjacent pieces are read with large sequential reads and hashed by the thread that read
//! them, all cores at it. What can't be there costs nothing: files that are missing or too short
//! are not opened twice, and holes in sparse files are not read but taken for the zeros they are.

mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use digest::{Algorithm, Sha1Digest};
use metainfo::PieceIndex;
use wire::Bitfield;

use crate::buffer::Buffer;
use crate::error::StorageError;
use crate::store::{Extent, FileStore};

/// Bytes read at a time: long enough that a spinning disk is not seeking, short enough that all
/// cores' buffers stay small.
const READ_BYTES: u64 = 4 * 1024 * 1024;
/// And at most, where long pieces are to fill the lanes of a hash kernel.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of all buffers together, unless one piece alone is longer.
const BUFFERS_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Open sparse files whose holes are known at the same time; others are opened again.
const EXTENTS_MAX: usize = 16;

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// Bytes decided on, read or not.
    pub done_bytes: u64,
    /// Bytes of all pieces to be checked.
    pub total_bytes: u64,
}

/// What a check found.
#[derive(Debug)]
pub struct CheckReport {
    /// Pieces whose hash is good.
    pub good: Bitfield,
    /// Pieces that are there and whose hash is bad, in order.
    pub damaged: Vec<PieceIndex>,
    /// Pieces with at least one part that was never written or can't be read.
    pub missing: Bitfield,
    /// What is wrong with which file, in the torrent's order.
    pub files: Vec<FileReport>,
    /// Whether the check was ended early; then pieces may be in no set.
    pub cancelled: bool,
}

/// What is wrong with a file.
#[derive(Debug)]
pub struct FileReport {
    /// Index in the torrent.
    pub file: usize,
    /// Where it is, or belongs.
    pub path: PathBuf,
    /// What is wrong.
    pub trouble: FileTrouble,
}

/// What can be wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileTrouble {
    /// It is not there.
    Missing,
    /// It ends too early.
    Short {
        /// Bytes it has.
        length: u64,
        /// Bytes it has in the torrent.
        expected: u64,
    },
    /// It goes on after its end in the torrent; what is before may be good.
    Longer {
        /// Bytes it has.
        length: u64,
        /// Bytes it has in the torrent.
        expected: u64,
    },
    /// Some of its pieces have wrong data. A piece at its border may be another file's fault.
    Damaged {
        /// Those pieces, in order.
        pieces: Vec<PieceIndex>,
    },
    /// Some of its pieces were never written.
    Incomplete {
        /// How many.
        pieces: u32,
    },
    /// It can't be read.
    Unreadable(StorageError),
}

impl CheckReport {
    fn new(piece_count: u32) -> Self {
        Self {
            good: Bitfield::new(piece_count),
            damaged: Vec::new(),
            missing: Bitfield::new(piece_count),
            files: Vec::new(),
            cancelled: false,
        }
    }

    /// Of a check that a bug ended: nothing is known.
    pub(crate) fn interrupted(store: &FileStore) -> Self {
        let count = store.info().geometry().piece_count();
        Self { cancelled: true, ..Self::new(count) }
    }

    /// Whether every piece of the torrent was checked and is good.
    pub fn is_complete(&self) -> bool {
        self.good.is_full() && !self.cancelled
    }
}

/// Hashes `pieces` as they are on the disk. Blocks until done or `cancel` is set. `progress` is
/// called from several threads, about once for each 4 MiB.
///
/// A file that is not there and all of whose pieces are checked may be made again by a later
/// write, provided the caller claims none of them.
pub fn check(
    store: &FileStore,
    pieces: &Bitfield,
    progress: &(dyn Fn(CheckProgress) + Sync),
    cancel: &AtomicBool,
) -> CheckReport {
    let geometry = store.info().geometry();
    let total_bytes = pieces.iter().map(|piece| u64::from(geometry.piece_size(piece))).sum();
    let check = Check {
        store,
        looks: (0..=store.parts_index()).map(|_| OnceLock::new()).collect(),
        extents: Mutex::default(),
        zeros: Mutex::default(),
        found: Mutex::new(CheckReport::new(geometry.piece_count())),
        done_bytes: AtomicU64::new(0),
        total_bytes,
        progress,
        cancel,
    };
    let runs = runs(store, pieces);
    let longest = runs.iter().map(|run| run.bytes).max().unwrap_or(0).max(1);
    let workers = workers(runs.len(), longest);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = Buffer::default();
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            check.run(run, &mut buffer);
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            // Where no thread is to be had, the others do its share.
            let spawned = thread::Builder::new().name("check".into()).spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });
    check.report(pieces)
}

/// Threads that hash so many runs, of so many bytes at most. Where there is one run, asking for cores
/// and starting threads would take longer than hashing it.
fn workers(runs: usize, longest: u64) -> usize {
    if runs <= 1 {
        return 1;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from).min(runs);
    (BUFFERS_BYTES_MAX / longest).clamp(1, cores as u64) as usize
}

/// Bytes that pieces of such a length are best read and hashed by: enough of them to fill the lanes
/// of the hash kernel, if they are not too long.
pub(crate) fn run_bytes(piece_length: u32) -> u64 {
    run_bytes_of(Algorithm::Sha1, piece_length)
}

/// The same for messages of another length and function.
pub(crate) fn run_bytes_of(algorithm: Algorithm, message: u32) -> u64 {
    let lanes = digest::lanes(algorithm) as u64;
    (lanes * u64::from(message)).clamp(READ_BYTES, READ_BYTES_MAX)
}

/// What hashes pieces on this machine, for display: the kernel that was fastest, or the one that
/// the environment variable `PEERLESS_DIGEST` names.
pub fn hash_kernel() -> String {
    digest::kernel(Algorithm::Sha1).to_string()
}

/// Adjacent pieces that are read at once.
struct Run {
    first: PieceIndex,
    count: u32,
    bytes: u64,
}

fn runs(store: &FileStore, pieces: &Bitfield) -> Vec<Run> {
    let geometry = store.info().geometry();
    let bytes_max = run_bytes(geometry.piece_length());
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces.iter() {
        let size = u64::from(geometry.piece_size(piece));
        match runs.last_mut() {
            Some(run)
                if run.first.checked_add(run.count) == Some(piece)
                    && run.bytes + size <= bytes_max =>
            {
                run.count += 1;
                run.bytes += size;
            }
            _ => runs.push(Run { first: piece, count: 1, bytes: size }),
        }
    }
    runs
}

/// A file as a check met it.
enum Look {
    There { length: u64 },
    Missing,
    Unreadable(StorageError),
}

/// What a piece turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Damaged,
    Missing,
}

struct Check<'a> {
    store: &'a FileStore,
    looks: Vec<OnceLock<Look>>,
    /// The files with holes that are being looked at; a check goes from file to file.
    extents: Mutex<BTreeMap<usize, Arc<Extent>>>,
    /// The hash of a piece of nothing but zeros, for each length met: at most two.
    zeros: Mutex<BTreeMap<u32, Sha1Digest>>,
    found: Mutex<CheckReport>,
    done_bytes: AtomicU64,
    total_bytes: u64,
    progress: &'a (dyn Fn(CheckProgress) + Sync),
    cancel: &'a AtomicBool,
}

impl Check<'_> {
    fn run(&self, run: &Run, buffer: &mut Buffer) {
        let mut start = run.first;
        let end = run.first + run.count;
        // Split at the pieces that need no reading.
        for piece in run.first..end {
            if let Some(verdict) = self.without_reading(piece) {
                self.read_and_hash(start, piece, buffer);
                self.decide(&[(piece, verdict)]);
                start = piece + 1;
            }
        }
        self.read_and_hash(start, end, buffer);
        let done = self.done_bytes.fetch_add(run.bytes, Ordering::Relaxed) + run.bytes;
        (self.progress)(CheckProgress { done_bytes: done, total_bytes: self.total_bytes });
    }

    /// The verdict on a piece that has no bytes on the disk or not all of them.
    fn without_reading(&self, piece: PieceIndex) -> Option<Verdict> {
        let info = self.store.info();
        let size = info.geometry().piece_size(piece);
        let mut only_holes = true;
        let mut is_there = true;
        let segments = info.segments(piece, 0, size);
        for segment in segments.flat_map(|segment| self.store.places(segment)) {
            if info.files().get(segment.file).is_some_and(|entry| entry.attributes.pad) {
                continue; // zeros, like a hole
            }
            match self.look(segment.file) {
                Look::There { length } if segment.offset + segment.length <= *length => {}
                _ => is_there = false, // go on: every file gets its look
            }
            only_holes = only_holes
                && is_there
                && self.is_hole(segment.file, segment.offset, segment.length);
        }
        if !is_there {
            return Some(Verdict::Missing);
        }
        only_holes.then(|| {
            let is_zeros = match info.piece_hash(piece) {
                Some(hash) => {
                    hash == self.zeros(size) && self.is_tree_of_zeros(piece) != Some(false)
                }
                None => self.is_tree_of_zeros(piece) == Some(true),
            };
            if is_zeros { Verdict::Good } else { Verdict::Missing }
        })
    }

    fn look(&self, file: usize) -> &Look {
        static MISSING: Look = Look::Missing;
        let Some(look) = self.looks.get(file) else { return &MISSING };
        look.get_or_init(|| match self.extent(file) {
            Ok(extent) => Look::There { length: extent.length },
            Err(StorageError::Missing { .. } | StorageError::RootMissing { .. }) => Look::Missing,
            Err(error) => Look::Unreadable(error),
        })
    }

    fn extent(&self, file: usize) -> Result<Arc<Extent>, StorageError> {
        let lock = || self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(extent) = lock().get(&file) {
            return Ok(Arc::clone(extent));
        }
        let extent = Arc::new(self.store.extent(file)?);
        let mut extents = lock();
        if extents.len() >= EXTENTS_MAX {
            extents.pop_first(); // a check goes upwards
        }
        extents.insert(file, Arc::clone(&extent));
        Ok(extent)
    }

    fn is_hole(&self, file: usize, offset: u64, length: u64) -> bool {
        self.extent(file).is_ok_and(|extent| extent.is_hole(offset, length))
    }

    fn zeros(&self, size: u32) -> Sha1Digest {
        static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut known = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(size).or_insert_with(|| {
            let whole = size as usize / CHUNK.len();
            let rest = CHUNK.get(..size as usize % CHUNK.len()).unwrap_or_default();
            let slices: Vec<&[u8]> = std::iter::repeat_n(&CHUNK[..], whole).chain([rest]).collect();
            digest::sha1(&slices)
        })
    }

    /// Reads and hashes pieces whose files are all there.
    fn read_and_hash(&self, start: PieceIndex, end: PieceIndex, buffer: &mut Buffer) {
        let geometry = self.store.info().geometry();
        let size = |piece| geometry.piece_size(piece) as usize;
        let bytes: usize = (start..end).map(size).sum();
        if bytes == 0 {
            return;
        }
        buffer.reserve(bytes);
        let Some(bytes) = buffer.get_mut(..bytes) else { return };
        if let Err(error) = self.store.read_pieces(start, bytes) {
            if end - start > 1 {
                // One bad spot must not condemn its neighbours.
                for piece in start..end {
                    self.read_and_hash(piece, piece + 1, buffer);
                }
            } else {
                self.failed(start, error);
            }
            return;
        }
        let mut rest = &*bytes;
        let pieces: Vec<[&[u8]; 1]> = (start..end)
            .map(|piece| {
                let (now, later) = rest.split_at(size(piece));
                rest = later;
                [now]
            })
            .collect();
        let verdicts: Vec<(PieceIndex, Verdict)> = (start..end)
            .zip(self.verify(start, &pieces))
            .map(|(piece, is_good)| (piece, if is_good { Verdict::Good } else { Verdict::Damaged }))
            .collect();
        self.decide(&verdicts);
    }

    fn failed(&self, piece: PieceIndex, error: StorageError) {
        self.decide(&[(piece, Verdict::Missing)]);
        let path = match &error {
            StorageError::Missing { .. } => return, // it was cut while we looked: reported as such
            StorageError::Io { path, .. } | StorageError::Permission { path } => path.clone(),
            _ => PathBuf::new(),
        };
        let files = self.store.info().files_of_piece(piece);
        let file = files.clone().find(|file| self.store.file_path(*file) == path);
        let file = file.unwrap_or(files.start);
        let mut found = self.lock();
        if !found.files.iter().any(|report| report.file == file) {
            let path = self.store.file_path(file);
            found.files.push(FileReport { file, path, trouble: FileTrouble::Unreadable(error) });
        }
    }

    fn decide(&self, verdicts: &[(PieceIndex, Verdict)]) {
        let mut found = self.lock();
        for (piece, verdict) in verdicts {
            match verdict {
                Verdict::Good => drop(found.good.insert(*piece)),
                Verdict::Damaged => found.damaged.push(*piece),
                Verdict::Missing => drop(found.missing.insert(*piece)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, CheckReport> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns verdicts on pieces into what is wrong with files.
    fn report(self, pieces: &Bitfield) -> CheckReport {
        let mut report = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.damaged.sort_unstable();
        let decided =
            report.good.count() as usize + report.damaged.len() + report.missing.count() as usize;
        report.cancelled = self.cancel.load(Ordering::Relaxed) && decided < pieces.count() as usize;
        let info = self.store.info();
        let told: BTreeSet<usize> = report.files.iter().map(|report| report.file).collect();
        let looks: Vec<Option<Look>> = self.looks.into_iter().map(OnceLock::into_inner).collect();
        let is_short: Vec<bool> = looks
            .iter()
            .zip(info.files())
            .map(|(look, entry)| match look {
                Some(Look::There { length }) => *length < entry.length,
                Some(Look::Missing | Look::Unreadable(_)) => true,
                None => false,
            })
            .collect();
        // A piece that lacks another file's bytes is not this file's fault.
        let own_gap = |file: usize, piece: PieceIndex| {
            let mut others = info.files_of_piece(piece).filter(|other| *other != file);
            !others.any(|other| is_short.get(other) == Some(&true))
        };
        for (file, (entry, look)) in info.files().iter().zip(looks).enumerate() {
            if entry.attributes.pad || entry.length == 0 || told.contains(&file) {
                continue;
            }
            let range = info.pieces_of_file(file);
            let first = report.damaged.partition_point(|piece| *piece < range.start);
            let last = report.damaged.partition_point(|piece| *piece < range.end);
            let damaged = report.damaged.get(first..last).unwrap_or_default().to_vec();
            let gaps = range.filter(|piece| report.missing.has(*piece) && own_gap(file, *piece));
            let gaps = gaps.count() as u32;
            let expected = entry.length;
            if info.pieces_of_file(file).all(|piece| pieces.has(piece)) {
                match look {
                    Some(Look::Missing) => self.store.forget_file(file),
                    Some(Look::There { length }) => self.store.know_file(file, length),
                    _ => {}
                }
            }
            let trouble = match look {
                Some(Look::Missing) => Some(FileTrouble::Missing),
                Some(Look::Unreadable(error)) => Some(FileTrouble::Unreadable(error)),
                Some(Look::There { length }) if length < expected => {
                    Some(FileTrouble::Short { length, expected })
                }
                Some(Look::There { length }) if length > expected => {
                    Some(FileTrouble::Longer { length, expected })
                }
                Some(Look::There { .. }) if gaps > 0 => {
                    Some(FileTrouble::Incomplete { pieces: gaps })
                }
                _ => None,
            };
            let damaged = (!damaged.is_empty()).then_some(FileTrouble::Damaged { pieces: damaged });
            for trouble in [trouble, damaged].into_iter().flatten() {
                let path = self.store.file_path(file);
                report.files.push(FileReport { file, path, trouble });
            }
        }
        report.files.sort_by_key(|report| report.file);
        report
    }
}

#[cfg(test)]
mod tests;
