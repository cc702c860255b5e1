//! The network: connections with latency and bandwidth, what is lost comes later, partitions, NAT.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use swarm::Leg;

use crate::node::{LinkId, Session};
use crate::stream::{Chunk, Receiver, split};
use crate::world::{Event, World};

/// A lost segment is sent again after about this long.
const RETRANSMISSION: Duration = Duration::from_millis(250);
/// Who does not answer a handshake.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// A connection whose bytes are not acknowledged for this long is over.
const STARVES: Duration = Duration::from_mins(1);
/// Bytes on their way to a peer before its own are no longer read.
const UNSENT_MAX: u32 = 256 * 1024;
/// Bytes that wait in a receive buffer before a sender has to wait.
const WAITING_MAX: u32 = 1024 * 1024;
/// One segment of this many is cut at a random place.
const CUTS: u32 = 8;

/// A connection between two peers.
pub(crate) struct Link {
    pub(crate) ends: [usize; 2],
    pub(crate) open: [bool; 2],
    pub(crate) by: Leg,
    latency: Duration,
    /// When the last byte to each end arrives.
    arrives_after: [Duration; 2],
    /// What is on its way to each end, and what waits in its downlink: always in order.
    flying: [VecDeque<Vec<Chunk>>; 2],
    landed: [VecDeque<Vec<Chunk>>; 2],
    /// Arrivals that a partition holds back.
    stuck: [u32; 2],
    /// Bytes on their way to each end, bodies left out.
    unread: [u32; 2],
    /// What came to each end and is not read: its own answers are not taken.
    waiting: [Vec<Chunk>; 2],
}

impl World {
    pub(crate) fn latency(&mut self) -> Duration {
        let (least, most) = self.plan.latency;
        let spread = most.saturating_sub(least).as_nanos() as u64;
        least + Duration::from_nanos(self.rng.u64(0..=spread))
    }

    pub(crate) fn is_separated(&self, a: usize, b: usize) -> bool {
        self.apart.contains(&a) != self.apart.contains(&b)
    }

    pub(crate) fn end_of(&self, link: LinkId, node: usize) -> usize {
        usize::from(self.links[link].ends[1] == node)
    }

    /// A connection is made. One by uTP comes from where its owner listens, whatever NAT is before it.
    pub(crate) fn connect(
        &mut self,
        node: usize,
        target: usize,
        addr: SocketAddr,
        leg: Leg,
    ) -> LinkId {
        let latency = self.latency();
        let link = self.links.len();
        self.links.push(Link {
            ends: [node, target],
            open: [true; 2],
            by: leg,
            latency,
            arrives_after: [self.now; 2],
            flying: [VecDeque::new(), VecDeque::new()],
            landed: [VecDeque::new(), VecDeque::new()],
            stuck: [0; 2],
            unread: [0; 2],
            waiting: [Vec::new(), Vec::new()],
        });
        let port = self.rng.u16(20_000..60_000);
        let from = self.nodes[node].addr;
        let from = if leg == Leg::Utp { from } else { SocketAddr::new(from.ip(), port) };
        if leg == Leg::Tcp {
            self.came_in(target, from);
        }
        for (end, outgoing, addr) in [(0, true, addr), (1, false, from)] {
            let session = Session {
                receiver: Receiver::default(),
                key: None,
                outgoing,
                addr,
                said: 0,
                heard: false,
            };
            self.nodes[[node, target][end]].links.insert(link, session);
            self.queue.push(self.now + HANDSHAKE_LIMIT, Event::HandshakeDue { link, end });
        }
        self.trace.number((node as u64) << 32 | target as u64);
        link
    }

    pub(crate) fn handshake_due(&mut self, link: LinkId, end: usize) {
        let node = self.links[link].ends[end];
        if self.nodes[node].links.get(&link).is_some_and(|session| !session.heard) {
            self.leave(node, link);
        }
    }

