//! Moving a torrent's files to another folder, and giving one another name: link or copy, verify,
//! let the record switch, delete. Until the switch the old place is live and whole; after it the new
//! one is. Nothing that exists is overwritten.
//!
//! Copies are made under numbers in a hidden folder of the new place that is named after the torrent,
//! so that what an interrupted move left behind is known as that and removed by the next.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use metainfo::{PathRules, SafePath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::FileStore;
use super::layout::seen;
use super::open::errno;
use crate::arrangement::Arrangement;
use crate::beneath;
use crate::error::StorageError;
use crate::record::FileSeen;

/// Bytes copied, or compared, at once.
const STEP_BYTES: usize = 1024 * 1024;

/// How far a move is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveProgress {
    /// Copied and verified, or linked.
    pub done_bytes: u64,
    /// To be moved.
    pub total_bytes: u64,
}

/// Something of the torrent that is on the disk.
struct Item {
    file: usize,
    found: Found,
}

/// What a path led to.
#[derive(Debug)]
struct Found {
    path: SafePath,
    /// What it is known by again. Its inode says nothing: it changes by itself on FAT, on network shares and
    /// where a layer is laid over another.
    as_moved: FileSeen,
}

/// What was moved: files as they were at the old place and as they are at the new one.
#[derive(Debug)]
#[must_use]
pub struct Moved {
    old: Vec<Found>,
    new: Vec<Found>,
}

impl FileStore {
    /// Puts all that is there of the torrent below the root of `to`, another place of the same torrent,
    /// and syncs it. What is here stays. On the same file system the files get a second name; else
    /// they are copied, and each copy is read back and compared.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when something is in the way; [`StorageError::Full`] before anything is
    /// copied when there is no room; [`StorageError::Cancelled`]. Then nothing is left at `to`.
    pub fn copy_to(
        &self,
        to: &Self,
        progress: &dyn Fn(MoveProgress),
        cancel: &AtomicBool,
    ) -> Result<Moved, StorageError> {
        let items = self.items()?;
        to.refuse_existing()?;
        let staging = Staging::begin(to)?;
        let total_bytes = items.iter().map(|item| item.found.as_moved.length).sum();
        let mut done_bytes = 0;
        let result = items.iter().try_for_each(|item| {
            staging.take(self, to, item, cancel, &mut |bytes| {
                done_bytes += bytes;
                progress(MoveProgress { done_bytes, total_bytes });
            })
        });
        let mut new = Vec::new();
        let result = result.and_then(|()| {
            items.iter().try_for_each(|item| {
                new.push(staging.place(to, item)?);
                Ok(())
            })
        });
        staging.end();
        if let Err(error) = result.and_then(|()| to.sync()) {
            to.remove(&new);
            return Err(error);
        }
        Ok(Moved { old: items.into_iter().map(|item| item.found).collect(), new })
    }

    /// Removes the files of this place that were moved, and the folders that are empty then. What can't
    /// be removed is left, and told, and so is what was changed or put there since.
    pub fn remove_old(&self, moved: &Moved) -> Vec<PathBuf> {
        self.close_files();
        self.remove(&moved.old)
    }

    /// Removes what was moved to this place, for a move that comes to nothing.
    pub fn remove_new(&self, moved: &Moved) {
        self.close_files();
        self.remove(&moved.new);
    }

    fn remove(&self, files: &[Found]) -> Vec<PathBuf> {
        let Ok(root) = self.root_folder(false) else { return Vec::new() };
        let mut left = Vec::new();
        for Found { path, as_moved } in files {
            let is_it = match beneath::look(root.as_fd(), path) {
                Err(Errno::NOENT) => continue,
                found => found.map(|found| seen(&found) == *as_moved),
            };
            let removed = is_it.and_then(|is_it| {
                let (folder, name) = beneath::folder_of(root.as_fd(), path)?;
                let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
                if is_it {
                    rustix::fs::unlinkat(folder, name, AtFlags::empty())
                } else {
                    Err(Errno::EXIST)
                }
            });
            if removed.is_err() {
                left.push(path.under(&self.root));
            }
            self.remove_empty_folders(path);
        }
        left
    }

