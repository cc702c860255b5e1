//! Many DHT nodes over real sockets, in one process: each announces a torrent of its own, another
//! looks for it. For the interop suite, which puts nodes of other programs among them.
//!
//! ```sh
//! cargo run --release -p peerless-engine --example dht_crowd -- 127.0.0.1 200 [HOST:PORT ...]
//! ```
//!
//! All begin with the first, and are told of the nodes that are named, as a peer's `port` message
//! would. It goes in three steps, each of which ends with a JSON object in a line, and the next of which
//! begins with a line from standard input, or its end:
//!
//! 1. All know enough of each other: their `addresses`.
//! 2. The line names guests, nodes that nobody is told of. Each of ours announces a torrent of its own:
//!    the `torrents`, with the port that was announced.
//! 3. The line names torrents that others announced, as `HASH=HOST:PORT`. All are looked for: what was
//!    `found` of ours, of those `others`, in how many hops; how many tables have each of the `named` nodes
//!    and of the `guests`, how many queries each of the guests answered, and how many of the answers had
//!    peers in them.

#![allow(clippy::disallowed_methods)] // tests play the other side, with sockets of their own

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdin, stdout};
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

/// Answers from one address, and those of them with peers in them.
type Answers = BTreeMap<SocketAddr, (usize, usize)>;

type Failure = Box<dyn Error + Send + Sync>;

/// What a node is asked.
enum Ask {
    /// Peers of a torrent, and to announce this port if it is not zero.
    Peers(Id, u16, oneshot::Sender<(Vec<SocketAddr>, Option<u8>)>),
    /// What it knows.
    Table(oneshot::Sender<Known>),
}

struct Known {
    /// Nodes in its table.
    nodes: usize,
    /// All of it as it is saved.
    saved: Vec<u8>,
    /// Who answered it.
    answers: Answers,
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
    let mut answers = Answers::new();
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
                let has = |part: &[u8]| packet[..length].windows(part.len()).any(|at| at == part);
                if has(b"1:y1:r") {
                    let (all, with_peers) = answers.entry(from).or_default();
                    *all += 1;
                    *with_peers += usize::from(has(b"6:valuesl"));
                }
                core.handle_packet(origin.elapsed(), interface, from, &packet[..length]);
            }
            () = sleep_until(next) => core.handle_timeout(origin.elapsed()),
            ask = asks.recv() => match ask {
                None => return,
                Some(Ask::Peers(torrent, port, done)) => {
                    let is_port_implied = false;
                    let announce = Announce { port, port_v6: None, is_port_implied, is_seed: false };
                    let announce = Some(announce).filter(|_| port != 0);
                    core.get_peers(origin.elapsed(), torrent, PeersQuery { announce, ..PeersQuery::default() });
                    asking = Some(done);
                }
                Some(Ask::Table(done)) => {
                    let nodes = core.status(origin.elapsed()).interfaces[0].nodes;
                    let known = Known { nodes, saved: core.export(), answers: answers.clone() };
                    let _ = done.send(known); // who asked has gone
                }
            },
        }
    }
}

async fn table(node: &Node) -> Result<Known, Failure> {
    let (done, table) = oneshot::channel();
    node.send(Ask::Table(done))?;
    Ok(table.await?)
}

