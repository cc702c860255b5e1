//! `peerless dht`: the distributed hash table by hand (BEP 5, 33, 44, 51).

mod items;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use engine::dht_core::{Announce, Id, PeersQuery};
use engine::metainfo::InfoHash;
use engine::{DhtHandle, Session, StateLocation};
use serde_json::json;

use super::reach::Reach;
use super::session;
use crate::exit::{Code, Failure};
use crate::format::untrusted;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Packets to an address before it is given up: the first may be lost on the way.
const PINGS: usize = 3;

/// Ask the distributed hash table: nodes, peers, items.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless dht ping router.bittorrent.com:6881
  peerless dht peers 0123456789abcdef0123456789abcdef01234567
  peerless dht put 'Hello World!'
  peerless dht get e5f96f6f38320f0f33959cb4d3d656452117aadb
  peerless dht put 'second edition' --key ~/.config/my.key --salt news
  peerless dht sample --json | jq -r '.torrents[]'
  peerless dht status --dht-bootstrap 192.0.2.7:6881")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// A node to begin with, HOST:PORT; again for more. Default: the well-known ones.
    #[arg(long, value_name = "ADDR", value_parser = session::host_and_port, global = true)]
    dht_bootstrap: Vec<String>,
    /// UDP port to ask from; default: any free one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, global = true)]
    port: u16,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    proxy: super::proxy::Through,
    /// Seconds until the first node must have answered.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true)]
    timeout: u64,
    #[command(flatten)]
    ip_filter: super::ip_filter::Lists,
    /// Where known nodes are kept; default: the user's own state folder.
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ask one node whether it is there.
    Ping {
        /// The node: HOST:PORT or [V6]:PORT.
        #[arg(value_parser = session::host_and_port)]
        node: String,
    },
    /// Look for a torrent's peers.
    Peers {
        /// The torrent's info hash, 40 hexadecimal digits.
        hash: InfoHash,
        /// Count the swarm (BEP 33).
        #[arg(long)]
        scrape: bool,
        /// Announce this port to the closest nodes: others will try to connect to it.
        #[arg(long, value_name = "PORT")]
        announce: Option<u16>,
    },
    /// Look for an item (BEP 44).
    Get(items::Get),
    /// Put an item (BEP 44).
    Put(items::Put),
    /// Ask nodes which torrents they know (BEP 51).
    Sample {
        /// Ask the nodes on the way to this id; default: a random one.
        target: Option<Id>,
    },
    /// Join, and show what is known.
    Status,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let session = self.session(output).await?;
        let result = tokio::select! {
            result = self.ask(&session, output) => result,
            why = no_relay(&session) => Err(Failure::new(Code::NoPeers, why)),
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        session.shutdown().await;
        result
    }

    async fn session(&self, output: Output) -> Result<Session, Failure> {
        let network = self.proxy.network(&self.reach)?;
        let filter = self.ip_filter.read(output)?;
        let mut builder =
            Session::builder().port(self.port).ip_filter(filter).network(network.clone());
        builder = builder.needs_network(true);
        // A ping asks one node, and nobody else.
        if !matches!(self.what, What::Ping { .. }) {
            let state = session::state_directory(self.state_dir.as_ref())?;
            builder = builder
                .state(StateLocation::Directory(state))
                .dht_bootstrap(session::dht_bootstrap(&self.dht_bootstrap, &network));
        }
        Ok(builder.start().await?)
    }

    async fn ask(&self, session: &Session, output: Output) -> Result<(), Failure> {
        let dht = session.dht().ok_or_else(|| match session.network().proxy() {
            Some(proxy) => Failure::usage(format!("the DHT can't go through the proxy {proxy}"))
                .advise("give a SOCKS5 proxy that relays datagrams"),
            None => Failure::other("the system gives no UDP socket"),
        })?;
        match &self.what {
            What::Ping { node } => ping(session, &dht, node, output).await,
            What::Peers { hash, scrape, announce } => {
                self.join(&dht, output).await?;
                let announce = announce.map(|port| Announce {
                    port,
                    port_v6: None,
                    is_port_implied: false,
                    is_seed: false,
                });
                let query = PeersQuery { announce, no_seeds: false, scrape: *scrape };
                peers(&dht, *hash, query, output).await
            }
            What::Get(get) => {
                get.check()?;
                self.join(&dht, output).await?;
                get.run(&dht, output).await
            }
            What::Put(put) => {
                let ready = put.prepare()?;
                self.join(&dht, output).await?;
                ready.run(&dht, output).await
            }
            What::Sample { target } => {
                self.join(&dht, output).await?;
                sample(&dht, *target, output).await
            }
            What::Status => {
                self.join(&dht, output).await?;
                show::status(&dht.status().await.map_err(Failure::other)?, output);
                Ok(())
            }
        }
    }

    /// Waits until a node has answered.
    async fn join(&self, dht: &DhtHandle, output: Output) -> Result<(), Failure> {
        let patience = Duration::from_secs(self.timeout.max(1));
        output.note("looking for DHT nodes");
        tokio::time::timeout(patience, dht.joined()).await.map_err(|_| {
            let seconds = patience.as_secs();
            Failure::new(Code::NoPeers, format!("no DHT node answered within {seconds} s"))
                .advise("name one with --dht-bootstrap, and check that UDP gets out")
        })
    }
}

