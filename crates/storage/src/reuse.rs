//! Files that are on the disk already, in another folder or of another torrent: whoever has the length
//! and the hashes of a file that is missing is taken for it, by a reflink where the file system has
//! them (FICLONE: no byte is copied, and a write to one is not seen in the other), else by a copy.
//! Never by a hard link: a later write would go through it, ours or that of whoever else has the file.
//! Where to look is said by a person, or by what torrents hint at (BEP 38, 52); what is there is read
//! and hashed, whoever said so.

use std::collections::{BTreeMap, HashSet};
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
use crate::file_layer::layer_of;
use crate::shelf::Source;
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

/// Where to look, and how to say how far it is.
pub struct Search<'a> {
    /// Folders in which any file may be the one.
    pub folders: &'a [PathBuf],
    /// Files that may be.
    pub sources: Vec<Source>,
    /// Ends it early.
    pub cancel: &'a AtomicBool,
    /// Bytes looked at and copied, and those of all files that are missing.
    pub progress: &'a dyn Fn(u64, u64),
}

/// Finds the files `missing` of the torrent, by length and by hashes, and puts copies of them in their
/// places. A v2 file has to have its root; of another every piece that lies in it whole is compared, and
/// one without such a piece can't be told from others and is left to be fetched. What is there already
/// or not wanted is not touched, and what was found is only read. The pieces are to be hashed once more
/// in their places. What can't be read is passed over.
pub fn reuse(store: &Arc<FileStore>, missing: &[usize], search: Search<'_>) -> Vec<Reused> {
    let info = store.info();
    let can_be_told = |file: &usize| {
        let entry = info.files().get(*file);
        let has_root = entry.is_some_and(|entry| entry.root.is_some());
        (has_root || whole_pieces(info, *file).next().is_some()) && store.is_missing(*file)
    };
    let missing: Vec<usize> = missing.iter().copied().filter(can_be_told).collect();
    let length = |file: &usize| info.files().get(*file).map_or(0, |entry| entry.length);
    let mut by_length: BTreeMap<u64, Vec<Source>> = BTreeMap::new();
    for length in missing.iter().map(length) {
        by_length.entry(length).or_default();
    }
    if by_length.is_empty() {
        return Vec::new();
    }
    let mut known = HashSet::new();
    for source in search.sources {
        if let Some(sources) = by_length.get_mut(&source.length)
            && known.insert(source.path.clone())
        {
            sources.push(source);
        }
    }
    let mut looked_at = 0;
    search.folders.iter().for_each(|folder| walk(folder, 0, &mut looked_at, &mut by_length));
    let total = missing.iter().map(length).sum();
    let (mut reused, mut done) = (Vec::new(), 0);
    for file in missing {
        let sources = by_length.get(&length(&file)).into_iter().flatten();
        for source in candidates(info, file, sources) {
            if search.cancel.load(Ordering::Relaxed) {
                return reused;
            }
            let progress = |bytes: u64| (search.progress)(done + bytes / 2, total);
            let taken = open(&source.path).and_then(|from| {
                let is_it = store.is_it(file, &from, search.cancel, &progress)?;
                let progress =
                    |bytes: u64| (search.progress)(done + length(&file).midpoint(bytes), total);
                is_it.then(|| store.take_copy(file, &from, search.cancel, &progress)).transpose()
            });
            match taken {
                Ok(Some(is_reflink)) => {
                    reused.push(Reused { file, from: source.path.clone(), is_reflink });
                    break;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::info!(from = %source.path.display(), %error, "can't be taken over");
                }
            }
        }
        done += length(&file);
    }
    reused
}

/// Those of the file's length, those of its root first, and none that is known to be another file.
fn candidates<'a>(
    info: &Info,
    file: usize,
    sources: impl Iterator<Item = &'a Source> + Clone,
) -> impl Iterator<Item = &'a Source> {
    let root = info.files().get(file).and_then(|entry| entry.root);
    let is_same = move |source: &&Source| root.is_some() && source.root == root;
    let may_be = move |source: &&Source| root.is_none() || source.root.is_none();
    sources.clone().filter(is_same).chain(sources.filter(may_be)).take(CANDIDATES_MAX)
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
    by_length: &mut BTreeMap<u64, Vec<Source>>,
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
            && let Some(sources) = by_length.get_mut(&found.len())
        {
            sources.push(Source { path, length: found.len(), root: None });
        }
    }
}

/// A regular file, to read.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

impl FileStore {
    /// Whether a wanted file is not on the disk.
    fn is_missing(&self, file: usize) -> bool {
        !self.is_unwanted(file) && self.file_path(file).symlink_metadata().is_err()
    }

