//! A torrent as its owner sees it: cheap to clone, usable from any thread.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use metainfo::{InfoHash, PieceIndex, SafePath, Torrent};
use storage::{Arrangement, FileStore, RecordHandle, StorageError};
use swarm::PeerStats;
use tokio::sync::Notify;
use tracker::Prompt;
use wire::Bitfield;

use crate::announce::{AnnouncerHandle, TrackerStatus};
use crate::events::{Event, Events};
use crate::limits::{Bounds, RateLimits};
use crate::seeding::SeedingShared;
use crate::session::{STOP_LIMIT, SessionShared};
use crate::shelving;
use crate::stats::{TorrentState, TorrentStats};
use crate::web_seed::WebSeedStatus;

/// Addresses kept for a torrent that does not run yet, or never will: whoever is on our network can name
/// them without end.
pub(crate) const EARLY_MAX: usize = 2000;

/// Why a torrent did not get where its owner wanted it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorrentError {
    /// It was stopped first.
    #[error("the torrent was stopped")]
    Stopped,
    /// The piece is not there.
    #[error("piece {0} is not complete")]
    MissingPiece(PieceIndex),
    /// The piece is not there and is not to be downloaded.
    #[error("piece {0} is not there, and not among those to be downloaded")]
    NotComing(PieceIndex),
    /// The torrent has no file of this number.
    #[error("there is no file {file}: the torrent has {count}, counted from 0")]
    NoSuchFile {
        /// The file asked for.
        file: usize,
        /// Files there are.
        count: usize,
    },
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A bug ended it. What is verified and written stays, and it can be added again.
    #[error("{0}; the torrent was stopped")]
    Internal(String),
}

/// The part of a torrent that all threads see.
pub(crate) struct TorrentShared {
    pub(crate) torrent: Torrent,
    pub(crate) seed_only: bool,
    /// Whether its files are looked for among those of other torrents.
    pub(crate) search: bool,
    pub(crate) store: Arc<FileStore>,
    pub(crate) bounds: Bounds,
    pub(crate) announcer: OnceLock<AnnouncerHandle>,
    /// Announces a hybrid by its other name.
    pub(crate) other_announcer: OnceLock<AnnouncerHandle>,
    /// What the resume state hears of it, once it runs.
    pub(crate) record: OnceLock<RecordHandle>,
    /// Held by who changes the arrangement.
    pub(crate) arranging: tokio::sync::Mutex<()>,
    /// `None`, and no memory, as long as it is as any other.
    arrangement: Mutex<Option<Box<Arrangement>>>,
    /// When its seeding ends, and whether it did.
    pub(crate) seeding: SeedingShared,
    failure: Mutex<Option<Box<TorrentError>>>,
    /// Addresses given before the torrent runs; `None` once it does.
    early: Mutex<Option<Vec<(swarm::Source, SocketAddr)>>>,
    /// Set when the torrent is stopped: ends a check that is under way.
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) stats: Mutex<TorrentStats>,
    have: Mutex<Bitfield>,
    peers: Mutex<Vec<PeerStats>>,
    web_seeds: Mutex<Vec<WebSeedStatus>>,
    /// The state, in `stats`, is another.
    state_changed: Notify,
    #[cfg(test)]
    pub(crate) panics_at: Mutex<Option<crate::panics::Spot>>,
}

impl TorrentShared {
    pub(crate) fn new(
        torrent: Torrent,
        store: Arc<FileStore>,
        bounds: Bounds,
        seed_only: bool,
        search: bool,
    ) -> Self {
        let geometry = torrent.info.geometry().clone();
        let stats = TorrentStats {
            state: TorrentState::Checking,
            total_bytes: geometry.total_length(),
            verified_bytes: 0,
            wanted_left: geometry.total_length(),
            pieces_have: 0,
            pieces_total: geometry.piece_count(),
            check_progress: (0, 0),
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            failed: 0,
            download_rate: 0,
            upload_rate: 0,
            peers: 0,
            seeds: 0,
            web_seeds: 0,
            peers_known: 0,
            filtered: 0,
            half_open: 0,
            eta: None,
            resumed_bytes: 0,
            tracker_error: None,
        };
        Self {
            torrent,
            seed_only,
            search,
            store,
            bounds,
            announcer: OnceLock::new(),
            other_announcer: OnceLock::new(),
            record: OnceLock::new(),
            arranging: tokio::sync::Mutex::default(),
            arrangement: Mutex::default(),
            seeding: SeedingShared::default(),
            failure: Mutex::default(),
            early: Mutex::new(Some(Vec::new())),
            cancelled: Arc::default(),
            stats: Mutex::new(stats),
            have: Mutex::new(Bitfield::new(geometry.piece_count())),
            peers: Mutex::default(),
            web_seeds: Mutex::default(),
            state_changed: Notify::new(),
            #[cfg(test)]
            panics_at: Mutex::default(),
        }
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.torrent.info_hash
    }

