//! Files that are not wanted, and the part store that keeps their shares of pieces.

use std::sync::atomic::AtomicBool;

use metainfo::FilePriority;
use proptest::prelude::*;

use super::*;
use crate::arrangement::Arrangement;
use crate::record::{Progress, ResumeRecord};
use crate::resume::{self, Plan, Verdict};
use crate::{CheckReport, check};

/// Wants these files of the sample.
fn wanting(sample: &Sample, files: &[usize]) -> Arrangement {
    let mut arrangement = Arrangement::default();
    let all = 0..sample.info().files().len();
    arrangement.choose(&all.map(|file| files.contains(&file)).collect::<Vec<_>>());
    arrangement
}

/// The torrent as it is opened at the start of a run.
fn opened(sample: &Sample, root: &Path, arrangement: &Arrangement) -> Arc<FileStore> {
    let store = sample.open(root);
    store.arrange(arrangement);
    store.observe();
    store
}

/// The pieces with bytes of these files.
fn pieces(sample: &Sample, files: &[usize]) -> Bitfield {
    let mut set = nothing(sample);
    for piece in files.iter().flat_map(|file| sample.info().pieces_of_file(*file)) {
        set.insert(piece);
    }
    set
}

/// What is in the torrent's folder, and the part store beside it.
fn names(root: &Path) -> (Vec<String>, Option<u64>) {
    let list = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut files: Vec<String> = list(&root.join("t"));
    files.sort();
    let hidden: Vec<String> = list(root);
    let hidden = hidden.iter().find(|name| name.starts_with(".peerless-"));
    (files, hidden.map(|name| fs::metadata(root.join(name)).unwrap().len()))
}

fn checked(store: &FileStore, pieces: &Bitfield) -> CheckReport {
    check(store, pieces, &|_| {}, &AtomicBool::new(false))
}

fn plan(sample: &Sample, record: &ResumeRecord, store: &FileStore) -> Plan {
    match resume::plan(sample.info(), Some(record), &store.observe(), &store.boot_id()) {
        Verdict::Run(plan) => plan,
        Verdict::StorageMissing => panic!("it is there"),
    }
}

/// Three files that share pieces of 32 KiB: 0 is `a`'s, 1 is of `a`, `b` and `c`, the rest `c`'s.
fn sample() -> Sample {
    Sample::new(&[file("a", 40 * KIB), file("b", 5 * KIB), file("c", 70 * KIB)], 32 * KIB)
}

#[test]
fn only_wanted_files_appear_and_every_piece_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    store.prepare(&nothing(&sample)).unwrap();
    sample.write(&store, 1).unwrap();
    assert_eq!(names(dir.path()), (vec!["b".into()], Some(32 * KIB as u64)));
    assert_eq!(fs::read(dir.path().join("t/b")).unwrap(), sample.file(1));
    assert_eq!(sample.read(&store, 1).unwrap(), sample.piece(1));
    assert_eq!(store.apart(), [0, 2].into());
    let mut some = vec![0; 9 * KIB];
    store.read(1, 7 * KIB as u32, &mut some).unwrap();
    assert_eq!(some, sample.piece(1)[7 * KIB..16 * KIB]);
}

#[test]
fn empty_files_and_links_that_are_not_wanted_do_not_appear_either() {
    let dir = tempfile::tempdir().unwrap();
    let files = [file("a", KIB), file("empty", 0), link("link", "a"), file("other", 0)];
    let sample = Sample::new(&files, 32 * KIB);
    let store = opened(&sample, dir.path(), &wanting(&sample, &[0, 3]));
    store.prepare(&nothing(&sample)).unwrap();
    assert_eq!(names(dir.path()).0, ["other"]);
    assert_eq!(store.space().unwrap().needed, KIB as u64);
}

#[test]
fn a_part_store_that_no_look_was_at_is_no_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = sample.open(dir.path());
    sample.write_all(&store);
    let store = opened(&sample, dir.path(), &Arrangement::default());
    let parts = store.file_path(store.parts_index());
    fs::write(&parts, vec![7; KIB]).unwrap(); // left over: nothing is missing, so nobody looks
    fs::remove_file(store.file_path(2)).unwrap();
    store.choose(&wanting(&sample, &[0, 1])).unwrap();
    assert!(store.is_apart(2));
    sample.write(&store, 1).unwrap();
    assert_eq!(sample.read(&store, 1).unwrap(), sample.piece(1));
}

