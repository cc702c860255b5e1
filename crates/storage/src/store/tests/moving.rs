//! Moving and renaming: the old place is whole until the new one is.

use std::sync::atomic::AtomicBool;

use metainfo::{PathRules, SafePath};

use super::*;
use crate::arrangement::Arrangement;
use crate::{MoveProgress, Moved};

fn sample() -> Sample {
    let files = [file("a", 40 * KIB), file("x/b", 5 * KIB), file("c", 70 * KIB), file("empty", 0)];
    Sample::new(&files, 32 * KIB)
}

/// The torrent complete in `old`, and a place for it in `new`.
fn places(dir: &Path) -> (Sample, Arc<FileStore>, Arc<FileStore>) {
    let sample = sample();
    let old = sample.open(&dir.join("old"));
    old.prepare(&nothing(&sample)).unwrap();
    sample.write_all(&old);
    let new = sample.open(&dir.join("new"));
    (sample, old, new)
}

fn move_all(from: &FileStore, to: &FileStore) -> Result<Moved, StorageError> {
    from.copy_to(to, &|_| {}, &AtomicBool::new(false))
}

fn is_whole(sample: &Sample, store: &FileStore) -> bool {
    let pieces = sample.info().geometry().piece_count();
    (0..pieces).all(|piece| sample.read(store, piece).is_ok_and(|it| it == sample.piece(piece)))
}

/// All names below a folder.
fn names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(root).unwrap().to_str().unwrap().into());
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn everything_is_there_and_then_nothing_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, new) = places(dir.path());
    let mine = dir.path().join("old/t/x/mine");
    fs::write(&mine, b"not the torrent's").unwrap();
    let before = old.observe();
    let seen = std::cell::Cell::new(MoveProgress { done_bytes: 0, total_bytes: 0 });
    let moved = old.copy_to(&new, &|now| seen.set(now), &AtomicBool::new(false)).unwrap();
    assert_eq!(seen.get(), MoveProgress { done_bytes: 115 * 1024, total_bytes: 115 * 1024 });
    assert!(is_whole(&sample, &old) && is_whole(&sample, &new), "both, until the switch");
    assert_eq!(new.observe().files, before.files, "the record knows them again");
    assert_eq!(old.remove_old(&moved), Vec::<PathBuf>::new());
    assert_eq!(names(&dir.path().join("old")), ["t", "t/x", "t/x/mine"]);
    assert_eq!(names(&dir.path().join("new")), ["t", "t/a", "t/c", "t/empty", "t/x", "t/x/b"]);
    assert!(is_whole(&sample, &new));
}

/// A file system that is not that of the other temporary folders, or none.
fn other_file_system() -> Option<tempfile::TempDir> {
    let here = fs::metadata(std::env::temp_dir()).unwrap().dev();
    let other = fs::metadata("/dev/shm").ok()?.dev() != here;
    other.then(|| tempfile::tempdir_in("/dev/shm").ok()).flatten()
}

#[test]
fn to_another_file_system_they_are_copied_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let Some(other) = other_file_system() else { return };
    let sample = sample();
    let old = sample.open(dir.path());
    sample.write_all(&old);
    let new = sample.open(other.path());
    let _ = move_all(&old, &new).unwrap();
    assert!(is_whole(&sample, &old) && is_whole(&sample, &new));
    let (was, is) = (old.observe(), new.observe());
    assert_eq!(was.files, is.files, "times too");
    assert_ne!(was.root_device, is.root_device);
    assert!(new.unsynced().0.is_empty());
}

#[test]
fn nothing_that_exists_is_overwritten_and_the_rest_stays_too() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, new) = places(dir.path());
    let theirs = dir.path().join("new/t/c");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, b"somebody's").unwrap();
    let error = move_all(&old, &new).unwrap_err();
    assert!(matches!(&error, StorageError::Exists { path } if *path == theirs), "{error}");
    assert_eq!(fs::read(&theirs).unwrap(), b"somebody's");
    assert_eq!(names(&dir.path().join("new")), ["t", "t/c"], "nothing half moved is left");
    assert!(is_whole(&sample, &old));
}

