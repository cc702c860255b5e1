//! What torrents report, and what is saved of it when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::*;
use crate::arrangement::Arrangement;
use crate::record::Progress;
use crate::resume;
use crate::sqlite::SqliteState;
use crate::state::Save;
use crate::store::testing::Sample;
use crate::totals::Totals;

/// A store that reports each batch and fails as told.
struct Watched {
    inner: MemoryState,
    saves: mpsc::Sender<(usize, bool)>,
    failures: Arc<Mutex<Vec<StateError>>>,
    /// Until it is begun anew.
    is_unreadable: Arc<AtomicBool>,
}

impl StateStore for Watched {
    fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<ResumeRecord>>, StateError> {
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(StateError::Corrupt("page 7".into()));
        }
        self.inner.load_all(keys)
    }

    fn keys(&self) -> Result<Vec<RecordKey>, StateError> {
        self.inner.keys()
    }

    fn save(&self, batch: &[Save], through: bool) -> Result<(), StateError> {
        if let Some(error) = self.failures.lock().unwrap().pop() {
            return Err(error);
        }
        self.saves.send((batch.len(), through)).unwrap();
        self.inner.save(batch, through)
    }

    fn remove(&self, key: &RecordKey) -> Result<(), StateError> {
        self.inner.remove(key)
    }

    fn start_over(&self) -> Result<(), StateError> {
        self.is_unreadable.store(false, Ordering::Relaxed);
        self.inner.start_over()
    }
}

struct Fixture {
    writer: StateWriter,
    saves: mpsc::Receiver<(usize, bool)>,
    failures: Arc<Mutex<Vec<StateError>>>,
    is_unreadable: Arc<AtomicBool>,
    sample: Sample,
    store: Arc<FileStore>,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(100);
    let store = sample.open(dir.path());
    let (sender, saves) = mpsc::channel();
    let failures = Arc::new(Mutex::default());
    let is_unreadable = Arc::new(AtomicBool::new(false));
    let state = Watched {
        inner: MemoryState::default(),
        saves: sender,
        failures: Arc::clone(&failures),
        is_unreadable: Arc::clone(&is_unreadable),
    };
    let writer = StateWriter::start(state);
    Fixture { writer, saves, failures, is_unreadable, sample, store, _dir: dir }
}

fn fresh() -> ResumeRecord {
    let torrent = Some(Arc::from(*b"torrent"));
    ResumeRecord {
        progress: Progress::new(100, 0),
        files: vec![None],
        torrent,
        arrangement: Arrangement::default(),
        totals: Totals::default(),
    }
}

impl Fixture {
    fn track(&self) -> RecordHandle {
        self.writer.track(self.sample.torrent.info_hash, &self.store, fresh())
    }

    fn load(&self, handle: &RecordHandle) -> ResumeRecord {
        self.writer.load(handle.key()).unwrap().unwrap()
    }
}

#[test]
fn what_was_reported_is_there_after_a_flush() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.sample.write(&fixture.store, 7).unwrap();
    handle.written(7);
    handle.transferred(10, 20);
    handle.completed(5);
    handle.completed(6);
    fixture.writer.flush().unwrap();
    let record = fixture.load(&handle);
    assert_eq!(record.progress.written.iter().collect::<Vec<_>>(), [7]);
    assert_eq!((record.totals.uploaded, record.totals.downloaded), (10, 20));
    assert_eq!(record.progress.completed_at, Some(5), "the first time counts");
    assert_eq!(record.files, fixture.store.observe().files, "as the write left it");
    assert!(record.progress.committed_ns > 0 && !record.progress.clean);
    assert_eq!(record.torrent.as_deref(), Some(&b"torrent"[..]));
}

#[test]
fn many_changes_are_one_save_and_are_not_left_waiting() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.saves.recv().unwrap(), (1, true), "a torrent that runs is not clean");
    (0..BATCH_CHANGES).for_each(|piece| handle.written(piece));
    let started = Instant::now();
    assert_eq!(fixture.saves.recv().unwrap(), (1, false));
    assert!(started.elapsed() < SAVE_EVERY, "a full batch does not wait");
    handle.written(90);
    assert_eq!(
        fixture.saves.recv_timeout(SAVE_EVERY * 10).unwrap(),
        (1, false),
        "nor one for ever"
    );
    fixture.writer.flush().unwrap();
    assert!(fixture.saves.try_recv().is_err(), "no change, no save");
}