#[test]
fn a_part_store_that_was_lost_and_dropped_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    sample.write(&store, 1).unwrap();
    fs::remove_file(store.file_path(store.parts_index())).unwrap();
    for _ in 0..2 {
        let result = sample.write(&store, 1);
        assert!(matches!(result, Err(StorageError::Missing { .. })), "{result:?}");
    }
    store.choose(&Arrangement::default()).unwrap();
    store.arrange(&Arrangement::default()); // as after a check that found nothing to move
    store.drop_parts().unwrap();
    store.choose(&wanting(&sample, &[1])).unwrap();
    sample.write(&store, 1).unwrap();
    assert_eq!(sample.read(&store, 1).unwrap(), sample.piece(1));
}

#[test]
fn what_is_wanted_later_moves_out_and_the_part_store_goes() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    sample.write(&store, 1).unwrap();
    store.choose(&Arrangement::default()).unwrap();
    assert_eq!(store.apart(), [0, 2].into(), "until they are moved");
    store.move_out(0, &nothing(&sample)).unwrap();
    assert_eq!(sample.read(&store, 1).unwrap(), sample.piece(1), "half of it moved");
    store.drop_parts().unwrap();
    assert!(names(dir.path()).1.is_some(), "c's share is in it");
    store.move_out(2, &nothing(&sample)).unwrap();
    store.drop_parts().unwrap();
    assert_eq!(names(dir.path()), (vec!["a".into(), "b".into(), "c".into()], None));
    assert_eq!(sample.read(&store, 1).unwrap(), sample.piece(1));
    sample.write(&store, 0).unwrap();
    (2..4).for_each(|piece| sample.write(&store, piece).unwrap());
    assert!(checked(&store, &Bitfield::full(4)).is_complete());
}

#[test]
fn a_crash_between_copy_and_record_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let before = wanting(&sample, &[1]);
    let store = opened(&sample, dir.path(), &before);
    sample.write(&store, 1).unwrap();
    let recorded = Arrangement { apart: store.apart(), ..before };
    store.choose(&Arrangement::default()).unwrap();
    store.move_out(0, &nothing(&sample)).unwrap();
    // Half a copy is what a kill in the middle leaves: `a` is there, and its share is not.
    fs::write(dir.path().join("t/a"), vec![0; 40 * KIB]).unwrap();
    drop(store);
    let again = opened(&sample, dir.path(), &recorded);
    assert!(again.apart().contains(&0), "the record says where it is");
    assert_eq!(sample.read(&again, 1).unwrap(), sample.piece(1));
    again.choose(&Arrangement::default()).unwrap();
    let have = pieces(&sample, &[1]);
    (0..3).for_each(|file| again.move_out(file, &have).unwrap());
    again.drop_parts().unwrap();
    assert_eq!(sample.read(&again, 1).unwrap(), sample.piece(1));
}

#[test]
fn without_a_record_the_part_store_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    sample.write(&store, 1).unwrap();
    drop(store);
    // All are wanted now, and nobody remembers the choice.
    let store = opened(&sample, dir.path(), &Arrangement::default());
    assert_eq!(store.apart(), [0, 2].into());
    let report = checked(&store, &Bitfield::full(4));
    assert_eq!(report.good.iter().collect::<Vec<_>>(), [1]);
    let extents = store.pieces_with_data();
    assert!(extents.has(1) && extents.count() == 1);
}

#[test]
fn a_part_store_that_is_gone_or_changed_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let arrangement = wanting(&sample, &[1]);
    let store = opened(&sample, dir.path(), &arrangement);
    sample.write(&store, 1).unwrap();
    let observed = store.observe();
    assert_eq!(observed.files.len(), 4);
    let mut progress = Progress::new(4, 0);
    progress.add_written(1);
    progress.clean = true;
    progress.root_device = observed.root_device;
    let arrangement = Arrangement { apart: store.apart(), ..arrangement };
    let files = observed.files;
    let totals = crate::Totals::default();
    let record = ResumeRecord { progress, files, torrent: None, arrangement, totals };
    let trusted = |store: &FileStore| {
        let plan = plan(&sample, &record, store);
        (plan.trusted.has(1), plan.recheck.has(1))
    };
    let again = opened(&sample, dir.path(), &record.arrangement);
    assert_eq!(trusted(&again), (true, false));
    let (_, Some(_)) = names(dir.path()) else { panic!("there is one") };
    let parts = again.file_path(3);
    fs::OpenOptions::new().write(true).open(&parts).unwrap().set_len(99).unwrap();
    assert_eq!(trusted(&again), (false, true), "changed: hashed");
    fs::remove_file(&parts).unwrap();
    let again = opened(&sample, dir.path(), &record.arrangement);
    assert_eq!(trusted(&again), (false, false), "gone: fetched again");
}