    /// Sends on a connection, over the peer's uplink.
    pub(crate) fn transmit(&mut self, node: usize, link: LinkId, chunks: Vec<Chunk>) {
        let to = 1 - self.end_of(link, node);
        if !self.links[link].open[1 - to] {
            return;
        }
        let bytes: u32 = chunks.iter().map(Chunk::len).sum();
        let uplink = &mut self.nodes[node];
        let begins = uplink.uplink_free.max(self.now);
        let takes = transmission(bytes, uplink.plan.up);
        uplink.uplink_free = begins + takes;
        // A small message does not wait for other connections' data: senders share fairly.
        let has_body = chunks.iter().any(|chunk| matches!(chunk, Chunk::Body { .. }));
        let leaves = if has_body { begins + takes } else { self.now + takes };
        let mut path = self.links[link].latency;
        while self.plan.loss > 0 && self.rng.u32(0..1_000_000) < self.plan.loss {
            path += RETRANSMISSION + self.links[link].latency * 2;
        }
        if self.plan.resets > 0 && self.rng.u32(0..1_000_000) < self.plan.resets {
            self.reset(link);
            return;
        }
        self.links[link].unread[to] += small_bytes(&chunks);
        let arrives = (leaves + path).max(self.links[link].arrives_after[to]);
        if bytes > 1 && self.rng.u32(0..CUTS) == 0 {
            let later = arrives + Duration::from_micros(self.rng.u64(1..3000));
            let (first, rest) = split(chunks, self.rng.u32(1..bytes));
            self.links[link].arrives_after[to] = later;
            self.links[link].flying[to].extend([first, rest]);
            self.queue.push(arrives, Event::Arrive { link, to });
            self.queue.push(later, Event::Arrive { link, to });
        } else {
            self.links[link].arrives_after[to] = arrives;
            self.links[link].flying[to].push_back(chunks);
            self.queue.push(arrives, Event::Arrive { link, to });
        }
    }

    pub(crate) fn arrive(&mut self, link: LinkId, to: usize) {
        let [a, b] = self.links[link].ends;
        if self.is_separated(a, b) {
            self.links[link].stuck[to] += 1;
            return;
        }
        let Some(chunks) = self.links[link].flying[to].pop_front() else { return };
        let bytes: u32 = chunks.iter().map(Chunk::len).sum();
        let node = &mut self.nodes[self.links[link].ends[to]];
        let idle = node.downlink_free < self.now;
        let through = node.downlink_free.max(self.now) + transmission(bytes, node.plan.down);
        node.downlink_free = through;
        self.links[link].landed[to].push_back(chunks);
        if idle {
            self.deliver(link, to);
        } else {
            self.queue.push(through, Event::Deliver { link, to });
        }
    }

    pub(crate) fn deliver(&mut self, link: LinkId, to: usize) {
        let Some(chunks) = self.links[link].landed[to].pop_front() else { return };
        let node = self.links[link].ends[to];
        let state = &mut self.links[link];
        state.unread[to] = state.unread[to].saturating_sub(small_bytes(&chunks));
        if state.open[to] {
            self.note(link, to, &chunks);
            if self.is_choked_up(link, to) {
                self.links[link].waiting[to].extend(chunks);
            } else {
                self.receive(node, link, chunks);
            }
        }
        // The other end's answers are taken again: it reads on.
        let other = 1 - to;
        if !self.links[link].waiting[other].is_empty() && !self.is_choked_up(link, other) {
            let chunks = std::mem::take(&mut self.links[link].waiting[other]);
            if self.links[link].open[other] {
                self.receive(self.links[link].ends[other], link, chunks);
            }
        }
    }

    fn note(&mut self, link: LinkId, to: usize, chunks: &[Chunk]) {
        self.trace.number((link as u64) << 1 | to as u64);
        for chunk in chunks {
            match chunk {
                Chunk::Bytes(bytes) => self.trace.bytes(bytes),
                Chunk::Body { content, bytes } => self.trace.number(content ^ u64::from(*bytes)),
            }
        }
    }