    /// The folders of a path that have nothing in them, from the innermost on.
    fn remove_empty_folders(&self, path: &SafePath) {
        let Ok(root) = self.root_folder(false) else { return };
        let names: Vec<&[u8]> = path.components().collect();
        for depth in (1..names.len()).rev() {
            let of = names.get(..depth).unwrap_or_default();
            let Some(folder) = SafePath::new(of, PathRules::NATIVE) else { return };
            let removed = beneath::folder_of(root.as_fd(), &folder).and_then(|(above, name)| {
                let above = above.as_ref().map_or(root.as_fd(), AsFd::as_fd);
                rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)
            });
            if removed.is_err() {
                return; // something is in it
            }
            self.changes().unsynced_folders.remove(&folder.under(&self.root));
        }
    }

    /// What of the torrent is there: files, links, and the part store.
    fn items(&self) -> Result<Vec<Item>, StorageError> {
        let Some(root) = self.existing_root()? else { return Ok(Vec::new()) };
        let mut items = Vec::new();
        for file in 0..=self.parts_index() {
            let is_pad = self.info.files().get(file).is_some_and(|entry| entry.attributes.pad);
            let is_parts = file == self.parts_index();
            if is_pad || is_parts && !self.any_apart.load(Ordering::Acquire) {
                continue;
            }
            let Some(found) = self.look(&root, file)? else { continue };
            match beneath::kind(&found) {
                FileType::RegularFile | FileType::Symlink => {
                    let path = self.safe_path(file)?.into_owned();
                    items.push(Item { file, found: Found::new(path, &found) });
                }
                _ => {} // not ours
            }
        }
        Ok(items)
    }

    /// Refuses a place that has anything under a name of the torrent's, of a file that is not there yet
    /// as well: the torrent goes on here, and would write into it.
    fn refuse_existing(&self) -> Result<(), StorageError> {
        let Some(root) = self.existing_root()? else { return Ok(()) };
        for file in 0..=self.parts_index() {
            let is_pad = self.info.files().get(file).is_some_and(|entry| entry.attributes.pad);
            if !is_pad && self.look(&root, file)?.is_some() {
                return Err(StorageError::Exists { path: self.file_path(file) });
            }
        }
        Ok(())
    }

    /// Gives a file another name below the same root. `switch` makes the record know the new name, and
    /// is called while the file has both; when it fails the old one stays. A file that is not there
    /// yet will be made under the new name.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when something has the name already; what the disk or `switch` said.
    pub fn rename(
        &self,
        file: usize,
        name: &SafePath,
        arrangement: &mut Arrangement,
        switch: impl FnOnce(&Arrangement) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        // A sync that is under way would miss a folder that goes.
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.safe_path(file)?.into_owned();
        if before == *name {
            return Ok(());
        }
        let taken = || StorageError::Exists { path: name.under(&self.root) };
        let others = (0..self.parts_index()).filter(|other| *other != file);
        // Neither another file's name, nor a folder of one, nor below one as if it were a folder.
        for other in others {
            let other = self.safe_path(other)?;
            let shared = other.components().zip(name.components()).take_while(|(a, b)| a == b);
            if shared.count() == other.components().count().min(name.components().count()) {
                return Err(taken());
            }
        }
        let entry = self.entry(file)?;
        let mut next = arrangement.clone();
        next.names.insert(file, name.clone());
        if entry.path == *name {
            next.names.remove(&file);
        }
        let root = self.root_folder(true)?;
        let failed = |errno| self.open_error(name, errno);
        match beneath::look(root.as_fd(), name) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(taken()),
        }
        let is_there = match beneath::look(root.as_fd(), &before) {
            Ok(found) => beneath::kind(&found) == FileType::RegularFile,
            Err(_) => false,
        };
        if is_there {
            let first_new = beneath::make_folders(root.as_fd(), name).map_err(failed)?;
            let (old_folder, old_name) =
                beneath::folder_of(root.as_fd(), &before).map_err(failed)?;
            let (new_folder, new_name) = beneath::folder_of(root.as_fd(), name).map_err(failed)?;
            let old = old_folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
            let new = new_folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
            let has_both = match rustix::fs::linkat(old, old_name, new, new_name, AtFlags::empty())
            {
                Ok(()) => true,
                // No second names on this file system: the switch is a moment later, then.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                    let flags = RenameFlags::NOREPLACE;
                    rustix::fs::renameat_with(old, old_name, new, new_name, flags)
                        .map_err(failed)?;
                    false
                }
                Err(error) => return Err(failed(error)),
            };
            self.folders_changed(name, first_new);
            self.sync_folder(name.under(&self.root).parent().unwrap_or(&self.root).into())?;
            if let Err(error) = switch(&next) {
                let _ = if has_both {
                    rustix::fs::unlinkat(new, new_name, AtFlags::empty())
                } else {
                    rustix::fs::renameat_with(new, new_name, old, old_name, RenameFlags::NOREPLACE)
                };
                return Err(error);
            }
            if has_both {
                rustix::fs::unlinkat(old, old_name, AtFlags::empty())
                    .map_err(|errno| self.open_error(&before, errno))?;
            }
        } else {
            switch(&next)?;
        }
        self.set_names(&next.names);
        self.remove_empty_folders(&before);
        *arrangement = next;
        Ok(())
    }
}

