//! A torrent's way into a session: look at what is there, hash what is in doubt, then run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use metainfo::{FilePriority, InfoHash, InfoHashes, PieceIndex, Torrent};
use storage::{
    Arrangement, CheckReport, FileStore, ResumeRecord, Root, StorageError, StoreOptions,
};
use swarm::{SeedLimits, Source, Wishes};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wire::Bitfield;

use crate::announcing;
use crate::choosing::{self, PieceOrder};
use crate::events::Event;
use crate::handle::{TorrentError, TorrentHandle, TorrentShared};
use crate::intake;
use crate::limits::Bounds;
use crate::magnet::{self, Handover};
use crate::panics;
use crate::resume::{self, Findings};
use crate::reusing::{self, Elsewhere};
use crate::session::{Session, SessionShared};
use crate::shard::ShardMessage;
use crate::stats::TorrentState;
use crate::torrent::Unjudged;

/// Why a torrent was not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// It is in the session already, perhaps by the other name of a hybrid (BEP 52). The torrent that is
    /// there ([`Session::torrent`]) was given the peers of the request, and nothing else of it.
    #[error("this torrent is in the session already; it goes by {0}")]
    Duplicate(InfoHashes),
    /// Another torrent of the session writes the same file.
    #[error("{path} belongs to the torrent {other}; choose another folder", path = path.display())]
    PathInUse {
        /// The file both have.
        path: PathBuf,
        /// Whose it is.
        other: InfoHash,
    },
    /// A wanted piece does not exist.
    #[error("there is no piece {piece}: the torrent has {count}, counted from 0")]
    NoSuchPiece {
        /// The piece asked for.
        piece: PieceIndex,
        /// Pieces there are.
        count: u32,
    },
    /// Its files can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The folder that held the data is gone: an unmounted disk, perhaps.
    #[error("{root} no longer holds what was downloaded there; mount or restore it, or ask for a recheck to begin anew", root = root.display())]
    StorageMissing {
        /// The folder.
        root: PathBuf,
    },
    /// The session is shutting down.
    #[error("the session has ended")]
    Ended,
}

/// A torrent to be added, and how.
#[derive(Debug, Clone)]
pub struct AddTorrent {
    pub(crate) torrent: Torrent,
    pub(crate) root: PathBuf,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) use_trackers: bool,
    pub(crate) seed_only: bool,
    pub(crate) recheck: bool,
    pub(crate) wanted: Option<Vec<PieceIndex>>,
    pub(crate) overwrite: bool,
    pub(crate) priorities: Option<Vec<FilePriority>>,
    pub(crate) order: Option<PieceOrder>,
    pub(crate) reuse: Vec<PathBuf>,
    pub(crate) search: bool,
    pub(crate) super_seed: bool,
    pub(crate) seed_limits: SeedLimits,
    /// Addresses that are known already, and where from.
    pub(crate) candidates: Vec<(swarm::Source, SocketAddr)>,
    /// Connections of the search that found it.
    pub(crate) handover: Option<Arc<Handover>>,
    /// Keep the metadata in the state: nobody has a .torrent file of it.
    pub(crate) remember_metadata: bool,
}

impl AddTorrent {
    /// `root` is the folder that holds, or will hold, the payload under the torrent's own name.
    pub fn new(torrent: Torrent, root: impl Into<PathBuf>) -> Self {
        Self {
            torrent,
            root: root.into(),
            peers: Vec::new(),
            use_trackers: true,
            seed_only: false,
            recheck: false,
            wanted: None,
            overwrite: false,
            priorities: None,
            order: None,
            reuse: Vec::new(),
            search: true,
            super_seed: false,
            seed_limits: SeedLimits::default(),
            candidates: Vec::new(),
            handover: None,
            remember_metadata: false,
        }
    }

    /// What is to be added.
    pub fn torrent(&self) -> &Torrent {
        &self.torrent
    }

    /// How much each file is wanted, if that was said: a magnet link may choose (BEP 53).
    pub fn priorities(&self) -> Option<&[FilePriority]> {
        self.priorities.as_deref()
    }

