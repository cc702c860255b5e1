//! What others may send, whoever they say they are.

use std::net::SocketAddr;
use std::time::Duration;

use utp::{Closed, Config, Endpoint, HEADER_BYTES, Header, Kind, Seq};

use crate::link::Shape;
use crate::with_seeds;
use crate::world::World;

const MINUTE: Duration = Duration::from_mins(1);

fn header(kind: Kind, connection: u16, seq: Seq, ack: Seq) -> Header {
    Header { kind, connection, sent_at: 1, delay: 0, window: 1 << 20, seq, ack }
}

fn bytes(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes
}

/// A connection in the middle of a transfer.
fn busy(seed: u64) -> World {
    let mut world = World::new(seed, Shape::new(20.0, 20));
    world.nodes[0].to_write = 3_000_000;
    world.connect();
    world.runs(Duration::from_millis(600), |_| false);
    assert!(world.nodes[1].read > 0);
    world
}

#[test]
fn resets_from_elsewhere_or_with_any_number_are_not_believed() {
    with_seeds(0..4, |seed| {
        let mut world = busy(seed);
        let (peer, elsewhere) = (world.nodes[1].addr, SocketAddr::from(([10, 0, 0, 2], 6_882)));
        let mut rng = fastrand::Rng::with_seed(seed);
        // Every id, but none of the numbers that are in flight: they are few of 65,536.
        for id in 0..=u16::MAX {
            let reset = header(Kind::Reset, id, Seq(rng.u16(..)), Seq(rng.u16(..)));
            world.forges(elsewhere, 0, &bytes(&reset));
        }
        for ack in (0..=u16::MAX).step_by(32_768) {
            for id in 0..=u16::MAX {
                let reset = header(Kind::Reset, id, Seq(0), Seq(ack ^ 0x4_000));
                world.forges(peer, 0, &bytes(&reset));
            }
        }
        let unlucky = world.nodes[0].closed.is_some();
        assert!(!unlucky, "one of 65,536 numbers in flight was guessed");
        assert!(world.runs(MINUTE, World::is_through));
    });
}

#[test]
fn packets_that_acknowledge_what_was_not_sent_change_nothing() {
    let mut world = busy(9);
    let peer = world.nodes[1].addr;
    let mut rng = fastrand::Rng::with_seed(9);
    let elsewhere = SocketAddr::from(([10, 0, 0, 3], 6_881));
    for id in 0..=u16::MAX {
        let mut forged = bytes(&header(Kind::Data, id, Seq(rng.u16(..)), Seq(rng.u16(..))));
        forged.extend(b"not what was sent");
        world.forges(elsewhere, 1, &forged);
        let fin = header(Kind::Fin, id, Seq(rng.u16(..)), Seq(rng.u16(..)));
        world.forges(elsewhere, 0, &bytes(&fin));
    }
    // From the right address, but with an ack far ahead.
    for id in 0..=u16::MAX {
        let mut state = Vec::new();
        header(Kind::State, id, Seq(1), Seq(rng.u16(..) | 0x8000))
            .encode_sack(&[0xff; 252], &mut state);
        if rng.u8(..) == 0 {
            world.forges(peer, 0, &state[..rng.usize(..state.len())]);
        }
    }
    assert!(world.runs(MINUTE, World::is_through));
}

#[test]
fn a_reset_of_a_peer_that_forgot_us_is_believed() {
    let mut world = busy(3);
    let config = Config { accept: false, ..Config::new(77) };
    world.nodes[1].endpoint = Endpoint::new(config);
    world.nodes[1].id = None;
    assert!(world.runs(MINUTE, |world| world.nodes[0].closed.is_some()));
    assert_eq!(world.nodes[0].closed, Some(Closed::Reset));
    assert!(world.now < Duration::from_secs(2));
}

#[test]
fn who_asks_gets_no_more_than_was_asked_with() {
    with_seeds(0..20, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut endpoint = Endpoint::new(Config::new(seed));
        let (mut asked, mut answered) = (0, 0);
        let mut buffer = Vec::new();
        for step in 0..3_000_u64 {
            let now = Duration::from_millis(step * 7);
            let from = SocketAddr::from(([10, 0, rng.u8(..4), rng.u8(..)], rng.u16(1..5)));
            let kind = [Kind::Syn, Kind::Data, Kind::State, Kind::Fin, Kind::Reset][rng.usize(..5)];
            let mut packet =
                bytes(&header(kind, rng.u16(..8), Seq(rng.u16(..4)), Seq(rng.u16(..))));
            packet.resize(HEADER_BYTES + rng.usize(..3), 0);
            asked += packet.len();
            endpoint.handle(now, from, None, &packet);
            endpoint.tick(now);
            while endpoint.transmit(now, 10, &mut buffer).is_some() {
                answered += buffer.len();
            }
        }
        assert!(answered <= asked, "{answered} bytes for {asked}");
        assert!(answered > 0);
    });
}

