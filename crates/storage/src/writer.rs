//! Keeps the state store up to date without anybody who moves data waiting for it.
//!
//! Torrents report what happened through their [`RecordHandle`], which only touches memory. A
//! thread saves what changed once a second or every 64 pieces, in one transaction for all torrents.
//! What a kill can lose is thereby bounded, and never is a piece claimed that was not written: a
//! handle hears of a piece after the kernel has it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metainfo::{InfoHash, PieceIndex};
use wire::Bitfield;

use crate::record::{FileSeen, Progress, RecordKey, ResumeRecord};
use crate::resume;
use crate::state::{MemoryState, Save, StateError, StateStore};
use crate::store::FileStore;

/// The longest that a change waits to be saved: what a kill can make us forget.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Changes that are saved without waiting.
const BATCH_CHANGES: u32 = 64;

/// Saves records in the background. Clones share one store; dropping the last saves what is left.
#[derive(Clone)]
pub struct StateWriter(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Taken before anything else and held while a batch is saved, so that batches keep their order.
    store: Mutex<Box<dyn StateStore>>,
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

#[derive(Default)]
struct Schedule {
    tracked: HashSet<ByKey>,
    /// Those of them with something to save, each once: a save looks at no other.
    changed: Vec<Arc<Tracked>>,
    changes: u32,
    /// When the oldest unsaved change was made.
    since: Option<Instant>,
    stopping: bool,
}

/// A torrent that is running.
struct Tracked {
    key: RecordKey,
    store: Arc<FileStore>,
    state: Mutex<TrackedState>,
}

/// Finds a torrent by the key that is in it. A table leaves room for more, so a second copy of each key
/// would take most of its memory.
struct ByKey(Arc<Tracked>);

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

struct TrackedState {
    progress: Progress,
    files: Vec<Option<FileSeen>>,
    torrent: Option<Arc<[u8]>>,
    unsaved: Unsaved,
    /// It is in [`Schedule::changed`].
    queued: bool,
    closed: bool,
    /// It is never saved again: its record was removed, or belongs to a later run.
    forgotten: bool,
}

/// What of a record differs from what is stored.
#[derive(Default)]
struct Unsaved {
    progress: bool,
    files: BTreeMap<usize, Option<FileSeen>>,
    torrent: bool,
    /// It must survive a power cut: something is claimed that was not, or no longer.
    through: bool,
}

/// How a running torrent reports what happened. None of the methods waits for a disk.
#[derive(Clone)]
pub struct RecordHandle {
    tracked: Arc<Tracked>,
    shared: Arc<Shared>,
}

impl StateWriter {
    /// Saves to `store`. If the system gives no thread for it, state is saved by
    /// [`Self::flush`] and at the end only.
    pub fn start(store: impl StateStore + 'static) -> Self {
        let shared = Arc::new(Shared {
            store: Mutex::new(Box::new(store)),
            schedule: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("state".into()).spawn(move || theirs.run());
        let thread = thread
            .inspect_err(|error| tracing::error!(%error, "no thread to save state in time"))
            .ok();
        Self(Arc::new(Owner { shared, thread }))
    }

    /// Keeps records in memory only.
    pub fn in_memory() -> Self {
        Self::start(MemoryState::default())
    }

    /// What is remembered of a torrent. May wait for the disk. A damaged store is begun anew.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn load(&self, key: &RecordKey) -> Result<Option<ResumeRecord>, StateError> {
        if self.0.shared.schedule().tracked.contains(key) {
            // What was just reported is part of the answer; if it can't be saved, the rest still is.
            let _ = self.flush();
        }
        let mut store = self.0.shared.store();
        match store.load(key) {
            Err(StateError::Corrupt(reason)) => {
                tracing::error!(reason, "the state is damaged");
                store.start_over().map(|()| None)
            }
            result => result,
        }
    }

    /// All torrents that are remembered. May wait for the disk.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn keys(&self) -> Result<Vec<RecordKey>, StateError> {
        let _ = self.flush(); // as for one
        self.0.shared.store().keys()
    }

    /// Forgets a torrent. May wait for the disk. A handle to it is without effect from then on.
    ///
    /// # Errors
    /// When it is still remembered.
    pub fn remove(&self, key: &RecordKey) -> Result<(), StateError> {
        let mut store = self.0.shared.store();
        let tracked = self.0.shared.schedule().tracked.take(key);
        if let Some(ByKey(tracked)) = tracked {
            tracked.state().forgotten = true;
        }
        store.remove(key)
    }

    /// Begins to keep the record of a running torrent, with `record` as its state from now on
    /// ([`crate::resume::begin`]). A clean one is the one that is stored, and is left alone until
    /// something changes. Any other is saved as one of this boot, not clean until
    /// [`RecordHandle::close`]. The next sync of `store` covers whatever the record has as written
    /// but not durable.
    pub fn track(
        &self,
        info_hash: InfoHash,
        store: &Arc<FileStore>,
        record: ResumeRecord,
    ) -> RecordHandle {
        let shared = &self.0.shared;
        let key = RecordKey { info_hash, root: Arc::clone(store.root()) };
        let ResumeRecord { mut progress, files, torrent } = record;
        progress.boot_id = resume::boot_id();
        progress.root_device = Some(store.device());
        store.need_sync(progress.written.iter().filter(|piece| !progress.durable.has(*piece)));
        let changed = !progress.clean;
        let unsaved =
            if changed { Unsaved::all(&files, torrent.is_some()) } else { Unsaved::default() };
        let state = TrackedState {
            progress,
            files,
            torrent,
            unsaved,
            queued: false,
            closed: false,
            forgotten: false,
        };
        let store = Arc::clone(store);
        let tracked = Arc::new(Tracked { key, store, state: Mutex::new(state) });
        let earlier = shared.schedule().tracked.replace(ByKey(Arc::clone(&tracked)));
        if let Some(ByKey(earlier)) = earlier {
            earlier.state().forgotten = true;
        }
        let handle = RecordHandle { tracked, shared: Arc::clone(shared) };
        if changed {
            handle.note_change();
        }
        handle
    }

    /// To be called now and then: when nothing was loaded or saved between two calls, the store
    /// gives memory back. Waits for nobody.
    pub fn rest(&self) {
        if let Ok(mut store) = self.0.shared.store.try_lock() {
            store.rest();
        }
    }

    /// Saves everything reported so far and returns when it is saved. Waits for the disk.
    ///
    /// # Errors
    /// When it could not be saved; it will be tried again.
    pub fn flush(&self) -> Result<(), StateError> {
        self.0.shared.save()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.schedule().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it only logs
        }
        if let Err(error) = self.shared.save() {
            tracing::error!(%error, "the last state could not be saved");
        }
    }
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

    /// A piece that was written is not there any more.
    pub fn lost(&self, piece: PieceIndex) {
        self.change(true, |progress| progress.take_lost(piece));
    }

    /// These pieces, written before the last good [`FileStore::sync`] began, are on the disk. Take
    /// [`Self::progress`]'s `written` before the sync, and pass it here after.
    pub fn durable(&self, pieces: &Bitfield) {
        self.change(true, |progress| progress.add_durable(pieces));
    }

    /// Payload bytes sent and received since the last call.
    pub fn transferred(&self, uploaded: u64, downloaded: u64) {
        self.change(false, |progress| {
            progress.uploaded = progress.uploaded.saturating_add(uploaded);
            progress.downloaded = progress.downloaded.saturating_add(downloaded);
            uploaded > 0 || downloaded > 0
        });
    }

    /// The last piece arrived; seconds since 1970. The first time counts.
    pub fn completed(&self, at: i64) {
        self.change(false, |progress| {
            let first = progress.completed_at.is_none();
            progress.completed_at.get_or_insert(at);
            first
        });
    }

    /// Nothing was reported of a torrent whose record was clean: there is nothing to sync or save.
    pub fn is_as_stored(&self) -> bool {
        self.tracked.state().progress.clean
    }

    /// Pieces are written that are not durable.
    pub fn is_behind(&self) -> bool {
        let state = self.tracked.state();
        state.progress.durable.count() < state.progress.written.count()
    }

    /// The torrent stops. `clean` says that the last [`FileStore::sync`] succeeded and nothing was
    /// written after it; then the next run trusts everything, whatever happens to the power.
    pub fn close(self, clean: bool) {
        let mut state = self.tracked.state();
        state.closed = true;
        if state.progress.clean {
            drop(state);
            self.shared.schedule().forget(&self.tracked); // as it is stored
            return;
        }
        state.progress.clean = clean;
        state.unsaved.progress = true;
        state.unsaved.through = true;
        drop(state);
        self.note_change();
    }

    fn change(&self, through: bool, change: impl FnOnce(&mut Progress) -> bool) {
        let mut state = self.tracked.state();
        if change(&mut state.progress) {
            // The first change makes the record one of a torrent that runs, even after a power cut.
            let first = std::mem::take(&mut state.progress.clean);
            state.unsaved.progress = true;
            state.unsaved.through |= through || first;
            drop(state);
            self.note_change();
        }
    }

    fn note_change(&self) {
        let mut schedule = self.shared.schedule();
        if !std::mem::replace(&mut self.tracked.state().queued, true) {
            schedule.changed.push(Arc::clone(&self.tracked));
        }
        schedule.changes = schedule.changes.saturating_add(1);
        schedule.since.get_or_insert_with(Instant::now);
        let wakes = schedule.changes == 1 || schedule.changes == BATCH_CHANGES;
        drop(schedule);
        if wakes {
            self.shared.changed.notify_all();
        }
    }
}

