//! Files that are on the disk already, in another folder or of another torrent: whoever has the length
//! and the hashes of a file that is missing is taken for it, by a reflink where the file system has
//! them (FICLONE: no byte is copied, and a write to one is not seen in the other), else by a copy.
//! Never by a hard link: a later write would go through it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metainfo::Info;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use crate::beneath;
use crate::store::FileStore;

/// Files looked at below the folders; a whole disk is not meant.
const LOOKED_AT_MAX: usize = 1_000_000;
/// Folders in one another.
const DEPTH_MAX: usize = 32;
/// Files of one length that are hashed for one that is missing.
const CANDIDATES_MAX: usize = 16;
/// Bytes copied at once.
const STEP_BYTES: usize = 1024 * 1024;

/// A file that was taken from somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reused {
    /// Its number in the torrent.
    pub file: usize,
    /// Where its data came from.
    pub from: PathBuf,
    /// It shares its blocks with the other file until one of them is written.
    pub is_reflink: bool,
}

/// Finds the torrent's missing files below `folders`, by length and by the hash of every piece that lies
/// in them whole, and puts copies of them in their places. A file without such a piece can't be told
/// from others and is left to be fetched. What is there already is not touched, and what was found is
/// only read. The pieces are to be hashed once more in their places. What can't be read is passed over.
pub fn reuse(store: &Arc<FileStore>, folders: &[PathBuf], cancel: &AtomicBool) -> Vec<Reused> {
    let info = store.info();
    let missing: Vec<usize> = (0..info.files().len())
        .filter(|file| whole_pieces(info, *file).next().is_some() && store.is_missing(*file))
        .collect();
    let mut by_length: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for length in missing.iter().filter_map(|file| info.files().get(*file)) {
        by_length.entry(length.length).or_default();
    }
    if by_length.is_empty() {
        return Vec::new();
    }
    let mut looked_at = 0;
    folders.iter().for_each(|folder| walk(folder, 0, &mut looked_at, &mut by_length));
    let mut reused = Vec::new();
    for file in missing {
        let Some(entry) = info.files().get(file) else { continue };
        for from in by_length.get(&entry.length).into_iter().flatten().take(CANDIDATES_MAX) {
            if cancel.load(Ordering::Relaxed) {
                return reused;
            }
            let Some(source) = open(from).filter(|source| is_it(info, file, source)) else {
                continue;
            };
            match store.take_copy(file, &source) {
                Ok(is_reflink) => {
                    reused.push(Reused { file, from: from.clone(), is_reflink });
                    break;
                }
                Err(error) => {
                    tracing::warn!(from = %from.display(), %error, "can't be taken over");
                }
            }
        }
    }
    reused
}

/// The pieces of which the file has all bytes, and where in it they begin.
fn whole_pieces(info: &Info, file: usize) -> impl Iterator<Item = (u32, u64)> + use<'_> {
    let geometry = info.geometry();
    let entry = info.files().get(file).filter(|entry| !entry.attributes.pad);
    let pieces = info.pieces_of_file(file);
    pieces.filter_map(move |piece| {
        let (start, size) = (geometry.piece_offset(piece), geometry.piece_size(piece));
        let at = start.checked_sub(entry?.offset)?;
        (start + u64::from(size) <= entry?.end()).then_some((piece, at))
    })
}

/// Links are not followed: they may lead round in circles, or anywhere.
fn walk(
    folder: &Path,
    depth: usize,
    looked_at: &mut usize,
    by_length: &mut BTreeMap<u64, Vec<PathBuf>>,
) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        *looked_at += 1;
        if *looked_at > LOOKED_AT_MAX {
            return;
        }
        let Ok(found) = path.symlink_metadata() else { continue };
        if found.is_dir() && depth < DEPTH_MAX {
            walk(&path, depth + 1, looked_at, by_length);
        } else if found.is_file()
            && let Some(paths) = by_length.get_mut(&found.len())
        {
            paths.push(path);
        }
    }
}

/// A regular file, to read.
fn open(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
}

/// Whether every piece that lies whole in the file has its hash in this one.
fn is_it(info: &Info, file: usize, source: &File) -> bool {
    let mut buffer = Vec::new();
    whole_pieces(info, file).all(|(piece, at)| {
        buffer.resize(info.geometry().piece_size(piece) as usize, 0);
        source.read_exact_at(&mut buffer, at).is_ok()
            && info.piece_hash(piece) == Some(digest::sha1(&[&buffer]))
    })
}

