//! Opening a torrent's files, and making them when they are not there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use metainfo::{FileEntry, SafePath};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::intact::holds_data;
use super::{FileStore, OURS, SEEN};
use crate::beneath;
use crate::error::{Obstacle, StorageError};
use crate::handles::OpenFile;

/// Attempts to open a file that others make or remove at the same moment.
const RACES_MAX: u32 = 4;

impl FileStore {
    /// The open file for reading.
    pub(crate) fn readable(&self, file: usize) -> Result<Arc<OpenFile>, StorageError> {
        self.handles.get(self.key(file), false, || self.open_to_read(file))
    }

    /// The open file for writing, made if it is not there.
    pub(super) fn writable(&self, file: usize) -> Result<Arc<OpenFile>, StorageError> {
        self.handles.get(self.key(file), true, || self.open_to_write(file))
    }

    /// The download folder as a place to start from. It is the same one as long as this store is
    /// open: an unmounted volume leaves an empty folder behind that must not be filled.
    pub(crate) fn root_folder(&self, make: bool) -> Result<OwnedFd, StorageError> {
        let missing = || StorageError::RootMissing { path: self.root.to_path_buf() };
        let folder = match beneath::open_root(&self.root) {
            Err(Errno::NOENT) if make && self.root_identity.get().is_none() => {
                self.make_root()?;
                beneath::open_root(&self.root)
            }
            result => result,
        };
        let folder = match folder {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Err(missing()),
            Err(error) => return Err(StorageError::new(self.root.to_path_buf(), error)),
        };
        let found = File::from(folder);
        let seen = found.metadata().map_err(|error| self.root_error(&error))?;
        let identity = (seen.dev(), seen.ino());
        if *self.root_identity.get_or_init(|| identity) == identity {
            Ok(found.into())
        } else {
            Err(missing())
        }
    }

    fn make_root(&self) -> Result<(), StorageError> {
        let new = self.root.ancestors().take_while(|path| !path.exists());
        let parents = new.filter_map(Path::parent).map(Path::to_path_buf).collect::<Vec<_>>();
        std::fs::create_dir_all(&self.root).map_err(|error| self.root_error(&error))?;
        self.changes().unsynced_folders.extend(parents);
        Ok(())
    }

    fn root_error(&self, error: &io::Error) -> StorageError {
        StorageError::new(self.root.to_path_buf(), errno(error))
    }

    pub(super) fn entry(&self, file: usize) -> Result<&FileEntry, StorageError> {
        let missing = || StorageError::Missing { path: self.root.to_path_buf() };
        if file == self.parts_index() {
            return Ok(self.parts_entry());
        }
        self.info.files().get(file).ok_or_else(missing)
    }

    fn open_to_read(&self, file: usize) -> Result<File, StorageError> {
        self.refuse_replaced(file)?;
        let path = self.safe_path(file)?;
        let root = self.root_folder(false)?;
        let opened = beneath::open(root.as_fd(), &path, OFlags::RDONLY, Mode::empty());
        let opened = opened.map_err(|errno| self.open_error(&path, errno))?;
        let (opened, found) = self.regular(opened, &path)?;
        self.mark(file, SEEN);
        self.has_length(file, found.len());
        Ok(opened)
    }

    fn open_to_write(&self, file: usize) -> Result<File, StorageError> {
        // One at a time: whoever finds a file that he did not make must know that nobody else did.
        let _turn = self.turn(file);
        self.refuse_replaced(file)?;
        let entry = self.entry(file)?;
        let path = self.safe_path(file)?;
        let root = self.root_folder(true)?;
        let mut is_there = self.is_marked(file, SEEN);
        for _ in 0..RACES_MAX {
            // What nobody saw is most likely not there: making it first saves a fruitless look for
            // each file of a large tree.
            if is_there {
                match beneath::open(root.as_fd(), &path, OFlags::RDWR, Mode::empty()) {
                    Ok(opened) => return self.existing(file, entry, opened),
                    // It was there, with data in it. An empty one in its place would be zeros that
                    // pass for pieces.
                    Err(Errno::NOENT) if self.is_marked(file, SEEN) => {
                        return Err(StorageError::Missing { path: self.file_path(file) });
                    }
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(self.open_error(&path, error)),
                }
            }
            match self.make_file(&root, file, entry, &path) {
                Err(Errno::EXIST) => is_there = true,
                Err(error) => return Err(self.open_error(&path, error)),
                Ok(made) => return Ok(made),
            }
        }
        Err(StorageError::new(self.file_path(file), Errno::BUSY))
    }

