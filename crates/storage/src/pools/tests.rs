//! The way of a piece through hashing and writing, good, bad or refused.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use metainfo::BLOCK_LENGTH;

use super::*;
use crate::arena::Arena;
use crate::store::FRESH_BYTES;
use crate::store::testing::{Sample, file, pad};

const KIB: usize = 1024;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn pools() -> Pools {
    Pools::start(PoolSettings { hash_threads: 2, disk_threads: 2 }).unwrap()
}

fn verify(
    pools: &Pools,
    store: &Arc<FileStore>,
    piece: PieceIndex,
    blocks: Vec<Option<Block>>,
    want_digests: bool,
) -> PieceOutcome {
    let (done, outcome) = mpsc::channel();
    pools.verify_and_write(store, piece, blocks, TreeCheck::None, want_digests, move |o| {
        done.send(o).unwrap();
    });
    outcome.recv_timeout(PATIENCE).unwrap()
}

fn read(
    pools: &Pools,
    store: &Arc<FileStore>,
    piece: PieceIndex,
    begin: u32,
    length: u32,
) -> Result<ReadBuffer, StorageError> {
    let (done, result) = mpsc::channel();
    pools.read(store, piece, begin, length, move |r| done.send(r).unwrap());
    result.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_good_piece_is_written_and_its_blocks_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 40 * KIB), pad(24 * KIB), file("b", 10 * KIB)], 64 * KIB);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    for piece in 0..2 {
        let outcome = verify(&pools, &store, piece, sample.blocks(&arena, piece), false);
        assert!(matches!(outcome, PieceOutcome::Written { digests: None }), "{outcome:?}");
        assert_eq!(arena.in_use(), 0, "given back before anybody hears of it");
        let buffer = read(&pools, &store, piece, 0, sample.piece(piece).len() as u32).unwrap();
        assert_eq!(*buffer, *sample.piece(piece));
    }
    assert_eq!(*read(&pools, &store, 1, 5, 7).unwrap(), sample.piece(1)[5..12]);
}

#[test]
fn a_bad_piece_never_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    let mut bad = sample.blocks(&arena, 0);
    bad[1].as_mut().unwrap()[77] ^= 1;
    let PieceOutcome::HashMismatch { digests: bad } = verify(&pools, &store, 0, bad, false) else {
        panic!()
    };
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let good = verify(&pools, &store, 0, sample.blocks(&arena, 0), true);
    let PieceOutcome::Written { digests: Some(good) } = good else { panic!("{good:?}") };
    assert_eq!((bad.len(), bad[0]), (2, good[0]), "the good block is known again");
    assert_ne!(bad[1], good[1], "and the bad one told apart");
}

#[test]
fn missing_blocks_are_zeros_and_so_are_a_bad_piece() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let (pools, store) = (pools(), sample.open(dir.path()));
    for blocks in
        [Vec::new(), vec![None, None], sample.blocks(&Arena::new(0), 0).drain(..1).collect()]
    {
        let outcome = verify(&pools, &store, 0, blocks, false);
        assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "{outcome:?}");
    }
    let outcome = verify(&pools, &store, 9, Vec::new(), false);
    assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "no such piece: {outcome:?}");
}

#[test]
fn a_refused_piece_comes_back_and_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    fs::write(dir.path().join("t"), "a file where a folder belongs").unwrap();
    let outcome = verify(&pools, &store, 0, sample.blocks(&arena, 0), true);
    let PieceOutcome::WriteFailed { error, blocks, digests } = outcome else { panic!() };
    assert!(matches!(error, StorageError::InTheWay { .. }));
    assert_eq!(digests.unwrap().len(), 2);
    fs::remove_file(dir.path().join("t")).unwrap();
    let (done, outcome) = mpsc::channel();
    pools.write_again(&store, 0, blocks, move |o| done.send(o).unwrap());
    let outcome = outcome.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(outcome, PieceOutcome::Written { .. }), "{outcome:?}");
    assert_eq!(*read(&pools, &store, 0, 0, 100).unwrap(), sample.content[..100]);
}

