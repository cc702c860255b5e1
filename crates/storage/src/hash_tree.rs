//! From files to the piece hashes of a new .torrent (BEP 3, 47, 52).
//!
//! [`Payload::walk`] lists what is there, [`Payload::hash`] reads it with all cores. Between the
//! two the caller chooses the piece length. What changes while it is hashed is an error: the
//! torrent would describe files that never were.

mod hashing;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use metainfo::{Format, MerkleHash};

use crate::check::CheckProgress;

/// Why files can't become a torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashTreeError {
    /// A file or folder can't be read.
    #[error("can't read {path}: {error}", path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it was when the walk met it.
    #[error("{path} changed while it was being hashed; try again when it is at rest", path = path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// There are no files in the folder.
    #[error("there are no files in {path}", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Neither a file nor a folder.
    #[error("{path} is neither a file nor a folder", path = path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The path has no last component, as `/`.
    #[error("{path} has no name to give to the torrent", path = path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// A piece length of zero, one that makes more than 2^32 pieces, or one that v2 can't have.
    #[error("a piece length of {0} bytes does not fit these files")]
    PieceLength(u32),
    /// The caller ended it.
    #[error("hashing was cancelled")]
    Cancelled,
}

/// Files that are to become a torrent.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The name of the file or folder.
    pub name: Vec<u8>,
    /// Whether the payload is one file rather than a folder.
    pub is_single_file: bool,
    /// The files in the order of their bytes: sorted by path, byte by byte.
    pub files: Vec<PayloadFile>,
    /// What was left out: devices, pipes, sockets, and symbolic links that were not wanted or lead out
    /// of the folder.
    pub skipped: Vec<PathBuf>,
}

/// What becomes of symbolic links below a folder. None is ever followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// They are left out: few clients make any.
    #[default]
    Skip,
    /// The torrent has those that stay in the folder as links (BEP 47).
    Keep,
}

/// One file of a payload.
#[derive(Debug, Clone)]
pub struct PayloadFile {
    /// Names below the payload's own, outermost first; empty when the payload is this file.
    pub components: Vec<Vec<u8>>,
    /// Bytes.
    pub length: u64,
    /// Its owner may execute it (BEP 47).
    pub executable: bool,
    /// Where a symbolic link leads: names below the payload's own (BEP 47). Its length is zero.
    pub symlink_target: Option<Vec<Vec<u8>>>,
    path: PathBuf,
    modified: Option<SystemTime>,
}

impl PayloadFile {
    fn new(path: PathBuf, components: Vec<Vec<u8>>, found: &Metadata) -> Self {
        let executable = found.mode() & 0o100 != 0;
        let modified = found.modified().ok();
        let length = found.len();
        Self { components, length, executable, symlink_target: None, path, modified }
    }