/// The hidden folder that copies are made in.
struct Staging {
    path: PathBuf,
}

impl Staging {
    /// Begins with an empty one: what is in it is of a move that was interrupted.
    fn begin(to: &FileStore) -> Result<Self, StorageError> {
        drop(to.root_folder(true)?);
        let path = to.root.join(format!(".peerless-{}.moving", to.info.info_hash()));
        let failed = |error: io::Error| StorageError::new(path.clone(), errno(&error));
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path).map_err(failed)?,
            Ok(_) => return Err(StorageError::Exists { path }),
            Err(_) => {}
        }
        fs::create_dir(&path).map_err(failed)?;
        Ok(Self { path })
    }

    fn at(&self, item: &Item) -> PathBuf {
        self.path.join(item.file.to_string())
    }

    /// A second name for a file, or a copy of it that was read back.
    fn take(
        &self,
        from: &FileStore,
        to: &FileStore,
        item: &Item,
        cancel: &AtomicBool,
        done: &mut dyn FnMut(u64),
    ) -> Result<(), StorageError> {
        let source_path = item.found.path.under(&from.root);
        let target_path = self.at(item);
        let at_target = |error: io::Error| StorageError::new(target_path.clone(), errno(&error));
        let root = from.root_folder(false)?;
        let failed = |errno| from.open_error(&item.found.path, errno);
        let (folder, name) = beneath::folder_of(root.as_fd(), &item.found.path).map_err(failed)?;
        let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        let linked =
            rustix::fs::linkat(folder, name, rustix::fs::CWD, &target_path, AtFlags::empty());
        if linked.is_ok() {
            done(item.found.as_moved.length);
            return Ok(());
        }
        let opened = beneath::open(root.as_fd(), &item.found.path, OFlags::RDONLY, Mode::empty());
        let source = match opened {
            Err(Errno::LOOP) => {
                let leads_to = fs::read_link(&source_path)
                    .map_err(|error| StorageError::new(source_path.clone(), errno(&error)))?;
                return std::os::unix::fs::symlink(leads_to, &target_path).map_err(at_target);
            }
            opened => File::from(opened.map_err(failed)?),
        };
        let at_source =
            |error: io::Error| StorageError::on_open_file(source_path.clone(), errno(&error));
        let found = source.metadata().map_err(at_source)?;
        to.refuse_full(&target_path, found.blocks().saturating_mul(512))?;
        let copy = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&target_path)
            .map_err(at_target)?;
        copy.set_len(found.len()).map_err(at_target)?;
        copy.set_permissions(found.permissions()).map_err(at_target)?;
        for data in super::extents::extents(&source, found.len()) {
            let (mut at, end) = (data.start, data.end);
            let mut buffer = vec![0; STEP_BYTES];
            while at < end {
                if cancel.load(Ordering::Relaxed) {
                    return Err(StorageError::Cancelled);
                }
                let step = (end - at).min(STEP_BYTES as u64) as usize;
                let bytes = buffer.get_mut(..step).unwrap_or_default();
                source.read_exact_at(bytes, at).map_err(at_source)?;
                copy.write_all_at(bytes, at).map_err(at_target)?;
                at += step as u64;
            }
        }
        copy.sync_all().map_err(at_target)?;
        // From the disk, not out of memory, where the kernel can be asked for that.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&copy, 0, None, rustix::fs::Advice::DontNeed);
        compare(&source, &copy, found.len(), cancel, done)
            .map_err(|error| match errno(&error) {
                Errno::CANCELED => StorageError::Cancelled,
                _ => at_target(error),
            })?
            .then_some(())
            .ok_or_else(|| StorageError::CopyDiffers { path: target_path.clone() })?;
        // With its time the file is the one that the record knows.
        copy.set_modified(found.modified().map_err(at_source)?).map_err(at_target)
    }

    /// From its number to its name, where nothing may be.
    fn place(&self, to: &FileStore, item: &Item) -> Result<Found, StorageError> {
        let root = to.root_folder(false)?;
        let failed = |errno| match errno {
            Errno::EXIST => StorageError::Exists { path: item.found.path.under(&to.root) },
            errno => to.open_error(&item.found.path, errno),
        };
        let first_new = beneath::make_folders(root.as_fd(), &item.found.path).map_err(failed)?;
        let (folder, name) = beneath::folder_of(root.as_fd(), &item.found.path).map_err(failed)?;
        let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        let staged = self.at(item);
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(rustix::fs::CWD, &staged, folder, name, flags) {
            // File systems that can't promise not to replace: it was looked for, and is linked.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(rustix::fs::CWD, &staged, folder, name, AtFlags::empty())
                    .map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        to.folders_changed(&item.found.path, first_new);
        let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        Ok(Found::new(item.found.path.clone(), &found))
    }

    fn end(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "can't be removed");
        }
    }
}

