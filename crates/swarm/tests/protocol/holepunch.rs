//! Holepunching (BEP 55): what we do as the relay, what as an end, and what nobody can make us do.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Action, Hello, PeerKey, Reach, Settings, Transports};
use wire::{
    Bitfield, ExtendedHandshake, Extension, HolepunchError, HolepunchMessage, Message, PexFlags,
    PexMessage,
};

use crate::script::{Script, addr, config, extended};

/// The ids by which the scripted peers want the extensions.
const PEX_ID: u8 = 33;
const THEIR_ID: u8 = 44;

fn speaks(port: Option<u16>) -> ExtendedHandshake {
    let extensions = vec![
        (Extension::PeerExchange.name().into(), PEX_ID),
        (Extension::Holepunch.name().into(), THEIR_ID),
    ];
    ExtendedHandshake { extensions, port, ..ExtendedHandshake::default() }
}

/// Comes in from another port than it listens on.
fn joins(script: &mut Script, number: u8) -> PeerKey {
    let hello = extended(number);
    let hello = Hello { addr: SocketAddr::new(hello.addr.ip(), 50_000), ..hello };
    let peer = script.joins(hello);
    script.handshake(peer, &speaks(Some(6881)));
    peer
}

fn says(script: &mut Script, peer: PeerKey, message: HolepunchMessage) {
    let id = Extension::Holepunch.our_id();
    script.says(peer, &Message::Extended { id, payload: &message.encode() });
}

/// All that is said of holepunching, and to whom.
fn said(script: &mut Script) -> Vec<(PeerKey, HolepunchMessage)> {
    let message = |action| match action {
        Action::SendExtended { peer, id: THEIR_ID, payload } => {
            Some((peer, HolepunchMessage::decode(&payload).unwrap()))
        }
        _ => None,
    };
    script.actions().into_iter().filter_map(message).collect()
}

fn punches(script: &mut Script) -> Vec<SocketAddr> {
    std::iter::from_fn(|| script.swarm.next_punch()).collect()
}

fn tells(script: &mut Script, peer: PeerKey, of: SocketAddr, flags: PexFlags) {
    let payload = PexMessage { added: vec![(of, flags)], dropped: Vec::new() }.encode();
    let id = Extension::PeerExchange.our_id();
    script.says(peer, &Message::Extended { id, payload: &payload });
}

#[test]
fn a_relay_has_both_dial_each_other() {
    let mut script = Script::leecher(8);
    let (one, other) = (joins(&mut script, 1), joins(&mut script, 2));
    script.swarm.came_by_utp(one);
    script.actions();
    says(&mut script, one, HolepunchMessage::Rendezvous(addr(2)));
    // One is where its NAT sends uTP from; of the other only the port it listens on is known.
    let from_one = SocketAddr::new(addr(1).ip(), 50_000);
    let expected =
        [(other, HolepunchMessage::Connect(from_one)), (one, HolepunchMessage::Connect(addr(2)))];
    assert_eq!(said(&mut script), expected);
    says(&mut script, other, HolepunchMessage::Rendezvous(from_one));
    assert_eq!(said(&mut script).len(), 2, "it is known by both of its addresses");
    assert_eq!(punches(&mut script), []);
}

#[test]
fn a_relay_says_why_not() {
    let mut script = Script::leecher(8);
    let peer = joins(&mut script, 1);
    let deaf = script.joins(Hello { outgoing: true, ..extended(3) });
    script.handshake(deaf, &ExtendedHandshake::default());
    script.swarm.set_external_ip("198.51.100.9".parse().unwrap());
    script.actions();
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let cases = [
        (parse("192.0.2.7:0"), HolepunchError::NoSuchPeer),
        (parse("0.0.0.0:5"), HolepunchError::NoSuchPeer),
        (addr(77), HolepunchError::NotConnected),
        (addr(1), HolepunchError::NotConnected),
        (addr(3), HolepunchError::NoSupport),
        (parse("198.51.100.9:6881"), HolepunchError::NoSelf),
    ];
    for (to, why) in cases {
        says(&mut script, peer, HolepunchMessage::Rendezvous(to));
        assert_eq!(said(&mut script), [(peer, HolepunchMessage::Error(to, why))], "{to}");
    }
    says(&mut script, deaf, HolepunchMessage::Rendezvous(addr(1)));
    says(&mut script, peer, HolepunchMessage::Error(addr(9), HolepunchError::NoSelf));
    assert_eq!(said(&mut script), [], "who does not speak it gets no answer, nor does an error");
}

