//! What is believed of a record, by how the last run ended and how the files look.

use proptest::prelude::*;
use std::collections::BTreeSet;

use super::*;
use crate::record::Progress;
use crate::store::testing::{Sample, file, pad};

const SECOND: i64 = 1_000_000_000;
/// When the record was saved.
const SAVED: i64 = 1_000_000 * SECOND;
/// When its files were last written.
const WRITTEN: i64 = SAVED - 600 * SECOND + 123_456_789;
const BOOT: &str = "this boot";

/// Pieces of 32 KiB; `a` has 0..=2, `b` 2..=3, `c` 4..=5: piece 2 is shared.
fn sample() -> Sample {
    const KIB: usize = 1024;
    Sample::new(&[file("a", 80 * KIB), file("b", 48 * KIB), file("c", 64 * KIB)], 32 * KIB)
}

fn set(pieces: impl IntoIterator<Item = PieceIndex>) -> Bitfield {
    let mut set = Bitfield::new(6);
    for piece in pieces {
        set.insert(piece);
    }
    set
}

fn list(set: &Bitfield) -> Vec<PieceIndex> {
    set.iter().collect()
}

/// Everything written, 0..=3 durable, killed in this boot.
fn record() -> ResumeRecord {
    let mut progress = Progress::new(6, 0);
    progress.written = set(0..6);
    progress.durable = set(0..4);
    progress.boot_id = BOOT.into();
    progress.committed_ns = SAVED;
    progress.root_device = Some(1);
    ResumeRecord {
        progress,
        files: observed().files,
        torrent: None,
        arrangement: Arrangement::default(),
        totals: Totals { uploaded: 7, active_ms: 9, ..Totals::default() },
    }
}

fn observed() -> Observed {
    let lengths = [80, 48, 64];
    let seen = |kib: &u64| Some(FileSeen { length: kib * 1024, modified_ns: WRITTEN });
    Observed {
        root_device: Some(1),
        files: lengths.iter().map(seen).collect(),
        apart: BTreeSet::new(),
    }
}

fn run(record: &ResumeRecord, observed: &Observed) -> Plan {
    run_in(record, observed, BOOT)
}

fn run_in(record: &ResumeRecord, observed: &Observed, boot: &str) -> Plan {
    match plan(sample().info(), Some(record), observed, boot) {
        Verdict::Run(plan) => plan,
        Verdict::StorageMissing => panic!("storage missing"),
    }
}

/// A plan as piece lists and doubts.
fn summary(plan: &Plan) -> (Vec<PieceIndex>, Vec<PieceIndex>, Vec<(usize, Doubt)>) {
    let notes = plan.notes.iter().map(|note| (note.file, note.doubt)).collect();
    (list(&plan.trusted), list(&plan.recheck), notes)
}

fn change(file: usize, change: impl FnOnce(&mut FileSeen)) -> Observed {
    let mut observed = observed();
    change(observed.files[file].as_mut().unwrap());
    observed
}

#[test]
fn how_the_last_run_ended() {
    let all = vec![0, 1, 2, 3, 4, 5];
    let killed = record();
    assert_eq!(summary(&run(&killed, &observed())), (all.clone(), vec![], vec![]));
    let cut = run_in(&killed, &observed(), "next boot");
    assert_eq!(summary(&cut), (vec![0, 1, 2, 3], vec![4, 5], vec![]));
    let mut clean = record();
    clean.progress.clean = true;
    assert_eq!(summary(&run_in(&clean, &observed(), "next boot")), (all, vec![], vec![]));
    let mut unknown = record();
    unknown.progress.boot_id = "".into();
    assert_eq!(list(&run_in(&unknown, &observed(), "").recheck), [4, 5], "no boot is no other's");
}

#[test]
fn durable_alone_is_nothing() {
    let mut record = record();
    record.progress.written = set([0, 5]); // 1..=3 were lost after they were synced
    let cut = run_in(&record, &observed(), "next boot");
    assert_eq!(summary(&cut), (vec![0], vec![5], vec![]));
}

#[test]
fn a_file_that_is_gone_takes_its_borders_along() {
    let mut gone = observed();
    gone.files[1] = None;
    assert_eq!(
        summary(&run(&record(), &gone)),
        (vec![0, 1, 4, 5], vec![], vec![(1, Doubt::Missing)])
    );
    let mut all_gone = observed();
    all_gone.files = vec![None; 3];
    let plan = run(&record(), &all_gone);
    assert_eq!((plan.trusted.count(), plan.recheck.count()), (0, 0), "the user deleted them");
}

#[test]
fn a_file_in_doubt_does_not_bring_back_what_its_neighbour_lost() {
    let mut both = observed();
    both.files[0] = None;
    both.files[1].as_mut().unwrap().modified_ns += 3600 * SECOND;
    let (trusted, recheck, _) = summary(&run(&record(), &both));
    assert_eq!((trusted, recheck), (vec![4, 5], vec![3]));
}

