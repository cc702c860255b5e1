//! A session's settings: every default with its reason, changed through [`SessionBuilder`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use storage::{SqliteState, StateWriter};
use swarm::IpFilter;
use wire::proxy::datagram_head;

use crate::announce::TrackerClient;
use crate::datagrams::Datagrams;
use crate::encryption::Encryption;
use crate::http::{HttpClient, HttpSettings, PrivatePolicy};
use crate::limits::{RateLimits, ScheduledLimits};
use crate::net::Network;
use crate::peer::handshake::HANDSHAKE_LIMIT;
use crate::session::{self, Session, StartError};

/// Where resume state lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateLocation {
    /// Nowhere: it ends with the session. For tests and one-off downloads.
    Memory,
    /// In a database in this directory, which several sessions may share.
    Directory(PathBuf),
}

/// What carries connections to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// TCP alone. Who tries uTP is told so at once.
    Tcp,
    /// uTP (BEP 29) alone, which gives way to everything else on the line.
    Utp,
    /// Both: TCP first, uTP where that takes long or fails.
    #[default]
    Both,
}

/// What a session is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) network: Network,
    pub(crate) needs_network: bool,
    pub(crate) port: u16,
    pub(crate) listen: bool,
    pub(crate) transport: Transport,
    pub(crate) handshake_limit: Duration,
    pub(crate) state: StateLocation,
    pub(crate) memory_budget: u64,
    pub(crate) connections_max: usize,
    pub(crate) half_open_max: usize,
    pub(crate) peers_per_torrent_max: usize,
    pub(crate) allow_private_trackers: bool,
    pub(crate) local_discovery: bool,
    pub(crate) encryption_in: Encryption,
    pub(crate) encryption_out: Encryption,
    pub(crate) client_name: String,
    pub(crate) port_mapping: bool,
    pub(crate) dht: bool,
    pub(crate) dht_bootstrap: Vec<String>,
    pub(crate) shards: usize,
    pub(crate) limits: RateLimits,
    pub(crate) limit_schedule: Vec<ScheduledLimits>,
    pub(crate) ip_filter: Arc<IpFilter>,
}

/// The memory budget never goes below this: one piece of the largest common size.
const BUDGET_MIN: u64 = 16 * 1024 * 1024;
/// Nor, unasked, above this: more buys no speed on any disk measured.
const BUDGET_MAX: u64 = 256 * 1024 * 1024;
/// The default share of the machine's memory.
const BUDGET_FRACTION: u64 = 16;
/// A shard moves gigabytes a second; more of them than this only splits work that one can do.
const SHARDS_MAX: usize = 4;

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            network: Network::default(),
            needs_network: false, // who starts before the VPN does waits for it
            port: 0,
            listen: true,
            transport: Transport::default(),
            handshake_limit: HANDSHAKE_LIMIT,
            state: StateLocation::Memory,
            memory_budget: (storage::memory_total() / BUDGET_FRACTION)
                .clamp(BUDGET_MIN, BUDGET_MAX),
            connections_max: 1000,
            half_open_max: 50, // enough to find peers in seconds, too few to upset a home router
            peers_per_torrent_max: 200,
            limits: RateLimits::default(),
            limit_schedule: Vec::new(),
            ip_filter: Arc::default(), // nobody is refused whom no list names
            allow_private_trackers: false,
            local_discovery: false, // it tells everybody on the network what is shared
            // Reaches every peer, and costs nothing where nobody insists on it.
            encryption_in: Encryption::Allow,
            encryption_out: Encryption::Allow,
            client_name: concat!("peerless ", env!("CARGO_PKG_VERSION")).into(),
            port_mapping: false, // it changes somebody's router: the program asks for it
            dht: true,
            dht_bootstrap: Vec::new(), // nobody is asked whom the program did not name
            shards: (cores / 2).clamp(1, SHARDS_MAX), // the other half hashes and writes
        }
    }
}

impl Settings {
    /// With a proxy only what goes through it is left: connections that we make, by TCP and, if it may
    /// relay datagrams, by uTP, and the DHT. What it would betray otherwise, nobody is told of.
    pub(crate) fn behind_proxy(mut self) -> Result<Self, StartError> {
        let Some(proxy) = self.network.proxy() else { return Ok(self) };
        (self.listen, self.local_discovery, self.port_mapping) = (false, false, false);
        if proxy.relays() {
            tracing::info!(%proxy, "no local discovery or peers that come in, only the proxy");
            return Ok(self);
        }
        if self.transport == Transport::Utp {
            return Err(StartError::Proxy { what: "uTP", proxy: proxy.clone() });
        }
        tracing::info!(%proxy, "no uTP, DHT, local discovery or peers that come in, only the proxy");
        (self.transport, self.dht) = (Transport::Tcp, false);
        Ok(self)
    }

