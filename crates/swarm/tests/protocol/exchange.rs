//! Peer exchange (BEP 11), and that private torrents have none of it (BEP 27).

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Action, Hello, PeerKey, Settings};
use wire::{
    Bitfield, ExtendedHandshake, Extension, Message, PeerId, PexFlags, PexMessage, Reserved,
};

use crate::script::{Script, addr, config, extended};

/// The id by which the scripted peers want it.
const THEIR_ID: u8 = 33;

fn listens(port: Option<u16>) -> ExtendedHandshake {
    let extensions = vec![(Extension::PeerExchange.name().into(), THEIR_ID)];
    ExtendedHandshake { extensions, port, ..ExtendedHandshake::default() }
}

/// Comes in from a port of no use to anybody, and says where it listens.
fn joins(script: &mut Script, number: u8, port: Option<u16>) -> PeerKey {
    let hello = extended(number);
    let hello = Hello { addr: SocketAddr::new(hello.addr.ip(), 50_000), ..hello };
    let peer = script.joins(hello);
    script.handshake(peer, &listens(port));
    peer
}

/// What peers are told, and whom each message is for.
fn told(script: &mut Script) -> Vec<(PeerKey, PexMessage)> {
    let message = |action| match action {
        Action::SendExtended { peer, id: THEIR_ID, payload } => {
            Some((peer, PexMessage::decode(&payload).unwrap()))
        }
        _ => None,
    };
    script.actions().into_iter().filter_map(message).collect()
}

fn told_to(script: &mut Script, peer: PeerKey) -> Option<PexMessage> {
    let mut messages: Vec<_> = told(script).into_iter().filter(|(to, _)| *to == peer).collect();
    assert!(messages.len() <= 1);
    messages.pop().map(|(_, message)| message)
}

fn tells(script: &mut Script, peer: PeerKey, addrs: impl IntoIterator<Item = SocketAddr>) {
    let added = addrs.into_iter().map(|addr| (addr, PexFlags::default())).collect();
    let payload = PexMessage { added, dropped: Vec::new() }.encode();
    let id = Extension::PeerExchange.our_id();
    script.says(peer, &Message::Extended { id, payload: &payload });
}

/// All that may be dialled at once.
fn dials(script: &mut Script) -> Vec<SocketAddr> {
    std::iter::from_fn(|| script.swarm.next_dial(script.now)).collect()
}

fn numbered(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 51, high, low], 6881))
}

#[test]
fn each_is_told_of_the_others_by_where_they_listen() {
    let mut script = Script::leecher(8);
    let first = joins(&mut script, 1, Some(6001));
    let second = joins(&mut script, 2, Some(6002));
    joins(&mut script, 3, None); // nobody can connect to it
    let dialled = script.joins(Hello { outgoing: true, ..extended(4) });
    script.has_all(dialled);
    assert_eq!(told(&mut script), [], "those that come together are told of together");
    script.seconds_later(2);
    let seed = (addr(4), PexFlags::REACHABLE.with(PexFlags::UPLOAD_ONLY));
    let at = |number, port| (SocketAddr::new(addr(number).ip(), port), PexFlags::default());
    let messages = told(&mut script);
    let of = |peer| messages.iter().find(|(to, _)| *to == peer).unwrap().1.clone();
    assert_eq!(of(first), PexMessage { added: vec![at(2, 6002), seed], dropped: Vec::new() });
    assert_eq!(of(second), PexMessage { added: vec![at(1, 6001), seed], dropped: Vec::new() });
    assert_eq!(messages.len(), 3, "who did not ask for it gets none");
}

#[test]
fn only_what_changed_is_told_and_once_a_minute() {
    let mut script = Script::leecher(8);
    let peer = joins(&mut script, 1, Some(6001));
    let second = joins(&mut script, 2, Some(6881));
    script.seconds_later(2);
    assert_eq!(told_to(&mut script, peer).unwrap().added.len(), 1);
    script.leaves(second);
    joins(&mut script, 3, Some(6881));
    script.seconds_later(58);
    assert_eq!(told_to(&mut script, peer), None);
    script.seconds_later(2);
    let news = told_to(&mut script, peer).unwrap();
    assert_eq!(news.added, [(addr(3), PexFlags::default())]);
    assert_eq!(news.dropped, [addr(2)]);
    for _ in 0..5 {
        script.seconds_later(60);
        assert_eq!(told_to(&mut script, peer), None, "nothing is new");
    }
}

#[test]
fn who_has_nothing_to_tell_has_no_timer_for_it() {
    let mut script = Script::leecher(8);
    joins(&mut script, 1, Some(6001));
    for _ in 0..3 {
        script.seconds_later(2);
        assert_eq!(told(&mut script), []);
    }
    // Chokes are reviewed every ten seconds; nothing else is due.
    let next = script.swarm.next_timeout().unwrap();
    assert!(next > script.now + Duration::from_secs(2), "{next:?} at {:?}", script.now);
}

