//! What is said first, and what a peer has (BEP 3, 6).

use swarm::{Action, Fault, Hello, Refusal};
use wire::{Bitfield, BitfieldError, Message, PeerId, allowed_fast_set};

use crate::script::{OWN_ID, PIECE, Script, config, fast, plain, whole};

#[test]
fn we_say_what_we_have_in_the_shortest_way_the_peer_understands() {
    let mut seed = Script::seed(16);
    let peer = seed.joins(fast(1));
    assert_eq!(seed.sent(peer).first(), Some(&Message::HaveAll));
    let peer = seed.joins(plain(2));
    assert_eq!(seed.actions(), [Action::SendBitfield { peer }]);

    let mut leecher = Script::leecher(16);
    let peer = leecher.joins(fast(1));
    assert_eq!(leecher.sent(peer), [Message::HaveNone]);
    leecher.joins(plain(2));
    assert_eq!(leecher.actions(), [], "nothing to say is not said");

    let mut have = Bitfield::new(16);
    have.insert(3);
    let mut partial = Script::start(config(16, have));
    let peer = partial.joins(fast(1));
    assert_eq!(partial.actions().first(), Some(&Action::SendBitfield { peer }));
}

#[test]
fn a_bitfield_has_exactly_the_torrents_size() {
    let mut script = Script::leecher(12);
    let peer = script.joins(plain(1));
    let long = BitfieldError::Length { got: 3, expected: 2 };
    assert_eq!(script.fault(peer, &Message::Bitfield(&[0; 3])), Fault::Bitfield(long));
    let spare = Fault::Bitfield(BitfieldError::SpareBits);
    assert_eq!(script.fault(peer, &Message::Bitfield(&[0, 1])), spare);
}

/// aria2 sends a bitfield in place of many `have`, whenever that is shorter.
#[test]
fn a_late_bitfield_adds_to_what_was_said() {
    for hello in [plain(1), fast(1)] {
        let mut script = Script::leecher(8);
        let peer = script.joins(hello);
        script.says(peer, &Message::Have(1));
        script.says(peer, &Message::Bitfield(&[0b0000_0011]));
        let progress = script.swarm.peers(script.now)[0].progress;
        assert!((progress - 3.0 / 8.0).abs() < 1e-9, "{progress}");
    }
}

#[test]
fn a_late_have_all_makes_a_seed() {
    let mut script = Script::leecher(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveNone);
    script.says(peer, &Message::Have(1));
    script.says(peer, &Message::HaveAll);
    assert_eq!(script.swarm.stats(script.now).seeds, 1);
    assert_eq!(script.swarm.stats(script.now).availability, 1);
}

#[test]
fn without_a_bitfield_a_peer_has_nothing() {
    let mut script = Script::leecher(8);
    let peer = script.joins(plain(1));
    script.says(peer, &Message::Unchoke);
    assert_eq!(script.sent(peer), []);
    script.says(peer, &Message::Have(2));
    assert_eq!(script.sent(peer)[..2], [Message::Interested, Message::Request(whole(2, 0))]);
}

#[test]
fn fast_messages_without_the_fast_extension_are_faults() {
    for message in [
        Message::HaveAll,
        Message::HaveNone,
        Message::SuggestPiece(1),
        Message::AllowedFast(1),
        Message::RejectRequest(whole(1, 0)),
    ] {
        let mut script = Script::leecher(8);
        let peer = script.joins(plain(1));
        assert_eq!(script.fault(peer, &message), Fault::NotFast);
    }
}

#[test]
fn a_newcomer_takes_the_place_of_an_idle_peer_only() {
    let mut config = config(8, Bitfield::new(8));
    config.settings.peers_max = 2;
    let mut script = Script::start(config);
    let idle = script.joins(plain(1));
    let useful = script.source(plain(2), &[1]);
    assert_eq!(script.refused(plain(3)), Refusal::Full, "nobody is idle for long enough");
    for _ in 0..3 {
        script.seconds_later(60);
        script.says(idle, &Message::KeepAlive);
        script.says(useful, &Message::KeepAlive);
    }
    script.actions();
    script.joins(plain(3));
    assert_eq!(script.closes(idle), Some(Fault::MadeRoom));
}

