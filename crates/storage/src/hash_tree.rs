//! From files to the piece hashes of a new .torrent (BEP 3).
//!
//! [`Payload::walk`] lists what is there, [`Payload::hash`] reads it with all cores. Between the
//! two the caller chooses the piece length. What changes while it is hashed is an error: the
//! torrent would describe files that never were.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use digest::Sha1Digest;
use metainfo::Geometry;

use crate::buffer::Buffer;
use crate::check::{self, CheckProgress};

/// Bytes of all buffers together, unless one piece alone is longer.
const BUFFERS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Why files can't become a torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashTreeError {
    /// A file or folder can't be read.
    #[error("can't read {path}: {error}", path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it was when the walk met it.
    #[error("{path} changed while it was being hashed; try again when it is at rest", path = path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// There are no files in the folder.
    #[error("there are no files in {path}", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Neither a file nor a folder.
    #[error("{path} is neither a file nor a folder", path = path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The path has no last component, as `/`.
    #[error("{path} has no name to give to the torrent", path = path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// A piece length of zero, or one that makes more than 2^32 pieces.
    #[error("a piece length of {0} bytes does not fit these files")]
    PieceLength(u32),
    /// The caller ended it.
    #[error("hashing was cancelled")]
    Cancelled,
}

/// Files that are to become a torrent.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The name of the file or folder.
    pub name: Vec<u8>,
    /// Whether the payload is one file rather than a folder.
    pub is_single_file: bool,
    /// The files in the order of their bytes: sorted by path, byte by byte.
    pub files: Vec<PayloadFile>,
    /// What was left out: symbolic links, devices, pipes, sockets.
    pub skipped: Vec<PathBuf>,
}

/// One file of a payload.
#[derive(Debug, Clone)]
pub struct PayloadFile {
    /// Names below the payload's own, outermost first; empty when the payload is this file.
    pub components: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// Its owner may execute it (BEP 47).
    pub executable: bool,
    path: PathBuf,
    modified: Option<SystemTime>,
    /// Where it begins in the torrent.
    offset: u64,
}

impl PayloadFile {
    fn new(path: PathBuf, components: Vec<Vec<u8>>, found: &Metadata) -> Self {
        let executable = found.mode() & 0o100 != 0;
        let modified = found.modified().ok();
        Self { components, length: found.len(), executable, path, modified, offset: 0 }
    }

    fn is_unchanged(&self, found: &Metadata) -> bool {
        found.len() == self.length && found.modified().ok() == self.modified
    }

    fn open(&self) -> Result<File, HashTreeError> {
        let opened = File::open(&self.path).map_err(|error| self.unreadable(error))?;
        let found = opened.metadata().map_err(|error| self.unreadable(error))?;
        if self.is_unchanged(&found) { Ok(opened) } else { Err(self.changed()) }
    }

    fn changed(&self) -> HashTreeError {
        HashTreeError::Changed { path: self.path.clone() }
    }

    fn unreadable(&self, error: io::Error) -> HashTreeError {
        HashTreeError::Unreadable { path: self.path.clone(), error }
    }
}

impl Payload {
    /// Lists a file, or all files below a folder. Symbolic links below it are skipped, not
    /// followed; `path` itself may be one.
    ///
    /// # Errors
    /// What can't be read, by name: a torrent that silently lacks a file is worse than none.
    pub fn walk(path: &Path) -> Result<Self, HashTreeError> {
        let unreadable = |error| HashTreeError::Unreadable { path: path.to_path_buf(), error };
        let found = fs::metadata(path).map_err(unreadable)?;
        let whole = match path.file_name() {
            Some(_) => path.to_path_buf(),
            None => path.canonicalize().map_err(unreadable)?, // as of `.` and `..`
        };
        let name = whole.file_name().map(|name| name.as_bytes().to_vec());
        let name = name.ok_or_else(|| HashTreeError::NoName { path: path.to_path_buf() })?;
        let mut payload =
            Self { name, is_single_file: found.is_file(), files: Vec::new(), skipped: Vec::new() };
        if found.is_file() {
            payload.files.push(PayloadFile::new(path.to_path_buf(), Vec::new(), &found));
        } else if found.is_dir() {
            payload.walk_folder(path)?;
            if payload.files.is_empty() {
                return Err(HashTreeError::Empty { path: path.to_path_buf() });
            }
        } else {
            return Err(HashTreeError::NotAFile { path: path.to_path_buf() });
        }
        payload.files.sort_by(|a, b| a.components.cmp(&b.components));
        payload.skipped.sort();
        let mut offset = 0_u64;
        for file in &mut payload.files {
            file.offset = offset;
            offset = offset.saturating_add(file.length);
        }
        Ok(payload)
    }