    /// Whether the end's own messages are not taken, so that it does not read more.
    fn is_choked_up(&self, link: LinkId, end: usize) -> bool {
        self.links[link].unread[1 - end] > UNSENT_MAX
    }

    /// Whether a sender has to wait for the other end to read.
    pub(crate) fn is_backed_up(&self, node: usize, link: LinkId) -> bool {
        let to = 1 - self.end_of(link, node);
        let state = &self.links[link];
        let waiting: u32 = state.waiting[to].iter().map(Chunk::len).sum();
        waiting + state.unread[to] > WAITING_MAX
    }

    /// The peer ends a connection; the other end hears of it.
    pub(crate) fn leave(&mut self, node: usize, link: LinkId) {
        let end = self.end_of(link, node);
        if std::mem::replace(&mut self.links[link].open[end], false) {
            let to = 1 - end;
            let at = self.links[link].arrives_after[to].max(self.now + self.links[link].latency);
            self.queue.push(at, Event::Closed { link, to });
        }
        self.forget(node, link);
    }

    pub(crate) fn hears_close(&mut self, link: LinkId, to: usize) {
        let [a, b] = self.links[link].ends;
        if self.is_separated(a, b) {
            self.queue.push(self.now + STARVES / 4, Event::Closed { link, to });
            return;
        }
        if std::mem::replace(&mut self.links[link].open[to], false) {
            self.forget(self.links[link].ends[to], link);
        }
    }

    /// Both ends lose the connection at once.
    pub(crate) fn reset(&mut self, link: LinkId) {
        for end in 0..2 {
            // Not in the middle of what an end is doing: it hears of it next.
            self.queue.push(self.now, Event::Closed { link, to: end });
        }
    }

    /// A machine is gone without a word: its connections are over, and the others notice late.
    pub(crate) fn vanishes(&mut self, node: usize, noticed_after: Duration) {
        for link in self.nodes[node].links.keys().copied().collect::<Vec<_>>() {
            let end = self.end_of(link, node);
            self.links[link].open[end] = false;
            self.queue.push(self.now + noticed_after, Event::Closed { link, to: 1 - end });
        }
        self.nodes[node].links.clear();
    }

    pub(crate) fn begins_partition(&mut self) {
        for link in 0..self.links.len() {
            let [a, b] = self.links[link].ends;
            if self.links[link].open == [true; 2] && self.is_separated(a, b) {
                let at = self.now + STARVES + Duration::from_millis(self.rng.u64(0..5000));
                self.queue.push(at, Event::Starved { link });
            }
        }
    }

    pub(crate) fn starved(&mut self, link: LinkId) {
        let [a, b] = self.links[link].ends;
        if !self.is_separated(a, b) || self.links[link].stuck == [0; 2] {
            return;
        }
        for end in 0..2 {
            if std::mem::replace(&mut self.links[link].open[end], false) {
                self.forget(self.links[link].ends[end], link);
            }
        }
    }

    /// What was held back is sent again.
    pub(crate) fn ends_partition(&mut self) {
        for link in 0..self.links.len() {
            for to in 0..2 {
                let stuck = std::mem::take(&mut self.links[link].stuck[to]);
                if stuck == 0 {
                    continue;
                }
                let wait = Duration::from_millis(self.rng.u64(0..2000));
                let at = (self.now + wait).max(self.links[link].arrives_after[to]);
                self.links[link].arrives_after[to] = at;
                for _ in 0..stuck {
                    self.queue.push(at, Event::Arrive { link, to });
                }
            }
        }
    }
}

/// Bytes of everything but blocks' data.
fn small_bytes(chunks: &[Chunk]) -> u32 {
    chunks.iter().filter(|chunk| matches!(chunk, Chunk::Bytes(_))).map(Chunk::len).sum()
}

/// How long bytes take on a line.
pub(crate) fn transmission(bytes: u32, rate: u64) -> Duration {
    Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / rate.max(1))
}
