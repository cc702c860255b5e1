//! Hashes that peers ask us for: what is given, what is not, and how much in which time.

use super::*;
use crate::hashes::upper::{AT_ONCE_MAX, counting};

/// What a seed of `sample` answers: hashes, or nothing for a rejection. `None` while it is asked
/// for leaves first.
fn ask(swarm: &mut Swarm, sample: &Sample, request: HashRequest) -> Option<Vec<MerkleHash>> {
    let peer = swarm.peers.keys()[0];
    swarm.handle(START, peer, &Message::HashRequest(request)).unwrap();
    loop {
        let said = actions(swarm);
        for action in &said {
            match action {
                Action::SendHashes { request: of, .. } if *of == request => {
                    return swarm.hashes_for(&request);
                }
                Action::Send { message: Message::HashReject(of), .. } if *of == request => {
                    return None;
                }
                Action::HashUpper { tree, work } => {
                    swarm.upper_hashed(START, *tree, Some(work.make()));
                }
                Action::HashLeaves { piece } => {
                    let leaves = (piece * 4..sample.blocks.min(piece * 4 + 4)).map(leaf);
                    swarm.leaves_hashed(START, *piece, Some(leaves.collect()));
                }
                _ => {}
            }
        }
        assert!(!said.is_empty(), "every request has an answer");
    }
}

#[test]
fn requests_off_their_boundary_or_beyond_what_is_given_are_rejected() {
    let sample = Sample::new(4 * 5);
    let mut swarm = sample.swarm(true, true);
    swarm.add_peer(START, hello(1, true)).unwrap();
    let root = sample.tree.root();
    let of = |base_layer, index, length, proof_layers| HashRequest {
        root,
        base_layer,
        index,
        length,
        proof_layers,
    };
    for good in [of(0, 0, 2, 0), of(0, 6, 2, 4), of(0, 16, 4, 4), of(2, 0, 8, 2), of(2, 4, 2, 2)] {
        assert_eq!(ask(&mut swarm, &sample, good), Some(sample.honest(&good)), "{good:?}");
    }
    for bad in [
        of(0, 1, 2, 0),  // off its boundary
        of(0, 0, 3, 0),  // no power of two
        of(0, 0, 8, 0),  // more than a piece's leaves
        of(0, 20, 4, 0), // beyond the file
        of(1, 0, 2, 0),  // neither leaves nor pieces
        of(2, 8, 8, 0),  // outside the tree
        of(2, 0, 8, 3),  // a proof beyond the root
        HashRequest { root: [9; 32], ..of(0, 0, 2, 0) },
    ] {
        assert_eq!(ask(&mut swarm, &sample, bad), None, "{bad:?}");
    }
}

#[test]
fn leaves_of_what_is_not_there_or_spoilt_are_not_given() {
    let sample = Sample::new(8);
    let mut swarm = sample.swarm(false, true);
    swarm.add_peer(START, hello(1, true)).unwrap();
    let request = HashRequest {
        root: sample.tree.root(),
        base_layer: 0,
        index: 0,
        length: 4,
        proof_layers: 0,
    };
    assert_eq!(ask(&mut swarm, &sample, request), None);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    for leaves in [None, Some(vec![[0; 32]; 4]), Some(vec![leaf(0)])] {
        swarm.handle(START, peer, &Message::HashRequest(request)).unwrap();
        assert!(actions(&mut swarm).contains(&Action::HashLeaves { piece: 0 }));
        swarm.leaves_hashed(START, 0, leaves);
        let reject = Action::Send { peer, message: Message::HashReject(request) };
        assert_eq!(actions(&mut swarm), [reject]);
    }
}

#[test]
fn one_piece_is_hashed_at_a_time_and_few_requests_wait() {
    let sample = Sample::new(4 * 64);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    actions(&mut swarm);
    for piece in 0..64 {
        let root = sample.tree.root();
        let request =
            HashRequest { root, base_layer: 0, index: piece * 4, length: 4, proof_layers: 0 };
        swarm.handle(START, peer, &Message::HashRequest(request)).unwrap();
    }
    let said = actions(&mut swarm);
    let hashing = said.iter().filter(|action| matches!(action, Action::HashLeaves { .. }));
    let rejected = said.iter().filter(|action| matches!(action, Action::Send { .. }));
    assert_eq!((hashing.count(), rejected.count()), (1, 64 - WAITING_OF_ONE));
}

const WAITING_OF_ONE: usize = 32;

