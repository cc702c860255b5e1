//! Files that are cut, replaced or put there by somebody else while the torrent runs.

use std::fs;
use std::path::Path;

use super::super::testing::{Sample, file};
use super::*;
use crate::arrangement::Arrangement;

fn is_missing<T>(result: &Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Missing { .. }))
}

/// Writing on would make the file whole again, with a hole where its pieces were: zeros that nobody
/// could tell from them, and that the next run would believe.
#[test]
fn a_file_that_was_cut_short_is_not_made_whole_by_later_writes() {
    for (cut, later) in [(0, 1), (0, 2), (20 * KIB, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::single(3);
        let store = sample.open(dir.path());
        sample.write(&store, 0).unwrap();
        let path = store.file_path(0);
        let theirs = fs::OpenOptions::new().write(true).open(&path).unwrap();
        theirs.set_len(cut as u64).unwrap();
        for is_open in [true, false] {
            if !is_open {
                store.close_files();
            }
            let result = sample.write(&store, later);
            assert!(is_missing(&result), "cut to {cut}, piece {later}, {is_open}: {result:?}");
        }
        assert!(is_missing(&sample.read(&store, 0)));
        assert_eq!(fs::metadata(&path).unwrap().len(), cut as u64);
        // It is back, as a backup would have it.
        fs::write(&path, sample.piece(0)).unwrap();
        theirs.set_len(96 * KIB as u64).unwrap();
        sample.write(&store, later).unwrap();
        assert_eq!(sample.read(&store, 0).unwrap(), sample.piece(0));
    }
}

#[test]
fn the_same_of_a_file_that_was_there_and_shorter_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(4);
    fs::create_dir(dir.path().join("t")).unwrap();
    let path = dir.path().join("t/file");
    fs::write(&path, &sample.content[..64 * KIB]).unwrap();
    for writes_before in [false, true] {
        let store = sample.open(dir.path());
        store.observe();
        if writes_before {
            sample.write(&store, 2).unwrap();
        }
        let theirs = fs::OpenOptions::new().write(true).open(&path).unwrap();
        theirs.set_len(32 * KIB as u64).unwrap();
        assert!(is_missing(&sample.write(&store, 3)), "{writes_before}");
        fs::write(&path, &sample.content[..64 * KIB]).unwrap();
    }
}

#[test]
fn a_check_of_all_of_a_file_that_was_cut_short_lets_it_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(3);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    fs::OpenOptions::new().write(true).open(store.file_path(0)).unwrap().set_len(1).unwrap();
    assert!(is_missing(&sample.write(&store, 1)));
    let report = crate::check(&store, &all(&sample), &|_| {}, &false.into());
    assert_eq!(report.good.count(), 0);
    sample.write_all(&store);
    assert_eq!(fs::read(store.file_path(0)).unwrap(), sample.content);
}

#[test]
fn a_file_that_was_replaced_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(3);
    let store = sample.open(dir.path());
    sample.write(&store, 0).unwrap();
    let theirs = vec![7; 96 * KIB];
    fs::write(dir.path().join("theirs"), &theirs).unwrap();
    fs::rename(dir.path().join("theirs"), store.file_path(0)).unwrap();
    for attempt in 0..3 {
        assert!(is_missing(&sample.write(&store, 1)), "{attempt}");
    }
    assert!(is_missing(&sample.read(&store, 0)), "it is not what was verified");
    assert_eq!(fs::read(store.file_path(0)).unwrap(), theirs);
}

/// The torrent of two files in a folder that was looked at, and what somebody put there since.
fn appeared(root: &Path, options: StoreOptions) -> (Sample, Arc<FileStore>, Vec<u8>) {
    let sample = Sample::new(&[file("a", 64 * KIB), file("b", 64 * KIB)], 32 * KIB);
    let store = sample.open_with(root, 8, options).unwrap();
    store.observe();
    sample.write(&store, 0).unwrap();
    let theirs = b"my own notes".to_vec();
    fs::write(root.join("t/b"), &theirs).unwrap();
    (sample, store, theirs)
}

#[test]
fn a_file_that_was_put_there_since_the_look_is_somebody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, store, theirs) = appeared(dir.path(), StoreOptions::default());
    let path = dir.path().join("t/b");
    for result in [sample.write(&store, 3), store.prepare(&nothing(&sample))] {
        let Err(StorageError::Stranger { path: named }) = result else { panic!("{result:?}") };
        assert_eq!(named, store.file_path(1));
    }
    assert_eq!(fs::read(&path).unwrap(), theirs);
    sample.write(&store, 1).unwrap(); // ours goes on
    fs::remove_file(&path).unwrap();
    sample.write(&store, 3).unwrap();
    assert_eq!(fs::read(&path).unwrap()[32 * KIB..], *sample.piece(3));
}