    pub(crate) fn private_policy(&self) -> PrivatePolicy {
        if self.allow_private_trackers { PrivatePolicy::Allow } else { PrivatePolicy::Refuse }
    }

    pub(crate) fn budget_blocks(&self) -> usize {
        (self.memory_budget / u64::from(metainfo::BLOCK_LENGTH)) as usize
    }

    pub(crate) fn open_state(&self) -> Result<StateWriter, StartError> {
        match &self.state {
            StateLocation::Memory => Ok(StateWriter::in_memory()),
            StateLocation::Directory(path) => {
                let failed = |error| StartError::State { path: path.clone(), error };
                SqliteState::open(path).map(StateWriter::start).map_err(failed)
            }
        }
    }

    /// The session's datagrams: where we listen, or anywhere; or by the proxy.
    pub(crate) fn datagrams(&self, listening: &[SocketAddr]) -> Arc<Datagrams> {
        match self.network.proxy() {
            Some(proxy) if proxy.relays() => Datagrams::through(&self.network, proxy),
            Some(_) => Datagrams::open(&self.network, &[]),
            None if listening.is_empty() => {
                Datagrams::open(&self.network, &self.network.local_addresses(0))
            }
            None => Datagrams::open(&self.network, listening),
        }
    }

    /// How uTP is run; the numbers begin with `seed`.
    pub(crate) fn utp(&self, seed: u64) -> ::utp::Config {
        let mut config = ::utp::Config::new(seed);
        if self.network.proxy().is_some() {
            // Each datagram has a head, on its way to a proxy that may be reached by IPv6.
            let [v4, v6] = config.datagram_bytes_max;
            let anybody: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            config.datagram_bytes_max = anybody.map(|ip| {
                let head = datagram_head(&SocketAddr::new(ip, 0).into());
                v4.min(v6).saturating_sub(head.len())
            });
        }
        ::utp::Config {
            accept: self.listen && self.transport != Transport::Tcp,
            connections_max: self.connections_max.saturating_mul(2), // closing ones count
            ..config
        }
    }

    pub(crate) fn tracker_client(&self) -> TrackerClient {
        let http = HttpClient::new(HttpSettings::over(&self.network));
        TrackerClient::new(http, self.network.clone())
    }
}

/// Settings of a session about to start.
///
/// ```no_run
/// # async fn example() -> Result<(), engine::StartError> {
/// let session = engine::Session::builder()
///     .port(6881)
///     .state(engine::StateLocation::Directory("/var/lib/peerless".into()))
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SessionBuilder {
    settings: Settings,
}

impl SessionBuilder {
    /// Uses only this local address, for listening and for every outgoing connection: short for
    /// [`Self::network`] with [`Network::bound_to`].
    #[must_use]
    pub fn bind(mut self, ip: IpAddr) -> Self {
        self.settings.network = Network::bound_to(ip);
        self
    }

