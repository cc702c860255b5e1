//! How much of a record to believe after a restart.
//!
//! | what happened | trusted without hashing |
//! |---|---|
//! | stopped in good order | *written* |
//! | killed, same boot and mount: the kernel still has what it took | *written* |
//! | power cut or crash of the system | *durable*; the rest of *written* is hashed |
//! | the disk did not take what the kernel had | the same, in the same boot too |
//! | a file is gone | none of its pieces, nor those it shares with its neighbours |
//! | a file ends too early | none of the pieces past its end; the others are hashed |
//! | a file was changed by somebody else | none of its pieces; they are hashed |
//! | the folder, or the volume under it, is gone | nothing is decided: [`Verdict::StorageMissing`] |
//!
//! A pure rule over a record and a look at the files: it opens nothing.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metainfo::{FileEntry, Info, PieceIndex};
use wire::Bitfield;

use crate::arrangement::Arrangement;
use crate::record::{FileSeen, Observed, Progress, ResumeRecord};
use crate::totals::Totals;
use crate::writer::SAVE_EVERY;

/// After a kill a file may be newer than its record, from writes of ours that were not recorded
/// yet. These happened before the next save was due; the rest is for a slow save and for clocks
/// that are set a little.
const LATE_WRITES: Duration = SAVE_EVERY.saturating_add(Duration::from_secs(4));

/// After a power cut a file may be older than its record: kernels bring times of change to the disk
/// within half a minute by default, and syncing data does not hurry them.
const LATE_TIMES: Duration = Duration::from_mins(1);

/// Steps in which file systems keep times, in nanoseconds: 2 s (FAT), 1 s (ext3, HFS+), 10 ms
/// (exFAT), 1 µs and 100 ns (NTFS, network file systems). The kernel shows us finer ones until the
/// file is forgotten.
const TIME_STEPS_NS: [i64; 5] = [2_000_000_000, 1_000_000_000, 10_000_000, 1_000, 100];

/// What to do with a torrent that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The record speaks of files, and the folder or the volume they were on is not there. To go on
    /// would download everything again, perhaps to the wrong disk.
    StorageMissing,
    /// It can run.
    Run(Plan),
}

/// Which pieces to believe in. A piece in neither set is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// There, without hashing.
    pub trusted: Bitfield,
    /// To be hashed first.
    pub recheck: Bitfield,
    /// Why something is not believed, by file.
    pub notes: Vec<Note>,
}

/// Why a file's pieces are not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Index in the torrent.
    pub file: usize,
    /// Why.
    pub doubt: Doubt,
}

/// What is suspicious about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// It is not there.
    Missing,
    /// It is shorter than it was.
    Shorter,
    /// It is longer than it was.
    Longer,
    /// It was changed at a time when we did not.
    Modified,
    /// It was not there.
    Appeared,
}

/// Names this boot of the system; empty where the system does not say, which is equal to no other.
pub(crate) fn boot_id() -> Arc<str> {
    static BOOT_ID: LazyLock<Arc<str>> = LazyLock::new(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().into()
    });
    Arc::clone(&BOOT_ID)
}