#[test]
fn a_file_cut_short_is_gone_past_its_end_and_in_doubt_before() {
    let short = change(0, |seen| seen.length = 40 * 1024);
    let (trusted, recheck, notes) = summary(&run(&record(), &short));
    assert_eq!((trusted, recheck, notes), (vec![3, 4, 5], vec![0], vec![(0, Doubt::Shorter)]));
}

#[test]
fn a_file_that_was_always_short_is_no_surprise() {
    let short = change(2, |seen| seen.length = 32 * 1024);
    let mut record = record();
    record.files.clone_from(&short.files);
    record.progress.written = set(0..5);
    assert_eq!(summary(&run(&record, &short)), (vec![0, 1, 2, 3, 4], vec![], vec![]));
}

#[test]
fn times_of_change() {
    let grace = nanoseconds(LATE_WRITES);
    let doubted = |record: &ResumeRecord, at: i64, boot: &str| {
        !run_in(record, &change(2, |seen| seen.modified_ns = at), boot).notes.is_empty()
    };
    let killed = record();
    for (at, is_doubted, why) in [
        (WRITTEN, false, "as recorded"),
        (WRITTEN + 1, false, "our own late write"),
        (SAVED + grace, false, "the last moment for one"),
        (SAVED + grace + 1, true, "after we were gone"),
        (WRITTEN - 1, true, "older than we left it"),
        (WRITTEN - WRITTEN.rem_euclid(2 * SECOND), false, "FAT"),
        (WRITTEN - WRITTEN.rem_euclid(SECOND), false, "ext3"),
        (WRITTEN - WRITTEN.rem_euclid(SECOND) + 1, true, "of no known step"),
    ] {
        assert_eq!(doubted(&killed, at, BOOT), is_doubted, "{why}");
    }
    let mut clean = record();
    clean.progress.clean = true;
    assert!(doubted(&clean, WRITTEN + 1, BOOT), "after a clean stop nothing of ours is late");
    let stale = nanoseconds(LATE_TIMES);
    assert!(!doubted(&killed, WRITTEN - stale, "next boot"), "the time did not reach the disk");
    assert!(doubted(&killed, WRITTEN - stale - 1, "next boot"));
    assert!(doubted(&clean, WRITTEN - 1, "next boot"));
}

#[test]
fn a_changed_file_is_hashed_whole() {
    let mut record = record();
    record.progress.written = set([0, 4]);
    let changed = change(2, |seen| seen.modified_ns = SAVED + 3600 * SECOND);
    let (trusted, recheck, notes) = summary(&run(&record, &changed));
    assert_eq!((trusted, recheck), (vec![0], vec![4, 5]), "somebody may have brought the rest");
    assert_eq!(notes, [(2, Doubt::Modified)]);
    let longer = change(2, |seen| seen.length += 1);
    assert_eq!(summary(&run(&record, &longer)).2, [(2, Doubt::Longer)]);
}

#[test]
fn a_file_that_was_not_there() {
    let mut record = record();
    record.files[2] = None;
    record.progress.written = set(0..4);
    let ours = change(2, |seen| seen.modified_ns = SAVED + SECOND);
    assert_eq!(summary(&run(&record, &ours)), (vec![0, 1, 2, 3], vec![], vec![]));
    let theirs = change(2, |seen| seen.modified_ns = WRITTEN);
    let (trusted, recheck, notes) = summary(&run(&record, &theirs));
    assert_eq!((trusted, recheck), (vec![0, 1, 2, 3], vec![4, 5]));
    assert_eq!(notes, [(2, Doubt::Appeared)]);
}

#[test]
fn storage_that_is_not_there_decides_nothing() {
    let decide = |record: &ResumeRecord, observed: &Observed| {
        plan(sample().info(), Some(record), observed, BOOT)
    };
    let gone = Observed { root_device: None, files: vec![None; 3], apart: BTreeSet::new() };
    assert_eq!(decide(&record(), &gone), Verdict::StorageMissing);
    let unmounted = Observed { root_device: Some(2), files: vec![None; 3], apart: BTreeSet::new() };
    assert_eq!(decide(&record(), &unmounted), Verdict::StorageMissing, "an empty mount point");
    let renumbered = Observed { root_device: Some(2), ..observed() };
    assert_eq!(run(&record(), &renumbered).trusted.count(), 6, "the files are what counts");
    let mut fresh = record();
    fresh.progress.written = Bitfield::new(6);
    assert!(matches!(decide(&fresh, &gone), Verdict::Run(_)), "nothing was there, nothing is lost");
}

#[test]
fn without_a_record_everything_that_can_be_there_is_hashed() {
    let mut some = observed();
    some.files[1] = None;
    some.files[2].as_mut().unwrap().length = 32 * 1024;
    for useless in [None, Some(ResumeRecord { files: Vec::new(), ..record() })] {
        let Verdict::Run(plan) = plan(sample().info(), useless.as_ref(), &some, BOOT) else {
            panic!()
        };
        assert_eq!(summary(&plan), (vec![], vec![0, 1, 4], vec![]));
    }
    let gone = Observed { root_device: None, files: vec![None; 3], apart: BTreeSet::new() };
    let Verdict::Run(plan) = plan(sample().info(), None, &gone, BOOT) else { panic!() };
    assert_eq!(plan.recheck.count(), 0);
}