    /// Its name in v2 handshakes, if it has one: the first 20 bytes of its v2 hash (BEP 52).
    pub(crate) fn v2_name(&self) -> Option<InfoHash> {
        self.torrent.info_hashes.v2().map(|hash| hash.truncated())
    }

    /// All its names on the network: one, or two of a hybrid. The first is [`Self::info_hash`].
    pub(crate) fn names(&self) -> impl Iterator<Item = InfoHash> + use<> {
        let info_hash = self.info_hash();
        std::iter::once(info_hash).chain(self.v2_name().filter(|name| *name != info_hash))
    }

    pub(crate) fn announcers(&self) -> impl Iterator<Item = &AnnouncerHandle> {
        [&self.announcer, &self.other_announcer].into_iter().filter_map(OnceLock::get)
    }

    /// Panics, once, where a test asked for it.
    #[cfg(test)]
    pub(crate) fn spot(&self, spot: crate::panics::Spot) {
        let taken = lock(&self.panics_at).take_if(|asked| *asked == spot);
        assert_eq!(taken, None, "a test asked for it");
    }

    pub(crate) fn stats(&self) -> TorrentStats {
        let mut stats = lock(&self.stats).clone();
        stats.tracker_error = self.announcer.get().and_then(AnnouncerHandle::error);
        stats
    }

    /// Payload bytes a second, received and sent: for sums over thousands.
    pub(crate) fn rates(&self) -> (u64, u64) {
        let stats = lock(&self.stats);
        (stats.download_rate, stats.upload_rate)
    }

    /// What each tracker said last.
    pub(crate) fn trackers(&self) -> Vec<TrackerStatus> {
        self.announcer.get().map_or_else(Vec::new, AnnouncerHandle::statuses)
    }

    /// What ended it, until somebody who waited for it was told.
    pub(crate) fn failure_message(&self) -> Option<String> {
        lock(&self.failure).as_deref().map(TorrentError::to_string)
    }

    pub(crate) fn set_state(&self, state: TorrentState) {
        let mut stats = lock(&self.stats);
        if stats.state != state {
            stats.state = state;
            self.state_changed.notify_waiters();
        }
    }

    pub(crate) fn is_checking(&self) -> bool {
        lock(&self.stats).state == TorrentState::Checking
    }

    /// Waits for a state in which `there` holds. The states in between may pass unseen.
    pub(crate) async fn state_where(&self, there: impl Fn(&TorrentState) -> bool) -> TorrentState {
        loop {
            let changed = self.state_changed.notified(); // from here on no change is missed
            let state = lock(&self.stats).state.clone();
            if there(&state) {
                return state;
            }
            changed.await;
        }
    }

    /// Waits until the check at the start is over. False when the torrent was stopped.
    pub(crate) async fn checked(&self) -> bool {
        let left = self.state_where(|state| *state != TorrentState::Checking).await;
        left != TorrentState::Stopped
    }

    pub(crate) fn set_check_progress(&self, done: u64, total: u64) {
        lock(&self.stats).check_progress = (done, total);
    }

    /// What is there before the torrent runs, and how much of it needed no hashing.
    pub(crate) fn begin(&self, have: &Bitfield, resumed_bytes: u64, wanted: Option<&Bitfield>) {
        let geometry = self.torrent.info.geometry();
        let size = |piece| u64::from(geometry.piece_size(piece));
        let wants = |piece: &PieceIndex| wanted.is_none_or(|wanted| wanted.has(*piece));
        let missing = (0..geometry.piece_count()).filter(|piece| !have.has(*piece)).filter(wants);
        let mut stats = lock(&self.stats);
        stats.resumed_bytes = resumed_bytes;
        stats.pieces_have = have.count();
        stats.verified_bytes = have.iter().map(size).sum();
        stats.wanted_left = missing.map(size).sum();
        drop(stats);
        *lock(&self.have) = have.clone();
    }