/// What to trust, given what was recorded (if anything), how the files look now
/// ([`crate::FileStore::observe`]) and which boot and mount this is ([`crate::FileStore::boot_id`]). Observe before anything
/// else touches the files, and record the same look as the new state.
pub fn plan(
    info: &Info,
    record: Option<&ResumeRecord>,
    observed: &Observed,
    boot_id: &str,
) -> Verdict {
    let count = info.geometry().piece_count();
    let record = record.filter(|record| {
        record.progress.written.len() == count
            && record.progress.durable.len() == count
            && [0, 1].contains(&record.files.len().wrapping_sub(info.files().len()))
    });
    let mut plan = match record {
        // Nothing is known: whatever is there is to be hashed.
        None => Plan {
            trusted: Bitfield::new(count),
            recheck: Bitfield::full(count),
            notes: Vec::new(),
        },
        Some(record) if storage_is_missing(record, observed) => return Verdict::StorageMissing,
        Some(record) => believed(record, boot_id),
    };
    let files = || info.files().iter().zip(&observed.files).enumerate();
    if let Some(record) = record {
        for (file, (entry, seen)) in files().filter(|(_, (entry, _))| has_data(entry)) {
            let recorded = record.files.get(file).copied().flatten();
            if let Some(doubt) = doubt(record, entry.length, recorded, *seen, boot_id) {
                for piece in info.pieces_of_file(file) {
                    plan.trusted.remove(piece);
                    plan.recheck.insert(piece);
                }
                plan.notes.push(Note { file, doubt });
            }
        }
    }
    doubt_parts(info, record, observed, boot_id, &mut plan);
    // Last, so that a piece shared with a file in doubt does not come back.
    for (file, (entry, seen)) in files().filter(|(_, (entry, _))| has_data(entry)) {
        // The pieces that an apart file shares are in the part store.
        let elsewhere = |piece: &PieceIndex| {
            observed.apart.contains(&file)
                && observed.files.len() > info.files().len()
                && is_shared(info, *piece)
        };
        for piece in gone(info, file, entry, *seen).filter(|piece| !elsewhere(piece)) {
            plan.trusted.remove(piece);
            plan.recheck.remove(piece);
        }
    }
    Verdict::Run(plan)
}

/// The record to run with ([`crate::StateWriter::track`]), once the pieces in doubt were hashed.
/// `trusted` is the plan's, `have` is that and what was hashed and good, `observed` is the look
/// that the plan was made from, and `now` is in seconds since 1970, for a torrent that is new.
///
/// A complete torrent that is as a clean record has it stays clean: nothing will be written to it,
/// and thousands of seeds can start without a word to the disk.
pub fn begin(
    record: Option<ResumeRecord>,
    trusted: &Bitfield,
    have: &Bitfield,
    observed: Observed,
    now: i64,
) -> ResumeRecord {
    let record = record.unwrap_or_else(|| ResumeRecord {
        progress: Progress::new(have.len(), now),
        files: Vec::new(),
        torrent: None,
        arrangement: Arrangement::default(),
        totals: Totals::default(),
    });
    let ResumeRecord { mut progress, files: recorded_files, torrent, arrangement, totals } = record;
    let is_complete = have.count() == have.len();
    progress.clean &= is_complete
        && progress.written == *have
        && progress.root_device == observed.root_device
        && recorded_files == observed.files;
    let mut durable = Bitfield::new(have.len());
    // A good hash says that the data can be read now, not that it would survive a power cut.
    for piece in trusted.iter().filter(|piece| progress.durable.has(*piece)) {
        durable.insert(piece);
    }
    progress.written = have.clone();
    progress.durable = durable;
    ResumeRecord { progress, files: observed.files, torrent, arrangement, totals }
}

/// Of a part store that was changed, nothing is believed. One that is gone is no part of `observed`:
/// then the files that are apart are simply missing.
fn doubt_parts(
    info: &Info,
    record: Option<&ResumeRecord>,
    observed: &Observed,
    boot_id: &str,
    plan: &mut Plan,
) {
    let index = info.files().len();
    let (Some(record), Some(seen)) = (record, observed.files.get(index).copied()) else { return };
    let recorded = record.files.get(index).copied().flatten();
    let Some(doubt) = doubt(record, u64::MAX, recorded, seen, boot_id) else { return };
    let apart = observed.apart.iter().flat_map(|file| info.pieces_of_file(*file));
    for piece in apart.filter(|piece| is_shared(info, *piece)) {
        plan.trusted.remove(piece);
        plan.recheck.insert(piece);
    }
    plan.notes.push(Note { file: index, doubt });
}

/// Whether several files have bytes of a piece.
fn is_shared(info: &Info, piece: PieceIndex) -> bool {
    let files = info.files_of_piece(piece).filter_map(|file| info.files().get(file));
    files.filter(|entry| has_data(entry)).take(2).count() > 1
}

fn has_data(entry: &FileEntry) -> bool {
    entry.length > 0 && !entry.attributes.pad
}