    /// Looks at a file that was there before, and refuses what nobody consented to.
    fn existing(
        &self,
        file: usize,
        entry: &FileEntry,
        opened: OwnedFd,
    ) -> Result<File, StorageError> {
        let (opened, found) = self.regular(opened, &*self.safe_path(file)?)?;
        self.refuse_shared(file, &found)?; // first: it is no stranger, but ours under another name
        if self.is_unknown(file) && holds_data(&opened, &found) {
            return Err(StorageError::Stranger { path: self.file_path(file) });
        }
        self.consent(file, entry, found.len(), found.nlink())?;
        self.refuse_cut(file, &opened)?;
        if found.len() > entry.length {
            let cut = opened.set_len(entry.length);
            cut.map_err(|error| StorageError::new(self.file_path(file), errno(&error)))?;
        }
        self.mark(file, SEEN);
        self.has_length(file, found.len());
        Ok(opened)
    }

    /// Whether an existing file of this length and this many names may be written.
    pub(super) fn consent(
        &self,
        file: usize,
        entry: &FileEntry,
        length: u64,
        links: u64,
    ) -> Result<(), StorageError> {
        if self.options.overwrite {
            return Ok(());
        }
        let path = || self.file_path(file);
        if length > entry.length {
            return Err(StorageError::Longer { path: path(), length, expected: entry.length });
        }
        // Whoever gave more names to a file that we made wants the same data under each.
        if links > 1 && !self.is_marked(file, OURS) {
            return Err(StorageError::HardLinked { path: path(), links });
        }
        Ok(())
    }

    fn make_file(
        &self,
        root: &OwnedFd,
        file: usize,
        entry: &FileEntry,
        path: &SafePath,
    ) -> Result<File, Errno> {
        let read_write =
            Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        let execute = Mode::XUSR | Mode::XGRP | Mode::XOTH;
        // The user's umask takes from these what he does not want to give.
        let mode = if entry.attributes.executable { read_write | execute } else { read_write };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mut first_new = None;
        let new = match beneath::open(root.as_fd(), path, flags, mode) {
            Err(Errno::NOENT) => {
                first_new = beneath::make_folders(root.as_fd(), path)?;
                beneath::open(root.as_fd(), path, flags, mode)
            }
            result => result,
        };
        let new = File::from(new?);
        self.folders_changed(path, first_new);
        if let Ok(made) = new.metadata() {
            self.changes().inodes.insert(made.ino(), file);
        }
        if let Err(error) = new.set_len(entry.length) {
            // Ours, new and empty: left behind it would pass for somebody's file.
            if let Ok((folder, name)) = beneath::folder_of(root.as_fd(), path) {
                let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
                let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty()); // the first error counts
            }
            return Err(errno(&error));
        }
        self.mark(file, SEEN | OURS);
        if let Ok(made) = new.metadata() {
            self.has_length(file, made.len()); // not every file system makes holes
        }
        Ok(new)
    }

    /// Remembers which folders have a new entry: the file's own, and from the first new one on the
    /// way down each.
    pub(crate) fn folders_changed(&self, path: &SafePath, first_new: Option<usize>) {
        let whole = path.under(&self.root);
        let depth = path.components().count();
        let new = depth - first_new.unwrap_or(depth - 1);
        let folders = whole.ancestors().skip(1).take(new).map(Path::to_path_buf);
        self.changes().unsynced_folders.extend(folders);
    }

    /// The opened thing if it is a regular file.
    fn regular(
        &self,
        opened: OwnedFd,
        path: &SafePath,
    ) -> Result<(File, std::fs::Metadata), StorageError> {
        let opened = File::from(opened);
        let path = || path.under(&self.root);
        let found = opened.metadata().map_err(|error| StorageError::new(path(), errno(&error)))?;
        if found.is_file() {
            return Ok((opened, found));
        }
        let found = if found.is_dir() { Obstacle::Folder } else { Obstacle::Special };
        Err(StorageError::InTheWay { path: path(), found })
    }

    /// Explains why a file would not open, by the component that is in the way if there is one.
    pub(super) fn open_error(&self, path: &SafePath, errno: Errno) -> StorageError {
        if !matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO) {
            return StorageError::new(path.under(&self.root), errno);
        }
        let mut at = self.root.to_path_buf();
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            at.push(std::os::unix::ffi::OsStrExt::from_bytes(component) as &std::ffi::OsStr);
            let Ok(found) = at.symlink_metadata() else { break };
            let last = components.peek().is_none();
            let found = match found.file_type() {
                kind if kind.is_symlink() => Obstacle::Symlink,
                kind if kind.is_dir() && !last => continue,
                kind if kind.is_file() && last => break,
                kind if kind.is_dir() => Obstacle::Folder,
                kind if kind.is_file() => Obstacle::File,
                _ => Obstacle::Special,
            };
            return StorageError::InTheWay { path: at, found };
        }
        StorageError::new(path.under(&self.root), errno)
    }
}

/// The error number of a standard library error; those that have none are about malformed paths.
pub(super) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error)
}