/// The torrent goes on there, and would write into it.
#[test]
fn a_file_that_waits_at_the_new_place_is_not_taken_for_ours() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let (old, new) = (sample.open(&dir.path().join("old")), sample.open(&dir.path().join("new")));
    sample.write(&old, 0).unwrap(); // of "a" alone
    let theirs = dir.path().join("new/t/c");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, b"somebody's").unwrap();
    let error = move_all(&old, &new).unwrap_err();
    assert!(matches!(&error, StorageError::Exists { path } if *path == theirs), "{error}");
    assert_eq!(names(&dir.path().join("new")), ["t", "t/c"]);
    assert_eq!(sample.read(&old, 0).unwrap(), sample.piece(0));
}

#[test]
fn only_what_was_moved_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let (old, new) = (sample.open(&dir.path().join("old")), sample.open(&dir.path().join("new")));
    (0..2).for_each(|piece| sample.write(&old, piece).unwrap()); // "a", "x/b" and some of "c"
    fs::remove_file(dir.path().join("old/t/c")).unwrap();
    let moved = move_all(&old, &new).unwrap();
    // Since then: one that was not there, and another in the place of one that was.
    let (appeared, replaced) = (dir.path().join("old/t/c"), dir.path().join("old/t/a"));
    fs::write(&appeared, b"mine").unwrap();
    fs::remove_file(&replaced).unwrap();
    fs::write(&replaced, b"mine, too").unwrap();
    assert_eq!(old.remove_old(&moved), [replaced.canonicalize().unwrap()], "told");
    assert_eq!(fs::read(&appeared).unwrap(), b"mine");
    assert_eq!(fs::read(&replaced).unwrap(), b"mine, too");
    assert!(!dir.path().join("old/t/x").exists());
    // And when the record can't switch, the same of the new place.
    let theirs = dir.path().join("new/t/c");
    fs::write(&theirs, b"theirs").unwrap();
    new.remove_new(&moved);
    assert_eq!(names(&dir.path().join("new")), ["t", "t/c"]);
}

/// As file systems do that number a file anew whenever they have forgotten it.
#[test]
fn a_file_that_was_given_another_inode_is_removed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, new) = places(dir.path());
    let moved = move_all(&old, &new).unwrap();
    let (path, other) = (dir.path().join("old/t/a"), dir.path().join("other"));
    let before = fs::metadata(&path).unwrap();
    fs::copy(&path, &other).unwrap();
    let file = fs::File::options().write(true).open(&other).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), before.ino());
    assert_eq!(old.remove_old(&moved), Vec::<PathBuf>::new());
    assert_eq!(names(&dir.path().join("old")), Vec::<String>::new());
    assert!(is_whole(&sample, &new));
}

#[test]
fn a_move_that_was_killed_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, new) = places(dir.path());
    // What a kill in the middle of the copies leaves.
    let staging = format!("new/.peerless-{}.moving", sample.torrent.info_hash);
    fs::create_dir_all(dir.path().join(&staging)).unwrap();
    fs::write(dir.path().join(&staging).join("0"), b"half").unwrap();
    let _ = move_all(&old, &new).unwrap();
    assert!(is_whole(&sample, &new));
    assert!(!dir.path().join(staging).exists());
}

#[test]
fn a_move_that_is_given_up_leaves_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let Some(other) = other_file_system() else { return };
    let sample = sample();
    let old = sample.open(dir.path());
    sample.write_all(&old);
    let new = sample.open(&other.path().join("new"));
    let cancel = AtomicBool::new(false);
    let error = old.copy_to(&new, &|_| cancel.store(true, Ordering::Relaxed), &cancel);
    assert!(matches!(error, Err(StorageError::Cancelled)), "{error:?}");
    assert_eq!(names(&other.path().join("new")), Vec::<String>::new());
    assert!(is_whole(&sample, &old));
}

#[test]
fn a_link_in_the_place_of_the_copies_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, new) = places(dir.path());
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("mine"), b"mine").unwrap();
    fs::create_dir_all(dir.path().join("new")).unwrap();
    let staging = format!("new/.peerless-{}.moving", sample.torrent.info_hash);
    std::os::unix::fs::symlink(&outside, dir.path().join(staging)).unwrap();
    assert!(matches!(move_all(&old, &new), Err(StorageError::Exists { .. })));
    assert_eq!(fs::read(outside.join("mine")).unwrap(), b"mine");
    assert_eq!(names(&outside), ["mine"]);
}