    /// Peers to try besides what trackers give.
    #[must_use]
    pub fn peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers.extend(peers);
        self
    }

    /// Web seeds (BEP 19) besides those that the torrent names.
    #[must_use]
    pub fn web_seeds(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        self.torrent.web_seeds.extend(urls);
        self
    }

    /// Whether to announce to the torrent's trackers. Default: yes.
    #[must_use]
    pub fn use_trackers(mut self, use_trackers: bool) -> Self {
        self.use_trackers = use_trackers;
        self
    }

    /// Never downloads; serves what is there and good.
    #[must_use]
    pub fn seed_only(mut self, seed_only: bool) -> Self {
        self.seed_only = seed_only;
        self
    }

    /// Hashes everything, whatever the resume state says.
    #[must_use]
    pub fn recheck(mut self, recheck: bool) -> Self {
        self.recheck = recheck;
        self
    }

    /// Only these pieces. Default: all.
    #[must_use]
    pub fn wanted(mut self, pieces: Vec<PieceIndex>) -> Self {
        self.wanted = Some(pieces);
        self
    }

    /// How much each file is wanted, by number; those past the end of the list are wanted as most.
    /// Default: as it was before, or all alike.
    #[must_use]
    pub fn file_priorities(mut self, priorities: Vec<FilePriority>) -> Self {
        self.priorities = Some(priorities);
        self
    }

    /// In which order pieces are fetched. Default: as it was before, or the rarest first.
    #[must_use]
    pub fn piece_order(mut self, order: PieceOrder) -> Self {
        self.order = Some(order);
        self
    }

    /// Folders that may have files of the torrent, under whatever names. Those that are missing and
    /// found there are copied, by reflink where that can be; what is found is only read.
    #[must_use]
    pub fn reuse(mut self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        self.reuse.extend(folders);
        self
    }

    /// Whether files that are missing are looked for among the whole files of other torrents, of this
    /// session and of those that the state remembers: by the roots of their hash trees (BEP 52) and by
    /// hints (BEP 38). Those of private torrents are never taken. Default: yes.
    #[must_use]
    pub fn search(mut self, search: bool) -> Self {
        self.search = search;
        self
    }

    /// Tells each peer of one piece at a time (BEP 16), so that a first seed sends little more than one
    /// copy. Default: no.
    #[must_use]
    pub fn super_seed(mut self, on: bool) -> Self {
        self.super_seed = on;
        self
    }

    /// When its seeding ends. Default: never.
    #[must_use]
    pub fn seed_limits(mut self, limits: SeedLimits) -> Self {
        self.seed_limits = limits;
        self
    }

    /// Consents to cutting longer files in the way and to writing through hard links.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }
}

impl Session {
    /// Takes a torrent in. Returns once its files and resume state were looked at; hashing what is
    /// in doubt goes on in the background.
    ///
    /// # Errors
    /// [`AddError`] when it is there already or its files can't be used.
    pub async fn add(&self, request: AddTorrent) -> Result<TorrentHandle, AddError> {
        let session = &self.inner.shared;
        let control = self.inner.control().ok_or(AddError::Ended)?;
        let (done, added) = oneshot::channel();
        intake::enter(session, &control, Entering { request, done });
        added.await.map_err(|_| AddError::Ended)?
    }
}

/// A torrent that was not looked at yet, and who waits for it.
pub(crate) struct Entering {
    pub(crate) request: AddTorrent,
    pub(crate) done: oneshot::Sender<Result<TorrentHandle, AddError>>,
}

impl Entering {
    /// Opens the files and decides what to trust, then goes on without whoever waited.
    pub(crate) fn look(
        self,
        session: &Arc<SessionShared>,
        control: &Handle,
        root: &Root,
        record: Option<ResumeRecord>,
    ) {
        match take_in(session, self.request, control, root, record) {
            Ok((handle, bring_up, findings)) => {
                let _ = self.done.send(Ok(handle)); // the caller may have gone
                bring_up.go_on(findings);
            }
            Err(error) => drop(self.done.send(Err(error))),
        }
    }
}