impl Found {
    fn new(path: SafePath, found: &Stat) -> Self {
        Self { path, as_moved: seen(found) }
    }
}

impl FileStore {
    /// Refuses before a copy is begun that there is no room for.
    fn refuse_full(&self, path: &Path, bytes: u64) -> Result<(), StorageError> {
        let failed = |errno| StorageError::new(self.root.to_path_buf(), errno);
        let system = rustix::fs::statvfs(&*self.root).map_err(failed)?;
        if system.f_bavail.saturating_mul(system.f_frsize) < bytes {
            return Err(StorageError::Full { path: path.into() });
        }
        Ok(())
    }
}

/// Whether two files have the same bytes.
fn compare(
    one: &File,
    other: &File,
    length: u64,
    cancel: &AtomicBool,
    done: &mut dyn FnMut(u64),
) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    let mut at = 0;
    while at < length {
        if cancel.load(Ordering::Relaxed) {
            return Err(Errno::CANCELED.into());
        }
        let step = (length - at).min(STEP_BYTES as u64) as usize;
        let (a, b) = (a.get_mut(..step).unwrap_or_default(), b.get_mut(..step).unwrap_or_default());
        one.read_exact_at(a, at)?;
        other.read_exact_at(b, at)?;
        if a != b {
            return Ok(false);
        }
        at += step as u64;
        done(step as u64);
    }
    Ok(true)
}