#[test]
fn a_message_has_fifty_at_most_and_the_rest_follows() {
    let mut script = Script::leecher(8);
    let peer = joins(&mut script, 1, Some(6001));
    let mut others = Vec::new();
    for number in 2..=121 {
        let peer_id = PeerId([number + 120; 20]);
        let hello = Hello { outgoing: true, peer_id, ..extended(number) };
        others.push(script.joins(hello));
    }
    let mut known = Vec::new();
    for expected in [50, 50, 20] {
        script.says(peer, &Message::KeepAlive);
        script.seconds_later(60);
        let message = told_to(&mut script, peer).unwrap();
        assert_eq!(message.added.len(), expected);
        known.extend(message.added.into_iter().map(|(addr, _)| addr));
    }
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), 120);
    others.into_iter().for_each(|other| script.leaves(other));
    for expected in [50, 50, 20] {
        script.says(peer, &Message::KeepAlive);
        script.seconds_later(60);
        assert_eq!(told_to(&mut script, peer).unwrap().dropped.len(), expected);
    }
}

#[test]
fn what_peers_tell_is_dialled() {
    let mut script = Script::leecher(8);
    let peer = joins(&mut script, 1, None);
    tells(&mut script, peer, [numbered(1), "[2001:db8::7]:9".parse().unwrap(), addr(1)]);
    let mut dialled = dials(&mut script);
    dialled.sort_unstable();
    let expected = [addr(1), numbered(1), "[2001:db8::7]:9".parse().unwrap()];
    assert_eq!(dialled, expected);
}

#[test]
fn what_comes_too_often_or_in_floods_is_ignored() {
    let mut script = Script::start(swarm::Config {
        settings: Settings { peers_max: 10_000, ..Settings::default() },
        ..config(8, Bitfield::new(8))
    });
    let peer = joins(&mut script, 1, None);
    tells(&mut script, peer, (0..5000).map(numbered));
    assert_eq!(dials(&mut script).len(), 100, "of one message");
    script.seconds_later(30);
    tells(&mut script, peer, (5000..5050).map(numbered));
    assert_eq!(dials(&mut script), [], "too soon");
    for message in 0..100 {
        script.seconds_later(60);
        let first = 6000 + message * 50;
        tells(&mut script, peer, (first..first + 50).map(numbered));
    }
    assert_eq!(script.swarm.stats(script.now).candidates, 1000, "by one connection");
}

#[test]
fn a_stranger_can_not_make_us_knock_at_our_own_doors() {
    let mut script = Script::leecher(8);
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let inside =
        ["127.0.0.1:1", "10.0.0.1:1", "192.168.1.1:1", "[::1]:1", "[fe80::1]:1", "[fd00::1]:1"];
    let peer = joins(&mut script, 1, None);
    tells(&mut script, peer, inside.map(parse));
    assert_eq!(dials(&mut script), []);
    let neighbour = script.joins(Hello { addr: parse("10.0.0.9:1"), ..extended(9) });
    tells(&mut script, neighbour, inside.map(parse));
    assert_eq!(dials(&mut script).len(), 4, "not our own machine's");

    // Nor do strangers hear of our neighbours.
    script.handshake(neighbour, &listens(Some(5)));
    script.seconds_later(2);
    assert_eq!(told_to(&mut script, peer), None);
}

#[test]
fn who_is_complete_wants_no_seeds() {
    let mut script = Script::seed(8);
    let peer = joins(&mut script, 1, None);
    let added = vec![(numbered(1), PexFlags::UPLOAD_ONLY), (numbered(2), PexFlags::UTP)];
    let payload = PexMessage { added, dropped: Vec::new() }.encode();
    let id = Extension::PeerExchange.our_id();
    script.says(peer, &Message::Extended { id, payload: &payload });
    assert_eq!(dials(&mut script), [numbered(2)]);
}

#[test]
fn private_torrents_neither_tell_nor_listen() {
    let mut script = Script::start(swarm::Config {
        settings: Settings { peer_exchange: false, ..Settings::default() },
        ..config(8, Bitfield::new(8))
    });
    let peer = script.joins(extended(1));
    let offered = script.actions().into_iter().find_map(|action| match action {
        Action::SendExtended { id: 0, payload, .. } => ExtendedHandshake::decode(&payload).ok(),
        _ => None,
    });
    assert!(!offered.unwrap().extensions.iter().any(|(name, _)| name == "ut_pex"));
    script.handshake(peer, &listens(Some(6001)));
    joins(&mut script, 2, Some(6002));
    script.actions();
    for _ in 0..3 {
        script.seconds_later(60);
        assert_eq!(told(&mut script), []);
    }
    dials(&mut script);
    tells(&mut script, peer, [numbered(1)]);
    assert_eq!(dials(&mut script), []);
}

#[test]
fn garbage_is_no_fault() {
    let mut script = Script::leecher(8);
    let peer =
        script.joins(Hello { reserved: Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]), ..extended(1) });
    for payload in [&b""[..], b"x", b"i1e", b"d5:addedi5ee", &[b'd'; 5000]] {
        script.says(peer, &Message::Extended { id: Extension::PeerExchange.our_id(), payload });
        script.seconds_later(60);
    }
    assert_eq!(dials(&mut script), []);
}

#[test]
fn our_own_doors_are_not_named_in_the_clothes_of_ipv6() {
    let mut script = Script::leecher(8);
    let peer = joins(&mut script, 1, Some(6001));
    let ours = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "255.255.255.255"];
    let dressed = ours.map(|ip| format!("[::ffff:{ip}]:80").parse().unwrap());
    let honest = "[::ffff:198.51.100.7]:6881".parse().unwrap();
    tells(&mut script, peer, dressed.into_iter().chain([honest]));
    assert_eq!(dials(&mut script), ["198.51.100.7:6881".parse().unwrap()]);
}
