//! What peers ask of us, and whom we serve (BEP 3, 6).

use std::time::Duration;

use swarm::{Action, Fault};
use wire::{Bitfield, BlockRequest, Message};

use crate::script::{BLOCK, PIECE, Script, config, fast, plain, whole};

fn customer(script: &mut Script, number: u8) -> swarm::PeerKey {
    let peer = script.joins(fast(number));
    script.says(peer, &Message::HaveNone);
    script.says(peer, &Message::Interested);
    peer
}

#[test]
fn a_free_slot_is_given_at_once() {
    let mut script = Script::seed(8);
    let peer = customer(&mut script, 1);
    assert!(script.sent(peer).contains(&Message::Unchoke));
    script.says(peer, &Message::NotInterested);
    assert_eq!(script.sent(peer), [Message::Choke]);
}

#[test]
fn a_slot_that_becomes_free_is_given_at_once() {
    let mut config = config(8, Bitfield::full(8));
    config.settings.upload_slots = 1;
    let mut script = Script::start(config);
    let first = customer(&mut script, 1);
    let second = customer(&mut script, 2);
    assert!(!script.sent(second).contains(&Message::Unchoke));
    script.leaves(first);
    assert_eq!(script.sent(second), [Message::Unchoke]);
}

#[test]
fn requests_come_out_as_they_came_in_up_to_the_limit() {
    let mut script = Script::seed(8);
    let peer = customer(&mut script, 1);
    script.actions();
    for block in 0..4 {
        script.says(peer, &Message::Request(whole(3, block)));
    }
    assert_eq!(script.actions(), [Action::UploadReady { peer }]);
    assert_eq!(script.takes(peer, 2 * BLOCK), [whole(3, 0), whole(3, 1)]);
    assert_eq!(script.takes(peer, 1), [whole(3, 2)], "at least one");
    assert_eq!(script.takes(peer, u32::MAX), [whole(3, 3)]);
    script.swarm.uploaded(script.now, peer, 4 * BLOCK);
    assert_eq!(script.swarm.stats(script.now).uploaded, u64::from(4 * BLOCK));
}

#[test]
fn large_requests_are_served_and_huge_or_outside_ones_are_faults() {
    let mut config = config(2, Bitfield::full(2));
    config.geometry = metainfo::Geometry::new(1 << 20, 1 << 19).unwrap();
    let mut script = Script::start(config);
    let peer = customer(&mut script, 1);
    let request = |begin, length| BlockRequest { piece: 1, begin, length };
    script.says(peer, &Message::Request(request(0, 128 * 1024)));
    assert_eq!(script.takes(peer, u32::MAX), [request(0, 128 * 1024)]);
    for bad in [
        request(0, 128 * 1024 + 1),
        request(0, 0),
        request((1 << 19) - 1, 2),
        request(u32::MAX, u32::MAX),
        BlockRequest { piece: 2, begin: 0, length: 1 },
    ] {
        assert_eq!(script.fault(peer, &Message::Request(bad)), Fault::BadRequest(bad));
    }
}

#[test]
fn who_is_choked_is_rejected_or_ignored() {
    let mut config = config(100, Bitfield::full(100));
    config.settings.upload_slots = 0;
    let mut script = Script::start(config);
    let peer = customer(&mut script, 1);
    let sent = script.sent(peer);
    let allowed: Vec<u32> = sent
        .iter()
        .filter_map(|message| match message {
            Message::AllowedFast(piece) => Some(*piece),
            _ => None,
        })
        .collect();
    assert_eq!(allowed.len(), 10);
    let denied = (0..100).find(|piece| !allowed.contains(piece)).unwrap();
    script.says(peer, &Message::Request(whole(denied, 0)));
    assert_eq!(script.sent(peer), [Message::RejectRequest(whole(denied, 0))]);
    script.says(peer, &Message::Request(whole(allowed[0], 0)));
    assert_eq!(script.actions(), [Action::UploadReady { peer }]);
    assert_eq!(script.takes(peer, u32::MAX), [whole(allowed[0], 0)]);

    let old = script.joins(plain(2));
    script.actions();
    script.says(old, &Message::Request(whole(0, 0)));
    assert_eq!(script.actions(), []);
    assert_eq!(script.takes(old, u32::MAX), []);
}

#[test]
fn allowed_pieces_are_a_start_and_not_a_free_seat() {
    let mut config = config(100, Bitfield::full(100));
    config.settings.upload_slots = 0;
    let mut script = Script::start(config);
    let peer = customer(&mut script, 1);
    let sent = script.sent(peer);
    let Some(Message::AllowedFast(piece)) =
        sent.into_iter().find(|message| matches!(message, Message::AllowedFast(_)))
    else {
        panic!("a set was offered")
    };
    let mut served = 0;
    for _ in 0..1000 {
        script.says(peer, &Message::Request(whole(piece, 0)));
        served += script.takes(peer, u32::MAX).len();
    }
    assert_eq!(served, 40, "as many blocks as ten pieces have");
}

