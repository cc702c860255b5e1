//! One search: the brain, its connections, and its trackers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use dht::PeersQuery;
use metainfo::{InfoHash, InfoHashes, Magnet, Torrent};
use swarm::{
    Acquainted, Hello, IpFilter, Metadata, MetadataAction, MetadataConfig, OwnPorts, PeerKey,
    Reached, Refusal, Source, Way,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracker::{Policy, Prompt, ScheduleConfig};
use wire::Message;

use super::handover::{Handover, WAIT_LIMIT};
use super::{Found, MagnetFailure, MagnetStats, names};
use crate::announce::{
    Announcer, AnnouncerConfig, AnnouncerHandle, AskOptions, News, Numbers, TrackerStatus,
};
use crate::clock::Clock;
use crate::dht::DhtHandle;
use crate::oneoff::Subject;
use crate::session::{STOP_LIMIT, SessionShared};

/// How often time-outs and addresses are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long until the DHT is asked again: our node may only just have begun, or nobody have announced
/// yet.
const DHT_SOON: Duration = Duration::from_secs(5);
const DHT_AGAIN: Duration = Duration::from_mins(1);

/// Messages that may wait for a peer that does not read. We ask for a few pieces at a time.
const QUEUE_MAX: usize = 64;

/// A search for one torrent's metadata.
pub(crate) struct Search {
    magnet: Magnet,
    clock: Clock,
    state: Mutex<State>,
    /// One for each of its names.
    announcers: OnceLock<Vec<AnnouncerHandle>>,
    /// There is somebody new to dial.
    pub(super) wake: Notify,
    /// Found, failed or dropped: connections end, or go over to the torrent.
    pub(super) over: CancellationToken,
    pub(super) handover: Arc<Handover>,
    /// How many connections are neither here nor there.
    talking: watch::Sender<usize>,
}

/// A connection whose end is waited for.
pub(super) struct Talking<'a>(&'a Search);

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        self.0.talking.send_modify(|talking| *talking -= 1);
    }
}

struct State {
    brain: Metadata,
    /// What goes out to each peer, encoded. Dropping it ends the connection.
    peers: HashMap<PeerKey, mpsc::Sender<Vec<u8>>>,
    outcome: Option<Result<Torrent, metainfo::TorrentError>>,
    /// How many nodes answered the last time that the DHT was asked.
    dht_nodes: Option<usize>,
}

impl Search {
    pub(super) fn new(session: &SessionShared, magnet: Magnet) -> Arc<Self> {
        let config = MetadataConfig {
            hashes: magnet.hashes,
            listen_ports: session.told_ports.now(),
            client_version: session.settings.client_name.clone(),
            own_peer_id: session.peer_id,
            seed: fastrand::u64(..),
        };
        let brain = Metadata::new(session.clock.now(), config);
        Arc::new(Self {
            magnet,
            clock: session.clock,
            state: Mutex::new(State {
                brain,
                peers: HashMap::new(),
                outcome: None,
                dht_nodes: None,
            }),
            announcers: OnceLock::new(),
            wake: Notify::new(),
            over: CancellationToken::new(),
            handover: Arc::default(),
            talking: watch::Sender::new(0),
        })
    }

    pub(super) fn hashes(&self) -> InfoHashes {
        self.magnet.hashes
    }

    pub(super) fn stats(&self) -> MagnetStats {
        let state = self.lock();
        MagnetStats {
            metadata: state.brain.stats(),
            dht_nodes: state.dht_nodes,
            tracker_error: self.announcers().find_map(AnnouncerHandle::error),
        }
    }

    pub(super) fn trackers(&self) -> Vec<TrackerStatus> {
        self.announcers().next().map_or_else(Vec::new, AnnouncerHandle::statuses)
    }

    fn announcers(&self) -> impl Iterator<Item = &AnnouncerHandle> {
        self.announcers.get().into_iter().flatten()
    }

    pub(super) async fn found(&self) -> Result<Found, MagnetFailure> {
        self.over.cancelled().await;
        // None of them waits for its peer any more. An error would mean that this search is gone.
        let _ = self.talking.subscribe().wait_for(|talking| *talking == 0).await;
        let state = self.lock();
        let Some(outcome) = &state.outcome else { return Err(MagnetFailure::Ended) };
        let torrent = outcome.clone()?;
        let mut candidates = state.brain.candidates();
        if state.hands_over(&self.magnet) {
            // What comes of those follows.
            candidates.retain(|(_, addr)| state.brain.dialled_from(*addr).is_none());
        }
        let handover = Arc::clone(&self.handover);
        Ok(Found { torrent, magnet: self.magnet.clone(), candidates, handover })
    }

