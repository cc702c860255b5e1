//! The brain of a torrent under any course of events: what peers send, when they come and go, what
//! the disk and the clock say. Its books stay right, and it never asks for what cannot be.
#![no_main]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use swarm::{
    Action, BlockFate, BlockOutcome, Config, Hello, PeerKey, ReaderId, Settings, Source, Swarm,
};
use wire::{Bitfield, BlockRequest, Decoded, Limits, Message, PeerId, Reserved};

const PIECES: u32 = 12;
const PEERS_MAX: usize = 5;
const RESERVED: [[u8; 8]; 3] = [[0; 8], [0, 0, 0, 0, 0, 0x10, 0, 4], [0, 0, 0, 0, 0, 0x10, 0, 0]];
const LIMITS: Limits = Limits { bitfield_bytes: 2, block_bytes: BLOCK_LENGTH, extended_bytes: 400 };

/// Takes numbers off the input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (now, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        now
    }
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, n % 4, n], 6881))
}

/// What a driver remembers.
struct World {
    swarm: Swarm,
    now: Duration,
    peers: Vec<PeerKey>,
    /// Requests on their way, of each peer.
    asked: HashMap<PeerKey, Vec<BlockRequest>>,
    /// Blocks that are held for a piece that is not verified.
    held: HashSet<(u32, u32)>,
    verifying: Vec<u32>,
}

