//! Whole networks of the DHT: nodes come and go, packets are lost, liars answer with nodes that
//! do not exist, and others look for who has announced himself. One seed is one run.

mod liar;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dht::{Announce, Dht, Event, Id, InterfaceId, OperationId, Outcome, PeersQuery, Settings};

use crate::queue::Queue;
use crate::trace::Trace;

/// A run as data.
#[derive(Debug, Clone, PartialEq)]
pub struct DhtPlan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Honest nodes.
    pub nodes: usize,
    /// Nodes that lie about who is near the target.
    pub liars: usize,
    /// Honest nodes that vanish in a minute, and newcomers that take their place.
    pub churn_per_minute: usize,
    /// Packets lost in a hundred.
    pub loss_percent: u8,
    /// Torrents announced by one node and looked for by another.
    pub torrents: usize,
}

impl DhtPlan {
    /// A thousand nodes, a tenth of them liars, one in a hundred replaced each minute.
    pub fn large(seed: u64) -> Self {
        let (nodes, liars) = (900, 100);
        Self { seed, nodes, liars, churn_per_minute: 9, loss_percent: 1, torrents: 100 }
    }

    /// Two hundred quiet nodes.
    pub fn small(seed: u64) -> Self {
        Self { seed, nodes: 200, liars: 0, churn_per_minute: 0, loss_percent: 0, torrents: 200 }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhtOutcome {
    /// Lookups that came to an end, for torrents that somebody had announced.
    pub lookups: usize,
    /// Those that found him.
    pub found: usize,
    /// Nodes asked one after the other until the first peer, for each that found any.
    pub hops: Vec<u8>,
    /// Packets sent in all.
    pub packets: u64,
    /// Queries that had no answer, of all queries, in a hundred.
    pub lost_percent: u64,
    /// A hash of everything that happened.
    pub trace: u64,
}

impl DhtOutcome {
    /// The middle one.
    pub fn median_hops(&self) -> Option<u8> {
        let mut hops = self.hops.clone();
        hops.sort_unstable();
        hops.get(hops.len() / 2).copied()
    }

    /// Whether the DHT did what it is for: 99 of 100 lookups find the peer, in four hops.
    pub fn is_good(&self) -> bool {
        self.found * 100 >= self.lookups * 99 && self.median_hops().is_some_and(|hops| hops <= 4)
    }
}

/// Newcomers ask these first; they stay.
const BOOTSTRAP: usize = 3;
/// One node comes after the other.
const JOIN_EVERY: Duration = Duration::from_millis(50);
/// Time to settle after the last has come.
const SETTLE: Duration = Duration::from_mins(2);
/// Announcing and looking go on for so long each.
const PHASE: Duration = Duration::from_mins(1);
/// Churn between announcing and looking.
const PAUSE: Duration = Duration::from_mins(5);

/// The longest that a lookup takes.
const LAST_LOOKUP: Duration = Duration::from_mins(2);

enum Happening {
    Arrives { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Timer { node: usize },
    Joins,
    Vanishes,
    Announces { torrent: usize },
    Looks { torrent: usize },
}

struct Honest {
    dht: Dht,
    interface: InterfaceId,
    addr: SocketAddr,
    is_up: bool,
    /// When its next timer is queued for.
    timer: Option<Duration>,
}

struct Torrent {
    info_hash: Id,
    peer: Option<SocketAddr>,
    found: bool,
}

/// Runs a plan.
pub fn run(plan: &DhtPlan) -> DhtOutcome {
    let mut network = Network::new(plan.clone());
    while let Some((now, happening)) = network.queue.pop() {
        network.now = now;
        network.handle(happening);
        if network.is_over() {
            break;
        }
    }
    network.outcome()
}

struct Network {
    plan: DhtPlan,
    now: Duration,
    rng: fastrand::Rng,
    trace: Trace,
    queue: Queue<Happening>,
    nodes: Vec<Honest>,
    by_addr: BTreeMap<SocketAddr, usize>,
    liars: BTreeMap<SocketAddr, liar::Liar>,
    torrents: Vec<Torrent>,
    /// Who looks for which torrent.
    looking: BTreeMap<(usize, OperationId), usize>,
    looked: usize,
    ends: Duration,
    hops: Vec<u8>,
    packets: u64,
}

impl Network {
    fn new(plan: DhtPlan) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut queue = Queue::default();
        for n in 0..plan.nodes {
            queue.push(JOIN_EVERY * n as u32, Happening::Joins);
        }
        let mut liars = BTreeMap::new();
        while liars.len() < plan.liars {
            liars.insert(address(&mut rng), liar::Liar::new(rng.u64(..)));
        }
        let settled = JOIN_EVERY * plan.nodes as u32 + SETTLE;
        let looking = settled + PHASE + PAUSE;
        for minute in 0..(PHASE + PAUSE + PHASE).as_secs() / 60 {
            for _ in 0..plan.churn_per_minute {
                let at = settled + Duration::from_millis(minute * 60_000 + rng.u64(0..60_000));
                queue.push(at, Happening::Vanishes);
                queue.push(at, Happening::Joins);
            }
        }
        let step = PHASE / plan.torrents.max(1) as u32;
        let torrent = |_| Torrent { info_hash: id(&mut rng), peer: None, found: false };
        let torrents: Vec<Torrent> = (0..plan.torrents).map(torrent).collect();
        for torrent in 0..plan.torrents {
            queue.push(settled + step * torrent as u32, Happening::Announces { torrent });
            queue.push(looking + step * torrent as u32, Happening::Looks { torrent });
        }
        Self {
            plan,
            now: Duration::ZERO,
            rng,
            trace: Trace::default(),
            queue,
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            liars,
            torrents,
            looking: BTreeMap::new(),
            looked: 0,
            ends: looking + PHASE + LAST_LOOKUP,
            hops: Vec::new(),
            packets: 0,
        }
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { from, to, bytes } => self.arrive(from, to, &bytes),
            Happening::Timer { node } => {
                let now = self.now;
                let this = &mut self.nodes[node];
                if this.is_up && this.timer == Some(now) {
                    this.timer = None;
                    this.dht.handle_timeout(now);
                    self.settle(node);
                }
            }
            Happening::Joins => self.join(),
            Happening::Vanishes => {
                if let Some(node) = self.somebody() {
                    self.nodes[node].is_up = false;
                }
            }
            Happening::Announces { torrent } => {
                let Some(node) = self.somebody() else { return };
                let addr = self.nodes[node].addr;
                let announce = Announce {
                    port: addr.port(),
                    port_v6: None,
                    is_port_implied: false,
                    is_seed: false,
                };
                let query = PeersQuery { announce: Some(announce), ..PeersQuery::default() };
                self.torrents[torrent].peer = Some(addr);
                let info_hash = self.torrents[torrent].info_hash;
                self.nodes[node].dht.get_peers(self.now, info_hash, query);
                self.settle(node);
            }
            Happening::Looks { torrent } => {
                let Some(node) = self.somebody() else { return };
                let info_hash = self.torrents[torrent].info_hash;
                let query = PeersQuery::default();
                let operation = self.nodes[node].dht.get_peers(self.now, info_hash, query);
                self.looking.insert((node, operation), torrent);
                self.settle(node);
            }
        }
    }

    /// A node that is up and no bootstrap node.
    fn somebody(&mut self) -> Option<usize> {
        let up = (BOOTSTRAP..self.nodes.len()).filter(|node| self.nodes[*node].is_up);
        let up: Vec<usize> = up.collect();
        self.rng.choice(up)
    }

    fn join(&mut self) {
        let addr = loop {
            let addr = address(&mut self.rng);
            if !self.by_addr.contains_key(&addr) && !self.liars.contains_key(&addr) {
                break addr;
            }
        };
        let node = self.nodes.len();
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let mut dht = Dht::new(Settings::default(), seed, self.now);
        // Half of them are behind routers, and learn from others where they are.
        let local =
            if node.is_multiple_of(2) { addr } else { "192.168.1.2:6881".parse().expect("one") };
        let interface = dht.add_interface(self.now, local);
        for bootstrap in self.nodes.iter().take(BOOTSTRAP) {
            dht.add_bootstrap(self.now, bootstrap.addr);
        }
        if let Some(liar) = self.liars.keys().nth(node % self.liars.len().max(1)) {
            dht.add_bootstrap(self.now, *liar);
        }
        self.by_addr.insert(addr, node);
        self.nodes.push(Honest { dht, interface, addr, is_up: true, timer: None });
        self.settle(node);
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.trace.number(bytes.len() as u64);
        if let Some(liar) = self.liars.get_mut(&to) {
            if let Some(lie) = liar.answer(bytes) {
                self.send(to, from, lie);
            }
            return;
        }
        let Some(&node) = self.by_addr.get(&to) else { return };
        let this = &mut self.nodes[node];
        if this.is_up {
            this.dht.handle_packet(self.now, this.interface, from, bytes);
            self.settle(node);
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.packets += 1;
        self.trace.number(self.now.as_nanos() as u64);
        if self.rng.u8(0..100) < self.plan.loss_percent {
            return;
        }
        let at = self.now + Duration::from_millis(self.rng.u64(10..150));
        self.queue.push(at, Happening::Arrives { from, to, bytes });
    }

    /// Carries out what a node decided.
    fn settle(&mut self, node: usize) {
        while let Some(packet) = self.nodes[node].dht.poll_transmit() {
            let from = self.nodes[node].addr;
            self.send(from, packet.to, packet.bytes);
        }
        while let Some(event) = self.nodes[node].dht.poll_event() {
            self.note(node, event);
        }
        let now = self.now;
        let this = &mut self.nodes[node];
        let due = this.dht.poll_timeout().map(|at| at.max(now));
        if let Some(due) = due.filter(|due| this.timer.is_none_or(|timer| *due < timer)) {
            this.timer = Some(due);
            self.queue.push(due, Happening::Timer { node });
        }
    }

    fn note(&mut self, node: usize, event: Event) {
        match event {
            Event::Peers { operation, peers, .. } => {
                if let Some(&torrent) = self.looking.get(&(node, operation)) {
                    let torrent = &mut self.torrents[torrent];
                    torrent.found |= torrent.peer.is_some_and(|peer| peers.contains(&peer));
                }
            }
            Event::Finished { operation, outcome: Outcome::Peers { hops, .. } }
                if self.looking.contains_key(&(node, operation)) =>
            {
                self.looked += 1;
                self.hops.extend(hops);
            }
            _ => {}
        }
    }

    /// Every lookup has come to its end, but for those whose node vanished meanwhile.
    fn is_over(&self) -> bool {
        self.looked >= self.torrents.len() || self.now >= self.ends
    }

    fn outcome(&self) -> DhtOutcome {
        let counters = self.nodes.iter().map(|node| node.dht.status(self.now).counters);
        let (lost, queries) = counters.fold((0, 0), |(lost, queries), counters| {
            (lost + counters.lost, queries + counters.queries_out)
        });
        DhtOutcome {
            lookups: self.looked,
            found: self.torrents.iter().filter(|torrent| torrent.found).count(),
            hops: self.hops.clone(),
            packets: self.packets,
            lost_percent: lost * 100 / u64::max(queries, 1),
            trace: self.trace.hash(),
        }
    }
}

/// A public address.
fn address(rng: &mut fastrand::Rng) -> SocketAddr {
    let ip = [rng.u8(11..90), rng.u8(..), rng.u8(..), rng.u8(1..)];
    SocketAddr::from((ip, rng.u16(1024..)))
}

fn id(rng: &mut fastrand::Rng) -> Id {
    let mut id = [0; 20];
    rng.fill(&mut id);
    Id(id)
}
