//! Reading pieces back.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, PoisonError};

use metainfo::{PieceIndex, Segment};
use rustix::io::Errno;

use super::open::errno;
use super::{FileStore, is_link};
use crate::error::StorageError;
use crate::handles::OpenFile;

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
    pub(crate) sparse: Option<Arc<OpenFile>>,
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

/// Where data begins at or after `offset`. Moves the file's cursor, which nobody uses.
#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
fn next_data(file: &File, offset: u64) -> Result<u64, Errno> {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset))
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
fn next_data(_file: &File, offset: u64) -> Result<u64, Errno> {
    Ok(offset)
}