#[test]
fn many_pieces_at_once_each_get_their_own_verdict() {
    let dir = tempfile::tempdir().unwrap();
    // The second of three files can't be made, which concerns its own pieces alone.
    let files = [file("a", 320 * KIB), file("b", 320 * KIB), file("c", 320 * KIB)];
    let sample = Sample::new(&files, 32 * KIB);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    fs::create_dir_all(dir.path().join("t/b")).unwrap();
    let (done, outcomes) = mpsc::channel();
    for piece in 0..30 {
        let mut blocks = sample.blocks(&arena, piece);
        if piece % 10 == 5 {
            blocks[0].as_mut().unwrap()[0] ^= 1;
        }
        let done = done.clone();
        let send = move |outcome| done.send((piece, outcome)).unwrap();
        pools.verify_and_write(&store, piece, blocks, TreeCheck::None, false, send);
    }
    for _ in 0..30 {
        let (piece, outcome) = outcomes.recv_timeout(PATIENCE).unwrap();
        match outcome {
            PieceOutcome::HashMismatch { .. } => assert_eq!(piece % 10, 5, "{piece}"),
            PieceOutcome::Contradiction => panic!("it has one hash"),
            PieceOutcome::WriteFailed { .. } => assert!((10..20).contains(&piece), "{piece}"),
            PieceOutcome::Written { .. } => {
                assert!(!(10..20).contains(&piece));
                assert_eq!(sample.read(&store, piece).unwrap(), sample.piece(piece));
            }
        }
    }
}

#[test]
fn what_pieces_take_is_counted_for_their_torrent() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sample = Sample::single(2);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    let idle = sample.open(other.path());
    verify(&pools, &store, 0, sample.blocks(&arena, 0), false);
    let good = store.effort();
    assert!(!good.hashing.is_zero() && !good.writing.is_zero(), "{good:?}");
    let mut bad = sample.blocks(&arena, 1);
    bad[0].as_mut().unwrap()[0] ^= 1;
    verify(&pools, &store, 1, bad, false);
    let all = store.effort();
    assert!(all.hashing > good.hashing && all.writing == good.writing, "{all:?} after {good:?}");
    assert!(idle.effort().hashing.is_zero() && idle.effort().writing.is_zero());
}

#[test]
fn neighbours_of_two_torrents_are_not_one_run() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sample = Sample::single(4);
    let pools = Pools::start(PoolSettings { hash_threads: 1, disk_threads: 1 }).unwrap();
    let stores = [sample.open(one.path()), sample.open(other.path())];
    let (release, held) = mpsc::channel::<()>();
    // While the only thread is busy, what follows becomes one batch.
    pools.verify_and_write(&stores[0], 0, Vec::new(), TreeCheck::None, false, move |_| {
        let _ = held.recv();
    });
    let (done, outcomes) = mpsc::channel();
    for (store, piece) in [(0, 0), (1, 2), (0, 1), (1, 3)] {
        let (blocks, done) = (sample.blocks(&Arena::new(0), piece), done.clone());
        let send = move |outcome| done.send(outcome).unwrap();
        pools.verify_and_write(&stores[store], piece, blocks, TreeCheck::None, false, send);
    }
    drop((release, done));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, PieceOutcome::Written { .. })));
    for piece in 0..4 {
        for (index, store) in stores.iter().enumerate() {
            let is_good = sample.read(store, piece).is_ok_and(|read| read == sample.piece(piece));
            assert_eq!(is_good, (piece < 2) == (index == 0), "{piece} of {index}");
        }
    }
}

#[test]
fn reads_that_can_not_be_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 1024 * KIB)], 512 * KIB);
    let (pools, store) = (pools(), sample.open(dir.path()));
    let too_long = read(&pools, &store, 0, 0, READ_BYTES_MAX + 1);
    assert!(matches!(too_long, Err(StorageError::OutOfRange { .. })));
    let outside = read(&pools, &store, 2, 0, BLOCK_LENGTH);
    assert!(matches!(outside, Err(StorageError::OutOfRange { .. })));
    let absent = read(&pools, &store, 0, 0, BLOCK_LENGTH);
    assert!(matches!(absent, Err(StorageError::Missing { .. })));
}

#[test]
fn a_panic_ends_one_job_and_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(1);
    let pools = Pools::start(PoolSettings { hash_threads: 1, disk_threads: 1 }).unwrap();
    let (store, arena) = (sample.open(dir.path()), Arena::new(64));
    pools.read(&store, 0, 0, 1, |_| panic!("a caller's bug"));
    pools.sync(&store, |_| panic!("a caller's bug"));
    pools.verify_and_write(&store, 0, Vec::new(), TreeCheck::None, false, |_| {
        panic!("a caller's bug")
    });
    let outcome = verify(&pools, &store, 0, sample.blocks(&arena, 0), false);
    assert!(matches!(outcome, PieceOutcome::Written { .. }));
    assert!(read(&pools, &store, 0, 0, 1).is_ok());
    let (done, synced) = mpsc::channel();
    pools.sync(&store, move |result| done.send(result).unwrap());
    synced.recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(matches!(guarded::<()>(|| panic!("ours")), Err(StorageError::Panicked)));
}

