//! Readers of a v2 torrent with large pieces, in virtual time: they get each block once its leaf
//! proves it, from where they are.

#[path = "support/honest.rs"]
mod honest;
#[path = "support/joins.rs"]
mod joins;

use std::collections::VecDeque;
use std::time::Duration;

use metainfo::merkle::{self, MerkleTree};
use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use swarm::{Action, Config, Hello, PeerKey, ReaderId, Swarm, Tree};
use wire::{BlockRequest, HashRequest, Message, PeerId, Reserved};

use joins::joins;

const PIECE: u32 = 16 * 1024 * 1024;
const PIECES: u32 = 6;
const BLOCKS: u32 = PIECE / BLOCK_LENGTH;
const LENGTH: u64 = PIECE as u64 * PIECES as u64;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
const READER: ReaderId = ReaderId(1);

enum Wanted {
    Block(BlockRequest),
    Hashes(HashRequest),
}

/// A peer behind a pipe: what it was asked for leaves it in that order.
struct Source {
    key: PeerKey,
    /// Bytes a second.
    rate: f64,
    free_at: Duration,
    queue: VecDeque<(Duration, Wanted)>,
}

struct World {
    swarm: Swarm,
    tree: MerkleTree,
    now: Duration,
    sources: Vec<Source>,
    /// The order in which blocks were asked for.
    asked: Vec<(u32, u32)>,
    verifying: Vec<u32>,
}

impl World {
    fn new(rates: &[f64]) -> Self {
        let now = Duration::from_secs(1000);
        let leaves: Vec<_> =
            (0..BLOCKS * PIECES).map(|block| merkle::leaf(&block.to_be_bytes())).collect();
        let tree = MerkleTree::new(leaves, 0, merkle::height(u64::from(BLOCKS * PIECES)));
        let top = merkle::piece_layer(PIECE);
        let layer: Vec<_> = (0..PIECES).map(|at| tree.get(top, at.into()).unwrap()).collect();
        let config = Config::new(
            Geometry::new(LENGTH, PIECE).unwrap(),
            InfoHash([1; 20]),
            PeerId([b'm'; 20]),
            1,
        );
        let mut swarm = Swarm::new(now, config);
        let (root, layer) = (tree.root(), Some(layer.into()));
        swarm.set_trees(vec![Tree { root, length: LENGTH, first_piece: 0, layer }], false);
        swarm.set_reserve_limit(now, BLOCKS * PIECES);
        let (asked, verifying) = (Vec::new(), Vec::new());
        let mut world = Self { swarm, tree, now, sources: Vec::new(), asked, verifying };
        for (number, rate) in (1..).zip(rates) {
            let reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 4]).with_v2();
            let key = joins(&mut world.swarm, now, number, reserved, &Message::HaveAll).unwrap();
            let (free_at, queue) = (now, VecDeque::new());
            world.sources.push(Source { key, rate: *rate, free_at, queue });
        }
        world
    }

    fn reads_at(&mut self, at: u64) {
        self.swarm.reader_at(self.now, READER, at, LENGTH);
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message } => self.send(peer, &message),
                // The driver compares it: all blocks are good.
                Action::Prove { block, opened, .. } => {
                    self.swarm.block_proved(self.now, block, opened, true);
                }
                Action::Verify { piece } => self.verifying.push(piece),
                _ => {}
            }
        }
    }

    fn send(&mut self, peer: PeerKey, message: &Message<'_>) {
        let knows = self.now + ROUND_TRIP / 2;
        let source = self.sources.iter_mut().find(|source| source.key == peer).unwrap();
        match message {
            Message::Request(block) => {
                self.asked.push((block.piece, block.begin / BLOCK_LENGTH));
                source.queue.push_back((knows, Wanted::Block(*block)));
            }
            Message::Cancel(block) => source
                .queue
                .retain(|(_, wanted)| !matches!(wanted, Wanted::Block(queued) if queued == block)),
            Message::HashRequest(request) => {
                source.queue.push_back((knows, Wanted::Hashes(*request)));
            }
            _ => {}
        }
    }

    /// Until the byte is proved; how long that took.
    fn waits_for(&mut self, at: u64) -> Duration {
        let begun = self.now;
        let (piece, block) = ((at / u64::from(PIECE)) as u32, at as u32 % PIECE / BLOCK_LENGTH);
        let mut tick = self.now + TICK;
        self.act();
        while !self.swarm.is_block_proved(piece, block) && !self.swarm.have().has(piece) {
            assert!(self.now < begun + 60 * SECOND, "byte {at} does not come");
            let arrives = |source: &Source| {
                let (knows, wanted) = source.queue.front()?;
                let bytes = match wanted {
                    Wanted::Block(block) => block.length,
                    Wanted::Hashes(request) => request.length * 32,
                };
                let takes = Duration::from_secs_f64(f64::from(bytes) / source.rate);
                Some(source.free_at.max(*knows) + takes)
            };
            let next = (0..self.sources.len())
                .filter_map(|number| Some((arrives(&self.sources[number])?, number)))
                .min();
            if let Some((at, number)) = next.filter(|(at, _)| *at < tick) {
                self.arrives(at, number);
            } else {
                self.now = tick;
                tick += TICK;
                self.swarm.tick(self.now);
            }
            self.act();
            for piece in std::mem::take(&mut self.verifying) {
                self.swarm.piece_written(self.now, piece);
            }
        }
        self.now.saturating_sub(begun)
    }

    fn arrives(&mut self, at: Duration, number: usize) {
        self.now = at;
        let source = &mut self.sources[number];
        source.free_at = at;
        let key = source.key;
        match source.queue.pop_front().unwrap().1 {
            Wanted::Block(block) => {
                self.swarm.block_head(at, key, block).unwrap();
                self.swarm.block(at, key, block);
            }
            Wanted::Hashes(request) => {
                let hashes = honest::answer(&self.tree, &request);
                let hashes = Message::Hashes { request, hashes: &hashes };
                self.swarm.handle(at, key, &hashes).unwrap();
            }
        }
    }

    /// Reads so many blocks from there on, one after the other; the longest wait but the first.
    fn reads_on(&mut self, at: u64, blocks: u64) -> Duration {
        let step = u64::from(BLOCK_LENGTH);
        let waits = (1..blocks).map(|block| {
            self.reads_at(at + block * step);
            self.waits_for(at + block * step)
        });
        waits.max().unwrap()
    }
}

