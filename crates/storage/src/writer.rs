//! Keeps the state store up to date without anybody who moves data waiting for it.
//!
//! Torrents report what happened through their [`RecordHandle`], which only touches memory. A
//! thread saves what changed once a second or every 64 pieces, in one transaction for all torrents.
//! What a kill can lose is thereby bounded, and never is a piece claimed that was not written: a
//! handle hears of a piece after the kernel has it.

mod handle;
mod tracked;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metainfo::InfoHash;

use crate::record::{RecordKey, ResumeRecord};
use crate::shelf::{Shelf, Source, Wanted};
use crate::state::{MemoryState, Save, StateError, StateStore};
use crate::store::FileStore;
use crate::totals::{Meter, Totals};

pub use handle::RecordHandle;
use tracked::{ByKey, Tracked, TrackedState, Unsaved};

/// The longest that a change waits to be saved: what a kill can make us forget.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How often the time that torrents run is saved of those that nothing else is saved of. What a kill
/// takes from a limit of days; more often and a disk with idle seeds never rests.
const TIMES_EVERY: Duration = Duration::from_mins(10);

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
    store: Box<dyn StateStore>,
    /// Taken before anything else and held while a batch is saved, so that batches keep their order.
    /// Who only looks does not take it: a save waits for the disk.
    saving: Mutex<()>,
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
    /// When the time of those that run was last looked at.
    times_at: Option<Instant>,
    stopping: bool,
}