/// What is above the only file's layer is there.
fn is_made(swarm: &Swarm) -> bool {
    swarm.hashes.as_ref().unwrap().serving.upper.contains_key(&0)
}

/// Asks at `now`; what was given, read and made for it, in hashes. Nothing for a rejection.
fn costs(swarm: &mut Swarm, now: Duration, peer: PeerKey, request: HashRequest) -> u32 {
    let was_made = is_made(swarm);
    swarm.handle(now, peer, &Message::HashRequest(request)).unwrap();
    let mut cost = 0;
    if is_made(swarm) && !was_made {
        cost += swarm.hashes.as_ref().unwrap().trees[0].layer.as_ref().unwrap().len() as u32;
    }
    loop {
        let said = actions(swarm);
        for action in &said {
            match action {
                Action::SendHashes { request, .. } => cost += request.length + request.uncles(),
                Action::HashUpper { tree, work } => {
                    cost += work.hashes() as u32;
                    swarm.upper_hashed(now, *tree, Some(work.make()));
                }
                Action::HashLeaves { piece } => {
                    let leaves: Vec<_> = (piece * 4..piece * 4 + 4).map(leaf).collect();
                    cost += 4;
                    swarm.leaves_hashed(now, *piece, Some(leaves));
                }
                _ => {}
            }
        }
        if said.is_empty() {
            return cost;
        }
    }
}

fn leaves_of(sample: &Sample, piece: u32) -> HashRequest {
    let (root, index) = (sample.tree.root(), piece * 4);
    HashRequest { root, base_layer: 0, index, length: 4, proof_layers: 1 }
}

#[test]
fn who_asks_for_ever_costs_little_in_any_time_and_is_not_freed_by_coming_back() {
    let sample = Sample::new(4 * 8192);
    let mut swarm = sample.swarm(true, true);
    let mut total = 0;
    for round in 0..600 {
        // Ten questions a second of each kind, for a minute, every second on a new connection.
        let now = START + Duration::from_millis(round * 100);
        let peer = match swarm.peers.keys().first() {
            Some(peer) if round % 10 != 0 => *peer,
            before => {
                before.into_iter().for_each(|peer| swarm.remove_peer(now, *peer));
                swarm.add_peer(now, hello(1, true)).unwrap()
            }
        };
        let root = sample.tree.root();
        let layer = HashRequest { root, base_layer: 2, index: 0, length: 512, proof_layers: 12 };
        for piece in 0..64 {
            total += costs(&mut swarm, now, peer, leaves_of(&sample, piece * 97 % 8192));
            total += costs(&mut swarm, now, peer, layer);
        }
    }
    // All layers three times and 128 MiB of leaves at once, then 1,024 a second. What is above the layers
    // is made again only for who owes so little that it fits.
    let most = 3 * 8192 + 16 * 1024 + 60 * 1024;
    assert!((most - 9216..most + 1024).contains(&total), "{total}, not {most}");
    // Somebody else is served all the same.
    let (now, other) = (START + Duration::from_mins(1), hello(2, true));
    let other = swarm.add_peer(now, other).unwrap();
    assert!(costs(&mut swarm, now, other, leaves_of(&sample, 1)) > 0);
}

#[test]
fn what_is_above_a_layer_is_made_once_and_paid_by_who_has_it_made() {
    let sample = Sample::new(4 * 8192);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    let root = sample.tree.root();
    let asks =
        |length, proof_layers| HashRequest { root, base_layer: 2, index: 0, length, proof_layers };
    assert_eq!(costs(&mut swarm, START, peer, leaves_of(&sample, 0)), 8, "nothing is made for it");
    assert!(!is_made(&swarm));
    assert_eq!(costs(&mut swarm, START, peer, asks(2, 0)), 2, "nor for a run alone");
    assert!(!is_made(&swarm));
    assert_eq!(costs(&mut swarm, START, peer, asks(2, 1)), 8192 + 2 + 1);
    // A copy of the layer alone is 256 KiB.
    let one_answer = || drop(swarm.hashes_for(&asks(2, 12)).unwrap());
    let info = allocation_counter::measure(one_answer);
    assert!(info.bytes_total < 16 * 1024, "{} bytes for one answer", info.bytes_total);
    assert_eq!(costs(&mut swarm, START, peer, asks(2, 12)), 2 + 12, "paid once");
    // Who comes back has it made again, and owes it again: more than fits after a few times.
    let mut times = 1;
    for _ in 0..9 {
        let peer = swarm.peers.keys()[0];
        swarm.remove_peer(START, peer);
        let peer = swarm.add_peer(START, hello(1, true)).unwrap();
        times += u32::from(costs(&mut swarm, START, peer, asks(2, 1)) > 0);
    }
    assert_eq!(times, (3 * 8192 + 16 * 1024) / 8200);
}

