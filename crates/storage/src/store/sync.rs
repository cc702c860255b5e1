//! From *written* to *durable*: bringing a torrent's new data to the disk itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use metainfo::PieceIndex;
use rustix::io::Errno;

use super::open::errno;
use super::{FileStore, is_link, write_back};
use crate::error::StorageError;

/// With more files than this to sync, one sync of the file system is quicker, though it may take
/// others' data along.
const FILES_ONE_BY_ONE: usize = 256;

impl FileStore {
    /// Brings everything written before this call to the disk: the files' data, and the entries of
    /// the folders that new files are in. When it returns well, every piece whose
    /// [`crate::PieceOutcome::Written`] arrived before the call is durable.
    ///
    /// # Errors
    /// The first one met, after trying all files. A file that failed to sync, or to set out for the
    /// disk before, fails again for as long as this store is open: the kernel drops what it could not
    /// write and reports it only once, so a later success would say nothing about it.
    pub fn sync(&self) -> Result<(), StorageError> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, folders) = {
            let mut changes = self.changes();
            changes.fresh.clear();
            (mem::take(&mut changes.unsynced), mem::take(&mut changes.unsynced_folders))
        };
        let mut first_error = None;
        // Where the whole file system can be synced at once, files are only asked how that went: what a
        // file system tells of all of its files together, it tells once, whosever they are.
        let at_once = files.len() > FILES_ONE_BY_ONE && self.sync_file_systems(&files).is_ok();
        for file in files {
            let synced = if at_once { self.was_synced(file) } else { self.sync_file(file) };
            if let Err(error) = synced {
                first_error.get_or_insert(error);
            }
        }
        for folder in folders.into_iter().filter(|_| !at_once) {
            if let Err(error) = self.sync_folder(folder) {
                first_error.get_or_insert(error);
            }
        }
        let failed_before = self.changes().not_durable.iter().next().map(|(file, error)| {
            StorageError::NotDurable { path: self.file_path(*file), error: error.clone() }
        });
        first_error.or(failed_before).map_or(Ok(()), Err)
    }

    /// Counts the files of these pieces, and the folders they are in, as written since the last
    /// sync: another process wrote them, perhaps an earlier run of ours that was killed, and
    /// nobody knows what of it is on the disk.
    pub(crate) fn need_sync(&self, pieces: impl Iterator<Item = PieceIndex>) {
        let mut files = pieces.flat_map(|piece| self.info.files_of_piece(piece)).peekable();
        if files.peek().is_none() {
            return;
        }
        let mut changes = self.changes();
        for file in files {
            let Some(entry) = self.info.files().get(file) else { continue };
            if entry.attributes.pad || is_link(entry) {
                continue;
            }
            // An apart file may have pieces of its own under its name.
            let parts = self.is_apart(file).then(|| self.parts_index());
            let own = self.is_there(file).then_some(file);
            for file in parts.into_iter().chain(own) {
                let Ok(path) = self.safe_path(file) else { continue };
                if changes.unsynced.insert(file) {
                    let depth = path.components().count();
                    let path = path.under(&self.root);
                    let folders = path.ancestors().skip(1).take(depth).map(Path::to_path_buf);
                    changes.unsynced_folders.extend(folders);
                }
            }
        }
    }

    /// Whether a file is to be expected under its name.
    fn is_there(&self, file: usize) -> bool {
        !self.is_apart(file) || self.file_path(file).symlink_metadata().is_ok()
    }

    /// Syncs each file system that one of the files is on: a folder below the root may be the
    /// mount point of another. Fails when that is not to be had; then the files one by one say
    /// what is wrong.
    pub(super) fn sync_file_systems(&self, files: &BTreeSet<usize>) -> io::Result<()> {
        let paths = files.iter().map(|file| self.file_path(*file));
        let folders: BTreeSet<PathBuf> =
            paths.filter_map(|path| path.parent().map(Path::to_path_buf)).collect();
        let mut devices = BTreeSet::new();
        for folder in folders {
            let folder = File::open(folder)?;
            if devices.insert(folder.metadata()?.dev()) {
                rustix::fs::syncfs(folder)?;
            }
        }
        Ok(())
    }

    pub(super) fn sync_file(&self, file: usize) -> Result<(), StorageError> {
        self.with_unsynced(file, |opened| tolerated(opened.sync_data()))
    }

    /// The same for a file whose data is on the disk by now, unless that went wrong.
    fn was_synced(&self, file: usize) -> Result<(), StorageError> {
        self.with_unsynced(file, |opened| match sys::wait_for_write_back(opened) {
            Err(error) if write_back::nothing_was_tried(&error) => tolerated(opened.sync_data()),
            waited => waited,
        })
    }

    fn with_unsynced(
        &self,
        file: usize,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), StorageError> {
        let opened = match self.readable(file) {
            Ok(opened) => opened,
            // It went meanwhile, when nothing was in it that is not elsewhere.
            Err(_) if file == self.parts_index() && !self.any_apart.load(Ordering::Acquire) => {
                return Ok(());
            }
            Err(error) => {
                self.changes().unsynced.insert(file); // nothing was tried: it may come back
                return Err(error);
            }
        };
        sync(&opened).map_err(|error| {
            let path = self.file_path(file);
            let text = error.to_string();
            self.changes().not_durable.insert(file, text.clone());
            let_go_of_ghosts(&opened);
            StorageError::NotDurable { path, error: text }
        })
    }

    pub(super) fn sync_folder(&self, folder: PathBuf) -> Result<(), StorageError> {
        sync_folder(&folder).map_err(|error| {
            let error = StorageError::new(folder.clone(), errno(&error));
            self.changes().unsynced_folders.insert(folder);
            error
        })
    }
}

/// What did not get to the disk stays in the kernel's memory as if it had, until that is needed
/// otherwise. Without it whoever hashes the file finds what the disk has.
#[cfg(target_os = "linux")]
pub(super) fn let_go_of_ghosts(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed); // where it can be asked
}

#[cfg(not(target_os = "linux"))]
pub(super) fn let_go_of_ghosts(_: &File) {}

fn sync_folder(folder: &Path) -> io::Result<()> {
    tolerated(File::open(folder)?.sync_all())
}

/// File systems that have nothing to sync say so in one of these ways.
fn tolerated(result: io::Result<()>) -> io::Result<()> {
    let nothing_to_sync = [Errno::INVAL, Errno::ROFS, Errno::OPNOTSUPP];
    result.or_else(|error| match errno(&error) {
        errno if nothing_to_sync.contains(&errno) => Ok(()),
        _ => Err(error),
    })
}
