//! The brain of a torrent without metadata (BEP 9) and its messages, under any course of peers: nothing
//! is found that does not fit the hash, and nobody is asked for what they did not offer.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metainfo::{InfoHash, InfoHashes};
use swarm::{Hello, Metadata, MetadataAction, MetadataConfig, PeerKey};
use wire::{Message, MetadataMessage, PeerId, Reserved};

fn hello(number: u8) -> Hello {
    Hello {
        addr: SocketAddr::from(([10, 0, number % 7, number], 6881)),
        peer_id: PeerId([number; 20]),
        outgoing: false,
        reserved: Reserved::ours(),
    }
}

fuzz_target!(|input: &[u8]| {
    if let Some(message) = MetadataMessage::decode(input) {
        let encoded = message.encode();
        assert_eq!(MetadataMessage::decode(&encoded), Some(message));
    }
    // SHA-1("abc"), FIPS 180-2: only these three bytes may be found.
    let hash: InfoHash = "a9993e364706816aba3e25717850c26c9cd0d89d".parse().unwrap();
    let mut brain = Metadata::new(
        Duration::ZERO,
        MetadataConfig {
            hashes: InfoHashes::new(Some(hash), None).unwrap(),
            listen_ports: swarm::OwnPorts::default(),
            client_version: String::new(),
            own_peer_id: PeerId([0; 20]),
            seed: 1,
        },
    );
    let (mut peers, mut now): (Vec<PeerKey>, _) = (Vec::new(), Duration::ZERO);
    let mut rest = input;
    while let [what, which, length, tail @ ..] = rest {
        let (part, after) = tail.split_at(tail.len().min(usize::from(*length)));
        let peer = peers.get(usize::from(*which) % peers.len().max(1)).copied();
        match (what % 6, peer) {
            (0, _) => peers.extend(brain.add_peer(now, hello(*which))),
            (1, Some(peer)) => {
                peers.retain(|other| *other != peer);
                brain.remove_peer(now, peer);
            }
            (2, _) => {
                now += Duration::from_millis(u64::from(*which) * 200);
                brain.tick(now);
            }
            (id, Some(peer)) => {
                // 0 is the handshake, 3 our id for the metadata.
                let id = if id == 3 { 0 } else { 3 };
                brain.handle(now, peer, &Message::Extended { id, payload: part });
            }
            _ => {}
        }
        rest = if what % 6 < 3 { tail } else { after };
        while let Some(action) = brain.poll_action() {
            match action {
                MetadataAction::Found(info) => assert_eq!(info, b"abc"),
                MetadataAction::Disconnect { peer, .. } => {
                    peers.retain(|other| *other != peer);
                    brain.remove_peer(now, peer);
                }
                _ => {}
            }
        }
        let stats = brain.stats();
        assert!(stats.received <= stats.size.unwrap_or(0) && stats.offering <= stats.peers);
    }
});
