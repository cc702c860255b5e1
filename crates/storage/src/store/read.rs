//! Reading pieces back.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use metainfo::{PieceIndex, Segment};
use rustix::io::Errno;

use super::open::errno;
use super::{FileStore, is_link};
use crate::error::StorageError;

impl FileStore {
    /// Fills `out` from `begin` of `piece` on. Pad files read as zeros.
    ///
    /// # Errors
    /// [`StorageError::Missing`] when a file is not there or ends too early; then its pieces are
    /// lost.
    pub fn read(&self, piece: PieceIndex, begin: u32, out: &mut [u8]) -> Result<(), StorageError> {
        let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
        if !self.info.geometry().contains(piece, begin, length) {
            return Err(StorageError::OutOfRange { piece, begin, length });
        }
        self.read_segments(self.info.segments(piece, begin, length), out)
    }

    /// As [`Self::read`], for who must not wait: only where the files are open and the kernel has
    /// all of it in memory. `false` says nothing about what is on the disk.
    pub(crate) fn read_cached(&self, piece: PieceIndex, begin: u32, mut out: &mut [u8]) -> bool {
        let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let in_vain = self.never_cached.load(Ordering::Relaxed);
        if in_vain || !self.info.geometry().contains(piece, begin, length) {
            return false;
        }
        // Who must not wait does not wait for a file on its way out of the part store either.
        let Ok(_in_place) = self.placing.try_read() else { return false };
        let segments = self.info.segments(piece, begin, length);
        for segment in segments.flat_map(|segment| self.places(segment)) {
            let (now, rest) = out.split_at_mut(segment.length as usize);
            out = rest;
            if self.entry(segment.file).is_ok_and(|entry| entry.attributes.pad) {
                now.fill(0);
                continue;
            }
            let Some(file) = self.handles.peek(self.key(segment.file)) else { return false };
            match read_without_waiting(&file, now, segment.offset) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(NotToBeHad) => {
                    self.never_cached.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }

    /// Fills `out` with as many whole pieces as fit, from `first` on.
    pub(crate) fn read_pieces(
        &self,
        first: PieceIndex,
        out: &mut [u8],
    ) -> Result<(), StorageError> {
        let mut left = out.len() as u64;
        let sizes = (first..).map_while(|piece| {
            let size = self.info.geometry().piece_size(piece);
            left = left.checked_sub(u64::from(size)).filter(|_| size > 0)?;
            Some((piece, size))
        });
        self.read_segments(self.joined(sizes).into_iter(), out)
    }

    /// The runs of bytes that adjacent pieces cover, joined across piece borders.
    pub(super) fn joined(&self, pieces: impl Iterator<Item = (PieceIndex, u32)>) -> Vec<Segment> {
        let mut joined: Vec<Segment> = Vec::new();
        for segment in pieces.flat_map(|(piece, size)| self.info.segments(piece, 0, size)) {
            match joined.last_mut() {
                Some(last)
                    if last.file == segment.file && last.offset + last.length == segment.offset =>
                {
                    last.length += segment.length;
                }
                _ => joined.push(segment),
            }
        }
        joined
    }

    fn read_segments(
        &self,
        segments: impl Iterator<Item = Segment>,
        mut out: &mut [u8],
    ) -> Result<(), StorageError> {
        let _in_place = self.placing.read().unwrap_or_else(PoisonError::into_inner);
        for segment in segments.flat_map(|segment| self.places(segment)) {
            let (now, rest) = out.split_at_mut(segment.length as usize);
            out = rest;
            if self.entry(segment.file)?.attributes.pad {
                now.fill(0);
                continue;
            }
            let file = self.readable(segment.file)?;
            self.read_place(&file, segment.file, now, segment.offset)?;
        }
        Ok(())
    }

    pub(super) fn read_place(
        &self,
        file: &File,
        index: usize,
        out: &mut [u8],
        offset: u64,
    ) -> Result<(), StorageError> {
        file.read_exact_at(out, offset).map_err(|error| {
            // The file may have been replaced: look again next time.
            self.handles.forget(self.key(index));
            let path = self.file_path(index);
            match error.kind() {
                io::ErrorKind::UnexpectedEof => StorageError::Missing { path },
                _ => StorageError::on_open_file(path, errno(&error)),
            }
        })
    }

    /// Opens a file to find out where it has data.
    pub(crate) fn extent(&self, file: usize) -> Result<Extent, StorageError> {
        let entry = self.entry(file)?;
        if entry.attributes.pad || is_link(entry) {
            return Ok(Extent { length: entry.length, sparse: None });
        }
        let opened = self.readable(file)?;
        let found = opened
            .metadata()
            .map_err(|error| StorageError::on_open_file(self.file_path(file), errno(&error)))?;
        let sparse = found.blocks().saturating_mul(512) < found.len();
        Ok(Extent { length: found.len(), sparse: sparse.then_some(opened) })
    }
}

/// Where a file has data.
pub(crate) struct Extent {
    /// Bytes in all.
    pub(crate) length: u64,
    /// The open file, when parts of it were never written.
    pub(crate) sparse: Option<Arc<File>>,
}

impl Extent {
    /// Whether nothing was ever written to `offset..offset + length`. `false` when in doubt.
    pub(crate) fn is_hole(&self, offset: u64, length: u64) -> bool {
        let Some(file) = &self.sparse else { return false };
        match next_data(file, offset) {
            Ok(data) => data >= offset.saturating_add(length),
            Err(error) => error == Errno::NXIO, // no data from there to the end
        }
    }
}

/// The file system can't tell what is in memory.
struct NotToBeHad;

/// Whether the kernel had all of it.
#[cfg(target_os = "linux")]
fn read_without_waiting(
    file: &File,
    mut out: &mut [u8],
    mut offset: u64,
) -> Result<bool, NotToBeHad> {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    while !out.is_empty() {
        let read = preadv2(file, &mut [IoSliceMut::new(out)], offset, ReadWriteFlags::NOWAIT);
        match read {
            Ok(0) => return Ok(false), // cut short: who may wait finds out
            Ok(read) => {
                out = &mut out[read..];
                offset += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(NotToBeHad),
            Err(_) => return Ok(false), // not in memory
        }
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn read_without_waiting(_: &File, _: &mut [u8], _: u64) -> Result<bool, NotToBeHad> {
    Err(NotToBeHad)
}

/// Where data begins at or after `offset`. Moves the file's cursor, which nobody uses.
#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
fn next_data(file: &File, offset: u64) -> Result<u64, Errno> {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset))
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
fn next_data(_file: &File, offset: u64) -> Result<u64, Errno> {
    Ok(offset)
}