#[test]
fn a_check_runs_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(5);
    let (pools, store) = (pools(), sample.open(dir.path()));
    sample.write(&store, 3).unwrap();
    let (done, report) = mpsc::channel();
    let progressed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&progressed);
    let progress = move |_| seen.store(true, std::sync::atomic::Ordering::Relaxed);
    let pieces = Bitfield::full(5);
    pools.check(&store, pieces, progress, Arc::default(), move |r| done.send(r).unwrap());
    let report = report.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report.good.iter().collect::<Vec<_>>(), [3]);
    assert!(progressed.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn devices_do_not_wait_for_each_other() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm"));
    let Ok(other) = other else { return }; // no second device here
    let sample = Sample::single(1);
    let pools = Pools::start(PoolSettings { hash_threads: 1, disk_threads: 1 }).unwrap();
    let (slow, quick) = (sample.open(one.path()), sample.open(other.path()));
    if slow.device() == quick.device() {
        return; // nor here
    }
    let (release, blocked) = mpsc::channel::<()>();
    pools.read(&slow, 0, 0, 1, move |_| {
        let _ = blocked.recv(); // as if the disk hung
    });
    assert!(read(&pools, &quick, 0, 0, 1).is_err(), "answered while the other hangs");
    drop(release);
}

#[test]
fn dropped_pools_finish_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(8);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    let (done, outcomes) = mpsc::channel();
    for piece in 0..8 {
        let done = done.clone();
        let send = move |outcome| done.send(outcome).unwrap();
        pools.verify_and_write(
            &store,
            piece,
            sample.blocks(&arena, piece),
            TreeCheck::None,
            false,
            send,
        );
    }
    drop((pools, done));
    let outcomes: Vec<PieceOutcome> = outcomes.iter().collect(); // ends when the last job did
    assert_eq!(outcomes.len(), 8);
    assert_eq!(fs::read(store.file_path(0)).unwrap(), sample.content);
}

#[test]
fn what_the_kernel_has_in_memory_is_read_at_once_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(&[file("a", 40 * KIB), pad(24 * KIB), file("b", 10 * KIB)], 64 * KIB);
    let (pools, store) = (pools(), sample.open(dir.path()));
    assert!(pools.read_cached(&store, 0, 0, 100).is_none(), "not even open");
    sample.write_all(&store);
    for (piece, begin, length) in [(0, 0, 64 * KIB), (0, 7, 100), (1, 1, 9 * KIB)] {
        // A file system that can't tell is no error: then it is the pool's to read.
        if let Some(read) = pools.read_cached(&store, piece, begin, length as u32) {
            assert_eq!(*read, sample.piece(piece)[begin as usize..begin as usize + length]);
        }
    }
    assert!(pools.read_cached(&store, 1, 0, 11 * KIB as u32).is_none(), "longer than the piece");
    assert!(pools.read_cached(&store, 0, 0, READ_BYTES_MAX + 1).is_none());
    let b = fs::OpenOptions::new().write(true).open(dir.path().join("t/b")).unwrap();
    b.set_len(5).unwrap();
    assert!(pools.read_cached(&store, 1, 0, 9 * KIB as u32).is_none(), "cut short");
}

#[test]
fn new_data_sets_out_for_the_disk_before_anybody_syncs() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sample = Sample::single(1);
    let (pools, store, arena) = (pools(), sample.open(dir.path()), Arena::new(64));
    let other = sample.open(other.path());
    let behind_what_waits = || {
        let (done, outcome) = mpsc::channel();
        pools.sync(&other, move |result| done.send(result).unwrap());
        outcome.recv_timeout(PATIENCE).unwrap().unwrap();
    };
    let piece = || drop(verify(&pools, &store, 0, sample.blocks(&arena, 0), false));
    piece();
    behind_what_waits();
    assert_eq!(store.fresh_bytes(), 32 * KIB as u64, "too little");
    store.count_fresh(0, FRESH_BYTES);
    piece();
    behind_what_waits();
    assert!(store.fresh_bytes() <= 32 * KIB as u64, "it set out");
}