#[test]
fn durable_is_saved_through_and_written_is_not() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.writer.flush().unwrap();
    fixture.saves.try_iter().for_each(drop);
    handle.written(1);
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.saves.recv().unwrap(), (1, false));
    handle.durable(&handle.progress().written);
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.saves.recv().unwrap(), (1, true));
}

#[test]
fn what_was_lost_during_a_sync_is_not_durable_after_it() {
    let fixture = fixture();
    let handle = fixture.track();
    handle.written(1);
    handle.written(2);
    fixture.writer.flush().unwrap();
    fixture.saves.try_iter().for_each(drop);
    let before = handle.progress().written;
    handle.lost(2);
    handle.durable(&before);
    fixture.writer.flush().unwrap();
    let progress = fixture.load(&handle).progress;
    assert_eq!(progress.written.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(progress.durable.iter().collect::<Vec<_>>(), [1], "what was lost meanwhile is not");
}

#[test]
fn what_an_earlier_run_left_in_the_kernel_is_synced_before_it_is_durable() {
    let fixture = fixture();
    fixture.sample.write(&fixture.store, 1).unwrap();
    let root = fixture.store.root().to_path_buf();
    let store = fixture.sample.open(&root); // as after a kill: it has written nothing itself
    let mut record = fresh();
    record.progress.durable.insert(0);
    record.progress.written.insert(0);
    fixture.writer.track(fixture.sample.torrent.info_hash, &store, record.clone());
    assert_eq!(store.unsynced(), (vec![], vec![]), "all of it is durable");
    record.progress.written.insert(1);
    let handle = fixture.writer.track(fixture.sample.torrent.info_hash, &store, record);
    assert_eq!(store.unsynced(), (vec![0], vec![root.clone(), root.join("t")]));
    store.sync().unwrap();
    assert_eq!(handle.progress().boot_id, fixture.store.boot_id());
    assert_eq!(handle.progress().root_device, fixture.store.observe().root_device);
}

#[test]
fn a_closed_torrent_is_clean_and_forgotten_by_the_writer() {
    let fixture = fixture();
    let handle = fixture.track();
    let key = handle.key().clone();
    handle.written(3);
    handle.close(true);
    fixture.writer.flush().unwrap();
    assert!(fixture.writer.load(&key).unwrap().unwrap().progress.clean);
    assert!(fixture.writer.0.shared.schedule().tracked.is_empty());
    fixture.track();
    fixture.writer.flush().unwrap();
    assert!(!fixture.writer.load(&key).unwrap().unwrap().progress.clean, "running again");
    fixture.writer.remove(&key).unwrap();
    assert_eq!(fixture.writer.load(&key).unwrap(), None);
    assert_eq!(fixture.writer.keys().unwrap(), []);
}

/// The kernel drops what it could not write, so that it "still has it" is no longer true.
#[test]
fn what_a_disk_did_not_take_is_not_believed_in_the_same_boot_either() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.sample.write(&fixture.store, 3).unwrap();
    fixture.sample.write(&fixture.store, 4).unwrap();
    handle.written(3);
    handle.durable(&handle.progress().written);
    handle.written(4);
    fixture.writer.flush().unwrap();
    let plan = |record: &ResumeRecord| {
        let observed = fixture.store.observe();
        let info = fixture.sample.info();
        match resume::plan(info, Some(record), &observed, &fixture.store.boot_id()) {
            resume::Verdict::Run(plan) => (plan.trusted, plan.recheck),
            verdict @ resume::Verdict::StorageMissing => panic!("{verdict:?}"),
        }
    };
    let pieces = |set: &wire::Bitfield| set.iter().collect::<Vec<_>>();
    let (trusted, _) = plan(&fixture.load(&handle));
    assert_eq!(pieces(&trusted), [3, 4], "killed");

    fixture.saves.try_iter().for_each(drop);
    handle.not_durable();
    fixture.writer.flush().unwrap();
    assert!(fixture.saves.try_iter().any(|(_, through)| through), "not even a power cut undoes it");
    let (trusted, recheck) = plan(&fixture.load(&handle));
    assert_eq!((pieces(&trusted), pieces(&recheck)), (vec![3], vec![4]), "killed after that");

    let key = handle.key().clone();
    handle.close(false);
    fixture.writer.flush().unwrap();
    let (trusted, recheck) = plan(&fixture.writer.load(&key).unwrap().unwrap());
    assert_eq!((pieces(&trusted), pieces(&recheck)), (vec![3], vec![4]), "stopped after that");
}

