//! Where records of torrents are kept between runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::arrangement::Arrangement;
use crate::record::{FileSeen, Progress, RecordKey, ResumeRecord};
use crate::shelf::{Shelf, Source, Wanted};
use crate::totals::Totals;

/// Why state could not be read or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The folder can't be made.
    #[error("can't make the folder {path}: {error}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A later version of this program wrote it.
    #[error("the state in {path} is of a later version ({version}); this one knows {known}", path = path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        version: i64,
        /// The latest that this program knows.
        known: i64,
    },
    /// It is damaged. [`StateStore::start_over`] sets it aside.
    #[error("the state is damaged: {0}")]
    Corrupt(String),
    /// The database refused, for want of space or permission or because another process held it.
    #[error("the state database: {0}")]
    Database(String),
}

/// What changed of one torrent and is to be kept.
#[derive(Debug, Clone)]
pub struct Save {
    /// Which torrent.
    pub key: RecordKey,
    /// All of the part that speaks of the data, unless it is as it is stored.
    pub progress: Option<Progress>,
    /// What it moved, and for how long it ran. What is stored never gets less by it.
    pub totals: Totals,
    /// The files that changed, by index.
    pub files: BTreeMap<usize, Option<FileSeen>>,
    /// How many files the torrent has.
    pub file_count: usize,
    /// The .torrent file, when it is to be stored anew.
    pub torrent: Option<Arc<[u8]>>,
    /// What its owner arranged, when it is to be stored anew.
    pub arrangement: Option<Arrangement>,
    /// Which whole files it has, when that is to be stored anew.
    pub shelf: Option<Arc<Shelf>>,
}

/// A place that keeps records. Calls may wait for a disk, but who looks should not wait for who
/// saves.
pub trait StateStore: Send + Sync {
    /// A record for each key, or `None` where there is none, in the same order.
    ///
    /// # Errors
    /// When they can't be read.
    fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<ResumeRecord>>, StateError>;

    /// One record, if there is one.
    ///
    /// # Errors
    /// When it can't be read.
    fn load(&self, key: &RecordKey) -> Result<Option<ResumeRecord>, StateError> {
        Ok(self.load_all(std::slice::from_ref(key))?.pop().flatten())
    }

    /// All records there are.
    ///
    /// # Errors
    /// When they can't be read.
    fn keys(&self) -> Result<Vec<RecordKey>, StateError>;

    /// Keeps all of a batch or none of it. With `through`, not even a power cut undoes it.
    ///
    /// # Errors
    /// When nothing was kept.
    fn save(&self, batch: &[Save], through: bool) -> Result<(), StateError>;

    /// Forgets a torrent.
    ///
    /// # Errors
    /// When it is still there.
    fn remove(&self, key: &RecordKey) -> Result<(), StateError>;

    /// Files of torrents that may be what is wanted, to be looked at. A store may keep no [`Save::shelf`]:
    /// then nothing is found in it.
    ///
    /// # Errors
    /// When they can't be read.
    fn sources(&self, _wanted: &Wanted) -> Result<Vec<Source>, StateError> {
        Ok(Vec::new())
    }

    /// Torrents that nothing was kept of by [`Save::shelf`]: those that have nothing to offer, and those that
    /// were complete before there was an index of files. True where the .torrent file is kept with them.
    ///
    /// # Errors
    /// When they can't be read.
    fn unshelved(&self) -> Result<Vec<(RecordKey, bool)>, StateError> {
        Ok(Vec::new())
    }

    /// Sets damaged state aside and begins empty.
    ///
    /// # Errors
    /// When that does not work either.
    fn start_over(&self) -> Result<(), StateError>;

    /// Called now and then when nobody else calls: gives memory back that was of use before,
    /// and says whether it did.
    fn rest(&self) -> bool {
        false
    }
}