#[test]
fn the_part_store_moves_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let mut arrangement = Arrangement::default();
    arrangement.choose(&[false, true, false, false]);
    let old = sample.open(&dir.path().join("old"));
    old.arrange(&arrangement);
    old.observe();
    sample.write(&old, 1).unwrap();
    let new = sample.open(&dir.path().join("new"));
    new.arrange(&Arrangement { apart: old.apart(), ..arrangement });
    let moved = move_all(&old, &new).unwrap();
    old.remove_old(&moved);
    assert_eq!(sample.read(&new, 1).unwrap(), sample.piece(1));
    assert_eq!(names(&dir.path().join("old")), Vec::<String>::new());
}

fn path(text: &str) -> SafePath {
    SafePath::new(text.split('/'), PathRules::NATIVE).unwrap()
}

#[test]
fn a_file_has_both_names_until_the_record_knows_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, _) = places(dir.path());
    let mut arrangement = Arrangement::default();
    let named = path("t/y/z/new");
    let (before, after) = (old.file_path(1), dir.path().join("old/t/y/z/new"));
    let refused = old.rename(1, &named, &mut arrangement, |_| {
        assert!(before.exists() && after.exists());
        Err(StorageError::State("no".into()))
    });
    assert!(matches!(refused, Err(StorageError::State(_))));
    assert!(before.exists() && !after.exists() && is_whole(&sample, &old));
    assert_eq!(arrangement, Arrangement::default());
    old.rename(1, &named, &mut arrangement, |next| {
        assert_eq!(next.names[&1], named);
        Ok(())
    })
    .unwrap();
    assert!(!before.exists() && after.exists() && is_whole(&sample, &old));
    assert!(!before.parent().unwrap().exists(), "its folder was empty");
    // A later run knows it by the record, and can give the old name back.
    let again = sample.open(&dir.path().join("old"));
    again.arrange(&arrangement);
    assert!(is_whole(&sample, &again));
    assert_eq!(again.observe().files[1], old.observe().files[1]);
    again.rename(1, &path("t/x/b"), &mut arrangement, |_| Ok(())).unwrap();
    assert_eq!(arrangement, Arrangement::default());
    assert!(before.exists() && is_whole(&sample, &again));
}

#[test]
fn a_folder_that_a_new_name_left_empty_is_not_due_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (_, old, _) = places(dir.path());
    let folder = old.root().join("t/x");
    assert!(old.unsynced().1.contains(&folder));
    old.rename(1, &path("t/y/b"), &mut Arrangement::default(), |_| Ok(())).unwrap();
    assert!(!folder.exists());
    old.sync().unwrap();
    assert_eq!(old.unsynced(), (vec![], vec![]));
}

#[test]
fn a_name_that_is_taken_or_leads_out_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, old, _) = places(dir.path());
    fs::write(dir.path().join("old/mine"), b"mine").unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, dir.path().join("old/t/link")).unwrap();
    for name in ["t/c", "mine", "t/c/below", "t", "t/x", "t/link/out"] {
        let mut arrangement = Arrangement::default();
        let result = old.rename(0, &path(name), &mut arrangement, |_| Ok(()));
        assert!(result.is_err(), "{name}");
        assert_eq!(arrangement, Arrangement::default());
        assert!(is_whole(&sample, &old), "{name}");
    }
    assert_eq!(fs::read(dir.path().join("old/mine")).unwrap(), b"mine");
    assert_eq!(names(&outside), Vec::<String>::new());
}

#[test]
fn what_is_not_there_yet_is_made_under_its_new_name() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = sample.open(dir.path());
    store.rename(0, &path("t/first"), &mut Arrangement::default(), |_| Ok(())).unwrap();
    sample.write_all(&store);
    assert_eq!(fs::read(dir.path().join("t/first")).unwrap(), sample.file(0));
    assert!(!dir.path().join("t/a").exists());
}
