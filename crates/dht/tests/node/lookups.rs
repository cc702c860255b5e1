//! Joining, announcing and finding; churn; what is kept for the next start.

use std::net::SocketAddr;
use std::time::Duration;

use dht::{Announce, Event, Id, Outcome, PeersQuery, Settings, is_secure};

use crate::world::{World, addr};

const TORRENT: Id = Id([0x5a; 20]);

fn announce(port: u16, is_seed: bool) -> PeersQuery {
    let announce = Announce { port, port_v6: None, is_port_implied: false, is_seed };
    PeersQuery { announce: Some(announce), ..PeersQuery::default() }
}

#[test]
fn two_nodes_are_enough_to_find_each_other() {
    let mut world = World::of(2);
    assert!(world.nodes[1].events.iter().any(|event| matches!(event, Event::Joined { .. })));
    let now = world.now;
    let operation = world.nodes[1].dht.get_peers(now, TORRENT, announce(7000, true));
    let Outcome::Peers { announced, .. } = world.outcome(1, operation) else { panic!() };
    assert_eq!(announced, 1, "with the node it began with");
    let now = world.now;
    let operation = world.nodes[0].dht.get_peers(now, TORRENT, announce(7001, false));
    world.outcome(0, operation);
    let operation = world.nodes[1].dht.get_peers(now, TORRENT, PeersQuery::default());
    world.outcome(1, operation);
    // Node 0 keeps node 1's announce, and node 1 node 0's.
    assert_eq!(world.nodes[0].dht.status(now).peers, 1);
    assert_eq!(world.nodes[1].dht.status(now).peers, 1);
}

#[test]
fn forty_nodes_find_an_announce_and_count_the_swarm() {
    let mut world = World::of(40);
    for n in 0..10 {
        let now = world.now;
        let operation = world.nodes[n].dht.get_peers(now, TORRENT, announce(7000, n < 3));
        let Outcome::Peers { announced, .. } = world.outcome(n, operation) else { panic!() };
        assert_eq!(announced, 8);
    }
    let query = PeersQuery { scrape: true, ..PeersQuery::default() };
    let now = world.now;
    let operation = world.nodes[30].dht.get_peers(now, TORRENT, query);
    let Outcome::Peers { count, hops, size, .. } = world.outcome(30, operation) else { panic!() };
    let mut found = world.peers(30, operation);
    found.sort();
    let expected: Vec<_> = (0..10).map(|n| (addr(n).ip(), 7000).into()).collect();
    assert_eq!(found, expected);
    assert_eq!(count, 10);
    assert!(hops.is_some_and(|hops| hops <= 4), "{hops:?}");
    let size = size.expect("asked for");
    assert!((size.seeds - 3.0).abs() < 0.5 && (size.peers - 7.0).abs() < 0.5, "{size:?}");
    // Seeds are of no use to another seed.
    let query = PeersQuery { no_seeds: true, ..PeersQuery::default() };
    let now = world.now;
    let operation = world.nodes[31].dht.get_peers(now, TORRENT, query);
    world.outcome(31, operation);
    assert_eq!(world.peers(31, operation).len(), 7);
}

#[test]
fn an_implied_port_is_the_one_the_packet_came_from() {
    let mut world = World::of(10);
    let announce = Announce { port: 9999, port_v6: None, is_port_implied: true, is_seed: false };
    let query = PeersQuery { announce: Some(announce), ..PeersQuery::default() };
    let now = world.now;
    let operation = world.nodes[3].dht.get_peers(now, TORRENT, query);
    world.outcome(3, operation);
    let now = world.now;
    let operation = world.nodes[4].dht.get_peers(now, TORRENT, PeersQuery::default());
    world.outcome(4, operation);
    assert_eq!(world.peers(4, operation), [addr(3)]);
}

