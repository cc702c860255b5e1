//! Writing verified pieces: one `pwritev` for each file that a run of pieces touches.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::PoisonError;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use rustix::io::Errno;

use super::open::errno;
use super::{FileStore, LOST};
use crate::arena::Block;
use crate::error::StorageError;
use crate::record::FileSeen;

/// Slices in one call; what Linux takes at most (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// What stands for a block that no peer sends because it lies in a pad file.
static ZEROS: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];

/// A piece as it lies in memory. A block that is `None` is zeros.
pub(crate) type PieceBlocks<'a> = (PieceIndex, &'a [Option<Block>]);

/// The bytes of a piece's blocks, in order.
pub(crate) fn slices<'a>(
    store: &'a FileStore,
    piece: PieceIndex,
    blocks: &'a [Option<Block>],
) -> impl Iterator<Item = &'a [u8]> {
    let geometry = store.info.geometry();
    (0..geometry.block_count(piece)).map(move |block| {
        let size = geometry.block_size(piece, block) as usize;
        let bytes = blocks.get(block as usize).and_then(Option::as_deref).unwrap_or(&ZEROS);
        bytes.get(..size).unwrap_or_default()
    })
}

impl FileStore {
    /// Writes pieces that follow each other in the torrent.
    ///
    /// # Errors
    /// The first one met. Then any part of the run may have been written.
    pub(crate) fn write(&self, run: &[PieceBlocks<'_>]) -> Result<(), StorageError> {
        let geometry = self.info.geometry();
        let sizes = run.iter().map(|(piece, _)| (*piece, geometry.piece_size(*piece)));
        let segments = self.joined(sizes);
        let mut source = Source {
            slices: run.iter().flat_map(|(piece, blocks)| slices(self, *piece, blocks)).collect(),
            slice: 0,
            at: 0,
        };
        let _in_place = self.placing.read().unwrap_or_else(PoisonError::into_inner);
        for segment in segments.into_iter().flat_map(|segment| self.places(segment)) {
            if self.entry(segment.file)?.attributes.pad {
                source.skip(segment.length);
                continue;
            }
            let file = self.writable(segment.file)?;
            let turn = self.turn(segment.file);
            self.refuse_cut(segment.file, &file)?;
            let written = write_at(&**file, segment.offset, segment.length, &mut source);
            // Before anybody else's turn, whose later look could be noted first. A write that failed may
            // have changed the file too.
            let noted = self.wrote(segment.file, &file);
            drop(turn);
            let path = || self.file_path(segment.file);
            written.map_err(|error| StorageError::on_open_file(path(), errno(&error)))?;
            if segment.file == self.parts_index() {
                self.changes().in_parts.extend(run.iter().map(|(piece, _)| *piece));
            }
            noted?;
            self.count_fresh(segment.file, segment.length);
        }
        Ok(())
    }

    /// A file was written to.
    pub(super) fn wrote(&self, index: usize, file: &File) -> Result<(), StorageError> {
        let path = || self.file_path(index);
        let found =
            file.metadata().map_err(|error| StorageError::on_open_file(path(), errno(&error)))?;
        if found.nlink() == 0 {
            // Deleted under us: what we wrote has no name and will vanish.
            self.mark(index, LOST);
            self.handles.forget(self.key(index));
            return Err(StorageError::Missing { path: path() });
        }
        let modified_ns =
            found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
        let seen = FileSeen { length: found.len(), modified_ns };
        self.has_length(index, found.len());
        // After the write: a sync that runs at this moment must not count it as done.
        let mut changes = self.changes();
        changes.unsynced.insert(index);
        changes.seen.insert(index, seen);
        Ok(())
    }
}

fn write_at(
    file: &impl AsFd,
    mut offset: u64,
    mut left: u64,
    source: &mut Source<'_>,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(source.slices.len().min(SLICES_MAX));
    while left > 0 {
        source.gather(left, &mut batch);
        match rustix::io::pwritev(file, &batch, offset) {
            Ok(0) => return Err(Errno::IO.into()),
            Ok(written) => {
                source.skip(written as u64);
                offset += written as u64;
                left -= written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The bytes still to be written.
struct Source<'a> {
    slices: Vec<&'a [u8]>,
    slice: usize,
    at: usize,
}

impl<'a> Source<'a> {
    /// The next bytes, at most `left` of them, as slices for one call.
    fn gather(&self, mut left: u64, batch: &mut Vec<IoSlice<'a>>) {
        batch.clear();
        let mut at = self.at;
        for slice in self.slices.iter().skip(self.slice).take(SLICES_MAX) {
            if left == 0 {
                break;
            }
            let rest = slice.get(at..).unwrap_or_default();
            let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            batch.push(IoSlice::new(rest.get(..take).unwrap_or_default()));
            left -= take as u64;
            at = 0;
        }
    }

    fn skip(&mut self, mut bytes: u64) {
        while let Some(slice) = self.slices.get(self.slice) {
            let rest = (slice.len() - self.at) as u64;
            if bytes < rest {
                self.at += bytes as usize;
                return;
            }
            bytes -= rest;
            self.slice += 1;
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_go_on_in_the_middle_of_a_slice() {
        let mut source = Source { slices: vec![b"abc", b"", b"defg", b"h"], slice: 0, at: 0 };
        let mut batch = Vec::new();
        let mut seen: Vec<u8> = Vec::new();
        for step in [2, 3, 1, 2] {
            source.gather(step, &mut batch);
            seen.extend(batch.iter().flat_map(|slice| slice.iter()));
            source.skip(step);
        }
        assert_eq!(seen, b"abcdefgh");
        source.gather(100, &mut batch);
        assert_eq!(batch.iter().map(|slice| slice.len()).sum::<usize>(), 0);
    }

    #[test]
    fn a_batch_has_no_more_slices_than_the_kernel_takes() {
        let source = Source { slices: vec![b"x"; 3000], slice: 10, at: 0 };
        let mut batch = Vec::new();
        source.gather(3000, &mut batch);
        assert_eq!(batch.len(), SLICES_MAX);
    }
}
