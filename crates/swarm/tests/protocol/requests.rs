//! Asking for blocks: order, choke, rejections, late blocks, budgets (BEP 3, 6).

use std::time::Duration;

use metainfo::Geometry;
use swarm::{Action, BlockFate, BlockOutcome, Fault, Hello, PeerKey};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, Reserved};

use crate::script::{BLOCK, Script, config, extended, fast, plain, whole};

#[test]
fn blocks_of_a_piece_are_asked_in_order() {
    let mut script = Script::leecher(1);
    let peer = script.source(plain(1), &[0]);
    assert_eq!(script.requests(peer), [0, 1, 2, 3].map(|block| whole(0, block)));
}

#[test]
fn peers_work_on_different_pieces() {
    let mut script = Script::leecher(8);
    let first = script.source(plain(1), &[0, 1, 2, 3, 4, 5, 6, 7]);
    let asked_first = script.requests(first);
    let second = script.source(plain(2), &[0, 1, 2, 3, 4, 5, 6, 7]);
    let asked_second = script.requests(second);
    assert!(!asked_first.is_empty() && !asked_second.is_empty());
    assert!(asked_first.iter().all(|block| asked_second.iter().all(|o| o.piece != block.piece)));
}

#[test]
fn a_choke_takes_requests_back_and_late_blocks_are_still_welcome() {
    let mut script = Script::leecher(1);
    let peer = script.source(plain(1), &[0]);
    let asked = script.requests(peer);
    script.says(peer, &Message::Choke);
    assert_eq!(script.requests(peer), [], "nothing is asked of who chokes");
    let other = script.source(plain(2), &[0]);
    assert_eq!(script.requests(other), asked, "its blocks are free for others");
    assert_eq!(script.gives(peer, asked[0]), BlockOutcome::Stored);
    assert_eq!(script.sent(other), [Message::Cancel(asked[0])]);
    assert_eq!(script.gives(other, asked[0]), BlockOutcome::Unwanted, "it was on its way already");
    let stats = script.swarm.stats(script.now);
    assert_eq!(stats.wasted, u64::from(BLOCK));
}

#[test]
fn with_the_fast_extension_a_choke_leaves_each_request_to_its_answer() {
    let mut script = Script::leecher(1);
    let peer = script.source(fast(1), &[0]);
    let asked = script.requests(peer);
    script.says(peer, &Message::Choke);
    let other = script.source(plain(2), &[0]);
    assert_eq!(script.requests(other), [], "the peer still owes answers");
    assert_eq!(script.gives(peer, asked[0]), BlockOutcome::Stored);
    script.says(peer, &Message::RejectRequest(asked[1]));
    assert_eq!(script.requests(other), [asked[1]]);
}

#[test]
fn a_rejection_of_what_was_never_asked_is_a_fault() {
    let mut script = Script::leecher(1);
    let peer = script.source(fast(1), &[0]);
    let asked = script.requests(peer);
    script.says(peer, &Message::RejectRequest(asked[0]));
    let again = script.fault(peer, &Message::RejectRequest(asked[0]));
    assert_eq!(again, Fault::RejectedNothing);
}

#[test]
fn a_burst_of_rejections_is_one_reason_to_wait() {
    let mut script = Script::leecher(8);
    let peer = script.source(fast(1), &[0, 1, 2, 3, 4, 5, 6, 7]);
    let asked = script.requests(peer);
    assert!(asked.len() >= 4);
    for block in asked {
        script.says(peer, &Message::RejectRequest(block));
    }
    assert_eq!(script.requests(peer), [], "not at once again");
    script.later(Duration::from_millis(600));
    let asked = script.requests(peer);
    assert!(!asked.is_empty(), "but soon");
    for block in asked {
        script.says(peer, &Message::RejectRequest(block));
    }
    script.later(Duration::from_millis(600));
    assert_eq!(script.requests(peer), [], "the second wait is longer");
}

#[test]
fn allowed_pieces_are_asked_for_while_choked_if_the_peer_has_them() {
    let mut script = Script::leecher(8);
    let peer = script.joins(fast(1));
    script.has(peer, &[2]);
    script.says(peer, &Message::AllowedFast(2));
    script.says(peer, &Message::AllowedFast(5)); // does not say that it has it
    let asked = script.requests(peer);
    assert!(!asked.is_empty() && asked.iter().all(|block| block.piece == 2), "{asked:?}");
    for block in asked {
        script.says(peer, &Message::RejectRequest(block));
    }
    script.seconds_later(60);
    assert_eq!(script.requests(peer), [], "it was not allowed after all");
}

#[test]
fn a_suggested_piece_is_preferred() {
    for seed in 0..20 {
        let mut config = config(50, Bitfield::new(50));
        config.seed = seed;
        let mut script = Script::start(config);
        let peer = script.joins(fast(1));
        script.says(peer, &Message::HaveAll);
        script.says(peer, &Message::SuggestPiece(31));
        script.says(peer, &Message::Unchoke);
        assert_eq!(script.requests(peer)[0].piece, 31);
    }
}

