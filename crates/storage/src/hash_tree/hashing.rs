//! Reading a payload once, with all cores, for the hashes of one version or of both.
//!
//! Threads take runs of pieces. A run lies in a buffer as pieces do in the torrent: in v2 and hybrids
//! each file begins one, and a hybrid's v1 pieces have zeros behind it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use digest::{Algorithm, Sha1Digest};
use metainfo::merkle::{self, MerkleHash};
use metainfo::{BLOCK_LENGTH, Format, Geometry, padding_after};

use super::{HashTreeError, Payload, PayloadHashes};
use crate::buffer::Buffer;
use crate::check::{self, CheckProgress};

/// Bytes of all buffers together, unless one piece alone is longer.
const BUFFERS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// All hashes of the payload.
pub(super) fn hash(
    payload: &Payload,
    format: Format,
    piece_length: u32,
    progress: &(dyn Fn(CheckProgress) + Sync),
    cancel: &AtomicBool,
) -> Result<PayloadHashes, HashTreeError> {
    let hashing = Hashing::new(payload, format, piece_length, progress, cancel)?;
    hashing.run_on_all_cores()?;
    let v1 = hashing.v1.into_inner().unwrap_or_else(PoisonError::into_inner);
    let roots = hashing.roots.into_inner().unwrap_or_else(PoisonError::into_inner);
    let pieces = hashing.places.iter().zip(&payload.files).map(|((offset, _), file)| {
        let first = (offset / u64::from(piece_length)) as usize;
        let count = file.length.div_ceil(u64::from(piece_length)) as usize;
        roots.get(first..first + count).unwrap_or_default().to_vec()
    });
    let v2 = if format.has_v2() { pieces.collect() } else { Vec::new() };
    Ok(PayloadHashes { v1: v1.into_flattened(), v2 })
}

struct Hashing<'a> {
    payload: &'a Payload,
    format: Format,
    piece_length: u64,
    /// Where each file begins and ends.
    places: Vec<(u64, u64)>,
    /// Where the last one ends, with its padding.
    end: u64,
    total_bytes: u64,
    /// The SHA-1 of each piece.
    v1: Mutex<Vec<Sha1Digest>>,
    /// The hash over each piece's part of a file.
    roots: Mutex<Vec<MerkleHash>>,
    /// The next run of pieces that nobody has taken.
    next: AtomicUsize,
    done_bytes: AtomicU64,
    /// A thread met an error: the others can stop.
    failed: AtomicBool,
    progress: &'a (dyn Fn(CheckProgress) + Sync),
    cancel: &'a AtomicBool,
}

impl<'a> Hashing<'a> {
    fn new(
        payload: &'a Payload,
        format: Format,
        piece_length: u32,
        progress: &'a (dyn Fn(CheckProgress) + Sync),
        cancel: &'a AtomicBool,
    ) -> Result<Self, HashTreeError> {
        let wrong = || HashTreeError::PieceLength(piece_length);
        let can_v2 = piece_length.is_power_of_two() && piece_length >= BLOCK_LENGTH;
        if format.has_v2() && !can_v2 {
            return Err(wrong());
        }
        let mut end = 0_u64;
        let mut places = Vec::with_capacity(payload.files.len());
        for file in &payload.files {
            if format.has_v2() && file.length > 0 {
                end = end.checked_next_multiple_of(u64::from(piece_length)).ok_or_else(wrong)?;
            }
            let offset = end;
            end = end.checked_add(file.length).ok_or_else(wrong)?;
            places.push((offset, end));
            if format == Format::Hybrid {
                let padding = padding_after(file.length, piece_length, payload.files.len());
                end = end.checked_add(padding).ok_or_else(wrong)?;
            }
        }
        let pieces = Geometry::new(end, piece_length).ok_or_else(wrong)?.piece_count() as usize;
        let count = |is: bool| if is { pieces } else { 0 };
        Ok(Self {
            payload,
            format,
            piece_length: u64::from(piece_length),
            places,
            end,
            total_bytes: payload.total_length(),
            v1: Mutex::new(vec![[0; 20]; count(format.has_v1())]),
            roots: Mutex::new(vec![[0; 32]; count(format.has_v2())]),
            next: AtomicUsize::new(0),
            done_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            progress,
            cancel,
        })
    }

    /// Bytes of a run: whole pieces, enough of them to fill the lanes of the hash kernels.
    fn run_bytes(&self) -> u64 {
        let bytes = if self.format.has_v1() {
            check::run_bytes(self.piece_length as u32)
        } else {
            check::run_bytes_of(Algorithm::Sha256, BLOCK_LENGTH)
        };
        (bytes / self.piece_length).max(1) * self.piece_length
    }

