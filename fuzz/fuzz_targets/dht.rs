//! A DHT node among strangers: whatever packets come, from wherever and whenever, it answers little,
//! sends packets that it would itself understand, keeps its bounds, and its timers lie ahead.
//!
//! The input is a list of steps: a head of four bytes (what, from whom, how long after, length) and
//! a packet. In a packet `%T` stands for the id of a query that the node sent to that stranger.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dht::{Announce, Dht, Id, PeersQuery, SecretKey, Settings};
use libfuzzer_sys::fuzz_target;

fn stranger(n: u8) -> SocketAddr {
    match n % 4 {
        0 => SocketAddr::from(([127, 0, 0, 1], 1000 + u16::from(n))),
        1 => SocketAddr::from(([2, n, 7, 8], 6881)),
        2 => SocketAddr::from(([0x2600, 0, u16::from(n), 0, 0, 0, 0, 1], 6881)),
        _ => SocketAddr::from(([192, 168, 0, n], 0)),
    }
}

/// The id of a query, which we write ourselves: four bytes behind `1:t4:`.
fn transaction(packet: &[u8]) -> Option<[u8; 4]> {
    let at = packet.windows(5).position(|window| window == b"1:t4:")?;
    packet.get(at + 5..at + 9)?.try_into().ok()
}

fuzz_target!(|input: &[u8]| {
    let mut now = Duration::ZERO;
    let mut dht = Dht::new(Settings::default(), [7; 32], now);
    let v4 = dht.add_interface(now, "8.8.8.8:6881".parse().expect("an address"));
    let v6 = dht.add_interface(now, "[2600::8]:6881".parse().expect("an address"));
    (0..3).for_each(|n| dht.add_bootstrap(now, stranger(n)));
    let mut asked: BTreeMap<SocketAddr, [u8; 4]> = BTreeMap::new();
    let mut rest = input;
    while let Some((&[what, who, wait, length], tail)) = rest.split_first_chunk::<4>() {
        let (packet, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        now += Duration::from_millis(u64::from(wait) * u64::from(wait));
        let from = stranger(who);
        let target = Id([who; 20]);
        let mut allowed = 0;
        match what % 12 {
            0 => drop(dht.find_node(now, target)),
            1 => {
                let announce = Announce { port: 1, port_v6: None, is_port_implied: who & 1 == 0, is_seed: true };
                let query = PeersQuery { announce: Some(announce), no_seeds: false, scrape: true };
                dht.get_peers(now, target, query);
            }
            2 => drop(dht.get_item(now, target)),
            3 => drop(dht.put_item(now, packet)),
            4 => {
                let key = SecretKey::from_seed(&[who; 32]);
                let _ = dht.put_mutable_item(now, &key, b"s", b"1:x", None, Some(1));
            }
            5 => drop(dht.sample(now, target)),
            6 => dht.add_candidate(now, from),
            7 => drop(dht.ping(now, from)),
            _ => {
                let id = asked.get(&from).copied().unwrap_or_default();
                let mut bytes = Vec::new();
                let mut left = packet;
                while let Some((&byte, tail)) = left.split_first() {
                    if byte == b'%' && tail.first() == Some(&b'T') {
                        bytes.extend(id);
                        left = &tail[1..];
                    } else {
                        bytes.push(byte);
                        left = tail;
                    }
                }
                allowed = bytes.len();
                let over = if from.is_ipv4() { v4 } else { v6 };
                dht.handle_packet(now, over, from, &bytes);
            }
        }
        if dht.poll_timeout().is_some_and(|at| at <= now) {
            dht.handle_timeout(now);
            let next = dht.poll_timeout().expect("there are sockets");
            assert!(next > now, "it would spin");
        }
        while let Some(packet) = dht.poll_transmit() {
            assert!(packet.bytes.len() <= 1400 && packet.bytes.starts_with(b"d"));
            assert_ne!(packet.to.port(), 0);
            let is_query = packet.bytes.windows(6).any(|window| window == b"1:y1:q");
            if is_query && let Some(id) = transaction(&packet.bytes) {
                asked.insert(packet.to, id);
            } else if packet.to == from {
                assert!(allowed > 0 && packet.bytes.len() <= 1280, "an answer to a packet");
            }
        }
        while dht.poll_event().is_some() {}
        let status = dht.status(now);
        assert!(status.in_flight <= 1024 && status.torrents <= 20_000 && status.items <= 1_000);
    }
    let saved = dht.export();
    assert!(Dht::new(Settings::default(), [8; 32], now).import(&saved, true));
    let _ = Dht::new(Settings::default(), [8; 32], now).import(input, false);
});