fn take_in(
    session: &Arc<SessionShared>,
    request: AddTorrent,
    control: &Handle,
    root: &Root,
    record: Option<ResumeRecord>,
) -> Result<(TorrentHandle, BringUp, Findings), AddError> {
    for name in magnet::names(&request.torrent.info_hashes) {
        if let Some((there, _)) = session.find(&name) {
            tell_of_peers(session, name, request.peers, request.candidates);
            return Err(AddError::Duplicate(there.torrent.info_hashes));
        }
    }
    let count = request.torrent.info.geometry().piece_count();
    let wanted = request.wanted.as_ref().map(|pieces| wanted_set(pieces, count)).transpose()?;
    let options = StoreOptions { overwrite: request.overwrite };
    let (info, handles) = (Arc::clone(&request.torrent.info), Arc::clone(&session.handles));
    let store = FileStore::open_in(root, info, handles, options);
    let layers = resume::layers(&request.torrent, record.as_ref());
    store.set_layers(Arc::new(layers));
    let arrangement = arranged(&request, record.as_ref());
    store.arrange(&arrangement);
    let mut findings = resume::look(&store, root, record, request.recheck)?;
    if request.remember_metadata {
        findings.remember(resume::to_remember(&request.torrent, &store.layers()));
    }
    let elsewhere = Elsewhere { folders: request.reuse };
    let shared = Arc::new(TorrentShared::new(
        request.torrent,
        store,
        Bounds::within(&session.limits),
        request.seed_only,
        request.search,
    ));
    shared.set_arrangement(arrangement);
    shared.seeding.begin(request.seed_limits, request.super_seed);
    let registered = session.register(&shared);
    if let Ok(()) | Err(AddError::Duplicate(_)) = &registered {
        tell_of_peers(session, shared.info_hash(), request.peers, request.candidates);
    }
    registered?;
    session.searches.knows(&shared.torrent, shared.names());
    let handle = TorrentHandle { shared: Arc::clone(&shared), session: Arc::clone(session) };
    let (session, control) = (Arc::clone(session), control.clone());
    let (use_trackers, handover) = (request.use_trackers, request.handover);
    let bring_up = BringUp { session, shared, control, use_trackers, wanted, elsewhere, handover };
    Ok((handle, bring_up, findings))
}

/// Tells a torrent, which may have been there before, of peers.
fn tell_of_peers(
    session: &SessionShared,
    name: InfoHash,
    users: Vec<SocketAddr>,
    others: Vec<(Source, SocketAddr)>,
) {
    session.candidates(name, Source::User, users);
    others.into_iter().for_each(|(source, addr)| session.candidates(name, source, vec![addr]));
}

/// What its owner wants: what was said now, or before.
fn arranged(request: &AddTorrent, record: Option<&ResumeRecord>) -> Arrangement {
    let mut arrangement = record.map(|record| record.arrangement.clone()).unwrap_or_default();
    if let Some(priorities) = &request.priorities {
        arrangement.priorities.clone_from(priorities);
    }
    if let Some(PieceOrder { sequential, first_last }) = request.order {
        (arrangement.sequential, arrangement.first_last) = (sequential, first_last);
    }
    arrangement
}

fn wanted_set(pieces: &[PieceIndex], count: u32) -> Result<Bitfield, AddError> {
    let mut set = Bitfield::new(count);
    for &piece in pieces {
        if piece >= count {
            return Err(AddError::NoSuchPiece { piece, count });
        }
        set.insert(piece);
    }
    Ok(set)
}

/// What follows once the torrent is known. Its steps wait for the disk, so each runs on one of the
/// control runtime's blocking threads.
struct BringUp {
    session: Arc<SessionShared>,
    shared: Arc<TorrentShared>,
    control: Handle,
    use_trackers: bool,
    wanted: Option<Bitfield>,
    elsewhere: Elsewhere,
    handover: Option<Arc<Handover>>,
}

impl BringUp {
    /// On this thread, which has others to look at, only when nothing waits for the disk.
    fn go_on(self, findings: Findings) {
        let store = &self.shared.store;
        if self.shared.seed_only && store.layers().missing(store.info()).next().is_none() {
            return self.check(findings);
        }
        let control = self.control.clone();
        control.spawn_blocking(move || self.check(findings));
    }

    /// Hashes what is in doubt, on all cores, and goes on.
    fn check(self, mut findings: Findings) {
        let (session, shared) = (Arc::clone(&self.session), Arc::clone(&self.shared));
        let whom = panics::torrent(shared.info_hash());
        let looked =
            session.panics.catch(whom, || self.elsewhere.look(&session, &shared, &mut findings));
        if let Err(panicked) = looked {
            return shared.fail(&session.events, TorrentError::Internal(panicked.to_string()));
        }
        if shared.is_stopping() {
            return shared.set_state(TorrentState::Stopped);
        }
        if findings.recheck.count() == 0 {
            return self.begin_or_fail(findings, None);
        }
        let doubtful = findings.recheck.clone();
        let progress = {
            let shared = Arc::clone(&shared);
            move |now: storage::CheckProgress| {
                shared.set_check_progress(now.done_bytes, now.total_bytes);
            }
        };
        let cancelled = Arc::clone(&shared.cancelled);
        session.pools.check(&shared.store, doubtful, progress, cancelled, move |report| {
            if report.cancelled {
                return self.shared.set_state(TorrentState::Stopped);
            }
            let control = self.control.clone();
            control.spawn_blocking(move || self.begin_or_fail(findings, Some(report)));
        });
    }