#[test]
fn pieces_past_the_last_are_faults() {
    let mut script = Script::leecher(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveNone);
    for piece in [8, u32::MAX] {
        let no_such = Fault::NoSuchPiece(piece);
        assert_eq!(script.fault(peer, &Message::Have(piece)), no_such);
        assert_eq!(script.fault(peer, &Message::SuggestPiece(piece)), no_such);
        assert_eq!(script.fault(peer, &Message::AllowedFast(piece)), no_such);
    }
}

#[test]
fn copies_are_counted_once_and_leave_with_their_peer() {
    let mut script = Script::leecher(2);
    let (first, second) = (script.joins(plain(1)), script.joins(plain(2)));
    for _ in 0..3 {
        script.says(first, &Message::Have(0));
    }
    script.says(second, &Message::Have(0));
    script.says(second, &Message::Have(1));
    let stats = script.swarm.stats(script.now);
    assert_eq!((stats.availability, stats.seeds), (1, 1), "all by have is a seed");
    assert!((stats.availability_fraction - 0.5).abs() < 1e-9, "piece 0 has a copy more");
    script.leaves(second);
    let stats = script.swarm.stats(script.now);
    assert_eq!((stats.availability, stats.seeds), (0, 0));
    script.leaves(first);
    script.leaves(first);
    assert_eq!(script.swarm.stats(script.now).peers, 0);
}

#[test]
fn interest_is_said_when_it_changes_and_kept_right() {
    let mut script = Script::leecher(2);
    let peer = script.joins(plain(1));
    script.has(peer, &[0]);
    assert_eq!(script.sent(peer), [Message::Interested]);
    script.says(peer, &Message::Unchoke);
    for block in script.requests(peer) {
        script.gives(peer, block);
    }
    assert!(script.actions().contains(&Action::Verify { piece: 0 }));
    script.written(0);
    assert_eq!(script.sent(peer), [Message::NotInterested], "and no have to who has it");
    script.says(peer, &Message::Have(1));
    assert_eq!(script.sent(peer)[0], Message::Interested);
    script.swarm.set_paused(script.now, true);
    assert_eq!(script.sent(peer), [Message::NotInterested]);
    script.swarm.set_paused(script.now, false);
    assert_eq!(script.sent(peer), [Message::Interested]);
}

#[test]
fn a_peer_is_let_in_once() {
    let mut script = Script::leecher(8);
    let ourselves = Hello { peer_id: OWN_ID, ..plain(1) };
    assert_eq!(script.refused(ourselves), Refusal::Ourselves);
    script.joins(plain(2));
    assert_eq!(script.refused(plain(2)), Refusal::Duplicate);
    // Several clients behind one address are several peers.
    script.joins(Hello { peer_id: PeerId([9; 20]), ..plain(2) });
}

#[test]
fn of_two_connections_both_ends_keep_the_one_that_the_larger_id_made() {
    for (theirs, ours_stays) in [(b'a', true), (b'z', false)] {
        let peer_id = PeerId([theirs; 20]);
        let incoming = Hello { peer_id, ..plain(1) };
        let outgoing = Hello { outgoing: true, ..incoming };
        for (first, second) in [(incoming, outgoing), (outgoing, incoming)] {
            let mut script = Script::leecher(8);
            let peer = script.joins(first);
            if second.outgoing == ours_stays {
                script.joins(second);
                assert_eq!(script.closes(peer), Some(Fault::Duplicate));
            } else {
                assert_eq!(script.refused(second), Refusal::Duplicate);
                assert_eq!(script.closes(peer), None);
            }
        }
    }
}

