//! The network: two endpoints, a link each way, and a stream each way whose bytes are known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use utp::{Blocked, Closed, Config, ConnectionId, Endpoint, Event};

use crate::link::{Link, Shape};
use crate::tcp::{self, Tcp};

/// A prime: a byte that is left out or comes twice shows.
const PATTERN_BYTES: usize = 65_521;
/// Datagrams of one burst.
const BURST: usize = 10;

/// What happens at some time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Datagram { to: usize, bytes: Vec<u8> },
    TcpPacket(u64),
    TcpAck(u64),
    TcpLooks,
    Wake(usize),
}

/// One end: an endpoint and an application that writes and reads all it can.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) addr: SocketAddr,
    pub(crate) id: Option<ConnectionId>,
    /// Its clock, against the world's.
    pub(crate) clock: Duration,
    /// Bytes to write in all.
    pub(crate) to_write: u64,
    pub(crate) written: u64,
    pub(crate) read: u64,
    /// How much it reads at most, in all: a reader that stops.
    pub(crate) read_max: u64,
    /// It closes when everything is written and the peer has closed.
    pub(crate) closes: bool,
    pub(crate) saw_end: bool,
    pub(crate) closed: Option<Closed>,
    pub(crate) incoming: u32,
    pub(crate) connected: u32,
    wakes_at: Duration,
}

impl Node {
    fn new(config: Config, last: u8) -> Self {
        Self {
            endpoint: Endpoint::new(config),
            addr: SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 6881)),
            id: None,
            clock: Duration::ZERO,
            to_write: 0,
            written: 0,
            read: 0,
            read_max: u64::MAX,
            closes: false,
            saw_end: false,
            closed: None,
            incoming: 0,
            connected: 0,
            wakes_at: Duration::MAX,
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: [Node; 2],
    /// From the first node to the second, and back.
    pub(crate) links: [Link; 2],
    pub(crate) tcp: Option<Tcp>,
    pub(crate) rng: fastrand::Rng,
    happenings: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    count: u64,
    pattern: Vec<u8>,
    /// Bytes of the datagrams that each has sent.
    pub(crate) sent: [u64; 2],
}