/// Waits until the proxy, if there is one, is known to relay no datagrams.
async fn no_relay(session: &Session) -> String {
    let mut events = session.events();
    loop {
        if let Some(why) = session.relay_trouble() {
            return why;
        }
        if events.next().await.is_none() {
            return std::future::pending().await;
        }
    }
}

async fn ping(
    session: &Session,
    dht: &DhtHandle,
    node: &str,
    output: Output,
) -> Result<(), Failure> {
    let advice = "give HOST:PORT, or [V6]:PORT";
    let addrs = session
        .network()
        .resolve_authority(node)
        .await
        .map_err(|error| Failure::usage(format!("{node}: {error}")).advise(advice))?;
    for addr in addrs.iter().cycle().take(addrs.len() * PINGS) {
        let Some(pong) = dht.ping(*addr).await.map_err(Failure::other)? else { continue };
        let client = pong.client.map(show::client);
        let millis = pong.took.as_secs_f64() * 1000.0;
        let name = client.as_deref().unwrap_or("an unnamed client");
        output.line(format_args!("{addr}: node {} ({name}) in {millis:.1} ms", pong.id));
        if let Some(seen) = pong.seen_as {
            output.line(format_args!("it sees us at {seen}"));
        }
        output.value(&json!({
            "node": addr, "id": pong.id.to_string(), "client": client,
            "milliseconds": millis, "seen_as": pong.seen_as,
        }));
        return Ok(());
    }
    Err(Failure::new(Code::NoPeers, format!("{}: no answer", untrusted(node)))
        .advise("check the address, and that UDP gets out"))
}

async fn peers(
    dht: &DhtHandle,
    hash: InfoHash,
    query: PeersQuery,
    output: Output,
) -> Result<(), Failure> {
    let found = dht.peers(hash, query).await.map_err(Failure::other)?;
    let mut peers = found.peers;
    peers.sort_unstable();
    peers.iter().for_each(|peer| output.line(peer));
    let (nodes, count) = (found.nodes, peers.len());
    output.note(format_args!("{count} peers, {nodes} nodes answered"));
    if query.announce.is_some() {
        output.note(format_args!("announced to {} nodes", found.announced));
    }
    if let Some(size) = found.size {
        output.line(format_args!("about {:.0} seeds and {:.0} others", size.seeds, size.peers));
    }
    output.value(&json!({
        "info_hash": hash.to_string(), "peers": peers, "nodes": nodes, "hops": found.hops,
        "announced": found.announced,
        "scrape": found.size.map(|size| json!({ "seeds": size.seeds, "peers": size.peers })),
    }));
    let did_announce = query.announce.is_some() && found.announced > 0;
    if count > 0 || did_announce {
        return Ok(());
    }
    Err(Failure::new(Code::NoPeers, format!("nobody has announced {hash}"))
        .advise("try again later, or ask a tracker: `peerless peers`"))
}

async fn sample(dht: &DhtHandle, target: Option<Id>, output: Output) -> Result<(), Failure> {
    let target = target.unwrap_or_else(|| {
        let mut id = [0; 20];
        fastrand::fill(&mut id);
        Id(id)
    });
    let found = dht.sample(target).await.map_err(Failure::other)?;
    found.torrents.iter().for_each(|hash| output.line(hash));
    let (count, nodes) = (found.torrents.len(), found.nodes);
    output.note(format_args!("{count} torrents; {nodes} nodes answered and keep {}", found.kept));
    let torrents: Vec<String> = found.torrents.iter().map(ToString::to_string).collect();
    output.value(&json!({ "torrents": torrents, "kept": found.kept, "nodes": nodes }));
    Ok(())
}
