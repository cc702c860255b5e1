//! The brain of a torrent with hash trees (BEP 52), v2 alone or a hybrid, with piece layers and without,
//! and with web seeds, under any course of events. Whoever is banned did harm, every leaf that a block
//! is compared with is the right one, what others are told is the tree's, and once somebody honest comes
//! the download ends.
#![no_main]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metainfo::merkle::{self, HashRun, MerkleHash, MerkleTree};
use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use swarm::{Action, BlockFate, BlockOutcome, Config, Hello, PeerKey, Settings, Swarm, Tree};
use wire::{Bitfield, BlockRequest, HashRequest, Message, PeerId, Reserved};

/// Blocks in a piece, and of each file.
const EACH: u32 = 4;
const FILES: [u32; 4] = [15, 1, 40, 6];
const PEERS_MAX: usize = 5;
const WEB_SEEDS: u16 = 2;

/// Takes numbers off the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn index(&mut self, length: usize) -> Option<usize> {
        let byte = usize::from(self.byte());
        byte.checked_rem(length)
    }
}

/// The torrent, as it is.
struct Truth {
    trees: Vec<MerkleTree>,
    first_pieces: Vec<u32>,
    pieces: u32,
}

impl Truth {
    fn new() -> Self {
        let mut truth = Self { trees: Vec::new(), first_pieces: Vec::new(), pieces: 0 };
        for blocks in FILES {
            let first = truth.pieces * EACH;
            let leaves = (first..first + blocks).map(|n| merkle::leaf(&n.to_be_bytes())).collect();
            let top = merkle::height(blocks.into());
            truth.trees.push(MerkleTree::new(leaves, 0, top));
            truth.first_pieces.push(truth.pieces);
            truth.pieces += blocks.div_ceil(EACH);
        }
        truth
    }

    fn file(&self, piece: u32) -> usize {
        self.first_pieces.partition_point(|first| *first <= piece) - 1
    }

    /// Blocks of a piece that have a leaf.
    fn blocks(&self, piece: u32) -> u32 {
        let file = self.file(piece);
        (FILES[file] - (piece - self.first_pieces[file]) * EACH).min(EACH)
    }

    fn leaf(&self, piece: u32, block: u32) -> MerkleHash {
        merkle::leaf(&(piece * EACH + block).to_be_bytes())
    }

    fn leaves(&self, piece: u32) -> Vec<MerkleHash> {
        (0..self.blocks(piece)).map(|block| self.leaf(piece, block)).collect()
    }

    fn layer(&self, file: usize) -> Vec<MerkleHash> {
        let tree = &self.trees[file];
        let layer = merkle::height(EACH.into()).min(tree.top());
        let pieces = FILES[file].div_ceil(EACH);
        (0..pieces).filter_map(|piece| tree.get(layer, piece.into())).collect()
    }

    fn hashes(&self, request: &HashRequest) -> Option<Vec<MerkleHash>> {
        let tree = self.trees.iter().find(|tree| tree.root() == request.root)?;
        let run = HashRun {
            layer: request.base_layer,
            index: request.index.into(),
            length: request.length.into(),
        };
        let mut hashes = tree.hashes(run)?;
        hashes.extend(tree.proofs(run, request.uncles() as usize)?);
        Some(hashes)
    }
}

/// What a driver remembers.
struct World {
    truth: Truth,
    swarm: Swarm,
    is_hybrid: bool,
    now: Duration,
    peers: Vec<PeerKey>,
    addrs: BTreeMap<PeerKey, IpAddr>,
    asked: BTreeMap<PeerKey, Vec<BlockRequest>>,
    hashes_asked: VecDeque<(PeerKey, HashRequest)>,
    /// Blocks that are held, and whether they are good.
    held: BTreeMap<(u32, u32), bool>,
    proving: Vec<(BlockRequest, u32, bool)>,
    verifying: Vec<(u32, Vec<bool>)>,
    hashing: Vec<u32>,
    guilty: BTreeSet<IpAddr>,
}

