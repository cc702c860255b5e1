//! What the commands that run a session share: its options, and following a torrent to its end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::metainfo::InfoHashes;
use engine::{
    Encryption, Event, EventStream, Network, PortMapping, Session, SessionBuilder, StateLocation,
    TorrentHandle, TorrentState, TorrentStats, Transport, WebSeedStatus,
};
use etcetera::BaseStrategy;
use serde_json::{Value, json};

use super::network::Reach;
use super::totals;
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::output::Output;

/// Whether connections to peers are encrypted.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum EncryptionMode {
    /// Never
    Off,
    /// Where the peer wants it
    #[default]
    Allow,
    /// Where the peer can
    Prefer,
    /// Always; no connection without it
    Require,
}

impl From<EncryptionMode> for Encryption {
    fn from(mode: EncryptionMode) -> Self {
        match mode {
            EncryptionMode::Off => Self::Off,
            EncryptionMode::Allow => Self::Allow,
            EncryptionMode::Prefer => Self::Prefer,
            EncryptionMode::Require => Self::Require,
        }
    }
}

/// How a session talks to the world.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// A peer to connect to: HOST:PORT or [V6]:PORT; again for more.
    #[arg(long, value_name = "ADDR")]
    peer: Vec<String>,
    /// Port to listen on, TCP and UDP; default: any free one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    proxy: super::proxy::Through,
    /// Encrypt connections to peers (MSE), which hides the protocol from networks and costs next to
    /// nothing: the payload itself is only encrypted with peers that insist.
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    encryption: EncryptionMode,
    /// What carries connections to peers. uTP gives way to everything else on the line.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Carrier::Both)]
    transport: Carrier,
    /// Tell the local network which torrents are here, and hear who else there has them.
    #[arg(long)]
    local_discovery: bool,
    /// Don't ask the torrent's trackers.
    #[arg(long)]
    pub(crate) no_tracker: bool,
    /// Let the torrent's trackers be on loopback and private addresses.
    #[arg(long)]
    allow_private: bool,
    #[command(flatten)]
    limits: super::limits::Limits,
    /// A DHT node to begin with, HOST:PORT; again for more. Default: the well-known ones.
    #[arg(long, value_name = "ADDR")]
    dht_bootstrap: Vec<String>,
    /// Don't use the DHT, unless --dht-bootstrap names a node of it.
    #[arg(long, env = "PEERLESS_NO_DHT", hide_env_values = true)]
    no_dht: bool,
    #[command(flatten)]
    ip_filter: super::ip_filter::Lists,
    /// Have the gateway of a home network lead its port to ours, by PCP, NAT-PMP or UPnP: so it is by
    /// default, but for --bind with a loopback address.
    #[arg(long)]
    port_mapping: bool,
    /// Leave the gateway alone, unless --port-mapping is given as well.
    #[arg(long, env = "PEERLESS_NO_PORT_MAPPING", hide_env_values = true)]
    no_port_mapping: bool,
    /// Where resume state lives; default: the user's own state folder.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// The DHT nodes to begin with: those that were named, else the well-known ones, which nobody can
/// reach who is bound to loopback.
pub(crate) fn dht_bootstrap(named: &[String], network: &Network) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let is_loopback = network.binding().is_loopback();
    engine::DHT_BOOTSTRAP.iter().filter(|_| !is_loopback).map(ToString::to_string).collect()
}

/// Where state lives unless told otherwise.
pub(crate) fn state_directory(named: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(dir) = named {
        return Ok(dir.clone());
    }
    let base = etcetera::choose_base_strategy().map_err(Failure::other)?;
    let base = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(base.join("peerless"))
}

/// What carries connections.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Carrier {
    /// TCP alone.
    Tcp,
    /// uTP alone.
    Utp,
    /// TCP first, uTP where that takes long or fails.
    Both,
}

impl From<Carrier> for Transport {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Tcp => Self::Tcp,
            Carrier::Utp => Self::Utp,
            Carrier::Both => Self::Both,
        }
    }
}

