//! uTP: an endpoint in the middle of transfers, strangers' packets, and a peer's own ones lost,
//! repeated, late and bent. Streams arrive whole or end, no timer stands still in the past, and
//! nobody gets more bytes than he paid for before he proved his address.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use utp::{Config, ConnectionId, Endpoint, Event, Header, Kind, Packet, Seq};

const STRANGER: usize = 2;

struct Node {
    endpoint: Endpoint,
    ids: Vec<ConnectionId>,
    written: usize,
    read: usize,
    /// Somebody guessed our first number, and so proved an address that is not his.
    guessed: bool,
}

fn addr(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], 1))
}

/// What a stream holds at a place.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl Node {
    fn new(seed: u64) -> Self {
        let config = Config { receive_bytes: 60_000, held_bytes_max: 40_000, ..Config::new(seed) };
        let endpoint = Endpoint::new(config);
        Self { endpoint, ids: Vec::new(), written: 0, read: 0, guessed: false }
    }

    /// Does all that it can. A stream that somebody tampered with is not looked at.
    fn works(&mut self, now: Duration, network: &mut Vec<(SocketAddr, Vec<u8>)>, tampered: bool) {
        self.endpoint.tick(now);
        while let Some(event) = self.endpoint.event() {
            if let Event::Incoming(id) = event {
                self.guessed |= self.endpoint.remote(id) == Some(addr(STRANGER));
                self.ids.push(id);
            }
        }
        if let (Some(&id), false) = (self.ids.first(), tampered) {
            let bytes: Vec<u8> = (self.written..self.written + 3_000).map(byte).collect();
            self.written += self.endpoint.write(id, &bytes).unwrap_or(0);
            let mut buffer = [0; 5_000];
            let count = self.endpoint.read(id, &mut buffer).unwrap_or(0);
            for (place, got) in buffer[..count].iter().enumerate() {
                assert_eq!(*got, byte(self.read + place));
            }
            self.read += count;
        }
        let (mut buffer, mut bursts) = (Vec::new(), 0);
        while let Some(burst) = self.endpoint.transmit(now, 4, &mut buffer) {
            for datagram in buffer.chunks(burst.segment) {
                assert!(datagram.len() <= 1_472 && Packet::decode(datagram).is_some());
                network.push((burst.remote, datagram.to_vec()));
            }
            bursts += 1;
            assert!(bursts < 10_000, "it never stops sending");
        }
        assert!(self.endpoint.due().is_none_or(|due| due > now), "a timer in the past");
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = Packet::decode(input);
    let mut nodes = [Node::new(1), Node::new(2)];
    let mut network: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    let mut now = Duration::from_micros((1 << 32) - 3_000_000);
    let id = nodes[0].endpoint.connect(now, addr(1), None);
    nodes[0].ids.extend(id);
    let (mut paid, mut owed, mut tampered) = (0_usize, 0_usize, false);
    for step in input.chunks_exact(3) {
        let [what, a, b] = *step else { return };
        match what % 12 {
            0..=3 => now += Duration::from_micros(u64::from(b) << (a % 16)),
            4..=6 if !network.is_empty() => {
                // In order mostly, and sometimes once more.
                let place = if b < 200 { 0 } else { usize::from(a) % network.len() };
                let (to, bytes) = network.remove(place);
                let node = usize::from(to == addr(1));
                nodes[node].endpoint.handle(now, addr(1 - node), None, &bytes);
                if b & 1 == 1 {
                    network.push((to, bytes));
                }
            }
            7 if !network.is_empty() => drop(network.remove(usize::from(a) % network.len())),
            8 => {
                let kinds = [Kind::Syn, Kind::Data, Kind::Fin, Kind::State, Kind::Reset];
                let header = Header {
                    kind: kinds[usize::from(a) % 5],
                    connection: u16::from(b % 16),
                    sent_at: u32::from(a) << 24,
                    delay: u32::from(b) << 20,
                    window: u32::from(a) << 8,
                    seq: Seq(u16::from(b)),
                    ack: Seq(u16::from(a)),
                };
                let mut bytes = Vec::new();
                header.encode_sack(&input[..(input.len() / 4 * 4).min(252)], &mut bytes);
                paid += bytes.len();
                nodes[usize::from(b & 1)].endpoint.handle(now, addr(STRANGER), None, &bytes);
            }
            9 if !network.is_empty() => {
                // A packet of the peer's own, bent.
                let (to, mut bytes) = network.swap_remove(usize::from(b) % network.len());
                let place = usize::from(a) % bytes.len();
                bytes[place] ^= b | 1;
                let node = usize::from(to == addr(1));
                nodes[node].endpoint.handle(now, addr(1 - node), None, &bytes);
                tampered = true;
            }
            10 if b > 250 => {
                let node = &mut nodes[usize::from(a & 1)];
                if let Some(id) = node.ids.pop() {
                    node.endpoint.close(id);
                    tampered = true; // what comes next is another stream
                }
            }
            _ => {}
        }
        for node in &mut nodes {
            node.works(now, &mut network, tampered);
            if node.guessed {
                return;
            }
        }
        network.retain(|(to, bytes)| {
            let is_strangers = *to == addr(STRANGER);
            owed += if is_strangers { bytes.len() } else { 0 };
            !is_strangers
        });
        network.truncate(200);
        assert!(owed <= paid, "{owed} bytes for {paid}");
        if !tampered {
            assert!(nodes[0].read <= nodes[1].written && nodes[1].read <= nodes[0].written);
        }
    }
});