/// Hashes of a long layer are hashed elsewhere: no step of ours takes more than those of a short one, whatever
/// is asked.
#[test]
fn the_top_of_a_long_layer_is_made_elsewhere_and_all_who_ask_meanwhile_wait_for_it() {
    let sample = Sample::new(4 * 20_000);
    let mut swarm = sample.swarm(true, true);
    let peers = [1, 2, 3].map(|number| swarm.add_peer(START, hello(number, true)).unwrap());
    actions(&mut swarm);
    let root = sample.tree.root();
    let of_layer = HashRequest { root, base_layer: 2, index: 512, length: 512, proof_layers: 14 };
    let of_leaves = HashRequest { root, base_layer: 0, index: 0, length: 4, proof_layers: 16 };
    let mut most = 0;
    let mut step = || most = most.max(counting::hashed());
    counting::hashed();
    let mut works = Vec::new();
    for (peer, request) in [(0, of_layer), (1, of_layer), (1, of_leaves), (2, of_layer)] {
        swarm.handle(START, peers[peer], &Message::HashRequest(request)).unwrap();
        step();
        for action in actions(&mut swarm) {
            match action {
                Action::HashUpper { tree: 0, work } => works.push(work),
                Action::HashLeaves { piece: 0 } => {
                    swarm.leaves_hashed(START, 0, Some((0..4).map(leaf).collect()));
                    step();
                }
                other => panic!("{other:?} before it is made"),
            }
        }
    }
    assert_eq!(works.len(), 1, "once for all");
    swarm.remove_peer(START, peers[2]);
    actions(&mut swarm);
    let upper = works.pop().unwrap().make();
    assert_eq!(counting::hashed(), 20_000, "elsewhere");
    swarm.upper_hashed(START, 0, Some(upper));
    step();
    let given = actions(&mut swarm);
    let expected = [(0, of_layer), (1, of_layer), (1, of_leaves)];
    let answer = |(peer, request): (usize, _)| Action::SendHashes { peer: peers[peer], request };
    assert_eq!(given, expected.map(answer), "who left is not answered");
    for request in [of_layer, of_leaves] {
        assert_eq!(swarm.hashes_for(&request), Some(sample.honest(&request)));
        step();
    }
    assert!(most <= AT_ONCE_MAX as usize, "{most} hashes at once");
}

#[test]
fn what_can_not_be_made_is_refused_and_tried_again_and_a_late_outcome_changes_nothing() {
    let sample = Sample::new(4 * 5000);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    actions(&mut swarm);
    let root = sample.tree.root();
    let request = HashRequest { root, base_layer: 2, index: 0, length: 2, proof_layers: 3 };
    let asks = |swarm: &mut Swarm| {
        swarm.handle(START, peer, &Message::HashRequest(request)).unwrap();
        let [Action::HashUpper { tree: 0, work }] = &actions(swarm)[..] else { panic!("no work") };
        work.make()
    };
    asks(&mut swarm);
    swarm.upper_hashed(START, 0, None);
    let reject = Action::Send { peer, message: Message::HashReject(request) };
    assert_eq!(actions(&mut swarm), [reject]);
    let upper = asks(&mut swarm);
    swarm.upper_hashed(START, 7, Some(upper.clone())); // of no tree
    assert_eq!(actions(&mut swarm), []);
    for _ in 0..2 {
        swarm.upper_hashed(START, 0, Some(upper.clone()));
    }
    assert_eq!(actions(&mut swarm), [Action::SendHashes { peer, request }]);
    assert_eq!(swarm.hashes_for(&request), Some(sample.honest(&request)));
}

