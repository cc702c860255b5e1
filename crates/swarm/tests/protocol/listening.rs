//! Where a peer says that it listens, and later that it listens elsewhere (BEP 10 `p`).

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Action, Hello, PeerKey, Source};
use wire::{ExtendedHandshake, Extension, HolepunchMessage, PexMessage};

use crate::script::{Script, addr, extended};

const THEIR_PEX: u8 = 33;
const THEIR_HOLEPUNCH: u8 = 34;

fn says(script: &mut Script, peer: PeerKey, port: u16) {
    let extensions = vec![
        (Extension::PeerExchange.name().into(), THEIR_PEX),
        (Extension::Holepunch.name().into(), THEIR_HOLEPUNCH),
    ];
    let port = Some(port);
    script.handshake(peer, &ExtendedHandshake { extensions, port, ..Default::default() });
}

fn comes(script: &mut Script, number: u8) -> PeerKey {
    let hello = extended(number);
    script.joins(Hello { addr: SocketAddr::new(hello.addr.ip(), 50_000), ..hello })
}

fn at(number: u8, port: u16) -> SocketAddr {
    SocketAddr::new(addr(number).ip(), port)
}

fn dials(script: &mut Script) -> Vec<SocketAddr> {
    std::iter::from_fn(|| script.swarm.next_dial(script.now)).collect()
}

/// What one peer is sent by one extension.
fn sent(script: &mut Script, to: PeerKey, by: u8) -> Vec<Vec<u8>> {
    let payload = |action| match action {
        Action::SendExtended { peer, id, payload } if peer == to && id == by => Some(payload),
        _ => None,
    };
    script.actions().into_iter().filter_map(payload).collect()
}

#[test]
fn a_later_port_is_where_others_are_sent() {
    let mut script = Script::leecher(8);
    let (peer, other) = (comes(&mut script, 1), comes(&mut script, 2));
    says(&mut script, peer, 7001);
    says(&mut script, other, 7000);
    script.seconds_later(3);
    let told = sent(&mut script, other, THEIR_PEX);
    let told: Vec<_> = told.iter().map(|bytes| PexMessage::decode(bytes).unwrap()).collect();
    assert_eq!(told[0].added[0].0, at(1, 7001));
    says(&mut script, peer, 7002);
    script.later(Duration::from_secs(63));
    let told = sent(&mut script, other, THEIR_PEX);
    let told: Vec<_> = told.iter().map(|bytes| PexMessage::decode(bytes).unwrap()).collect();
    let added: Vec<_> = told[0].added.iter().map(|(addr, _)| *addr).collect();
    assert_eq!((added, &told[0].dropped), (vec![at(1, 7002)], &vec![at(1, 7001)]));
    // A relay knows it by that address, and names it.
    let payload = HolepunchMessage::Rendezvous(at(1, 7002)).encode();
    let id = Extension::Holepunch.our_id();
    script.says(other, &wire::Message::Extended { id, payload: &payload });
    let answers = sent(&mut script, other, THEIR_HOLEPUNCH);
    let answer = HolepunchMessage::decode(&answers[0]);
    assert_eq!(answer, Some(HolepunchMessage::Connect(at(1, 7002))));
}

#[test]
fn who_left_is_dialled_where_it_said_last() {
    let mut script = Script::leecher(8);
    let peer = comes(&mut script, 1);
    says(&mut script, peer, 7001);
    says(&mut script, peer, 7001);
    says(&mut script, peer, 7002);
    assert_eq!(dials(&mut script), [], "it is connected");
    script.later(Duration::from_mins(2));
    script.leaves(peer);
    script.later(Duration::from_mins(2));
    assert_eq!(dials(&mut script), [at(1, 7002)]);
    assert_eq!(script.swarm.stats(script.now).candidates, 1, "the other is forgotten");
}

#[test]
fn the_address_that_we_dialled_stands_until_the_peer_says_another() {
    let mut script = Script::leecher(8);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1)]);
    assert_eq!(dials(&mut script), [addr(1)]);
    let peer = script.joins(Hello { outgoing: true, ..extended(1) });
    says(&mut script, peer, 7001); // its own name for the port that its router maps
    assert_eq!(script.swarm.stats(script.now).candidates, 1);
    says(&mut script, peer, 7002);
    assert_eq!(script.swarm.stats(script.now).candidates, 2);
    script.later(Duration::from_mins(2));
    script.leaves(peer);
    script.later(Duration::from_mins(2));
    let mut dialled = dials(&mut script);
    dialled.sort();
    assert_eq!(dialled, [addr(1), at(1, 7002)], "what a tracker said may still be true");
}

#[test]
fn an_address_that_another_peer_has_is_not_taken_from_it() {
    let mut script = Script::leecher(8);
    let (peer, liar) = (comes(&mut script, 1), {
        let hello = Hello { addr: at(1, 50_001), ..extended(2) };
        script.joins(hello)
    });
    says(&mut script, peer, 7001);
    says(&mut script, liar, 7001);
    says(&mut script, liar, 7002);
    script.later(Duration::from_mins(2));
    assert_eq!(dials(&mut script), [], "it is still connected");
}

#[test]
fn a_peer_that_moves_without_end_is_followed_a_few_times() {
    let mut script = Script::leecher(8);
    let peer = comes(&mut script, 1);
    for port in 1000..3000 {
        says(&mut script, peer, port);
    }
    script.later(Duration::from_mins(2));
    script.leaves(peer);
    script.later(Duration::from_mins(2));
    assert_eq!(dials(&mut script), [at(1, 1007)]);
}