#[test]
fn the_newest_suggestions_count() {
    let mut script = Script::leecher(50);
    let peer = script.joins(fast(1));
    script.has(peer, &[40]);
    for piece in 0..30 {
        script.says(peer, &Message::SuggestPiece(piece)); // none of which it has
    }
    script.says(peer, &Message::Have(45));
    script.says(peer, &Message::SuggestPiece(45));
    script.says(peer, &Message::Unchoke);
    assert_eq!(script.requests(peer)[0].piece, 45);
}

#[test]
fn the_rarest_piece_comes_first_once_something_is_there() {
    let mut have = Bitfield::new(20);
    (0..5).for_each(|piece| assert!(have.insert(piece)));
    let mut script = Script::start(config(20, have));
    let common: Vec<u32> = (0..20).filter(|piece| *piece != 13).collect();
    for number in 10..14 {
        let peer = script.joins(plain(number));
        script.has(peer, &common);
    }
    let peer = script.source(plain(1), &(0..20).collect::<Vec<_>>());
    assert_eq!(script.requests(peer)[0].piece, 13);
}

#[test]
fn the_first_pieces_are_random_ones() {
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let mut config = config(20, Bitfield::new(20));
        config.seed = seed;
        let mut script = Script::start(config);
        let common: Vec<u32> = (0..20).filter(|piece| *piece != 13).collect();
        let other = script.joins(plain(2));
        script.has(other, &common);
        let peer = script.source(plain(1), &(0..20).collect::<Vec<_>>());
        firsts.insert(script.requests(peer)[0].piece);
    }
    assert!(firsts.len() > 5, "a rare piece is slow to get: {firsts:?}");
}

#[test]
fn blocks_nobody_asked_for_are_tolerated_a_few_times() {
    let mut script = Script::leecher(4);
    let peer = script.source(plain(1), &[0]);
    let asked = script.requests(peer);
    for wrong in [
        whole(3, 0),
        BlockRequest { begin: 1, ..asked[0] },
        BlockRequest { length: BLOCK - 1, ..asked[0] },
        BlockRequest { piece: u32::MAX, begin: u32::MAX, length: u32::MAX },
    ] {
        assert_eq!(script.swarm.block_head(script.now, peer, wrong), Ok(BlockFate::Discard));
        assert_eq!(script.swarm.block(script.now, peer, wrong), BlockOutcome::Unwanted);
    }
    assert_eq!(script.gives(peer, asked[0]), BlockOutcome::Stored);
    let ends = (0..100).find_map(|_| script.swarm.block_head(script.now, peer, whole(3, 0)).err());
    assert_eq!(ends, Some(Fault::Unrequested));
}

#[test]
fn the_peers_queue_limit_counts_requests_whatever_their_size() {
    let mut config = config(1, Bitfield::new(1));
    config.geometry = Geometry::new(1 << 20, 1024).unwrap(); // 1,024 pieces of 1 KiB
    config.have = Bitfield::new(1024);
    let mut script = Script::start(config);
    let peer = script.joins(extended(1));
    script.handshake(peer, &ExtendedHandshake { reqq: Some(3), ..ExtendedHandshake::default() });
    script.has_all(peer);
    script.says(peer, &Message::Unchoke);
    assert_eq!(script.requests(peer).len(), 3);
}

#[test]
fn a_piece_nobody_can_finish_does_not_hold_the_budget() {
    let mut script = Script::leecher(2);
    script.swarm.set_reserve_limit(script.now, 1); // one piece at a time
    let leaver = script.source(plain(1), &[0]);
    let asked = script.requests(leaver);
    script.gives(leaver, asked[0]);
    script.leaves(leaver);
    let peer = script.source(plain(2), &[1]);
    let actions = script.actions();
    assert!(actions.contains(&Action::Abandon { piece: 0 }), "{actions:?}");
    let asked = actions.iter().any(|action| {
        matches!(action, Action::Send { message: Message::Request(block), .. } if block.piece == 1)
    });
    assert!(asked, "{actions:?}");
    assert_eq!(script.swarm.reserved_blocks(), 4);
    script.says(peer, &Message::Have(0));
    script.delivers(peer);
    assert!(!script.swarm.is_complete(), "blocks of piece 1 were dropped from the actions above");
    script.seconds_later(60);
    script.delivers(peer);
    assert!(script.swarm.is_complete());
}

#[test]
fn an_open_piece_somebody_can_finish_is_never_abandoned() {
    let mut script = Script::leecher(2);
    script.swarm.set_reserve_limit(script.now, 1);
    let first = script.source(plain(1), &[0]);
    assert_eq!(script.requests(first).len(), 4);
    let second = script.source(plain(2), &[1]);
    assert_eq!(script.actions().len(), 1, "only interest: the budget is in use");
    script.delivers(first);
    script.seconds_later(60);
    script.actions();
    script.swarm.set_reserve_limit(script.now, 100);
    assert!(!script.requests(second).is_empty());
}

