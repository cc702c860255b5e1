use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use wire::Bitfield;

use super::testing::{Entry, Sample, file, link, pad, torrent};
use super::*;
use crate::arena::Arena;
use crate::error::Obstacle;

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
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("t/bin/run") & 0o100, 0o100);
    assert_eq!(mode("t/x/empty") & 0o111, 0);
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
fn a_link_in_the_way_of_a_folder_leads_nowhere() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("t")).unwrap();
    let sample = Sample::single(1);
    let store = sample.open(dir.path());
    for result in [store.prepare(&nothing(&sample)), sample.write(&store, 0)] {
        let Err(StorageError::InTheWay { path, found }) = result else { panic!("{result:?}") };
        assert_eq!((path, found), (store.root().join("t"), Obstacle::Symlink));
    }
    assert!(tree(outside.path()).is_empty());
    fs::write(outside.path().join("file"), &sample.content).unwrap();
    assert!(matches!(sample.read(&store, 0), Err(StorageError::InTheWay { .. })), "nor to read");
    assert_eq!(store.observe().files, [None]);
}

#[test]
fn a_link_in_the_way_of_a_file_leads_nowhere() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    symlink(&victim, dir.path().join("t/file")).unwrap();
    let sample = Sample::single(1);
    for store in [sample.open(dir.path()), overwriting(&sample, dir.path())] {
        let Err(StorageError::InTheWay { found, .. }) = sample.write(&store, 0) else { panic!() };
        assert_eq!(found, Obstacle::Symlink);
        assert!(store.prepare(&nothing(&sample)).is_err());
    }
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_link_of_the_torrent_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", KIB), link("b", "a")], 32 * KIB);
    fs::create_dir(dir.path().join("t")).unwrap();
    symlink("/etc/passwd", dir.path().join("t/b")).unwrap();
    let result = sample.open(dir.path()).prepare(&nothing(&sample));
    assert!(matches!(result, Err(StorageError::InTheWay { .. })), "{result:?}");
}

#[test]
fn folders_files_and_pipes_in_the_way_are_named() {
    let sample = Sample::new(&[file("a/b", 32 * KIB)], 32 * KIB);
    let make: [(fn(&Path), Obstacle, &str); 3] = [
        (|t| fs::create_dir_all(t.join("a/b")).unwrap(), Obstacle::Folder, "t/a/b"),
        (|t| fs::write(t.join("a"), "").unwrap(), Obstacle::File, "t/a"),
        (
            |t| {
                fs::create_dir(t.join("a")).unwrap();
                let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
                rustix::fs::mknodat(rustix::fs::CWD, t.join("a/b"), kind, mode, 0).unwrap();
            },
            Obstacle::Special,
            "t/a/b",
        ),
    ];
    for (make, obstacle, at) in make {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t")).unwrap();
        make(&dir.path().join("t"));
        let store = sample.open(dir.path());
        let results = [
            sample.write(&store, 0),
            store.prepare(&nothing(&sample)),
            sample.read(&store, 0).map(drop),
        ];
        for result in results {
            let Err(StorageError::InTheWay { path, found }) = result else { panic!("{result:?}") };
            assert_eq!((path, found), (store.root().join(at), obstacle));
        }
    }
}

#[test]
fn a_longer_file_is_not_cut_without_consent() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let path = dir.path().join("t/file");
    fs::create_dir(dir.path().join("t")).unwrap();
    let old = vec![7; 40 * KIB];
    fs::write(&path, &old).unwrap();
    let store = sample.open(dir.path());
    for result in [store.prepare(&nothing(&sample)), sample.write(&store, 0)] {
        let Err(StorageError::Longer { length, expected, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!((length, expected), (40 * KIB as u64, 32 * KIB as u64));
    }
    assert_eq!(fs::read(&path).unwrap(), old, "untouched");
    store.prepare(&all(&sample)).unwrap(); // nothing will be written: nothing is in the way
    let store = overwriting(&sample, dir.path());
    store.prepare(&nothing(&sample)).unwrap();
    sample.write(&store, 0).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample.content);
}