    /// Ends it. Trackers hear of it as far as they do within [`STOP_LIMIT`].
    pub(super) fn stop(&self) {
        self.over.cancel();
        self.lock().peers.clear();
        self.announcers().for_each(|announcer| announcer.leave(STOP_LIMIT));
    }

    /// Addresses to try.
    pub(crate) fn add_candidates(&self, source: Source, addrs: &[SocketAddr]) {
        self.change(|state, now| state.brain.add_candidates(now, source, addrs));
        self.wake.notify_one();
    }

    pub(super) fn set_ip_filter(&self, filter: Arc<IpFilter>) {
        self.change(|state, now| state.brain.set_ip_filter(now, filter));
    }

    /// Nothing can be sent: hangs up on everybody.
    pub(crate) fn network_lost(&self) {
        self.lock().peers.clear();
    }

    /// It can again.
    pub(crate) fn network_back(&self) {
        self.change(|state, now| state.brain.dial_again(now));
        self.announcers().for_each(|announcer| announcer.announce_now(Prompt::Moved));
        self.wake.notify_one();
    }

    /// Other ports lead to us.
    pub(crate) fn ports_changed(&self, ports: OwnPorts) {
        self.change(|state, _| state.brain.set_listen_ports(ports));
        self.announcers().for_each(|announcer| announcer.announce_now(Prompt::Moved));
    }

    pub(super) fn next_dial(&self) -> Option<(SocketAddr, Way)> {
        self.change(|state, now| {
            let addr = state.brain.next_dial(now)?;
            Some((addr, state.brain.way_to(addr)))
        })
    }

    pub(super) fn opened(&self, addr: SocketAddr, reached: Reached) {
        self.change(|state, _| state.brain.opened(addr, reached));
    }

    /// `hung_up`: by TCP, and uTP may do better.
    pub(super) fn dial_failed(&self, addr: SocketAddr, hung_up: bool) {
        self.change(|state, now| {
            if hung_up {
                state.brain.dial_hung_up(now, addr);
            } else {
                state.brain.dial_failed(now, addr);
            }
        });
    }

    /// A peer shook hands: its key, and what is to be sent to it.
    pub(super) fn join(&self, hello: Hello) -> Result<(PeerKey, mpsc::Receiver<Vec<u8>>), Refusal> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let key = self.change(|state, now| {
            let key = state.brain.add_peer(now, hello)?;
            state.peers.insert(key, sender);
            Ok(key)
        })?;
        Ok((key, receiver))
    }

    pub(super) fn heard(&self, peer: PeerKey, message: &Message<'_>) {
        self.change(|state, now| state.brain.handle(now, peer, message));
    }

    /// From now on its connection is waited for.
    pub(super) fn talks(&self) -> Talking<'_> {
        self.talking.send_modify(|talking| *talking += 1);
        Talking(self)
    }

    /// The peer as the torrent is to know it; `None` when its connection ends with the search.
    pub(super) fn hand_over(&self, peer: PeerKey) -> Option<Acquainted> {
        let mut state = self.lock();
        if state.hands_over(&self.magnet) { state.brain.hand_over(peer) } else { None }
    }

    /// Whether connections that are made from now on are the torrent's.
    pub(super) fn hands_over(&self) -> bool {
        self.lock().hands_over(&self.magnet)
    }

    /// Where an address is from, if it is being dialled.
    pub(super) fn dialled_from(&self, addr: SocketAddr) -> Option<Source> {
        self.lock().brain.dialled_from(addr)
    }

    pub(super) fn left(&self, peer: PeerKey) {
        self.change(|state, now| {
            state.peers.remove(&peer);
            state.brain.remove_peer(now, peer);
        });
        self.wake.notify_one();
    }

    /// The torrent is in the session, and its metadata need not be looked for.
    pub(super) fn knows(&self, torrent: &Torrent) {
        if self.lock().outcome.is_none() {
            self.finish(Torrent::from_info(&torrent.info_bytes, &self.magnet));
        }
    }

    fn finish(&self, outcome: Result<Torrent, metainfo::TorrentError>) {
        self.lock().outcome.get_or_insert(outcome);
        self.stop();
    }

    /// Calls the brain and carries out what it decides.
    fn change<T>(&self, call: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = call(&mut state, now);
        let mut found = None;
        while let Some(action) = state.brain.poll_action() {
            match action {
                MetadataAction::Send { peer, message } => state.send(peer, &message),
                MetadataAction::SendExtended { peer, id, payload } => {
                    state.send(peer, &Message::Extended { id, payload: &payload });
                }
                MetadataAction::Disconnect { peer, reason } => {
                    tracing::debug!(%reason, "metadata peer closed");
                    state.peers.remove(&peer); // its task says when it has left
                }
                MetadataAction::Found(info) => found = Some(info),
                _ => {}
            }
        }
        drop(state);
        if let Some(info) = found {
            self.finish(Torrent::from_info(&info, &self.magnet));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether connections go over to the torrent that was found. A private torrent takes no peers from a
    /// link (BEP 27), and a hybrid's link by its v1 name alone gave handshakes that rule v2 out (BEP 52).
    fn hands_over(&self, magnet: &Magnet) -> bool {
        let Some(Ok(torrent)) = &self.outcome else { return false };
        let v2 = |hashes: &InfoHashes| hashes.v2().is_some();
        !torrent.info.is_private() && v2(&torrent.info_hashes) == v2(&magnet.hashes)
    }

    /// One that does not read what it asked for is closed.
    fn send(&mut self, peer: PeerKey, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        if self.peers.get(&peer).is_some_and(|queue| queue.try_send(bytes).is_err()) {
            self.peers.remove(&peer);
        }
    }
}

/// Runs until the metadata is found or nobody waits for it.
pub(super) async fn run(session: Arc<SessionShared>, search: Arc<Search>, use_trackers: bool) {
    let looking = {
        let (session, magnet) = (Arc::clone(&session), search.magnet.clone());
        tokio::task::spawn_blocking(move || session.remembered(&magnet))
    };
    if let Ok(Some(torrent)) = looking.await {
        return search.finish(Ok(torrent));
    }
    if use_trackers {
        announce(&session, &search);
    }
    tokio::spawn(resolve(Arc::clone(&session), Arc::clone(&search)));
    for (name, dht) in names(&search.hashes()).into_iter().zip(std::iter::repeat(&session.dht)) {
        let Some(dht) = dht.clone() else { break };
        let asking = ask_dht(dht, Arc::clone(&search), name);
        let over = search.over.clone();
        tokio::spawn(async move { over.run_until_cancelled(asking).await });
    }
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = search.over.cancelled() => break,
            _ = ticks.tick() => search.change(|state, now| state.brain.tick(now)),
            () = search.wake.notified() => {}
        }
        super::peer::dial(&session, &search);
    }
    let waiting = Arc::downgrade(&search.handover);
    drop(search); // whoever drops what was found lets go of them at once
    tokio::time::sleep(WAIT_LIMIT).await;
    if let Some(handover) = waiting.upgrade() {
        handover.end();
    }
}