    fn run_on_all_cores(&self) -> Result<(), HashTreeError> {
        let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
        let workers = (BUFFERS_BYTES_MAX / self.run_bytes()).clamp(1, cores);
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
        let run_bytes = self.run_bytes();
        let mut buffer = Buffer::default();
        let mut open = None;
        loop {
            let run = self.next.fetch_add(1, Ordering::Relaxed) as u64;
            let start = run.saturating_mul(run_bytes);
            if start >= self.end || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.cancel.load(Ordering::Relaxed) {
                return Err(HashTreeError::Cancelled);
            }
            let bytes = run_bytes.min(self.end - start);
            buffer.reserve(bytes as usize);
            let run = &mut buffer[..bytes as usize];
            let parts = self.read(start, run, &mut open)?;
            let first = (start / self.piece_length) as usize;
            if self.format.has_v1() {
                self.hash_pieces(first, run);
            }
            if self.format.has_v2() {
                self.hash_leaves(start, run, &parts);
            }
            let read = parts.iter().map(|part| part.bytes as u64).sum();
            let done_bytes = self.done_bytes.fetch_add(read, Ordering::Relaxed) + read;
            (self.progress)(CheckProgress { done_bytes, total_bytes: self.total_bytes });
        }
    }

    /// SHA-1 of whole pieces, of which the first is number `first`.
    fn hash_pieces(&self, first: usize, run: &[u8]) {
        let pieces: Vec<[&[u8]; 1]> =
            run.chunks(self.piece_length as usize).map(|piece| [piece]).collect();
        let messages: Vec<&[&[u8]]> = pieces.iter().map(|piece| &piece[..]).collect();
        let hashes = digest::sha1_batch(&messages);
        let mut all = self.v1.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().skip(first).zip(hashes).for_each(|(slot, hash)| *slot = hash);
    }

    /// The hash trees below each piece, from the leaves of all of them at once.
    fn hash_leaves(&self, start: u64, run: &[u8], parts: &[Part]) {
        let pieces: Vec<(usize, u32, &[u8])> = parts
            .iter()
            .flat_map(|part| {
                let first = (start + part.at as u64) / self.piece_length;
                let bytes = run.get(part.at..part.at + part.bytes).unwrap_or_default();
                let pieces = bytes.chunks(self.piece_length as usize).enumerate();
                pieces.map(move |(number, piece)| (first as usize + number, part.top, piece))
            })
            .collect();
        let blocks = |piece: &'_ [u8]| piece.len().div_ceil(BLOCK_LENGTH as usize);
        let leaves: Vec<[&[u8]; 1]> = pieces
            .iter()
            .flat_map(|(_, _, piece)| piece.chunks(BLOCK_LENGTH as usize))
            .map(|leaf| [leaf])
            .collect();
        let messages: Vec<&[&[u8]]> = leaves.iter().map(|leaf| &leaf[..]).collect();
        let hashes = digest::sha256_batch(&messages);
        let mut rest = hashes.as_slice();
        let roots: Vec<(usize, MerkleHash)> = pieces
            .iter()
            .map(|(number, top, piece)| {
                let (leaves, later) = rest.split_at(blocks(piece));
                rest = later;
                (*number, merkle::root(leaves, 0, *top))
            })
            .collect();
        let mut all = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, root) in roots {
            if let Some(slot) = all.get_mut(number) {
                *slot = root;
            }
        }
    }

    /// Fills `out` from `start` of the torrent on, and tells which parts of it are files'; what is
    /// between them becomes zeros if it is hashed. `open` is the last file, kept for the next run.
    fn read(
        &self,
        start: u64,
        out: &mut [u8],
        open: &mut Option<(usize, File)>,
    ) -> Result<Vec<Part>, HashTreeError> {
        let end = start + out.len() as u64;
        let mut parts = Vec::new();
        let mut filled = 0;
        let first = self.places.partition_point(|(_, end)| *end <= start);
        let places = self.places.iter().zip(&self.payload.files).enumerate().skip(first);
        for (index, ((offset, ends), file)) in places {
            if *offset >= end {
                break;
            }
            let (from, to) = ((*offset).max(start), (*ends).min(end));
            if from >= to {
                continue;
            }
            let (at, bytes) = ((from - start) as usize, (to - from) as usize);
            if self.format.has_v1() {
                out[filled..at].fill(0);
            }
            filled = at + bytes;
            let opened = match open.take() {
                Some((same, opened)) if same == index => opened,
                _ => file.open()?,
            };
            opened.read_exact_at(&mut out[at..filled], from - offset).map_err(
                |error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => file.changed(),
                    _ => file.unreadable(error),
                },
            )?;
            *open = Some((index, opened));
            let pieces = file.length.div_ceil(self.piece_length);
            let top = match pieces {
                1 => merkle::height(merkle::leaf_count(file.length)),
                _ => merkle::piece_layer(self.piece_length as u32),
            };
            parts.push(Part { at, bytes, top });
        }
        if self.format.has_v1() {
            out[filled..].fill(0);
        }
        Ok(parts)
    }
}

/// Where in a run a file's bytes are, and the layer that the hash over each of its pieces is in.
struct Part {
    at: usize,
    bytes: usize,
    top: u32,
}
