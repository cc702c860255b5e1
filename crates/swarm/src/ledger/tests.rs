//! Whatever happens in whatever order: each second of each peer is charged once, and at every moment
//! each peer is booked under what it is at.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use proptest::prelude::*;
use wire::{Bitfield, BlockRequest, Message, PeerId, Reserved};

use super::*;
use crate::{Action, Config, Hello, Settings, Source};

const PIECES: u32 = 6;
const BLOCKS: u32 = 2;

#[derive(Debug, Clone)]
enum Act {
    Joins(u8),
    Leaves(u8),
    Says(u8, Word),
    Answers(u8),
    Verdict(bool),
    Lost(u32),
    Paused(bool),
    Limit(u32),
    Candidate(u8),
    DialFails,
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    All,
    AllowedFast(u32),
    RejectsOldest,
    Lost(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let word = prop_oneof![
        2 => Just(Word::Choke),
        5 => Just(Word::Unchoke),
        2 => Just(Word::Interested),
        1 => Just(Word::NotInterested),
        3 => (0..PIECES).prop_map(Word::Have),
        3 => Just(Word::All),
        1 => (0..PIECES).prop_map(Word::AllowedFast),
        2 => Just(Word::RejectsOldest),
        1 => (0..PIECES).prop_map(Word::Lost),
    ];
    prop_oneof![
        3 => any::<u8>().prop_map(Act::Joins),
        1 => any::<u8>().prop_map(Act::Leaves),
        12 => (any::<u8>(), word).prop_map(|(who, word)| Act::Says(who, word)),
        12 => any::<u8>().prop_map(Act::Answers),
        5 => prop::bool::weighted(0.8).prop_map(Act::Verdict),
        1 => (0..PIECES).prop_map(Act::Lost),
        1 => any::<bool>().prop_map(Act::Paused),
        1 => (0..4 * BLOCKS).prop_map(Act::Limit),
        1 => any::<u8>().prop_map(Act::Candidate),
        1 => Just(Act::DialFails),
        8 => (0_u64..40_000).prop_map(Act::Wait),
    ]
}

struct World {
    swarm: Swarm,
    now: Duration,
    peers: Vec<(PeerKey, VecDeque<BlockRequest>)>,
    verifying: VecDeque<u32>,
    /// What must have been charged in all.
    elapsed: Duration,
}

impl World {
    fn new() -> Self {
        let now = Duration::from_secs(1000);
        let piece_length = BLOCKS * BLOCK_LENGTH;
        let geometry = Geometry::new(u64::from(PIECES * piece_length), piece_length).unwrap();
        let config = Config {
            settings: Settings { upload_slots: 2, ..Settings::default() },
            ..Config::new(geometry, InfoHash([1; 20]), PeerId([b'm'; 20]), 1)
        };
        let swarm = Swarm::new(now, config);
        let (peers, verifying) = (Vec::new(), VecDeque::new());
        Self { swarm, now, peers, verifying, elapsed: Duration::ZERO }
    }

