//! The session: everything that torrents share, and the threads that run them.
//!
//! Shards run the data path (see [`crate::shard`]). A control runtime of its own runs what may
//! wait: the accept loops, trackers, checks. It never waits on a disk, and no shard waits on it.

mod hearsay;
pub(crate) mod starting;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metainfo::{InfoHash, PieceIndex};
use storage::{Arena, HandleCache, Pools, StateWriter};
use swarm::IpFilter;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use wire::{Bitfield, PeerId};

use crate::add::AddError;
use crate::announce::TrackerClient;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::datagrams::Datagrams;
use crate::dht::DhtHandle;
use crate::events::{EventStream, Events};
use crate::handle::{TorrentError, TorrentHandle, TorrentShared};
use crate::intake::Intake;
use crate::ip_filter::Gate;
use crate::limits::{Both, RateLimits, Schedule, ScheduledLimits};
use crate::listening::Listening;
use crate::magnet::Searches;
use crate::mapping::{Mapping, Pinholes, PortMapping};
use crate::net::{Network, Proxy, SocketInfo};
use crate::own_ports::ToldPorts;
use crate::panics::Panics;
use crate::resume;
use crate::roster::Roster;
use crate::settings::{SessionBuilder, Settings, Transport};
use crate::shard::{ShardMessage, ShardSender};
use crate::shelving::{self, Shelving};
use crate::stats::SessionStats;
use crate::utp_driver::Utp;

/// How long a tracker may take to hear `stopped` when the session ends: leaving in peace must not
/// take longer than a person waits.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Torrents that are looked at, at once, when many are added. A disk that hangs holds as many.
const BLOCKING_THREADS_MAX: usize = 8;

/// Why a session did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The listening port can't be had.
    #[error("can't listen on port {port}: {error}; choose another port, or 0 for any")]
    Listen {
        /// The port asked for.
        port: u16,
        /// Why.
        error: io::Error,
    },
    /// What is wanted can't go through the proxy.
    #[error("{what} can't go through the proxy {proxy}; leave out one of the two")]
    Proxy {
        /// What.
        what: &'static str,
        /// Which.
        proxy: Proxy,
    },
    /// What the session is bound to is not there.
    #[error("{0}")]
    Network(io::Error),
    /// The state directory can't be used.
    #[error("can't use the state directory {path}: {error}", path = path.display())]
    State {
        /// Where.
        path: PathBuf,
        /// Why.
        error: storage::StateError,
    },
    /// The system gives no thread, randomness or descriptor.
    #[error("the system refused to start the engine: {0}")]
    System(#[from] io::Error),
}

/// What torrents and shards share.
pub(crate) struct SessionShared {
    pub(crate) clock: Clock,
    pub(crate) peer_id: PeerId,
    pub(crate) network: Network,
    pub(crate) budget: Budget,
    pub(crate) half_open: Arc<Semaphore>,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) events: Events,
    pub(crate) settings: Settings,
    pub(crate) pools: Pools,
    pub(crate) handles: Arc<HandleCache>,
    pub(crate) state: StateWriter,
    pub(crate) trackers: TrackerClient,
    pub(crate) panics: Panics,
    pub(crate) searches: Searches,
    pub(crate) limits: Arc<Both>,
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) intake: Intake,
    pub(crate) shelving: Shelving,
    pub(crate) gate: Arc<Gate>,
    pub(crate) mapping: Mapping,
    pub(crate) external: Mutex<swarm::ExternalVotes>,
    pub(crate) told_ports: Arc<ToldPorts>,
    pub(crate) listening: Listening,
    /// The UDP sockets beside the listeners, or by themselves when the session does not listen.
    pub(crate) datagrams: Arc<Datagrams>,
    pub(crate) utp: Arc<Utp>,
    pub(crate) dht: Option<DhtHandle>,
    pub(crate) arena: Arena,
    shards: OnceLock<Vec<ShardSender>>,
    roster: RwLock<Roster>,
    shutdown: Mutex<Vec<oneshot::Sender<()>>>,
}

impl SessionShared {
    /// The shard that runs this torrent.
    pub(crate) fn shard_of(&self, info_hash: &InfoHash) -> Option<ShardSender> {
        self.find(info_hash).map(|(_, shard)| shard)
    }

    /// A torrent and the shard that runs it.
    pub(crate) fn find(&self, info_hash: &InfoHash) -> Option<(Arc<TorrentShared>, ShardSender)> {
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        let (shared, shard) = roster.find(info_hash)?;
        Some((Arc::clone(shared), self.shards.get()?.get(shard)?.clone()))
    }