#[test]
fn a_rest_frees_nobody_of_a_debt_and_does_not_wait_for_ever() {
    let sample = Sample::new(4 * 64);
    let mut swarm = sample.swarm(true, true);
    assert!(swarm.may_rest());
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    while costs(&mut swarm, START, peer, leaves_of(&sample, 0)) > 0 {}
    swarm.remove_peer(START, peer);
    actions(&mut swarm);
    assert!(!swarm.may_rest(), "it is owed hashes");
    let paid = swarm.next_timeout().unwrap();
    assert!(paid > START && paid < START + Duration::from_secs(2), "{paid:?}");
    swarm.tick(paid.saturating_sub(Duration::from_millis(1)));
    assert!(!swarm.may_rest());
    swarm.tick(paid);
    assert!(swarm.may_rest());
    let mut swarm = swarm.into_rest().wakes(paid, sample.config(true));
    swarm.set_trees(vec![sample.tree(true)], false);
    let peer = swarm.add_peer(paid, hello(1, true)).unwrap();
    assert!(costs(&mut swarm, paid, peer, leaves_of(&sample, 0)) > 0);
}

#[test]
fn leaves_that_come_late_do_not_let_another_piece_be_hashed_twice() {
    let sample = Sample::new(16);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    actions(&mut swarm);
    swarm.handle(START, peer, &Message::HashRequest(leaves_of(&sample, 0))).unwrap();
    assert_eq!(actions(&mut swarm), [Action::HashLeaves { piece: 0 }]);
    let late = (4..8).map(leaf).collect();
    swarm.leaves_hashed(START, 1, Some(late));
    assert_eq!(actions(&mut swarm), [], "the first is under way");
    swarm.leaves_hashed(START, 0, Some((0..4).map(leaf).collect()));
    let request = leaves_of(&sample, 0);
    assert_eq!(actions(&mut swarm), [Action::SendHashes { peer, request }]);
}

#[test]
fn a_download_is_given_the_leaves_of_all_that_it_is_sent_however_fast() {
    let sample = Sample::new(4 * 8192);
    let mut swarm = sample.swarm(true, true);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    // 400 MB/s, and the leaves of a piece are asked for when it is opened.
    for piece in 0..8192 {
        let now = START + Duration::from_micros(u64::from(piece) * 160);
        let given = costs(&mut swarm, now, peer, leaves_of(&sample, piece));
        assert!(given >= 8, "piece {piece}");
        swarm.uploaded(now, peer, PIECE);
    }
    // And one that takes the blocks of others as fast as 8 MiB/s, for minutes.
    let peer = swarm.add_peer(START, hello(2, true)).unwrap();
    for piece in 0..8192 * 4 {
        let now = START + Duration::from_micros(u64::from(piece) * 7813);
        assert!(
            costs(&mut swarm, now, peer, leaves_of(&sample, piece % 8192)) > 0,
            "piece {piece}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked of a seed, its answer is the tree's; and what we ask is answered in full
    /// by another of us.
    #[test]
    fn answers_are_the_trees(
        blocks in 1_u32..100,
        base_layer in prop_oneof![Just(0_u32), Just(2), 0_u32..8],
        index in 0_u32..32,
        exponent in 0_u32..7,
        proof_layers in 0_u32..9,
    ) {
        let sample = Sample::new(blocks);
        let mut swarm = sample.swarm(true, true);
        swarm.add_peer(START, hello(1, true)).unwrap();
        let length = 1 << exponent;
        let root = sample.tree.root();
        let request = HashRequest { root, base_layer, index: index * length, length, proof_layers };
        if let Some(hashes) = ask(&mut swarm, &sample, request) {
            prop_assert!(request.is_sound(sample.tree.top()));
            prop_assert_eq!(hashes, sample.honest(&request));
        }
    }

    #[test]
    fn two_of_us_exchange_all_layers_and_leaves(blocks in 1_u32..3000, later in any::<bool>()) {
        let sample = Sample::new(blocks);
        let mut ours = sample.swarm(false, false);
        let mut theirs = sample.swarm(true, true);
        theirs.add_peer(START, hello(1, true)).unwrap();
        let peer = seed(&mut ours, 2, true);
        let mut rounds = 0;
        while !ours.has_layers() || rounds == 0 {
            let mut asked = hash_requests(&actions(&mut ours));
            prop_assert!(!asked.is_empty() || ours.has_layers(), "nothing is asked any more");
            if later {
                asked.reverse();
            }
            for (_, request) in asked {
                let hashes = ask(&mut theirs, &sample, request);
                prop_assert!(hashes.is_some(), "{:?}", request);
                answers(&mut ours, peer, request, &hashes.unwrap());
            }
            rounds += 1;
        }
        for piece in 0..blocks.div_ceil(4) {
            let known = ours.piece_tree(piece).unwrap();
            prop_assert_eq!(known.root, sample.layer[piece as usize]);
        }
    }
}