impl Unsaved {
    fn all(files: &[Option<FileSeen>], torrent: bool) -> Self {
        let files = files.iter().copied().enumerate().collect();
        Self { progress: true, files, torrent, through: true }
    }
}

impl Schedule {
    /// Drops a closed record, unless the torrent runs again under a newer one.
    fn forget(&mut self, tracked: &Arc<Tracked>) {
        if self.tracked.get(&tracked.key).is_some_and(|current| Arc::ptr_eq(&current.0, tracked)) {
            self.tracked.remove(&tracked.key);
        }
    }
}

impl Tracked {
    /// A record is changed field by field, and each field is whole whoever panicked.
    fn state(&self) -> MutexGuard<'_, TrackedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be saved, which then counts as saved; `None` when nothing is.
    fn take(&self, now_ns: i64) -> Option<(Save, bool)> {
        let mut state = self.state();
        if state.forgotten {
            return None;
        }
        for (file, seen) in self.store.take_seen() {
            if let Some(slot) = state.files.get_mut(file) {
                *slot = Some(seen);
                state.unsaved.files.insert(file, Some(seen));
            }
        }
        let unsaved = std::mem::take(&mut state.unsaved);
        if !unsaved.progress && unsaved.files.is_empty() {
            return None;
        }
        state.progress.committed_ns = now_ns;
        let save = Save {
            key: self.key.clone(),
            progress: state.progress.clone(),
            files: unsaved.files,
            file_count: state.files.len(),
            torrent: state.torrent.clone().filter(|_| unsaved.torrent),
        };
        Some((save, unsaved.through))
    }

