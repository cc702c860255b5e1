//! What the commands that run a session share: its options, and following a torrent to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::metainfo::InfoHashes;
use engine::{
    Encryption, Network, Session, SessionBuilder, StateLocation, TorrentHandle, TorrentState,
    TorrentStats, Transport, WebSeedStatus, is_named_peer,
};
use etcetera::BaseStrategy;
use serde_json::{Value, json};

use super::reach::Reach;
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
#[command(next_help_heading = "Peers and network")]
pub(crate) struct Options {
    /// A peer to connect to: HOST:PORT or [V6]:PORT; again for more. All addresses of a name are tried;
    /// behind a proxy it is the proxy's to look up.
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    peer: Vec<String>,
    /// Port to listen on, TCP and UDP; default: any free one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    #[command(flatten)]
    port_file: super::port_file::Follow,
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
    #[command(flatten)]
    dht: DhtChoice,
    #[command(flatten)]
    ip_filter: super::ip_filter::Lists,
    /// Have the gateway of a home network lead its port to ours, by PCP, NAT-PMP or UPnP: so it is by
    /// default, but for --bind with a loopback address.
    #[arg(long)]
    port_mapping: bool,
    /// Leave the gateway alone, unless --port-mapping is given as well.
    #[arg(long, env = "PEERLESS_NO_PORT_MAPPING", hide_env_values = true, value_parser = is_set())]
    no_port_mapping: bool,
    /// Where resume state lives; default: the user's own state folder.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// An address as it was written, by a name or not. A missing or impossible port is a slip.
pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    match parts {
        Some((host, Ok(1..))) if !host.is_empty() => Ok(text.into()),
        _ => Err("give HOST:PORT, or [V6]:PORT".into()),
    }
}

/// A variable says no by `0`, `false`, `no`, `off` or nothing, and yes by all else.
fn is_set() -> clap::builder::FalseyValueParser {
    clap::builder::FalseyValueParser::new()
}

/// Whether a session has a DHT node, and with whom it begins.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DhtChoice {
    /// A DHT node to begin with, HOST:PORT; again for more. Default: the well-known ones.
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    dht_bootstrap: Vec<String>,
    /// Don't use the DHT, unless --dht-bootstrap names a node of it.
    #[arg(long, env = "PEERLESS_NO_DHT", hide_env_values = true, value_parser = is_set())]
    no_dht: bool,
}

impl DhtChoice {
    /// A session's settings with it.
    pub(crate) fn apply(&self, builder: SessionBuilder, network: &Network) -> SessionBuilder {
        builder
            .dht(!self.no_dht || !self.dht_bootstrap.is_empty())
            .dht_bootstrap(dht_bootstrap(&self.dht_bootstrap, network))
    }
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
pub(crate) enum Carrier {
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
            .port(self.port_file.now(output).unwrap_or(self.port))
            .transport(self.transport.into())
            .allow_private_trackers(self.allow_private)
            .limits(self.limits.usual())
            .limit_schedule(self.limits.scheduled())
            .ip_filter(self.ip_filter.read(output)?)
            .port_mapping(self.port_mapping || !self.no_port_mapping)
            .local_discovery(self.local_discovery)
            .encryption(self.encryption.into());
        let builder = self.dht.apply(builder.network(network.clone()), network);
        Ok(builder.state(StateLocation::Directory(state_directory(self.state_dir.as_ref())?)))
    }

    /// Listens on the port that the file with it names, as it changes, for as long as it is polled.
    pub(crate) fn follow_port(
        &self,
        session: &Session,
        output: Output,
    ) -> impl Future<Output = ()> + use<> {
        self.port_file.clone().follow(session.clone(), output)
    }

    /// The addresses of the peers that were named.
    pub(crate) async fn peers(&self, network: &Network) -> Result<Vec<SocketAddr>, Failure> {
        let mut addrs = Vec::new();
        for peer in &self.peer {
            let resolved = network.peer_addresses(peer).await.map_err(|error| {
                Failure::new(Code::NoPeers, format!("--peer {peer}: {error}"))
                    .advise("check the name and your name server, or give the address")
            })?;
            // The filter would have it, whoever it is.
            if !self.ip_filter.is_empty() && resolved.iter().any(|addr| is_named_peer(addr.ip())) {
                let text = "the proxy looks it up, so --ip-filter can't judge its address";
                return Err(Failure::usage(format!("--peer {peer}: {text}"))
                    .advise("give the address, or leave out one of the two"));
            }
            addrs.extend(resolved);
        }
        Ok(addrs)
    }
}

/// How long to wait for a first peer.
#[derive(Clone)]
pub(crate) struct Patience {
    /// `None`: for ever.
    limit: Option<Duration>,
    /// While this is not there nobody can come, and the time does not count.
    network: Option<Network>,
}

impl Patience {
    /// Zero seconds are for ever.
    pub(crate) fn of(seconds: u64) -> Self {
        let limit = (seconds > 0).then(|| Duration::from_secs(seconds));
        Self { limit, network: None }
    }

    /// Time without this network does not count.
    pub(crate) fn with(self, network: &Network) -> Self {
        Self { network: Some(network.clone()), ..self }
    }

    /// Whether it has come to its end, without company since then.
    pub(crate) fn is_over(&self, last_company: Instant) -> bool {
        self.limit.is_some_and(|limit| last_company.elapsed() >= limit)
    }

    /// Whether time does not count now.
    pub(crate) fn rests(&self) -> bool {
        self.network.as_ref().is_some_and(|network| network.absence().is_some())
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.limit.unwrap_or_default().as_secs()
    }
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
        let wanted = stats.verified_bytes.saturating_add(stats.wanted_left);
        return format!("{name}: stopped with {have} of {}", format::bytes(wanted));
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

/// Waits for the torrent to complete; fails when no peer was seen for as long as `patience` has.
pub(crate) async fn complete(handle: &TorrentHandle, patience: &Patience) -> Result<(), Failure> {
    let lonely = async {
        let mut last_company = Instant::now();
        let mut every = tokio::time::interval(Duration::from_millis(500));
        loop {
            every.tick().await;
            let stats = handle.stats();
            let alone = stats.peers + stats.web_seeds == 0;
            let waits = stats.state == TorrentState::Downloading && alone;
            if !waits || patience.rests() {
                last_company = Instant::now();
            } else if patience.is_over(last_company) {
                return stats.tracker_error;
            }
        }
    };
    tokio::select! {
        done = handle.wait() => Ok(done?),
        tracker_error = lonely => {
            let seconds = patience.seconds();
            let name = untrusted(&name(handle));
            let why = tracker_error.map_or(String::new(), |error| format!(" ({})", untrusted(&error)));
            Err(Failure::new(Code::NoPeers, format!("{name}: no peers within {seconds} s{why}"))
                .advise("name one with --peer, or wait longer with --wait-peers; what is there stays"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_nodes_are_asked_by_who_can_reach_them_and_was_told_of_no_others() {
        let (anywhere, local) = (Network::default(), Network::bound_to([127, 0, 0, 1].into()));
        assert_eq!(dht_bootstrap(&[], &anywhere), engine::DHT_BOOTSTRAP);
        assert_eq!(dht_bootstrap(&[], &local), [""; 0]);
        let named = ["node.test:6881".to_owned()];
        assert_eq!(dht_bootstrap(&named, &anywhere), named);
        assert_eq!(dht_bootstrap(&named, &local), named);
    }
}