    /// Replaces the numbers; the brain's come in one struct.
    pub(crate) fn publish(
        &self,
        state: TorrentState,
        now: &swarm::Stats,
        have: &wire::Bitfield,
        peers: Vec<PeerStats>,
    ) {
        {
            let geometry = self.torrent.info.geometry();
            let mut stats = lock(&self.stats);
            if let Some(record) = self.record.get() {
                record
                    .transferred(now.uploaded - stats.uploaded, now.downloaded - stats.downloaded);
            }
            stats.verified_bytes = now.verified_bytes;
            stats.wanted_left = now.wanted_left;
            stats.pieces_have = have.count();
            stats.pieces_total = geometry.piece_count();
            stats.downloaded = now.downloaded;
            stats.uploaded = now.uploaded;
            stats.wasted = now.wasted;
            stats.failed = now.failed;
            stats.download_rate = now.download_rate;
            stats.upload_rate = now.upload_rate;
            stats.peers = now.peers;
            stats.seeds = now.seeds;
            stats.web_seeds = now.web_seeds;
            stats.peers_known = now.candidates;
            stats.filtered = now.filtered;
            stats.half_open = now.half_open;
            stats.eta = (now.wanted_left > 0 && now.download_rate > 0)
                .then(|| Duration::from_secs(now.wanted_left / now.download_rate));
        }
        let mut shown = lock(&self.have);
        if *shown != *have {
            *shown = have.clone();
        }
        drop(shown);
        *lock(&self.peers) = peers;
        self.set_state(state);
    }

    pub(crate) fn publish_web_seeds(&self, web_seeds: Vec<WebSeedStatus>) {
        *lock(&self.web_seeds) = web_seeds;
    }

    /// The pieces that are there.
    pub(crate) fn have(&self) -> Bitfield {
        lock(&self.have).clone()
    }

    /// Which files are wanted, and how.
    pub(crate) fn arrangement(&self) -> Arrangement {
        lock(&self.arrangement).as_deref().cloned().unwrap_or_default()
    }

    pub(crate) fn set_arrangement(&self, arrangement: Arrangement) {
        *lock(&self.arrangement) =
            (arrangement != Arrangement::default()).then(|| Box::new(arrangement));
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        lock(&self.have).has(piece)
    }

    /// It can't run, or not any longer: what waits for it hears why.
    pub(crate) fn fail(&self, events: &Events, error: TorrentError) {
        let (info_hash, message) = (self.info_hash(), error.to_string());
        tracing::warn!(torrent = %info_hash, error = message, "the torrent can't run"); // an event follows
        *lock(&self.failure) = Some(Box::new(error));
        self.set_state(TorrentState::Stopped);
        self.announcers().for_each(|announcer| announcer.leave(STOP_LIMIT));
        events.send(Event::TorrentFailed { info_hash, message });
    }

    /// Keeps addresses until it runs, and no more than its brain would; gives them back if it does.
    pub(crate) fn keep_early(
        &self,
        source: swarm::Source,
        addrs: Vec<SocketAddr>,
    ) -> Result<(), Vec<SocketAddr>> {
        let mut early = lock(&self.early);
        let Some(early) = &mut *early else { return Err(addrs) };
        let room = EARLY_MAX.saturating_sub(early.len());
        early.extend(addrs.into_iter().map(|addr| (source, addr)).take(room));
        Ok(())
    }

