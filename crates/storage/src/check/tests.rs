//! Checks of payloads that are whole, damaged or gone: the verdict on each piece and file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::*;
use crate::store::testing::{Entry, Sample, file, pad, torrent};

const KIB: usize = 1024;

fn whole(sample: &Sample) -> Bitfield {
    Bitfield::full(sample.info().geometry().piece_count())
}

fn run(store: &FileStore, pieces: &Bitfield) -> CheckReport {
    check(store, pieces, &|_| {}, &AtomicBool::new(false))
}

fn list(set: &Bitfield) -> Vec<PieceIndex> {
    set.iter().collect()
}

/// File index and a word for what is wrong.
fn troubles(report: &CheckReport) -> Vec<(usize, &'static str)> {
    let word = |trouble: &FileTrouble| match trouble {
        FileTrouble::Missing => "missing",
        FileTrouble::Short { .. } => "short",
        FileTrouble::Longer { .. } => "longer",
        FileTrouble::Damaged { .. } => "damaged",
        FileTrouble::Incomplete { .. } => "incomplete",
        FileTrouble::Unreadable(_) => "unreadable",
    };
    report.files.iter().map(|report| (report.file, word(&report.trouble))).collect()
}

/// Three files over pieces of 32 KiB: 0..3 (the last shared), 2..4 (shared), 4..6.
fn three() -> Sample {
    Sample::new(&[file("a", 80 * KIB), file("b", 48 * KIB), file("c", 64 * KIB)], 32 * KIB)
}

#[test]
fn what_is_whole_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let report = run(&store, &whole(&sample));
    assert!(report.is_complete() && report.files.is_empty(), "{report:?}");
}

#[test]
fn one_flipped_byte_names_the_piece_and_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let file = OpenOptions::new().read(true).write(true).open(dir.path().join("t/c")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 40_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 40_000).unwrap();
    let report = run(&store, &whole(&sample));
    assert_eq!(report.damaged, [5]);
    assert_eq!(list(&report.good), [0, 1, 2, 3, 4]);
    let [FileReport { file: 2, path, trouble: FileTrouble::Damaged { pieces } }] = &*report.files
    else {
        panic!("{report:?}")
    };
    assert_eq!((path, &**pieces), (&store.file_path(2), &[5][..]));
}

#[test]
fn a_damaged_border_piece_is_laid_at_both_doors() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let file = OpenOptions::new().write(true).open(dir.path().join("t/b")).unwrap();
    file.write_all_at(&[!sample.file(1)[0]], 0).unwrap();
    let report = run(&store, &whole(&sample));
    assert_eq!(report.damaged, [2]);
    assert_eq!(troubles(&report), [(0, "damaged"), (1, "damaged")]);
}

#[test]
fn a_missing_file_takes_its_border_pieces_and_no_blame_falls_on_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    fs::remove_file(dir.path().join("t/b")).unwrap();
    store.close_files();
    let report = run(&store, &whole(&sample));
    assert_eq!(list(&report.missing), [2, 3]);
    assert_eq!(list(&report.good), [0, 1, 4, 5]);
    assert_eq!(troubles(&report), [(1, "missing")]);
    assert!(report.damaged.is_empty());
}

#[test]
fn a_deleted_file_is_made_again_once_a_check_has_missed_it() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    fs::remove_file(dir.path().join("t/c")).unwrap();
    assert!(matches!(sample.write(&store, 4), Err(StorageError::Missing { .. })));
    let mut some = Bitfield::new(6);
    some.insert(4);
    run(&store, &some);
    assert!(sample.write(&store, 4).is_err(), "piece 5 is still claimed");
    run(&store, &whole(&sample));
    sample.write(&store, 4).unwrap();
    assert_eq!(sample.read(&store, 4).unwrap(), sample.piece(4));
}

#[test]
fn every_small_file_of_a_piece_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<Entry> = (0..10).map(|n| file(&n.to_string(), 100)).collect();
    let sample = Sample::new(&files, 32 * KIB);
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/4"), sample.file(4)).unwrap();
    let report = run(&sample.open(dir.path()), &whole(&sample));
    let missing: Vec<usize> = report.files.iter().map(|report| report.file).collect();
    assert_eq!(missing, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn short_and_longer_files_are_told_with_their_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let set_len = |name: &str, length| {
        let path = dir.path().join("t").join(name);
        OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    set_len("a", 33 * 1024);
    set_len("c", 65 * 1024);
    let report = run(&store, &whole(&sample));
    assert_eq!(list(&report.missing), [1, 2]);
    assert_eq!(list(&report.good), [0, 3, 4, 5], "the excess is not of the torrent");
    assert_eq!(troubles(&report), [(0, "short"), (2, "longer")]);
    assert!(matches!(
        report.files[0].trouble,
        FileTrouble::Short { length: 33_792, expected: 81_920 }
    ));
}

#[test]
fn a_torrent_that_is_not_there_is_checked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let report = run(&sample.open(&dir.path().join("none")), &whole(&sample));
    assert_eq!(report.missing.count(), 6);
    assert_eq!(troubles(&report), [(0, "missing"), (1, "missing"), (2, "missing")]);
}