    /// A symbolic link; `None` when it leads out of the folder, even if it comes back.
    fn link(path: PathBuf, components: Vec<Vec<u8>>, found: &Metadata) -> Option<Self> {
        let target = fs::read_link(&path).ok()?;
        let mut to = components.split_last()?.1.to_vec();
        for part in target.components() {
            match part {
                Component::Normal(name) => to.push(name.as_bytes().to_vec()),
                Component::ParentDir => drop(to.pop()?),
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        let target = Some(to).filter(|to| !to.is_empty())?;
        let file = Self::new(path, components, found);
        Some(Self { length: 0, symlink_target: Some(target), ..file })
    }

    fn is_unchanged(&self, found: &Metadata) -> bool {
        found.len() == self.length && found.modified().ok() == self.modified
    }

    fn open(&self) -> Result<File, HashTreeError> {
        let opened = File::open(&self.path).map_err(|error| self.unreadable(error))?;
        let found = opened.metadata().map_err(|error| self.unreadable(error))?;
        if self.is_unchanged(&found) { Ok(opened) } else { Err(self.changed()) }
    }

    fn changed(&self) -> HashTreeError {
        HashTreeError::Changed { path: self.path.clone() }
    }

    fn unreadable(&self, error: io::Error) -> HashTreeError {
        HashTreeError::Unreadable { path: self.path.clone(), error }
    }
}

impl Payload {
    /// Lists a file, or all files below a folder. `path` itself may be a symbolic link.
    ///
    /// # Errors
    /// What can't be read, by name: a torrent that silently lacks a file is worse than none.
    pub fn walk(path: &Path, symlinks: Symlinks) -> Result<Self, HashTreeError> {
        let unreadable = |error| HashTreeError::Unreadable { path: path.to_path_buf(), error };
        let found = fs::metadata(path).map_err(unreadable)?;
        let whole = match path.file_name() {
            Some(_) => path.to_path_buf(),
            None => path.canonicalize().map_err(unreadable)?, // as of `.` and `..`
        };
        let name = whole.file_name().map(|name| name.as_bytes().to_vec());
        let name = name.ok_or_else(|| HashTreeError::NoName { path: path.to_path_buf() })?;
        let mut payload =
            Self { name, is_single_file: found.is_file(), files: Vec::new(), skipped: Vec::new() };
        if found.is_file() {
            payload.files.push(PayloadFile::new(path.to_path_buf(), Vec::new(), &found));
        } else if found.is_dir() {
            payload.walk_folder(path, symlinks)?;
            if payload.files.is_empty() {
                return Err(HashTreeError::Empty { path: path.to_path_buf() });
            }
        } else {
            return Err(HashTreeError::NotAFile { path: path.to_path_buf() });
        }
        payload.files.sort_by(|a, b| a.components.cmp(&b.components));
        payload.skipped.sort();
        Ok(payload)
    }

    fn walk_folder(&mut self, root: &Path, symlinks: Symlinks) -> Result<(), HashTreeError> {
        let mut folders = vec![(root.to_path_buf(), Vec::new())];
        while let Some((folder, components)) = folders.pop() {
            let unreadable = |error| HashTreeError::Unreadable { path: folder.clone(), error };
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                // Of the entry itself: a link is not followed.
                let found = entry
                    .metadata()
                    .map_err(|error| HashTreeError::Unreadable { path: path.clone(), error })?;
                let mut components: Vec<Vec<u8>> = components.clone();
                components.push(entry.file_name().as_bytes().to_vec());
                if found.is_dir() {
                    folders.push((path, components));
                } else if found.is_file() {
                    self.files.push(PayloadFile::new(path, components, &found));
                } else {
                    let keep = found.is_symlink() && symlinks == Symlinks::Keep;
                    let link = keep.then(|| PayloadFile::link(path.clone(), components, &found));
                    match link.flatten() {
                        Some(link) => self.files.push(link),
                        None => self.skipped.push(path),
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub fn total_length(&self) -> u64 {
        self.files.iter().fold(0, |total, file| total.saturating_add(file.length))
    }

    /// The hashes of its pieces, from one reading of the data. `progress` is called from several
    /// threads.
    ///
    /// # Errors
    /// The first file that can't be read or is changing.
    pub fn hash(
        &self,
        format: Format,
        piece_length: u32,
        progress: &(dyn Fn(CheckProgress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<PayloadHashes, HashTreeError> {
        let hashes = hashing::hash(self, format, piece_length, progress, cancel)?;
        // A file may have changed after its last piece was read and before the others' were.
        for file in self.files.iter().filter(|file| file.symlink_target.is_none()) {
            let found = fs::metadata(&file.path).map_err(|error| file.unreadable(error))?;
            if !file.is_unchanged(&found) {
                return Err(file.changed());
            }
        }
        Ok(hashes)
    }
}

/// The hashes of a payload's pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadHashes {
    /// The SHA-1 of each piece, one after the other; none in a torrent that is v2 only.
    pub v1: Vec<u8>,
    /// For each file, the hash over each of its pieces (BEP 52); none in a v1 torrent.
    pub v2: Vec<Vec<MerkleHash>>,
}

#[cfg(test)]
mod tests;
