//! Hashes that we ask for (BEP 52): peers that are silent, refuse or lie, and what a bad block costs.

mod courses;
#[path = "../../tests/support/honest.rs"]
mod honest;
mod judging;
mod serving;

use metainfo::merkle::MerkleTree;
use metainfo::{Geometry, InfoHash};
use proptest::prelude::*;
use wire::{Bitfield, Message, PeerId, Reserved};

use super::asking::{PATIENCE, RETRY};
use super::*;
use crate::{Action, BlockFate, Config, Hello};

const BLOCK: u32 = BLOCK_LENGTH;
/// Pieces of four blocks.
const PIECE: u32 = 4 * BLOCK;
const START: Duration = Duration::from_secs(1000);

/// A file of so many blocks, each of which has the hash that its number says.
struct Sample {
    tree: MerkleTree,
    blocks: u32,
    layer: Vec<MerkleHash>,
}

fn leaf(block: u32) -> MerkleHash {
    merkle::leaf(&block.to_be_bytes())
}

impl Sample {
    fn new(blocks: u32) -> Self {
        let leaves: Vec<_> = (0..blocks).map(leaf).collect();
        let tree = MerkleTree::new(leaves, 0, merkle::height(u64::from(blocks)));
        let top = merkle::piece_layer(PIECE).min(tree.top());
        let layer = (0..blocks.div_ceil(4)).map(|piece| tree.get(top, piece.into()).unwrap());
        Self { layer: layer.collect(), tree, blocks }
    }

    fn tree(&self, with_layer: bool) -> Tree {
        Tree {
            root: self.tree.root(),
            length: u64::from(self.blocks) * u64::from(BLOCK),
            first_piece: 0,
            layer: with_layer.then(|| self.layer.clone().into()),
        }
    }

    fn config(&self, have: bool) -> Config {
        let pieces = self.blocks.div_ceil(4);
        let length = u64::from(self.blocks) * u64::from(BLOCK);
        Config {
            have: if have { Bitfield::full(pieces) } else { Bitfield::new(pieces) },
            client_version: "test".into(),
            ..Config::new(
                Geometry::new(length, PIECE).unwrap(),
                InfoHash([0xaa; 20]),
                PeerId([b'm'; 20]),
                7,
            )
        }
    }

    fn swarm(&self, have: bool, with_layer: bool) -> Swarm {
        let mut swarm = Swarm::new(START, self.config(have));
        swarm.set_trees(vec![self.tree(with_layer)], false);
        swarm
    }

    fn honest(&self, request: &HashRequest) -> Vec<MerkleHash> {
        honest::answer(&self.tree, request)
    }
}

fn hello(number: u8, v2: bool) -> Hello {
    let reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 4]);
    Hello {
        addr: ([192, 0, 2, number], 6881).into(),
        peer_id: PeerId([number; 20]),
        outgoing: false,
        reserved: if v2 { reserved.with_v2() } else { reserved },
    }
}

fn seed(swarm: &mut Swarm, number: u8, v2: bool) -> PeerKey {
    let peer = swarm.add_peer(START, hello(number, v2)).unwrap();
    swarm.handle(START, peer, &Message::HaveAll).unwrap();
    swarm.handle(START, peer, &Message::Unchoke).unwrap();
    peer
}

fn actions(swarm: &mut Swarm) -> Vec<Action> {
    std::iter::from_fn(|| swarm.poll_action()).collect()
}

fn hash_requests(actions: &[Action]) -> Vec<(PeerKey, HashRequest)> {
    let request = |action: &Action| match action {
        Action::Send { peer, message: Message::HashRequest(request) } => Some((*peer, *request)),
        _ => None,
    };
    actions.iter().filter_map(request).collect()
}

fn requests(actions: &[Action]) -> Vec<(PeerKey, BlockRequest)> {
    let request = |action: &Action| match action {
        Action::Send { peer, message: Message::Request(block) } => Some((*peer, *block)),
        _ => None,
    };
    actions.iter().filter_map(request).collect()
}

fn gives(swarm: &mut Swarm, peer: PeerKey, block: BlockRequest) {
    assert_eq!(swarm.block_head(START, peer, block), Ok(BlockFate::Keep));
    assert_eq!(swarm.block(START, peer, block), BlockOutcome::Stored);
}

fn answers(swarm: &mut Swarm, peer: PeerKey, request: HashRequest, hashes: &[MerkleHash]) {
    swarm.handle(START, peer, &Message::Hashes { request, hashes }).unwrap();
}

fn proofs(actions: &[Action]) -> Vec<(BlockRequest, MerkleHash, u32)> {
    let prove = |action: &Action| match action {
        Action::Prove { block, leaf, opened, .. } => Some((*block, *leaf, *opened)),
        _ => None,
    };
    actions.iter().filter_map(prove).collect()
}

fn banned(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Banned { .. })).count()
}

