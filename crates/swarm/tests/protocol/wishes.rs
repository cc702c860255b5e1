//! What is wanted changes while peers are connected (BEP 3, 21).

use swarm::{Action, BlockFate, BlockOutcome, Hello, PeerKey, Rank, Source, Wishes};
use wire::{ExtendedHandshake, Extension, Message};

use crate::script::{Script, addr, extended, fast, plain, whole};

fn ranks(ranks: &[Rank]) -> Wishes {
    Wishes { ranks: ranks.to_vec(), sequential: false }
}

fn wish(script: &mut Script, wishes: &Wishes) {
    script.swarm.set_wishes(script.now, wishes);
}

/// What the peer hears of our interest and of taken back requests.
fn news(script: &mut Script, peer: PeerKey) -> Vec<Message<'static>> {
    let mut sent = script.sent(peer);
    sent.retain(|message| !matches!(message, Message::Request(_) | Message::Have(_)));
    sent
}

use Rank::{First, High, Low, Normal, Skip};

#[test]
fn who_has_only_what_is_not_wanted_hears_it_at_once_and_again_when_it_is() {
    let mut script = Script::leecher(3);
    let (one, two) = (script.source(plain(1), &[0]), script.source(plain(2), &[1, 2]));
    let sent = script.sent(one);
    assert!(sent.contains(&Message::Interested));
    wish(&mut script, &ranks(&[Skip, Normal, Normal]));
    let sent = news(&mut script, one);
    let cancels = sent.iter().filter(|message| matches!(message, Message::Cancel(_))).count();
    assert_eq!(cancels, 4, "{sent:?}");
    assert!(sent.contains(&Message::NotInterested));
    wish(&mut script, &ranks(&[Normal, Skip, Skip]));
    let actions = script.actions();
    let says = |peer, message| Action::Send { peer, message };
    assert!(actions.contains(&says(one, Message::Interested)));
    assert!(actions.contains(&says(two, Message::NotInterested)));
    assert!(actions.contains(&says(one, Message::Request(whole(0, 0)))));
    assert_eq!(script.swarm.stats(script.now).wanted_left, u64::from(crate::script::PIECE));
}

#[test]
fn interest_counts_what_is_wanted_now() {
    let mut script = Script::leecher(4);
    let peer = script.source(plain(1), &[0, 1, 2]);
    wish(&mut script, &ranks(&[Normal, Skip, Skip, Skip]));
    script.delivers(peer);
    assert!(script.swarm.have().has(0) && script.swarm.have().count() == 1);
    assert!(script.swarm.is_complete());
    // One that was not of interest becomes so by one piece alone.
    wish(&mut script, &ranks(&[Normal, Skip, Normal, Skip]));
    assert!(news(&mut script, peer).contains(&Message::Interested));
}

#[test]
fn an_open_piece_that_is_not_wanted_any_more_is_dropped_and_its_late_block_too() {
    let mut script = Script::leecher(2);
    let peer = script.source(fast(1), &[0]);
    let asked = script.requests(peer);
    assert_eq!(script.gives(peer, asked[0]), BlockOutcome::Stored);
    wish(&mut script, &ranks(&[Skip, Normal]));
    let actions = script.actions();
    assert!(actions.contains(&Action::Abandon { piece: 0 }), "{actions:?}");
    let fate = script.swarm.block_head(script.now, peer, asked[1]).unwrap();
    assert_eq!(fate, BlockFate::Discard);
    assert_eq!(script.swarm.block(script.now, peer, asked[1]), BlockOutcome::Unwanted);
    assert_eq!(script.swarm.reserved_blocks(), 0);
    // Wanted again it is fetched whole.
    wish(&mut script, &Wishes::default());
    assert_eq!(script.requests(peer).len(), 4);
}

#[test]
fn a_piece_under_verification_arrives_though_nobody_wants_it_any_more() {
    let mut script = Script::leecher(2);
    let peer = script.source(plain(1), &[0]);
    for block in script.requests(peer) {
        script.gives(peer, block);
    }
    wish(&mut script, &ranks(&[Skip, Normal]));
    script.written(0);
    assert!(script.swarm.have().has(0));
    assert_eq!(script.swarm.stats(script.now).wanted_left, u64::from(crate::script::PIECE));
    script.actions();
    // And when it was bad it is not asked for again.
    let peer = script.source(plain(2), &[1]);
    for block in script.requests(peer) {
        script.gives(peer, block);
    }
    wish(&mut script, &ranks(&[Normal, Skip]));
    script.swarm.piece_failed(script.now, 1, &[1, 2, 3, 4]);
    assert!(script.requests(peer).is_empty());
}

