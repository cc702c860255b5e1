//! What a running torrent reports of itself.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use metainfo::PieceIndex;
use wire::Bitfield;

use super::tracked::{Tracked, TrackedState};
use super::{BATCH_CHANGES, Shared};
use crate::arrangement::Arrangement;
use crate::record::{Progress, RecordKey};
use crate::shelf::Shelf;
use crate::totals::Totals;

/// How a running torrent reports what happened. None of the methods waits for a disk.
#[derive(Clone)]
pub struct RecordHandle {
    pub(super) tracked: Arc<Tracked>,
    pub(super) shared: Arc<Shared>,
}

impl RecordHandle {
    /// The record's key.
    pub fn key(&self) -> &RecordKey {
        &self.tracked.key
    }

    /// The record as it is in memory.
    pub fn progress(&self) -> Progress {
        self.tracked.state().progress.clone()
    }

    /// A piece is verified and the kernel has it.
    pub fn written(&self, piece: PieceIndex) {
        self.change(false, |progress| progress.add_written(piece));
    }

    /// Pieces were found on the disk, good and written by nobody knows whom.
    pub fn found(&self, pieces: &Bitfield) {
        self.tracked.store.need_sync(pieces.iter());
        self.change(false, |progress| {
            pieces.iter().fold(false, |any, piece| progress.add_written(piece) | any)
        });
    }

    /// A piece that was written is not there any more.
    pub fn lost(&self, piece: PieceIndex) {
        self.change(true, |progress| progress.take_lost(piece));
    }

    /// These pieces, written before the last good [`crate::FileStore::sync`] began, are on the disk. Take
    /// [`Self::progress`]'s `written` before the sync, and pass it here after.
    pub fn durable(&self, pieces: &Bitfield) {
        self.change(true, |progress| progress.add_durable(pieces));
    }

    /// A [`crate::FileStore::sync`] failed: the disk may not have taken what the kernel had accepted, and
    /// the kernel may have dropped it. The next run hashes what is written and not durable, even in
    /// this boot. Nothing when the torrent stopped in good order: a later sync was good.
    pub fn not_durable(&self) {
        let state = self.tracked.state();
        if !(state.closed && state.progress.clean) {
            self.change_in(state, true, Progress::doubt_kernel);
        }
    }

    /// What its owner arranged, as it is in memory.
    pub fn arrangement(&self) -> Arrangement {
        self.tracked.state().arrangement.as_deref().cloned().unwrap_or_default()
    }

    /// Its owner arranged it anew, or a file's bytes changed places: what is told here outlives a
    /// power cut once [`crate::StateWriter::flush`] returned well.
    pub fn arrange(&self, arrangement: Arrangement) {
        let mut state = self.tracked.state();
        let before = state.arrangement.as_deref();
        if before.unwrap_or(&Arrangement::default()) == &arrangement || state.closed {
            return;
        }
        state.arrangement = boxed(arrangement);
        state.progress.clean = false;
        state.unsaved.progress = true;
        state.unsaved.arrangement = true;
        state.unsaved.through = true;
        drop(state);
        self.note_change();
    }

    /// Payload bytes sent and received since the last call.
    pub fn transferred(&self, uploaded: u64, downloaded: u64) {
        let mut state = self.tracked.state();
        let moved = state.meter.moved(uploaded, downloaded);
        if moved && !std::mem::replace(&mut state.unsaved.totals, true) {
            drop(state);
            self.note(0); // it waits for the next save, however often it happens
        }
    }

    /// Keeps which whole files it has, in the place of what was kept.
    pub fn shelve(&self, shelf: Shelf) {
        let mut state = self.tracked.state();
        state.shelf = Some(Arc::new(shelf));
        state.unsaved.totals = true; // a closed record is forgotten once nothing is left to save
        drop(state);
        self.note(0);
    }