#[test]
fn the_first_byte_does_not_wait_for_its_piece_nor_does_one_after_a_seek() {
    let mut world = World::new(&[1e6]);
    // The beginning, the middle of that piece, back within it, a little on, and another piece.
    for at in [0, 8 << 20, 3 << 20, (3 << 20) + 700_000, (70 << 20) + 5] {
        world.asked.clear();
        world.reads_at(at);
        let waited = world.waits_for(at);
        assert!(waited < SECOND / 2, "{waited:?} to the first byte at {at}");
        let place = ((at / u64::from(PIECE)) as u32, at as u32 % PIECE / BLOCK_LENGTH);
        let known = world.asked.first().copied();
        assert!(
            known.is_none_or(|first| first >= place),
            "{known:?} is asked for before {place:?}"
        );
        let longest = world.reads_on(at, 20);
        assert!(longest < SECOND / 10, "{longest:?} for one block behind {at}");
    }
    assert_eq!(world.swarm.have().count(), 0, "no piece was complete");
}

#[test]
fn a_slow_peer_is_left_blocks_that_the_reader_gets_to_later() {
    let mut world = World::new(&[1e6, 20e3]);
    world.reads_at(0);
    world.waits_for(0);
    let longest = world.reads_on(0, 300);
    assert!(longest < SECOND / 2, "{longest:?} for a block");
    let start = (32 << 20) + (9 << 20);
    world.reads_at(start);
    let waited = world.waits_for(start);
    assert!(waited < SECOND, "{waited:?} after a seek");
    let longest = world.reads_on(start, 300);
    assert!(longest < SECOND / 2, "{longest:?} for a block after a seek");
}

#[test]
fn pieces_that_were_left_make_room_where_memory_is_short() {
    let mut world = World::new(&[1e6]);
    world.swarm.set_reserve_limit(world.now, 2 * BLOCKS);
    for piece in [0, 3, 1, 5, 2, 4, 0] {
        let at = u64::from(piece * PIECE) + (5 << 20);
        world.reads_at(at);
        let waited = world.waits_for(at);
        assert!(waited < SECOND, "{waited:?} to the first byte in piece {piece}");
        world.reads_on(at, 20);
        assert!(world.swarm.reserved_blocks() <= 2 * BLOCKS);
    }
}

#[test]
fn what_lies_before_the_reader_comes_too_and_the_piece_is_whole() {
    let mut world = World::new(&[8e6, 3e6]);
    let start = LENGTH - (4 << 20);
    world.reads_at(start);
    world.waits_for(start);
    world.reads_at(LENGTH - 1);
    world.waits_for(LENGTH - 1);
    let before = LENGTH - u64::from(PIECE);
    world.waits_for(before); // the reader stays where it is
    while !world.swarm.have().has(PIECES - 1) {
        let missing = (0..BLOCKS).find(|block| !world.swarm.is_block_proved(PIECES - 1, *block));
        world.waits_for(before + u64::from(missing.unwrap()) * u64::from(BLOCK_LENGTH));
    }
}