impl Options {
    /// Where all sockets come from.
    pub(crate) fn network(&self) -> Result<Network, Failure> {
        self.proxy.network(&self.reach)
    }

    /// A session as these options want it.
    pub(crate) fn builder(
        &self,
        network: &Network,
        output: Output,
    ) -> Result<SessionBuilder, Failure> {
        super::proxy::tell(network, output);
        let builder = Session::builder()
            .port(self.port)
            .transport(self.transport.into())
            .allow_private_trackers(self.allow_private)
            .limits(self.limits.usual())
            .limit_schedule(self.limits.scheduled())
            .ip_filter(self.ip_filter.read(output)?)
            .port_mapping(self.port_mapping || !self.no_port_mapping)
            .local_discovery(self.local_discovery)
            .encryption(self.encryption.into());
        let builder = builder
            .network(network.clone())
            .dht(!self.no_dht || !self.dht_bootstrap.is_empty())
            .dht_bootstrap(dht_bootstrap(&self.dht_bootstrap, network));
        Ok(builder.state(StateLocation::Directory(state_directory(self.state_dir.as_ref())?)))
    }

    /// The addresses of the peers that were named.
    pub(crate) async fn peers(&self, network: &Network) -> Result<Vec<SocketAddr>, Failure> {
        let mut addrs = Vec::new();
        for peer in &self.peer {
            let resolved = network.resolve_authority(peer).await.map_err(|error| {
                Failure::usage(format!("--peer {peer}: {error}"))
                    .advise("give HOST:PORT, or [V6]:PORT")
            })?;
            addrs.extend(resolved);
        }
        Ok(addrs)
    }
}