#[test]
fn a_later_look_makes_it_ours_only_where_we_had_it_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, store, theirs) = appeared(dir.path(), StoreOptions::default());
    store.observe();
    assert!(store.observe_taken(&[0]).files[1].is_some());
    for result in [sample.write(&store, 3), store.prepare(&nothing(&sample))] {
        assert!(matches!(result, Err(StorageError::Stranger { .. })), "{result:?}");
    }
    assert_eq!(fs::read(store.file_path(1)).unwrap(), theirs);
    store.observe_taken(&[1]);
    sample.write(&store, 3).unwrap();
    assert_eq!(fs::read(store.file_path(1)).unwrap()[32 * KIB..], *sample.piece(3));
}

#[test]
fn with_consent_or_with_nothing_in_it_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, store, _) = appeared(dir.path(), StoreOptions { overwrite: true });
    sample.write(&store, 3).unwrap();
    store.prepare(&nothing(&sample)).unwrap();

    for length in [0, 64 * KIB as u64] {
        let dir = tempfile::tempdir().unwrap();
        let (sample, store, _) = appeared(dir.path(), StoreOptions::default());
        fs::File::create(dir.path().join("t/b")).unwrap().set_len(length).unwrap();
        sample.write(&store, 3).unwrap();
    }
}

#[test]
fn a_file_that_was_wanted_no_more_and_is_again_is_not_taken_for_ours() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 64 * KIB), file("b", 64 * KIB)], 32 * KIB);
    let store = sample.open(dir.path());
    let mut arrangement = Arrangement::default();
    arrangement.choose(&[true, false]);
    store.arrange(&arrangement);
    store.observe();
    sample.write(&store, 0).unwrap();
    fs::write(dir.path().join("t/b"), "my own notes").unwrap();
    store.choose(&Arrangement::default()).unwrap();
    let result = store.prepare(&nothing(&sample));
    assert!(matches!(result, Err(StorageError::Stranger { .. })), "{result:?}");
}

#[test]
fn what_is_made_again_after_a_check_is_ours_only_if_we_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(2);
    let store = sample.open(dir.path());
    sample.write(&store, 0).unwrap();
    store.close_files();
    fs::remove_file(store.file_path(0)).unwrap();
    crate::check(&store, &all(&sample), &|_| {}, &false.into());
    let precious = dir.path().join("precious");
    fs::write(&precious, vec![1; 64 * KIB]).unwrap();
    fs::hard_link(&precious, store.file_path(0)).unwrap();
    assert!(sample.write(&store, 0).is_err());
    assert_eq!(fs::read(&precious).unwrap(), vec![1; 64 * KIB]);
}

/// Every run made the empty files anew, through hard links or on a read-only disk as well.
#[test]
fn an_empty_file_that_is_there_is_not_opened_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 32 * KIB), file("empty", 0)], 32 * KIB);
    let store = sample.open(dir.path());
    store.prepare(&nothing(&sample)).unwrap();
    sample.write_all(&store);
    fs::hard_link(dir.path().join("t/empty"), dir.path().join("theirs")).unwrap();
    let again = sample.open(dir.path());
    again.observe();
    again.prepare(&all(&sample)).unwrap();
    assert_eq!(again.handles.open_files(), 0);
    fs::write(dir.path().join("theirs"), "not empty").unwrap();
    let result = again.prepare(&all(&sample));
    assert!(matches!(result, Err(StorageError::Longer { .. })), "{result:?}");
}

/// A sync that was under way as the part store went must not wait for it for ever.
#[test]
fn a_part_store_that_went_during_a_sync_is_not_due_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 40 * KIB), file("b", 40 * KIB)], 32 * KIB);
    let mut arrangement = Arrangement::default();
    arrangement.choose(&[true, false]);
    let store = sample.open(dir.path());
    store.arrange(&arrangement);
    store.observe();
    sample.write(&store, 1).unwrap();
    let parts = store.parts_index();
    assert!(store.changes().unsynced.remove(&parts), "as a sync takes what it is about to do");
    store.choose(&Arrangement::default()).unwrap();
    store.move_out(1, &nothing(&sample)).unwrap();
    store.drop_parts().unwrap();
    store.sync_file(parts).unwrap();
    store.sync().unwrap();
    assert_eq!(store.unsynced(), (vec![], vec![]));
}

/// A later look at a file must not be noted before an earlier one, or the next run would take our own
/// write for somebody else's.
#[test]
fn the_next_write_waits_until_this_one_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(2);
    let store = sample.open(dir.path());
    sample.write(&store, 0).unwrap();
    let turn = &store.writing.get().unwrap()[0];
    let changes = store.changes();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| sample.write(&store, 1));
        while fs::read(store.file_path(0)).unwrap() != sample.content {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            assert!(turn.try_lock().is_err());
            std::thread::yield_now();
        }
        drop(changes);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(store.take_seen().get(&0).copied(), store.observe().files[0]);
}
