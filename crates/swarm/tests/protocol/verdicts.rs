//! Pieces that are good, bad or gone.

use std::net::IpAddr;

use swarm::{Action, BlockFate, BlockOutcome, Fault, Refusal};
use wire::{Bitfield, Message};

use crate::script::{PIECE, Script, addr, config, fast, plain, whole};

fn banned(actions: &[Action]) -> Vec<IpAddr> {
    let banned = |action: &Action| match action {
        Action::Banned { addr } => Some(*addr),
        _ => None,
    };
    actions.iter().filter_map(banned).collect()
}

#[test]
fn a_have_goes_to_who_lacks_the_piece() {
    let mut script = Script::leecher(2);
    let source = script.source(plain(1), &[0]);
    let lacks = script.joins(plain(2));
    for block in script.requests(source) {
        script.gives(source, block);
    }
    assert!(script.actions().contains(&Action::Verify { piece: 0 }));
    script.written(0);
    let actions = script.actions();
    let told: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { peer, message: Message::Have(0) } => Some(*peer),
            _ => None,
        })
        .collect();
    assert_eq!(told, [lacks]);
}

/// One that tells of its pieces one by one shows the next to who has the last (BEP 16).
#[test]
fn a_super_seed_hears_of_what_it_gave() {
    let mut script = Script::leecher(2);
    let seed = script.joins(fast(1));
    script.says(seed, &Message::HaveNone);
    script.says(seed, &Message::Have(0));
    script.says(seed, &Message::Unchoke);
    for block in script.requests(seed) {
        script.gives(seed, block);
    }
    script.written(0);
    assert!(script.sent(seed).contains(&Message::Have(0)));
}

#[test]
fn nothing_is_said_or_served_before_it_is_written() {
    let mut script = Script::leecher(1);
    let source = script.source(fast(1), &[0]);
    let other = script.joins(fast(2));
    script.says(other, &Message::HaveNone);
    script.says(other, &Message::Interested);
    for block in script.requests(source) {
        script.gives(source, block);
    }
    assert_eq!(script.actions(), [Action::Verify { piece: 0 }]);
    assert!(!script.swarm.have().has(0));
    script.says(other, &Message::Request(whole(0, 0)));
    assert_eq!(script.sent(other), [Message::RejectRequest(whole(0, 0))]);
}

#[test]
fn a_lone_sender_of_a_bad_piece_is_banned_with_all_its_connections() {
    let mut script = Script::leecher(1);
    let bad = script.source(plain(1), &[0]);
    let asked = script.requests(bad);
    let twin = script.joins(swarm::Hello { peer_id: wire::PeerId([77; 20]), ..plain(1) });
    for block in asked {
        script.gives(bad, block);
    }
    script.actions();
    script.swarm.piece_failed(script.now, 0, &[1, 2, 3, 4]);
    let actions = script.actions();
    assert_eq!(banned(&actions), [addr(1).ip()]);
    for peer in [bad, twin] {
        let dropped = Action::Disconnect { peer, reason: Fault::SentBadData };
        assert!(actions.contains(&dropped));
    }
    assert_eq!(script.swarm.stats(script.now).failed, u64::from(PIECE));
    script.leaves(bad);
    assert_eq!(script.refused(plain(1)), Refusal::Banned);
    let good = script.source(plain(2), &[0]);
    script.delivers(good);
    assert!(script.swarm.is_complete());
}

#[test]
fn what_a_banned_peer_still_sends_is_dropped() {
    let mut script = Script::leecher(2);
    let bad = script.source(plain(1), &[0, 1]);
    let mut first = None;
    let mut left = Vec::new();
    for block in script.requests(bad) {
        if *first.get_or_insert(block.piece) == block.piece {
            script.gives(bad, block);
        } else {
            left.push(block);
        }
    }
    left.extend(script.requests(bad));
    left.retain(|block| Some(block.piece) != first);
    assert!(!left.is_empty());
    script.swarm.piece_failed(script.now, first.unwrap(), &[0; 4]);
    let fate = script.swarm.block_head(script.now, bad, left[0]);
    assert_eq!(fate, Ok(BlockFate::Discard));
    assert_eq!(script.swarm.block(script.now, bad, left[0]), BlockOutcome::Unwanted);
}

#[test]
fn of_two_senders_only_the_one_whose_block_differed_is_banned() {
    let mut script = Script::leecher(1);
    let (first, second) = (script.source(plain(1), &[0]), script.joins(plain(2)));
    let asked = script.requests(first);
    script.gives(first, asked[0]);
    script.gives(first, asked[1]);
    script.says(first, &Message::Choke);
    script.has(second, &[0]);
    script.says(second, &Message::Unchoke);
    for block in script.requests(second) {
        script.gives(second, block);
    }
    script.actions();
    assert!(!script.swarm.wants_digests(0));
    script.swarm.piece_failed(script.now, 0, &[1, 2, 3, 99]);
    assert_eq!(banned(&script.actions()), [] as [IpAddr; 0], "no verdict yet");
    assert!(script.swarm.wants_digests(0));
    script.says(first, &Message::Unchoke);
    script.seconds_later(5);
    let third = script.source(plain(3), &[0]);
    for peer in [first, second, third] {
        for block in script.requests(peer) {
            script.gives(peer, block);
        }
    }
    for _ in 0..20 {
        script.seconds_later(20);
        for action in script.actions() {
            if let Action::Send { peer, message: Message::Request(block) } = action {
                script.gives(peer, block);
            }
        }
    }
    script.swarm.piece_good_digests(script.now, 0, &[1, 2, 3, 4]);
    script.written(0);
    assert_eq!(banned(&script.actions()), [addr(2).ip()]);
    assert!(!script.swarm.wants_digests(0));
}

