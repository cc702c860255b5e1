//! What is there already is respected.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::testing::{Sample, file, link};
use super::*;
use crate::error::Obstacle;

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
    type Case = (fn(&Path), Obstacle, &'static str);
    let sample = Sample::new(&[file("a/b", 32 * KIB)], 32 * KIB);
    let cases: [Case; 3] = [
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
    for (make, obstacle, at) in cases {
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
fn a_file_without_permission_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    sample.write_all(&sample.open(dir.path()));
    let path = dir.path().join("t/file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let store = sample.open(dir.path());
    if fs::File::open(&path).is_ok() {
        return; // permissions mean nothing to this user
    }
    let Err(StorageError::Permission { path }) = sample.read(&store, 0) else { panic!() };
    assert_eq!(path, store.file_path(0));
    assert!(matches!(sample.write(&store, 0), Err(StorageError::Permission { .. })));
}

#[test]
fn a_file_without_one_good_piece_is_somebody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 64 * KIB), file("b", 64 * KIB)], 32 * KIB);
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/a"), "my own notes").unwrap();
    let store = sample.open(dir.path());
    let mut have = nothing(&sample);
    let Err(StorageError::Stranger { path }) = store.refuse_strangers(&have, &store.observe())
    else {
        panic!()
    };
    assert_eq!(path, store.root().join("t/a"));
    overwriting(&sample, dir.path()).refuse_strangers(&have, &store.observe()).unwrap();
    have.insert(1);
    store.refuse_strangers(&have, &store.observe()).unwrap();
}

#[test]
fn files_that_cannot_be_judged_are_let_be() {
    let dir = tempfile::tempdir().unwrap();
    let sample =
        Sample::new(&[file("a", 8 * KIB), file("b", 8 * KIB), file("c", 48 * KIB)], 32 * KIB);
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/a"), "of a piece with b, which may be the bad one").unwrap();
    let hole = fs::File::create(dir.path().join("t/c")).unwrap();
    hole.set_len(48 * KIB as u64).unwrap();
    let store = sample.open(dir.path());
    store.refuse_strangers(&nothing(&sample), &store.observe()).unwrap();
}