    /// It was not saved after all.
    fn put_back(&self, save: Save, through: bool) {
        let mut state = self.state();
        state.unsaved.progress = true;
        state.unsaved.through |= through;
        state.unsaved.torrent |= save.torrent.is_some();
        for (file, seen) in save.files {
            state.unsaved.files.entry(file).or_insert(seen); // a newer look is better
        }
    }

    /// The store was begun anew: nothing is saved.
    fn forget_saved(&self) {
        let mut state = self.state();
        state.unsaved = Unsaved::all(&state.files, state.torrent.is_some());
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Box<dyn StateStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: waits for a batch, saves it.
    fn run(&self) {
        let mut last_error = String::new();
        while self.wait_for_batch() {
            let text = self.save().err().map(|error| error.to_string()).unwrap_or_default();
            if text != last_error {
                if text.is_empty() {
                    tracing::info!("state is being saved again");
                } else {
                    tracing::error!(error = text, "state can't be saved; it is kept in memory");
                }
                last_error = text;
            }
        }
    }

    /// `false` when the writer ends.
    fn wait_for_batch(&self) -> bool {
        let mut schedule = self.schedule();
        loop {
            if schedule.stopping {
                return false;
            }
            let left = schedule.since.map(|since| SAVE_EVERY.saturating_sub(since.elapsed()));
            schedule = match left {
                None => self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() || schedule.changes >= BATCH_CHANGES => return true,
                Some(left) => {
                    let waited = self.changed.wait_timeout(schedule, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Saves everything that changed, on the calling thread.
    fn save(&self) -> Result<(), StateError> {
        let mut store = self.store();
        let mut changed = {
            let mut schedule = self.schedule();
            schedule.changes = 0;
            schedule.since = None;
            let changed = std::mem::take(&mut schedule.changed);
            changed.iter().for_each(|tracked| tracked.state().queued = false);
            changed
        };
        let mut result = save_changed(&mut **store, &changed);
        if let Err(StateError::Corrupt(reason)) = &result {
            tracing::error!(reason, "the state is damaged: it is begun anew");
            result = store.start_over();
            if result.is_ok() {
                changed.extend(self.schedule().tracked.iter().map(|one| Arc::clone(&one.0)));
                for tracked in &changed {
                    tracked.forget_saved();
                }
                result = save_changed(&mut **store, &changed);
            }
        }
        let mut schedule = self.schedule();
        if result.is_err() {
            schedule.since.get_or_insert_with(Instant::now); // again in a second
            for tracked in changed {
                if !std::mem::replace(&mut tracked.state().queued, true) {
                    schedule.changed.push(tracked);
                }
            }
            return result;
        }
        for tracked in changed {
            let over = {
                let state = tracked.state();
                state.closed && !state.unsaved.progress
            };
            if over {
                schedule.forget(&tracked);
            }
        }
        Ok(())
    }
}

fn save_changed(store: &mut dyn StateStore, tracked: &[Arc<Tracked>]) -> Result<(), StateError> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX);
    let mut owners = Vec::new();
    let mut batch = Vec::new();
    for tracked in tracked {
        if let Some((save, through)) = tracked.take(now_ns) {
            owners.push((tracked, through));
            batch.push(save);
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    let through = owners.iter().any(|(_, through)| *through);
    let result = store.save(&batch, through);
    if result.is_err() {
        for ((tracked, through), save) in owners.into_iter().zip(batch) {
            tracked.put_back(save, through);
        }
    }
    result
}

#[cfg(test)]
mod tests;