impl World {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        Self::with_config(seed, shape, |_| {})
    }

    pub(crate) fn with_config(seed: u64, shape: Shape, change: impl Fn(&mut Config)) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut node = |last| {
            let mut config = Config::new(rng.u64(..));
            change(&mut config);
            Node::new(config, last)
        };
        let nodes = [node(1), node(2)];
        let mut pattern = vec![0; 2 * PATTERN_BYTES];
        rng.fill(&mut pattern[..PATTERN_BYTES]);
        pattern.copy_within(..PATTERN_BYTES, PATTERN_BYTES);
        Self {
            now: Duration::ZERO,
            nodes,
            links: [Link::new(shape), Link::new(shape)],
            tcp: None,
            rng,
            happenings: BinaryHeap::new(),
            count: 0,
            pattern,
            sent: [0; 2],
        }
    }

    /// The first node opens a connection to the second.
    pub(crate) fn connect(&mut self) {
        let remote = self.nodes[1].addr;
        let now = self.time_of(0);
        self.nodes[0].id = self.nodes[0].endpoint.connect(now, remote, None);
        assert!(self.nodes[0].id.is_some());
        self.works(0);
    }

    pub(crate) fn start_tcp(&mut self) {
        let mut tcp = Tcp::new();
        tcp.acked(self.now, u64::MAX); // its clock starts now
        self.tcp = Some(tcp);
        self.happens(self.now, Happening::TcpLooks);
    }

    fn happens(&mut self, at: Duration, what: Happening) {
        self.count += 1;
        self.happenings.push(Reverse((at, self.count, what)));
    }

    /// What a node's clock shows.
    pub(crate) fn time_of(&self, node: usize) -> Duration {
        self.now + self.nodes[node].clock
    }

    /// A datagram arrives that nobody of ours sent.
    pub(crate) fn forges(&mut self, from: SocketAddr, to: usize, bytes: &[u8]) {
        let now = self.time_of(to);
        self.nodes[to].endpoint.handle(now, from, None, bytes);
    }

    /// A node's clock jumps forward.
    pub(crate) fn clock_jumps(&mut self, node: usize, by: Duration) {
        self.nodes[node].clock += by;
        self.works(node);
    }

    /// Goes on until then, or until `done`.
    pub(crate) fn runs(&mut self, until: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        for node in 0..2 {
            self.works(node);
        }
        while !done(self) {
            let Some(Reverse((at, _, _))) = self.happenings.peek() else { return done(self) };
            if *at > until {
                self.now = until;
                return done(self);
            }
            let Some(Reverse((at, _, what))) = self.happenings.pop() else { return false };
            self.now = self.now.max(at);
            match what {
                Happening::Datagram { to, bytes } => {
                    let (now, from) = (self.time_of(to), self.nodes[1 - to].addr);
                    self.nodes[to].endpoint.handle(now, from, None, &bytes);
                    self.works(to);
                }
                Happening::Wake(node) => {
                    if self.nodes[node].wakes_at == at {
                        self.nodes[node].wakes_at = Duration::MAX;
                        self.works(node);
                    }
                }
                Happening::TcpPacket(number) => {
                    let at = self.now + self.links[1].shape.delay;
                    self.happens(at, Happening::TcpAck(number));
                }
                Happening::TcpAck(number) => {
                    if let Some(tcp) = &mut self.tcp {
                        tcp.acked(self.now, number);
                    }
                    self.tcp_sends();
                }
                Happening::TcpLooks => {
                    self.tcp_sends();
                    self.happens(self.now + Duration::from_millis(500), Happening::TcpLooks);
                }
            }
        }
        true
    }

    fn tcp_sends(&mut self) {
        let Some(tcp) = &mut self.tcp else { return };
        for number in tcp.packets(self.now) {
            for at in self.links[0].carry(self.now, tcp::PACKET, &mut self.rng) {
                self.happens(at, Happening::TcpPacket(number));
            }
        }
    }

    /// A node does all that it can now.
    pub(crate) fn works(&mut self, node: usize) {
        let now = self.time_of(node);
        self.nodes[node].endpoint.tick(now);
        self.application(node);
        let mut buffer = Vec::new();
        while let Some(burst) = self.nodes[node].endpoint.transmit(now, BURST, &mut buffer) {
            self.sent[node] += buffer.len() as u64;
            if burst.remote != self.nodes[1 - node].addr {
                continue; // to nobody
            }
            for datagram in buffer.chunks(burst.segment) {
                for at in self.links[node].carry(self.now, datagram.len(), &mut self.rng) {
                    let bytes = datagram.to_vec();
                    self.happens(at, Happening::Datagram { to: 1 - node, bytes });
                }
            }
            self.application(node);
        }
        let clock = self.nodes[node].clock;
        if let Some(due) = self.nodes[node].endpoint.due() {
            let at = due.saturating_sub(clock).max(self.now + Duration::from_micros(1));
            if at < self.nodes[node].wakes_at {
                self.nodes[node].wakes_at = at;
                self.happens(at, Happening::Wake(node));
            }
        }
    }

    fn application(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        while let Some(event) = node.endpoint.event() {
            match event {
                Event::Incoming(id) => {
                    node.incoming += 1;
                    node.id.get_or_insert(id);
                }
                Event::Connected(_) => node.connected += 1,
                Event::Closed(id, reason) if node.id == Some(id) => node.closed = Some(reason),
                Event::Readable(_) | Event::Writable(_) | Event::Closed(..) => {}
            }
        }
        let Some(id) = node.id else { return };
        while node.written < node.to_write {
            let at = (node.written % PATTERN_BYTES as u64) as usize;
            let most = (node.to_write - node.written).min(PATTERN_BYTES as u64) as usize;
            match node.endpoint.write(id, &self.pattern[at..at + most]) {
                Ok(count) => node.written += count as u64,
                Err(_) => break,
            }
        }
        let mut buffer = [0; 16 * 1024];
        while node.read < node.read_max {
            match node.endpoint.read(id, &mut buffer) {
                Ok(0) => {
                    node.saw_end = true;
                    break;
                }
                Ok(count) => {
                    let at = (node.read % PATTERN_BYTES as u64) as usize;
                    assert!(
                        buffer[..count] == self.pattern[at..at + count],
                        "wrong bytes after {} at {:?}",
                        node.read,
                        self.now,
                    );
                    node.read += count as u64;
                }
                Err(Blocked::Later | Blocked::Closed(_)) => break,
            }
        }
        let all_written = node.written == node.to_write;
        if node.closes && all_written && (number == 0 || node.saw_end) {
            node.endpoint.close(id);
            node.id = None;
        }
    }

    /// Both have read everything.
    pub(crate) fn is_through(&self) -> bool {
        self.nodes[1].read == self.nodes[0].to_write && self.nodes[0].read == self.nodes[1].to_write
    }
}