#[test]
fn a_new_run_claims_what_was_trusted_and_hashed() {
    let record = record();
    let changed = change(0, |seen| seen.modified_ns = SAVED + 3600 * SECOND);
    let plan = run(&record, &changed);
    assert_eq!((list(&plan.trusted), list(&plan.recheck)), (vec![3, 4, 5], vec![0, 1, 2]));
    let next = begin(Some(record), &plan.trusted, &set([1, 3, 4, 5]), changed.clone(), 1);
    assert_eq!(list(&next.progress.written), [1, 3, 4, 5]);
    assert_eq!(list(&next.progress.durable), [3], "4, 5 never were; 1 may be in the kernel only");
    assert_eq!((next.totals.uploaded, next.totals.active_ms, next.progress.added_at), (7, 9, 0));
    assert_eq!(next.files, changed.files);
    let first = begin(None, &set([]), &set([1]), observed(), 99);
    assert_eq!((list(&first.progress.written), first.progress.added_at), (vec![1], 99));
    assert_eq!(first.progress.durable.count(), 0);
}

#[test]
fn only_a_complete_torrent_as_it_was_left_stays_clean() {
    let is_clean = |clean: bool, have: Bitfield, observed: Observed| {
        let mut record = record();
        record.progress.clean = clean;
        begin(Some(record), &have, &have, observed, 1).progress.clean
    };
    assert!(is_clean(true, set(0..6), observed()));
    assert!(!is_clean(false, set(0..6), observed()), "it was killed");
    assert!(!is_clean(true, set(0..5), observed()), "a piece is gone, or to be fetched");
    assert!(!is_clean(true, set(0..6), change(1, |seen| seen.modified_ns += 1)), "to be recorded");
    let elsewhere = Observed { root_device: Some(2), ..observed() };
    assert!(!is_clean(true, set(0..6), elsewhere), "to be recorded");
}

#[test]
fn pads_are_never_missed() {
    let sample = Sample::new(&[file("a", 1024), pad(31 * 1024), file("b", 32 * 1024)], 32 * 1024);
    let seen = |length| Some(FileSeen { length, modified_ns: WRITTEN });
    let observed = Observed {
        root_device: Some(1),
        files: vec![seen(1024), None, seen(32 * 1024)],
        apart: BTreeSet::new(),
    };
    let mut record = record();
    record.progress.written = Bitfield::full(2);
    record.progress.durable = Bitfield::new(2);
    record.files.clone_from(&observed.files);
    let verdict = plan(sample.info(), Some(&record), &observed, BOOT);
    assert!(matches!(verdict, Verdict::Run(plan) if plan.trusted.is_full()));
}

#[test]
fn this_boot_has_a_name() {
    assert_eq!(boot_id(), boot_id());
    assert!(!cfg!(target_os = "linux") || boot_id().len() > 30);
}

/// A record and a look at the files that have little to do with each other.
fn any_course() -> impl Strategy<Value = (ResumeRecord, Observed, bool)> {
    let seen = || {
        proptest::option::of((0..100 * 1024_u64, -10..20_i64).prop_map(|(length, seconds)| {
            FileSeen { length, modified_ns: SAVED + seconds * SECOND }
        }))
    };
    let files = || proptest::collection::vec(seen(), 3);
    let bits = || any::<u8>().prop_map(|bits| set((0..6).filter(move |bit| bits >> bit & 1 == 1)));
    (bits(), bits(), files(), files(), any::<(bool, bool, bool)>()).prop_map(
        |(written, durable, were, are, (clean, same_boot, same_device))| {
            let mut record = record();
            record.files = were;
            record.progress = Progress { written, durable, clean, ..record.progress };
            let root_device = Some(if same_device { 1 } else { 2 });
            (record, Observed { root_device, files: are, apart: BTreeSet::new() }, same_boot)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_trusted_that_was_not_written_or_can_not_be_there(
        (record, observed, same_boot) in any_course()
    ) {
        let sample = sample();
        let boot = if same_boot { BOOT } else { "next boot" };
        let Verdict::Run(plan) = plan(sample.info(), Some(&record), &observed, boot) else {
            return Ok(());
        };
        for piece in 0..6 {
            prop_assert!(!(plan.trusted.has(piece) && plan.recheck.has(piece)));
            if plan.trusted.has(piece) {
                prop_assert!(record.progress.written.has(piece));
                let is_enough = record.progress.clean || same_boot;
                prop_assert!(is_enough || record.progress.durable.has(piece));
            }
            if plan.trusted.has(piece) || plan.recheck.has(piece) {
                let size = sample.info().geometry().piece_size(piece);
                for segment in sample.info().segments(piece, 0, size) {
                    let there = observed.files[segment.file].map_or(0, |seen| seen.length);
                    prop_assert!(segment.offset + segment.length <= there);
                }
            }
        }
    }
}
