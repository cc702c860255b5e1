//! What the state's index of whole files lacks: torrents that were complete before there was one (BEP 38,
//! 52). Nobody who starts waits for it. Those that run are entered some seconds later, by `rest.rs`, or
//! when they stop; those that do not run, and whose metadata is in the state, when somebody looks for a
//! file for the first time in a session.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metainfo::{InfoHash, InfoHashes, Magnet, Torrent};
use storage::{FileStore, RecordKey, ResumeRecord, Root, Shelf, StateError, StoreOptions};

use crate::reusing;
use crate::session::SessionShared;

/// Records looked at together: each may have megabytes of metadata.
const TOGETHER: usize = 16;

/// What is to be entered yet.
#[derive(Default)]
pub(crate) struct Shelving {
    /// A torrent began with what its record says, since the last look.
    resumed: AtomicBool,
    /// Torrents that do not run were looked at.
    remembered: Mutex<bool>,
}

impl Shelving {
    /// A torrent was resumed, and may lack its entry.
    pub(crate) fn note_resumed(&self) {
        self.resumed.store(true, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn is_due(&self) -> bool {
        self.resumed.load(Ordering::Relaxed)
    }
}

/// Enters the torrents that run, if any was resumed since the last time.
pub(crate) async fn enter_running(session: &Arc<SessionShared>) {
    if !session.shelving.resumed.swap(false, Ordering::Relaxed) {
        return;
    }
    let session = Arc::clone(session);
    let entered = tokio::task::spawn_blocking(move || running(&session)).await;
    match entered {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "can't complete the index of files"),
        Err(error) => tracing::error!(%error, "the index of files was not completed"),
    }
}

fn running(session: &SessionShared) -> Result<(), StateError> {
    let lacking: BTreeSet<_> = session.state.unshelved()?.into_iter().map(|(key, _)| key).collect();
    for shared in session.all() {
        if shared.record.get().is_some_and(|record| lacking.contains(record.key())) {
            reusing::shelve(&shared);
        }
    }
    Ok(())
}

/// Enters what does not run, as its records have it; once. Waits for the state, and so does who comes
/// meanwhile. Nothing else is looked at, neither files nor folders: who takes a file hashes it.
pub(crate) fn enter_remembered(session: &SessionShared) {
    let mut done = session.shelving.remembered.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut *done, true)
        && let Err(error) = remembered(session)
    {
        tracing::warn!(%error, "can't complete the index of files");
    }
}

fn remembered(session: &SessionShared) -> Result<(), StateError> {
    let running = session.all();
    let runs = |key: &RecordKey| {
        running.iter().any(|one| one.info_hash() == key.info_hash && one.store.root() == &key.root)
    };
    let keys = session.state.unshelved()?.into_iter();
    let keys = keys.filter(|(key, has_metadata)| *has_metadata && !runs(key));
    let keys: Vec<_> = keys.map(|(key, _)| key).collect();
    for keys in keys.chunks(TOGETHER) {
        let records = session.state.load_all(keys)?;
        let shelves = keys
            .iter()
            .zip(records)
            .filter_map(|(key, record)| Some((key.clone(), shelf(session, key, &record?)?)));
        let shelves: Vec<_> = shelves.collect();
        if !shelves.is_empty() {
            session.state.shelve(shelves)?;
        }
    }
    Ok(())
}

fn shelf(session: &SessionShared, key: &RecordKey, record: &ResumeRecord) -> Option<Shelf> {
    let torrent = kept(record.torrent.as_deref()?, key.info_hash)?;
    let root = Root::as_recorded(&key.root); // its disk may hang
    let (info, handles) = (Arc::clone(&torrent.info), Arc::clone(&session.handles));
    let store = FileStore::open_in(&root, info, handles, StoreOptions::default());
    store.arrange(&record.arrangement);
    reusing::shelf_of(&torrent, &record.progress.written, &store)
}

/// The torrent that a record keeps: as a .torrent file, or as its `info` value alone.
fn kept(bytes: &[u8], info_hash: InfoHash) -> Option<Torrent> {
    let of_info = || {
        let magnet = Magnet {
            hashes: InfoHashes::new(Some(info_hash), None)?,
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
            files: Vec::new(),
        };
        Torrent::from_info(bytes, &magnet).ok()
    };
    Torrent::parse(bytes).ok().or_else(of_info).filter(|torrent| torrent.info_hash == info_hash)
}
