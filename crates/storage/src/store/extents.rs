//! Where files have data, as the file system tells without reading it.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::Ordering;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use wire::Bitfield;

use super::{FileStore, is_link};

impl FileStore {
    /// The pieces that may have been written: those with at least a byte outside of holes. A file
    /// system that knows no holes makes it all pieces of the files that are there.
    pub fn pieces_with_data(&self) -> Bitfield {
        let mut pieces = Bitfield::new(self.info.geometry().piece_count());
        for (index, entry) in self.info.files().iter().enumerate() {
            if entry.length == 0 || entry.attributes.pad || is_link(entry) {
                continue;
            }
            // What an apart file has under its name are its own pieces alone.
            let Ok(file) = self.readable(index) else { continue };
            let of_file = self.info.pieces_of_file(index);
            for data in extents(&file, entry.length) {
                let piece_length = u64::from(self.info.geometry().piece_length());
                let piece = |at: u64| ((entry.offset + at) / piece_length) as u32;
                let last = piece(data.end - 1).min(of_file.end - 1);
                for piece in piece(data.start)..=last {
                    pieces.insert(piece);
                }
            }
        }
        if self.any_apart.load(Ordering::Acquire)
            && let Ok(file) = self.readable(self.parts_index())
        {
            self.parts_with_data(extents(&file, self.parts_entry().length), &mut pieces);
        }
        pieces
    }
}

/// The byte ranges of the first `length` bytes that are not holes.
pub(super) fn extents(file: &File, length: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= length {
            return None;
        }
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => length, // nothing but holes from here on
            Err(_) => at,
        };
        let end = seek(file, SeekFrom::Hole(start)).unwrap_or(length).min(length);
        at = end.max(start + 1);
        (start < end).then_some(start..end)
    })
}