/// How long to wait for a first peer; zero seconds are for ever.
pub(crate) fn patience(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// A torrent's name for lines and bars.
pub(crate) fn name(handle: &TorrentHandle) -> String {
    handle.torrent().info.name()
}

/// What it says of a torrent, with both of a hybrid's names.
pub(crate) fn named(mut value: Value, hashes: &InfoHashes) -> Value {
    value["info_hash"] = hashes.on_the_wire().to_string().into();
    value["info_hash_v1"] = hashes.v1().map(|hash| hash.to_string()).into();
    value["info_hash_v2"] = hashes.v2().map(|hash| hash.to_string()).into();
    value
}

/// The last line about a torrent.
pub(crate) fn summary(handle: &TorrentHandle, since: Instant) -> Value {
    let stats = handle.stats();
    let value = json!({
        "event": "summary",
        "name": name(handle),
        "complete": stats.wanted_left == 0 && stats.state != TorrentState::Checking,
        "bytes": stats.total_bytes,
        "verified": stats.verified_bytes,
        "left": stats.wanted_left,
        "resumed": stats.resumed_bytes,
        "downloaded": stats.downloaded,
        "uploaded": stats.uploaded,
        "wasted": stats.wasted,
        "failed": stats.failed,
        "all_time": totals::document(handle),
        "web_seeds": web_seeds(handle),
        "filtered": stats.filtered,
        "elapsed_seconds": since.elapsed().as_secs_f64(),
    });
    named(value, &handle.torrent().info_hashes)
}

/// What came from each web seed, and what went wrong with it.
fn web_seeds(handle: &TorrentHandle) -> Vec<Value> {
    let one = |seed: WebSeedStatus| {
        json!({
            "url": seed.url,
            "state": seed.state.name(),
            "downloaded": seed.downloaded,
            "files_missing": seed.files_missing,
            "error": seed.error,
            "next_step": seed.next_step,
        })
    };
    handle.web_seeds().into_iter().map(one).collect()
}

/// The last line about a torrent, for people.
pub(crate) fn summary_line(handle: &TorrentHandle, since: Instant) -> String {
    let stats: TorrentStats = handle.stats();
    let elapsed = since.elapsed();
    let speed = stats.downloaded as f64 / elapsed.as_secs_f64().max(0.001);
    let name = untrusted(&name(handle));
    if stats.wanted_left > 0 {
        let have = format::bytes(stats.verified_bytes);
        return format!("{name}: stopped with {have} of {}", format::bytes(stats.total_bytes));
    }
    let resumed = match stats.resumed_bytes {
        0 => String::new(),
        bytes => format!(", {} were there", format::bytes(bytes)),
    };
    let from_web: u64 = handle.web_seeds().iter().map(|seed| seed.downloaded).sum();
    let from_web = match from_web {
        0 => String::new(),
        bytes => format!(", {} from web seeds", format::bytes(bytes)),
    };
    format!(
        "{name}: complete, {} in {} ({}){resumed}{from_web}",
        format::bytes(stats.downloaded),
        format::duration(elapsed),
        format::rate(speed as u64),
    )
}

/// Prints a session's events as JSON lines, and storage trouble for people.
/// What the gateway and the proxy said before anybody listened is said first.
pub(crate) fn report(session: &Session, output: Output) -> impl Future<Output = ()> + use<> {
    let events = session.events(); // before what was said before
    tell_all(events, session.port_mapping(), session.relay_trouble(), output)
}

async fn tell_all(
    mut events: EventStream,
    mapping: PortMapping,
    unrelayed: Option<String>,
    output: Output,
) {
    let mut told = HashSet::new();
    let mut first = unrelayed.map(|message| Event::RelayLost { message });
    let mut unrelayed = None; // as it was said last
    if !matches!(mapping, PortMapping::Off | PortMapping::Asking) {
        output.value(&port_mapping(&mapping));
    }
    while let Some(event) = match first.take() {
        Some(event) => Some(event),
        None => events.next().await,
    } {
        match &event {
            Event::RelayLost { message } if unrelayed.as_ref() == Some(message) => continue,
            Event::StorageError { info_hash, message }
                if told.insert((*info_hash, message.clone())) =>
            {
                output.note(format_args!("warning: {}", untrusted(message)));
            }
            Event::StorageRecovered { info_hash } => {
                told.retain(|(of, _)| of != info_hash);
                output.note("the disk takes data again");
            }
            Event::WebSeedFailed { url, message, next_step, .. } => {
                let (url, message) = (untrusted(url), untrusted(message));
                output.note(format_args!("web seed {url}: {message}; {next_step}"));
            }
            Event::PortMapping(PortMapping::Failed { reason }) => {
                output.note(format_args!("no port is mapped: {}", untrusted(reason)));
            }
            Event::NetworkLost { message } => output.note(format_args!("warning: {message}")),
            Event::NetworkBack => output.note("the network is back; going on"),
            Event::RelayLost { message } => {
                output.note(format_args!("warning: {message}"));
                unrelayed = Some(message.clone());
            }
            Event::RelayBack => {
                output.note("the proxy relays datagrams again");
                unrelayed = None;
            }
            Event::FileTaken { from, is_reflink, .. } => {
                let how = if *is_reflink { "shared with" } else { "copied from" };
                let from = from.display().to_string();
                output.note(format_args!("a file is there already: {how} {}", untrusted(&from)));
            }
            Event::PeerBanned { addr, .. } => {
                output.note(format_args!("{addr} sent bad data and is banned"));
            }
            _ => {}
        }
        if let Some(value) = document(&event) {
            output.value(&value);
        }
    }
}

fn document(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Checked { info_hash, resumed_bytes, hashed_bytes } => json!({
            "event": "checked", "info_hash": info_hash.to_string(),
            "resumed": resumed_bytes, "hashed": hashed_bytes,
        }),
        Event::FileTaken { info_hash, file, from, is_reflink } => json!({
            "event": "file_taken", "info_hash": info_hash.to_string(),
            "file": file, "from": from, "reflink": is_reflink,
        }),
        Event::Completed { info_hash } => {
            json!({"event": "completed", "info_hash": info_hash.to_string()})
        }
        Event::PeerConnected { info_hash, addr } => {
            json!({"event": "peer_connected", "info_hash": info_hash.to_string(), "peer": addr})
        }
        Event::PeerDisconnected { info_hash, addr, reason } => json!({
            "event": "peer_disconnected", "info_hash": info_hash.to_string(),
            "peer": addr, "reason": reason,
        }),
        Event::PeerBanned { info_hash, addr } => {
            json!({"event": "peer_banned", "info_hash": info_hash.to_string(), "address": addr})
        }
        Event::WebSeedFailed { info_hash, url, message, next_step } => json!({
            "event": "web_seed_failed", "info_hash": info_hash.to_string(),
            "url": url, "message": message, "next_step": next_step,
        }),
        Event::TrackerReply { info_hash, tracker, peers } => json!({
            "event": "tracker_reply", "info_hash": info_hash.to_string(),
            "tracker": tracker, "peers": peers,
        }),
        Event::TrackerError { info_hash, tracker, message } => json!({
            "event": "tracker_error", "info_hash": info_hash.to_string(),
            "tracker": tracker, "message": message,
        }),
        Event::DhtReply { info_hash, peers, nodes } => json!({
            "event": "dht_reply", "info_hash": info_hash.to_string(),
            "peers": peers, "nodes": nodes,
        }),
        Event::StorageError { info_hash, message } => json!({
            "event": "storage_error", "info_hash": info_hash.to_string(), "message": message,
        }),
        Event::StorageRecovered { info_hash } => {
            json!({"event": "storage_recovered", "info_hash": info_hash.to_string()})
        }
        Event::PortMapping(status) => port_mapping(status),
        Event::ExternalAddress { ip } => json!({"event": "external_address", "ip": ip}),
        Event::NetworkLost { message } => json!({ "event": "network_lost", "message": message }),
        Event::NetworkBack => json!({ "event": "network_back" }),
        Event::RelayLost { message } => json!({ "event": "relay_lost", "message": message }),
        Event::RelayBack => json!({ "event": "relay_back" }),
        Event::TorrentFailed { info_hash, message } => json!({
            "event": "torrent_failed", "info_hash": info_hash.to_string(), "message": message,
        }),
        _ => return None, // one line for each piece would be most of the output
    })
}

