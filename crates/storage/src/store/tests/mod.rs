//! Reading and writing pieces over files: what lies where, and what is refused.

mod behind_our_back;
mod existing;
mod moving;
mod parts;
mod volume;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use wire::Bitfield;

use super::testing::{Entry, Sample, file, link, pad, torrent};
use super::*;
use crate::arena::Arena;

const KIB: usize = 1024;

fn nothing(sample: &Sample) -> Bitfield {
    Bitfield::new(sample.info().geometry().piece_count())
}

fn all(sample: &Sample) -> Bitfield {
    Bitfield::full(sample.info().geometry().piece_count())
}

fn overwriting(sample: &Sample, root: &Path) -> Arc<FileStore> {
    sample.open_with(root, 8, StoreOptions { overwrite: true }).unwrap()
}

/// Every path below a folder, relative to it.
fn tree(root: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            paths.insert(name);
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    paths
}

#[test]
fn pieces_across_files_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let files = [file("a", 10 * KIB), file("b/c", 1), file("b/d", 70 * KIB), file("e", 5 * KIB)];
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open(dir.path());
    for piece in [2, 0, 1] {
        sample.write(&store, piece).unwrap();
        assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece));
    }
    for (index, name) in ["a", "b/c", "b/d", "e"].iter().enumerate() {
        assert_eq!(
            fs::read(dir.path().join("t").join(name)).unwrap(),
            sample.file(index),
            "{name}"
        );
    }
    let mut middle = [0; 100];
    store.read(0, 10 * KIB as u32 - 50, &mut middle).unwrap(); // over the end of `a` and all of `c`
    assert_eq!(middle, sample.content[10 * KIB - 50..10 * KIB + 50]);
}

#[test]
fn adjacent_pieces_are_written_as_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 100 * KIB), file("b", 100 * KIB + 7)], 32 * KIB);
    let store = sample.open(dir.path());
    let arena = Arena::new(0);
    let pieces: Vec<_> = (0..7).map(|piece| sample.blocks(&arena, piece)).collect();
    let run: Vec<_> = (0..7).zip(pieces.iter().map(Vec::as_slice)).collect();
    store.write(&run).unwrap();
    assert_eq!(fs::read(store.file_path(0)).unwrap(), sample.file(0));
    assert_eq!(fs::read(store.file_path(1)).unwrap(), sample.file(1));
}

#[test]
fn nothing_is_made_before_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/yet");
    let sample = Sample::new(&[file("a", 64 * KIB), file("b", 64 * KIB)], 32 * KIB);
    let store = sample.open(&root);
    store.prepare(&nothing(&sample)).unwrap();
    assert!(!dir.path().join("not").exists());
    assert!(matches!(sample.read(&store, 0), Err(StorageError::RootMissing { .. })));
    sample.write(&store, 0).unwrap();
    assert_eq!(tree(&root), ["t", "t/a"].map(String::from).into());
    let made = fs::metadata(root.join("t/a")).unwrap();
    assert_eq!(made.len(), 64 * KIB as u64, "at its final length");
    assert!(made.blocks() * 512 < 64 * KIB as u64, "and sparse");
    assert!(matches!(sample.read(&store, 3), Err(StorageError::Missing { .. })));
}

#[test]
fn ranges_outside_a_piece_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(2);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    for (piece, begin, length) in [(0, 0, 33 * KIB), (2, 0, 1), (0, u32::MAX, 1), (1, 1, 32 * KIB)]
    {
        let result = store.read(piece, begin, &mut vec![0; length]);
        assert!(matches!(result, Err(StorageError::OutOfRange { .. })), "{piece} {begin} {length}");
    }
}

#[test]
fn pads_are_zeros_and_never_files() {
    let dir = tempfile::tempdir().unwrap();
    let files = [file("a", 20 * KIB), pad(44 * KIB), file("b", 32 * KIB), pad(32 * KIB)];
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open(dir.path());
    assert!(sample.blocks(&Arena::new(0), 1).iter().all(Option::is_none), "a piece of pad alone");
    sample.write_all(&store);
    assert_eq!(tree(dir.path()), ["t", "t/a", "t/b"].map(String::from).into());
    for piece in 0..4 {
        assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece), "{piece}");
    }
    assert_eq!(store.observe().files.iter().filter(|seen| seen.is_some()).count(), 2);
}

#[test]
fn empty_files_executables_and_links_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = Entry { attributes: "x", ..file("bin/run", 32 * KIB) };
    let files = [file("x/empty", 0), run, link("lib/link", "bin/run")];
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open(dir.path());
    store.prepare(&nothing(&sample)).unwrap();
    let made = ["t", "t/x", "t/x/empty", "t/lib", "t/lib/link"].map(String::from);
    assert_eq!(tree(dir.path()), made.into());
    store.prepare(&nothing(&sample)).unwrap(); // twice is as good as once
    sample.write_all(&store);
    assert_eq!(fs::read_link(dir.path().join("t/lib/link")).unwrap(), Path::new("../bin/run"));
    assert_eq!(fs::read(dir.path().join("t/lib/link")).unwrap(), sample.content);
    let bits = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(bits("t/bin/run") & 0o100, 0o100);
    assert_eq!(bits("t/x/empty") & 0o111, 0);
}

#[test]
fn a_torrent_of_only_empty_files_is_made_by_prepare() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 0), file("b/c", 0)], 32 * KIB);
    let root = dir.path().join("new");
    sample.open(&root).prepare(&nothing(&sample)).unwrap();
    assert_eq!(tree(&root), ["t", "t/a", "t/b", "t/b/c"].map(String::from).into());
}