    /// The torrent that has this name within MSE.
    pub(crate) fn find_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        roster.find_mark(mark).or_else(|| self.searches.find_mark(mark))
    }

    /// The DHT node, for a torrent that may be known to it: a private one may not (BEP 27).
    pub(crate) fn dht_for(&self, shared: &TorrentShared) -> Option<&DhtHandle> {
        self.dht.as_ref().filter(|_| !shared.torrent.info.is_private())
    }

    /// What a torrent's brain is started with.
    pub(crate) fn swarm_config(
        &self,
        shared: &TorrentShared,
        have: Bitfield,
        wanted: Option<Bitfield>,
    ) -> swarm::Config {
        let info = &shared.torrent.info;
        swarm::Config {
            geometry: info.geometry().clone(),
            info_hash: shared.info_hash(),
            have,
            wanted,
            pad_blocks: info.pad_blocks().collect(),
            // Who may not tell others of peers does not tell strangers what there is, either.
            metadata_size: (!info.is_private())
                .then(|| u32::try_from(shared.torrent.info_bytes.len()).ok())
                .flatten(),
            listen_port: None, // see its settings
            client_version: self.settings.client_name.clone(),
            own_peer_id: self.peer_id,
            settings: swarm::Settings {
                peers_max: self.settings.peers_per_torrent_max,
                peer_exchange: !info.is_private(),
                holepunch: self.settings.transport != Transport::Tcp
                    && self.network.proxy().is_none(),
                dht_ports: self.dht_ports(shared),
                listen_ports: Some(self.told_ports.now()),
                super_seed: shared.seeding.super_seeds(),
                ..swarm::Settings::default()
            },
            seed: fastrand::u64(..),
        }
    }

    /// Registers what ends a shard's thread.
    pub(crate) fn on_shutdown(&self, stop: oneshot::Sender<()>) {
        self.shutdown.lock().unwrap_or_else(PoisonError::into_inner).push(stop);
    }

    /// Takes a torrent in: it has a shard from now on.
    pub(crate) fn register(&self, shared: &Arc<TorrentShared>) -> Result<(), AddError> {
        self.roster.write().unwrap_or_else(PoisonError::into_inner).add(shared)
    }

    pub(crate) fn unregister(&self, info_hash: &InfoHash) {
        self.roster.write().unwrap_or_else(PoisonError::into_inner).remove(info_hash);
    }

    fn set_ip_filter(&self, filter: &Arc<IpFilter>) {
        self.gate.set(Arc::clone(filter)); // whatever begins from here on begins with it
        self.tell_shards(|| ShardMessage::IpFilter(Arc::clone(filter)));
        self.searches.set_ip_filter(filter);
    }

    /// Tells all shards the same.
    pub(crate) fn tell_shards(&self, message: impl Fn() -> ShardMessage) {
        self.shards.get().into_iter().flatten().for_each(|shard| shard.send(message()));
    }

    pub(crate) fn all(&self) -> Vec<Arc<TorrentShared>> {
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        roster.all().cloned().collect()
    }

    pub(crate) async fn read_piece(
        &self,
        shared: &TorrentShared,
        piece: PieceIndex,
    ) -> Result<Vec<u8>, TorrentError> {
        if !shared.has(piece) {
            return Err(TorrentError::MissingPiece(piece));
        }
        let length = shared.torrent.info.geometry().piece_size(piece);
        let mut bytes = Vec::with_capacity(length as usize);
        while (bytes.len() as u32) < length {
            let begin = bytes.len() as u32;
            let part = (length - begin).min(storage::READ_BYTES_MAX);
            let (done, read) = oneshot::channel();
            self.pools.read(&shared.store, piece, begin, part, move |result| {
                let _ = done.send(result); // the reader may have gone
            });
            let part = read.await.map_err(|_| TorrentError::Stopped)??;
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Stops one torrent: its trackers hear of it, its peers go, its state is saved.
    pub(crate) async fn stop_torrent(&self, shared: &Arc<TorrentShared>) {
        self.end_torrent(shared).await;
        resume::save(self).await;
    }

    /// The same, but that its state is yet to be saved.
    async fn end_torrent(&self, shared: &Arc<TorrentShared>) {
        shared.cancel_check();
        let info_hash = shared.info_hash();
        if let Some(dht) = self.dht_for(shared) {
            shared.names().for_each(|name| dht.unwatch(name));
        }
        let (done, stopped) = oneshot::channel();
        match self.shard_of(&info_hash) {
            Some(shard) => shard.send(ShardMessage::Stop { info_hash, done }),
            None => drop(done), // somebody else stopped it at the same time
        }
        let _ = stopped.await; // dropped, not answered
        // After the shard's last word, which may be that the torrent completed.
        for announcer in shared.announcers() {
            announcer.leave(STOP_LIMIT); // both have the same time
        }
        for announcer in shared.announcers() {
            announcer.stop(STOP_LIMIT).await;
        }
        self.unregister(&info_hash);
        resume::close(self, shared).await;
    }
}

/// A running engine. Clones are handles to the same one; [`Session::shutdown`] ends it.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("torrents", &self.torrents().len()).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<SessionShared>,
    control: Mutex<Option<Runtime>>,
}

impl Session {
    /// Settings first.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// All torrents in the session.
    pub fn torrents(&self) -> Vec<TorrentHandle> {
        let session = &self.inner.shared;
        let handle = |shared| TorrentHandle { shared, session: Arc::clone(session) };
        session.all().into_iter().map(handle).collect()
    }

