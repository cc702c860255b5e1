//! Torrents known by a magnet link alone: the metadata is searched for (BEP 9), then they are
//! torrents like any other.
//!
//! [`swarm::Metadata`] decides whom to dial and ask; [`search`] keeps its connections on the control
//! runtime, where they are few and small. Once the metadata is there the torrent takes them over on its
//! shard ([`handover`]). A search goes on until it is successful or dropped.

mod handover;
mod peer;
mod search;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use metainfo::{FileChoice, InfoHash, InfoHashes, Magnet, Torrent};
use storage::Arrangement;
use swarm::{IpFilter, MetadataStats, Source};
use wire::mse::torrent_mark;

use crate::add::AddTorrent;
use crate::announce::TrackerStatus;
use crate::resume;
use crate::session::{Session, SessionShared};
pub(crate) use handover::{Handed, Handover, Standing};
pub(crate) use peer::accept;
use search::Search;

/// Why a magnet link led to no torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetFailure {
    /// The metadata fits the hash, and this client can't use it.
    #[error(transparent)]
    Torrent(#[from] metainfo::TorrentError),
    /// It is in the session already, or searched for. A hybrid may be looked for by both of its names;
    /// the second that is found is a duplicate when it is added.
    #[error("this torrent is in the session already")]
    Duplicate,
    /// The session is shutting down.
    #[error("the session has ended")]
    Ended,
}

/// A magnet link to be followed, and how.
#[derive(Debug, Clone)]
pub struct FollowMagnet {
    magnet: Magnet,
    peers: Vec<SocketAddr>,
    use_trackers: bool,
}

impl FollowMagnet {
    /// With the trackers and peers that the link names.
    pub fn new(magnet: Magnet) -> Self {
        Self { magnet, peers: Vec::new(), use_trackers: true }
    }

    /// Peers to try besides.
    #[must_use]
    pub fn peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers.extend(peers);
        self
    }

    /// Whether to announce to the link's trackers. Default: yes.
    #[must_use]
    pub fn use_trackers(mut self, use_trackers: bool) -> Self {
        self.use_trackers = use_trackers;
        self
    }
}

/// How far a search is.
#[derive(Debug, Clone, Default)]
pub struct MagnetStats {
    /// Peers, addresses and bytes.
    pub metadata: MetadataStats,
    /// Nodes that answered when the DHT was last asked; `None` before, and without a DHT.
    pub dht_nodes: Option<usize>,
    /// What is wrong with the trackers, when none works.
    pub tracker_error: Option<String>,
}

/// A search for a torrent's metadata. Dropping it ends it.
pub struct MagnetSearch {
    search: Arc<Search>,
    session: Arc<SessionShared>,
}

impl fmt::Debug for MagnetSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MagnetSearch").field("hashes", &self.hashes()).finish_non_exhaustive()
    }
}

/// What a search found: the torrent, and who has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The torrent, with the trackers of the link.
    pub torrent: Torrent,
    magnet: Magnet,
    candidates: Vec<(Source, SocketAddr)>,
    handover: Arc<Handover>,
}

impl Found {
    /// What adds it to a session, below `root`, with the peers that are known and the files that the link
    /// selects (BEP 53). Peers that are connected stay so if it is added within seconds. Its metadata is
    /// remembered: the link alone finds it again after a restart.
    pub fn into_request(self, root: impl Into<PathBuf>) -> AddTorrent {
        let private = self.torrent.info.is_private();
        let candidates = self.candidates.into_iter();
        let candidates = candidates.filter(|(source, _)| !private || source.is_private());
        let chosen = FileChoice::numbers(&self.magnet.files).of(&self.torrent.info);
        let mut add = AddTorrent::new(self.torrent, root);
        add.candidates = candidates.collect();
        add.remember_metadata = true;
        add.handover = Some(self.handover);
        // A link that selects none that is there selects nothing.
        if chosen.contains(&true) {
            let mut arrangement = Arrangement::default();
            arrangement.choose(&chosen);
            add.priorities = Some(arrangement.priorities);
        }
        add
    }
}

impl MagnetSearch {
    /// What the torrent goes by.
    pub fn hashes(&self) -> InfoHashes {
        self.search.hashes()
    }

    /// A snapshot.
    pub fn stats(&self) -> MagnetStats {
        self.search.stats()
    }

    /// What each tracker said last.
    pub fn trackers(&self) -> Vec<TrackerStatus> {
        self.search.trackers()
    }

    /// Waits until the metadata is there, however long that takes.
    ///
    /// # Errors
    /// [`MagnetFailure`] when it is there and of no use.
    pub async fn found(&self) -> Result<Found, MagnetFailure> {
        self.search.found().await
    }
}

impl Drop for MagnetSearch {
    fn drop(&mut self) {
        self.search.stop();
        self.session.searches.remove(&self.search);
    }
}

impl Session {
    /// Begins to look for the metadata behind a magnet link, and returns at once. What an earlier
    /// run of the same state remembers needs no peer.
    ///
    /// # Errors
    /// [`MagnetFailure::Duplicate`] when the torrent is there, or looked for, already.
    pub fn follow(&self, request: FollowMagnet) -> Result<MagnetSearch, MagnetFailure> {
        let session = Arc::clone(&self.inner.shared);
        let control = self.inner.control().ok_or(MagnetFailure::Ended)?;
        let names = names(&request.magnet.hashes);
        if names.iter().any(|name| session.find(name).is_some()) {
            return Err(MagnetFailure::Duplicate);
        }
        let search = Search::new(&session, request.magnet);
        if !session.searches.add(&names, &search) {
            return Err(MagnetFailure::Duplicate);
        }
        search.set_ip_filter(session.gate.filter()); // it may have changed until now
        search.add_candidates(Source::User, &request.peers);
        control.spawn(search::run(Arc::clone(&session), Arc::clone(&search), request.use_trackers));
        Ok(MagnetSearch { search, session })
    }
}

