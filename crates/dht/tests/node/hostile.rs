//! What strangers try, and what it brings them.

use std::net::SocketAddr;
use std::time::Duration;

use dht::{Dht, Event, Id, Outcome, PeersQuery, Settings};

use crate::world::{World, addr};

const TORRENT: Id = Id([0x5a; 20]);
const FIND: &[u8] =
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe";

/// A forged sender gets little, and others are served meanwhile.
#[test]
fn a_flood_from_one_address_is_answered_a_little_and_others_still_are() {
    let mut world = World::of(10);
    let (victim, other) =
        (SocketAddr::from(([200, 1, 1, 1], 1)), SocketAddr::from(([201, 1, 1, 1], 1)));
    let mut bytes = 0;
    for n in 0..10_000 {
        let from = SocketAddr::new(victim.ip(), 1 + (n % 1000) as u16);
        bytes += world.reply(0, from, FIND).iter().map(Vec::len).sum::<usize>();
    }
    assert!(bytes <= 33_000, "{bytes} bytes for {} of queries", 10_000 * FIND.len());
    assert!(!world.reply(0, other, FIND).is_empty());
    let start = world.now;
    let mut later = 0;
    while world.now < start + Duration::from_secs(10) {
        world.run(Duration::from_millis(10));
        later += world.reply(0, victim, FIND).iter().map(Vec::len).sum::<usize>();
    }
    assert!(later <= 10 * 4096 + 1000, "{later} bytes in ten seconds");
}

#[test]
fn all_together_are_answered_no_more_than_the_line_can_bear() {
    let mut world = World::of(10);
    let mut bytes = 0;
    for n in 0..20_000_u32 {
        let from = SocketAddr::from(((0xc800_0000 + n * 7).to_be_bytes(), 1));
        bytes += world.reply(0, from, FIND).iter().map(Vec::len).sum::<usize>();
    }
    assert!(bytes <= 2 * 64 * 1024 + 20_000, "{bytes}");
}

/// features.md 68: an answer must have the transaction id and the address.
#[test]
fn answers_from_elsewhere_or_with_another_id_are_strays() {
    let mut dht = Dht::new(Settings::default(), [1; 32], Duration::ZERO);
    let interface = dht.add_interface(Duration::ZERO, addr(1));
    let ping = dht.ping(Duration::ZERO, addr(2));
    let query = dht.poll_transmit().expect("a ping").bytes;
    let at = query.windows(5).position(|w| w == b"1:t4:").unwrap() + 5;
    let transaction = query[at..at + 4].to_vec();
    let reply = |transaction: &[u8]| {
        let head = format!("d1:rd2:id20:abcdefghij0123456789e1:t{}:", transaction.len());
        [head.as_bytes(), transaction, b"1:y1:re"].concat()
    };
    let mut wrong = transaction.clone();
    wrong[0] ^= 1;
    dht.handle_packet(Duration::ZERO, interface, addr(3), &reply(&transaction));
    let other_port = SocketAddr::new(addr(2).ip(), 1);
    dht.handle_packet(Duration::ZERO, interface, other_port, &reply(&transaction));
    dht.handle_packet(Duration::ZERO, interface, addr(2), &reply(&wrong));
    dht.handle_packet(Duration::ZERO, interface, addr(2), &reply(&transaction[..3]));
    assert_eq!(dht.status(Duration::ZERO).counters.stray, 4);
    assert_eq!(dht.poll_event(), None);
    dht.handle_packet(Duration::ZERO, interface, addr(2), &reply(&transaction));
    let Some(Event::Finished { operation, outcome }) = dht.poll_event() else { panic!() };
    assert!(operation == ping && matches!(outcome, Outcome::Pong(Some(_))));
    dht.handle_packet(Duration::ZERO, interface, addr(2), &reply(&transaction));
    assert_eq!(dht.status(Duration::ZERO).counters.stray, 5, "once is enough");
}