    /// The torrent that goes by this name: of a hybrid either of its two does, on the network and here
    /// (BEP 52).
    pub fn torrent(&self, name: &InfoHash) -> Option<TorrentHandle> {
        let session = &self.inner.shared;
        let (shared, _) = session.find(name)?;
        Some(TorrentHandle { shared, session: Arc::clone(session) })
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> EventStream {
        self.inner.shared.events.subscribe()
    }

    /// A snapshot.
    pub fn stats(&self) -> SessionStats {
        let session = &self.inner.shared;
        let torrents = session.all();
        let rates = torrents.iter().map(|shared| shared.rates());
        let (download_rate, upload_rate) =
            rates.fold((0, 0), |(down, up), (more_down, more_up)| (down + more_down, up + more_up));
        SessionStats {
            torrents: torrents.len(),
            connections: session.settings.connections_max - session.connections.available_permits(),
            buffered_bytes: session.arena.in_use() as u64 * u64::from(metainfo::BLOCK_LENGTH),
            download_rate,
            upload_rate,
            panics: session.panics.count(),
            refused: session.gate.refused(),
        }
    }

    /// Where peers can connect to; empty when the session does not listen.
    pub fn listen_addresses(&self) -> Vec<SocketAddr> {
        self.inner.shared.listening.addresses()
    }

    /// Where all its sockets come from.
    pub fn network(&self) -> &Network {
        &self.inner.shared.network
    }

    /// Every socket that is open now, and what it is bound to.
    pub fn sockets(&self) -> Vec<SocketInfo> {
        self.inner.shared.network.sockets()
    }

    /// Our addresses as most trackers, peers and DHT nodes see them, and the gateway says: one of each
    /// family at most.
    pub fn external_addresses(&self) -> Vec<IpAddr> {
        self.inner.shared.external_addresses()
    }

    /// Whether a gateway leads its port to ours.
    pub fn port_mapping(&self) -> PortMapping {
        self.inner.shared.mapping.status()
    }

    /// Whether a gateway lets peers in over IPv6.
    pub fn pinholes(&self) -> Pinholes {
        self.inner.shared.mapping.pinholes()
    }

    /// Limits all torrents together, but for when a schedule says otherwise. Messages other than blocks
    /// are never held back.
    pub fn set_limits(&self, limits: RateLimits) {
        let session = &self.inner.shared;
        session.schedule.set_usual(limits, &session.limits);
    }

    /// Limits for times of the week, by local time, instead of those of [`Self::set_limits`]; of
    /// several that hold the first counts. They take the place of those before.
    pub fn set_limit_schedule(&self, scheduled: Vec<ScheduledLimits>) {
        let session = &self.inner.shared;
        session.schedule.set_scheduled(scheduled, &session.limits);
    }

    /// What limits all torrents together now.
    pub fn limits(&self) -> RateLimits {
        self.inner.shared.limits.get()
    }

    /// Has nothing to do any more with whom the filter has: those who are connected are sent away,
    /// their addresses are forgotten, and nobody at them is talked to. It takes the place of the one
    /// before.
    pub fn set_ip_filter(&self, filter: impl Into<Arc<IpFilter>>) {
        self.inner.shared.set_ip_filter(&filter.into());
    }

    /// The filter in force.
    pub fn ip_filter(&self) -> Arc<IpFilter> {
        self.inner.shared.gate.filter()
    }

    /// The session's DHT node; `None` when it has none.
    pub fn dht(&self) -> Option<DhtHandle> {
        self.inner.shared.dht.clone()
    }

    /// Who we are to peers and trackers, for this session.
    pub fn peer_id(&self) -> PeerId {
        self.inner.shared.peer_id
    }

    /// Stops every torrent, saves all state, and ends the engine's threads. Trackers get two
    /// seconds to hear of it. Event streams end behind the last event.
    pub async fn shutdown(&self) {
        let session = &self.inner.shared;
        // On the control runtime, which the mapping's own task belongs to as well.
        let mapping = Arc::clone(session);
        let unmapping = tokio::spawn(async move { mapping.mapping.stop(STOP_LIMIT).await });
        shelving::enter_running(session).await;
        let stopping = session.all().into_iter().map(|shared| {
            let session = Arc::clone(session);
            tokio::spawn(async move { session.end_torrent(&shared).await })
        });
        for task in stopping.collect::<Vec<_>>() {
            if let Err(error) = task.await {
                tracing::error!(%error, "a torrent did not stop cleanly");
            }
        }
        resume::save(session).await; // once: thousands would each take a thread to wait on
        if let Some(dht) = &session.dht {
            dht.close().await;
        }
        let _ = unmapping.await; // a panic was logged
        self.inner.end();
    }
}

impl Inner {
    /// The runtime for what may wait; `None` once the session was shut down.
    pub(crate) fn control(&self) -> Option<tokio::runtime::Handle> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.as_ref().map(|runtime| runtime.handle().clone())
    }

    fn end(&self) {
        self.shared.shutdown.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.datagrams.close();
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = control {
            runtime.shutdown_background(); // never blocks the caller's own runtime
        }
        self.shared.events.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}
