//! Scripted peers that do harm: they speak the protocol as far as their purpose needs it, to
//! everybody whom the tracker names.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, merkle};
use swarm::Way;
use tracker::{Policy, Schedule, ScheduleConfig};
use wire::{Bitfield, BlockRequest, Extension, HashRequest, Limits, Message, PexFlags, PexMessage};

use crate::node::{LinkId, Node};
use crate::plan::{Behaviour, Script};
use crate::stream::{Chunk, Item};
use crate::world::{Event, World};

/// How often a script acts.
const EVERY: Duration = Duration::from_millis(250);
/// A script's uplink backlog before it waits.
const BACKLOG: Duration = Duration::from_millis(500);
/// Connections it keeps.
const LINKS_MAX: usize = 30;
/// Dials each time it acts.
const DIALS: usize = 2;
/// What it takes itself: anything.
const LIMITS: Limits =
    Limits { bitfield_bytes: 1 << 20, block_bytes: 1 << 20, extended_bytes: 1 << 20 };

impl World {
    fn script_of(&self, node: usize) -> Option<Script> {
        match self.nodes[node].plan.behaviour {
            Behaviour::Script(script) => Some(script),
            _ => None,
        }
    }

    pub(crate) fn start_script(&mut self, node: usize) {
        let schedule = ScheduleConfig {
            tiers: vec![vec![format!("{}/announce", self.plan.tracker())]],
            policy: Policy::default(),
            complete: false,
            seed: self.rng.u64(..),
        };
        self.nodes[node].schedule = Some(Schedule::new(self.now, schedule));
        self.schedule_announce(node);
        let epoch = self.nodes[node].epoch;
        self.queue.push(self.now + EVERY, Event::Script { node, epoch });
    }

    /// Dials, and does harm on every connection.
    pub(crate) fn script(&mut self, node: usize) {
        let Some(script) = self.script_of(node) else { return };
        let epoch = self.nodes[node].epoch;
        self.queue.push(self.now + EVERY, Event::Script { node, epoch });
        let known: Vec<_> = self.nodes[node].told.iter().copied().collect();
        for _ in 0..DIALS {
            let is_connected = |addr| self.nodes[node].links.values().any(|link| link.addr == addr);
            if self.nodes[node].links.len() < LINKS_MAX
                && let Some(addr) = self.rng.choice(&known).copied()
                && !is_connected(addr)
            {
                self.dial(node, addr, Way::default(), false);
            }
        }
        for link in self.nodes[node].links.keys().copied().collect::<Vec<_>>() {
            let backlog = self.nodes[node].uplink_free > self.now + BACKLOG;
            if !backlog && !self.is_backed_up(node, link) {
                let chunks = self.harm(node, link, script);
                if !chunks.is_empty() {
                    self.transmit(node, link, chunks);
                }
            }
        }
    }

    pub(crate) fn script_connected(&mut self, node: usize, link: LinkId) {
        self.script_greets(node, link);
    }

    /// Its handshake and what it says it has, unless its purpose is not to say it.
    fn script_greets(&mut self, node: usize, link: LinkId) {
        let Some(script) = self.script_of(node) else { return };
        let mut handshake = self.handshake_of(node);
        if matches!(script, Script::HashFlood | Script::UnaskedHashes) {
            handshake.info_hash = self.data.v2.unwrap_or(handshake.info_hash);
        }
        let handshake = handshake.encode().to_vec();
        let Some(session) = self.nodes[node].links.get_mut(&link) else { return };
        if session.said > 0 || matches!(script, Script::Mute | Script::SlowLoris) {
            return;
        }
        session.said = 1;
        let mut bytes = handshake;
        match script {
            Script::BadBitfield => {
                let length = self.plan.pieces.div_ceil(8) as usize;
                let length = length + usize::from(self.plan.pieces.is_multiple_of(8));
                Message::Bitfield(&vec![0xff; length]).encode(&mut bytes);
            }
            Script::HaveFlood => {}
            _ if self.nodes[node].plan.fast => Message::HaveAll.encode(&mut bytes),
            _ => Message::Bitfield(&Bitfield::full(self.plan.pieces).to_wire()).encode(&mut bytes),
        }
        Message::Unchoke.encode(&mut bytes);
        Message::Interested.encode(&mut bytes);
        self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
    }

    pub(crate) fn script_receives(&mut self, node: usize, link: LinkId, chunks: Vec<Chunk>) {
        let rejects = self.script_of(node) == Some(Script::RejectsAll);
        let mut answers = Vec::new();
        let Node { links, .. } = &mut self.nodes[node];
        let Some(session) = links.get_mut(&link) else { return };
        session.heard = true;
        if rejects {
            chunks.into_iter().for_each(|chunk| session.receiver.push(chunk));
            while let Ok(Some(item)) = session.receiver.next(&LIMITS) {
                if let Item::Message(Message::Request(block)) = item {
                    Message::RejectRequest(block).encode(&mut answers);
                }
            }
        }
        self.script_greets(node, link);
        if !answers.is_empty() {
            self.transmit(node, link, vec![Chunk::Bytes(answers)]);
        }
    }

    fn some_block(&mut self) -> BlockRequest {
        let piece = self.rng.u32(0..self.plan.pieces);
        let block = self.rng.u32(0..self.data.blocks_per_piece);
        BlockRequest { piece, begin: block * BLOCK_LENGTH, length: BLOCK_LENGTH }
    }

