//! Readers that come, go and jump about while peers do what they like: every piece that is missing
//! stays with somebody, and all of it arrives in the end.

#[path = "../../tests/support/joins.rs"]
mod joins;

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use wire::{Bitfield, BlockRequest, Message, PeerId, Reserved};

use super::ReaderId;
use crate::{Action, Config, Hello, PeerKey, Swarm};
use joins::joins;

const PIECES: u32 = 40;
const PIECE: u32 = 4 * BLOCK_LENGTH;

struct World {
    swarm: Swarm,
    now: Duration,
    peers: Vec<PeerKey>,
    asked: Vec<(PeerKey, BlockRequest)>,
    verifying: Vec<u32>,
}

fn config(seed: u64) -> Config {
    Config::new(
        Geometry::new(u64::from(PIECES) * u64::from(PIECE), PIECE).unwrap(),
        InfoHash([1; 20]),
        PeerId([b'm'; 20]),
        seed,
    )
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Duration::from_secs(1000);
        let config = config(seed);
        let (peers, asked, verifying) = (Vec::new(), Vec::new(), Vec::new());
        let mut swarm = Swarm::new(now, config);
        if seed % 2 == 1 {
            // It goes by blocks, though nobody gives hashes that prove them.
            let layer = Some(vec![[2; 32]; PIECES as usize].into());
            let (root, length) = ([1; 32], u64::from(PIECES) * u64::from(PIECE));
            swarm.set_trees(vec![crate::Tree { root, length, first_piece: 0, layer }], false);
        }
        Self { swarm, now, peers, asked, verifying }
    }

    fn joins(&mut self, number: u8) {
        let (now, all) = (self.now, Bitfield::full(PIECES).to_wire());
        let says = Message::Bitfield(&all);
        let key = joins(&mut self.swarm, now, number, Reserved::default(), &says);
        self.peers.extend(key);
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    self.asked.push((peer, block));
                }
                Action::Send { peer, message: Message::Cancel(block) } => {
                    self.asked.retain(|asked| *asked != (peer, block));
                }
                Action::Verify { piece } => self.verifying.push(piece),
                Action::Disconnect { peer, .. } => self.leaves(peer),
                _ => {}
            }
        }
    }

    fn leaves(&mut self, peer: PeerKey) {
        self.peers.retain(|other| *other != peer);
        self.asked.retain(|(of, _)| *of != peer);
        self.swarm.remove_peer(self.now, peer);
    }

    fn gives(&mut self, which: usize) {
        let (peer, block) = self.asked.swap_remove(which);
        self.swarm.block_head(self.now, peer, block).unwrap();
        self.swarm.block(self.now, peer, block);
    }

    fn step(&mut self, rng: &mut fastrand::Rng) {
        match rng.u8(0..12) {
            0 => self.joins(rng.u8(1..6)),
            1 if !self.peers.is_empty() => {
                self.leaves(self.peers[rng.usize(..self.peers.len())]);
            }
            2 if !self.peers.is_empty() => {
                let peer = self.peers[rng.usize(..self.peers.len())];
                self.swarm.handle(self.now, peer, &Message::Choke).unwrap();
                self.asked.retain(|(of, _)| *of != peer);
                self.swarm.handle(self.now, peer, &Message::Unchoke).unwrap();
            }
            3 | 4 => {
                let at = rng.u64(..=u64::from(PIECES) * u64::from(PIECE));
                self.swarm.reader_at(self.now, ReaderId(rng.u64(0..3)), at, rng.u64(..));
            }
            5 => self.swarm.reader_gone(self.now, ReaderId(rng.u64(0..3))),
            6 if !self.verifying.is_empty() => {
                let piece = self.verifying.swap_remove(0);
                if rng.bool() {
                    self.swarm.piece_written(self.now, piece);
                } else {
                    let digests: Vec<u64> = (0..4).map(|_| rng.u64(..)).collect();
                    self.swarm.piece_failed(self.now, piece, &digests);
                }
            }
            7 => {
                self.now += Duration::from_millis(rng.u64(..3000));
                self.swarm.tick(self.now);
            }
            8 => self.swarm.set_reserve_limit(self.now, rng.u32(..40)),
            _ if !self.asked.is_empty() => self.gives(rng.usize(..self.asked.len())),
            _ => {}
        }
        self.act();
        self.check();
    }

    /// A piece is there, being verified, begun, urgent, or to be picked.
    fn check(&self) {
        self.swarm.pieces.assert_consistent();
        let urgent = &self.swarm.urgent;
        for piece in 0..PIECES {
            let begun =
                self.swarm.pieces.get(piece).is_some() || self.swarm.pieces.is_verifying(piece);
            let picked = self.swarm.picker.is_pickable(piece);
            let there = self.swarm.have.has(piece);
            assert!(u8::from(begun) + u8::from(picked) + u8::from(there) <= 1, "{piece}");
            assert!(begun || picked || there || urgent.has(piece), "{piece} is nobody's");
            assert!(!(urgent.has(piece) && (picked || there)), "{piece}");
        }
        assert_eq!(urgent.due.len(), urgent.todo.len() + urgent.asked.len());
        // What is set aside has no block to ask for.
        for (_, piece) in &urgent.asked {
            let free = self.swarm.pieces.get(*piece).map_or(0, |open| open.free);
            assert_eq!(free, 0, "{piece}");
        }
    }
}

#[test]
fn no_piece_is_lost_between_readers_and_the_picker() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed);
        (0..200).for_each(|_| world.step(&mut rng));
        // Somebody honest comes, and the readers stay where they are.
        world.swarm.set_reserve_limit(world.now, 1000);
        world.joins(9);
        for _ in 0..3000 {
            world.act();
            if let Some(piece) = world.verifying.pop() {
                world.swarm.piece_written(world.now, piece);
            } else if world.asked.is_empty() {
                world.now += Duration::from_millis(250);
                world.swarm.tick(world.now);
            } else {
                world.gives(0);
            }
        }
        assert!(world.swarm.is_complete(), "seed {seed}");
    }
}

/// The files of a torrent that is v2 only have gaps between them (BEP 52): its last bytes are further on
/// than there are bytes.
#[test]
fn a_reader_of_a_file_behind_gaps_has_urgent_pieces() {
    let mut world = World::new(1);
    let lengths = [1, 1, u64::from(PIECE)];
    let config = Config {
        geometry: Geometry::aligned(lengths, PIECE).unwrap(),
        have: Bitfield::new(3),
        ..config(1)
    };
    world.swarm = Swarm::new(world.now, config);
    let at = 2 * u64::from(PIECE);
    world.swarm.reader_at(world.now, ReaderId(1), at, at + u64::from(PIECE));
    assert!(world.swarm.urgent.has(2) && !world.swarm.urgent.has(1));
}
