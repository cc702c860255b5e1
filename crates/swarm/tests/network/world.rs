//! The network between swarms: each node has an uplink with a rate and a queue, each message a
//! latency. Blocks carry their "content" as one number, so corruption is a wrong number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, PieceIndex};
use swarm::{Action, BlockFate, BlockOutcome, Config, Hello, PeerKey, Settings, Stats, Swarm};
use wire::{Bitfield, BlockRequest, Decoded, Limits, Message, PeerId, Reserved};

const LATENCY: Duration = Duration::from_millis(20);
/// Hashing and writing a piece.
const VERIFY: Duration = Duration::from_millis(2);
/// Bytes in flight on an uplink before uploads wait for it.
const UPLINK_QUEUE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Honest,
    /// Takes requests and answers none.
    Silent,
    /// Sends this share of its blocks wrong.
    Corrupts {
        percent: u32,
    },
    /// Serves nobody.
    Refuses,
}

pub(crate) type Node = usize;

struct Member {
    swarm: Swarm,
    behaviour: Behaviour,
    addr: SocketAddr,
    rate: f64,
    uplink_free: Duration,
    /// (other node, connection) by our key, and back.
    links: BTreeMap<PeerKey, Node>,
    keys: BTreeMap<Node, PeerKey>,
    content: HashMap<PieceIndex, Vec<u64>>,
    banned: Vec<IpAddr>,
    seed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Bytes { from: Node, to: Node, key: PeerKey, bytes: Vec<u8> },
    Block { from: Node, to: Node, key: PeerKey, block: BlockRequest, content: u64 },
    Upload { node: Node, key: PeerKey },
    Verified { node: Node, piece: PieceIndex },
    Tick { node: Node },
}

pub(crate) struct World {
    now: Duration,
    rng: fastrand::Rng,
    geometry: Geometry,
    members: Vec<Member>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sequence: u64,
    trace: DefaultHasher,
    settings: Settings,
    reserve_limit: u32,
}

fn good(piece: PieceIndex, block: u32) -> u64 {
    u64::from(piece) << 32 | u64::from(block)
}

impl World {
    pub(crate) fn new(seed: u64, total: u64, piece_length: u32) -> Self {
        Self {
            now: Duration::from_secs(1),
            rng: fastrand::Rng::with_seed(seed),
            geometry: Geometry::new(total, piece_length).unwrap(),
            members: Vec::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            trace: DefaultHasher::new(),
            settings: Settings::default(),
            reserve_limit: u32::MAX,
        }
    }

    pub(crate) fn set_upload_slots(&mut self, slots: usize) {
        self.settings.upload_slots = slots;
    }

    pub(crate) fn set_reserve_limit(&mut self, blocks: u32) {
        self.reserve_limit = blocks;
    }

    pub(crate) fn add(&mut self, behaviour: Behaviour, rate: f64, seed: bool) -> Node {
        let node = self.members.len();
        let count = self.geometry.piece_count();
        let mut id = *b"-PL0100-000000000000";
        id[19] = node as u8;
        id[18] = self.rng.u8(..);
        let mut settings = self.settings;
        if behaviour == Behaviour::Refuses {
            settings.upload_slots = 0;
        }
        let config = Config {
            geometry: self.geometry,
            info_hash: InfoHash([1; 20]),
            have: if seed { Bitfield::full(count) } else { Bitfield::new(count) },
            wanted: None,
            pad_blocks: Vec::new(),
            listen_port: Some(6881),
            client_version: "test".into(),
            own_peer_id: PeerId(id),
            settings,
            seed: self.rng.u64(..),
        };
        let addr = SocketAddr::from(([10, 0, 0, node as u8 + 1], 6881));
        let mut swarm = Swarm::new(self.now, config);
        swarm.set_reserve_limit(self.now, self.reserve_limit);
        self.members.push(Member {
            swarm,
            behaviour,
            addr,
            rate,
            uplink_free: self.now,
            links: BTreeMap::new(),
            keys: BTreeMap::new(),
            content: HashMap::new(),
            banned: Vec::new(),
            seed,
        });
        self.at(self.now, Event::Tick { node });
        node
    }

    pub(crate) fn addr(&self, node: Node) -> SocketAddr {
        self.members[node].addr
    }