#[test]
fn transaction_ids_do_not_follow_from_each_other() {
    let mut dht = Dht::new(Settings::default(), [1; 32], Duration::ZERO);
    dht.add_interface(Duration::ZERO, addr(1));
    let mut ids: Vec<[u8; 4]> = (0..100)
        .map(|n| {
            dht.ping(Duration::ZERO, addr(n + 2));
            let query = dht.poll_transmit().expect("a ping").bytes;
            let at = query.windows(5).position(|w| w == b"1:t4:").unwrap() + 5;
            query[at..at + 4].try_into().unwrap()
        })
        .collect();
    let ones: u32 = ids.iter().flatten().map(|byte| byte.count_ones()).sum();
    assert!((1300..1900).contains(&ones), "{ones} of 3200 bits");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

/// features.md 71: who merely asks, or is merely mentioned, gets no place.
#[test]
fn strangers_who_do_not_answer_get_no_place_and_are_pinged_once() {
    let mut world = World::of(1);
    let mut pings = 0;
    for n in 0..50_u8 {
        let from = SocketAddr::from(([200, n, 1, 1], 1));
        for _ in 0..3 {
            let sent = world.reply(0, from, FIND);
            pings += sent.iter().filter(|p| p.windows(9).any(|w| w == b"1:q4:ping")).count();
        }
        world.run(Duration::from_secs(2));
    }
    assert!((20..=50).contains(&pings), "{pings}");
    let now = world.now;
    assert_eq!(world.nodes[0].dht.status(now).interfaces[0].nodes, 0);
}

/// A node that answers every lookup with addresses of our own network, or with its own id again.
#[test]
fn lies_about_nodes_lead_to_nobodys_door() {
    let mut dht = Dht::new(Settings::default(), [1; 32], Duration::ZERO);
    let interface = dht.add_interface(Duration::ZERO, addr(1));
    dht.add_bootstrap(Duration::ZERO, addr(2));
    let lookup = dht.get_peers(Duration::ZERO, TORRENT, PeersQuery::default());
    let own = dht.status(Duration::ZERO).interfaces[0].id;
    let mut nodes = Vec::new();
    for (id, ip, port) in [
        ([0x5a; 20], [192, 168, 0, 1], 53_u16),
        ([0x5b; 20], [127, 0, 0, 1], 80),
        ([0x5c; 20], [0, 0, 0, 0], 80),
        ([0x5d; 20], [224, 0, 0, 1], 80),
        ([0x5e; 20], [99, 1, 1, 1], 0),
        (own.0, [98, 1, 1, 1], 80),
        ([0x5f; 20], [97, 1, 1, 1], 6881),
    ] {
        nodes.extend(id);
        nodes.extend(ip);
        nodes.extend(port.to_be_bytes());
    }
    let mut asked = Vec::new();
    while let Some(packet) = dht.poll_transmit() {
        asked.push(packet.to);
        let at = packet.bytes.windows(5).position(|w| w == b"1:t4:").unwrap() + 5;
        let head = format!("d1:rd2:id20:abcdefghij01234567895:nodes{}:", nodes.len());
        let values =
            b"5:token1:x6:valuesl6:\xc0\xa8\x00\x01\x00\x506:\x60\x01\x01\x01\x00\x50ee1:t4:";
        let reply =
            [head.as_bytes(), &nodes, &values[..], &packet.bytes[at..at + 4], b"1:y1:re"].concat();
        dht.handle_packet(Duration::ZERO, interface, packet.to, &reply);
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked, [addr(2), "97.1.1.1:6881".parse().unwrap()]);
    let events: Vec<Event> = std::iter::from_fn(|| dht.poll_event()).collect();
    let peers = events.iter().find_map(|event| match event {
        Event::Peers { operation, peers, .. } if *operation == lookup => Some(peers.clone()),
        _ => None,
    });
    assert_eq!(peers, Some(vec!["96.1.1.1:80".parse().unwrap()]), "nor to a peer at home");
}

/// A forged `v` is no item, whoever sends it.
#[test]
fn forged_items_are_not_believed() {
    let mut dht = Dht::new(Settings::default(), [1; 32], Duration::ZERO);
    let interface = dht.add_interface(Duration::ZERO, addr(1));
    dht.add_bootstrap(Duration::ZERO, addr(2));
    let get = dht.get_item(Duration::ZERO, TORRENT);
    while let Some(packet) = dht.poll_transmit() {
        let at = packet.bytes.windows(5).position(|w| w == b"1:t4:").unwrap() + 5;
        let head = b"d1:rd2:id20:abcdefghij01234567895:token1:x1:v5:helloe1:t4:";
        let reply = [&head[..], &packet.bytes[at..at + 4], b"1:y1:re"].concat();
        dht.handle_packet(Duration::ZERO, interface, packet.to, &reply);
    }
    let outcome = std::iter::from_fn(|| dht.poll_event()).find_map(|event| match event {
        Event::Finished { operation, outcome } if operation == get => Some(outcome),
        _ => None,
    });
    assert!(matches!(outcome, Some(Outcome::Item { item: None, .. })), "{outcome:?}");
}

/// Our own packets, reflected to us, change nothing.
#[test]
fn our_own_echo_is_nobody() {
    let mut world = World::of(3);
    let now = world.now;
    let node = &mut world.nodes[1];
    let before = node.dht.status(now).interfaces[0].nodes;
    node.dht.find_node(now, TORRENT);
    let packets: Vec<_> = std::iter::from_fn(|| node.dht.poll_transmit()).collect();
    assert!(!packets.is_empty());
    for packet in &packets {
        node.dht.handle_packet(now, node.interface, packet.to, &packet.bytes);
    }
    assert_eq!(node.dht.poll_transmit(), None, "no answer to ourselves");
    assert_eq!(node.dht.status(now).interfaces[0].nodes, before);
}
