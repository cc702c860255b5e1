//! What a session remembers of a torrent: what to believe at the start, what to record while it
//! runs, and how to leave it behind.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metainfo::{Info, InfoHash, Magnet, PieceLayers, Torrent};
use storage::resume::{self, Verdict};
use storage::{Arrangement, FileStore, Observed, RecordHandle, RecordKey, ResumeRecord, Root};
use tokio::sync::oneshot;
use tokio::task::{self, JoinSet};
use wire::Bitfield;

use crate::add::AddError;
use crate::handle::TorrentShared;
use crate::session::SessionShared;

/// Much rarer and a power cut costs minutes of hashing; more often and the disk never rests.
const SYNC_EVERY: Duration = Duration::from_mins(1);

/// What was found when a torrent was added.
pub(crate) struct Findings {
    /// There, without hashing.
    pub(crate) trusted: Bitfield,
    /// To be hashed first.
    pub(crate) recheck: Bitfield,
    record: Option<ResumeRecord>,
    observed: Observed,
    /// What the record is to hold besides.
    metadata: Option<Arc<[u8]>>,
}

impl Findings {
    /// Whether it was never here before, as far as is remembered.
    pub(crate) fn is_new(&self) -> bool {
        self.record.is_none()
    }

    /// The look at those files that may be somebody's own: nothing of them was ever written, as far as is
    /// remembered. A torrent whose hashes are all known at once was judged in its first run.
    pub(crate) fn strange(&self, info: &Info) -> Option<Observed> {
        let Some(record) = &self.record else { return Some(self.observed.clone()) };
        let mut observed = self.observed.clone();
        let files = observed.files.iter_mut().take(info.files().len()).enumerate();
        files
            .filter(|(file, _)| !is_unwritten(info, record, *file))
            .for_each(|(_, seen)| *seen = None);
        Some(observed).filter(|_| comes_without_hashes(info))
    }

    /// Wanted or not, files that are not on the disk.
    pub(crate) fn missing(&self, info: &Info) -> Vec<usize> {
        let files = info.files().iter().zip(&self.observed.files).enumerate();
        let missing = files.filter(|(_, (entry, seen))| {
            seen.is_none() && entry.length > 0 && !entry.attributes.pad && !entry.attributes.symlink
        });
        missing.map(|(file, _)| file).collect()
    }

    /// Files were put there for it since the look.
    pub(crate) fn appeared(&mut self, store: &FileStore, files: &[usize]) {
        let now = store.observe_taken(files);
        self.observed.root_device = self.observed.root_device.or(now.root_device);
        for file in files {
            let seen = now.files.get(*file).copied().flatten();
            if let Some(slot) = self.observed.files.get_mut(*file) {
                *slot = seen;
            }
        }
        self.doubt(store.info(), files.iter().copied());
    }

    /// Pieces that may be on the disk, and nothing is known to compare them with (BEP 52).
    pub(crate) fn unjudged(&self, store: &FileStore) -> Bitfield {
        let info = store.info();
        let there = self.observed.files.iter().take(info.files().len()).enumerate();
        let there = there.filter(|(_, seen)| seen.is_some_and(|seen| seen.length > 0));
        let pieces = there.flat_map(|(file, _)| info.pieces_of_file(file));
        store.unjudged(pieces.filter(|piece| !self.trusted.has(*piece)))
    }

    /// Keeps the metadata in the record.
    pub(crate) fn remember(&mut self, metadata: Arc<[u8]>) {
        self.metadata = Some(metadata);
    }

    /// The pieces of these files are hashed.
    pub(crate) fn doubt(&mut self, info: &Info, files: impl Iterator<Item = usize>) {
        for piece in files.flat_map(|file| info.pieces_of_file(file)) {
            if !self.trusted.has(piece) {
                self.recheck.insert(piece);
            }
        }
    }

    /// The files as they were found.
    pub(crate) fn observed(&self) -> &Observed {
        &self.observed
    }
}