impl StateWriter {
    /// Saves to `store`. If the system gives no thread for it, state is saved by
    /// [`Self::flush`] and at the end only.
    pub fn start(store: impl StateStore + 'static) -> Self {
        let shared = Arc::new(Shared {
            store: Box::new(store),
            saving: Mutex::default(),
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
        Ok(self.load_all(std::slice::from_ref(key))?.pop().flatten())
    }

    /// The same for many at once, which costs less: a record for each key, in the same order.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<ResumeRecord>>, StateError> {
        let shared = &self.0.shared;
        let is_tracked = {
            let schedule = shared.schedule();
            keys.iter().any(|key| schedule.tracked.contains(key))
        };
        if is_tracked {
            // What was just reported is part of the answer; if it can't be saved, the rest still is.
            let _ = self.flush();
        }
        match shared.store.load_all(keys) {
            Err(StateError::Corrupt(_)) => {
                let _saving = shared.saving();
                match shared.store.load_all(keys) {
                    Err(StateError::Corrupt(reason)) => {
                        shared.start_over(&reason)?;
                        shared.save_changed()?;
                        shared.store.load_all(keys)
                    }
                    result => result, // somebody else began it anew
                }
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
        self.0.shared.store.keys()
    }

    /// Forgets a torrent. May wait for the disk. A handle to it is without effect from then on.
    ///
    /// # Errors
    /// When it is still remembered.
    pub fn remove(&self, key: &RecordKey) -> Result<(), StateError> {
        let _saving = self.0.shared.saving();
        let tracked = self.0.shared.schedule().tracked.take(key);
        if let Some(ByKey(tracked)) = tracked {
            tracked.state().forgotten = true;
        }
        self.0.shared.store.remove(key)
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
        let ResumeRecord { mut progress, files, torrent, arrangement, totals } = record;
        progress.boot_id = store.boot_id();
        progress.root_device = Some(store.device());
        store.need_sync(progress.written.iter().filter(|piece| !progress.durable.has(*piece)));
        let changed = !progress.clean;
        let unsaved =
            if changed { Unsaved::all(&files, torrent.is_some()) } else { Unsaved::default() };
        let state = TrackedState {
            progress,
            files,
            torrent,
            arrangement: handle::boxed(arrangement),
            meter: Meter::new(totals),
            shelf: None,
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

    /// Files of torrents that may be what is wanted, by what [`RecordHandle::shelve`] was told. May wait for
    /// the disk.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn sources(&self, wanted: &Wanted) -> Result<Vec<Source>, StateError> {
        self.0.shared.store.sources(wanted)
    }

    /// Torrents that [`RecordHandle::shelve`] was never told anything of, whether they run or not; true where
    /// the .torrent file is kept. May wait for the disk.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn unshelved(&self) -> Result<Vec<(RecordKey, bool)>, StateError> {
        let _ = self.flush(); // as for one record
        self.0.shared.store.unshelved()
    }

    /// Keeps which whole files torrents have that do not run, and have records. Waits for the disk.
    ///
    /// # Errors
    /// When nothing was kept.
    pub fn shelve(&self, shelves: Vec<(RecordKey, Shelf)>) -> Result<(), StateError> {
        let _saving = self.0.shared.saving();
        let save = |(key, shelf): (RecordKey, Shelf)| Save {
            key,
            progress: None,
            totals: Totals::default(),
            files: BTreeMap::new(),
            file_count: 0,
            torrent: None,
            arrangement: None,
            shelf: Some(Arc::new(shelf)),
        };
        let batch: Vec<_> = shelves.into_iter().map(save).collect();
        self.0.shared.store.save(&batch, false)
    }

    /// To be called now and then: when nothing was loaded or saved between two calls, the store
    /// gives memory back. Waits for nobody. Whether it did.
    pub fn rest(&self) -> bool {
        self.0.shared.store.rest()
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

impl Schedule {
    /// Something of it is to be saved.
    fn queue(&mut self, tracked: Arc<Tracked>) {
        if !std::mem::replace(&mut tracked.state().queued, true) {
            self.changed.push(tracked);
        }
    }

    /// Has the time saved of all that run, when that is due, and says when it is next.
    fn count_times(&mut self, now: Instant) -> Duration {
        let last = *self.times_at.get_or_insert(now);
        let left = TIMES_EVERY.saturating_sub(now.saturating_duration_since(last));
        if !left.is_zero() {
            return left;
        }
        self.times_at = Some(now);
        let running = self.tracked.iter().filter(|one| one.0.counts_time());
        let running = running.map(|one| Arc::clone(&one.0)).collect::<Vec<_>>();
        if !running.is_empty() {
            self.since.get_or_insert(now);
        }
        running.into_iter().for_each(|tracked| self.queue(tracked));
        TIMES_EVERY
    }

    /// Drops a closed record, unless the torrent runs again under a newer one.
    fn forget(&mut self, tracked: &Arc<Tracked>) {
        if self.tracked.get(&tracked.key).is_some_and(|current| Arc::ptr_eq(&current.0, tracked)) {
            self.tracked.remove(&tracked.key);
        }
    }
}

impl Shared {
    fn saving(&self) -> MutexGuard<'_, ()> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
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
            let times_left = schedule.count_times(Instant::now());
            let left = schedule.since.map(|since| SAVE_EVERY.saturating_sub(since.elapsed()));
            schedule = match left {
                None => {
                    let waited = self.changed.wait_timeout(schedule, times_left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
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
        let _saving = self.saving();
        match self.save_changed() {
            Err(StateError::Corrupt(reason)) => {
                self.start_over(&reason)?;
                self.save_changed()
            }
            result => result,
        }
    }

    /// Begins the store anew, with all that is running yet to be saved. For who is saving.
    fn start_over(&self, reason: &str) -> Result<(), StateError> {
        tracing::error!(reason, "the state is damaged: it is begun anew");
        self.store.start_over()?;
        let mut schedule = self.schedule();
        let running = schedule.tracked.iter().map(|one| Arc::clone(&one.0)).collect::<Vec<_>>();
        for tracked in running.iter().chain(&schedule.changed) {
            tracked.forget_saved();
        }
        running.into_iter().for_each(|tracked| schedule.queue(tracked));
        Ok(())
    }

    /// For who is saving.
    fn save_changed(&self) -> Result<(), StateError> {
        let changed = {
            let mut schedule = self.schedule();
            schedule.changes = 0;
            schedule.since = None;
            let changed = std::mem::take(&mut schedule.changed);
            changed.iter().for_each(|tracked| tracked.state().queued = false);
            changed
        };
        let result = save_batch(&*self.store, &changed);
        let mut schedule = self.schedule();
        if result.is_err() {
            schedule.since.get_or_insert_with(Instant::now); // again in a second
            changed.into_iter().for_each(|tracked| schedule.queue(tracked));
            drop(schedule);
            self.changed.notify_all();
            return result;
        }
        for tracked in changed {
            let over = {
                let state = tracked.state();
                state.closed && !state.unsaved.progress && !state.unsaved.totals
            };
            if over {
                schedule.forget(&tracked);
            }
        }
        Ok(())
    }
}

fn save_batch(store: &dyn StateStore, tracked: &[Arc<Tracked>]) -> Result<(), StateError> {
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