#[test]
fn a_fresh_sparse_file_is_not_read() {
    // 64 GiB of holes: reading them as zeros would take a minute, and far more than this test may.
    const PIECE: usize = 16 << 20;
    let dir = tempfile::tempdir().unwrap();
    let pieces = 4096;
    let torrent = torrent(&[file("big", PIECE * pieces)], PIECE, &vec![7; 20 * pieces]);
    fs::create_dir(dir.path().join("t")).unwrap();
    let made = fs::File::create(dir.path().join("t/big")).unwrap();
    made.set_len((PIECE * pieces) as u64).unwrap();
    let sample = Sample { torrent, content: Vec::new() };
    let store = sample.open(dir.path());
    let started = std::time::Instant::now();
    let report = run(&store, &whole(&sample));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!(report.missing.count(), 4096);
    assert!(matches!(report.files[0].trouble, FileTrouble::Incomplete { pieces: 4096 }));
}

#[test]
fn pieces_of_zeros_are_good_even_in_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let content = vec![0; 80 * KIB];
    let hashes: Vec<u8> =
        content.chunks(32 * KIB).flat_map(|piece| digest::sha1(&[piece])).collect();
    let torrent = torrent(&[file("zeros", 80 * KIB)], 32 * KIB, &hashes);
    let sample = Sample { torrent, content };
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::File::create(dir.path().join("t/zeros")).unwrap().set_len(80 * 1024).unwrap();
    assert!(run(&sample.open(dir.path()), &whole(&sample)).is_complete());
}

#[test]
fn a_half_written_file_is_good_where_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 1024 * KIB)], 64 * KIB);
    let store = sample.open(dir.path());
    for piece in [3, 4, 15] {
        sample.write(&store, piece).unwrap();
    }
    let report = run(&store, &whole(&sample));
    assert_eq!(list(&report.good), [3, 4, 15]);
    assert!(report.damaged.is_empty(), "what was never written is not damaged: {report:?}");
    assert_eq!(troubles(&report), [(0, "incomplete")]);
}

#[test]
fn only_the_given_pieces_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let mut some = Bitfield::new(6);
    assert!(some.insert(1) && some.insert(4));
    let report = run(&store, &some);
    assert_eq!(list(&report.good), [1, 4]);
    assert!(report.files.is_empty() && !report.is_complete());
}

#[test]
fn pads_need_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let files = [file("a", 20 * KIB), pad(76 * KIB), file("b", 40 * KIB)];
    let sample = Sample::new(&files, 32 * KIB);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    assert!(run(&store, &whole(&sample)).is_complete());
}

#[test]
fn a_folder_in_the_place_of_a_file_is_unreadable_and_the_rest_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let sample = three();
    sample.write_all(&sample.open(dir.path()));
    fs::remove_file(dir.path().join("t/c")).unwrap();
    fs::create_dir(dir.path().join("t/c")).unwrap();
    let report = run(&sample.open(dir.path()), &whole(&sample));
    assert_eq!(list(&report.good), [0, 1, 2, 3]);
    assert_eq!(troubles(&report), [(2, "unreadable")]);
}

#[test]
fn progress_adds_up_and_cancelling_stops() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 12 << 20), file("gone", 5 << 20)], 256 * KIB);
    let store = sample.open(dir.path());
    sample.write_all(&store);
    fs::remove_file(dir.path().join("t/gone")).unwrap();
    store.close_files();
    let seen = Mutex::new(Vec::new());
    let progress = |now: CheckProgress| {
        assert_eq!(now.total_bytes, 17 << 20);
        seen.lock().unwrap().push(now.done_bytes);
    };
    let report = check(&store, &whole(&sample), &progress, &AtomicBool::new(false));
    assert!(!report.cancelled);
    assert_eq!(seen.lock().unwrap().iter().max(), Some(&(17 << 20)));

    let cancel = AtomicBool::new(false);
    let report =
        check(&store, &whole(&sample), &|_| cancel.store(true, Ordering::Relaxed), &cancel);
    assert!(report.cancelled && report.good.count() < 48, "{}", report.good.count());
    let report = check(&store, &whole(&sample), &|_| {}, &AtomicBool::new(true));
    assert!(report.cancelled && report.good.count() == 0);
}

#[test]
fn there_are_no_more_threads_than_runs_and_memory_for_them() {
    assert_eq!(workers(0, 1), 1);
    assert_eq!(workers(1, READ_BYTES), 1);
    assert!(workers(2, READ_BYTES) <= 2);
    assert_eq!(workers(1000, BUFFERS_BYTES_MAX), 1, "one run takes all the memory there is");
}