/// Whether files may be on the disk before there is anything to judge them by (BEP 52).
fn comes_without_hashes(info: &Info) -> bool {
    info.has_v2() && !info.has_v1()
}

/// Whether no piece of a file was ever written.
fn is_unwritten(info: &Info, record: &ResumeRecord, file: usize) -> bool {
    !info.pieces_of_file(file).any(|piece| record.progress.written.has(piece))
}

/// The hashes of a v2 torrent's pieces: those that came with it, and those that an earlier run got from
/// peers.
pub(crate) fn layers(torrent: &Torrent, record: Option<&ResumeRecord>) -> PieceLayers {
    let remembered = record.filter(|_| torrent.lacks_layers());
    let remembered = remembered.and_then(|record| Torrent::parse(record.torrent.as_ref()?).ok());
    let remembered = remembered.filter(|known| known.info_bytes == torrent.info_bytes);
    remembered.map_or_else(|| torrent.piece_layers.clone(), |known| known.piece_layers)
}

/// What to keep of a torrent that nobody has a .torrent file of: its metadata, and with it the hashes
/// of its pieces if it has any beside.
pub(crate) fn to_remember(torrent: &Torrent, layers: &PieceLayers) -> Arc<[u8]> {
    if torrent.info.has_v2() {
        torrent.with_layers(layers).into()
    } else {
        Arc::clone(&torrent.info_bytes)
    }
}

/// The torrent that [`to_remember`] or an earlier version kept, if it is the one that the link means.
pub(crate) fn from_memory(kept: &[u8], magnet: &Magnet) -> Option<Torrent> {
    if magnet.hashes.verify(kept) {
        return Torrent::from_info(kept, magnet).ok();
    }
    let whole = Torrent::parse(kept).ok()?;
    let is_meant = magnet.hashes.verify(&whole.info_bytes);
    let mut torrent = Torrent::from_info(&whole.info_bytes, magnet).ok().filter(|_| is_meant)?;
    torrent.piece_layers = whole.piece_layers;
    Some(torrent)
}

/// What is remembered of each torrent, in the same order. May wait for the disk.
pub(crate) fn remembered(session: &SessionShared, keys: &[RecordKey]) -> Vec<Option<ResumeRecord>> {
    session.state.load_all(keys).unwrap_or_else(|error| {
        tracing::error!(%error, "can't read the state; what is there is hashed");
        keys.iter().map(|_| None).collect()
    })
}

/// Looks at a torrent's files, and decides what of its record to believe. May wait for the disk.
pub(crate) fn look(
    store: &FileStore,
    root: &Root,
    record: Option<ResumeRecord>,
    recheck_all: bool,
) -> Result<Findings, AddError> {
    let observed = store.observe_in(root);
    let believed = record.as_ref().filter(|_| !recheck_all);
    match resume::plan(store.info(), believed, &observed, &store.boot_id()) {
        Verdict::StorageMissing => {
            Err(AddError::StorageMissing { root: store.root().to_path_buf() })
        }
        Verdict::Run(plan) => {
            for note in &plan.notes {
                let path = store.file_path(note.file);
                tracing::info!(path = %path.display(), doubt = ?note.doubt, "its pieces are hashed");
            }
            let (trusted, mut recheck) = (plan.trusted, plan.recheck);
            if believed.is_some_and(|record| !record.progress.clean) {
                // Written after the record was saved for the last time.
                let unrecorded = store.pieces_with_data();
                unrecorded.iter().filter(|piece| !trusted.has(*piece)).for_each(|piece| {
                    recheck.insert(piece);
                });
            }
            let mut findings = Findings { trusted, recheck, record, observed, metadata: None };
            if findings.record.is_some()
                && let Some(strange) = findings.strange(store.info())
            {
                let seen = strange.files.iter().enumerate();
                let there = seen.filter(|(_, seen)| seen.is_some_and(|seen| seen.length > 0));
                let files = there.map(|(file, _)| file).filter(|file| store.holds_data(*file));
                findings.doubt(store.info(), files);
            }
            Ok(findings)
        }
    }
}

