//! Holepunching (BEP 55): what any bytes say survives a round trip, and however often a peer says it, a
//! brain answers with no more than one message to each of two peers, and dials a bounded number.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metainfo::{Geometry, InfoHash};
use swarm::{Action, Config, Hello, Swarm};
use wire::{ExtendedHandshake, Extension, HolepunchMessage, Message, PeerId, Reserved};

const THEIR_ID: u8 = 77;

fuzz_target!(|input: &[u8]| {
    if let Some(message) = HolepunchMessage::decode(input) {
        assert_eq!(HolepunchMessage::decode(&message.encode()), Some(message));
    }
    let now = Duration::from_secs(9);
    let mut swarm = Swarm::new(now, config());
    let mut peers = Vec::new();
    for number in 1..4u8 {
        let addr = SocketAddr::from(([192, 0, 2, number], 6881));
        let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
        let hello = Hello { addr, peer_id: PeerId([number; 20]), outgoing: true, reserved };
        let Ok(peer) = swarm.add_peer(now, hello) else { return };
        let extensions = vec![(Extension::Holepunch.name().into(), THEIR_ID)];
        let handshake = ExtendedHandshake { extensions, ..ExtendedHandshake::default() };
        let _ = swarm.handle(now, peer, &Message::Extended { id: 0, payload: &handshake.encode() });
        peers.push(peer);
    }
    while swarm.poll_action().is_some() {}
    let mut dialled = 0;
    for (place, payload) in input.chunks(12).enumerate() {
        let Some(peer) = peers.get(place % peers.len()) else { return };
        let id = Extension::Holepunch.our_id();
        let _ = swarm.handle(now, *peer, &Message::Extended { id, payload });
        let mut said = 0;
        while let Some(action) = swarm.poll_action() {
            said += usize::from(matches!(action, Action::SendExtended { id: THEIR_ID, .. }));
        }
        assert!(said <= 2);
        dialled += usize::from(swarm.next_punch().is_some());
        assert!(swarm.next_punch().is_none());
    }
    assert!(dialled <= 30, "ten of each peer's");
});

fn config() -> Config {
    Config {
        listen_port: Some(6881),
        ..Config::new(
            Geometry::new(16_384, 16_384).unwrap(),
            InfoHash([1; 20]),
            PeerId([0xee; 20]),
            1,
        )
    }
}