async fn peers(
    node: Node,
    torrent: Id,
    port: u16,
) -> Result<(Vec<SocketAddr>, Option<u8>), Failure> {
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

/// Ends a step, and waits for the words that begin the next.
fn step(line: &str) -> Result<Vec<String>, Failure> {
    println!("{line}");
    stdout().flush()?;
    let mut words = String::new();
    stdin().read_line(&mut words)?;
    Ok(words.split_whitespace().map(ToOwned::to_owned).collect())
}

/// A torrent and where it was announced: `HASH=HOST:PORT`.
fn announced(word: &str) -> Result<(Id, SocketAddr), Failure> {
    let (hash, addr) = word.split_once('=').ok_or("not HASH=HOST:PORT")?;
    Ok((hash.parse()?, addr.parse()?))
}

async fn join(nodes: &[(Node, SocketAddr)]) -> Result<(), Failure> {
    for (node, _) in nodes {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        while table(node).await?.nodes < TABLE_MIN.min(nodes.len() / 2) {
            every.tick().await;
        }
    }
    Ok(())
}

/// Looks for each torrent by a node of its own, at the same time: how many were found where they were
/// announced, and in how many hops.
async fn look(
    nodes: &[(Node, SocketAddr)],
    torrents: &[(Id, SocketAddr)],
) -> Result<(usize, Vec<u8>), Failure> {
    let mut looking = JoinSet::new();
    for (number, (torrent, addr)) in torrents.iter().copied().enumerate() {
        let node = nodes[(number + nodes.len() / 2) % nodes.len()].0.clone();
        looking.spawn(async move { (addr, peers(node, torrent, 0).await) });
    }
    let (mut found, mut hops) = (0, Vec::new());
    while let Some(done) = looking.join_next().await {
        let (addr, done) = done?;
        let (peers, steps) = done?;
        found += usize::from(peers.contains(&addr));
        hops.extend(steps);
    }
    Ok((found, hops))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
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
    timeout(JOIN_LIMIT, join(&nodes)).await??;
    let addrs: Vec<String> = nodes.iter().map(|(_, addr)| format!("\"{addr}\"")).collect();
    let line = format!("{{\"addresses\": [{}]}}", addrs.join(", "));
    let guests = tokio::task::spawn_blocking(move || step(&line)).await??;
    let guests: Vec<SocketAddr> =
        guests.iter().map(|addr| addr.parse()).collect::<Result<_, _>>()?;

    let own = |number: usize| (torrent(number), SocketAddr::new(ip, 10_000 + number as u16));
    let mut announcing = JoinSet::new();
    for (number, (node, _)) in nodes.iter().enumerate() {
        let (torrent, addr) = own(number);
        announcing.spawn(peers(node.clone(), torrent, addr.port()));
    }
    while let Some(done) = announcing.join_next().await {
        done??;
    }
    let torrents: Vec<String> = (0..count)
        .map(own)
        .map(|(torrent, addr)| format!("\"{torrent}\": {}", addr.port()))
        .collect();
    let line = format!("{{\"torrents\": {{{}}}}}", torrents.join(", "));
    let others = tokio::task::spawn_blocking(move || step(&line)).await??;
    let others: Vec<_> = others.iter().map(|word| announced(word)).collect::<Result<_, _>>()?;

    let own: Vec<_> = (0..count).map(own).collect();
    let (found, mut hops) = look(&nodes, &own).await?;
    let (mut found_others, rounds) = (0, others.chunks(count));
    for others in rounds {
        let (found, more) = look(&nodes, others).await?;
        found_others += found;
        hops.extend(more);
    }
    hops.sort_unstable();
    let median = hops.get(hops.len() / 2).copied().unwrap_or_default();
    let mut tables = Vec::new();
    for (node, _) in &nodes {
        tables.push(table(node).await?);
    }
    let known = |addr: &SocketAddr| {
        let addr = compact(addr);
        tables.iter().filter(|known| known.saved.windows(addr.len()).any(|it| it == addr)).count()
    };
    let heard = |addr: &SocketAddr| {
        let all = tables.iter().filter_map(|known| known.answers.get(addr));
        all.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    };
    let (named, in_tables): (Vec<usize>, Vec<usize>) =
        (named.iter().map(known).collect(), guests.iter().map(known).collect());
    let (answers, with_peers): (Vec<usize>, Vec<usize>) = guests.iter().map(heard).unzip();
    println!(
        "{{\"nodes\": {count}, \"found\": {found}, \"others\": {found_others}, \
         \"median_hops\": {median}, \"named\": {named:?}, \"guests\": {in_tables:?}, \
         \"answers\": {answers:?}, \"with_peers\": {with_peers:?}}}"
    );
    Ok(())
}