#[test]
fn a_full_swarm_still_swaps_a_twin() {
    let mut config = config(8, Bitfield::new(8));
    config.settings.peers_max = 1;
    let mut script = Script::start(config);
    let incoming = Hello { peer_id: PeerId([b'a'; 20]), ..plain(1) };
    let peer = script.joins(incoming);
    assert_eq!(script.refused(plain(2)), Refusal::Full);
    script.joins(Hello { outgoing: true, ..incoming });
    assert_eq!(script.closes(peer), Some(Fault::Duplicate));
}

#[test]
fn an_allowed_fast_set_is_offered_from_what_we_have() {
    let mut have = Bitfield::full(100);
    let hello = fast(1);
    let std::net::IpAddr::V4(ip) = hello.addr.ip() else { panic!("an IPv4 peer") };
    let set = allowed_fast_set(ip, metainfo::InfoHash([0xaa; 20]), 100, 10);
    have.remove(set[4]);
    let mut script = Script::start(config(100, have));
    let peer = script.joins(hello);
    let sent = script.sent(peer);
    let offered: Vec<_> = set.iter().filter(|piece| **piece != set[4]).collect();
    assert_eq!(offered.len(), 9);
    assert!(offered.iter().all(|piece| sent.contains(&Message::AllowedFast(**piece))));
    assert!(!sent.contains(&Message::AllowedFast(set[4])));
}

#[test]
fn stale_keys_do_nothing() {
    let mut script = Script::seed(4);
    let gone = script.joins(plain(1));
    script.leaves(gone);
    let other = script.joins(plain(2));
    assert_ne!(gone, other);
    script.actions();
    script.says(gone, &Message::Interested);
    script.says(gone, &Message::Have(u32::MAX));
    script.leaves(gone);
    assert_eq!(script.actions(), []);
    assert_eq!(script.swarm.stats(script.now).peers, 1);
}

#[test]
fn nothing_is_sent_to_who_is_gone() {
    let mut script = Script::seed(4);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveNone);
    script.says(peer, &Message::Interested);
    script.leaves(peer);
    assert_eq!(script.actions(), [], "what was queued for it went with it");
}

#[test]
fn a_torrent_without_bytes_is_complete() {
    let mut empty = config(0, Bitfield::new(0));
    empty.geometry = metainfo::Geometry::new(0, PIECE).unwrap();
    let mut script = Script::start(empty);
    assert!(script.swarm.is_complete());
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveAll);
    script.says(peer, &Message::Interested);
    script.seconds_later(30);
    script.actions();
}

/// BEP 5, and BEP 27: without a port of ours, as in a private torrent, nothing is said or heard.
#[test]
fn dht_nodes_tell_each_other_where_they_are() {
    let hello = Hello { reserved: fast(1).reserved.with_dht(), ..fast(1) };
    let settings = swarm::Settings { dht_ports: Some(6881.into()), ..swarm::Settings::default() };
    let public = swarm::Config { settings, ..config(16, Bitfield::new(16)) };
    let mut script = Script::start(public);
    let peer = script.joins(hello);
    assert_eq!(script.sent(peer), [Message::HaveNone, Message::Port(6881)]);
    (1..4).for_each(|port| script.says(peer, &Message::Port(port)));
    let addr = std::net::SocketAddr::new(hello.addr.ip(), 1);
    assert_eq!(script.actions(), [Action::DhtNode { addr }], "the first is believed, not the next");
    let peer = script.joins(fast(2));
    assert_eq!(script.sent(peer), [Message::HaveNone], "it has no node");
    script.says(peer, &Message::Port(0));
    assert_eq!(script.actions(), []);

    let mut private = Script::leecher(16);
    let peer = private.joins(hello);
    assert_eq!(private.sent(peer), [Message::HaveNone]);
    private.says(peer, &Message::Port(6881));
    assert_eq!(private.actions(), []);
}
