//! Peers by a name that a proxy alone can look up: the address that stands in for one is told nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Action, Fault, Hello, IpFilterBuilder, Refusal, Settings, Source};
use wire::{Bitfield, ExtendedHandshake, Extension, Message, PexFlags, PexMessage, Reserved};

use crate::script::{Script, config, extended};

/// The id by which the scripted peers want peer exchange.
const THEIR_ID: u8 = 33;

fn stand_in(random: u64) -> SocketAddr {
    SocketAddr::new(swarm::named_peer_ip(random), 6881)
}

/// A peer that we dialled by its name.
fn named(number: u8) -> Hello {
    let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 1]);
    Hello { addr: stand_in(number.into()), outgoing: true, reserved, ..extended(number) }
}

fn exchanges() -> ExtendedHandshake {
    let extensions = vec![(Extension::PeerExchange.name().into(), THEIR_ID)];
    ExtendedHandshake { extensions, ..ExtendedHandshake::default() }
}

#[test]
fn it_is_dialled_like_any_other() {
    let mut script = Script::leecher(8);
    script.swarm.add_candidates(script.now, Source::User, &[stand_in(1)]);
    script.swarm.add_candidates(script.now, Source::Link, &[stand_in(1), stand_in(2)]);
    let dials: Vec<_> = std::iter::from_fn(|| script.swarm.next_dial(script.now)).collect();
    assert_eq!(dials.len(), 2, "{dials:?}");
    assert!(dials.contains(&stand_in(1)) && dials.contains(&stand_in(2)));
}

#[test]
fn it_is_not_told_the_address_as_its_own() {
    let mut script = Script::leecher(8);
    script.joins(named(1));
    let ours = script.actions().into_iter().find_map(|action| match action {
        Action::SendExtended { id: 0, payload, .. } => ExtendedHandshake::decode(&payload).ok(),
        _ => None,
    });
    assert_eq!(ours.unwrap().yourip, None);
}

#[test]
fn others_do_not_hear_of_it_and_it_hears_of_others() {
    let mut script = Script::leecher(8);
    let peers = [named(1), named(2), Hello { outgoing: true, ..extended(3) }];
    let public = peers[2].addr;
    for hello in peers {
        let peer = script.joins(hello);
        script.handshake(peer, &exchanges());
    }
    script.actions();
    script.later(Duration::from_mins(2));
    let told = |action| match action {
        Action::SendExtended { id: THEIR_ID, payload, .. } => PexMessage::decode(&payload).ok(),
        _ => None,
    };
    let told: Vec<_> = script.actions().into_iter().filter_map(told).collect();
    assert_eq!(told.len(), 2, "each of the two by name: {told:?}");
    for message in told {
        assert_eq!(message.added.iter().map(|(addr, _)| *addr).collect::<Vec<_>>(), [public]);
    }
}

#[test]
fn another_port_of_its_is_of_no_use() {
    let mut script = Script::leecher(8);
    script.swarm.add_candidates(script.now, Source::User, &[stand_in(1)]);
    assert_eq!(script.swarm.next_dial(script.now), Some(stand_in(1)));
    let peer = script.joins(named(1));
    for port in [7000, 7001] {
        script.handshake(peer, &ExtendedHandshake { port: Some(port), ..exchanges() });
    }
    script.leaves(peer);
    script.later(Duration::from_hours(1));
    let dials: Vec<_> = std::iter::from_fn(|| script.swarm.next_dial(script.now)).collect();
    assert_eq!(dials, [stand_in(1)]);
}

#[test]
fn nobody_can_send_us_to_one() {
    let mut script = Script::leecher(8);
    let teller = script.joins(named(1));
    script.handshake(teller, &exchanges());
    let added = vec![(stand_in(2), PexFlags::default()), (stand_in(1), PexFlags::default())];
    let payload = PexMessage { added, dropped: Vec::new() }.encode();
    let id = Extension::PeerExchange.our_id();
    script.says(teller, &Message::Extended { id, payload: &payload });
    assert_eq!(script.swarm.next_dial(script.now), None);
}

#[test]
fn who_has_an_ip_filter_has_none_and_keeps_web_seeds() {
    let filter = |list: &str| {
        let mut builder = IpFilterBuilder::default();
        builder.line(list.as_bytes()).unwrap();
        Arc::new(builder.build().unwrap())
    };
    for list in ["198.51.100.0/24", "::/0"] {
        let mut script = Script::leecher(8);
        let by_name = script.joins(named(1));
        script.swarm.add_web_seed(script.now, 0).unwrap();
        script.swarm.set_ip_filter(script.now, filter(list));
        let closed = |action| match action {
            Action::Disconnect { peer, reason } => Some((peer, reason)),
            _ => None,
        };
        let closed: Vec<_> = script.actions().into_iter().filter_map(closed).collect();
        assert_eq!(closed, [(by_name, Fault::Filtered)], "{list}");
        assert_eq!(script.refused(named(2)), Refusal::Filtered, "{list}");
        script.swarm.add_candidates(script.now, Source::Link, &[stand_in(3)]);
        assert_eq!(script.swarm.next_dial(script.now), None, "{list}");
        // Without one they are like others again.
        script.swarm.set_ip_filter(script.now, Arc::default());
        script.joins(named(2));
    }
}

#[test]
fn its_dht_port_is_of_no_use() {
    let settings = Settings { dht_ports: Some(6881.into()), ..Settings::default() };
    let mut script = Script::start(swarm::Config { settings, ..config(8, Bitfield::new(8)) });
    let by_name = script.joins(named(1));
    let by_address = script.joins(extended(2));
    script.actions();
    script.says(by_name, &Message::Port(7000));
    script.says(by_address, &Message::Port(7000));
    let nodes = |action| match action {
        Action::DhtNode { addr } => Some(addr.ip()),
        _ => None,
    };
    let nodes: Vec<_> = script.actions().into_iter().filter_map(nodes).collect();
    assert_eq!(nodes, [extended(2).addr.ip()]);
}