/// What a torrent goes by on the network: one name, or two of a hybrid (BEP 52).
pub(crate) fn names(hashes: &InfoHashes) -> Vec<InfoHash> {
    let v2 = hashes.v2().map(|hash| hash.truncated());
    hashes.v1().into_iter().chain(v2).collect()
}

/// Searches that are under way, by the hashes that peers name.
#[derive(Default)]
pub(crate) struct Searches(Mutex<HashMap<InfoHash, Arc<Search>>>);

impl Searches {
    pub(crate) fn all(&self) -> Vec<Arc<Search>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn find(&self, info_hash: &InfoHash) -> Option<Arc<Search>> {
        self.lock().get(info_hash).cloned()
    }

    /// What all of them go by.
    pub(crate) fn names(&self) -> Vec<InfoHash> {
        self.lock().keys().copied().collect()
    }

    /// The one that has this name within MSE.
    pub(crate) fn find_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        self.lock().keys().copied().find(|info_hash| torrent_mark(info_hash) == *mark)
    }

    fn add(&self, names: &[InfoHash], search: &Arc<Search>) -> bool {
        let mut searches = self.lock();
        let free = !names.iter().any(|name| searches.contains_key(name));
        if free {
            searches.extend(names.iter().map(|name| (*name, Arc::clone(search))));
        }
        free
    }

    /// A torrent was added that goes by `names`: who looks for one of them need not go on. A hybrid may be
    /// looked for by each of its names, and nobody can tell before that they are one torrent.
    pub(crate) fn knows(&self, torrent: &Torrent, names: impl Iterator<Item = InfoHash>) {
        let searches: Vec<_> = names.filter_map(|name| self.find(&name)).collect();
        searches.iter().for_each(|search| search.knows(torrent));
    }

    pub(crate) fn set_ip_filter(&self, filter: &Arc<IpFilter>) {
        let searches: Vec<_> = self.lock().values().cloned().collect();
        searches.iter().for_each(|search| search.set_ip_filter(Arc::clone(filter)));
    }

    fn remove(&self, search: &Arc<Search>) {
        let mut searches = self.lock();
        searches.retain(|_, other| !Arc::ptr_eq(search, other));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<InfoHash, Arc<Search>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionShared {
    /// The metadata that an earlier run left in the state, if it did. May wait for the disk.
    fn remembered(&self, magnet: &Magnet) -> Option<Torrent> {
        let info_hash = magnet.hashes.on_the_wire();
        let mut keys = self.state.keys().ok()?;
        if magnet.hashes.v1().is_some() {
            keys.retain(|key| key.info_hash == info_hash);
        }
        // A hybrid's record goes by its v1 hash, which a link by the other one does not tell: each has
        // to be looked at, those of the same name first.
        keys.sort_by_key(|key| key.info_hash != info_hash);
        let mut records = keys.into_iter().filter_map(|key| self.state.load(&key).ok()??.torrent);
        records.find_map(|kept| resume::from_memory(&kept, magnet))
    }
}

#[cfg(test)]
mod tests {
    use metainfo::{CreateOptions, CreatePayload};

    use super::*;

    fn found(private: bool, files: &str) -> Found {
        let file = |length| metainfo::CreateFile {
            path: vec![format!("{length}").into_bytes()],
            length,
            ..Default::default()
        };
        let payload = CreatePayload::Folder([16_384, 40_000, 10].map(file).into());
        let piece_length = Some(16_384);
        let options = CreateOptions { private, piece_length, ..CreateOptions::default() };
        let bytes = metainfo::create(b"tree", &payload, &[0; 4 * 20], &options).unwrap();
        let torrent = Torrent::parse(&bytes).unwrap();
        let magnet: Magnet = format!("{}{files}", torrent.magnet()).parse().unwrap();
        let sources = [Source::Link, Source::Dht, Source::Tracker, Source::User];
        let addr = |number| SocketAddr::from(([192, 0, 2, number], 1));
        let candidates = sources.into_iter().zip((0..).map(addr)).collect();
        Found { torrent, magnet, candidates, handover: Arc::default() }
    }

    #[test]
    fn a_private_torrent_takes_no_peers_from_its_link() {
        let sources = |private| -> Vec<Source> {
            let request = found(private, "").into_request("out");
            request.candidates.into_iter().map(|(source, _)| source).collect()
        };
        assert_eq!(sources(true), [Source::Tracker, Source::User]);
        assert_eq!(sources(false).len(), 4);
    }

    #[test]
    fn files_that_the_link_selects_are_whole() {
        let wanted = |files: &str| {
            let request = found(false, files).into_request("out");
            let priorities = request.priorities?;
            let info = &request.torrent.info;
            let arrangement = Arrangement { priorities, ..Arrangement::default() };
            let wishes = crate::choosing::wishes(info, &arrangement);
            let pieces = wishes.wanted(info.geometry().piece_count())?;
            Some(pieces.iter().collect::<Vec<_>>())
        };
        assert_eq!(wanted(""), None);
        assert_eq!(wanted("&so=0"), Some(vec![0]));
        assert_eq!(wanted("&so=1"), Some(vec![1, 2, 3]));
        assert_eq!(wanted("&so=0,2"), Some(vec![0, 3]));
        assert_eq!(wanted("&so=1-4000000000"), Some(vec![1, 2, 3]));
        assert_eq!(wanted("&so=7"), None, "none that is there");
    }
}