#[test]
fn a_tree_of_many_odd_names_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let name = |index: usize| -> Vec<u8> {
        match index % 4 {
            0 => format!("plain {index}").into_bytes(),
            1 => format!("ünï\u{1f4be}côdé-{index}").into_bytes(),
            2 => [b"not \xff\xfe utf-8 ", index.to_string().as_bytes()].concat(),
            _ => format!("colon:quote'{index}?").into_bytes(),
        }
    };
    let files: Vec<Entry> = (0..200)
        .map(|index| Entry {
            path: vec![name(index % 7), name(index)],
            length: if index % 5 == 0 { 0 } else { 100 * index },
            ..file("", 0)
        })
        .collect();
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open(dir.path());
    store.prepare(&nothing(&sample)).unwrap();
    sample.write_all(&store);
    for (index, entry) in files.iter().enumerate() {
        let mut path = dir.path().join("t");
        path.extend(entry.path.iter().map(|name| std::ffi::OsStr::from_bytes(name)));
        assert_eq!(fs::read(path).unwrap(), sample.file(index), "{index}");
    }
    for piece in 0..sample.info().geometry().piece_count() {
        assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece));
    }
}

#[test]
fn thousands_of_files_with_few_handles() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<Entry> = (0..2000).map(|n| file(&format!("{}/{n}", n % 20), 64)).collect();
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open_with(dir.path(), 16, StoreOptions::default()).unwrap();
    sample.write_all(&store);
    assert!(store.handles.open_files() <= 16);
    for piece in 0..sample.info().geometry().piece_count() {
        assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece));
    }
    assert!(store.handles.open_files() <= 16);
    let handles = Arc::clone(&store.handles);
    drop(store);
    assert_eq!(handles.open_files(), 0, "closed with the store");
}

#[test]
fn files_beyond_4_gib_are_written_and_read_at_their_end() {
    const PIECE: usize = 16 * 1024 * KIB;
    let dir = tempfile::tempdir().unwrap();
    let length = 5 * 1024 * 1024 * KIB + 1000;
    let pieces = length.div_ceil(PIECE);
    let info = Arc::clone(&torrent(&[file("big", length)], PIECE, &vec![0; 20 * pieces]).info);
    let handles = Arc::new(HandleCache::new(4));
    let store = FileStore::open(dir.path(), info, handles, StoreOptions::default()).unwrap();
    let mut block = Arena::new(1).take();
    block[..1000].fill(9);
    let last = pieces as u32 - 1;
    store.write(&[(last, &[Some(block)])]).unwrap();
    let mut back = [0; 1000];
    store.read(last, 0, &mut back).unwrap();
    assert_eq!(back, [9; 1000]);
    let made = fs::File::open(dir.path().join("t/big")).unwrap();
    made.read_exact_at(&mut back, length as u64 - 1000).unwrap();
    assert_eq!(back, [9; 1000]);
    let space = store.space().unwrap();
    assert!(space.free > 0 && space.needed > 4 * 1024 * 1024 * KIB as u64, "{space:?}");
}

#[test]
fn a_sync_covers_new_files_and_every_new_folder() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("x/y/a", 32 * KIB)], 32 * KIB);
    let root = dir.path().join("new/root");
    let store = sample.open(&root);
    sample.write_all(&store);
    let real = dir.path().canonicalize().unwrap();
    let folders = ["", "new", "new/root", "new/root/t", "new/root/t/x", "new/root/t/x/y"];
    let expected: BTreeSet<PathBuf> =
        folders.iter().map(|at| real.join(at).components().collect()).collect();
    assert_eq!(store.changes().unsynced_folders, expected);
    assert_eq!(store.changes().unsynced, [0].into());
    store.sync().unwrap();
    assert!(store.changes().unsynced.is_empty() && store.changes().unsynced_folders.is_empty());
    store.sync().unwrap();
}

#[test]
fn a_sync_of_a_file_that_is_gone_fails_and_stays_due() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    store.close_files();
    fs::remove_file(store.file_path(0)).unwrap();
    for _ in 0..2 {
        assert!(matches!(store.sync(), Err(StorageError::Missing { .. })));
    }
}

#[test]
fn after_one_failed_sync_a_file_never_counts_as_durable() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    // The failure itself needs a broken disk; what it leaves behind does not.
    store.changes().not_durable.insert(0, "input/output error".into());
    let result = store.sync();
    assert!(matches!(result, Err(StorageError::NotDurable { .. })), "{result:?}");
    assert!(store.sync().unwrap_err().to_string().contains("input/output error"));
}

#[test]
fn a_write_leaves_the_file_as_it_will_be_found() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 32 * KIB), file("b", 32 * KIB)], 32 * KIB);
    let store = sample.open(dir.path());
    sample.write(&store, 1).unwrap();
    let seen = store.take_seen();
    let observed = store.observe();
    assert_eq!(observed.files, [None, seen.get(&1).copied()]);
    assert_eq!(observed.root_device, Some(fs::metadata(dir.path()).unwrap().dev()));
    assert!(store.take_seen().is_empty());
}

#[test]
fn pieces_in_holes_are_told_from_written_ones() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 320 * KIB), file("b", 64 * KIB), file("c", 0)], 64 * KIB);
    let store = sample.open(dir.path());
    assert_eq!(store.pieces_with_data().count(), 0, "nothing is there");
    for piece in [1, 4, 5] {
        sample.write(&store, piece).unwrap();
    }
    assert_eq!(store.pieces_with_data().iter().collect::<Vec<_>>(), [1, 4, 5]);
}