/// One that began before the last, and tells late that it failed.
#[test]
fn a_sync_that_failed_before_the_last_does_not_undo_a_stop_in_good_order() {
    for clean in [true, false] {
        let fixture = fixture();
        let handle = fixture.track();
        handle.written(3);
        let (late, key) = (handle.clone(), handle.key().clone());
        handle.close(clean);
        late.not_durable();
        fixture.writer.flush().unwrap();
        let progress = fixture.writer.load(&key).unwrap().unwrap().progress;
        assert_eq!((progress.clean, progress.boot_id.is_empty()), (clean, !clean));
    }
}

#[test]
fn a_clean_record_is_left_alone_until_something_happens() {
    let fixture = fixture();
    fixture.track().close(true);
    fixture.writer.flush().unwrap();
    fixture.saves.try_iter().for_each(drop);
    let again = || {
        let key = RecordKey {
            info_hash: fixture.sample.torrent.info_hash,
            root: Arc::clone(fixture.store.root()),
        };
        let record = fixture.writer.load(&key).unwrap().unwrap();
        assert!(record.progress.clean);
        fixture.writer.track(key.info_hash, &fixture.store, record)
    };
    let idle = again();
    assert!(idle.is_as_stored());
    idle.close(true);
    fixture.writer.flush().unwrap();
    assert!(fixture.saves.try_recv().is_err(), "nothing happened");
    assert!(fixture.writer.0.shared.schedule().tracked.is_empty());

    let busy = again();
    busy.written(5);
    assert!(!busy.is_as_stored());
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.saves.recv().unwrap(), (1, true), "it runs: a power cut must not undo that");
    assert!(!fixture.load(&busy).progress.clean);
}

#[test]
fn what_a_seed_sends_is_saved_within_a_second_and_its_record_stays_clean() {
    let fixture = fixture();
    fixture.track().close(true);
    fixture.writer.flush().unwrap();
    fixture.saves.try_iter().for_each(drop);
    let key = RecordKey {
        info_hash: fixture.sample.torrent.info_hash,
        root: Arc::clone(fixture.store.root()),
    };
    let load = || fixture.writer.load(&key).unwrap().unwrap();
    let seed = fixture.writer.track(key.info_hash, &fixture.store, load());
    seed.runs(true);
    let started = Instant::now();
    (0..10 * BATCH_CHANGES).for_each(|_| seed.transferred(5, 0));
    assert_eq!(fixture.saves.recv_timeout(SAVE_EVERY * 10).unwrap(), (1, false), "by itself");
    assert!(started.elapsed() > SAVE_EVERY / 2, "many small ones are one save");
    assert!(seed.is_as_stored() && load().progress.clean);
    assert_eq!(load().totals.uploaded, u64::from(50 * BATCH_CHANGES));
    assert!(load().totals.seeding_ms > 0, "its time is saved with it");
    let before = load().totals;
    seed.close(true);
    fixture.writer.flush().unwrap();
    assert!(load().progress.clean && fixture.writer.0.shared.schedule().tracked.is_empty());
    assert!(load().totals.active_ms >= before.active_ms, "until the end");
}

#[test]
fn the_time_of_who_moves_nothing_is_saved_now_and_then() {
    let fixture = fixture();
    let (seed, now) = (fixture.track(), Instant::now());
    fixture.writer.flush().unwrap();
    let due = |ahead: Duration| {
        let mut schedule = fixture.writer.0.shared.schedule();
        let left = schedule.count_times(now + ahead);
        (left, schedule.changed.len())
    };
    due(Duration::ZERO); // begins
    assert_eq!(due(TIMES_EVERY * 2), (TIMES_EVERY, 0), "what does not run is left alone");
    seed.runs(true);
    let (left, queued) = due(TIMES_EVERY * 2 + TIMES_EVERY.saturating_sub(Duration::from_secs(1)));
    assert_eq!((left.as_secs(), queued), (1, 0));
    assert_eq!(due(TIMES_EVERY * 3), (TIMES_EVERY, 1));
    fixture.writer.flush().unwrap();
    assert!(fixture.load(&seed).totals.active_ms <= seed.totals().active_ms);
}

