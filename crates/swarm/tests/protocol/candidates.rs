//! Finding peers: whom to dial, when, and never twice.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Action, Hello, Refusal, Source};
use wire::{Bitfield, ExtendedHandshake, Message, PeerId};

use crate::script::{OWN_ID, Script, addr, config, extended, fast, plain};

fn dials(script: &mut Script) -> Vec<SocketAddr> {
    std::iter::from_fn(|| script.swarm.next_dial(script.now)).collect()
}

fn knows(script: &mut Script, numbers: &[u8]) {
    let addrs: Vec<_> = numbers.iter().map(|number| addr(*number)).collect();
    script.swarm.add_candidates(script.now, Source::Tracker, &addrs);
}

#[test]
fn an_address_is_dialled_once_and_not_while_connected() {
    let mut script = Script::leecher(8);
    knows(&mut script, &[1, 1, 2]);
    assert_eq!(dials(&mut script).len(), 2);
    assert_eq!(script.swarm.stats(script.now).half_open, 2);
    let peer = script.joins(Hello { outgoing: true, ..plain(1) });
    script.swarm.dial_failed(script.now, addr(2));
    script.later(Duration::from_mins(1));
    assert_eq!(dials(&mut script), [addr(2)]);
    script.leaves(peer);
    assert_eq!(dials(&mut script), [], "not at once");
    script.later(Duration::from_mins(1));
    assert_eq!(dials(&mut script), [addr(1)]);
}

#[test]
fn a_peer_that_came_to_us_is_not_dialled() {
    let mut script = Script::leecher(8);
    let came = Hello { addr: SocketAddr::from(([192, 0, 2, 1], 50_001)), ..extended(1) };
    let peer = script.joins(came);
    script.handshake(peer, &ExtendedHandshake { port: Some(6881), ..Default::default() });
    knows(&mut script, &[1]);
    assert_eq!(dials(&mut script), []);
    script.leaves(peer);
    script.later(Duration::from_mins(2));
    assert_eq!(dials(&mut script), [addr(1)], "where it listens, not where it came from");
}

#[test]
fn a_duplicate_is_dialled_again_only_when_the_other_connection_is_gone() {
    let mut script = Script::leecher(8);
    let id = PeerId([b'z'; 20]); // larger than ours: its connection stays
    let came = Hello { addr: SocketAddr::from(([192, 0, 2, 1], 50_001)), peer_id: id, ..plain(1) };
    let peer = script.joins(came);
    knows(&mut script, &[1]);
    assert_eq!(dials(&mut script), [addr(1)]);
    let dialled = Hello { addr: addr(1), outgoing: true, ..came };
    assert_eq!(script.refused(dialled), Refusal::Duplicate);
    script.later(Duration::from_hours(1));
    assert_eq!(dials(&mut script), []);
    script.leaves(peer);
    script.later(Duration::from_mins(2));
    assert_eq!(dials(&mut script), [addr(1)]);
}

#[test]
fn our_own_address_is_never_dialled_again() {
    let mut script = Script::leecher(8);
    knows(&mut script, &[1]);
    assert_eq!(dials(&mut script), [addr(1)]);
    script.refused(Hello { peer_id: OWN_ID, outgoing: true, ..plain(1) });
    knows(&mut script, &[1]);
    script.swarm.add_candidates(script.now, Source::User, &[addr(1)]);
    script.later(Duration::from_secs(100_000));
    assert_eq!(dials(&mut script), []);
    assert_eq!(script.swarm.stats(script.now).half_open, 0);
}

#[test]
fn a_banned_address_is_not_dialled_and_does_not_spin_the_timer() {
    let mut script = Script::leecher(8);
    let bad = script.source(plain(1), &[0]);
    for block in script.requests(bad) {
        script.gives(bad, block);
    }
    script.swarm.piece_failed(script.now, 0, &[0; 4]);
    script.leaves(bad);
    script.actions();
    knows(&mut script, &[1]);
    assert_eq!(dials(&mut script), []);
    assert_eq!(script.swarm.next_timeout(), None);
}

#[test]
fn a_full_swarm_dials_nobody_and_does_not_spin_the_timer() {
    let mut config = config(8, Bitfield::new(8));
    config.settings.peers_max = 1;
    let mut script = Script::start(config);
    knows(&mut script, &[1, 2]);
    assert_eq!(dials(&mut script).len(), 1);
    assert_eq!(script.swarm.next_timeout(), None);
}

