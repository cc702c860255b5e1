//! Whether files are still what they were: others may cut them, replace them, or put theirs in a
//! place that was empty. Pieces are believed to be in a file for as long as a run lasts, so what is in
//! doubt is not written to, which would hide it for good.
//!
//! That a file is shorter than it was is seen before each write. That it was replaced is seen while it is
//! open, when the next write finds that it has no name any more. If it was closed in between, at rest or
//! because many others are open, one of at least its length in its place is taken for it: what that lacks is
//! found by a check.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::extents::extents;
use super::open::errno;
use super::{FileStore, LOST, OURS, SEEN, WHOLE};
use crate::error::StorageError;

impl FileStore {
    /// The file has so many bytes.
    pub(super) fn has_length(&self, file: usize, length: u64) {
        if self.is_marked(file, WHOLE) {
            return;
        }
        let whole = self.entry(file).map_or(0, |entry| entry.length);
        if length >= whole {
            self.mark(file, WHOLE);
            self.changes().lengths.remove(&file);
        } else if length > 0 {
            let mut changes = self.changes();
            let known = changes.lengths.entry(file).or_default();
            *known = length.max(*known);
        }
    }

    /// Refuses a file that is shorter than it was: a later write would make it as long again, with a
    /// hole that passes for the pieces that were there.
    pub(super) fn refuse_cut(&self, file: usize, opened: &File) -> Result<(), StorageError> {
        let path = || self.file_path(file);
        let found = opened.metadata();
        let found = found.map_err(|error| StorageError::on_open_file(path(), errno(&error)))?.len();
        let was = if self.is_marked(file, WHOLE) {
            self.entry(file)?.length
        } else {
            self.changes().lengths.get(&file).copied().unwrap_or(0)
        };
        if found < was {
            self.handles.forget(self.key(file));
            return Err(StorageError::Missing { path: path() });
        }
        Ok(())
    }

    /// Refuses a file in the place of one that we wrote to and that has no name any more.
    pub(super) fn refuse_replaced(&self, file: usize) -> Result<(), StorageError> {
        if self.is_marked(file, LOST) {
            return Err(StorageError::Missing { path: self.file_path(file) });
        }
        Ok(())
    }

    /// Refuses a file that is another of the torrent's as well: where file systems make no difference
    /// between `A` and `a`, each would be written over the other.
    pub(super) fn refuse_shared(&self, file: usize, found: &Metadata) -> Result<(), StorageError> {
        let inode = found.ino();
        let first = *self.changes().inodes.entry(inode).or_insert(file);
        if first == file {
            return Ok(());
        }
        // The first may be gone, and its number have been given to this one.
        let (path, other) = (self.file_path(file), self.file_path(first));
        let what = |found: &Metadata| (found.dev(), found.ino());
        if other.symlink_metadata().is_ok_and(|other| what(&other) == what(found)) {
            return Err(StorageError::SameFile { path, other });
        }
        self.changes().inodes.insert(inode, file);
        Ok(())
    }

    /// Whether a file that is there was not when this store looked, nor made by it. A part store has our
    /// info hash for a name, and not every look is at it.
    pub(super) fn is_unknown(&self, file: usize) -> bool {
        self.looked.load(Ordering::Acquire)
            && !self.options.overwrite
            && file != self.parts_index()
            && !self.is_marked(file, SEEN)
    }

    /// Nothing of the file is claimed any more: if it is not there, it may be made again.
    pub(crate) fn forget_file(&self, file: usize) {
        self.handles.forget(self.key(file));
        if let Some(marks) = self.marks.get(file) {
            marks.fetch_and(!(SEEN | OURS | WHOLE | LOST), Ordering::Relaxed);
        }
        self.changes().lengths.remove(&file);
    }

    /// All of the file was compared with its hashes: it is what it is, of this length.
    pub(crate) fn know_file(&self, file: usize, length: u64) {
        if let Some(marks) = self.marks.get(file) {
            marks.fetch_and(!(WHOLE | LOST), Ordering::Relaxed);
        }
        self.changes().lengths.remove(&file);
        self.has_length(file, length);
    }

    /// Held while a file is opened to be written, and while it is written to.
    pub(super) fn turn(&self, file: usize) -> std::sync::MutexGuard<'_, ()> {
        let turns = self.writing.get_or_init(Box::default);
        let turn = &turns[file % turns.len()];
        turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something was ever written to a file. One that is a single hole was made for a download. Some
/// file systems count no blocks whatever is in a file, so a file without any is asked for its data.
pub(super) fn holds_data(opened: &File, found: &Metadata) -> bool {
    let has_extents = || extents(opened, found.len()).next().is_some();
    found.len() > 0 && (found.blocks() > 0 || has_extents())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_data_where_its_file_system_counts_no_blocks() {
        let path = "/sys/kernel/mm/transparent_hugepage/enabled";
        let Ok(opened) = File::open(path) else { return }; // no such place here
        let found = opened.metadata().unwrap();
        assert!(found.len() > 0, "a page, whatever its size");
        assert_eq!(found.blocks(), 0);
        assert!(holds_data(&opened, &found));
        let hole = tempfile::tempfile().unwrap();
        assert!(!holds_data(&hole, &hole.metadata().unwrap()));
        hole.set_len(1 << 20).unwrap();
        assert!(!holds_data(&hole, &hole.metadata().unwrap()));
    }
}