    /// Whether this is the torrent's file, as far as hashes tell. A v2 file's layer is known then.
    fn is_it(
        &self,
        file: usize,
        source: &File,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64),
    ) -> io::Result<bool> {
        let info = self.info();
        if let Some(root) = info.files().get(file).and_then(|entry| entry.root) {
            let layer = layer_of(info, file, source, cancel, progress)?;
            if let Some(layer) = layer.as_ref().filter(|layer| layer.len() > 1) {
                self.add_layer(root, layer);
            }
            return Ok(layer.is_some());
        }
        let mut buffer = Vec::new();
        for (piece, at) in whole_pieces(info, file) {
            buffer.resize(info.geometry().piece_size(piece) as usize, 0);
            source.read_exact_at(&mut buffer, at)?;
            let is_good = info.piece_hash(piece) == Some(digest::sha1(&[&buffer]));
            if !is_good || cancel.load(Ordering::Relaxed) {
                return Ok(false);
            }
            progress(at + buffer.len() as u64);
        }
        Ok(true)
    }

    /// Puts a copy of `source` in the place of a file that is not there. True when it is a reflink.
    fn take_copy(
        &self,
        file: usize,
        source: &File,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64),
    ) -> io::Result<bool> {
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
        let filled = clone_or_copy(source, &copy, cancel, progress).and_then(|is_reflink| {
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

fn clone_or_copy(
    source: &File,
    copy: &File,
    cancel: &AtomicBool,
    progress: &dyn Fn(u64),
) -> io::Result<bool> {
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
        progress(at);
        if cancel.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{Sample, file};
    use crate::store::testing_v2::SampleV2;

    const KIB: usize = 1024;

    fn sample() -> Sample {
        Sample::new(&[file("a", 100 * KIB), file("b", 3 * KIB), file("c", 70 * KIB)], 16 * KIB)
    }

    fn found(store: &Arc<FileStore>, folders: &[PathBuf], sources: &[Source]) -> Vec<Reused> {
        let all: Vec<usize> = (0..store.info().files().len()).collect();
        let (sources, cancel) = (sources.to_vec(), AtomicBool::new(false));
        let progress = |done, total| assert!(done <= total, "{done} of {total}");
        reuse(store, &all, Search { folders, sources, cancel: &cancel, progress: &progress })
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
        let found = found(&store, &folders, &[]);
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
        assert_eq!(found(&store, &[other.path().into()], &[]), []);
        assert_eq!(fs::read(store.file_path(0)).unwrap(), b"mine");
        assert!(!store.file_path(2).exists());
    }

    /// A v2 file is known by its root, whatever its last piece is, and its layer with it.
    #[test]
    fn a_v2_file_is_found_by_its_root_and_brings_its_layer() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sample = SampleV2::new(&[40 * KIB, 5 * KIB, 33 * KIB], 16 * KIB, false);
        let bytes = |file: usize| {
            let pieces = sample.torrent.info.pieces_of_file(file);
            pieces.flat_map(|piece| sample.piece(piece).to_vec()).collect::<Vec<u8>>()
        };
        let put = |name: &str, bytes: &[u8], root: Option<[u8; 32]>| {
            let path = other.path().join(name);
            fs::write(&path, bytes).unwrap();
            Source { path, length: bytes.len() as u64, root }
        };
        let root = |file: usize| sample.torrent.info.files()[file].root;
        let mut spoilt = bytes(2);
        spoilt[32 * KIB] ^= 1;
        let sources = [
            put("other", &bytes(0), Some([9; 32])), // a record says that it is another
            put("one", &bytes(1), None),
            put("lie", &spoilt, root(2)), // a record lies
            put("two", &bytes(2), root(2)),
        ];
        let store = sample.open(dir.path());
        store.set_layers(Arc::default());
        let taken: Vec<_> =
            found(&store, &[], &sources).into_iter().map(|it| (it.file, it.from)).collect();
        let at = |name: &str| other.path().join(name);
        assert_eq!(taken, [(1, at("one")), (2, at("two"))]);
        assert_eq!(fs::read(store.file_path(2)).unwrap(), bytes(2));
        let info = store.info();
        assert!(
            store.layers().of_file(info, 2).is_some() && store.layers().of_file(info, 0).is_none()
        );
        assert_eq!(fs::read(at("lie")).unwrap(), spoilt);
    }

    #[test]
    fn a_copy_that_is_ended_early_leaves_nothing() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sample = sample();
        fs::write(other.path().join("a"), sample.file(0)).unwrap();
        let (store, cancel) = (sample.open(dir.path()), AtomicBool::new(false));
        let stop = |_, _| cancel.store(true, Ordering::Relaxed);
        let folders = [other.path().to_path_buf()];
        let search =
            Search { folders: &folders, sources: vec![], cancel: &cancel, progress: &stop };
        assert_eq!(reuse(&store, &[0, 2], search), []);
        let made = fs::read_dir(dir.path().join("t")).map_or(0, Iterator::count);
        assert_eq!(made, 0);
    }
}