impl FileStore {
    /// Whether a wanted file is not on the disk.
    fn is_missing(&self, file: usize) -> bool {
        !self.is_unwanted(file) && self.file_path(file).symlink_metadata().is_err()
    }

    /// Puts a copy of `source` in the place of a file that is not there. True when it is a reflink.
    fn take_copy(&self, file: usize, source: &File) -> io::Result<bool> {
        let path = self.safe_path(file).map_err(io::Error::other)?;
        let root = self.root_folder(true).map_err(io::Error::other)?;
        let first_new = beneath::make_folders(root.as_fd(), &path)?;
        let (folder, name) = beneath::folder_of(root.as_fd(), &path)?;
        let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        // Under a name of ours until it is whole: half a copy must not pass for a download.
        let staged = format!(".peerless-{}-{file}.reuse", self.info().info_hash());
        let _ = rustix::fs::unlinkat(folder, &*staged, AtFlags::empty()); // an interrupted run's
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        let copy = File::from(rustix::fs::openat(folder, &*staged, flags, mode)?);
        let filled = clone_or_copy(source, &copy).and_then(|is_reflink| {
            copy.sync_all()?;
            rustix::fs::renameat_with(folder, &*staged, folder, name, RenameFlags::NOREPLACE)?;
            Ok(is_reflink)
        });
        if filled.is_err() {
            let _ = rustix::fs::unlinkat(folder, &*staged, AtFlags::empty()); // the first error counts
        } else {
            self.folders_changed(&path, first_new);
        }
        filled
    }
}

fn clone_or_copy(source: &File, copy: &File) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    if rustix::fs::ioctl_ficlone(copy, source).is_ok() {
        return Ok(true);
    }
    let length = source.metadata()?.len();
    let mut buffer = vec![0; STEP_BYTES];
    let mut at = 0;
    while at < length {
        let step = (length - at).min(STEP_BYTES as u64) as usize;
        let bytes = buffer.get_mut(..step).unwrap_or_default();
        source.read_exact_at(bytes, at)?;
        copy.write_all_at(bytes, at)?;
        at += step as u64;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{Sample, file};

    const KIB: usize = 1024;

    fn sample() -> Sample {
        Sample::new(&[file("a", 100 * KIB), file("b", 3 * KIB), file("c", 70 * KIB)], 16 * KIB)
    }

    #[test]
    fn the_right_file_is_taken_whatever_its_name_and_never_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let sample = sample();
        let deep = other.path().join("x/y");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("renamed"), sample.file(0)).unwrap();
        let mut wrong = sample.file(2).to_vec();
        wrong[30 * KIB] ^= 1;
        fs::write(other.path().join("c"), &wrong).unwrap(); // its length, and not its bytes
        std::os::unix::fs::symlink(other.path(), deep.join("circle")).unwrap();
        let store = sample.open(dir.path());
        let folders = [other.path().to_path_buf(), "/no/such/folder".into()];
        let found = reuse(&store, &folders, &AtomicBool::new(false));
        let found: Vec<_> = found.into_iter().map(|it| (it.file, it.from)).collect();
        assert_eq!(found, [(0, deep.join("renamed"))]);
        assert_eq!(fs::read(store.file_path(0)).unwrap(), sample.file(0));
        let names: Vec<_> = fs::read_dir(dir.path().join("t")).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else was made");
        // A write into the copy leaves what it came from alone.
        fs::write(deep.join("renamed"), vec![7; 100 * KIB]).unwrap();
        assert_eq!(fs::read(store.file_path(0)).unwrap(), sample.file(0));
        sample.write_all(&store);
        assert_eq!(fs::read(deep.join("renamed")).unwrap(), vec![7; 100 * KIB]);
        assert_eq!(fs::read(other.path().join("c")).unwrap(), wrong);
    }

    #[test]
    fn what_is_there_or_not_wanted_or_in_the_way_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let sample = sample();
        for file in [0, 2] {
            fs::write(other.path().join(file.to_string()), sample.file(file)).unwrap();
        }
        let store = sample.open(dir.path());
        let mut arrangement = crate::Arrangement::default();
        arrangement.choose(&[true, true, false]);
        store.arrange(&arrangement);
        fs::create_dir(dir.path().join("t")).unwrap();
        fs::write(store.file_path(0), b"mine").unwrap();
        assert_eq!(reuse(&store, &[other.path().into()], &AtomicBool::new(false)), []);
        assert_eq!(fs::read(store.file_path(0)).unwrap(), b"mine");
        assert!(!store.file_path(2).exists());
    }
}