    /// The addresses given so far. From now on they go to the shard.
    pub(crate) fn take_early(&self) -> Vec<(swarm::Source, SocketAddr)> {
        lock(&self.early).take().unwrap_or_default()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// All of its files are there: under this name in this folder.
    pub(crate) fn home(&self) -> (&Path, Option<&[u8]>) {
        let first = self.torrent.info.files().first();
        (self.store.root(), first.and_then(|file| file.path.components().next()))
    }

    /// A file that both would write, or one writes and the other serves.
    pub(crate) fn shares_file_with(&self, other: &Self) -> Option<usize> {
        if self.home() != other.home() {
            return None;
        }
        let theirs = other.torrent.info.files().iter();
        let theirs: HashSet<&SafePath> = theirs.map(|file| &file.path).collect();
        self.torrent.info.files().iter().position(|file| theirs.contains(&file.path))
    }

    pub(crate) fn cancel_check(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn announce_now(&self, prompt: Prompt) {
        self.announcers().for_each(|announcer| announcer.announce_now(prompt));
    }

    /// Tells the trackers, once, that the last piece arrived.
    pub(crate) fn announce_completed(&self) {
        self.announcers().for_each(AnnouncerHandle::completed);
    }
}

/// A torrent in a session. Clones are handles to the same torrent.
#[derive(Clone)]
pub struct TorrentHandle {
    pub(crate) shared: Arc<TorrentShared>,
    pub(crate) session: Arc<SessionShared>,
}

impl fmt::Debug for TorrentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorrentHandle")
            .field("info_hash", &self.info_hash())
            .finish_non_exhaustive()
    }
}

impl TorrentHandle {
    /// Its name in the protocol.
    pub fn info_hash(&self) -> InfoHash {
        self.shared.info_hash()
    }

    /// What the .torrent file says.
    pub fn torrent(&self) -> &Torrent {
        &self.shared.torrent
    }

    /// A snapshot, at most a fifth of a second old while anything moves.
    pub fn stats(&self) -> TorrentStats {
        self.shared.stats()
    }

    /// A snapshot of the connected peers.
    pub fn peers(&self) -> Vec<PeerStats> {
        lock(&self.shared.peers).clone()
    }

    /// A snapshot of the web seeds.
    pub fn web_seeds(&self) -> Vec<WebSeedStatus> {
        lock(&self.shared.web_seeds).clone()
    }

    /// What each tracker said last.
    pub fn trackers(&self) -> Vec<TrackerStatus> {
        self.shared.trackers()
    }

    /// Announces again, as soon as each tracker allows. Those that failed are tried too.
    pub fn announce_now(&self) {
        self.shared.announce_now(Prompt::User);
    }

    /// Gives it addresses to try.
    pub fn add_peers(&self, addrs: impl IntoIterator<Item = SocketAddr>) {
        let addrs = addrs.into_iter().collect();
        self.session.candidates(self.info_hash(), swarm::Source::User, addrs);
    }

    /// Limits this torrent, beside what limits the whole session.
    pub fn set_limits(&self, limits: RateLimits) {
        self.shared.bounds.set_own(limits);
    }

    /// What limits this torrent.
    pub fn limits(&self) -> RateLimits {
        self.shared.bounds.own()
    }

    /// Waits until every wanted piece is verified and written.
    ///
    /// # Errors
    /// [`TorrentError::Stopped`] when it is stopped first.
    pub async fn wait(&self) -> Result<(), TorrentError> {
        self.reach(|state| *state == TorrentState::Seeding).await
    }

    /// Waits until the check at the start is over, whatever it found.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn checked(&self) -> Result<(), TorrentError> {
        self.reach(|state| *state != TorrentState::Checking).await
    }

    pub(crate) async fn reach(
        &self,
        there: impl Fn(&TorrentState) -> bool,
    ) -> Result<(), TorrentError> {
        let ended = |state: &TorrentState| *state == TorrentState::Stopped;
        if !ended(&self.shared.state_where(|state| there(state) || ended(state)).await) {
            return Ok(());
        }
        // Seeded enough, perhaps at once: it was there, and nobody had to see it.
        if self.shared.seeding.has_ended() && there(&TorrentState::Seeding) {
            return Ok(());
        }
        let failure = lock(&self.shared.failure).take();
        Err(failure.map_or(TorrentError::Stopped, |error| *error))
    }

    /// The bytes of a piece that is complete.
    ///
    /// # Errors
    /// [`TorrentError::MissingPiece`] while it is not, or what the disk said.
    pub async fn read_piece(&self, piece: PieceIndex) -> Result<Vec<u8>, TorrentError> {
        self.session.read_piece(&self.shared, piece).await
    }

    /// Stops it: tells the trackers, closes its peers, saves its state. The files stay.
    pub async fn stop(&self) {
        shelving::enter_running(&self.session).await;
        self.session.stop_torrent(&self.shared).await;
    }
}

/// A snapshot is plain data: one left by a panicking thread is still a snapshot.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