/// BEP 7 and 32: a port that a gateway maps over IPv4 leads nowhere over IPv6.
#[test]
fn over_ipv6_another_port_may_be_announced() {
    let mut world = World::of(4);
    let v6 = |n: usize| SocketAddr::from(([0x2001, 0x470, n as u16, 0, 0, 0, 0, 9], 6881));
    let keepers: Vec<usize> = (1..4).map(|n| world.add(v6(n), Settings::default())).collect();
    let both = world.add(addr(40), Settings::default());
    let now = world.now;
    let node = &mut world.nodes[both];
    let interface = node.dht.add_interface(now, v6(40));
    node.addrs.push((v6(40), interface));
    node.dht.add_bootstrap(now, addr(0));
    for node in keepers.iter().chain([&both]) {
        world.nodes[*node].dht.add_bootstrap(now, v6(1));
    }
    world.run(Duration::from_mins(1));
    for is_port_implied in [false, true] {
        let announce =
            Announce { port: 7000, port_v6: Some(7006), is_port_implied, is_seed: false };
        let query = PeersQuery { announce: Some(announce), ..PeersQuery::default() };
        let now = world.now;
        let operation = world.nodes[both].dht.get_peers(now, TORRENT, query);
        world.outcome(both, operation);
        let over_v4 = if is_port_implied { addr(40).port() } else { 7000 };
        for (finder, port) in [(1, (addr(40).ip(), over_v4)), (keepers[2], (v6(40).ip(), 7006))] {
            let now = world.now;
            let operation = world.nodes[finder].dht.get_peers(now, TORRENT, PeersQuery::default());
            world.outcome(finder, operation);
            assert_eq!(world.peers(finder, operation), [port.into()], "{is_port_implied}");
        }
    }
}

#[test]
fn announces_are_forgotten_after_half_an_hour() {
    let mut world = World::of(10);
    let now = world.now;
    let operation = world.nodes[3].dht.get_peers(now, TORRENT, announce(7000, false));
    world.outcome(3, operation);
    world.run(Duration::from_mins(32));
    let now = world.now;
    let operation = world.nodes[4].dht.get_peers(now, TORRENT, PeersQuery::default());
    let Outcome::Peers { count, answers, .. } = world.outcome(4, operation) else { panic!() };
    assert_eq!(count, 0);
    assert!(answers >= 8, "the nodes themselves are still there");
}

/// features.md 71 and 75: the dead leave the table by pings, and bootstrap nodes never enter it.
#[test]
fn dead_nodes_leave_and_bootstrap_nodes_never_enter() {
    let mut world = World::of(20);
    for n in 10..20 {
        world.nodes[n].is_up = false;
    }
    world.run(Duration::from_mins(45));
    for n in 1..10 {
        let now = world.now;
        let status = world.nodes[n].dht.status(now);
        // Nine live others but for the one that is their bootstrap node.
        assert_eq!(status.interfaces[0].nodes, 8, "node {n}");
        assert_eq!(status.interfaces[0].good, 8, "node {n}");
    }
}

#[test]
fn an_outage_of_ours_empties_no_table() {
    let mut world = World::of(20);
    let now = world.now;
    let before = world.nodes[5].dht.status(now).interfaces[0].nodes;
    let others: Vec<usize> = (0..20).filter(|n| *n != 5).collect();
    others.iter().for_each(|n| world.nodes[*n].is_up = false);
    world.run(Duration::from_hours(2));
    others.iter().for_each(|n| world.nodes[*n].is_up = true);
    let now = world.now;
    let after = world.nodes[5].dht.status(now).interfaces[0].nodes;
    assert!(after >= before / 2, "{after} of {before}");
}

