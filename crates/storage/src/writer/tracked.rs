//! A running torrent's record in memory, and what of it differs from what is stored.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::arrangement::Arrangement;
use crate::record::{FileSeen, Progress, RecordKey};
use crate::state::Save;
use crate::store::FileStore;
use crate::totals::Meter;

/// A torrent that is running.
pub(super) struct Tracked {
    pub(super) key: RecordKey,
    pub(super) store: Arc<FileStore>,
    pub(super) state: Mutex<TrackedState>,
}

/// Finds a torrent by the key that is in it. A table leaves room for more, so a second copy of each key
/// would take most of its memory.
pub(super) struct ByKey(pub(super) Arc<Tracked>);

impl Borrow<RecordKey> for ByKey {
    fn borrow(&self) -> &RecordKey {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

pub(super) struct TrackedState {
    pub(super) progress: Progress,
    pub(super) files: Vec<Option<FileSeen>>,
    pub(super) torrent: Option<Arc<[u8]>>,
    /// `None` for the default: most have no other.
    pub(super) arrangement: Option<Box<Arrangement>>,
    pub(super) meter: Meter,
    pub(super) unsaved: Unsaved,
    /// It is in [`super::Schedule::changed`].
    pub(super) queued: bool,
    pub(super) closed: bool,
    /// It is never saved again: its record was removed, or belongs to a later run.
    pub(super) forgotten: bool,
}

/// What of a record differs from what is stored.
#[derive(Default)]
pub(super) struct Unsaved {
    pub(super) progress: bool,
    /// Bytes or time, which say nothing of the data.
    pub(super) totals: bool,
    pub(super) files: BTreeMap<usize, Option<FileSeen>>,
    pub(super) torrent: bool,
    pub(super) arrangement: bool,
    /// It must survive a power cut: something is claimed that was not, or no longer.
    pub(super) through: bool,
}

impl Unsaved {
    pub(super) fn all(files: &[Option<FileSeen>], torrent: bool) -> Self {
        let files = files.iter().copied().enumerate().collect();
        Self { progress: true, totals: true, files, torrent, arrangement: true, through: true }
    }
}

impl Tracked {
    /// A record is changed field by field, and each field is whole whoever panicked.
    pub(super) fn state(&self) -> MutexGuard<'_, TrackedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be saved, which then counts as saved; `None` when nothing is.
    pub(super) fn take(&self, now_ns: i64) -> Option<(Save, bool)> {
        let mut state = self.state();
        if state.forgotten {
            return None;
        }
        for (file, seen) in self.store.take_seen() {
            if file == state.files.len() {
                state.files.push(None); // the part store was made
            }
            if let Some(slot) = state.files.get_mut(file) {
                *slot = Some(seen);
                state.unsaved.files.insert(file, Some(seen));
            }
        }
        let unsaved = std::mem::take(&mut state.unsaved);
        let progress = unsaved.progress || !unsaved.files.is_empty();
        if !progress && !unsaved.totals {
            return None;
        }
        if progress {
            state.progress.committed_ns = now_ns;
        }
        let save = Save {
            key: self.key.clone(),
            progress: progress.then(|| state.progress.clone()),
            totals: state.meter.at(Instant::now()),
            files: unsaved.files,
            file_count: state.files.len(),
            torrent: state.torrent.clone().filter(|_| unsaved.torrent),
            arrangement: unsaved
                .arrangement
                .then(|| state.arrangement.as_deref().cloned().unwrap_or_default()),
        };
        Some((save, unsaved.through))
    }

    /// Whether it runs; then its time is to be saved.
    pub(super) fn counts_time(&self) -> bool {
        let mut state = self.state();
        let running = state.meter.is_running();
        state.unsaved.totals |= running;
        running
    }

    /// It was not saved after all.
    pub(super) fn put_back(&self, save: Save, through: bool) {
        let mut state = self.state();
        state.unsaved.progress |= save.progress.is_some();
        state.unsaved.totals = true;
        state.unsaved.through |= through;
        state.unsaved.torrent |= save.torrent.is_some();
        state.unsaved.arrangement |= save.arrangement.is_some();
        for (file, seen) in save.files {
            state.unsaved.files.entry(file).or_insert(seen); // a newer look is better
        }
    }

    /// The store was begun anew: nothing is saved.
    pub(super) fn forget_saved(&self) {
        let mut state = self.state();
        state.unsaved = Unsaved::all(&state.files, state.torrent.is_some());
    }
}
