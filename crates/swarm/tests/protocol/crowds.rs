//! Who comes often: one host with all the places.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Action, Fault, Hello, PeerKey, Refusal, Settings, Source};
use wire::{Bitfield, Message, PeerId};

use crate::script::{Script, addr, config, plain};

const PLACES: usize = 20;

/// A connection of a host that has a port and an id for each.
fn of_host(ip: &str, number: u8) -> Hello {
    let addr = SocketAddr::new(ip.parse().unwrap(), 10_000 + u16::from(number));
    Hello { addr, peer_id: PeerId([150 + number; 20]), ..plain(1) }
}

fn script() -> Script {
    let settings = Settings { peers_max: PLACES, ..Settings::default() };
    Script::start(swarm::Config { settings, ..config(8, Bitfield::full(8)) })
}

/// All places are this host's, each with a wish, so that none is of no use.
fn taken_by(script: &mut Script, ip: &str) -> Vec<PeerKey> {
    let join = |number| {
        let peer = script.joins(of_host(ip, number));
        script.says(peer, &Message::Interested);
        peer
    };
    (0..PLACES as u8).map(join).collect()
}

fn made_room(action: &Action) -> Option<PeerKey> {
    match action {
        Action::Disconnect { peer, reason: Fault::MadeRoom } => Some(*peer),
        _ => None,
    }
}

#[test]
fn a_host_with_all_the_places_gives_them_to_who_comes_from_elsewhere() {
    let mut script = script();
    let theirs = taken_by(&mut script, "198.51.100.1");
    assert_eq!(script.refused(of_host("198.51.100.1", 100)), Refusal::Full);
    script.actions();
    for number in 1..=10 {
        script.joins(plain(number));
        let gone: Vec<PeerKey> = script.actions().iter().filter_map(made_room).collect();
        assert!(gone.len() == 1 && theirs.contains(&gone[0]), "{gone:?}");
        script.leaves(gone[0]);
    }
    let peers = script.swarm.peers(script.now);
    let left = peers.iter().filter(|peer| peer.addr.port() >= 10_000).count();
    assert_eq!((peers.len(), left), (PLACES, PLACES - 10));
}

#[test]
fn the_latest_that_gave_nothing_goes_first() {
    let mut script = script();
    for number in 0..PLACES as u8 {
        let peer = script.joins(of_host("198.51.100.1", number));
        script.says(peer, &Message::Interested);
        script.now += Duration::from_secs(1);
    }
    script.actions();
    let honest = script.joins(plain(1));
    let gone = script.actions().iter().find_map(made_room).expect("one made room");
    assert_ne!(gone, honest);
    script.leaves(gone);
    let ports: Vec<u16> = script.swarm.peers(script.now).iter().map(|it| it.addr.port()).collect();
    assert!(!ports.contains(&(10_000 + PLACES as u16 - 1)), "the latest: {ports:?}");
}

#[test]
fn others_are_dialled_although_a_host_has_all_the_places() {
    let mut script = script();
    taken_by(&mut script, "198.51.100.1");
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1)]);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(1)));
    script.joins(Hello { outgoing: true, ..plain(1) });
}

/// A torrent with a crowd of four has one place for who comes from elsewhere.
#[test]
fn as_many_are_dialled_as_a_crowd_makes_room_for() {
    let mut script = script();
    for number in 0..PLACES as u8 {
        let ip = format!("198.51.100.{}", if number < 4 { 1 } else { number });
        let peer = script.joins(of_host(&ip, number));
        script.says(peer, &Message::Interested);
    }
    let strangers: Vec<_> = (1..=9).map(addr).collect();
    // Its own has none of its places, nor is it dialled for them.
    let theirs = SocketAddr::new("198.51.100.1".parse().unwrap(), 1);
    script.swarm.add_candidates(script.now, Source::User, &[theirs]);
    script.swarm.add_candidates(script.now, Source::Tracker, &strangers);
    let first = script.swarm.next_dial(script.now).expect("one takes its place");
    assert_ne!(first, theirs);
    assert_eq!(script.swarm.next_dial(script.now), None);
    script.swarm.dial_failed(script.now, first);
    let second = script.swarm.next_dial(script.now).expect("another does");
    script.joins(Hello { addr: second, outgoing: true, ..plain(1) });
    let gone: Vec<PeerKey> = script.actions().iter().filter_map(made_room).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(script.swarm.next_dial(script.now), None);
    script.leaves(gone[0]);
    assert_eq!(script.swarm.next_dial(script.now), None, "three are a household");
    let later = script.now + Duration::from_mins(5);
    assert!(script.swarm.next_timeout().is_some_and(|at| at > script.now), "nothing is overdue");
    assert_eq!(script.swarm.next_dial(later), None);
}