#[test]
fn a_file_that_is_there_keeps_its_bytes_when_it_is_no_longer_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &Arrangement::default());
    sample.write_all(&store);
    store.choose(&wanting(&sample, &[0])).unwrap();
    assert_eq!(store.apart(), BTreeSet::new());
    let again = opened(&sample, dir.path(), &wanting(&sample, &[0]));
    assert!(checked(&again, &Bitfield::full(4)).is_complete());
    assert_eq!(names(dir.path()).1, None);
}

#[test]
fn what_goes_to_the_part_store_is_synced_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    sample.write(&store, 1).unwrap();
    assert_eq!(store.unsynced().0, [1, 3], "the file and the part store");
    store.sync().unwrap();
    assert_eq!(store.unsynced(), (vec![], vec![]));
    let again = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    again.need_sync(std::iter::once(1));
    assert_eq!(again.unsynced().0, [1, 3], "written by an earlier run");
}

#[test]
fn a_link_in_the_place_of_the_part_store_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample();
    let store = opened(&sample, dir.path(), &wanting(&sample, &[1]));
    let outside = dir.path().join("outside");
    fs::write(&outside, b"mine").unwrap();
    std::os::unix::fs::symlink(&outside, store.file_path(3)).unwrap();
    let error = sample.write(&store, 1).unwrap_err();
    assert!(matches!(error, StorageError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any lengths, any choices: what is wanted is there, what is not wanted never appears, nothing
    /// that was written is lost by any change of mind, and a later run sees the same.
    #[test]
    fn any_choice_after_any_other(
        lengths in proptest::collection::vec(0..9usize, 1..7),
        choices in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 7), 1..4),
        reopen in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let lengths: Vec<usize> = lengths.iter().map(|length| length * 5000).collect();
        prop_assume!(lengths.iter().sum::<usize>() > 0);
        let files: Vec<Entry> =
            lengths.iter().enumerate().map(|(n, length)| file(&format!("f{n}"), *length)).collect();
        let sample = Sample::new(&files, 16 * KIB);
        let mut have = nothing(&sample);
        let mut ever = vec![false; files.len()];
        let mut store: Option<Arc<FileStore>> = None;
        for chosen in &choices {
            let chosen = &chosen[..files.len()];
            let mut arrangement = Arrangement::default();
            arrangement.choose(chosen);
            let store = match &mut store {
                Some(store) if !reopen => store,
                store => {
                    let recorded = store.as_ref().map(|store| store.apart()).unwrap_or_default();
                    let recorded = Arrangement { apart: recorded, ..arrangement.clone() };
                    store.insert(opened(&sample, dir.path(), &recorded))
                }
            };
            store.choose(&arrangement).unwrap();
            for file in (0..files.len()).filter(|file| chosen[*file]) {
                store.move_out(file, &have).unwrap();
                ever[file] = true;
            }
            store.drop_parts().unwrap();
            store.prepare(&have).unwrap();
            for file in (0..files.len()).filter(|file| chosen[*file]) {
                for piece in sample.info().pieces_of_file(file) {
                    if have.insert(piece) {
                        sample.write(store, piece).unwrap();
                    }
                }
            }
            for piece in have.iter() {
                prop_assert_eq!(sample.read(store, piece).unwrap(), sample.piece(piece));
            }
            let report = checked(store, &have);
            prop_assert_eq!(report.good.count(), have.count());
            for file in 0..files.len() {
                let path = store.file_path(file);
                prop_assert!(ever[file] || !path.exists(), "{} appeared", path.display());
                if chosen[file] {
                    prop_assert_eq!(fs::read(path).unwrap(), sample.file(file));
                    prop_assert_eq!(arrangement.priority(file), FilePriority::Normal);
                }
            }
        }
    }
}