#[test]
fn leaves_are_asked_for_with_the_piece_and_prove_what_came_before_and_after_them() {
    let sample = Sample::new(8);
    let mut swarm = sample.swarm(false, true);
    let peer = seed(&mut swarm, 1, true);
    let said = actions(&mut swarm);
    let (blocks, asked) = (requests(&said), hash_requests(&said));
    assert_eq!(asked.len(), 1, "one piece is open: {said:?}");
    let (_, request) = asked[0];
    let piece = blocks[0].1.piece;
    assert_eq!((request.index, request.length, request.uncles()), (piece * 4, 4, 0));

    gives(&mut swarm, peer, blocks[0].1);
    assert_eq!(proofs(&actions(&mut swarm)), [], "nothing to prove it with yet");
    answers(&mut swarm, peer, request, &sample.honest(&request));
    let first = proofs(&actions(&mut swarm));
    assert_eq!(first.len(), 1);
    gives(&mut swarm, peer, blocks[1].1);
    let second = proofs(&actions(&mut swarm));
    for (index, (block, hash, opened)) in first.into_iter().chain(second).enumerate() {
        assert_eq!(hash, leaf(piece * 4 + index as u32));
        assert!(!swarm.is_block_proved(piece, index as u32));
        assert_eq!(swarm.block_proved(START, block, opened, true), BlockOutcome::Stored);
        assert!(swarm.is_block_proved(piece, index as u32));
    }
}

/// Opens a piece whose leaves are known and gives all its blocks. Returns what is to be proved.
fn filled(swarm: &mut Swarm, sample: &Sample, peer: PeerKey) -> Vec<(BlockRequest, u32)> {
    let said = actions(swarm);
    let (_, request) = hash_requests(&said)[0];
    answers(swarm, peer, request, &sample.honest(&request));
    let piece = request.index / 4;
    let mut said = requests(&said);
    let mut out = Vec::new();
    loop {
        for (peer, block) in said.into_iter().filter(|(_, block)| block.piece == piece) {
            gives(swarm, peer, block);
        }
        let now = actions(swarm);
        out.extend(proofs(&now).into_iter().map(|(block, _, opened)| (block, opened)));
        said = requests(&now);
        if said.is_empty() || out.len() == 4 {
            return out;
        }
    }
}

#[test]
fn a_piece_is_written_once_all_its_blocks_are_proved() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    let peer = seed(&mut swarm, 1, true);
    let blocks = filled(&mut swarm, &sample, peer);
    assert_eq!(blocks.len(), 4);
    for (index, (block, opened)) in blocks.into_iter().enumerate() {
        assert!(!actions(&mut swarm).contains(&Action::Verify { piece: 0 }));
        assert_eq!(swarm.block_proved(START, block, opened, true), BlockOutcome::Stored);
        assert_eq!(swarm.is_proved(0), index == 3);
    }
    assert!(actions(&mut swarm).contains(&Action::Verify { piece: 0 }));
    swarm.pieces.assert_consistent();
}

#[test]
fn a_bad_block_names_who_sent_it_and_is_asked_of_another() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    let liar = seed(&mut swarm, 1, true);
    let blocks = filled(&mut swarm, &sample, liar);
    let honest = seed(&mut swarm, 2, true);
    actions(&mut swarm);
    let (bad, opened) = blocks[2];
    assert_eq!(swarm.block_proved(START, bad, opened, false), BlockOutcome::Unwanted);
    assert_eq!(swarm.block_proved(START, bad, opened, false), BlockOutcome::Unwanted, "once");
    let said = actions(&mut swarm);
    assert_eq!(banned(&said), 1);
    assert!(said.contains(&Action::Disconnect { peer: liar, reason: Fault::SentBadData }));
    assert_eq!(requests(&said), [(honest, bad)], "this one block");
    swarm.remove_peer(START, liar);
    swarm.pieces.assert_consistent();
    assert_eq!(swarm.stats(START).failed, u64::from(BLOCK));
}

#[test]
fn without_leaves_a_piece_is_judged_as_a_whole() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    let peer = seed(&mut swarm, 1, true);
    let said = actions(&mut swarm);
    let (_, request) = hash_requests(&said)[0];
    swarm.handle(START, peer, &Message::HashReject(request)).unwrap();
    let mut said = requests(&said);
    while !said.is_empty() {
        said.drain(..).for_each(|(peer, block)| gives(&mut swarm, peer, block));
        let now = actions(&mut swarm);
        assert_eq!(hash_requests(&now), [], "not again at once");
        said = requests(&now);
        if now.contains(&Action::Verify { piece: 0 }) {
            assert!(!swarm.is_proved(0));
            let whole = swarm.piece_tree(0).unwrap();
            assert_eq!((whole.root, whole.bytes), (sample.tree.root(), 4 * BLOCK));
            return;
        }
    }
    panic!("it was never verified");
}