    pub(crate) fn banned(&self, node: Node) -> &[IpAddr] {
        &self.members[node].banned
    }

    pub(crate) fn stats(&self, node: Node) -> Stats {
        self.members[node].swarm.stats(self.now)
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Joins two nodes, if both let the other in.
    pub(crate) fn connect(&mut self, from: Node, to: Node) {
        if self.members[from].keys.contains_key(&to) {
            return;
        }
        let (from_hello, to_hello) = (self.hello(from, false), self.hello(to, true));
        let Ok(ours) = self.members[from].swarm.add_peer(self.now, to_hello) else { return };
        self.members[from].links.insert(ours, to);
        self.members[from].keys.insert(to, ours);
        match self.members[to].swarm.add_peer(self.now, from_hello) {
            Ok(theirs) => {
                self.members[to].links.insert(theirs, from);
                self.members[to].keys.insert(from, theirs);
                self.drain(from);
                self.drain(to);
            }
            Err(_) => self.unlink(from, to),
        }
    }

    fn hello(&self, node: Node, outgoing: bool) -> Hello {
        let member = &self.members[node];
        let mut id = *b"-XX0000-000000000000";
        id[19] = node as u8;
        Hello { addr: member.addr, peer_id: PeerId(id), outgoing, reserved: Reserved::ours() }
    }

    pub(crate) fn disconnect(&mut self, node: Node) {
        let others: Vec<Node> = self.members[node].keys.keys().copied().collect();
        for other in others {
            self.unlink(node, other);
        }
    }

    fn unlink(&mut self, a: Node, b: Node) {
        for (node, other) in [(a, b), (b, a)] {
            let member = &mut self.members[node];
            if let Some(key) = member.keys.remove(&other) {
                member.links.remove(&key);
                member.swarm.remove_peer(self.now, key);
            }
        }
        self.drain(a);
        self.drain(b);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until every honest node is complete; fails after `limit`. Returns how long it took.
    pub(crate) fn run_until_complete(&mut self, limit: Duration) -> Duration {
        let start = self.now;
        let done =
            |member: &Member| member.behaviour != Behaviour::Honest || member.swarm.is_complete();
        while !self.members.iter().all(done) {
            assert!(self.now.saturating_sub(start) < limit, "not complete after {limit:?}");
            self.step();
        }
        self.now.saturating_sub(start)
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((when, self.sequence, event)));
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, event))) = self.events.pop() else {
            panic!("nothing will happen")
        };
        self.now = self.now.max(at);
        (at, format!("{event:?}")).hash(&mut self.trace);
        match event {
            Event::Bytes { from, to, key, bytes } => {
                if self.members[from].keys.get(&to) == Some(&key) {
                    self.deliver(from, to, &bytes);
                }
            }
            Event::Block { from, to, key, block, content } => {
                if self.members[from].keys.get(&to) == Some(&key) {
                    self.deliver_block(from, to, block, content);
                }
            }
            Event::Upload { node, key } => self.upload(node, key),
            Event::Verified { node, piece } => self.verified(node, piece),
            Event::Tick { node } => {
                let member = &mut self.members[node];
                member.swarm.tick(self.now);
                let next = member.swarm.next_timeout();
                let soon = self.now + Duration::from_secs(1);
                let next = next.map_or(soon, |next| next.min(soon));
                let next = next.max(self.now + Duration::from_millis(10));
                self.at(next, Event::Tick { node });
                self.drain(node);
            }
        }
    }

    fn deliver(&mut self, from: Node, to: Node, bytes: &[u8]) {
        let count = self.geometry.piece_count();
        let limits =
            Limits { bitfield_bytes: count.div_ceil(8), block_bytes: 0, extended_bytes: 4096 };
        let Decoded::Message { message, .. } = wire::decode(bytes, &limits).unwrap() else {
            panic!("only whole messages travel");
        };
        let Some(&key) = self.members[to].keys.get(&from) else { return };
        let member = &mut self.members[to];
        let silent = member.behaviour == Behaviour::Silent;
        if silent && matches!(message, Message::Request(_)) {
            return;
        }
        if let Err(fault) = member.swarm.handle(self.now, key, &message) {
            panic!("{fault} from an honest brain: {message:?}");
        }
        self.drain(to);
    }

    fn deliver_block(&mut self, from: Node, to: Node, block: BlockRequest, content: u64) {
        let blocks = self.geometry.block_count(block.piece) as usize;
        let Some(&key) = self.members[to].keys.get(&from) else { return };
        let member = &mut self.members[to];
        let fate = member.swarm.block_head(self.now, key, block).unwrap();
        if member.swarm.block(self.now, key, block) == BlockOutcome::Stored {
            assert_eq!(fate, BlockFate::Keep, "what is stored was kept");
            let piece = member.content.entry(block.piece).or_insert_with(|| vec![0; blocks]);
            piece[(block.begin / BLOCK_LENGTH) as usize] = content;
        }
        self.drain(to);
    }

    fn verified(&mut self, node: Node, piece: PieceIndex) {
        let blocks = self.geometry.block_count(piece);
        let now = self.now;
        let member = &mut self.members[node];
        let content = member.content.remove(&piece).unwrap_or_default();
        let right: Vec<u64> = (0..blocks).map(|block| good(piece, block)).collect();
        if content == right {
            if member.swarm.wants_digests(piece) {
                member.swarm.piece_good_digests(now, piece, &content);
            }
            member.swarm.piece_written(now, piece);
        } else {
            member.swarm.piece_failed(now, piece, &content);
        }
        self.drain(node);
    }

    fn upload(&mut self, node: Node, key: PeerKey) {
        let now = self.now;
        let member = &mut self.members[node];
        let Some(&to) = member.links.get(&key) else { return };
        if member.uplink_free > now + UPLINK_QUEUE {
            let when = member.uplink_free.saturating_sub(UPLINK_QUEUE);
            self.at(when, Event::Upload { node, key });
            return;
        }
        let mut blocks = Vec::new();
        member.swarm.take_uploads(now, key, BLOCK_LENGTH, &mut blocks);
        for block in blocks {
            let member = &mut self.members[node];
            assert!(member.swarm.have().has(block.piece), "serves what it does not have");
            let start = member.uplink_free.max(now);
            member.uplink_free =
                start + Duration::from_secs_f64(f64::from(block.length) / member.rate);
            member.swarm.uploaded(now, key, block.length);
            let wrong = match member.behaviour {
                Behaviour::Corrupts { percent } => self.rng.u32(0..100) < percent,
                _ => false,
            };
            let content =
                good(block.piece, block.begin / BLOCK_LENGTH) ^ if wrong { u64::MAX } else { 0 };
            let when = member.uplink_free + LATENCY;
            self.at(when, Event::Block { from: node, to, key, block, content });
            let when = self.members[node].uplink_free.saturating_sub(UPLINK_QUEUE).max(now);
            self.at(when, Event::Upload { node, key });
        }
    }

    /// Carries out what a brain decided.
    fn drain(&mut self, node: Node) {
        let now = self.now;
        while let Some(action) = self.members[node].swarm.poll_action() {
            let member = &mut self.members[node];
            let mut bytes = Vec::new();
            let peer = match action {
                Action::Send { peer, message } => {
                    message.encode(&mut bytes);
                    peer
                }
                Action::SendBitfield { peer } => {
                    Message::Bitfield(&member.swarm.have().to_wire()).encode(&mut bytes);
                    peer
                }
                Action::SendExtended { peer, id, payload } => {
                    Message::Extended { id, payload: &payload }.encode(&mut bytes);
                    peer
                }
                Action::Verify { piece } => {
                    self.at(now + VERIFY, Event::Verified { node, piece });
                    continue;
                }
                Action::UploadReady { peer } => {
                    self.at(now, Event::Upload { node, key: peer });
                    continue;
                }
                Action::Disconnect { peer, .. } => {
                    if let Some(other) = member.links.get(&peer).copied() {
                        self.unlink(node, other);
                    }
                    continue;
                }
                Action::Banned { addr } => {
                    member.banned.push(addr);
                    continue;
                }
                Action::Complete => {
                    assert!(!member.seed, "a seed does not complete");
                    continue;
                }
                other => panic!("{other:?}"),
            };
            if let Some(&to) = member.links.get(&peer) {
                self.at(now + LATENCY, Event::Bytes { from: node, to, key: peer, bytes });
            }
        }
    }
}
