//! `share` and the DHT: it begins with the nodes that it is told of, and with nobody where it must not.

use std::net::UdpSocket;
use std::time::Duration;

use crate::world::{World, noise};

/// A node that is never heard of has this long: far more than it takes to send a packet.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn the_node_that_is_named_is_asked() {
    let world = World::new();
    world.write("data/some.bin", &noise(50_000));
    let node = UdpSocket::bind("127.0.0.1:0").expect("a port");
    node.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
    let addr = node.local_addr().expect("it is bound").to_string();
    let share = ["share", "data/some.bin", "--bind", "127.0.0.1", "--json"];
    let mut share = world.start(&[&share[..], &["--dht-bootstrap", &addr]].concat());
    share.event("sharing");
    let mut packet = [0; 1500];
    let (length, from) = node.recv_from(&mut packet).expect("a query");
    assert!(packet[..length].starts_with(b"d1:ad2:id20:"), "{:?}", &packet[..length]);
    assert!(from.ip().is_loopback(), "{from}");
}

#[test]
fn its_help_says_who_is_asked() {
    let help = World::new().run(&["share", "--help"]).expect(0).text();
    for part in ["--dht-bootstrap <ADDR>", "--no-dht", "well-known ones"] {
        assert!(help.contains(part), "{part:?} is not in\n{help}");
    }
}