impl World {
    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    let geometry = self.swarm.geometry();
                    assert!(geometry.contains(block.piece, block.begin, block.length));
                    assert!(!self.swarm.have().has(block.piece), "it has that piece");
                    self.asked.entry(peer).or_default().push(block);
                }
                Action::Send { peer, message: Message::Cancel(block) } => {
                    self.asked.entry(peer).or_default().retain(|asked| *asked != block);
                }
                Action::Verify { piece } => {
                    assert!(!self.verifying.contains(&piece) && !self.swarm.have().has(piece));
                    let blocks = self.swarm.geometry().block_count(piece);
                    assert!((0..blocks).all(|block| self.held.contains(&(piece, block))));
                    self.held.retain(|(of, _)| *of != piece);
                    self.verifying.push(piece);
                }
                Action::Abandon { piece } => self.held.retain(|(of, _)| *of != piece),
                Action::Disconnect { peer, .. } => self.leave(peer),
                Action::Complete => assert!(self.swarm.is_complete()),
                _ => {}
            }
        }
    }

    fn leave(&mut self, peer: PeerKey) {
        self.peers.retain(|other| *other != peer);
        self.asked.remove(&peer);
        self.swarm.remove_peer(self.now, peer);
    }

    fn block(&mut self, peer: PeerKey, block: BlockRequest) {
        match self.swarm.block_head(self.now, peer, block) {
            Err(_) => self.leave(peer),
            Ok(fate) => {
                let outcome = self.swarm.block(self.now, peer, block);
                if outcome == BlockOutcome::Stored && fate == BlockFate::Keep {
                    assert!(self.held.insert((block.piece, block.begin / BLOCK_LENGTH)));
                }
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let Some(geometry) = Geometry::new(u64::from(PIECES - 1) * 40_000 + 20_000, 40_000) else {
        return;
    };
    let settings = Settings { peers_max: PEERS_MAX, ..Settings::default() };
    let config = Config {
        geometry,
        info_hash: InfoHash([1; 20]),
        have: Bitfield::new(PIECES),
        wanted: None,
        pad_blocks: vec![(1, 0)],
        metadata_size: Some(20_000),
        listen_port: Some(6881),
        client_version: "fuzz".into(),
        own_peer_id: PeerId([2; 20]),
        settings,
        seed: 3,
    };
    let mut world = World {
        swarm: Swarm::new(Duration::ZERO, config),
        now: Duration::ZERO,
        peers: Vec::new(),
        asked: HashMap::new(),
        held: HashSet::from([(1, 0)]), // padding: never asked for
        verifying: Vec::new(),
    };
    while !input.0.is_empty() {
        let what = input.byte();
        let which = input.byte();
        let peer = world.peers.get(usize::from(which) % PEERS_MAX).copied();
        let now = world.now;
        match (what % 16, peer) {
            (0 | 1, _) => {
                let reserved = Reserved(RESERVED[usize::from(which) % RESERVED.len()]);
                let peer_id = PeerId([which; 20]);
                let hello =
                    Hello { addr: addr(which), peer_id, outgoing: which & 1 == 0, reserved };
                world.peers.extend(world.swarm.add_peer(now, hello));
            }
            (2, Some(peer)) => world.leave(peer),
            (3, _) => {
                world.now += Duration::from_millis(u64::from(which) * 100);
                world.swarm.tick(world.now);
            }
            // An answer to what was asked, or nearly.
            (4..=7, Some(peer)) => {
                let asked = world.asked.entry(peer).or_default();
                if !asked.is_empty() {
                    let mut block = asked.remove(usize::from(input.byte()) % asked.len());
                    block.length -= u32::from(what & 0x80 != 0);
                    world.block(peer, block);
                }
            }
            (8 | 9, _) => {
                if let Some(piece) = world.verifying.pop() {
                    if what % 16 == 8 {
                        world.swarm.piece_written(now, piece);
                        assert!(world.swarm.have().has(piece));
                    } else {
                        if piece == 1 {
                            world.held.insert((1, 0));
                        }
                        let blocks = world.swarm.geometry().block_count(piece) as usize;
                        world.swarm.piece_failed(now, piece, &vec![u64::from(which); blocks]);
                    }
                }
            }
            (10, _) if which < 200 => {
                let piece = u32::from(which) % PIECES;
                if world.swarm.have().has(piece) && !world.verifying.contains(&piece) {
                    world.swarm.piece_lost(now, piece);
                    if piece == 1 {
                        world.held.insert((1, 0));
                    }
                }
            }
            (10, _) => world.swarm.set_paused(now, which & 1 == 0),
            (11, _) if what & 0xc0 == 0xc0 => world.swarm.reader_gone(now, ReaderId(which.into())),
            (11, _) if what & 0x80 != 0 => {
                let at = u64::from(input.byte()) * 4_000;
                world.swarm.reader_at(now, ReaderId(u64::from(which % 4)), at, 1_000_000);
            }
            (11, _) => world.swarm.set_reserve_limit(now, u32::from(which)),
            (12, _) => {
                world.swarm.add_candidates(now, Source::Tracker, &[addr(which)]);
                if let Some(addr) = world.swarm.next_dial(now) {
                    world.swarm.dial_failed(now, addr);
                }
            }
            (13, Some(peer)) => {
                let mut out = Vec::new();
                world.swarm.take_uploads(now, peer, 100_000, &mut out);
                for block in out {
                    assert!(world.swarm.have().has(block.piece), "it serves what it has not");
                    world.swarm.uploaded(now, peer, block.length);
                }
            }
            // Whatever a peer may send that can be decoded.
            (_, Some(peer)) => {
                let body = input.take(usize::from(which & 0x3f));
                let length = (body.len() as u32).to_be_bytes();
                match wire::decode(&[&length, body].concat(), &LIMITS) {
                    Ok(Decoded::Message { message, .. }) => {
                        if let Message::RejectRequest(block) = message {
                            world.asked.entry(peer).or_default().retain(|asked| *asked != block);
                        }
                        if world.swarm.handle(now, peer, &message).is_err() {
                            world.leave(peer);
                        }
                    }
                    Ok(Decoded::BlockHead { block, .. }) => world.block(peer, block),
                    _ => {}
                }
            }
            _ => {}
        }
        world.act();
        assert!(world.peers.len() <= PEERS_MAX);
        let stats = world.swarm.stats(world.now);
        assert_eq!(stats.peers as usize, world.peers.len());
        assert!(
            world.swarm.next_timeout().is_none_or(|at| at < world.now + Duration::from_secs(3600))
        );
    }
});