#[test]
fn memory_for_packets_out_of_order_is_bounded() {
    let now = Duration::from_secs(1);
    let most = 100_000;
    let mut endpoint = Endpoint::new(Config { ahead_bytes_max: most, ..Config::new(1) });
    let mut buffer = Vec::new();
    let mut kept = 0;
    for last in 1..=20 {
        let peer = SocketAddr::from(([10, 0, 0, last], 1));
        endpoint.handle(now, peer, None, &bytes(&header(Kind::Syn, 7, Seq(100), Seq(0))));
        endpoint.transmit(now, 1, &mut buffer).unwrap();
        let first = utp::Packet::decode(&buffer).unwrap().header.seq;
        // 101 never comes.
        for seq in 102..300 {
            let mut data = bytes(&header(Kind::Data, 8, Seq(seq), first.before()));
            data.resize(1_020, 7);
            endpoint.handle(now, peer, None, &data);
        }
        while endpoint.transmit(now, 1, &mut buffer).is_some() {
            let packet = utp::Packet::decode(&buffer).unwrap();
            kept +=
                packet.sack.iter().map(|byte| byte.count_ones() as usize * 1_000).sum::<usize>();
        }
    }
    assert!((most - 1_000..=most).contains(&kept), "{kept}");
}

/// Peers that send and are not read from: what all of them have here is bounded, and each gets on as far
/// as a little.
#[test]
fn memory_for_what_nobody_reads_is_bounded() {
    let now = Duration::from_secs(1);
    let (most, peers, least) = (1_000_000, 40, 32 * 1024);
    let mut endpoint = Endpoint::new(Config { held_bytes_max: most, ..Config::new(1) });
    let mut buffer = Vec::new();
    let (mut kept, mut fewest, mut ids) = (0, usize::MAX, Vec::new());
    for last in 1..=peers {
        let peer = SocketAddr::from(([10, 0, 0, last], 1));
        endpoint.handle(now, peer, None, &bytes(&header(Kind::Syn, 7, Seq(100), Seq(0))));
        endpoint.transmit(now, 1, &mut buffer).unwrap();
        let first = utp::Packet::decode(&buffer).unwrap().header.seq;
        let mut ack = Seq(100);
        for seq in 101..301 {
            let mut data = bytes(&header(Kind::Data, 8, Seq(seq), first.before()));
            data.resize(HEADER_BYTES + 1_000, 7);
            endpoint.handle(now, peer, None, &data);
            while endpoint.transmit(now, 1, &mut buffer).is_some() {
                let told = utp::Packet::decode(&buffer).unwrap().header;
                ack = told.ack;
            }
        }
        let has = usize::from(ack.0 - 100) * 1_000;
        (kept, fewest) = (kept + has, fewest.min(has));
        while let Some(event) = endpoint.event() {
            if let utp::Event::Incoming(id) = event {
                ids.push((id, has));
            }
        }
    }
    assert_eq!(ids.len(), usize::from(peers));
    assert!(kept <= most + usize::from(peers) * least, "{kept}");
    assert!(kept >= most && fewest >= least - 1_000, "{kept}, {fewest}");
    // Who is read from goes on, and its room is everybody's.
    let (id, has) = ids[0];
    let mut read = vec![0; 1_000_000];
    assert_eq!(endpoint.read(id, &mut read), Ok(has));
}

#[test]
fn who_forges_an_address_does_not_get_to_try_all_numbers() {
    let mut endpoint = Endpoint::new(Config::new(5));
    let (victim, now) = (SocketAddr::from(([10, 0, 0, 7], 1)), Duration::from_secs(1));
    let mut buffer = Vec::new();
    endpoint.handle(now, victim, None, &bytes(&header(Kind::Syn, 7, Seq(100), Seq(0))));
    endpoint.transmit(now, 1, &mut buffer).unwrap();
    let first = utp::Packet::decode(&buffer).unwrap().header.seq;
    for ahead in 1..=u16::MAX {
        let state = header(Kind::State, 8, Seq(101), first.before().plus(ahead));
        endpoint.handle(now, victim, None, &bytes(&state));
    }
    endpoint.handle(now, victim, None, &bytes(&header(Kind::State, 8, Seq(101), first.before())));
    assert_eq!(endpoint.event(), None, "nobody lives there");
}

#[test]
fn any_damage_leaves_the_stream_whole_or_ends_it() {
    with_seeds(0..20, |seed| {
        let mut world = busy(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        // Old packets, bent: the headers are those of this connection.
        for _ in 0..300 {
            world.runs(world.now + Duration::from_millis(2), |_| false);
            let (to, from) = (rng.usize(..2), rng.usize(..2));
            let mut packet =
                bytes(&header(Kind::State, rng.u16(..), Seq(rng.u16(..)), Seq(rng.u16(..))));
            packet[0] = (rng.u8(..5) << 4) | 1;
            packet[1] = rng.u8(..3);
            packet.extend([0, 4, rng.u8(..), rng.u8(..), 0, 0]);
            let addr = world.nodes[from].addr;
            world.forges(addr, to, &packet);
        }
        world.runs(2 * MINUTE, World::is_through);
        let ended = world.nodes.iter().any(|node| node.closed.is_some());
        assert!(world.is_through() || ended);
    });
}
