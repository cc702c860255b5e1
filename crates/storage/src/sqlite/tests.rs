//! Records in the database: kept over crashes, and begun anew when it is damaged.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use rusqlite::StatementStatus;

use super::*;

const TOTALS: Totals = Totals { uploaded: 1, downloaded: 2, active_ms: 30, seeding_ms: 20 };

fn key(number: u8) -> RecordKey {
    // A folder whose name is not UTF-8.
    let root = PathBuf::from(OsString::from_vec(vec![b'/', number, 0xff]));
    RecordKey { info_hash: InfoHash([number; 20]), root: root.into() }
}

fn save(number: u8, pieces: &[u32]) -> Save {
    let mut progress = Progress::new(70, 1_700_000_000);
    for piece in pieces {
        progress.written.insert(*piece);
    }
    progress.durable.insert(pieces[0]);
    progress.boot_id = "boot".into();
    progress.committed_ns = 5;
    progress.root_device = Some(u64::MAX);
    progress.completed_at = Some(3);
    let seen = FileSeen { length: 1 << 40, modified_ns: -5 };
    let files = BTreeMap::from([(0, Some(seen)), (2, None)]);
    Save {
        key: key(number),
        progress: Some(progress),
        totals: TOTALS,
        files,
        file_count: 3,
        torrent: Some(Arc::from(*b"d4:infoe")),
        arrangement: None,
        shelf: None,
    }
}

#[test]
fn what_is_saved_comes_back_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path().join("new/folder")).unwrap();
    let saved = save(1, &[0, 69]);
    state.save(&[saved.clone(), save(2, &[5])], false).unwrap();
    std::mem::forget(state); // as after a kill: nothing is closed
    let state = SqliteState::open(dir.path().join("new/folder")).unwrap();
    let record = state.load(&key(1)).unwrap().unwrap();
    assert_eq!((Some(record.progress), record.totals), (saved.progress, TOTALS));
    assert_eq!(record.files, [saved.files[&0], None, None]);
    assert_eq!(record.torrent.as_deref(), Some(&b"d4:infoe"[..]));
    assert_eq!(state.keys().unwrap(), [key(1), key(2)]);
    assert_eq!(
        state.load(&RecordKey { root: Path::new("/elsewhere").into(), ..key(1) }).unwrap(),
        None
    );
}

/// `synchronous` is 2 (FULL) where a power cut must not lose it, and 1 (NORMAL) for the rest.
#[test]
fn what_claims_durability_is_committed_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    for (through, expected) in [(false, 1), (true, 2), (false, 1)] {
        state.save(&[save(1, &[0])], through).unwrap();
        let level: i64 =
            lock(&state.writer).query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(level, expected, "through: {through}");
    }
}

#[test]
fn later_saves_change_only_what_they_name() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1])], true).unwrap();
    let seen = FileSeen { length: 7, modified_ns: 8 };
    let mut second = save(1, &[1, 2]);
    second.files = BTreeMap::from([(1, Some(seen))]);
    second.torrent = None;
    state.save(&[second.clone()], false).unwrap();
    let record = state.load(&key(1)).unwrap().unwrap();
    assert_eq!(record.progress.written.count(), 2);
    assert_eq!(record.files, [save(1, &[1]).files[&0], Some(seen), None]);
    assert!(record.torrent.is_some(), "kept");
    second.files = BTreeMap::from([(0, None)]);
    state.save(&[second], false).unwrap();
    assert_eq!(state.load(&key(1)).unwrap().unwrap().files, [None, Some(seen), None]);
    state.remove(&key(1)).unwrap();
    assert_eq!(state.load(&key(1)).unwrap(), None);
    let left: i64 =
        lock(&state.writer).query_row("SELECT count(*) FROM files", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 0, "nothing is left of it");
}

#[test]
fn a_damaged_database_is_set_aside_and_another_begun() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    for number in 1..=3 {
        fs::write(&path, vec![b'x'; 10_000]).unwrap();
        let state = SqliteState::open(dir.path()).unwrap();
        assert_eq!(state.keys().unwrap(), []);
        state.save(&[save(1, &[1])], false).unwrap();
        drop(state);
        let aside = dir.path().join(format!("{FILE_NAME}.corrupt-{number}"));
        assert_eq!(fs::read(aside).unwrap(), vec![b'x'; 10_000]);
    }
}