#[test]
fn whoever_is_silent_is_passed_over_and_whoever_rejects_is_not_asked_at_once() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    let first = seed(&mut swarm, 1, true);
    let second = seed(&mut swarm, 2, true);
    let (whom, request) = hash_requests(&actions(&mut swarm))[0];
    let other = if whom == first { second } else { first };
    assert!(swarm.next_timeout().unwrap() <= START + PATIENCE);
    swarm.tick(START + PATIENCE);
    assert_eq!(hash_requests(&actions(&mut swarm)), [(other, request)]);
    swarm.handle(START + PATIENCE, other, &Message::HashReject(request)).unwrap();
    assert_eq!(hash_requests(&actions(&mut swarm)), []);
    swarm.tick(START + PATIENCE + RETRY);
    assert_eq!(hash_requests(&actions(&mut swarm)).len(), 1);
}

#[test]
fn only_peers_that_speak_v2_are_asked() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    seed(&mut swarm, 1, false);
    assert_eq!(hash_requests(&actions(&mut swarm)), []);
    let able = seed(&mut swarm, 2, true);
    let asked = hash_requests(&actions(&mut swarm));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, able);
}

#[test]
fn layers_are_asked_even_of_one_that_has_no_piece() {
    let sample = Sample::new(8);
    let mut swarm = sample.swarm(false, false);
    actions(&mut swarm);
    let peer = swarm.add_peer(START, hello(1, true)).unwrap();
    let asked = hash_requests(&actions(&mut swarm));
    assert_eq!(asked.iter().map(|(whom, _)| *whom).collect::<Vec<_>>(), [peer]);
}

#[test]
fn a_false_hash_ends_its_sender_and_nothing_of_it_is_kept() {
    let sample = Sample::new(8);
    let mut swarm = sample.swarm(false, false);
    let peer = seed(&mut swarm, 1, true);
    let (_, request) = hash_requests(&actions(&mut swarm))[0];
    let mut hashes = sample.honest(&request);
    hashes[1][7] ^= 1;
    let message = Message::Hashes { request, hashes: &hashes };
    assert_eq!(swarm.handle(START, peer, &message), Err(Fault::FalseHashes));
    assert!(swarm.piece_tree(1).is_none() && !swarm.has_layers());
    assert_eq!(banned(&actions(&mut swarm)), 1);
    // One that leaves a part of the proof out is no better.
    let other = seed(&mut swarm, 2, true);
    swarm.remove_peer(START, peer);
    let (_, request) = hash_requests(&actions(&mut swarm))[0];
    let hashes = sample.honest(&request);
    let message = Message::Hashes { request, hashes: &hashes[..1] };
    assert_eq!(swarm.handle(START, other, &message), Err(Fault::FalseHashes));
}

#[test]
fn no_piece_is_opened_before_its_own_hash_is_known() {
    let sample = Sample::new(4 * 700);
    let mut swarm = sample.swarm(false, false);
    let peer = seed(&mut swarm, 1, true);
    let said = actions(&mut swarm);
    assert_eq!(requests(&said), []);
    let asked: Vec<_> = hash_requests(&said);
    assert_eq!(asked.len(), 2, "700 hashes are two parts");
    let (_, second) = asked[1];
    assert_eq!((second.index, second.length, second.uncles()), (512, 512, 1));
    answers(&mut swarm, peer, second, &sample.honest(&second));
    let said = actions(&mut swarm);
    let blocks = requests(&said);
    assert!(!blocks.is_empty() && blocks.iter().all(|(_, block)| block.piece >= 512));
    let (_, first) = asked[0];
    answers(&mut swarm, peer, first, &sample.honest(&first));
    let layer = Action::LayerKnown { root: sample.tree.root(), layer: sample.layer.clone().into() };
    assert!(actions(&mut swarm).contains(&layer));
    assert!(swarm.has_layers());
}

#[test]
fn what_nobody_asked_for_is_borne_for_a_while() {
    let sample = Sample::new(8);
    let mut swarm = sample.swarm(false, true);
    let peer = seed(&mut swarm, 1, true);
    actions(&mut swarm);
    let request =
        HashRequest { root: [1; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 };
    let message = Message::Hashes { request, hashes: &[[0; 32]; 2] };
    for _ in 0..UNASKED_MAX {
        assert_eq!(swarm.handle(START, peer, &message), Ok(()));
    }
    assert_eq!(swarm.handle(START, peer, &message), Err(Fault::UnaskedHashes));
}

#[test]
fn a_piece_that_fits_v2_and_not_v1_is_nobodys_fault() {
    let sample = Sample::new(4);
    let mut swarm = sample.swarm(false, true);
    let peer = seed(&mut swarm, 1, true);
    for (block, opened) in filled(&mut swarm, &sample, peer) {
        swarm.block_proved(START, block, opened, true);
    }
    actions(&mut swarm);
    swarm.piece_contradicts(START, 0);
    assert_eq!(actions(&mut swarm), [Action::Contradiction { piece: 0 }]);
}