impl World {
    fn new(kind: u8) -> Self {
        let truth = Truth::new();
        let is_hybrid = kind & 1 != 0;
        let length = |blocks: u32| u64::from(blocks) * u64::from(BLOCK_LENGTH);
        let piece_length = EACH * BLOCK_LENGTH;
        let whole = Geometry::new(length(truth.pieces * EACH), piece_length);
        let aligned = Geometry::aligned(FILES.map(length), piece_length);
        let geometry = if is_hybrid { whole } else { aligned }.expect("sizes of a torrent");
        let pads = |piece: u32| (truth.blocks(piece)..EACH).map(move |block| (piece, block));
        let pad_blocks = (0..truth.pieces).flat_map(pads).filter(|_| is_hybrid).collect();
        let mut have = Bitfield::new(truth.pieces);
        if kind & 2 != 0 {
            (0..truth.pieces).step_by(2).for_each(|piece| _ = have.insert(piece));
        }
        let config = Config {
            geometry,
            info_hash: InfoHash([1; 20]),
            have,
            wanted: None,
            pad_blocks,
            metadata_size: None,
            listen_port: None,
            client_version: "fuzz".into(),
            own_peer_id: PeerId([2; 20]),
            settings: Settings { peers_max: PEERS_MAX, ..Settings::default() },
            seed: 3,
        };
        let mut swarm = Swarm::new(Duration::ZERO, config);
        let known = |file: usize| kind & 4 != 0 || kind & 8 << file != 0;
        let tree = |file: usize| Tree {
            root: truth.trees[file].root(),
            length: length(FILES[file]),
            first_piece: truth.first_pieces[file],
            layer: known(file).then(|| truth.layer(file).into()),
        };
        swarm.set_trees((0..FILES.len()).map(tree).collect(), is_hybrid);
        Self {
            truth,
            swarm,
            is_hybrid,
            now: Duration::ZERO,
            peers: Vec::new(),
            addrs: BTreeMap::new(),
            asked: BTreeMap::new(),
            hashes_asked: VecDeque::new(),
            held: BTreeMap::new(),
            proving: Vec::new(),
            verifying: Vec::new(),
            hashing: Vec::new(),
            guilty: BTreeSet::new(),
        }
    }

