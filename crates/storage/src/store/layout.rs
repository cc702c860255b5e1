//! A torrent's files as a whole: what is there, what it takes, and what can be made at once.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::Ordering;

use metainfo::{FileEntry, SafePath};
use rustix::fs::{FileType, Stat, StatVfs, StatVfsMountFlags};
use rustix::io::Errno;
use wire::Bitfield;

use super::{FileStore, Root, SEEN, Space, is_link};
use crate::beneath;
use crate::error::{Obstacle, StorageError};
use crate::record::{FileSeen, Observed};

impl FileStore {
    /// Before a download: looks for what is in the way of the files that will be written, and makes
    /// what has no data and so would never be written, which is empty files and links.
    ///
    /// Files whose pieces are all in `have` are left alone, so that a finished torrent can be
    /// seeded from hard links.
    ///
    /// # Errors
    /// The first obstacle.
    pub fn prepare(&self, have: &Bitfield) -> Result<(), StorageError> {
        let root = self.existing_root()?;
        let missing = (0..have.len()).find(|piece| !have.has(*piece));
        // One that is to be written speaks for all: they are nearly always on one file system.
        if let Some(file) = missing.and_then(|piece| self.info.files_of_piece(piece).next()) {
            self.refuse_read_only(file)?;
        }
        for (file, entry) in self.info.files().iter().enumerate() {
            if entry.attributes.pad || self.is_unwanted(file) {
                continue;
            }
            if is_link(entry) {
                self.make_link(entry)?;
            } else if entry.length == 0 {
                self.make_empty(root.as_ref(), file)?;
            } else if let Some(root) = &root
                && self.info.pieces_of_file(file).any(|piece| !have.has(piece))
            {
                self.refuse_obstacles(root, file, entry)?;
            }
        }
        Ok(())
    }

    /// Makes an empty file, unless it is there: on a read-only disk it may be, or as somebody's hard link.
    fn make_empty(&self, root: Option<&OwnedFd>, file: usize) -> Result<(), StorageError> {
        let found = root.map(|root| self.look(root, file)).transpose()?.flatten();
        let is_empty =
            |found: &Stat| beneath::kind(found) == FileType::RegularFile && length(found) == 0;
        if !found.as_ref().is_some_and(is_empty) {
            self.writable(file)?;
        }
        Ok(())
    }