    /// From now on its time counts, as seeding or not. Until [`Self::close`].
    pub fn runs(&self, seeds: bool) {
        self.tracked.state().meter.run(Instant::now(), seeds);
    }

    /// From now on its time does not count.
    pub fn rests(&self) {
        let mut state = self.tracked.state();
        let ran = state.meter.rest(Instant::now());
        if ran && !std::mem::replace(&mut state.unsaved.totals, true) {
            drop(state);
            self.note(0); // nobody may close a torrent that ends by a failure
        }
    }

    /// When it was added, and when its last piece arrived, in seconds since 1970.
    pub fn dates(&self) -> (i64, Option<i64>) {
        let state = self.tracked.state();
        (state.progress.added_at, state.progress.completed_at)
    }

    /// What it moved and for how long it ran, all runs together, as of now.
    pub fn totals(&self) -> Totals {
        self.tracked.state().meter.at(Instant::now())
    }

    /// Keeps this .torrent file with the record from now on.
    pub fn remember(&self, torrent: Arc<[u8]>) {
        let mut state = self.tracked.state();
        state.torrent = Some(torrent);
        state.unsaved.torrent = true;
        state.unsaved.progress = true;
        drop(state);
        self.note_change();
    }

    /// The last piece arrived; seconds since 1970. The first time counts.
    pub fn completed(&self, at: i64) {
        self.change(false, |progress| {
            let first = progress.completed_at.is_none();
            progress.completed_at.get_or_insert(at);
            first
        });
    }

    /// Nothing was reported of the data of a torrent whose record was clean: there is nothing to sync.
    pub fn is_as_stored(&self) -> bool {
        self.tracked.state().progress.clean
    }

    /// Pieces are written that are not durable.
    pub fn is_behind(&self) -> bool {
        let state = self.tracked.state();
        state.progress.durable.count() < state.progress.written.count()
    }

    /// The torrent stops. `clean` says that the last [`crate::FileStore::sync`] succeeded and nothing was
    /// written after it; then the next run trusts everything, whatever happens to the power.
    pub fn close(self, clean: bool) {
        let mut state = self.tracked.state();
        state.closed = true;
        state.unsaved.totals |= state.meter.rest(Instant::now());
        if !state.progress.clean {
            state.progress.clean = clean;
            state.unsaved.progress = true;
            state.unsaved.through = true;
        } else if !state.unsaved.totals {
            drop(state);
            self.shared.schedule().forget(&self.tracked); // as it is stored
            return;
        }
        drop(state);
        self.note_change();
    }

    fn change(&self, through: bool, change: impl FnOnce(&mut Progress) -> bool) {
        self.change_in(self.tracked.state(), through, change);
    }

    fn change_in(
        &self,
        mut state: MutexGuard<'_, TrackedState>,
        through: bool,
        change: impl FnOnce(&mut Progress) -> bool,
    ) {
        if change(&mut state.progress) {
            // The first change makes the record one of a torrent that runs, even after a power cut.
            let first = std::mem::take(&mut state.progress.clean);
            state.unsaved.progress = true;
            state.unsaved.through |= through || first;
            drop(state);
            self.note_change();
        }
    }

    pub(super) fn note_change(&self) {
        self.note(1);
    }

    fn note(&self, changes: u32) {
        let mut schedule = self.shared.schedule();
        schedule.queue(Arc::clone(&self.tracked));
        schedule.changes = schedule.changes.saturating_add(changes);
        let first = schedule.since.is_none();
        schedule.since.get_or_insert_with(Instant::now);
        let wakes = first || changes > 0 && schedule.changes == BATCH_CHANGES;
        drop(schedule);
        if wakes {
            self.shared.changed.notify_all();
        }
    }
}

/// What most have takes no memory.
pub(super) fn boxed(arrangement: Arrangement) -> Option<Box<Arrangement>> {
    (arrangement != Arrangement::default()).then(|| Box::new(arrangement))
}