#[test]
fn a_shorter_file_grows_with_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(3);
    let path = dir.path().join("t/file");
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(&path, sample.piece(0)).unwrap();
    let store = sample.open(dir.path());
    store.prepare(&nothing(&sample)).unwrap();
    assert_eq!(sample.read(&store, 0).unwrap(), sample.piece(0));
    sample.write(&store, 1).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 64 * KIB as u64, "not ours to lengthen at once");
    assert!(matches!(sample.read(&store, 2), Err(StorageError::Missing { .. })));
    sample.write(&store, 2).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample.content);
}

#[test]
fn a_hard_linked_file_is_not_written_through_without_consent() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let other = dir.path().join("other");
    fs::write(&other, vec![1; 32 * KIB]).unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::hard_link(&other, dir.path().join("t/file")).unwrap();
    let store = sample.open(dir.path());
    for result in [store.prepare(&nothing(&sample)), sample.write(&store, 0)] {
        assert!(matches!(result, Err(StorageError::HardLinked { links: 2, .. })), "{result:?}");
    }
    assert_eq!(fs::read(&other).unwrap(), vec![1; 32 * KIB]);
    store.prepare(&all(&sample)).unwrap(); // seeding from hard links is fine
    sample.write(&overwriting(&sample, dir.path()), 0).unwrap();
    assert_eq!(fs::read(&other).unwrap(), sample.content);
}

#[test]
fn our_own_file_may_be_linked_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(2);
    let store = sample.open(dir.path());
    sample.write(&store, 0).unwrap();
    fs::hard_link(dir.path().join("t/file"), dir.path().join("import")).unwrap();
    store.close_files();
    sample.write(&store, 1).unwrap();
    assert_eq!(fs::read(dir.path().join("import")).unwrap(), sample.content);
}

#[test]
fn a_file_deleted_while_running_is_missed_and_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(3);
    let store = sample.open(dir.path());
    sample.write(&store, 0).unwrap();
    fs::remove_file(dir.path().join("t/file")).unwrap();
    // The handle is still open: what is written through it has no name.
    assert!(matches!(sample.write(&store, 1), Err(StorageError::Missing { .. })));
    assert!(matches!(sample.write(&store, 1), Err(StorageError::Missing { .. })), "nor reopened");
    assert!(matches!(sample.read(&store, 0), Err(StorageError::Missing { .. })));
    assert!(!dir.path().join("t/file").exists(), "a new one would be zeros that pass for piece 0");
}

#[test]
fn a_file_cut_short_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(3);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let path = dir.path().join("t/file");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(40 * KIB as u64).unwrap();
    assert!(sample.read(&store, 0).is_ok());
    let Err(StorageError::Missing { path: named }) = sample.read(&store, 1) else { panic!() };
    assert_eq!(named, store.file_path(0));
}

#[test]
fn another_folder_in_the_place_of_the_root_is_not_filled() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("volume");
    fs::create_dir(&root).unwrap();
    let sample = Sample::new(&[file("a", 32 * KIB), file("b", 32 * KIB)], 32 * KIB);
    let store = sample.open(&root);
    sample.write(&store, 0).unwrap();
    store.close_files();
    fs::rename(&root, dir.path().join("away")).unwrap();
    assert!(matches!(sample.write(&store, 1), Err(StorageError::RootMissing { .. })));
    fs::create_dir(&root).unwrap(); // as a mount point after its volume is gone
    for result in [
        sample.write(&store, 1),
        sample.read(&store, 0).map(drop),
        store.prepare(&nothing(&sample)),
    ] {
        assert!(matches!(result, Err(StorageError::RootMissing { .. })), "{result:?}");
    }
    assert!(tree(&root).is_empty());
    fs::remove_dir(&root).unwrap();
    fs::rename(dir.path().join("away"), &root).unwrap();
    sample.write(&store, 1).unwrap(); // it is back
    assert_eq!(sample.read(&store, 0).unwrap(), sample.piece(0));
}