#[test]
fn a_page_of_garbage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let state = SqliteState::open(dir.path()).unwrap();
    for number in 0..100 {
        state.save(&[save(number, &[1])], false).unwrap();
    }
    drop(state);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..8192].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    assert_eq!(state.keys().unwrap(), []);
    assert!(dir.path().join("state.sqlite.corrupt-1").exists());
}

#[test]
fn an_empty_or_truncated_file_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    fs::write(&path, "").unwrap(); // as after a power cut
    SqliteState::open(dir.path()).unwrap().save(&[save(1, &[1])], false).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(2, &[1])], false).unwrap();
    assert!(state.load(&key(2)).unwrap().is_some());
}

#[test]
fn a_store_begun_anew_works_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1])], false).unwrap();
    state.start_over().unwrap();
    assert_eq!(state.keys().unwrap(), []);
    state.save(&[save(1, &[1])], false).unwrap();
    assert_eq!(state.keys().unwrap(), [key(1)]);
}

#[test]
fn another_versions_state_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    lock(&state.writer).pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    drop(state);
    let result = SqliteState::open(dir.path());
    let Err(StateError::Newer { version, known, .. }) = result else { panic!("{result:?}") };
    assert_eq!((version, known), (schema::VERSION + 1, schema::VERSION));
    assert!(dir.path().join(FILE_NAME).exists());
}

#[test]
fn two_processes_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = SqliteState::open(dir.path()).unwrap();
    let other = SqliteState::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for (state, base) in [(&one, 0), (&other, 100)] {
            scope.spawn(move || {
                (0..30).for_each(|number| state.save(&[save(base + number, &[1])], false).unwrap());
            });
        }
    });
    assert_eq!(one.keys().unwrap().len(), 60);
}

#[test]
fn many_may_make_it_at_the_same_moment() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| SqliteState::open(dir.path()).unwrap());
            }
        });
    }
}

#[test]
fn a_damaged_record_is_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1]), save(2, &[1])], false).unwrap();
    lock(&state.writer).execute("UPDATE torrents SET pieces = 9000 WHERE id = 1", []).unwrap();
    assert_eq!(state.load(&key(1)).unwrap(), None);
    assert!(state.load(&key(2)).unwrap().is_some(), "one record never costs another");
}

#[test]
fn a_folder_that_can_not_be_is_an_error() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"x").unwrap();
    let result = SqliteState::open(file.path().join("sub"));
    assert!(matches!(result, Err(StateError::Folder { .. })), "{result:?}");
}

#[test]
fn who_looks_does_not_wait_for_who_saves() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1])], false).unwrap();
    let writer = lock(&state.writer);
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM torrents").unwrap(); // and is slow
    let looked = std::thread::scope(|scope| {
        let (done, looked) = std::sync::mpsc::channel();
        let state = &state;
        scope.spawn(move || done.send(state.load(&key(1)).unwrap().is_some()));
        let looked = looked.recv_timeout(BUSY_TIMEOUT);
        writer.execute_batch("ROLLBACK").unwrap();
        drop(writer);
        looked
    });
    assert_eq!(looked, Ok(true), "at once, and as it was before");
}

#[test]
fn many_are_loaded_in_the_order_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1]), save(2, &[2])], false).unwrap();
    let loaded = state.load_all(&[key(2), key(7), key(1)]).unwrap();
    let first = |record: &Option<ResumeRecord>| record.as_ref()?.progress.written.iter().next();
    assert_eq!(loaded.iter().map(first).collect::<Vec<_>>(), [Some(2), None, Some(1)]);
}

#[test]
fn what_was_arranged_comes_back_and_goes_with_the_torrent() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    let arranged = Arrangement {
        sequential: true,
        apart: [2].into(),
        priorities: vec![metainfo::FilePriority::Skip],
        ..Arrangement::default()
    };
    let with = |arrangement| Save { arrangement, ..save(1, &[1]) };
    let loaded = || state.load(&key(1)).unwrap().unwrap().arrangement;
    state.save(&[with(None)], false).unwrap();
    assert_eq!(loaded(), Arrangement::default());
    state.save(&[with(Some(arranged.clone()))], true).unwrap();
    assert_eq!(loaded(), arranged);
    state.save(&[with(None)], false).unwrap();
    assert_eq!(loaded(), arranged, "not told anew, it stays");
    state.save(&[with(Some(Arrangement::default()))], true).unwrap();
    assert_eq!(loaded(), Arrangement::default());
    state.save(&[with(Some(arranged))], true).unwrap();
    state.remove(&key(1)).unwrap();
    let rows: i64 = lock(&state.writer)
        .query_row("SELECT count(*) FROM arrangements", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(schema::TABLES).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let state = SqliteState::open(dir.path()).unwrap();
    let arranged = Arrangement { first_last: true, ..Arrangement::default() };
    let one = Save { arrangement: Some(arranged.clone()), ..save(1, &[1]) };
    state.save(&[one], false).unwrap();
    assert_eq!(state.load(&key(1)).unwrap().unwrap().arrangement, arranged);
}

