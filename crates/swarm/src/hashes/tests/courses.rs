//! Any course of events, in any order.

use super::*;

/// One thing that happens to a swarm of v2.
#[derive(Debug, Clone)]
enum Happens {
    /// A peer answers the oldest request for hashes: rightly, wrongly, or with a rejection.
    Answer(u8),
    /// It sends the oldest block that it was asked for.
    Block,
    /// The pool finds the oldest block good, or bad.
    Proof(bool),
    /// A message about any hashes.
    Any(u8, HashRequest, usize),
    Written,
    Failed,
    Tick(u8),
    Leaves,
    Joins(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    let request = (any::<bool>(), 0_u32..4, any::<u32>(), 0_u32..20, 0_u32..6);
    let any_message = (0_u8..3, request, 0_usize..9).prop_map(|(kind, request, count)| {
        let (known, base_layer, index, exponent, proof_layers) = request;
        let root = if known { Sample::new(40).tree.root() } else { [9; 32] };
        let (index, length) = (index % 64, 1 << exponent);
        Happens::Any(kind, HashRequest { root, base_layer, index, length, proof_layers }, count)
    });
    prop_oneof![
        3 => (0_u8..6).prop_map(Happens::Answer),
        8 => Just(Happens::Block),
        6 => any::<bool>().prop_map(Happens::Proof),
        2 => any_message,
        2 => Just(Happens::Written),
        1 => Just(Happens::Failed),
        1 => (0_u8..30).prop_map(Happens::Tick),
        1 => Just(Happens::Leaves),
        2 => any::<bool>().prop_map(Happens::Joins),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, the books are right: no block is proved that is not there, every piece that
    /// goes to the disk is whole, and what is not known to be good is never among what is proved.
    #[test]
    fn any_course_leaves_the_books_right(
        with_layer in any::<bool>(),
        course in proptest::collection::vec(happens(), 1..120),
    ) {
        let sample = Sample::new(40);
        let mut swarm = sample.swarm(false, with_layer);
        let mut now = START;
        let mut peers = vec![seed(&mut swarm, 1, true)];
        let mut number = 1_u8;
        let (mut asked, mut blocks, mut proving) = (Vec::new(), Vec::new(), Vec::new());
        let (mut verifying, mut good) = (Vec::new(), std::collections::BTreeSet::new());
        for event in course {
            match event {
                Happens::Answer(how) if !asked.is_empty() => {
                    let (peer, request): (PeerKey, HashRequest) = asked.remove(0);
                    let mut hashes = sample.honest(&request);
                    hashes[0][0] ^= u8::from(how == 1);
                    let message = match how {
                        0 => Message::HashReject(request),
                        _ => Message::Hashes { request, hashes: &hashes },
                    };
                    let heard = swarm.handle(now, peer, &message);
                    prop_assert!(how == 1 || heard.is_ok(), "{:?}", heard);
                    if heard.is_err() {
                        swarm.remove_peer(now, peer);
                    }
                }
                Happens::Block if !blocks.is_empty() => {
                    let (peer, block): (PeerKey, BlockRequest) = blocks.remove(0);
                    if swarm.block_head(now, peer, block).is_ok() {
                        swarm.block(now, peer, block);
                    }
                }
                Happens::Proof(is_good) if !proving.is_empty() => {
                    let (block, _, opened): (BlockRequest, MerkleHash, u32) = proving.remove(0);
                    let outcome = swarm.block_proved(now, block, opened, is_good);
                    prop_assert!(is_good || outcome == BlockOutcome::Unwanted);
                    if outcome == BlockOutcome::Stored {
                        good.insert((block.piece, block.begin / BLOCK));
                    }
                }
                Happens::Any(kind, request, count) => {
                    let hashes = vec![[7; 32]; count + 1];
                    let message = match kind {
                        0 => Message::HashRequest(request),
                        1 => Message::Hashes { request, hashes: &hashes },
                        _ => Message::HashReject(request),
                    };
                    for peer in swarm.peers.keys() {
                        if swarm.handle(now, peer, &message).is_err() {
                            swarm.remove_peer(now, peer);
                        }
                    }
                }
                Happens::Written => {
                    for piece in verifying.drain(..) {
                        swarm.piece_written(now, piece);
                    }
                }
                Happens::Failed => {
                    for piece in verifying.drain(..) {
                        swarm.piece_failed(now, piece, &[1, 2, 3, 4]);
                        good.retain(|(of, _)| *of != piece);
                    }
                }
                Happens::Tick(seconds) => {
                    now += Duration::from_secs(seconds.into());
                    swarm.tick(now);
                }
                Happens::Leaves => {
                    if let Some(peer) = peers.pop() {
                        swarm.remove_peer(now, peer);
                    }
                }
                Happens::Joins(v2) => {
                    number += 1;
                    if let Ok(peer) = swarm.add_peer(now, hello(number, v2)) {
                        let _ = swarm.handle(now, peer, &Message::HaveAll);
                        let _ = swarm.handle(now, peer, &Message::Unchoke);
                        peers.push(peer);
                    }
                }
                _ => {}
            }
            for action in actions(&mut swarm) {
                match action {
                    Action::Send { peer, message: Message::HashRequest(request) } => {
                        prop_assert!(request.is_sound(sample.tree.top()), "{:?}", request);
                        asked.push((peer, request));
                    }
                    Action::Send { peer, message: Message::Request(block) } => {
                        prop_assert!(swarm.piece_tree(block.piece).is_some(), "unverifiable");
                        blocks.push((peer, block));
                    }
                    Action::Prove { block, leaf: hash, opened, .. } => {
                        prop_assert_eq!(hash, leaf(block.piece * 4 + block.begin / BLOCK));
                        proving.push((block, hash, opened));
                    }
                    Action::Verify { piece } => verifying.push(piece),
                    Action::Abandon { piece } => good.retain(|(of, _)| *of != piece),
                    Action::Disconnect { peer, .. } => swarm.remove_peer(now, peer),
                    _ => {}
                }
            }
            swarm.pieces.assert_consistent();
            for (piece, block) in (0..10).flat_map(|piece| (0..4).map(move |block| (piece, block))) {
                prop_assert!(
                    !swarm.is_block_proved(piece, block) || good.contains(&(piece, block))
                );
            }
        }
    }
}