#[test]
fn nobody_is_flooded_by_a_relay() {
    let mut script = Script::leecher(8);
    let peers: Vec<_> = (1..=5).map(|number| joins(&mut script, number)).collect();
    script.actions();
    for asker in &peers[1..] {
        for _ in 0..100 {
            says(&mut script, *asker, HolepunchMessage::Rendezvous(addr(1)));
        }
    }
    let messages = said(&mut script);
    let to_first = messages.iter().filter(|(to, _)| *to == peers[0]).count();
    assert_eq!((to_first, messages.len()), (10, 20), "of 400");
    script.later(Duration::from_secs(6));
    for _ in 0..100 {
        says(&mut script, peers[1], HolepunchMessage::Rendezvous(addr(77)));
    }
    assert_eq!(said(&mut script).len(), 2, "one in three seconds");
}

#[test]
fn strangers_do_not_learn_of_neighbours() {
    let mut script = Script::leecher(8);
    let stranger = joins(&mut script, 1);
    let inside: SocketAddr = "192.168.1.5:6881".parse().unwrap();
    let neighbour = script.joins(Hello { addr: inside, outgoing: true, ..extended(9) });
    script.handshake(neighbour, &speaks(None));
    script.actions();
    says(&mut script, stranger, HolepunchMessage::Rendezvous(inside));
    let refused = HolepunchMessage::Error(inside, HolepunchError::NotConnected);
    assert_eq!(said(&mut script), [(stranger, refused)]);
    says(&mut script, stranger, HolepunchMessage::Connect(inside));
    says(&mut script, stranger, HolepunchMessage::Connect("192.168.1.6:1".parse().unwrap()));
    assert_eq!(punches(&mut script), []);
}

#[test]
fn who_is_named_by_a_relay_is_dialled_once() {
    let mut script = Script::leecher(8);
    let (relay, _) = (joins(&mut script, 1), joins(&mut script, 2));
    for to in [addr(9), addr(9), addr(2), SocketAddr::new(addr(2).ip(), 50_000)] {
        says(&mut script, relay, HolepunchMessage::Connect(to));
    }
    assert_eq!(punches(&mut script), [addr(9)]);
    says(&mut script, relay, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punches(&mut script), [], "it is being dialled");
    script.swarm.punch_failed(addr(9));
    assert_eq!(said(&mut script), [], "it failed with the relay's help");
    let other = joins(&mut script, 3);
    for relay in [relay, other] {
        says(&mut script, relay, HolepunchMessage::Connect(addr(9)));
    }
    assert_eq!(punches(&mut script), [], "whoever says so, it was dialled just now");
    script.seconds_later(15);
    says(&mut script, other, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punches(&mut script), [addr(9)]);
    script.joins(Hello { outgoing: true, ..extended(9) });
    assert_eq!(script.swarm.next_dial(script.now), None, "it is connected");
}

#[test]
fn a_relay_can_not_make_us_dial_everybody() {
    let mut script = Script::leecher(8);
    let relay = joins(&mut script, 1);
    for number in 0..200 {
        let to = SocketAddr::from(([198, 51, 100, number], 6881));
        says(&mut script, relay, HolepunchMessage::Connect(to));
    }
    assert_eq!(punches(&mut script).len(), 10);
}

#[test]
fn who_told_of_a_peer_that_does_not_answer_is_asked_for_help() {
    let mut script = Script::leecher(8);
    let relay = joins(&mut script, 1);
    tells(&mut script, relay, addr(9), PexFlags::default());
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(9)));
    assert_eq!(said(&mut script), []);
    script.swarm.dial_failed(script.now, addr(9));
    assert_eq!(said(&mut script), [(relay, HolepunchMessage::Rendezvous(addr(9)))]);
    says(&mut script, relay, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punches(&mut script), [addr(9)]);
    script.swarm.punch_failed(addr(9));
    // It could not help; it is not asked any more.
    says(&mut script, relay, HolepunchMessage::Error(addr(9), HolepunchError::NotConnected));
    script.seconds_later(60);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(9)));
    script.swarm.dial_failed(script.now, addr(9));
    assert_eq!(said(&mut script), []);
}