#[test]
fn what_was_moved_and_for_how_long_never_gets_less_and_leaves_the_rest_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    state.save(&[save(1, &[1])], false).unwrap();
    let totals = |totals| Save { progress: None, torrent: None, totals, ..save(1, &[2]) };
    let more = Totals { uploaded: 9, downloaded: 9, active_ms: 99, seeding_ms: 99 };
    let less = Totals::default();
    state.save(&[totals(more), totals(less)], false).unwrap();
    let record = state.load(&key(1)).unwrap().unwrap();
    assert_eq!(record.totals, more, "two runs at once, one of them late");
    assert_eq!(Some(record.progress), save(1, &[1]).progress);
    state.remove(&key(1)).unwrap();
    state.save(&[totals(more)], false).unwrap();
    assert_eq!(state.load(&key(1)).unwrap(), None, "totals alone are no record");
    state.save(&[save(1, &[1])], false).unwrap();
    assert_eq!(state.load(&key(1)).unwrap().unwrap().totals, TOTALS, "nor outlive one");
}

#[test]
fn a_database_of_the_second_version_keeps_what_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(schema::TABLES).unwrap();
    old.execute_batch(schema::ARRANGEMENTS).unwrap();
    for number in [1, 2] {
        let key = key(number);
        old.execute(
            "INSERT INTO torrents VALUES (NULL, ?1, ?2, 70, ?3, ?3, 'boot', 1, 5, NULL, ?4, 7,
                8, 9, 3, ?5)",
            params![
                &key.info_hash.0[..],
                key.root.as_os_str().as_bytes(),
                &[0xff_u8, 0, 0, 0, 0, 0, 0, 0, 0][..],
                i64::from(number) << 40,
                &b"d4:infoe"[..],
            ],
        )
        .unwrap();
    }
    let arranged = Arrangement { first_last: true, ..Arrangement::default() };
    old.execute("INSERT INTO arrangements VALUES (2, ?1)", [arranged.encode()]).unwrap();
    old.execute("INSERT INTO files VALUES (2, 1, 4, 5)", []).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    drop(old);
    for _ in 0..2 {
        let state = SqliteState::open(dir.path()).unwrap();
        let record = state.load(&key(2)).unwrap().unwrap();
        let moved = Totals { uploaded: 2 << 40, downloaded: 7, ..Totals::default() };
        assert_eq!(record.totals, moved);
        let progress = record.progress;
        assert_eq!((progress.added_at, progress.completed_at, progress.clean), (8, Some(9), true));
        assert_eq!((progress.written.count(), progress.durable.count()), (8, 8));
        assert_eq!(record.files, [None, Some(FileSeen { length: 4, modified_ns: 5 }), None]);
        assert_eq!(record.torrent.as_deref(), Some(&b"d4:infoe"[..]));
        assert_eq!(record.arrangement, arranged);
        assert!(state.load(&key(1)).unwrap().is_some());
    }
}

#[test]
fn a_statement_is_compiled_once_however_often_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteState::open(dir.path()).unwrap();
    let compiled_anew = |state: &SqliteState| {
        state.save(&[save(1, &[1]), save(2, &[1])], false).unwrap();
        state.load_all(&[key(1), key(2), key(3)]).unwrap();
        state.load_all(&[key(2), key(1)]).unwrap();
        let reader = lock(&state.reader);
        let find = reader.prepare_cached(FIND).unwrap();
        assert!(find.get_status(StatementStatus::Run) >= 5, "it is the one that was used");
        find.get_status(StatementStatus::RePrepare)
    };
    assert_eq!(compiled_anew(&state), 0);
    state.start_over().unwrap();
    assert_eq!(compiled_anew(&state), 0);
}