    fn settle(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    let asked = self.peers.iter_mut().find(|(key, _)| *key == peer);
                    asked.into_iter().for_each(|(_, asked)| asked.push_back(block));
                }
                Action::Verify { piece } => self.verifying.push_back(piece),
                Action::Disconnect { peer, .. } => self.leave(peer),
                _ => {}
            }
        }
    }

    fn leave(&mut self, peer: PeerKey) {
        self.peers.retain(|(key, _)| *key != peer);
        self.swarm.remove_peer(self.now, peer);
    }

    fn says(&mut self, at: usize, word: Word) {
        let (key, asked) = &mut self.peers[at];
        let key = *key;
        let all = Bitfield::full(PIECES).to_wire();
        let message = match word {
            Word::Choke => Message::Choke,
            Word::Unchoke => Message::Unchoke,
            Word::Interested => Message::Interested,
            Word::NotInterested => Message::NotInterested,
            Word::Have(piece) => Message::Have(piece),
            Word::All => Message::Bitfield(&all),
            Word::AllowedFast(piece) => Message::AllowedFast(piece),
            Word::RejectsOldest => match asked.pop_front() {
                Some(block) => Message::RejectRequest(block),
                None => return,
            },
            Word::Lost(piece) => {
                let payload = &piece.to_be_bytes();
                let id = wire::Extension::DontHave.our_id();
                return self.handle(key, &Message::Extended { id, payload });
            }
        };
        self.handle(key, &message);
    }

    fn handle(&mut self, key: PeerKey, message: &Message<'_>) {
        if self.swarm.handle(self.now, key, message).is_err() {
            self.leave(key);
        }
    }

    fn does(&mut self, act: &Act) {
        let now = self.now;
        let len = self.peers.len();
        let whom = |number: u8| (len > 0).then(|| usize::from(number) % len);
        match *act {
            Act::Joins(number) => {
                let hello = Hello {
                    addr: SocketAddr::from(([10, 0, 0, number], 6881)),
                    peer_id: PeerId([number; 20]),
                    outgoing: number % 2 == 0,
                    reserved: if number % 3 == 0 { Reserved::default() } else { Reserved::ours() },
                };
                let added = self.swarm.add_peer(now, hello);
                self.peers.extend(added.map(|key| (key, VecDeque::new())));
            }
            Act::Leaves(number) => {
                if let Some(at) = whom(number) {
                    self.leave(self.peers[at].0);
                }
            }
            Act::Says(number, word) => {
                if let Some(at) = whom(number) {
                    self.says(at, word);
                }
            }
            Act::Answers(number) => {
                let Some(at) = whom(number) else { return };
                let (key, asked) = &mut self.peers[at];
                let (key, block) = (*key, asked.pop_front());
                let Some(block) = block else { return };
                match self.swarm.block_head(now, key, block) {
                    Ok(_) => drop(self.swarm.block(now, key, block)),
                    Err(_) => self.leave(key),
                }
            }
            Act::Verdict(good) => match self.verifying.pop_front() {
                Some(piece) if good => self.swarm.piece_written(now, piece),
                Some(piece) => self.swarm.piece_failed(now, piece, &[u64::from(piece); 2]),
                None => {}
            },
            Act::Lost(piece) => self.swarm.piece_lost(now, piece),
            Act::Paused(paused) => self.swarm.set_paused(now, paused),
            Act::Limit(blocks) => self.swarm.set_reserve_limit(now, blocks),
            Act::Candidate(number) => {
                let addr = SocketAddr::from(([10, 0, 1, number], 6881));
                self.swarm.add_candidates(now, Source::Tracker, &[addr]);
            }
            Act::DialFails => {
                if let Some(addr) = self.swarm.next_dial(now) {
                    self.swarm.dial_failed(now, addr);
                }
            }
            Act::Wait(millis) => {
                let passed = Duration::from_millis(millis);
                self.now += passed;
                self.elapsed += passed * self.peers.len().max(1) as u32;
                self.swarm.tick(self.now);
            }
        }
    }

    fn check(&self, after: &Act) {
        let lines = self.swarm.spending(self.now);
        let charged: Duration = lines.iter().map(|line| line.time).sum();
        assert_eq!(charged, self.elapsed, "after {after:?}: {lines:?}");
        assert!(!lines.is_empty());
        let peers: u32 = lines.iter().map(|line| line.peers).sum();
        assert_eq!(peers as usize, self.peers.len());
        for peer in self.swarm.peers.iter() {
            assert_eq!(peer.spent, self.swarm.spends(peer), "after {after:?}");
        }
        let alone = self.peers.is_empty().then(|| self.swarm.lacks());
        assert_eq!(self.swarm.ledger.alone, alone, "after {after:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_second_of_every_peer_is_charged_once(acts in prop::collection::vec(act(), 0..300)) {
        let mut world = World::new();
        world.settle();
        for act in &acts {
            world.does(act);
            world.settle();
            world.check(act);
        }
    }
}

#[test]
fn all_is_in_order() {
    for (at, what) in Spent::ALL.into_iter().enumerate() {
        assert_eq!(what as usize, at);
    }
}