#[test]
fn a_piece_on_parole_is_not_stuck_when_its_worker_chokes() {
    let mut script = Script::leecher(1);
    let (first, second) = (script.source(fast(1), &[0]), script.joins(fast(2)));
    let asked = script.requests(first);
    script.has(second, &[0]);
    script.says(second, &Message::Unchoke);
    script.gives(first, asked[0]);
    for block in &asked[1..] {
        script.says(first, &Message::RejectRequest(*block));
    }
    for block in script.requests(second) {
        script.gives(second, block);
    }
    script.actions();
    script.swarm.piece_failed(script.now, 0, &[1, 2, 3, 4]); // two senders: parole
    script.seconds_later(5);
    let mut worker = None;
    for action in script.actions() {
        if let Action::Send { peer, message: Message::Request(block) } = action {
            assert_eq!(*worker.get_or_insert(peer), peer, "one peer alone");
            if block.begin == 0 {
                script.gives(peer, block);
            } else {
                script.says(peer, &Message::RejectRequest(block));
            }
        }
    }
    let worker = worker.unwrap();
    let other = if worker == first { second } else { first };
    script.says(worker, &Message::Choke);
    script.seconds_later(5);
    assert!(!script.requests(other).is_empty(), "the other goes on with it");
}

#[test]
fn a_piece_of_pads_is_verified_without_a_request() {
    let mut config = config(2, Bitfield::new(2));
    config.pad_blocks = (0..4).map(|block| (1, block)).collect();
    let mut script = Script::start(config);
    let peer = script.source(plain(1), &[0, 1]);
    let mut verified = Vec::new();
    for _ in 0..3 {
        for action in script.actions() {
            match action {
                Action::Verify { piece } => verified.push(piece),
                Action::Send { message: Message::Request(block), .. } => {
                    assert_eq!(block.piece, 0, "pads are never asked for");
                    script.gives(peer, block);
                }
                _ => {}
            }
        }
    }
    verified.sort_unstable();
    assert_eq!(verified, [0, 1]);
}

#[test]
fn only_wanted_pieces_are_fetched() {
    let mut config = config(4, Bitfield::new(4));
    let mut wanted = Bitfield::new(4);
    wanted.insert(2);
    config.wanted = Some(wanted);
    let mut script = Script::start(config);
    let useless = script.joins(plain(2));
    script.has(useless, &[0, 1, 3]);
    assert_eq!(script.sent(useless), [], "not interesting");
    let peer = script.source(plain(1), &[0, 1, 2, 3]);
    script.delivers(peer);
    assert!(script.swarm.is_complete());
    assert_eq!(script.swarm.have().count(), 1);
    assert_eq!(script.swarm.stats(script.now).wanted_left, 0);
}

#[test]
fn padding_that_cannot_match_is_told_once_and_not_tried_again() {
    let mut config = config(2, Bitfield::new(2));
    config.pad_blocks = (0..4).map(|block| (1, block)).collect();
    let mut script = Script::start(config);
    let peer = script.source(plain(1), &[0, 1]);
    let mut verified = false;
    for _ in 0..3 {
        for action in script.actions() {
            match action {
                Action::Verify { piece: 1 } => verified = true,
                Action::Send { message: Message::Request(block), .. } => {
                    script.gives(peer, block);
                }
                _ => {}
            }
        }
    }
    assert!(verified);
    script.swarm.piece_failed(script.now, 1, &[0; 4]);
    let actions = script.actions();
    assert!(actions.contains(&Action::Impossible { piece: 1 }), "{actions:?}");
    assert!(!actions.contains(&Action::Verify { piece: 1 }), "{actions:?}");
    script.seconds_later(5);
    assert!(!script.actions().contains(&Action::Verify { piece: 1 }));
}

/// A late copy whose head came before the piece failed, and whose body comes after.
#[test]
fn a_body_that_is_dropped_is_never_stored() {
    let mut script = Script::leecher(1);
    let slow = script.source(plain(1), &[0]);
    let asked = script.requests(slow);
    let quick = script.source(plain(2), &[0]);
    script.seconds_later(100); // the slow one times out: the other is asked
    let again = script.requests(quick);
    assert!(again.contains(&asked[0]), "{again:?}");
    let mut waiting = again;
    while let Some(block) = waiting.pop() {
        script.gives(quick, block);
        waiting.extend(script.requests(quick));
    }
    let fate = script.swarm.block_head(script.now, slow, asked[0]).unwrap();
    assert_eq!(fate, BlockFate::Discard, "it is there");
    script.swarm.piece_failed(script.now, 0, &[1, 2, 3, 4]);
    assert_eq!(script.swarm.block(script.now, slow, asked[0]), BlockOutcome::Unwanted);
}