    fn refuse_read_only(&self, file: usize) -> Result<(), StorageError> {
        let path = self.file_path(file);
        if file_system_of(&path)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(StorageError::ReadOnly { path });
        }
        Ok(())
    }

    fn refuse_obstacles(
        &self,
        root: &OwnedFd,
        file: usize,
        entry: &FileEntry,
    ) -> Result<(), StorageError> {
        let Some(found) = self.look(root, file)? else { return Ok(()) };
        let obstacle = match beneath::kind(&found) {
            FileType::RegularFile => {
                if length(&found) > 0 && self.is_unknown(file) && self.holds_data(file) {
                    return Err(StorageError::Stranger { path: self.file_path(file) });
                }
                self.mark(file, SEEN);
                return self.consent(file, entry, length(&found), links(&found));
            }
            FileType::Directory => Obstacle::Folder,
            FileType::Symlink => Obstacle::Symlink,
            _ => Obstacle::Special,
        };
        Err(StorageError::InTheWay { path: self.file_path(file), found: obstacle })
    }

    /// The download folder, for looking at many files below it; `None` when it was never there.
    pub(super) fn existing_root(&self) -> Result<Option<OwnedFd>, StorageError> {
        match self.root_folder(false) {
            Ok(root) => Ok(Some(root)),
            Err(StorageError::RootMissing { .. }) if self.root_identity.get().is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is where a file belongs; `None` when nothing is.
    pub(super) fn look(&self, root: &OwnedFd, file: usize) -> Result<Option<Stat>, StorageError> {
        let path = self.safe_path(file)?;
        match beneath::look(root.as_fd(), &path) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.open_error(&path, error)),
        }
    }

    /// Makes a link (BEP 47) that leads to another of the torrent's paths, never out of the root.
    fn make_link(&self, entry: &FileEntry) -> Result<(), StorageError> {
        let Some(target) = &entry.symlink_target else { return Ok(()) };
        let failed = |errno| self.open_error(&entry.path, errno);
        let root = self.root_folder(true)?;
        let first_new = beneath::make_folders(root.as_fd(), &entry.path).map_err(failed)?;
        let (folder, name) = beneath::folder_of(root.as_fd(), &entry.path).map_err(failed)?;
        let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        let leads_to = relative(&entry.path, target);
        match rustix::fs::symlinkat(&leads_to, folder, name) {
            Ok(()) => self.folders_changed(&entry.path, first_new),
            Err(Errno::EXIST) => {
                let there = rustix::fs::readlinkat(folder, name, Vec::new());
                if there.is_ok_and(|there| there.as_bytes() == leads_to.as_bytes()) {
                    return Ok(());
                }
                return Err(self.open_error(&entry.path, Errno::LOOP));
            }
            // File systems without links lose nothing but the second name.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                tracing::warn!(path = %entry.path.display(), "no links on this file system");
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    /// How the files look now, for [`crate::resume::plan`]. What can't be looked at counts as
    /// missing; reading it will say why. What appears later where a file belongs is somebody else's.
    pub fn observe(&self) -> Observed {
        let root = beneath::open_root(&self.root).ok();
        let device = root.as_ref().and_then(|root| rustix::fs::fstat(root).ok());
        let root = root.as_ref().zip(device).map(|(root, found)| (root.as_fd(), found.st_dev));
        self.observe_below(root)
    }

    /// The same, when the folder was just looked up.
    pub fn observe_in(&self, root: &Root) -> Observed {
        self.observe_below(root.folder().map(|folder| (folder, root.device)))
    }

    /// The same later on, when these files were put there for the torrent: they are its own.
    pub fn observe_taken(&self, files: &[usize]) -> Observed {
        let observed = self.observe();
        for file in files {
            if let Some(seen) = observed.files.get(*file).copied().flatten() {
                self.mark(*file, SEEN);
                self.has_length(*file, seen.length);
            }
        }
        observed
    }

    /// Starts from the root, whose device is named with it.
    fn observe_below(&self, root: Option<(BorrowedFd<'_>, u64)>) -> Observed {
        let is_first = !self.looked.load(Ordering::Acquire);
        let look = |file: usize| {
            let found = beneath::look(root?.0, &*self.safe_path(file).ok()?).ok()?;
            (beneath::kind(&found) == FileType::RegularFile).then(|| {
                if is_first {
                    self.mark(file, SEEN);
                    self.has_length(file, length(&found));
                }
                seen(&found)
            })
        };
        let mut files = Vec::with_capacity(self.parts_index());
        let mut missing = Vec::new();
        for (file, entry) in self.info.files().iter().enumerate() {
            let found = if entry.attributes.pad || is_link(entry) { None } else { look(file) };
            if found.is_none() && entry.length > 0 {
                missing.push(file);
            }
            files.push(found);
        }
        let mut parts = None;
        self.find_apart(&missing, || {
            parts = look(self.parts_index());
            parts.is_some()
        });
        files.extend(parts.map(Some));
        self.looked.store(true, Ordering::Release);
        Observed { files, root_device: root.map(|(_, device)| device), apart: self.apart() }
    }

    /// Free space, and how much the torrent still needs.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn space(&self) -> Result<Space, StorageError> {
        let system = file_system_of(&self.root)?;
        let files = self.info.files().iter().enumerate();
        let files = files.filter(|(file, entry)| !entry.attributes.pad && !self.is_unwanted(*file));
        let root = self.existing_root().ok().flatten();
        let needed = files.map(|(file, entry)| {
            let found = root.as_ref().and_then(|root| self.look(root, file).ok().flatten());
            let occupied = found.map_or(0, |found| occupied(&found));
            entry.length.saturating_sub(occupied)
        });
        let needed = needed.fold(0, u64::saturating_add);
        Ok(Space { free: system.f_bavail.saturating_mul(system.f_frsize), needed })
    }
}

/// The file system that a path is on, or will be.
fn file_system_of(path: &Path) -> Result<StatVfs, StorageError> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    rustix::fs::statvfs(existing).map_err(|errno| StorageError::new(existing.into(), errno))
}

/// The text of a link at `from` that leads to `to`, both below the same root.
fn relative(from: &SafePath, to: &SafePath) -> OsString {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let shared = shared.min(from.components().count() - 1).min(to.components().count() - 1);
    let up = from.components().count() - 1 - shared;
    let parts: Vec<&[u8]> =
        std::iter::repeat_n(&b".."[..], up).chain(to.components().skip(shared)).collect();
    OsString::from_vec(parts.join(&b'/'))
}

// The types of these fields differ between systems.
#[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
mod fields {
    use super::{FileSeen, Stat};

    pub(super) fn length(found: &Stat) -> u64 {
        u64::try_from(found.st_size).unwrap_or(0)
    }

    pub(super) fn links(found: &Stat) -> u64 {
        u64::try_from(found.st_nlink).unwrap_or(u64::MAX)
    }

    /// Bytes a file takes on the disk; `st_blocks` counts 512 of them whatever the file system.
    pub(super) fn occupied(found: &Stat) -> u64 {
        u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512)
    }

    pub(in crate::store) fn seen(found: &Stat) -> FileSeen {
        let seconds = i64::try_from(found.st_mtime).unwrap_or(0);
        let nanoseconds = i64::try_from(found.st_mtime_nsec).unwrap_or(0);
        let modified_ns = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        FileSeen { length: length(found), modified_ns }
    }
}
pub(super) use fields::seen;
use fields::{length, links, occupied};

#[cfg(test)]
mod tests {
    use metainfo::PathRules;

    use super::*;

    #[test]
    fn links_are_relative_and_climb_no_further_than_the_root() {
        let path = |text: &str| SafePath::new(text.split('/'), PathRules::Posix).unwrap();
        let link = |from, to| relative(&path(from), &path(to)).into_string().unwrap();
        assert_eq!(link("t/a", "t/b"), "b");
        assert_eq!(link("t/x/y/a", "t/x/b"), "../b");
        assert_eq!(link("t/x/a", "t/y/b"), "../y/b");
        assert_eq!(link("t/a", "t/a"), "a");
        assert_eq!(link("t/a", "t/a/b"), "a/b");
    }
}
