//! Whom the user's IP filter refuses: not let in, not dialled, sent away when the filter changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swarm::{
    Fault, IpFilter, IpFilterBuilder, Metadata, MetadataConfig, OwnPorts, Refusal, Source,
};
use wire::{ExtendedHandshake, PexFlags, PexMessage};

use crate::script::{OWN_ID, Script, addr, extended, plain};

fn filter(list: &str) -> Arc<IpFilter> {
    let mut builder = IpFilterBuilder::default();
    for line in list.lines() {
        builder.line(line.as_bytes()).unwrap();
    }
    Arc::new(builder.build().unwrap())
}

#[test]
fn no_source_brings_a_refused_address_to_be_dialled() {
    let mut script = Script::leecher(4);
    script.swarm.set_ip_filter(script.now, filter("192.0.2.1-192.0.2.9"));
    let sources = [
        Source::User,
        Source::Tracker,
        Source::Incoming,
        Source::PeerExchange,
        Source::LocalDiscovery,
        Source::Dht,
        Source::Link,
    ];
    for source in sources {
        script.swarm.add_candidates(script.now, source, &[addr(1), addr(9)]);
    }
    assert_eq!(script.swarm.next_dial(script.now), None);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(10)]);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(10)));
    let stats = script.swarm.stats(script.now);
    assert_eq!((stats.filtered, stats.candidates), (14, 1));
}

#[test]
fn what_peers_tell_is_filtered_too() {
    let mut script = Script::leecher(4);
    script.swarm.set_ip_filter(script.now, filter("192.0.2.7\n"));
    let peer = script.joins(extended(20));
    let handshake = ExtendedHandshake {
        extensions: vec![("ut_pex".into(), 1)],
        ..ExtendedHandshake::default()
    };
    script.handshake(peer, &handshake);
    let pex = PexMessage {
        added: vec![(addr(7), PexFlags::default()), (addr(8), PexFlags::default())],
        dropped: Vec::new(),
    };
    let payload = pex.encode();
    let id = wire::Extension::PeerExchange.our_id();
    script.says(peer, &wire::Message::Extended { id, payload: &payload });
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(8)));
    assert_eq!(script.swarm.next_dial(script.now), None);
}

#[test]
fn a_refused_peer_is_not_let_in_and_one_refused_since_has_to_go() {
    let mut script = Script::leecher(4);
    let (stays, goes) = (script.joins(plain(1)), script.joins(plain(2)));
    script.swarm.set_ip_filter(script.now, filter("192.0.2.2/32\n192.0.2.3/32\n"));
    assert_eq!(script.refused(plain(3)), Refusal::Filtered);
    assert_eq!(script.closes(goes), Some(Fault::Filtered));
    script.leaves(goes);
    assert_eq!(script.closes(stays), None);
    // And another filter lets them in again.
    script.swarm.set_ip_filter(script.now, Arc::default());
    script.joins(plain(2));
    script.joins(plain(3));
}

#[test]
fn addresses_known_before_are_forgotten_also_those_under_way() {
    let mut script = Script::leecher(4);
    script.swarm.add_candidates(script.now, Source::User, &[addr(1), addr(2), addr(3)]);
    let dialled = script.swarm.next_dial(script.now).unwrap();
    script.swarm.set_ip_filter(script.now, filter("192.0.2.0/24"));
    assert_eq!(script.swarm.next_dial(script.now), None);
    script.swarm.dial_failed(script.now, dialled);
    let stats = script.swarm.stats(script.now);
    assert_eq!((stats.candidates, stats.half_open), (0, 0));
    script.later(Duration::from_hours(1));
    assert_eq!(script.swarm.next_dial(script.now), None);
}

#[test]
fn a_search_for_metadata_keeps_to_it() {
    let config = MetadataConfig {
        hashes: metainfo::InfoHashes::new(Some(metainfo::InfoHash([1; 20])), None).unwrap(),
        listen_ports: OwnPorts::default(),
        client_version: "test".into(),
        own_peer_id: OWN_ID,
        seed: 1,
    };
    let now = Duration::ZERO;
    let mut brain = Metadata::new(now, config);
    let peer = brain.add_peer(now, plain(5)).unwrap();
    brain.set_ip_filter(now, filter("192.0.2.0/29"));
    let closed = std::iter::from_fn(|| brain.poll_action()).any(|action| {
        matches!(action, swarm::MetadataAction::Disconnect { peer: whose, .. } if whose == peer)
    });
    assert!(closed);
    brain.remove_peer(now, peer);
    assert_eq!(brain.add_peer(now, plain(6)), Err(Refusal::Filtered));
    let addrs: Vec<SocketAddr> = (1..10).map(addr).collect();
    brain.add_candidates(now, Source::Link, &addrs);
    assert_eq!(brain.next_dial(now), Some(addr(8)));
    assert_eq!(brain.next_dial(now), Some(addr(9)));
    assert_eq!(brain.next_dial(now), None);
    assert_eq!(brain.stats().filtered, 7);
}