/// Records in memory, for tests and for sessions that leave no trace.
#[derive(Debug, Default)]
pub struct MemoryState {
    records: Mutex<BTreeMap<RecordKey, ResumeRecord>>,
}

impl MemoryState {
    /// Each change under this lock is a single insertion or removal, so it is whole whoever panicked.
    fn records(&self) -> MutexGuard<'_, BTreeMap<RecordKey, ResumeRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryState {
    fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<ResumeRecord>>, StateError> {
        let records = self.records();
        Ok(keys.iter().map(|key| records.get(key).cloned()).collect())
    }

    fn keys(&self) -> Result<Vec<RecordKey>, StateError> {
        Ok(self.records().keys().cloned().collect())
    }

    fn save(&self, batch: &[Save], _through: bool) -> Result<(), StateError> {
        let mut records = self.records();
        for save in batch {
            let old = records.remove(&save.key);
            let old_totals = old.as_ref().map_or_else(Totals::default, |old| old.totals);
            let (old_progress, mut files, old_torrent, old_arrangement) = old
                .map_or_else(Default::default, |old| {
                    (Some(old.progress), old.files, old.torrent, old.arrangement)
                });
            let Some(progress) = save.progress.clone().or(old_progress) else { continue };
            // What is saved without progress says nothing of the files.
            if save.progress.is_some() {
                files.resize(save.file_count, None);
            }
            for (file, seen) in &save.files {
                if let Some(slot) = files.get_mut(*file) {
                    *slot = *seen;
                }
            }
            let torrent = save.torrent.clone().or(old_torrent);
            let arrangement = save.arrangement.clone().unwrap_or(old_arrangement);
            let totals = save.totals.max_of_each(old_totals);
            let record = ResumeRecord { progress, files, torrent, arrangement, totals };
            records.insert(save.key.clone(), record);
        }
        Ok(())
    }

    fn remove(&self, key: &RecordKey) -> Result<(), StateError> {
        self.records().remove(key);
        Ok(())
    }

    fn start_over(&self) -> Result<(), StateError> {
        self.records().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use metainfo::InfoHash;

    use super::*;

    #[test]
    fn what_is_saved_without_progress_leaves_the_files_in_memory() {
        let root = Arc::from(std::path::Path::new("/downloads"));
        let key = RecordKey { info_hash: InfoHash([1; 20]), root };
        let state = MemoryState::default();
        let seen = FileSeen { length: 5, modified_ns: 6 };
        let mut save = Save {
            key: key.clone(),
            progress: Some(Progress::new(1, 0)),
            totals: Totals::default(),
            files: BTreeMap::from([(1, Some(seen))]),
            file_count: 2,
            torrent: None,
            arrangement: None,
            shelf: None,
        };
        state.save(&[save.clone()], false).unwrap();
        (save.progress, save.files, save.file_count) = (None, BTreeMap::new(), 0);
        state.save(&[save], false).unwrap();
        assert_eq!(state.load(&key).unwrap().unwrap().files, [None, Some(seen)]);
    }

    #[test]
    fn totals_in_memory_never_get_less_each_by_itself() {
        let root = Arc::from(std::path::Path::new("/downloads"));
        let key = RecordKey { info_hash: InfoHash([1; 20]), root };
        let state = MemoryState::default();
        let save = |progress, totals| {
            let save = Save {
                key: key.clone(),
                progress,
                totals,
                files: BTreeMap::new(),
                file_count: 1,
                torrent: None,
                arrangement: None,
                shelf: None,
            };
            state.save(&[save], false).unwrap();
        };
        save(Some(Progress::new(1, 0)), Totals { uploaded: 9, active_ms: 5, ..Totals::default() });
        save(None, Totals { downloaded: 7, active_ms: 6, seeding_ms: 1, uploaded: 8 });
        let most = Totals { uploaded: 9, downloaded: 7, active_ms: 6, seeding_ms: 1 };
        assert_eq!(state.load(&key).unwrap().unwrap().totals, most);
    }
}