    fn begin_or_fail(self, findings: Findings, checked: Option<CheckReport>) {
        let (session, shared) = (Arc::clone(&self.session), Arc::clone(&self.shared));
        let whom = panics::torrent(shared.info_hash());
        if let Err(panicked) = session.panics.catch(whom, || self.begin(findings, checked)) {
            shared.fail(&session.events, TorrentError::Internal(panicked.to_string()));
        }
    }

    fn begin(self, findings: Findings, checked: Option<CheckReport>) {
        let info_hash = self.shared.info_hash();
        let geometry = self.shared.torrent.info.geometry();
        let bytes =
            |set: &Bitfield| set.iter().map(|piece| u64::from(geometry.piece_size(piece))).sum();
        let resumed_bytes = bytes(&findings.trusted);
        let mut have = findings.trusted.clone();
        let mut hashed_bytes = 0;
        // What was hashed may be whole by now.
        let shelves = findings.is_new() || checked.is_some();
        if let Some(report) = checked {
            hashed_bytes = bytes(&report.good);
            for piece in report.good.iter() {
                have.insert(piece);
            }
        }
        let strange = findings.strange(&self.shared.torrent.info);
        if let Some(strange) = strange.filter(|_| !self.shared.seed_only)
            && let Err(error) = self.shared.store.refuse_strangers(&have, &strange)
        {
            return self.fail(error);
        }
        let arrangement = self.shared.arrangement();
        let wishes = choosing::wishes(&self.shared.torrent.info, &arrangement);
        let wanted = self.wanted.clone().or_else(|| wishes.wanted(have.len()));
        self.shared.begin(&have, resumed_bytes, wanted.as_ref());
        let unjudged = Unjudged::find(&self.shared, &findings);
        resume::begin(&self.session, &self.shared, findings, &have);
        if shelves {
            reusing::shelve(&self.shared); // as far as it is there whole
        } else if have.count() > 0 {
            self.session.shelving.note_resumed();
        }
        self.session.events.send(Event::Checked { info_hash, resumed_bytes, hashed_bytes });
        match self.prepare(&have, &arrangement) {
            Ok(()) => self.start(have, wishes, unjudged),
            Err(error) => self.fail(error),
        }
    }

    fn fail(&self, error: StorageError) {
        self.shared.fail(&self.session.events, error.into());
    }

    /// Makes what has no data, looks for what is in the way, and warns when the disk is too small.
    fn prepare(&self, have: &Bitfield, arrangement: &Arrangement) -> Result<(), StorageError> {
        if self.shared.seed_only {
            return Ok(()); // nothing will be written
        }
        choosing::settle(&self.session, &self.shared, arrangement, have)?;
        self.shared.store.prepare(have)?;
        let space = self.shared.store.space()?;
        if space.free < space.needed {
            let message = format!(
                "{} bytes are needed in {} and {} are free",
                space.needed,
                self.shared.store.root().display(),
                space.free
            );
            tracing::warn!("{message}");
            let info_hash = self.shared.info_hash();
            self.session.events.send(Event::StorageError { info_hash, message });
        }
        Ok(())
    }

    fn start(self, have: Bitfield, wishes: Wishes, unjudged: Option<Box<Unjudged>>) {
        let info_hash = self.shared.info_hash();
        let Some(shard) = self.session.shard_of(&info_hash) else {
            return self.shared.set_state(TorrentState::Stopped); // meanwhile
        };
        // Who asks for single pieces has no wishes about files.
        let wishes = if self.wanted.is_some() { None } else { Some(wishes) };
        let wanted = wishes.as_ref().map_or(self.wanted, |wishes| wishes.wanted(have.len()));
        let swarm = Box::new(self.session.swarm_config(&self.shared, have, wanted));
        let (shared, handover) = (Arc::clone(&self.shared), self.handover);
        shard.send(ShardMessage::Start { shared, swarm, wishes, unjudged, handover });
        if let Some(dht) = self.session.dht_for(&self.shared).filter(|_| !self.shared.is_stopping())
        {
            dht.watch(&self.shared);
        }
        if self.use_trackers && !self.shared.is_stopping() {
            let _guard = self.control.enter();
            announcing::start(&self.session, &self.shared);
        }
    }
}