/// Looks up the peers that the link names (`x.pe`).
async fn resolve(session: Arc<SessionShared>, search: Arc<Search>) {
    let addrs = session.trackers.resolve_named(&search.magnet.peers).await;
    search.add_candidates(Source::Link, &addrs);
}

/// Looks for peers in the DHT (BEP 5), again and again. Nobody is told of us: we have nothing to give.
async fn ask_dht(dht: DhtHandle, search: Arc<Search>, info_hash: InfoHash) {
    let query = PeersQuery { announce: None, no_seeds: false, scrape: false };
    loop {
        let Ok(found) = dht.peers(info_hash, query).await else { return }; // the session ends
        search.lock().dht_nodes = Some(found.nodes);
        search.add_candidates(Source::Dht, &found.peers);
        let is_none = found.nodes == 0 || found.peers.is_empty();
        tokio::time::sleep(if is_none { DHT_SOON } else { DHT_AGAIN }).await;
    }
}

fn announce(session: &Arc<SessionShared>, search: &Arc<Search>) {
    if search.magnet.trackers.is_empty() {
        return;
    }
    let names = names(&search.magnet.hashes);
    let announcers = names.into_iter().map(|name| announcer(session, search, name)).collect();
    let _ = search.announcers.set(announcers); // set once
    if search.over.is_cancelled() {
        search.stop(); // meanwhile
    }
}

fn announcer(
    session: &Arc<SessionShared>,
    search: &Arc<Search>,
    info_hash: InfoHash,
) -> AnnouncerHandle {
    let config = AnnouncerConfig {
        info_hash,
        peer_id: session.peer_id.0,
        ports: Arc::clone(&session.told_ports),
        ask: AskOptions {
            private_addresses: session.settings.private_policy(),
            ..AskOptions::default()
        },
    };
    let schedule = ScheduleConfig {
        tiers: search.magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
        policy: Policy::default(),
        complete: false,
        seed: fastrand::u64(..),
    };
    let left = Subject::from(&search.magnet).left;
    let numbers = move || Numbers { left, ..Numbers::default() };
    let of = Arc::downgrade(search);
    let news = move |news| {
        if let (Some(search), News::Peers { addrs, .. }) = (of.upgrade(), news) {
            search.add_candidates(Source::Tracker, &addrs);
        }
    };
    Announcer::spawn(session.trackers.clone(), config, schedule, numbers, news)
}