#[test]
fn seeds_are_dialled_only_while_they_are_of_use() {
    let mut script = Script::leecher(1);
    knows(&mut script, &[1, 2]);
    dials(&mut script);
    let seed = script.joins(Hello { outgoing: true, ..fast(1) });
    script.says(seed, &Message::HaveAll);
    let leecher = script.joins(Hello { outgoing: true, ..fast(2) });
    script.says(leecher, &Message::HaveNone);
    script.later(Duration::from_secs(90)); // long enough to have been a connection
    script.says(seed, &Message::Unchoke);
    script.delivers(seed);
    assert!(script.swarm.is_complete());
    script.leaves(seed);
    script.leaves(leecher);
    script.later(Duration::from_mins(10));
    assert_eq!(dials(&mut script), [addr(2)]);
    script.swarm.dial_failed(script.now, addr(2));
    script.swarm.piece_lost(script.now, 0);
    assert_eq!(dials(&mut script), [addr(1)], "of use again");
}

#[test]
fn who_hangs_up_at_once_is_dialled_less_and_less() {
    let mut script = Script::leecher(8);
    script.swarm.add_candidates(script.now, Source::User, &[addr(1)]);
    let mut dialled = 0;
    for _ in 0..3600 {
        if script.swarm.next_dial(script.now).is_some() {
            dialled += 1;
            let peer = script.joins(Hello { outgoing: true, ..plain(1) });
            script.leaves(peer);
        }
        script.later(Duration::from_secs(1));
    }
    assert!((4..20).contains(&dialled), "{dialled} times in an hour");
}

#[test]
fn a_known_external_address_gives_the_canonical_order() {
    let external: SocketAddr = "203.0.113.5:6881".parse().unwrap();
    let addrs: Vec<SocketAddr> =
        (1..30).map(|n| SocketAddr::from(([10 + n, n, 7, 9], 1))).collect();
    let mut script = Script::leecher(8);
    script.swarm.set_external_ip(external.ip());
    script.swarm.add_candidates(script.now, Source::Tracker, &addrs);
    let order = dials(&mut script);
    let mut expected = addrs;
    expected.sort_by_key(|addr| std::cmp::Reverse(wire::peer_priority(external, *addr)));
    assert_eq!(order, expected);
}

#[test]
fn our_own_address_is_not_dialled_while_it_is_thought_to_be_ours() {
    let mut script = Script::leecher(8);
    let [ours, other]: [SocketAddr; 2] =
        ["8.8.8.8:6881", "8.8.4.4:6881"].map(|addr| addr.parse().unwrap());
    script.swarm.set_external_ip(ours.ip());
    script.swarm.set_external_ip("2600::1".parse().unwrap()); // of the other family
    script.swarm.add_candidates(script.now, Source::Tracker, &[ours]);
    assert_eq!(dials(&mut script), []);
    script.swarm.set_listen_ports(7000.into());
    assert_eq!(dials(&mut script), [ours], "somebody else's, behind the same address");
    script.swarm.set_external_ip(other.ip());
    let moved = SocketAddr::new(other.ip(), 7000);
    script.swarm.add_candidates(script.now, Source::Tracker, &[moved]);
    assert_eq!(dials(&mut script), []);
}

#[test]
fn a_peer_says_once_where_it_sees_us() {
    let mut script = Script::leecher(8);
    let peer = script.joins(crate::script::extended(1));
    let says = |ip: &str| wire::ExtendedHandshake {
        yourip: ip.parse().ok(),
        ..wire::ExtendedHandshake::default()
    };
    script.actions();
    script.handshake(peer, &says("8.8.8.8"));
    script.handshake(peer, &says("7.7.7.7"));
    let seen: Vec<_> = script
        .actions()
        .into_iter()
        .filter(|action| matches!(action, swarm::Action::SeenAt { .. }))
        .collect();
    let ip = "8.8.8.8".parse().unwrap();
    assert_eq!(seen, [swarm::Action::SeenAt { peer: crate::script::addr(1).ip(), ip }]);
}

#[test]
fn loopback_and_private_addresses_are_welcome() {
    let mut script = Script::leecher(8);
    let addrs = ["127.0.0.1:1", "10.0.0.1:1", "[::1]:1"].map(|addr| addr.parse().unwrap());
    script.swarm.add_candidates(script.now, Source::User, &addrs);
    assert_eq!(dials(&mut script).len(), 3);
    let actions = script.actions();
    assert!(!actions.iter().any(|action| matches!(action, Action::Banned { .. })));
}
