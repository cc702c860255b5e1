//! Moving a torrent to another folder, on whatever disk, and giving its files other names. The record
//! switches in between: a crash at any moment leaves one place that is whole and remembered.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metainfo::{PathRules, SafePath};
use storage::{FileStore, MoveProgress, RecordKey, Root, StorageError, StoreOptions};

use crate::add::{AddError, AddTorrent};
use crate::handle::{TorrentError, TorrentHandle, TorrentShared};
use crate::reusing;
use crate::session::{Session, SessionShared};

/// Why a torrent is not in the session any more after a move.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// It did not run.
    #[error(transparent)]
    Torrent(#[from] TorrentError),
    /// It could not be added again. Its files and its record are whole, in one of the two places.
    #[error(transparent)]
    Add(#[from] AddError),
}

/// A torrent after a move, well or not.
#[derive(Debug)]
pub struct Moved {
    /// The torrent as it goes on: at the new place, or at the old one when the move failed. The handle
    /// before the move leads nowhere any more.
    pub torrent: TorrentHandle,
    /// Files of the old place that could not be removed, or why nothing was moved.
    pub outcome: Result<Vec<PathBuf>, StorageError>,
}

impl Session {
    /// Moves a torrent to the folder `dir`, which need not exist: its files are linked, or copied and
    /// read back, then its record names the new place, then the old files go. It stops for as long as
    /// that takes, and goes on at once with the peers it had dialled. `progress` is called on another
    /// thread; `cancel` ends the move before the switch.
    ///
    /// # Errors
    /// [`MoveError`] when it did not run, or can't go on. A move that failed is no error of this kind:
    /// see [`Moved::outcome`].
    pub async fn move_torrent(
        &self,
        torrent: &TorrentHandle,
        dir: impl Into<PathBuf>,
        progress: impl Fn(MoveProgress) + Send + 'static,
        cancel: Arc<AtomicBool>,
    ) -> Result<Moved, MoveError> {
        torrent.checked().await?;
        let shared = Arc::clone(&torrent.shared);
        let _alone = shared.arranging.lock().await;
        let dialled = torrent.peers().into_iter().filter(|peer| peer.outgoing);
        let candidates = dialled.map(|peer| (swarm::Source::Tracker, peer.addr)).collect();
        let (limits, dir) = (torrent.limits(), dir.into());
        self.inner.shared.stop_torrent(&shared).await;
        let (session, from, to) =
            (Arc::clone(&self.inner.shared), Arc::clone(&shared), dir.clone());
        let moved = tokio::task::spawn_blocking(move || {
            move_files(&session, &from, &to, &progress, &cancel)
        });
        let outcome = moved.await.unwrap_or(Err(StorageError::Panicked));
        let root = if outcome.is_ok() { dir } else { shared.store.root().to_path_buf() };
        let mut again = AddTorrent::new(shared.torrent.clone(), root)
            .seed_only(shared.seed_only)
            .search(shared.search)
            .seed_limits(shared.seeding.limits())
            .super_seed(shared.seeding.super_seeds())
            .use_trackers(shared.announcer.get().is_some());
        again.candidates = candidates;
        let torrent = self.add(again).await?;
        torrent.set_limits(limits);
        Ok(Moved { torrent, outcome })
    }
}

/// What of a move waits for disks. The torrent is stopped.
fn move_files(
    session: &SessionShared,
    shared: &TorrentShared,
    dir: &Path,
    progress: &dyn Fn(MoveProgress),
    cancel: &AtomicBool,
) -> Result<Vec<PathBuf>, StorageError> {
    let from = &shared.store;
    let root = Root::find(dir)?;
    if root.path() == from.root() {
        return Ok(Vec::new());
    }
    let info_hash = shared.info_hash();
    let unknown = |error: storage::StateError| StorageError::State(error.to_string());
    let key = RecordKey { info_hash, root: Arc::clone(from.root()) };
    let record = session.state.load(&key).map_err(unknown)?;
    let (info, handles) = (Arc::clone(&shared.torrent.info), Arc::clone(&session.handles));
    let to = FileStore::open_in(&root, info, handles, StoreOptions::default());
    to.arrange(&record.as_ref().map(|record| record.arrangement.clone()).unwrap_or_default());
    let moved = from.copy_to(&to, progress, cancel)?;
    if let Some(mut record) = record {
        let clean = std::mem::take(&mut record.progress.clean);
        let is_doubtful = !clean && record.progress.boot_id.is_empty();
        record.files = to.observe().files;
        let handle = session.state.track(info_hash, &to, record);
        if let Some(shelf) = reusing::shelf(shared, &to) {
            handle.shelve(shelf);
        }
        if is_doubtful {
            handle.not_durable(); // beginning a record names this boot
        }
        let new_key = handle.key().clone();
        handle.close(clean);
        if let Err(error) = session.state.flush() {
            let _ = session.state.remove(&new_key);
            to.remove_new(&moved);
            return Err(unknown(error));
        }
        if let Err(error) = session.state.remove(&key) {
            tracing::warn!(%error, "the record of the old place stays");
        }
    }
    to.close_files();
    Ok(from.remove_old(&moved))
}

impl TorrentHandle {
    /// Gives a file another path below the download folder: the names, joined by `/`. It is remembered.
    /// A file that is not there yet will be made under that name.
    ///
    /// # Errors
    /// [`TorrentError::NoSuchFile`]; [`StorageError::BadName`] for a path that leads out of the folder
    /// or has names that no torrent may have; [`StorageError::Exists`]; what the disk said.
    pub async fn rename_file(&self, file: usize, path: &Path) -> Result<(), TorrentError> {
        self.checked().await?;
        let info = &self.torrent().info;
        let entry = info.files().get(file).filter(|entry| !entry.attributes.pad);
        let missing = TorrentError::NoSuchFile { file, count: info.files().len() };
        let entry = entry.ok_or(missing)?;
        let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
        let safe = SafePath::new(names.clone(), PathRules::NATIVE);
        let safe = safe.filter(|safe| safe.components().eq(names) && !entry.attributes.symlink);
        let name = safe.ok_or_else(|| StorageError::BadName { path: path.into() })?;
        let (session, shared) = (Arc::clone(&self.session), Arc::clone(&self.shared));
        let _alone = self.shared.arranging.lock().await;
        let renamed = tokio::task::spawn_blocking(move || rename(&session, &shared, file, &name));
        Ok(renamed.await.map_err(|_| TorrentError::Stopped)??)
    }
}

fn rename(
    session: &SessionShared,
    shared: &TorrentShared,
    file: usize,
    name: &SafePath,
) -> Result<(), StorageError> {
    let Some(record) = shared.record.get() else { return Ok(()) };
    let mut arrangement = shared.arrangement();
    arrangement.apart = shared.store.apart();
    let before = arrangement.clone();
    shared.store.rename(file, name, &mut arrangement, |next| {
        record.arrange(next.clone());
        session.state.flush().map_err(|error| {
            record.arrange(before);
            StorageError::State(error.to_string())
        })
    })?;
    shared.set_arrangement(arrangement);
    reusing::shelve(shared);
    Ok(())
}
