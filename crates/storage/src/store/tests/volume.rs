//! Disks fill up, volumes go away, files vanish.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::super::testing::{Sample, file, pad};
use super::*;

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
fn folders_that_can_not_be_synced_stay_due() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let store = sample.open(&dir.path().join("root"));
    sample.write_all(&store);
    fs::rename(store.root(), dir.path().join("away")).unwrap();
    // The file is still open and syncs; its entry in a folder that is not found does not.
    assert!(matches!(store.sync(), Err(StorageError::Missing { .. })));
    fs::rename(dir.path().join("away"), store.root()).unwrap();
    assert_eq!(
        store.unsynced(),
        (vec![], vec![store.root().to_path_buf(), store.root().join("t")])
    );
    store.sync().unwrap();
    assert_eq!(store.unsynced(), (vec![], vec![]));
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

/// Set in the child that has a small file system of its own mounted at the path it names.
const SMALL_VOLUME: &str = "PEERLESS_TEST_SMALL_VOLUME";

/// Runs `test` again in a mount namespace of its own, with a tmpfs of 256 KiB. Does
/// nothing, and says so, where namespaces are not to be had: containers often refuse them.
fn on_a_small_volume(test: &str, options: &str) {
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
        return;
    }
    let child = run(&format!(r#"{mount} && exec "$0" --exact "$1" --nocapture"#)).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the test has that name");
}

#[test]
fn a_full_disk_is_told_apart_and_forgives() {
    let Some(root) = std::env::var_os(SMALL_VOLUME).map(PathBuf::from) else {
        on_a_small_volume("store::tests::volume::a_full_disk_is_told_apart_and_forgives", "rw");
        return;
    };
    let sample = Sample::single(16); // 512 KiB
    let store = sample.open(&root);
    assert!(store.space().unwrap().free < store.space().unwrap().needed);
    let filled = (0..16).find_map(|piece| {
        store.take_seen();
        Some((piece, sample.write(&store, piece).err()?))
    });
    let (piece, error) = filled.expect("the volume is too small");
    assert!(
        matches!(&error, StorageError::Full { path } if *path == store.file_path(0)),
        "{error:?}"
    );
    let seen = store.take_seen().get(&0).copied();
    assert!(seen.is_some(), "what failed may have been written in part");
    assert_eq!(seen, store.observe().files[0]);
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
        on_a_small_volume("store::tests::volume::a_read_only_volume_is_told_apart", "ro");
        return;
    };
    let sample = Sample::single(1);
    let store = sample.open(&root);
    let result = sample.write(&store, 0);
    assert!(matches!(result, Err(StorageError::ReadOnly { .. })), "{result:?}");
    // Said before anything is fetched for it, and only where something is missing.
    let result = store.prepare(&Bitfield::new(1));
    assert!(matches!(result, Err(StorageError::ReadOnly { .. })), "{result:?}");
    store.prepare(&Bitfield::full(1)).unwrap();
}

#[test]
fn many_files_are_synced_by_their_file_systems() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (0..300).map(|n| file(&format!("{}/{n}", n % 7), 1 + n % 3)).collect();
    let sample = Sample::new(&entries, 32 * KIB);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let (files, _) = store.unsynced();
    assert_eq!(files.len(), 300);
    store.sync_file_systems(&files.into_iter().collect()).unwrap();
    store.sync().unwrap();
    assert_eq!(store.unsynced(), (vec![], vec![]));
}

/// One sync of the whole file system says nothing of single files.
#[test]
fn one_of_many_files_that_is_gone_is_missed_by_their_sync() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (0..300).map(|n| file(&format!("{n}"), 1)).collect();
    let sample = Sample::new(&entries, 32 * KIB);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    store.close_files();
    fs::remove_file(store.file_path(7)).unwrap();
    let result = store.sync();
    assert!(matches!(result, Err(StorageError::Missing { .. })), "{result:?}");
    assert_eq!(store.unsynced(), (vec![7], vec![]));
}

/// A file system that makes no difference between `A` and `a`, as far as one mount of a file on another
/// goes for it: two names, one file, one link.
#[test]
fn two_names_that_are_one_file_are_not_written_over_each_other() {
    let Some(root) = std::env::var_os(SMALL_VOLUME).map(PathBuf::from) else {
        let test = "two_names_that_are_one_file_are_not_written_over_each_other";
        on_a_small_volume(&format!("store::tests::volume::{test}"), "rw");
        return;
    };
    let sample = Sample::new(&[file("A", 32 * KIB), file("a", 32 * KIB)], 32 * KIB);
    let store = sample.open(&root);
    store.observe();
    sample.write(&store, 0).unwrap();
    fs::write(root.join("t/a"), "").unwrap();
    let mut mount = Command::new("mount");
    mount.arg("--bind").args([root.join("t/A"), root.join("t/a")]);
    assert!(mount.status().unwrap().success());
    for _ in 0..2 {
        let result = sample.write(&store, 1);
        let Err(StorageError::SameFile { path, other }) = result else { panic!("{result:?}") };
        assert_eq!((path, other), (store.file_path(1), store.file_path(0)));
    }
    sample.write(&store, 0).unwrap();
    assert_eq!(sample.read(&store, 0).unwrap(), sample.piece(0));
    assert!(Command::new("umount").arg(root.join("t/a")).status().unwrap().success());
    sample.write(&store, 1).unwrap(); // they are two again
}

/// Whatever stands there by now, be it a mount that hangs.
#[test]
fn where_files_are_by_a_record_is_known_without_a_look() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let path: Arc<Path> = dir.path().join("away").into();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert!(crate::Root::find(&path).is_err());
    let (info, handles) = (Arc::clone(sample.info()), Arc::new(HandleCache::new(1)));
    let root = crate::Root::as_recorded(&path);
    let store = FileStore::open_in(&root, info, handles, StoreOptions::default());
    assert_eq!(store.file_path(0), path.join("t/file"));
}

#[test]
fn a_volume_that_went_and_is_back_is_mounted_anew() {
    let Some(root) = std::env::var_os(SMALL_VOLUME).map(PathBuf::from) else {
        let test = "store::tests::volume::a_volume_that_went_and_is_back_is_mounted_anew";
        on_a_small_volume(test, "rw");
        return;
    };
    let sample = Sample::single(1);
    let before = sample.open(&root).boot_id();
    if before == crate::resume::boot_id() {
        assert!(!crate::mount::are_named());
        return; // mounts have no names here
    }
    assert_eq!(sample.open(&root.join("not/yet")).boot_id(), before);
    assert!(Command::new("umount").arg(&root).status().unwrap().success());
    let again = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&root).status();
    assert!(again.unwrap().success());
    assert_ne!(sample.open(&root).boot_id(), before);
}