#[test]
fn what_was_saved_is_enough_to_join_without_bootstrap() {
    let mut world = World::of(20);
    let saved = world.nodes[7].dht.export();
    let now = world.now;
    let id = world.nodes[7].dht.status(now).interfaces[0].id;
    world.nodes[7].is_up = false;
    let mut seed = [9; 32];
    seed[0] = 1;
    let mut again = dht::Dht::new(Settings::default(), seed, world.now);
    assert!(again.import(&saved, true));
    let interface = again.add_interface(world.now, addr(7));
    world.nodes[7].dht = again;
    world.nodes[7].interface = interface;
    world.nodes[7].addrs = vec![(addr(7), interface)];
    world.nodes[7].events.clear();
    world.nodes[7].is_up = true;
    world.run(Duration::from_secs(20));
    assert!(world.nodes[7].events.iter().any(|event| matches!(event, Event::Joined { .. })));
    let now = world.now;
    let status = world.nodes[7].dht.status(now);
    assert_eq!(status.interfaces[0].id, id, "its id is the same");
    assert!(status.interfaces[0].nodes >= 10);
    for junk in [&b""[..], b"de", b"i1e", b"d3:ids3:abce", &saved[..saved.len() / 2]] {
        let _ = dht::Dht::new(Settings::default(), seed, now).import(junk, true);
    }
}

/// BEP 42: who is behind a router learns his address from the others, and takes an id for it.
#[test]
fn a_node_behind_a_router_takes_an_id_that_follows_from_its_address() {
    let mut world = World::of(12);
    let mut dht = dht::Dht::new(Settings::default(), [3; 32], world.now);
    // Bound to a private address, seen at a public one.
    let interface = dht.add_interface(world.now, "192.168.1.5:6881".parse().unwrap());
    dht.add_bootstrap(world.now, addr(0));
    let n = world.add(addr(100), Settings::default());
    world.nodes[n].dht = dht;
    world.nodes[n].addrs = vec![(addr(100), interface)];
    world.run(Duration::from_secs(30));
    let now = world.now;
    let status = world.nodes[n].dht.status(now);
    assert_eq!(status.interfaces[0].external, Some(addr(100).ip()));
    assert!(is_secure(status.interfaces[0].id, addr(100).ip()));
    assert!(
        world.nodes[n].events.iter().any(|event| matches!(event, Event::ExternalAddress { .. }))
    );
    let operation = world.nodes[3].dht.find_node(now, status.interfaces[0].id);
    let Outcome::Nodes { nodes, .. } = world.outcome(3, operation) else { panic!() };
    assert_eq!(nodes[0].addr, addr(100), "and others know it under that id");
}

/// BEP 42: what the gateway or a tracker says will do until then.
#[test]
fn an_address_known_from_elsewhere_gives_an_id_and_is_no_news() {
    let now = Duration::ZERO;
    let mut dht = dht::Dht::new(Settings::default(), [3; 32], now);
    let v4 = dht.add_interface(now, "192.168.1.5:6881".parse().unwrap());
    let v6 = dht.add_interface(now, "[fe80::5]:6881".parse().unwrap());
    let before = dht.status(now).interfaces;
    for nobody in ["10.0.0.1", "127.0.0.1", "0.0.0.0", "::1"] {
        dht.told_external(now, nobody.parse().unwrap());
    }
    assert_eq!(dht.status(now).interfaces, before);
    let ip = addr(100).ip();
    dht.told_external(now, ip);
    dht.move_interface(v4, "192.168.1.5:6882".parse().unwrap());
    dht.move_interface(v6, "192.168.1.5:6882".parse().unwrap());
    let [four, six] = &dht.status(now).interfaces[..] else { panic!() };
    assert_eq!((four.external, four.local.port()), (Some(ip), 6882));
    assert!(is_secure(four.id, ip));
    assert_eq!(six, &before[1], "another family's");
    while let Some(event) = dht.poll_event() {
        assert!(!matches!(event, Event::ExternalAddress { .. }), "it would be a vote of its own");
    }
}