    fn walk_folder(&mut self, root: &Path) -> Result<(), HashTreeError> {
        let mut folders = vec![(root.to_path_buf(), Vec::new())];
        while let Some((folder, components)) = folders.pop() {
            let unreadable = |error| HashTreeError::Unreadable { path: folder.clone(), error };
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                // Of the entry itself: a link is not followed.
                let found = entry
                    .metadata()
                    .map_err(|error| HashTreeError::Unreadable { path: path.clone(), error })?;
                let mut components: Vec<Vec<u8>> = components.clone();
                components.push(entry.file_name().as_bytes().to_vec());
                if found.is_dir() {
                    folders.push((path, components));
                } else if found.is_file() {
                    self.files.push(PayloadFile::new(path, components, &found));
                } else {
                    self.skipped.push(path);
                }
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub fn total_length(&self) -> u64 {
        self.files.last().map_or(0, |last| last.offset.saturating_add(last.length))
    }

    /// The SHA-1 of each piece, one after the other. `progress` is called from several threads.
    ///
    /// # Errors
    /// The first file that can't be read or is changing.
    pub fn hash(
        &self,
        piece_length: u32,
        progress: &(dyn Fn(CheckProgress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<u8>, HashTreeError> {
        let geometry = Geometry::new(self.total_length(), piece_length)
            .ok_or(HashTreeError::PieceLength(piece_length))?;
        let hashing = Hashing {
            payload: self,
            hashes: Mutex::new(vec![[0; 20]; geometry.piece_count() as usize]),
            geometry,
            next: AtomicUsize::new(0),
            done_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            progress,
            cancel,
        };
        hashing.run_on_all_cores()?;
        // A file may have changed after its last piece was read and before the others' were.
        for file in &self.files {
            let found = fs::metadata(&file.path).map_err(|error| file.unreadable(error))?;
            if !file.is_unchanged(&found) {
                return Err(file.changed());
            }
        }
        let hashes = hashing.hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(hashes.into_flattened())
    }
}

struct Hashing<'a> {
    payload: &'a Payload,
    geometry: Geometry,
    hashes: Mutex<Vec<Sha1Digest>>,
    /// The next run of pieces that nobody has taken.
    next: AtomicUsize,
    done_bytes: AtomicU64,
    /// A thread met an error: the others can stop.
    failed: AtomicBool,
    progress: &'a (dyn Fn(CheckProgress) + Sync),
    cancel: &'a AtomicBool,
}

impl Hashing<'_> {
    fn run_on_all_cores(&self) -> Result<(), HashTreeError> {
        let piece_length = u64::from(self.geometry.piece_length());
        let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
        let run_bytes = check::run_bytes(self.geometry.piece_length()).max(piece_length);
        let workers = (BUFFERS_BYTES_MAX / run_bytes).clamp(1, cores);
        thread::scope(|scope| {
            let spawn = |_| {
                let builder = thread::Builder::new().name("hash".into());
                builder.spawn_scoped(scope, || self.work()).ok() // this thread can do it all
            };
            let others: Vec<_> = (1..workers).map(spawn).collect();
            let mut result = self.work();
            for other in others.into_iter().flatten() {
                let theirs = other.join().unwrap_or(Err(HashTreeError::Cancelled));
                result = result.and(theirs);
            }
            result
        })
    }

    fn work(&self) -> Result<(), HashTreeError> {
        let result = self.hash_runs();
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn hash_runs(&self) -> Result<(), HashTreeError> {
        let piece_length = u64::from(self.geometry.piece_length());
        let total_bytes = self.payload.total_length();
        let pieces = (check::run_bytes(self.geometry.piece_length()) / piece_length).max(1);
        let run_bytes = pieces * piece_length;
        let mut buffer = Buffer::default();
        let mut open = None;
        loop {
            let run = self.next.fetch_add(1, Ordering::Relaxed) as u64;
            let start = run.saturating_mul(run_bytes);
            if start >= total_bytes || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.cancel.load(Ordering::Relaxed) {
                return Err(HashTreeError::Cancelled);
            }
            let bytes = run_bytes.min(total_bytes - start);
            buffer.reserve(bytes as usize);
            let run_of_pieces = &mut buffer[..bytes as usize];
            self.read(start, run_of_pieces, &mut open)?;
            let chunks: Vec<[&[u8]; 1]> =
                run_of_pieces.chunks(piece_length as usize).map(|piece| [piece]).collect();
            let messages: Vec<&[&[u8]]> = chunks.iter().map(|piece| &piece[..]).collect();
            let hashes = digest::sha1_batch(&messages);
            let first = (run * pieces) as usize;
            let mut all = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter_mut().skip(first).zip(hashes).for_each(|(slot, hash)| *slot = hash);
            drop(all);
            let done_bytes = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            (self.progress)(CheckProgress { done_bytes, total_bytes });
        }
    }

    /// Fills `out` from byte `start` of the payload. `open` is the last file, kept for the next run.
    fn read(
        &self,
        start: u64,
        mut out: &mut [u8],
        open: &mut Option<(usize, File)>,
    ) -> Result<(), HashTreeError> {
        let files = &self.payload.files;
        let mut at = start;
        let first = files.partition_point(|file| file.offset + file.length <= start);
        for (index, file) in files.iter().enumerate().skip(first) {
            if out.is_empty() {
                break;
            }
            let within = at - file.offset;
            let take = (file.length - within).min(out.len() as u64);
            let (now, rest) = out.split_at_mut(take as usize);
            out = rest;
            at += take;
            if take == 0 {
                continue;
            }
            let opened = match open.take() {
                Some((same, opened)) if same == index => opened,
                _ => file.open()?,
            };
            opened.read_exact_at(now, within).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => file.changed(),
                _ => file.unreadable(error),
            })?;
            *open = Some((index, opened));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