#[test]
fn the_time_of_who_rests_and_is_never_closed_is_saved() {
    let fixture = fixture();
    let seed = fixture.track();
    seed.runs(true);
    fixture.writer.flush().unwrap();
    let before = seed.totals().active_ms;
    while seed.totals().active_ms == before {
        std::thread::yield_now();
    }
    seed.rests();
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.load(&seed).totals, seed.totals(), "all of it");
    assert!(seed.totals().active_ms > before);
    fixture.saves.try_iter().for_each(drop);
    seed.rests();
    fixture.writer.flush().unwrap();
    assert!(fixture.saves.try_recv().is_err(), "it rests already");
}

#[test]
fn a_save_looks_at_what_changed_and_at_no_other() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.writer.flush().unwrap();
    assert!(fixture.writer.0.shared.schedule().changed.is_empty());
    handle.written(1);
    handle.written(2);
    assert_eq!(fixture.writer.0.shared.schedule().changed.len(), 1);
}

#[test]
fn a_handle_of_an_earlier_run_changes_nothing() {
    let fixture = fixture();
    let earlier = fixture.track();
    let current = fixture.track();
    earlier.written(1);
    current.written(2);
    earlier.written(3);
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.load(&current).progress.written.iter().collect::<Vec<_>>(), [2]);
    fixture.writer.remove(current.key()).unwrap();
    current.written(4);
    fixture.writer.flush().unwrap();
    assert_eq!(fixture.writer.keys().unwrap(), []);
}

#[test]
fn nothing_is_forgotten_when_saving_fails() {
    let fixture = fixture();
    let handle = fixture.track();
    handle.written(1);
    // More than the background thread tries in the time of this test.
    let failures = (0..50).map(|_| StateError::Database("disk full".into())).collect();
    *fixture.failures.lock().unwrap() = failures;
    fixture.sample.write(&fixture.store, 1).unwrap();
    assert!(matches!(fixture.writer.flush(), Err(StateError::Database(_))));
    handle.written(2);
    fixture.failures.lock().unwrap().clear();
    fixture.writer.flush().unwrap();
    let record = fixture.load(&handle);
    assert_eq!(record.progress.written.iter().collect::<Vec<_>>(), [1, 2]);
    assert!(record.files[0].is_some() && record.torrent.is_some());
}

#[test]
fn damaged_state_is_begun_anew_with_all_that_is_running() {
    let fixture = fixture();
    let handle = fixture.track();
    fixture.sample.write(&fixture.store, 1).unwrap();
    handle.written(1);
    fixture.writer.flush().unwrap();
    fixture.failures.lock().unwrap().push(StateError::Corrupt("page 5".into()));
    handle.written(2);
    fixture.writer.flush().unwrap();
    let record = fixture.load(&handle);
    assert_eq!(record.progress.written.iter().collect::<Vec<_>>(), [1, 2]);
    assert!(record.files[0].is_some() && record.torrent.is_some(), "not only what changed last");
}

#[test]
fn state_that_can_not_be_read_is_begun_anew_with_all_that_is_running() {
    let fixture = fixture();
    let handle = fixture.track();
    handle.written(1);
    fixture.writer.flush().unwrap();
    fixture.is_unreadable.store(true, Ordering::Relaxed);
    let info_hash = InfoHash([7; 20]);
    let other = RecordKey { info_hash, root: Arc::clone(fixture.store.root()) };
    let loaded = fixture.writer.load_all(&[other, handle.key().clone()]).unwrap();
    assert_eq!(loaded[0], None);
    let record = loaded[1].as_ref().unwrap();
    assert!(record.progress.written.has(1) && record.torrent.is_some());
}

#[test]
fn dropping_the_writer_saves_the_rest_into_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::single(100);
    let store = sample.open(&dir.path().join("files"));
    let writer = StateWriter::start(SqliteState::open(dir.path()).unwrap());
    let handle = writer.track(sample.torrent.info_hash, &store, fresh());
    sample.write(&store, 4).unwrap();
    handle.written(4);
    let key = handle.key().clone();
    drop(writer);
    let record = SqliteState::open(dir.path()).unwrap().load(&key).unwrap().unwrap();
    assert!(record.progress.written.has(4));
    assert_eq!(record.files, store.observe().files);
}

#[test]
fn memory_keeps_records_for_as_long_as_it_lives() {
    let fixture = fixture();
    let writer = StateWriter::in_memory();
    let handle = writer.track(fixture.sample.torrent.info_hash, &fixture.store, fresh());
    handle.written(9);
    assert!(writer.load(handle.key()).unwrap().unwrap().progress.written.has(9));
    assert_eq!(writer.keys().unwrap(), [handle.key().clone()]);
}