    fn is_pad(&self, piece: u32, block: u32) -> bool {
        self.is_hybrid && block >= self.truth.blocks(piece)
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    let number = block.begin / BLOCK_LENGTH;
                    assert!(self.swarm.geometry().contains(block.piece, block.begin, block.length));
                    assert!(!self.is_pad(block.piece, number), "it asks for padding");
                    let known = self.swarm.piece_tree(block.piece).is_some();
                    assert!(self.is_hybrid || known, "a piece without a hash was opened");
                    self.asked.entry(peer).or_default().push(block);
                }
                Action::Send { peer, message: Message::Cancel(block) } => {
                    self.asked.entry(peer).or_default().retain(|asked| *asked != block);
                }
                Action::Send { peer, message: Message::HashRequest(request) } => {
                    assert!(self.truth.hashes(&request).is_some(), "{request:?}");
                    self.hashes_asked.push_back((peer, request));
                }
                Action::SendHashes { request, .. } => {
                    if let Some(hashes) = self.swarm.hashes_for(&request) {
                        assert_eq!(self.truth.hashes(&request), Some(hashes), "{request:?}");
                    }
                }
                Action::HashLeaves { piece } => {
                    assert!(self.hashing.is_empty(), "one piece at a time");
                    self.hashing.push(piece);
                }
                Action::Prove { block, leaf, length, opened } => {
                    let number = block.begin / BLOCK_LENGTH;
                    assert_eq!(leaf, self.truth.leaf(block.piece, number), "{block:?}");
                    assert_eq!(length, BLOCK_LENGTH);
                    let good = self.held.remove(&(block.piece, number));
                    self.proving.push((block, opened, good.expect("a block that is held")));
                }
                Action::LayerKnown { root, layer } => {
                    let file = self.truth.trees.iter().position(|tree| tree.root() == root);
                    assert_eq!(*layer, *self.truth.layer(file.expect("a file")));
                }
                Action::Verify { piece } => {
                    let count = self.swarm.geometry().block_count(piece);
                    let fetched = (0..count).filter(|block| !self.is_pad(piece, *block));
                    let blocks: Vec<u32> = fetched.collect();
                    let held = blocks.into_iter().map(|block| self.held.remove(&(piece, block)));
                    let held: Vec<bool> = held.map(|good| good.expect("all is there")).collect();
                    let is_good = held.iter().all(|good| *good);
                    assert!(is_good || !self.swarm.is_proved(piece), "bad blocks were proved");
                    self.verifying.push((piece, held));
                }
                Action::Abandon { piece } => self.held.retain(|(of, _), _| *of != piece),
                Action::Banned { addr } => {
                    assert!(self.guilty.contains(&addr), "{addr} is innocent")
                }
                Action::Disconnect { peer, .. } => self.leave(peer),
                Action::Contradiction { piece } | Action::Impossible { piece } => {
                    panic!("piece {piece} can be had");
                }
                _ => {}
            }
        }
    }

    fn leave(&mut self, peer: PeerKey) {
        self.peers.retain(|other| *other != peer);
        self.asked.remove(&peer);
        self.hashes_asked.retain(|(of, _)| *of != peer);
        self.swarm.remove_peer(self.now, peer);
    }

    fn joins(&mut self, number: u8, v2: bool, seeds: bool) {
        let addr = SocketAddr::from(([10, 0, 0, number], 6881));
        let reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 4]).with_v2_if(v2);
        let hello = Hello { addr, peer_id: PeerId([number; 20]), outgoing: true, reserved };
        let Ok(peer) = self.swarm.add_peer(self.now, hello) else { return };
        self.peers.push(peer);
        self.addrs.insert(peer, addr.ip());
        if seeds {
            self.hears(peer, &Message::HaveAll);
            self.hears(peer, &Message::Unchoke);
        }
    }

    fn web_seed_joins(&mut self, number: u16) {
        if let Ok(peer) = self.swarm.add_web_seed(self.now, number) {
            self.peers.push(peer);
            self.addrs.insert(peer, swarm::web_seed_ip(number));
        }
    }

    fn hears(&mut self, peer: PeerKey, message: &Message<'_>) {
        if self.swarm.handle(self.now, peer, message).is_err() {
            self.leave(peer);
        }
    }

    fn gives(&mut self, peer: PeerKey, block: BlockRequest, good: bool) {
        if !good {
            self.guilty.insert(self.addrs[&peer]);
        }
        let Ok(fate) = self.swarm.block_head(self.now, peer, block) else {
            return self.leave(peer);
        };
        let stored = self.swarm.block(self.now, peer, block) == BlockOutcome::Stored;
        if stored && fate == BlockFate::Keep {
            let before = self.held.insert((block.piece, block.begin / BLOCK_LENGTH), good);
            assert_eq!(before, None, "it was there");
        }
    }

    fn answers(&mut self, which: usize, how: u8) {
        let Some((peer, request)) = self.hashes_asked.remove(which) else { return };
        let Some(mut hashes) = self.truth.hashes(&request) else { return };
        match how % 8 {
            0 => return self.hears(peer, &Message::HashReject(request)),
            1 => {
                let at = usize::from(how) % hashes.len();
                hashes[at][0] ^= 1;
                self.guilty.insert(self.addrs[&peer]);
            }
            2 => {
                hashes.pop();
                self.guilty.insert(self.addrs[&peer]);
            }
            _ => {}
        }
        self.hears(peer, &Message::Hashes { request, hashes: &hashes });
    }

    fn proved(&mut self, which: usize) {
        let (block, opened, good) = self.proving.swap_remove(which);
        let outcome = self.swarm.block_proved(self.now, block, opened, good);
        if outcome == BlockOutcome::Stored {
            assert!(good, "a bad block was kept");
            let before = self.held.insert((block.piece, block.begin / BLOCK_LENGTH), good);
            assert_eq!(before, None, "it was there");
        }
    }

    fn verified(&mut self, which: usize) {
        let (piece, blocks) = self.verifying.swap_remove(which);
        let mut digests: Vec<u64> = blocks.iter().map(|good| u64::from(*good)).collect();
        digests.resize(self.swarm.geometry().block_count(piece) as usize, 0);
        if blocks.iter().all(|good| *good) {
            if self.swarm.wants_digests(piece) {
                self.swarm.piece_good_digests(self.now, piece, &digests);
            }
            self.swarm.piece_written(self.now, piece);
            assert!(self.swarm.have().has(piece));
        } else {
            self.swarm.piece_failed(self.now, piece, &digests);
        }
    }

    fn any_request(&self, input: &mut Input<'_>) -> HashRequest {
        let file = usize::from(input.byte()) % FILES.len();
        let (base_layer, proof_layers) = (u32::from(input.byte() % 4), u32::from(input.byte() % 8));
        let (length, index) = (1 << (input.byte() % 7), u32::from(input.byte() % 64));
        let root = self.truth.trees[file].root();
        HashRequest { root, base_layer, index: index * length, length, proof_layers }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (what, which) = (input.byte(), input.byte());
        let peer = self.peers.get(usize::from(which) % (PEERS_MAX + 2)).copied();
        match (what % 16, peer) {
            (0, _) => self.joins(which % 32, which & 32 != 0, which & 64 != 0),
            (1, _) => self.web_seed_joins(u16::from(which) % WEB_SEEDS),
            (2, Some(peer)) if which & 0x80 != 0 => self.leave(peer),
            (2, Some(peer)) => {
                let pieces = [u32::from(which) % self.truth.pieces];
                self.swarm.web_seed_lacks(self.now, peer, pieces);
            }
            (3, _) => {
                self.now += Duration::from_millis(u64::from(which) * 100);
                self.swarm.tick(self.now);
            }
            (4..=7, Some(peer)) => {
                let asked = self.asked.entry(peer).or_default();
                if let Some(at) = input.index(asked.len()) {
                    let block = asked.remove(at);
                    self.gives(peer, block, what & 0x80 == 0);
                }
            }
            (8, _) => {
                if let Some(which) = input.index(self.hashes_asked.len()) {
                    self.answers(which, what >> 4 | which as u8 & 0xf0);
                }
            }
            (9 | 10, _) => {
                if let Some(which) = input.index(self.proving.len()) {
                    self.proved(which);
                }
            }
            (11, _) => {
                if let Some(which) = input.index(self.verifying.len()) {
                    self.verified(which);
                }
            }
            (12, Some(peer)) => {
                let request = self.any_request(input);
                let hashes = vec![[which; 32]; usize::from(which % 16)];
                let message = match which % 3 {
                    0 => Message::HashRequest(request),
                    1 => Message::HashReject(request),
                    _ => Message::Hashes { request, hashes: &hashes },
                };
                if let Message::HashReject(_) = message {
                    self.hashes_asked.retain(|asked| *asked != (peer, request));
                }
                // One that was asked for and is false is a lie.
                if let Message::Hashes { .. } = message {
                    self.guilty.insert(self.addrs[&peer]);
                }
                self.hears(peer, &message);
            }
            (13, _) => {
                if let Some(piece) = self.hashing.pop() {
                    let leaves = self.truth.leaves(piece);
                    let leaves = match which % 3 {
                        0 => None,
                        1 => Some(vec![[0; 32]; leaves.len()]),
                        _ => Some(leaves),
                    };
                    self.swarm.leaves_hashed(self.now, piece, leaves);
                }
            }
            (14, _) => {
                let piece = u32::from(which) % self.truth.pieces;
                if self.swarm.have().has(piece) && what & 0x80 != 0 {
                    self.swarm.piece_lost(self.now, piece);
                } else {
                    self.swarm.set_reserve_limit(self.now, u32::from(which) + EACH);
                }
            }
            (15, Some(peer)) => {
                let piece = u32::from(which) % self.truth.pieces;
                let message = match what >> 4 {
                    0..8 => Message::Have(piece),
                    8..11 => Message::Unchoke,
                    11 => Message::Choke,
                    12 => Message::Interested,
                    _ => Message::AllowedFast(piece),
                };
                if message == Message::Choke {
                    self.asked.remove(&peer);
                }
                self.hears(peer, &message);
            }
            _ => {}
        }
        self.act();
        let stats = self.swarm.stats(self.now);
        assert_eq!((stats.peers + stats.web_seeds) as usize, self.peers.len());
    }

    /// Somebody honest comes, who has everything: it ends.
    fn ends(&mut self) {
        self.swarm.set_reserve_limit(self.now, 1000);
        self.peers.clone().into_iter().for_each(|peer| self.leave(peer));
        self.joins(200, true, true);
        for _ in 0..5000 {
            self.act();
            if let Some(piece) = self.hashing.pop() {
                self.swarm.leaves_hashed(self.now, piece, None);
            } else if !self.hashes_asked.is_empty() {
                self.answers(0, 7);
            } else if !self.proving.is_empty() {
                self.proved(0);
            } else if !self.verifying.is_empty() {
                self.verified(0);
            } else if let Some((peer, block)) = self.next_asked() {
                self.gives(peer, block, true);
            } else if self.swarm.is_complete() {
                return;
            } else {
                self.now += Duration::from_millis(500);
                self.swarm.tick(self.now);
            }
        }
        panic!("it does not end: {:?}", self.swarm.stats(self.now));
    }

    fn next_asked(&mut self) -> Option<(PeerKey, BlockRequest)> {
        let (peer, asked) = self.asked.iter_mut().find(|(_, asked)| !asked.is_empty())?;
        Some((*peer, asked.remove(0)))
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut world = World::new(input.byte());
    world.act();
    while !input.0.is_empty() {
        world.step(&mut input);
    }
    world.ends();
});
