//! A download folder, looked up once for all the torrents that are opened in it together.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::errno;
use crate::beneath;
use crate::error::{Obstacle, StorageError};
use crate::mount::Mount;

/// A download folder as it was found. It may not exist yet. Keeps it open, and with it the volume
/// it is on: not for long.
#[derive(Debug)]
pub struct Root {
    path: Arc<Path>,
    /// The device and the mount it is on, or will be.
    pub(super) device: u64,
    pub(super) mount: Mount,
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    folder: OwnedFd,
    identity: (u64, u64),
}

impl Root {
    /// Resolves the links on the way to a folder, as far as it exists.
    ///
    /// # Errors
    /// When it is not a folder or can't be looked at.
    pub fn find(path: &Path) -> Result<Self, StorageError> {
        let failed = |path: &Path, error: &io::Error| StorageError::new(path.into(), errno(error));
        let absolute = std::path::absolute(path).map_err(|error| failed(path, &error))?;
        let mut existing = absolute.as_path();
        loop {
            match existing.canonicalize() {
                Ok(real) => {
                    let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
                    return Self::below(real, rest);
                }
                // Its target may be on a volume that is not there: nothing is made beside it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && existing.is_symlink() => {
                    let (path, found) = (existing.to_path_buf(), Obstacle::DeadLink);
                    return Err(StorageError::InTheWay { path, found });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match existing.parent() {
                    Some(parent) => existing = parent,
                    None => return Err(failed(path, &error)),
                },
                Err(error) => return Err(failed(existing, &error)),
            }
        }
    }

    /// One that a record names, to know where its files would be: looks at nothing, so that it waits for no
    /// disk. Not for opening files.
    pub fn as_recorded(path: &Arc<Path>) -> Self {
        Self { path: Arc::clone(path), device: 0, mount: Mount::unknown(), found: None }
    }

    /// `rest` is the part of its path that is not there.
    fn below(real: PathBuf, rest: &Path) -> Result<Self, StorageError> {
        let failed = |error: io::Error| StorageError::new(real.clone(), errno(&error));
        let seen = real.metadata().map_err(failed)?;
        if !seen.is_dir() {
            return Err(StorageError::InTheWay { path: real, found: Obstacle::File });
        }
        let folder =
            beneath::open_root(&real).map_err(|error| StorageError::new(real.clone(), error))?;
        let mount = Mount::of(&folder);
        if !rest.as_os_str().is_empty() {
            let path = real.join(rest).into();
            return Ok(Self { path, device: seen.dev(), mount, found: None });
        }
        let folder = File::from(folder);
        let seen = folder.metadata().map_err(failed)?;
        let identity = (seen.dev(), seen.ino());
        let found = Some(Found { folder: folder.into(), identity });
        Ok(Self { path: real.into(), device: seen.dev(), mount, found })
    }

    /// Absolute, and with the links on the way to it resolved where it exists.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Device and inode; `None` when it does not exist.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.found.as_ref().map(|found| found.identity)
    }

    /// The folder, to start from.
    pub(super) fn folder(&self) -> Option<BorrowedFd<'_>> {
        self.found.as_ref().map(|found| found.folder.as_fd())
    }
}
