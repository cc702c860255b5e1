//! Many DHT nodes over real sockets, in one process: each announces a torrent of its own, another
//! looks for it. For the interop suite, which puts nodes of other programs among them.
//!
//! ```sh
//! cargo run --release -p peerless-engine --example dht_crowd -- 127.0.0.1 200 [HOST:PORT ...]
//! ```
//!
//! All begin with the first, and are told of the nodes that are named, as a peer's `port` message
//! would. Prints one JSON object; `named` is how many tables have each of the named nodes.

#![allow(clippy::disallowed_methods)] // tests play the other side, with sockets of their own

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use engine::dht_core::{Announce, Dht, Event, Id, Outcome, PeersQuery, Settings};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// The longest that all may take to know enough of each other.
const JOIN_LIMIT: Duration = Duration::from_mins(1);

/// Nodes that a table should have before anything is looked for.
const TABLE_MIN: usize = 8;

/// What a node is asked.
enum Ask {
    /// Peers of a torrent, and to announce this port if it is not zero.
    Peers(Id, u16, oneshot::Sender<(Vec<SocketAddr>, Option<u8>)>),
    /// Nodes in its table, and all of it as it is saved.
    Table(oneshot::Sender<(usize, Vec<u8>)>),
}

type Node = mpsc::UnboundedSender<Ask>;

async fn start(
    ip: IpAddr,
    first: Option<SocketAddr>,
    named: &[SocketAddr],
) -> std::io::Result<(Node, SocketAddr)> {
    let socket = UdpSocket::bind((ip, 0)).await?;
    let local = socket.local_addr()?;
    let (sender, asks) = mpsc::unbounded_channel();
    let mut core = Dht::new(Settings::default(), engine::random_seed()?, Duration::ZERO);
    let interface = core.add_interface(Duration::ZERO, local);
    first.into_iter().for_each(|addr| core.add_bootstrap(Duration::ZERO, addr));
    named.iter().for_each(|addr| core.add_candidate(Duration::ZERO, *addr));
    tokio::spawn(run(core, interface, socket, asks));
    Ok((sender, local))
}

async fn run(
    mut core: Dht,
    interface: engine::dht_core::InterfaceId,
    socket: UdpSocket,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) {
    let origin = Instant::now();
    let mut packet = vec![0; 2048];
    let mut asking = None;
    let mut found = Vec::new();
    loop {
        while let Some(transmit) = core.poll_transmit() {
            let _ = socket.try_send_to(&transmit.bytes, transmit.to); // lost, as on the way
        }
        while let Some(event) = core.poll_event() {
            match event {
                Event::Peers { peers, .. } => found.extend(peers),
                Event::Finished { outcome: Outcome::Peers { hops, .. }, .. } => {
                    let done: Option<oneshot::Sender<_>> = asking.take();
                    done.into_iter().for_each(|done| drop(done.send((found.split_off(0), hops))));
                }
                _ => {}
            }
        }
        let next = origin + core.poll_timeout().unwrap_or(JOIN_LIMIT);
        tokio::select! {
            Ok((length, from)) = socket.recv_from(&mut packet) => {
                core.handle_packet(origin.elapsed(), interface, from, &packet[..length]);
            }
            () = sleep_until(next) => core.handle_timeout(origin.elapsed()),
            ask = asks.recv() => match ask {
                None => return,
                Some(Ask::Peers(torrent, port, done)) => {
                    let is_port_implied = false;
                    let announce = Announce { port, is_port_implied, is_seed: false };
                    let announce = Some(announce).filter(|_| port != 0);
                    core.get_peers(origin.elapsed(), torrent, PeersQuery { announce, ..PeersQuery::default() });
                    asking = Some(done);
                }
                Some(Ask::Table(done)) => {
                    let nodes = core.status(origin.elapsed()).interfaces[0].nodes;
                    let _ = done.send((nodes, core.export())); // who asked has gone
                }
            },
        }
    }
}

async fn table(node: &Node) -> Result<(usize, Vec<u8>), Box<dyn Error + Send + Sync>> {
    let (done, table) = oneshot::channel();
    node.send(Ask::Table(done))?;
    Ok(table.await?)
}

async fn peers(
    node: Node,
    torrent: Id,
    port: u16,
) -> Result<(Vec<SocketAddr>, Option<u8>), Box<dyn Error + Send + Sync>> {
    let (done, found) = oneshot::channel();
    node.send(Ask::Peers(torrent, port, done))?;
    Ok(found.await?)
}

/// A torrent for each node, spread over all ids.
fn torrent(number: usize) -> Id {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let mut id = [0; 20];
    rng.fill(&mut id);
    Id(id)
}

fn compact(addr: &SocketAddr) -> Vec<u8> {
    let IpAddr::V4(ip) = addr.ip() else { return vec![0; 18] };
    [&ip.octets()[..], &addr.port().to_be_bytes()].concat()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(ip), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dht_crowd IP COUNT [HOST:PORT ...]".into());
    };
    let (ip, count): (IpAddr, usize) = (ip.parse()?, count.parse()?);
    let named: Vec<SocketAddr> = arguments.map(|addr| addr.parse()).collect::<Result<_, _>>()?;
    let mut nodes = vec![start(ip, None, &named).await?];
    for _ in 1..count {
        let first = nodes[0].1;
        nodes.push(start(ip, Some(first), &named).await?);
    }
    timeout(JOIN_LIMIT, async {
        for (node, _) in &nodes {
            let mut every = tokio::time::interval(Duration::from_millis(100));
            while table(node).await?.0 < TABLE_MIN.min(count / 2) {
                every.tick().await;
            }
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    })
    .await??;
    let mut announcing = JoinSet::new();
    for (number, (node, _)) in nodes.iter().enumerate() {
        announcing.spawn(peers(node.clone(), torrent(number), 10_000 + number as u16));
    }
    while let Some(done) = announcing.join_next().await {
        done??;
    }
    let mut looking = JoinSet::new();
    for number in 0..count {
        let node = nodes[(number + count / 2) % count].0.clone();
        looking.spawn(async move { (number, peers(node, torrent(number), 0).await) });
    }
    let (mut found, mut hops) = (0, Vec::new());
    while let Some(done) = looking.join_next().await {
        let (number, done) = done?;
        let (peers, steps) = done?;
        found += usize::from(peers.contains(&SocketAddr::new(ip, 10_000 + number as u16)));
        hops.extend(steps);
    }
    hops.sort_unstable();
    let mut tables = Vec::new();
    for (node, _) in &nodes {
        tables.push(table(node).await?.1);
    }
    let known = |addr: &SocketAddr| {
        let addr = compact(addr);
        tables.iter().filter(|table| table.windows(addr.len()).any(|it| it == addr)).count()
    };
    let named: Vec<usize> = named.iter().map(known).collect();
    let median = hops.get(hops.len() / 2).copied().unwrap_or_default();
    println!(
        "{{\"nodes\": {count}, \"found\": {found}, \"median_hops\": {median}, \"named\": {named:?}}}"
    );
    Ok(())
}
