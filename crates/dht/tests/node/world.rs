//! A few nodes, wires of 20 ms between them, and a clock that jumps from event to event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dht::{Dht, Event, InterfaceId, OperationId, Outcome, Settings};

const LATENCY: Duration = Duration::from_millis(20);

pub(crate) struct Node {
    pub(crate) dht: Dht,
    pub(crate) interface: InterfaceId,
    /// Its sockets' addresses; the first is that of `interface`.
    pub(crate) addrs: Vec<(SocketAddr, InterfaceId)>,
    pub(crate) events: Vec<Event>,
    pub(crate) is_up: bool,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    /// Sender, addressee, bytes; by time of arrival, and order of sending.
    wire: BTreeMap<(Duration, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
}

/// The n-th address: public, and no two in one network.
pub(crate) fn addr(n: usize) -> SocketAddr {
    let n = n as u8;
    SocketAddr::from(([50 + n, n, 7, 9], 6881))
}

impl World {
    /// So many nodes, each of which knows the first.
    pub(crate) fn of(count: usize) -> Self {
        let mut world = Self::default();
        for n in 0..count {
            world.add(addr(n), Settings::default());
            if n > 0 {
                let now = world.now;
                world.nodes[n].dht.add_bootstrap(now, addr(0));
            }
        }
        world.run(Duration::from_mins(1));
        world
    }

    pub(crate) fn add(&mut self, addr: SocketAddr, settings: Settings) -> usize {
        let n = self.nodes.len();
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let mut dht = Dht::new(settings, seed, self.now);
        let interface = dht.add_interface(self.now, addr);
        let addrs = vec![(addr, interface)];
        self.nodes.push(Node { dht, interface, addrs, events: Vec::new(), is_up: true });
        n
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.run_until(until, |_| false);
        self.now = until;
    }

    /// Until something is so, or a time has come.
    pub(crate) fn run_until(&mut self, until: Duration, mut is_so: impl FnMut(&mut Self) -> bool) {
        loop {
            self.flush();
            if is_so(self) {
                return;
            }
            let timers = self.nodes.iter().filter(|node| node.is_up);
            let timer = timers.filter_map(|node| node.dht.poll_timeout()).min();
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timer.into_iter().chain(arrival).min().filter(|at| *at <= until)
            else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
                let (from, to, bytes) = entry.remove();
                for node in self.nodes.iter_mut().filter(|node| node.is_up) {
                    let over = node.addrs.iter().find(|(addr, _)| *addr == to);
                    if let Some((_, interface)) = over {
                        node.dht.handle_packet(self.now, *interface, from, &bytes);
                    }
                }
            }
            for node in self.nodes.iter_mut().filter(|node| node.is_up) {
                if node.dht.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.dht.handle_timeout(self.now);
                }
            }
        }
    }

    fn flush(&mut self) {
        for node in &mut self.nodes {
            while let Some(packet) = node.dht.poll_transmit() {
                assert!(packet.bytes.len() <= 1400 && packet.bytes.starts_with(b"d"));
                let at = (self.now + LATENCY, self.sent);
                self.sent += 1;
                let from = node.addrs.iter().find(|(_, over)| *over == packet.interface);
                if let Some((from, _)) = from.filter(|_| node.is_up) {
                    self.wire.insert(at, (*from, packet.to, packet.bytes));
                }
            }
            while let Some(event) = node.dht.poll_event() {
                node.events.push(event);
            }
        }
    }

    /// Runs until an operation of a node is over; at most a minute.
    pub(crate) fn outcome(&mut self, node: usize, operation: OperationId) -> Outcome {
        let mut outcome = None;
        self.run_until(self.now + Duration::from_mins(1), |world| {
            outcome = world.nodes[node].events.iter().find_map(|event| match event {
                Event::Finished { operation: this, outcome } if *this == operation => {
                    Some(outcome.clone())
                }
                _ => None,
            });
            outcome.is_some()
        });
        outcome.expect("every operation comes to an end")
    }

    /// Peers that an operation of a node has found.
    pub(crate) fn peers(&self, node: usize, operation: OperationId) -> Vec<SocketAddr> {
        let events = self.nodes[node].events.iter();
        let peers = events.filter_map(|event| match event {
            Event::Peers { operation: this, peers, .. } if *this == operation => Some(peers),
            _ => None,
        });
        peers.flatten().copied().collect()
    }

    /// What a node sends when it is given one packet.
    pub(crate) fn reply(&mut self, node: usize, from: SocketAddr, packet: &[u8]) -> Vec<Vec<u8>> {
        self.flush();
        let node = &mut self.nodes[node];
        node.dht.handle_packet(self.now, node.interface, from, packet);
        std::iter::from_fn(|| node.dht.poll_transmit())
            .filter(|packet| packet.to == from)
            .map(|packet| packet.bytes)
            .collect()
    }
}