/// Begins the record of a torrent that is about to run with the pieces in `have`.
pub(crate) fn begin(
    session: &SessionShared,
    shared: &TorrentShared,
    findings: Findings,
    have: &Bitfield,
) {
    let Findings { trusted, record, observed, metadata, .. } = findings;
    let mut record = resume::begin(record, &trusted, have, observed, unix_now());
    let arrangement = Arrangement { apart: shared.store.apart(), ..shared.arrangement() };
    if record.arrangement != arrangement {
        record.arrangement = arrangement;
        record.progress.clean = false; // it is to be saved
    }
    record.torrent = metadata.or(record.torrent);
    let handle = session.state.track(shared.info_hash(), &shared.store, record);
    let _ = shared.record.set(handle); // begun once
}

/// Makes what was written durable and says so in the record; true when all of it is.
pub(crate) async fn sync(session: &SessionShared, shared: &TorrentShared) -> bool {
    let Some(record) = shared.record.get() else { return false };
    let written = record.progress().written;
    let (done, synced) = oneshot::channel();
    session.pools.sync(&shared.store, move |result| {
        let _ = done.send(result); // the session may have ended
    });
    match synced.await {
        Ok(Ok(())) => {
            record.durable(&written);
            true
        }
        Ok(Err(error)) => {
            tracing::error!(torrent = %shared.info_hash(), %error, "can't sync");
            // Whatever it was: a disk that is gone says so as its files are opened.
            record.not_durable();
            false
        }
        Err(_) => false,
    }
}

/// Syncs what was written, every now and then, for as long as the session lives: after a power cut
/// only what came since is hashed again.
pub(crate) async fn sync_now_and_then(session: Weak<SessionShared>) {
    let mut syncs = Syncs::default();
    loop {
        tokio::time::sleep(SYNC_EVERY).await;
        let Some(session) = session.upgrade() else { return };
        syncs.begin(&session);
    }
}

/// Syncs that are under way: side by side, since a disk that hangs holds its own torrents up and no
/// others, and one of each torrent at most.
#[derive(Default)]
struct Syncs {
    under_way: HashMap<InfoHash, task::Id>,
    tasks: JoinSet<InfoHash>,
}

impl Syncs {
    /// Begins one of each torrent that has written something since.
    fn begin(&mut self, session: &Arc<SessionShared>) {
        self.take_ended();
        for shared in session.all() {
            let info_hash = shared.info_hash();
            let is_behind = shared.record.get().is_some_and(RecordHandle::is_behind);
            if is_behind && !self.under_way.contains_key(&info_hash) {
                let session = Arc::clone(session);
                let task = self.tasks.spawn(async move {
                    sync(&session, &shared).await;
                    info_hash
                });
                self.under_way.insert(info_hash, task.id());
            }
        }
    }

    fn take_ended(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                Ok(info_hash) => _ = self.under_way.remove(&info_hash),
                Err(error) => {
                    tracing::error!(%error, "a sync ended early");
                    self.under_way.retain(|_, task| *task != error.id());
                }
            }
        }
    }
}

/// Leaves a torrent behind that no longer writes: everything on the disk, the record clean once it is
/// saved ([`save`]).
pub(crate) async fn close(session: &SessionShared, shared: &TorrentShared) {
    let Some(record) = shared.record.get().cloned() else { return };
    shared.store.close_files();
    let clean = record.is_as_stored() || sync(session, shared).await;
    record.close(clean);
    shared.store.close_files();
}

/// Saves what is to be remembered, of all torrents.
pub(crate) async fn save(session: &SessionShared) {
    let state = session.state.clone();
    let saved = tokio::task::spawn_blocking(move || state.flush()).await;
    if let Ok(Err(error)) = saved {
        tracing::error!(%error, "the state could not be saved");
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