#[test]
fn cancel_and_choke_empty_the_queue_and_each_request_is_answered() {
    let mut script = Script::seed(100);
    let peer = customer(&mut script, 1);
    let sent = script.sent(peer);
    let allowed = |piece| sent.contains(&Message::AllowedFast(piece));
    let piece = (0..100).find(|piece| !allowed(*piece)).unwrap();
    for block in 0..4 {
        script.says(peer, &Message::Request(whole(piece, block)));
    }
    script.actions();
    script.says(peer, &Message::Cancel(whole(piece, 1)));
    assert_eq!(script.sent(peer), [Message::RejectRequest(whole(piece, 1))]);
    script.says(peer, &Message::Cancel(whole(piece, 1)));
    assert_eq!(script.sent(peer), [], "it was answered");
    script.says(peer, &Message::NotInterested);
    let rest = [0, 2, 3].map(|block| Message::RejectRequest(whole(piece, block)));
    assert_eq!(script.sent(peer), [&[Message::Choke][..], &rest].concat());
    assert_eq!(script.takes(peer, u32::MAX), []);

    let old = script.joins(plain(2));
    script.says(old, &Message::Interested);
    script.says(old, &Message::Request(whole(piece, 0)));
    script.says(old, &Message::Request(whole(piece, 1)));
    script.actions();
    script.says(old, &Message::Cancel(whole(piece, 0)));
    assert_eq!(script.takes(old, u32::MAX), [whole(piece, 1)]);
    assert_eq!(script.sent(old), [], "no rejections without the fast extension");
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let mut config = config(8, Bitfield::full(8));
    config.settings.reqq = 10;
    let mut script = Script::start(config);
    let peer = customer(&mut script, 1);
    script.actions();
    for _ in 0..100 {
        script.says(peer, &Message::Request(whole(0, 0)));
    }
    let rejected = script.sent(peer);
    assert_eq!(rejected.len(), 90);
    assert_eq!(script.takes(peer, u32::MAX).len(), 10);
}

#[test]
fn what_we_do_not_have_is_rejected() {
    let mut have = Bitfield::full(8);
    have.remove(2);
    let mut script = Script::start(config(8, have));
    let peer = customer(&mut script, 1);
    script.actions();
    script.says(peer, &Message::Request(whole(2, 0)));
    assert_eq!(script.sent(peer), [Message::RejectRequest(whole(2, 0))]);
}

#[test]
fn a_piece_that_is_lost_is_no_longer_served_and_its_requests_are_answered() {
    let mut script = Script::seed(8);
    let peer = customer(&mut script, 1);
    script.says(peer, &Message::Request(whole(2, 0)));
    script.says(peer, &Message::Request(whole(3, 0)));
    script.actions();
    script.swarm.piece_lost(script.now, 2);
    assert_eq!(script.sent(peer), [Message::RejectRequest(whole(2, 0))]);
    assert_eq!(script.takes(peer, u32::MAX), [whole(3, 0)]);
    assert_eq!(script.swarm.stats(script.now).verified_bytes, u64::from(7 * PIECE));
}

#[test]
fn while_seeding_everybody_gets_turns() {
    let mut config = config(8, Bitfield::full(8));
    config.settings.upload_slots = 2;
    let mut script = Script::start(config);
    let peers: Vec<_> = (1..=6).map(|number| customer(&mut script, number)).collect();
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..60 {
        for action in script.actions() {
            if let Action::Send { peer, message: Message::Unchoke } = action {
                served.insert(peer);
            }
        }
        let unchoked = script.swarm.peers(script.now).iter().filter(|peer| peer.unchoked).count();
        assert_eq!(unchoked, 2, "no slot is empty, none too many");
        peers.iter().for_each(|peer| script.says(*peer, &Message::KeepAlive));
        script.seconds_later(10);
    }
    assert_eq!(served.len(), peers.len());
}

#[test]
fn nobody_is_choked_and_unchoked_in_one_round() {
    let mut config = config(8, Bitfield::full(8));
    config.settings.upload_slots = 2;
    let mut script = Script::start(config);
    let peers: Vec<_> = (1..=6).map(|number| customer(&mut script, number)).collect();
    let mut changes = 0;
    for second in 0..600 {
        let mut changed = Vec::new();
        for action in script.actions() {
            if let Action::Send { peer, message: Message::Choke | Message::Unchoke } = action {
                assert!(!changed.contains(&peer), "second {second}");
                changed.push(peer);
            }
        }
        changes += changed.len();
        peers.iter().for_each(|peer| script.says(*peer, &Message::KeepAlive));
        script.later(Duration::from_secs(1));
    }
    assert!(changes > 20 && changes <= 2 * 2 * 60, "{changes} changes in 60 rounds of two slots");
}