/// There was a place when it was dialled: it is dialled again as if nothing had been.
#[test]
fn who_finds_no_place_has_not_failed() {
    let mut script = script();
    for number in 1..PLACES as u8 {
        let peer = script.joins(of_host(&format!("198.51.100.{number}"), number));
        script.says(peer, &Message::Interested);
    }
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1)]);
    for _ in 0..20 {
        assert_eq!(script.swarm.next_dial(script.now), Some(addr(1)));
        let last = script.joins(of_host("198.51.100.200", 90));
        script.says(last, &Message::Interested);
        assert_eq!(script.refused(Hello { outgoing: true, ..plain(1) }), Refusal::Full);
        script.leaves(last);
        script.seconds_later(20);
    }
}

#[test]
fn places_of_many_hosts_stay_theirs() {
    let mut script = script();
    for number in 0..PLACES as u8 {
        let peer = script.joins(of_host(&format!("198.51.100.{}", number / 2), number));
        script.says(peer, &Message::Interested);
    }
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1)]);
    assert_eq!(script.swarm.next_dial(script.now), None);
    assert_eq!(script.refused(plain(1)), Refusal::Full);
}

#[test]
fn who_comes_through_a_router_of_our_own_is_no_crowd() {
    let mut script = script();
    taken_by(&mut script, "172.17.0.1");
    assert_eq!(script.refused(plain(1)), Refusal::Full);
}

/// Connections that are served, of a host that has all but three of them, and of the others.
fn served(script: &Script) -> (usize, usize) {
    let peers = script.swarm.peers(script.now);
    let served = peers.iter().filter(|peer| peer.unchoked);
    let (theirs, others): (Vec<_>, Vec<_>) = served.partition(|peer| peer.addr.port() >= 10_000);
    (theirs.len(), others.len())
}

#[test]
fn a_host_with_many_connections_does_not_have_all_the_slots() {
    for is_seed in [true, false] {
        let settings = Settings { upload_slots: 4, ..Settings::default() };
        let have = if is_seed { Bitfield::full(8) } else { Bitfield::new(8) };
        let mut script = Script::start(swarm::Config { settings, ..config(8, have) });
        taken_by(&mut script, "198.51.100.1");
        assert_eq!(served(&script), (4, 0));
        script.seconds_later(1);
        for number in 1..=3 {
            let peer = script.joins(plain(number));
            script.says(peer, &Message::Interested);
        }
        script.seconds_later(10);
        let (theirs, others) = served(&script);
        assert!(theirs <= 2 && others >= 2, "{theirs} and {others}, seeding: {is_seed}");
    }
}

#[test]
fn a_free_slot_is_for_who_has_none() {
    let settings = Settings { upload_slots: 2, ..Settings::default() };
    let mut script = Script::start(swarm::Config { settings, ..config(8, Bitfield::full(8)) });
    let theirs = taken_by(&mut script, "198.51.100.1");
    script.seconds_later(1);
    let honest = script.joins(plain(1));
    script.says(honest, &Message::Interested);
    assert_eq!(served(&script), (2, 0));
    script.says(theirs[0], &Message::NotInterested);
    assert_eq!(served(&script), (1, 1), "although others of theirs waited for longer");
}