    /// Takes every socket, and every address of a name, from this network. Default: one that is bound
    /// to nothing.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.settings.network = network;
        self
    }

    /// Whether to refuse to start while what the network is bound to is not there. Default: no; the
    /// session starts, sends nothing, and opens its sockets when that comes up ([`Network::absence`],
    /// [`Session::opened`]).
    #[must_use]
    pub fn needs_network(mut self, needs: bool) -> Self {
        self.settings.needs_network = needs;
        self
    }

    /// Port to listen on, TCP and UDP; 0 (the default) is any free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.settings.port = port;
        self
    }

    /// Whether peers can connect to us at all. Default: they can.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.settings.listen = listen;
        self
    }

    /// What carries connections to peers. Default: both TCP and uTP.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.settings.transport = transport;
        self
    }

    /// How long a peer has for its handshake. Where TCP is taken and nothing comes in that time, uTP is
    /// tried. Default: 15 seconds.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.settings.handshake_limit = limit;
        self
    }

    /// Where resume state lives. Default: in memory only.
    #[must_use]
    pub fn state(mut self, location: StateLocation) -> Self {
        self.settings.state = location;
        self
    }

    /// Bytes of received data held in memory at most, at least 16 MiB. Default: a sixteenth of the
    /// machine's memory, 256 MiB at most.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.settings.memory_budget = bytes.max(BUDGET_MIN);
        self
    }

    /// Peer connections over all torrents. Default 1,000.
    #[must_use]
    pub fn connections_max(mut self, count: usize) -> Self {
        self.settings.connections_max = count;
        self
    }

    /// Outgoing connections being made at one time. Default 50.
    #[must_use]
    pub fn half_open_max(mut self, count: usize) -> Self {
        self.settings.half_open_max = count;
        self
    }

    /// Peer connections of one torrent. Default 200.
    #[must_use]
    pub fn peers_per_torrent_max(mut self, count: usize) -> Self {
        self.settings.peers_per_torrent_max = count;
        self
    }

    /// Limits all torrents together from the start; [`Session::set_limits`] changes them. Default:
    /// none.
    #[must_use]
    pub fn limits(mut self, limits: RateLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Limits for times of the week instead of those; [`Session::set_limit_schedule`] changes them.
    /// Default: none.
    #[must_use]
    pub fn limit_schedule(mut self, scheduled: Vec<ScheduledLimits>) -> Self {
        self.settings.limit_schedule = scheduled;
        self
    }

    /// Addresses that are not talked to as peers, from the start; [`Session::set_ip_filter`] changes
    /// them, and [`crate::read_ip_filter`] reads lists. Default: none.
    #[must_use]
    pub fn ip_filter(mut self, filter: impl Into<Arc<IpFilter>>) -> Self {
        self.settings.ip_filter = filter.into();
        self
    }

    /// Lets any tracker live on a loopback or private address. Default: only under the path
    /// `/announce`, so that a hostile .torrent can't reach services behind your firewall.
    #[must_use]
    pub fn allow_private_trackers(mut self, allow: bool) -> Self {
        self.settings.allow_private_trackers = allow;
        self
    }

    /// Whether to tell the local network which torrents are here, and hear who else has them (BEP 14).
    /// Default: no. Private torrents are never told of.
    #[must_use]
    pub fn local_discovery(mut self, on: bool) -> Self {
        self.settings.local_discovery = on;
        self
    }

    /// Whether connections are encrypted, both ways. Default: [`Encryption::Allow`].
    #[must_use]
    pub fn encryption(self, mode: Encryption) -> Self {
        self.encryption_in(mode).encryption_out(mode)
    }

    /// Whether peers that connect to us have to encrypt, or may.
    #[must_use]
    pub fn encryption_in(mut self, mode: Encryption) -> Self {
        self.settings.encryption_in = mode;
        self
    }

    /// Whether connections that we make are encrypted.
    #[must_use]
    pub fn encryption_out(mut self, mode: Encryption) -> Self {
        self.settings.encryption_out = mode;
        self
    }

    /// How we introduce ourselves to peers (BEP 10 `v`).
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.settings.client_name = name.into();
        self
    }

    /// Whether the gateway of a home network is asked, by PCP, NAT-PMP or UPnP, to lead its port to
    /// ours; [`Session::port_mapping`] tells what came of it. Never when bound to loopback. Default: no.
    #[must_use]
    pub fn port_mapping(mut self, on: bool) -> Self {
        self.settings.port_mapping = on;
        self
    }

    /// Whether to have a DHT node on the listening port's UDP side. Default: yes, but it asks nobody
    /// before it is told of a node: by [`Self::dht_bootstrap`], a peer, or an earlier run.
    #[must_use]
    pub fn dht(mut self, dht: bool) -> Self {
        self.settings.dht = dht;
        self
    }

    /// Nodes to begin with, as `HOST:PORT`; for everybody's there is [`crate::DHT_BOOTSTRAP`].
    /// Default: none.
    #[must_use]
    pub fn dht_bootstrap<S: Into<String>>(mut self, nodes: impl IntoIterator<Item = S>) -> Self {
        self.settings.dht_bootstrap = nodes.into_iter().map(Into::into).collect();
        self
    }

    /// Threads that run torrents. Default: half the cores, at most 4.
    #[must_use]
    pub fn shards(mut self, count: usize) -> Self {
        self.settings.shards = count.max(1);
        self
    }

    /// Starts the engine on threads of its own.
    ///
    /// # Errors
    /// [`StartError`] when the port or the state directory can't be had, or never will be.
    pub async fn start(self) -> Result<Session, StartError> {
        // Opening a database may wait for a disk: keep the caller's runtime out of it.
        let (done, started) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("start".into()).spawn(move || {
            let _ = done.send(session::starting::start(self.settings)); // the caller may have gone
        })?;
        started.await.map_err(|_| std::io::Error::other("the engine's start was interrupted"))?
    }
}

#[cfg(test)]
mod tests;