#[test]
fn a_request_that_the_peer_forgot_is_asked_of_another() {
    let mut script = Script::leecher(64);
    let every: Vec<u32> = (0..64).collect();
    let peer = script.source(plain(1), &every);
    let mut queue = std::collections::VecDeque::from(script.requests(peer));
    let forgotten = queue.pop_front().unwrap();
    // It goes on with everything else, well past the forgotten one's time.
    for half_second in 0..60 {
        script.later(Duration::from_millis(500));
        assert!(!script.swarm.peers(script.now)[0].snubbed, "one loss is no stall");
        script.gives(peer, queue.pop_front().unwrap());
        let more = script.requests(peer);
        if more.contains(&forgotten) {
            assert!(half_second > 2, "at once is too soon");
            return;
        }
        queue.extend(more);
    }
    panic!("the forgotten block was never asked for again");
}

#[test]
fn the_end_game_asks_two_and_cancels_the_slower() {
    let mut script = Script::leecher(1);
    let slow = script.source(plain(1), &[0]);
    let asked = script.requests(slow);
    // One block in five seconds: the other three are a quarter of a minute away.
    script.later(Duration::from_secs(5));
    script.gives(slow, asked[0]);
    script.actions();
    let quick = script.source(plain(2), &[0]);
    let third = script.source(plain(3), &[0]);
    let mut twice = std::collections::BTreeMap::new();
    for _ in 0..8 {
        for action in script.actions() {
            if let Action::Send { message: Message::Request(block), .. } = action {
                *twice.entry(block).or_insert(0) += 1;
            }
        }
        script.later(Duration::from_millis(300));
    }
    assert!(!twice.is_empty(), "idle peers take over");
    assert!(twice.values().all(|copies| *copies == 1), "never a third copy: {twice:?}");
    let (&block, _) = twice.first_key_value().unwrap();
    let owner =
        [quick, third].into_iter().find(|peer| script.gives(*peer, block) == BlockOutcome::Stored);
    assert!(owner.is_some());
    assert!(script.sent(slow).contains(&Message::Cancel(block)));
}

#[test]
fn no_copies_while_there_is_other_work() {
    let mut script = Script::leecher(40);
    let slow = script.source(plain(1), &[0]);
    script.later(Duration::from_secs(5));
    script.actions();
    script.source(plain(2), &(1..40).collect::<Vec<_>>()); // has work, and not that piece
    let idle = script.source(plain(3), &[0]);
    script.actions();
    for _ in 0..10 {
        script.later(Duration::from_millis(300));
        assert_eq!(script.requests(idle), [], "{slow:?} still has the piece");
    }
}

#[test]
fn the_end_game_wakes_an_idle_peer_by_itself() {
    let mut script = Script::leecher(1);
    let slow = script.source(plain(1), &[0]);
    script.actions();
    script.source(plain(2), &[0]);
    script.actions();
    let wake = script.swarm.next_timeout().unwrap().saturating_sub(script.now);
    assert!(wake <= Duration::from_millis(500), "{wake:?} with {slow:?} slow");
}

#[test]
fn who_waits_takes_over_once_another_stalls() {
    let mut script = Script::leecher(1);
    script.source(plain(1), &[0]);
    script.actions();
    let idle = script.source(plain(2), &[0]);
    assert_eq!(script.requests(idle), [], "the other may still be quick");
    let asked = (0..12).find_map(|_| {
        script.later(Duration::from_millis(250));
        script.requests(idle).pop()
    });
    assert!(asked.is_some(), "nothing but time passed");
}

/// One piece fits, and somebody who never delivers has it: whatever he does to keep his requests
/// from timing out, the next to have them is who may deliver.
#[test]
fn who_takes_back_what_he_promised_is_asked_after_the_others() {
    type Trick = fn(&mut Script, PeerKey);
    let choke: Trick = |script, peer| {
        script.says(peer, &Message::Choke);
        script.says(peer, &Message::Unchoke);
    };
    let withdraw: Trick = |script, peer| {
        script.says(peer, &Message::Extended { id: 2, payload: &[0; 4] });
        script.says(peer, &Message::Have(0));
    };
    for (trick, reserved) in [(choke, Reserved::default()), (withdraw, Reserved::ours())] {
        let mut script = Script::leecher(8);
        script.swarm.set_reserve_limit(script.now, 4);
        let [first, second] =
            [1, 2].map(|number| script.source(Hello { reserved, ..plain(number) }, &[0]));
        assert_eq!(script.requests(first).len(), 4);
        let honest = script.source(plain(3), &[0]);
        assert_eq!(script.requests(honest), [], "there is no room for more");
        let mut asked = Vec::new();
        for flapping in [first, second] {
            trick(&mut script, flapping);
            asked = script.requests(honest);
        }
        assert_eq!(asked.len(), 4, "both had their turn");
    }
}
