//! How connections begin, and who may begin one.

use std::net::SocketAddr;
use std::time::Duration;

use utp::{Closed, Config, Endpoint, Event, HEADER_BYTES, Header, Kind, Packet, Seq};

use crate::link::Shape;
use crate::world::World;

const NOW: Duration = Duration::from_secs(5_000);

fn addr(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

fn header(kind: Kind, connection: u16, seq: u16, ack: u16) -> Header {
    Header { kind, connection, sent_at: 1, delay: 0, window: 1 << 20, seq: Seq(seq), ack: Seq(ack) }
}

fn packet(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// What an endpoint sends now.
fn sends(endpoint: &mut Endpoint) -> Vec<(SocketAddr, Header, usize)> {
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    while let Some(burst) = endpoint.transmit(NOW, 10, &mut buffer) {
        for datagram in buffer.chunks(burst.segment) {
            let header = Packet::decode(datagram).unwrap().header;
            all.push((burst.remote, header, datagram.len()));
        }
    }
    all
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| endpoint.event()).collect()
}

#[test]
fn ids_are_one_apart_and_a_state_takes_no_number() {
    let mut world = World::new(1, Shape::new(10.0, 5));
    let mut endpoint = Endpoint::new(Config::new(1));
    let id = endpoint.connect(NOW, addr(1, 1), None).unwrap();
    let syn = sends(&mut endpoint)[0].1;
    assert_eq!(syn.kind, Kind::Syn);
    let state = header(Kind::State, syn.connection, 500, syn.seq.0);
    endpoint.handle(NOW, addr(1, 1), None, &packet(state, b""));
    assert_eq!(events(&mut endpoint), [Event::Connected(id)]);
    endpoint.write(id, b"hello").unwrap();
    let data = sends(&mut endpoint)[0].1;
    assert_eq!((data.kind, data.connection), (Kind::Data, syn.connection.wrapping_add(1)));
    assert_eq!((data.seq, data.ack), (syn.seq.plus(1), Seq(499)), "500 is still to come");
    let data = header(Kind::Data, syn.connection, 500, data.seq.0);
    endpoint.handle(NOW, addr(1, 1), None, &packet(data, b"hi"));
    let mut bytes = [0; 9];
    assert_eq!(endpoint.read(id, &mut bytes), Ok(2));
    world.runs(NOW, |_| false); // nothing was asked of it
    assert_eq!(world.sent, [0, 0]);
}

#[test]
fn a_syn_is_answered_by_as_much_as_it_was_and_not_again() {
    let mut endpoint = Endpoint::new(Config::new(1));
    let syn = packet(header(Kind::Syn, 7, 100, 0), b"");
    endpoint.handle(NOW, addr(1, 1), None, &syn);
    let answers = sends(&mut endpoint);
    assert_eq!(answers.len(), 1);
    let (to, state, length) = answers[0];
    assert_eq!(
        (to, state.kind, state.connection, state.ack),
        (addr(1, 1), Kind::State, 7, Seq(100))
    );
    assert!(length <= syn.len());
    // Time alone brings no second answer, and nobody is told.
    for second in 1..100 {
        endpoint.tick(NOW + Duration::from_secs(second));
        assert!(sends(&mut endpoint).is_empty());
    }
    assert!(events(&mut endpoint).is_empty());
    assert_eq!(endpoint.connections(), 0, "forgotten");
}

#[test]
fn a_second_syn_is_the_same_connection() {
    let mut endpoint = Endpoint::new(Config::new(1));
    let syn = packet(header(Kind::Syn, 7, 100, 0), b"");
    let mut numbers = Vec::new();
    for _ in 0..3 {
        endpoint.handle(NOW, addr(1, 1), None, &syn);
        numbers.push(sends(&mut endpoint)[0].1.seq);
    }
    assert_eq!(endpoint.connections(), 1);
    assert!(numbers.iter().all(|number| *number == numbers[0]));
    let other = packet(header(Kind::Syn, 7, 101, 0), b"");
    endpoint.handle(NOW, addr(1, 1), None, &other);
    assert!(sends(&mut endpoint).is_empty(), "another SYN under the same id");
}

#[test]
fn nothing_is_taken_from_an_address_that_is_not_proved() {
    let mut endpoint = Endpoint::new(Config::new(1));
    endpoint.handle(NOW, addr(1, 1), None, &packet(header(Kind::Syn, 7, 100, 0), b""));
    let first = sends(&mut endpoint)[0].1.seq;
    // It does not know our first number.
    for wrong in [first, first.plus(1), first.plus(9), Seq(first.0.wrapping_sub(2))] {
        let data = header(Kind::Data, 8, 101, wrong.0);
        endpoint.handle(NOW, addr(1, 1), None, &packet(data, b"payload"));
    }
    assert!(events(&mut endpoint).is_empty());
    assert!(sends(&mut endpoint).is_empty());
    // Now it does.
    let data = header(Kind::Data, 8, 101, first.before().0);
    endpoint.handle(NOW, addr(1, 1), None, &packet(data, b"payload"));
    let told = events(&mut endpoint);
    let Event::Incoming(id) = told[0] else { panic!("{told:?}") };
    assert_eq!(told[1], Event::Readable(id));
    let mut bytes = [0; 99];
    assert_eq!(endpoint.read(id, &mut bytes), Ok(7));
}

#[test]
fn half_open_connections_are_few() {
    let mut endpoint = Endpoint::new(Config::new(1));
    for port in 0..100 {
        let syn = packet(header(Kind::Syn, 7, 100, 0), b"");
        endpoint.handle(NOW, addr(1, 1_000 + port), None, &syn);
    }
    assert_eq!(endpoint.connections(), 16, "of one machine");
    let resets = sends(&mut endpoint).iter().filter(|sent| sent.1.kind == Kind::Reset).count();
    assert_eq!(resets, 84);
    for last in 2..=255_u8 {
        for port in 1..10 {
            let syn = packet(header(Kind::Syn, 7, 100, 0), b"");
            endpoint.handle(NOW, addr(last, port), None, &syn);
        }
    }
    assert_eq!(endpoint.connections(), 256, "of all");
    endpoint.tick(NOW + Duration::from_secs(11));
    assert_eq!(endpoint.connections(), 0);
    assert_eq!(endpoint.due(), None);
}

#[test]
fn who_does_not_accept_says_so() {
    let mut world = World::with_config(1, Shape::new(10.0, 5), |config| config.accept = false);
    world.connect();
    assert!(world.runs(NOW, |world| world.nodes[0].closed.is_some()));
    assert_eq!(world.nodes[0].closed, Some(Closed::Refused));
    assert!(world.now < Duration::from_millis(20));
    assert_eq!(world.nodes[1].endpoint.connections(), 0);
}

#[test]
fn silence_is_given_up_after_seconds() {
    let mut world = World::new(1, Shape { loss: 1.0, ..Shape::new(10.0, 5) });
    world.connect();
    assert!(world.runs(NOW, |world| world.nodes[0].closed.is_some()));
    assert_eq!(world.nodes[0].closed, Some(Closed::TimedOut));
    assert!((5..10).contains(&world.now.as_secs()), "{:?}", world.now);
    assert_eq!(world.sent[0], 3 * HEADER_BYTES as u64);
}

#[test]
fn too_many_connections_are_refused() {
    let config = Config { connections_max: 3, ..Config::new(1) };
    let mut endpoint = Endpoint::new(config);
    for port in 0..3 {
        assert!(endpoint.connect(NOW, addr(1, port), None).is_some());
    }
    assert!(endpoint.connect(NOW, addr(1, 9), None).is_none());
    sends(&mut endpoint);
    endpoint.handle(NOW, addr(2, 1), None, &packet(header(Kind::Syn, 7, 100, 0), b""));
    assert_eq!(sends(&mut endpoint)[0].1.kind, Kind::Reset);
}
