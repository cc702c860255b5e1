//! What one node answers, packet by packet.

use std::net::SocketAddr;
use std::time::Duration;

use dht::{Outcome, Settings};

use crate::world::{World, addr};

const STRANGER: ([u8; 4], u16) = ([200, 1, 2, 3], 1234);

fn stranger() -> SocketAddr {
    STRANGER.into()
}

fn has(packet: &[u8], part: &[u8]) -> bool {
    packet.windows(part.len()).any(|window| window == part)
}

fn one(replies: Vec<Vec<u8>>) -> Vec<u8> {
    let replies: Vec<Vec<u8>> = replies.into_iter().filter(|r| !has(r, b"1:q4:ping")).collect();
    assert_eq!(replies.len(), 1, "one answer");
    replies.into_iter().next().unwrap()
}

fn token_in(reply: &[u8]) -> Vec<u8> {
    let at = reply.windows(9).position(|w| w == b"5:token8:").expect("a token") + 9;
    reply[at..at + 8].to_vec()
}

fn get_peers(extra_a: &[u8], extra_b: &[u8]) -> Vec<u8> {
    let head = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456";
    [&head[..], extra_a, extra_b, b"e1:q9:get_peers1:t2:aa1:y1:qe"].concat()
}

fn announce(token: &[u8], port: u16) -> Vec<u8> {
    let head = format!(
        "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti{port}e5:token{}:",
        token.len()
    );
    [head.as_bytes(), token, b"e1:q13:announce_peer1:t2:aa1:y1:qe"].concat()
}

#[test]
fn a_ping_is_answered_with_its_id_and_where_it_was_seen() {
    let mut world = World::of(1);
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t3:\xff\x00\x011:y1:qe";
    let reply = one(world.reply(0, stranger(), ping));
    assert!(has(&reply, b"1:t3:\xff\x00\x01"), "the transaction id as it was");
    assert!(has(&reply, &[b"2:ip6:", &[200, 1, 2, 3][..], &1234_u16.to_be_bytes()].concat()));
    assert!(has(&reply, b"1:y1:r"));
}

/// features.md 69.
#[test]
fn only_the_address_that_got_a_token_may_use_it_and_not_for_ever() {
    let mut world = World::of(1);
    let token = token_in(&one(world.reply(0, stranger(), &get_peers(b"", b""))));
    let other = SocketAddr::from(([200, 1, 2, 4], 1234));
    assert!(has(&one(world.reply(0, other, &announce(&token, 5))), b"i203e"), "another's token");
    assert!(has(&one(world.reply(0, stranger(), &announce(b"aoeusnth", 5))), b"i203e"));
    assert!(has(&one(world.reply(0, stranger(), &announce(&token, 5))), b"1:y1:r"));
    let found = one(world.reply(0, stranger(), &get_peers(b"", b"")));
    assert!(has(&found, b"6:valuesl6:\xc8\x01\x02\x03\x00\x05e"));
    world.run(Duration::from_mins(11));
    assert!(has(&one(world.reply(0, stranger(), &announce(&token, 5))), b"i203e"), "too old");
}

/// features.md 74.
#[test]
fn unknown_queries_get_an_error_and_answers_get_nothing() {
    let mut world = World::of(1);
    let unknown = b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe";
    assert!(has(&one(world.reply(0, stranger(), unknown)), b"1:eli204e"));
    for silent in [
        &b"d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re"[..],
        b"d1:eli201e5:Oopse1:t2:aa1:y1:ee",
        b"d1:y1:qe",
        b"not a packet",
        b"",
    ] {
        assert!(world.reply(0, stranger(), silent).is_empty(), "{}", silent.escape_ascii());
    }
}

/// BEP 43, both sides.
#[test]
fn read_only_nodes_answer_nothing_and_get_no_place() {
    let mut world = World::of(9);
    let reader = world.add(addr(50), Settings { is_read_only: true, ..Settings::default() });
    let now = world.now;
    world.nodes[reader].dht.add_bootstrap(now, addr(0));
    world.run(Duration::from_mins(20));
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    assert!(world.reply(reader, stranger(), ping).is_empty());
    let now = world.now;
    assert_eq!(world.nodes[reader].dht.status(now).interfaces[0].nodes, 8, "it reads");
    for n in 0..9 {
        let operation = world.nodes[n].dht.find_node(now, dht::Id([0; 20]));
        let Outcome::Nodes { nodes, .. } = world.outcome(n, operation) else { panic!() };
        assert!(nodes.iter().all(|node| node.addr != addr(50)), "node {n} knows the reader");
    }
}

/// BEP 32.
#[test]
fn want_decides_which_families_are_told() {
    let mut world = World::of(9);
    let find = |want: &[u8]| {
        let head = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456";
        [&head[..], want, b"e1:q9:find_node1:t2:aa1:y1:qe"].concat()
    };
    let plain = one(world.reply(0, stranger(), &find(b"")));
    assert!(has(&plain, b"5:nodes208:") && !has(&plain, b"6:nodes6"));
    let v6 = "[2600::9]:6881".parse().unwrap();
    let now = world.now;
    world.nodes[0].dht.add_interface(now, v6);
    let both = one(world.reply(0, stranger(), &find(b"4:wantl2:n42:n62:n9e")));
    assert!(has(&both, b"5:nodes208:") && has(&both, b"6:nodes60:"));
    let other = one(world.reply(0, stranger(), &find(b"4:wantl2:n6e")));
    assert!(!has(&other, b"5:nodes208:") && has(&other, b"6:nodes60:"));
}

#[test]
fn a_popular_torrent_and_its_filters_fit_into_one_small_packet() {
    let mut world = World::of(1);
    for n in 0..300_u16 {
        let [a, b] = n.to_be_bytes();
        let peer = SocketAddr::from(([201, a, b, 1], 1000));
        let token = token_in(&one(world.reply(0, peer, &get_peers(b"", b""))));
        world.reply(0, peer, &announce(&token, 7000));
        world.run(Duration::from_millis(100));
    }
    let query = get_peers(b"", b"");
    let plain = one(world.reply(0, stranger(), &query));
    assert!(plain.len() <= 1024 && plain.len() <= 10 * query.len(), "{}", plain.len());
    let values = plain.windows(8).filter(|w| w.starts_with(b"6:\xc9")).count();
    assert!(values > 50, "{values}");
    let query = get_peers(b"", b"6:scrapei1e");
    let scrape = one(world.reply(0, stranger(), &query));
    assert!(has(&scrape, b"4:BFpe256:") && has(&scrape, b"4:BFsd256:"));
    assert!(scrape.len() <= 1024, "{}", scrape.len());
}