#[test]
fn who_was_never_reached_is_dialled_with_help_at_once() {
    let mut script = Script::leecher(8);
    let relay = joins(&mut script, 1);
    tells(&mut script, relay, addr(9), PexFlags::HOLEPUNCH);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(9)));
    assert_eq!(said(&mut script), [(relay, HolepunchMessage::Rendezvous(addr(9)))]);
    says(&mut script, relay, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punches(&mut script), [addr(9)], "whatever comes of the dial");
}

#[test]
fn who_brings_peers_together_is_to_see_where_our_utp_comes_from() {
    for (holepunch, open_to, expected) in [
        (true, Reach::Machine, Transports::UtpFirst),
        (true, Reach::World, Transports::TcpFirst),
        (false, Reach::Machine, Transports::TcpFirst),
    ] {
        let settings = Settings { holepunch, ..Settings::default() };
        let mut script = Script::start(swarm::Config { settings, ..config(8, Bitfield::new(8)) });
        script.swarm.set_open_to(open_to);
        let order = |script: &Script, number| script.swarm.way_to(addr(number)).transports;
        // By the word of others.
        let teller = joins(&mut script, 1);
        tells(&mut script, teller, addr(9), PexFlags::HOLEPUNCH.with(PexFlags::REACHABLE));
        assert_eq!(order(&script, 9), expected, "{holepunch} {open_to:?}");
        // By its own, when it was here.
        let before = joins(&mut script, 2);
        script.swarm.remove_peer(script.now, before);
        assert_eq!(order(&script, 2), expected, "{holepunch} {open_to:?}");
        // Who speaks nothing of the kind is dialled as ever.
        let other = script.joins(extended(3));
        script.handshake(other, &ExtendedHandshake { port: Some(6881), ..Default::default() });
        script.swarm.remove_peer(script.now, other);
        tells(&mut script, teller, addr(8), PexFlags::UTP);
        for number in [3, 8] {
            assert_eq!(order(&script, number), Transports::TcpFirst, "{number}");
        }
    }
}

#[test]
fn others_hear_that_a_peer_can_be_reached_so() {
    let mut script = Script::leecher(8);
    let (one, _) = (joins(&mut script, 1), joins(&mut script, 2));
    script.swarm.came_by_utp(one);
    script.seconds_later(2);
    let told: Vec<_> = script
        .actions()
        .into_iter()
        .filter_map(|action| match action {
            Action::SendExtended { id: PEX_ID, payload, .. } => PexMessage::decode(&payload).ok(),
            _ => None,
        })
        .flat_map(|message| message.added)
        .collect();
    let both = PexFlags::UTP.with(PexFlags::HOLEPUNCH);
    assert_eq!(told, [(addr(2), PexFlags::HOLEPUNCH), (addr(1), both)]);
}

#[test]
fn private_torrents_know_nothing_of_it() {
    let settings = [
        Settings { peer_exchange: false, ..Settings::default() },
        Settings { holepunch: false, ..Settings::default() },
    ];
    for settings in settings {
        let mut script = Script::start(swarm::Config { settings, ..config(8, Bitfield::new(8)) });
        let (one, _) = (joins(&mut script, 1), joins(&mut script, 2));
        let offers = |action: &Action| match action {
            Action::SendExtended { id: 0, payload, .. } => {
                let ours = ExtendedHandshake::decode(payload).unwrap();
                ours.extensions.iter().any(|(name, _)| name == "ut_holepunch")
            }
            _ => false,
        };
        assert!(!script.actions().iter().any(offers));
        says(&mut script, one, HolepunchMessage::Rendezvous(addr(2)));
        says(&mut script, one, HolepunchMessage::Connect(addr(9)));
        assert_eq!(said(&mut script), []);
        assert_eq!(punches(&mut script), []);
    }
}

#[test]
fn a_relay_does_not_name_our_own_doors_in_the_clothes_of_ipv6() {
    let mut script = Script::leecher(8);
    let relay = joins(&mut script, 1);
    for ip in ["127.0.0.1", "192.168.1.1"] {
        let ours = format!("[::ffff:{ip}]:80").parse().unwrap();
        says(&mut script, relay, HolepunchMessage::Connect(ours));
    }
    assert_eq!(punches(&mut script), []);
    says(
        &mut script,
        relay,
        HolepunchMessage::Connect("[::ffff:198.51.100.7]:80".parse().unwrap()),
    );
    assert_eq!(punches(&mut script), ["198.51.100.7:80".parse().unwrap()]);
}