#[test]
fn roots_are_absolute_real_folders() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();
    let sample = Sample::single(1);
    let root = |path: &Path| sample.open(path).root().to_path_buf();
    let real = real.canonicalize().unwrap();
    assert_eq!(root(&dir.path().join("link")), real, "a link to the root is the user's own");
    assert_eq!(root(&dir.path().join("link/sub/folder")), real.join("sub/folder"));
    fs::write(dir.path().join("file"), "").unwrap();
    for path in ["file", "file/sub"] {
        let opened = sample.open_with(&dir.path().join(path), 8, StoreOptions::default());
        assert!(matches!(opened, Err(StorageError::InTheWay { .. })), "{path}: {opened:?}");
    }
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
    let dir = tempfile::tempdir().unwrap();
    const PIECE: usize = 16 * 1024 * KIB;
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
fn needed_space_falls_as_files_fill() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 64 * KIB), pad(32 * KIB), file("b", 64 * KIB)], 32 * KIB);
    let store = sample.open(&dir.path().join("new"));
    assert_eq!(store.space().unwrap().needed, 128 * KIB as u64, "pads take nothing");
    sample.write(&store, 0).unwrap();
    store.sync().unwrap();
    let needed = store.space().unwrap().needed;
    assert!((64 * KIB as u64..=96 * KIB as u64).contains(&needed), "{needed}");
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
fn a_file_without_permission_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    sample.write_all(&sample.open(dir.path()));
    let path = dir.path().join("t/file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0)).unwrap();
    let store = sample.open(dir.path());
    if fs::File::open(&path).is_ok() {
        return; // permissions mean nothing to this user
    }
    let Err(StorageError::Permission { path }) = sample.read(&store, 0) else { panic!() };
    assert_eq!(path, store.file_path(0));
    assert!(matches!(sample.write(&store, 0), Err(StorageError::Permission { .. })));
}

/// Set in the child that has a small file system of its own mounted at the path it names.
const SMALL_VOLUME: &str = "PEERLESS_TEST_SMALL_VOLUME";

/// Runs `test` again in a mount namespace of its own, with a tmpfs of 256 KiB. `None` where
/// namespaces are not to be had, which containers often refuse.
fn on_a_small_volume(test: &str, options: &str) -> Option<()> {
    let dir = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.env(SMALL_VOLUME, dir.path()).env("OPTIONS", options);
        command.arg(std::env::current_exe().unwrap()).arg(test);
        command
    };
    let mount = r#"mount -t tmpfs -o "size=256k,$OPTIONS" tmpfs "$PEERLESS_TEST_SMALL_VOLUME""#;
    if !run(mount).status().is_ok_and(|status| status.success()) {
        eprintln!("no mount namespaces here: {test} is not run");
        return None;
    }
    let child = run(&format!(r#"{mount} && exec "$0" --exact "$1" --nocapture"#)).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the test has that name");
    Some(())
}

#[test]
fn a_full_disk_is_told_apart_and_forgives() {
    let Some(root) = std::env::var_os(SMALL_VOLUME).map(PathBuf::from) else {
        on_a_small_volume("store::tests::a_full_disk_is_told_apart_and_forgives", "rw");
        return;
    };
    let sample = Sample::single(16); // 512 KiB
    let store = sample.open(&root);
    assert!(store.space().unwrap().free < store.space().unwrap().needed);
    let filled = (0..16).find_map(|piece| Some((piece, sample.write(&store, piece).err()?)));
    let (piece, error) = filled.expect("the volume is too small");
    assert!(
        matches!(&error, StorageError::Full { path } if *path == store.file_path(0)),
        "{error:?}"
    );
    for good in 0..piece {
        assert_eq!(sample.read(&store, good).unwrap(), sample.piece(good), "{good} is unharmed");
    }
    let remount = Command::new("mount").args(["-o", "remount,size=4m"]).arg(&root).status();
    assert!(remount.unwrap().success());
    sample.write(&store, piece).unwrap();
    assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece));
}

#[test]
fn a_read_only_volume_is_told_apart() {
    let Some(root) = std::env::var_os(SMALL_VOLUME).map(PathBuf::from) else {
        on_a_small_volume("store::tests::a_read_only_volume_is_told_apart", "ro");
        return;
    };
    let sample = Sample::single(1);
    let result = sample.write(&sample.open(&root), 0);
    assert!(matches!(result, Err(StorageError::ReadOnly { .. })), "{result:?}");
}