/// BEP 45: two addresses are two nodes; both are announced, one after the other.
#[test]
fn two_addresses_are_two_nodes_with_ids_of_their_own() {
    let mut world = World::of(12);
    let (one, two) = (addr(60), addr(61));
    let both = world.add(one, Settings::default());
    let now = world.now;
    let node = &mut world.nodes[both];
    let second = node.dht.add_interface(now, two);
    node.addrs.push((two, second));
    node.dht.add_bootstrap(now, addr(0));
    let ids: Vec<Id> = node.dht.status(now).interfaces.iter().map(|node| node.id).collect();
    assert!(is_secure(ids[0], one.ip()) && is_secure(ids[1], two.ip()));
    world.run(Duration::from_secs(30));
    let now = world.now;
    let tables: Vec<usize> =
        world.nodes[both].dht.status(now).interfaces.iter().map(|node| node.nodes).collect();
    assert!(tables.iter().all(|nodes| *nodes >= 8), "{tables:?}");
    let operation = world.nodes[both].dht.get_peers(now, TORRENT, announce(7000, false));
    let Outcome::Peers { announced, .. } = world.outcome(both, operation) else { panic!() };
    assert_eq!(announced, 16, "eight over each");
    let now = world.now;
    let operation = world.nodes[3].dht.get_peers(now, TORRENT, PeersQuery::default());
    world.outcome(3, operation);
    let mut found = world.peers(3, operation);
    found.sort();
    assert_eq!(found, [(one.ip(), 7000).into(), (two.ip(), 7000).into()]);
}

#[test]
fn operations_without_anybody_to_ask_end_at_once() {
    let mut dht = dht::Dht::new(Settings::default(), [1; 32], Duration::ZERO);
    let none = dht.get_peers(Duration::ZERO, TORRENT, PeersQuery::default());
    let Some(Event::Finished { operation, .. }) = dht.poll_event() else { panic!() };
    assert_eq!(operation, none);
    assert_eq!(dht.poll_timeout(), None, "without a socket there is nothing to do");
    dht.add_interface(Duration::ZERO, addr(1));
    dht.get_peers(Duration::ZERO, TORRENT, announce(7000, false));
    assert!(matches!(dht.poll_event(), Some(Event::Finished { .. })));
    dht.ping(Duration::ZERO, "[2600::1]:1".parse().unwrap());
    let pong = dht.poll_event();
    assert!(matches!(pong, Some(Event::Finished { outcome: Outcome::Pong(None), .. })));
}

#[test]
fn a_cancelled_operation_says_nothing_more() {
    let mut world = World::of(12);
    let now = world.now;
    let operation = world.nodes[3].dht.get_peers(now, TORRENT, PeersQuery::default());
    world.nodes[3].dht.cancel(now, operation);
    world.run(Duration::from_secs(30));
    let its = |event: &&Event| matches!(event, Event::Finished { operation: this, .. } if *this == operation);
    assert_eq!(world.nodes[3].events.iter().filter(its).count(), 0);
    let now = world.now;
    assert_eq!(world.nodes[3].dht.status(now).walks, 0);
}

/// The first of a network has nobody to ask; whoever comes first is enough.
#[test]
fn who_is_found_by_others_joins_at_once() {
    let mut world = World::default();
    world.add(addr(0), Settings::default());
    world.run(Duration::from_mins(30));
    assert!(
        world.nodes[0].events.iter().all(|event| matches!(event, Event::NeedsBootstrap { .. }))
    );
    world.add(addr(1), Settings::default());
    let now = world.now;
    world.nodes[1].dht.add_bootstrap(now, addr(0));
    world.run(Duration::from_secs(2));
    assert!(world.nodes[0].events.iter().any(|event| matches!(event, Event::Joined { .. })));
}

#[test]
fn who_knows_nobody_asks_for_nodes_every_minute() {
    let mut world = World::default();
    world.add(addr(0), Settings::default());
    world.run(Duration::from_hours(1));
    let asked = world.nodes[0].events.len();
    assert!((55..=65).contains(&asked), "{asked} times in an hour");
}