fn storage_is_missing(record: &ResumeRecord, observed: &Observed) -> bool {
    if record.progress.written.count() == 0 {
        return false;
    }
    let Some(device) = observed.root_device else { return true };
    // An unmounted volume leaves its empty mount point behind. Numbers of devices may change at a
    // boot, so by themselves they mean nothing.
    let other_device = record.progress.root_device.is_some_and(|was| was != device);
    let were_there = record.files.iter().zip(&observed.files).filter(|(was, _)| was.is_some());
    let all_gone = were_there.clone().count() > 0 && were_there.clone().all(|(_, is)| is.is_none());
    other_device && all_gone
}

/// What the way the last run ended leaves to believe.
fn believed(record: &ResumeRecord, boot_id: &str) -> Plan {
    let progress = &record.progress;
    if progress.clean || same_boot(record, boot_id) {
        let recheck = Bitfield::new(progress.written.len());
        return Plan { trusted: progress.written.clone(), recheck, notes: Vec::new() };
    }
    let mut trusted = Bitfield::new(progress.written.len());
    let mut recheck = Bitfield::new(progress.written.len());
    for piece in progress.written.iter() {
        let set = if progress.durable.has(piece) { &mut trusted } else { &mut recheck };
        set.insert(piece);
    }
    Plan { trusted, recheck, notes: Vec::new() }
}

fn same_boot(record: &ResumeRecord, boot_id: &str) -> bool {
    !boot_id.is_empty() && *record.progress.boot_id == *boot_id
}

/// Whether a file differs from its record in a way that is not our own doing.
fn doubt(
    record: &ResumeRecord,
    length_max: u64,
    recorded: Option<FileSeen>,
    seen: Option<FileSeen>,
    boot_id: &str,
) -> Option<Doubt> {
    let unclean = !record.progress.clean;
    let until = record.progress.committed_ns.saturating_add(nanoseconds(LATE_WRITES));
    let is_late_write = |seen: FileSeen, not_before: i64| {
        unclean && (not_before..=until).contains(&seen.modified_ns) && seen.length <= length_max
    };
    let (was, is) = match (recorded, seen) {
        (None, None) => return None,
        (Some(_), None) => return Some(Doubt::Missing),
        // Made between the last save and the kill: there are no recorded pieces in it.
        (None, Some(seen)) if is_late_write(seen, record.progress.committed_ns) => return None,
        (None, Some(_)) => return Some(Doubt::Appeared),
        (Some(was), Some(is)) => (was, is),
    };
    if is.length < was.length {
        return Some(Doubt::Shorter);
    }
    if is.length > was.length && !is_late_write(is, was.modified_ns) {
        return Some(Doubt::Longer);
    }
    if is_same_time(was.modified_ns, is.modified_ns) || is_late_write(is, was.modified_ns) {
        return None;
    }
    let stale_from = was.modified_ns.saturating_sub(nanoseconds(LATE_TIMES));
    let power_cut = unclean && !same_boot(record, boot_id);
    if power_cut && (stale_from..was.modified_ns).contains(&is.modified_ns) {
        return None;
    }
    Some(Doubt::Modified)
}

/// Whether two times are one, as far as file systems keep them apart.
fn is_same_time(recorded: i64, seen: i64) -> bool {
    let rounded = |step: &i64| recorded - recorded.rem_euclid(*step);
    recorded == seen || TIME_STEPS_NS.iter().any(|step| seen == rounded(step))
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The pieces that can't be there, for want of a file's bytes.
fn gone(
    info: &Info,
    file: usize,
    entry: &FileEntry,
    seen: Option<FileSeen>,
) -> std::ops::Range<PieceIndex> {
    let pieces = info.pieces_of_file(file);
    let there = seen.map_or(0, |seen| seen.length);
    if there >= entry.length {
        return pieces.end..pieces.end;
    }
    let first_lost = entry.offset.saturating_add(there);
    let piece = first_lost / u64::from(info.geometry().piece_length());
    u32::try_from(piece).unwrap_or(pieces.end)..pieces.end
}

#[cfg(test)]
mod tests;