fn upload_only(script: &mut Script, peer: PeerKey) -> Vec<Vec<u8>> {
    let said = |action| match action {
        Action::SendExtended { peer: to, id: 7, payload } if to == peer => Some(payload),
        _ => None,
    };
    script.actions().into_iter().filter_map(said).collect()
}

#[test]
fn a_partial_seed_says_so_and_takes_it_back() {
    let mut script = Script::leecher(3);
    let peer = script.source(extended(1), &[0]);
    let theirs = ExtendedHandshake {
        extensions: vec![(Extension::UploadOnly.name().into(), 7)],
        ..ExtendedHandshake::default()
    };
    script.handshake(peer, &theirs);
    script.delivers(peer);
    wish(&mut script, &ranks(&[Normal, Skip, Skip]));
    let actions = script.actions();
    let complete = actions.iter().filter(|action| **action == Action::Complete).count();
    assert_eq!(complete, 1, "nothing that is wanted is missing: {actions:?}");
    assert!(actions.iter().any(
        |action| matches!(action, Action::SendExtended { id: 7, payload, .. } if payload == &[1])
    ));
    assert!(script.swarm.is_complete());
    wish(&mut script, &ranks(&[Normal, Normal, Skip]));
    assert_eq!(upload_only(&mut script, peer), [vec![0]]);
    assert!(!script.swarm.is_complete());
    // The same wish again is no news.
    wish(&mut script, &ranks(&[Normal, Normal, Skip]));
    assert!(upload_only(&mut script, peer).is_empty());
}

/// The pieces in the order in which their first block is asked for.
fn order(script: &mut Script, peer: PeerKey) -> Vec<u32> {
    let mut order: Vec<u32> = Vec::new();
    loop {
        let mut asked = Vec::new();
        let mut verified = false;
        for action in script.actions() {
            match action {
                Action::Send { message: Message::Request(block), .. } => asked.push(block),
                Action::Verify { piece } => {
                    script.written(piece);
                    verified = true;
                }
                _ => {}
            }
        }
        if asked.is_empty() && !verified {
            return order;
        }
        for block in asked {
            if !order.contains(&block.piece) {
                order.push(block.piece);
            }
            script.gives(peer, block);
        }
    }
}

#[test]
fn first_high_normal_low_and_never_what_is_skipped() {
    let mut script = Script::leecher(5);
    wish(&mut script, &ranks(&[Low, Normal, High, First, Skip]));
    let peer = script.source(plain(1), &[0, 1, 2, 3, 4]);
    assert_eq!(order(&mut script, peer), [3, 2, 1, 0]);
    assert!(script.swarm.is_complete());
}

#[test]
fn in_order_whatever_a_peer_suggests_and_however_rare() {
    let mut script = Script::leecher(20);
    let common = script.source(plain(2), &(0..10).collect::<Vec<_>>());
    script.leaves(common);
    wish(&mut script, &Wishes { ranks: Vec::new(), sequential: true });
    let peer = script.joins(fast(1));
    script.has_all(peer);
    script.says(peer, &Message::SuggestPiece(17));
    script.says(peer, &Message::Unchoke);
    let order = order(&mut script, peer);
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_seed_that_was_left_is_dialled_at_once_when_something_is_wanted_again() {
    let mut script = Script::leecher(2);
    wish(&mut script, &ranks(&[Normal, Skip]));
    script.swarm.add_candidates(script.now, Source::User, &[addr(1)]);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(1)));
    let peer = script.source(Hello { outgoing: true, ..plain(1) }, &[0, 1]);
    script.delivers(peer);
    script.leaves(peer);
    script.seconds_later(1);
    assert_eq!(script.swarm.next_dial(script.now), None, "nothing is wanted of a seed");
    wish(&mut script, &Wishes::default());
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(1)));
}