    /// A request for hashes of some file: mostly one that can be answered.
    fn some_hashes(&mut self) -> HashRequest {
        let trees = self.data.trees(|_| true);
        let Some(tree) = self.rng.choice(&trees) else {
            return HashRequest {
                root: [0; 32],
                base_layer: 0,
                index: 0,
                length: 2,
                proof_layers: 0,
            };
        };
        let height = merkle::height(merkle::leaf_count(tree.length));
        let base_layer = if self.rng.u8(0..3) > 0 { 0 } else { self.rng.u32(0..=height) };
        let length = 1 << self.rng.u32(0..=(height - base_layer));
        let index = self.rng.u32(0..=(1 << (height - base_layer)) / length) * length;
        let proof_layers = self.rng.u32(0..=height);
        HashRequest { root: tree.root, base_layer, index, length, proof_layers }
    }

    /// What it sends now.
    fn harm(&mut self, node: usize, link: LinkId, script: Script) -> Vec<Chunk> {
        let handshake = self.handshake_of(node).encode();
        let Some(session) = self.nodes[node].links.get_mut(&link) else { return Vec::new() };
        if script == Script::SlowLoris {
            let byte = handshake.get(session.said as usize / 4).copied();
            session.said += 1;
            let due = session.said % 4 == 1;
            return byte.filter(|_| due).map(|byte| Chunk::Bytes(vec![byte])).into_iter().collect();
        }
        if session.said == 0 {
            return Vec::new();
        }
        let pieces = self.plan.pieces;
        let mut out = Vec::new();
        match script {
            Script::HaveFlood => {
                for _ in 0..200 {
                    Message::Have(self.rng.u32(0..pieces)).encode(&mut out);
                }
                if self.rng.u8(0..20) == 0 {
                    Message::Have(self.rng.u32(pieces..)).encode(&mut out);
                }
            }
            Script::RequestFlood => {
                for _ in 0..300 {
                    Message::Request(self.some_block()).encode(&mut out);
                }
                if self.rng.u8(0..20) == 0 {
                    let block = BlockRequest { begin: u32::MAX, ..self.some_block() };
                    Message::Request(block).encode(&mut out);
                }
            }
            Script::ChokeFlap => {
                for _ in 0..10 {
                    Message::Choke.encode(&mut out);
                    Message::Unchoke.encode(&mut out);
                }
            }
            Script::Garbage => out.extend((0..200).map(|_| self.rng.u8(..))),
            Script::HugeLengths => {
                out.extend(self.rng.u32(1 << 20..).to_be_bytes());
                out.push(self.rng.choice([4, 5, 7, 20, 200]).unwrap_or(7));
            }
            Script::AllowedFast => {
                Message::NotInterested.encode(&mut out);
                for piece in 0..pieces.min(50) {
                    let block = BlockRequest { piece, begin: 0, length: BLOCK_LENGTH };
                    Message::Request(block).encode(&mut out);
                }
            }
            Script::DontHaveFlap => {
                for _ in 0..50 {
                    let piece = self.rng.u32(0..pieces);
                    let id = Extension::DontHave.our_id();
                    Message::Extended { id, payload: &piece.to_be_bytes() }.encode(&mut out);
                    Message::Have(piece).encode(&mut out);
                }
            }
            Script::SuggestFlood => {
                for _ in 0..50 {
                    let block = self.some_block();
                    Message::SuggestPiece(block.piece).encode(&mut out);
                    Message::AllowedFast(block.piece).encode(&mut out);
                    Message::Cancel(block).encode(&mut out);
                }
            }
            Script::UnaskedBlocks => {
                let block = self.some_block();
                let head = wire::encode_block_head(block).to_vec();
                let body = Chunk::Body { content: self.rng.u64(1..), bytes: block.length };
                return vec![Chunk::Bytes(head), body];
            }
            Script::ExtendedFlood => {
                let noise: Vec<u8> =
                    (0..self.rng.usize(0..1000)).map(|_| self.rng.u8(..)).collect();
                let id = self.rng.u8(0..4);
                Message::Extended { id, payload: &noise }.encode(&mut out);
                let payload = b"d1:md11:upload_onlyi300e11:lt_donthavei-1ee4:reqqi0e1:pi0ee";
                Message::Extended { id: 0, payload }.encode(&mut out);
            }
            Script::ExchangeFlood => {
                let nowhere = |_| {
                    let ip = Ipv4Addr::from_bits(self.rng.u32(..));
                    (SocketAddr::from((ip, self.rng.u16(..))), PexFlags(self.rng.u8(..)))
                };
                let added = (0..500).map(nowhere).collect();
                let payload = PexMessage { added, dropped: Vec::new() }.encode();
                let id = Extension::PeerExchange.our_id();
                Message::Extended { id, payload: &payload }.encode(&mut out);
            }
            Script::HashFlood => {
                for _ in 0..100 {
                    Message::HashRequest(self.some_hashes()).encode(&mut out);
                }
            }
            Script::UnaskedHashes => {
                let request = self.some_hashes();
                let count = (request.length + request.uncles()).min(600) as usize;
                let hashes = vec![[self.rng.u8(..); 32]; count];
                let message = Message::Hashes { request, hashes: &hashes };
                message.encode(&mut out);
                Message::HashReject(request).encode(&mut out);
            }
            Script::Mute | Script::SlowLoris | Script::BadBitfield | Script::RejectsAll => {}
        }
        if out.is_empty() { Vec::new() } else { vec![Chunk::Bytes(out)] }
    }
}