fn port_mapping(status: &PortMapping) -> Value {
    let (state, more) = match status {
        PortMapping::Mapped(ports) => (
            "mapped",
            json!({
                "method": ports.method.to_string(), "gateway": ports.gateway,
                "external_ip": ports.external_ip, "tcp": ports.tcp, "udp": ports.udp,
            }),
        ),
        PortMapping::Failed { reason } => ("failed", json!({ "reason": reason })),
        PortMapping::Needless => ("needless", json!({})),
        _ => ("asking", json!({})),
    };
    let mut value = json!({ "event": "port_mapping", "state": state });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

/// Waits for the torrent to complete; fails when no peer was seen for `patience` (none: for ever).
pub(crate) async fn complete(
    handle: &TorrentHandle,
    patience: Option<Duration>,
) -> Result<(), Failure> {
    let lonely = async {
        let Some(patience) = patience else { return std::future::pending().await };
        let mut last_company = Instant::now();
        let mut every = tokio::time::interval(Duration::from_millis(500));
        loop {
            every.tick().await;
            let stats = handle.stats();
            let alone = stats.peers + stats.web_seeds == 0;
            let waits = stats.state == TorrentState::Downloading && alone;
            if !waits {
                last_company = Instant::now();
            } else if last_company.elapsed() >= patience {
                return stats.tracker_error;
            }
        }
    };
    tokio::select! {
        done = handle.wait() => Ok(done?),
        tracker_error = lonely => {
            let seconds = patience.unwrap_or_default().as_secs();
            let name = untrusted(&name(handle));
            let why = tracker_error.map_or(String::new(), |error| format!(" ({})", untrusted(&error)));
            Err(Failure::new(Code::NoPeers, format!("{name}: no peers within {seconds} s{why}"))
                .advise("name one with --peer, or wait longer with --wait-peers; what is there stays"))
        }
    }
}
