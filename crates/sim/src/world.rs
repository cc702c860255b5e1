//! The world: a clock, a network, a tracker and peers, run from one seed to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::PieceIndex;
use swarm::{Leg, Spending};
use tracker::TrackerIndex;
use tracker::server::{Registry, ServerLimits};
use wire::Bitfield;

use crate::content::{Content, Data};
use crate::disk::Disk;
use crate::invariants::{Invariant, Violation};
use crate::network::Link;
use crate::node::{LinkId, Node, Sums};
use crate::plan::{Behaviour, Nat, Plan, Start};
use crate::queue::Queue;
use crate::trace::Trace;

/// Violations noted of one run for each invariant: the first one tells most.
const VIOLATIONS_MAX: usize = 3;
/// Events of one run: one that takes more has a loop in it.
const EVENTS_PER_PEER_MAX: u64 = 5_000_000;

/// Something that happens at a time. `epoch` is the peer's start that it is meant for.
pub(crate) enum Event {
    /// Bytes come to the door of `link`'s end `to`.
    Arrive {
        link: LinkId,
        to: usize,
    },
    /// They are through its downlink.
    Deliver {
        link: LinkId,
        to: usize,
    },
    /// The end `to` hears that the connection is over.
    Closed {
        link: LinkId,
        to: usize,
    },
    /// A connection across a partition gives up.
    Starved {
        link: LinkId,
    },
    /// Another transport's turn, in a dial.
    RaceOn {
        node: usize,
        epoch: u32,
        dial: u64,
    },
    /// What came of one.
    Answer {
        node: usize,
        epoch: u32,
        dial: u64,
        leg: Leg,
        came: crate::dialling::Came,
    },
    /// TCP led to nobody.
    HungUp {
        node: usize,
        epoch: u32,
        addr: SocketAddr,
    },
    HandshakeDue {
        link: LinkId,
        end: usize,
    },
    Tick {
        node: usize,
        epoch: u32,
    },
    Pump {
        node: usize,
        epoch: u32,
    },
    Hashed {
        node: usize,
        epoch: u32,
        piece: PieceIndex,
    },
    Proved {
        node: usize,
        epoch: u32,
        proved: crate::hashing::Proved,
    },
    LeavesHashed {
        node: usize,
        epoch: u32,
        piece: PieceIndex,
    },
    /// From a web seed.
    Web {
        node: usize,
        epoch: u32,
        seed: usize,
        fetch: u64,
        came: crate::web::Came,
    },
    Synced {
        node: usize,
        epoch: u32,
        written: Bitfield,
        blocks: BTreeSet<u32>,
    },
    SyncDue {
        node: usize,
        epoch: u32,
    },
    Save {
        node: usize,
        epoch: u32,
    },
    AnnounceDue {
        node: usize,
        epoch: u32,
    },
    Announced {
        node: usize,
        epoch: u32,
        tracker: TrackerIndex,
        target: String,
    },
    Answered {
        node: usize,
        epoch: u32,
        tracker: TrackerIndex,
        body: Option<Vec<u8>>,
    },
    /// Over UDP, to the tracker or from it.
    Datagram {
        node: usize,
        epoch: u32,
        to_tracker: bool,
        bytes: Vec<u8>,
    },
    AskAgain {
        node: usize,
        epoch: u32,
    },
    Script {
        node: usize,
        epoch: u32,
    },
    Start {
        node: usize,
    },
    Opened {
        node: usize,
        epoch: u32,
        checked: Box<crate::restart::Checked>,
    },
    Stop {
        node: usize,
        epoch: u32,
    },
    Fault(usize),
    FaultEnds(usize),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of everything that happened.
    pub trace: u64,
    /// What was broken; empty is a good run.
    pub violations: Vec<Violation>,
    /// When the last peer that had to be was complete.
    pub took: Duration,
    /// Events.
    pub events: u64,
    /// When each peer was complete, and what it moved; `None` for who was not.
    pub peers: Vec<PeerOutcome>,
    /// Who banned which address.
    pub banned: Vec<(usize, IpAddr)>,
    /// What the time of each peer's own peers went to, since its last start.
    pub spent: Vec<Vec<Spending>>,
}

/// What became of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerOutcome {
    /// When it was complete for the first time.
    pub completed_at: Option<Duration>,
    /// What it moved.
    pub sums: Sums,
    /// How many peers it reached by TCP, and by uTP.
    pub reached_by: [u32; 2],
}

/// A run in progress.
pub struct World {
    pub(crate) now: Duration,
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) trace: Trace,
    pub(crate) plan: Plan,
    pub(crate) data: Data,
    pub(crate) nodes: Vec<Node>,
    pub(crate) at: BTreeMap<IpAddr, usize>,
    pub(crate) links: Vec<Link>,
    pub(crate) apart: BTreeSet<usize>,
    pub(crate) tracker: Registry,
    pub(crate) tracker_down: bool,
    pub(crate) banned: Vec<(usize, IpAddr)>,
    violations: Vec<Violation>,
    faults_left: usize,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let data = Data::new(&plan);
        let limits = ServerLimits {
            peers_per_reply_max: plan.settings.peers_max,
            ..ServerLimits::default()
        };
        let mut tracker = Registry::new(limits, plan.seed);
        tracker.allow(data.info_hash);
        let mut world = Self {
            now: Duration::from_secs(1),
            queue: Queue::default(),
            rng: fastrand::Rng::with_seed(plan.seed),
            trace: Trace::default(),
            nodes: Vec::new(),
            at: BTreeMap::new(),
            links: Vec::new(),
            apart: BTreeSet::new(),
            tracker,
            tracker_down: false,
            banned: Vec::new(),
            violations: Vec::new(),
            faults_left: plan.faults.len(),
            data,
            plan,
        };
        for number in 0..world.plan.peers.len() {
            let plan = world.plan.peers[number];
            let mut disk = Disk::new(&world.data.info);
            let blocks = world.data.blocks_per_piece;
            disk.fill(|block| world.begins_with(number, block / blocks, block % blocks));
            let node = Node::new(number, plan, world.plan.ipv6, disk);
            world.at.insert(node.addr.ip(), number);
            world.nodes.push(node);
            world.remembers(number);
            if !world.plan.absent.contains(&number) {
                world.queue.push(world.now + plan.joins, Event::Start { node: number });
            }
        }
        for (number, fault) in world.plan.faults.iter().enumerate() {
            world.queue.push(world.now + fault.at, Event::Fault(number));
        }
        world
    }

    /// What is in that block of a peer's disk at first.
    fn begins_with(&self, node: usize, piece: PieceIndex, block: u32) -> Option<Content> {
        let plan = &self.plan.peers[node];
        let has = match plan.start {
            Start::Seed => plan.behaviour != Behaviour::Lies,
            Start::Empty => false,
            Start::Without(n) => piece % 16 != n,
        };
        has.then(|| self.data.right(piece, block))
    }

    /// Runs until everybody who has to is complete and every fault is over, or time is up.
    pub fn run(mut self) -> Outcome {
        let end = self.now + self.plan.limit;
        let events_max = EVENTS_PER_PEER_MAX.saturating_mul(self.nodes.len() as u64);
        let start = self.now;
        while self.faults_left > 0 || !self.is_done() {
            let Some((at, event)) = self.queue.pop() else { break };
            if at > end || self.queue.count() > events_max {
                break;
            }
            self.now = self.now.max(at);
            self.happens(event);
        }
        for node in 0..self.nodes.len() {
            if self.is_obliged(node) && self.nodes[node].completed_at.is_none() {
                let have = self.nodes[node].brain.as_ref().map(|b| b.swarm.have().count());
                let what = format!("has {have:?} of {} pieces", self.plan.pieces);
                self.violated(Invariant::Unfinished, node, what);
            }
            self.nodes[node].settle_sums(self.now);
        }
        let obliged = (0..self.nodes.len()).filter(|node| self.is_obliged(*node));
        let last = obliged.filter_map(|node| self.nodes[node].completed_at).max();
        let brains = self.nodes.iter().map(|node| node.brain.as_ref());
        let spent = brains
            .map(|brain| brain.map(|brain| brain.swarm.spending(self.now)).unwrap_or_default());
        Outcome {
            spent: spent.collect(),
            trace: self.trace.hash(),
            violations: self.violations,
            took: last.unwrap_or(self.now).saturating_sub(start),
            events: self.queue.count(),
            peers: self
                .nodes
                .iter()
                .map(|node| PeerOutcome {
                    completed_at: node.completed_at.map(|at| at.saturating_sub(start)),
                    sums: node.sums,
                    reached_by: node.dials.reached_by,
                })
                .collect(),
            banned: self.banned,
        }
    }

    /// Whether the peer has to be complete in the end.
    fn is_obliged(&self, node: usize) -> bool {
        let plan = &self.plan.peers[node];
        plan.behaviour == Behaviour::Honest
            && plan.nat != Nat::Unreachable
            && !self.plan.absent.contains(&node)
    }

    fn is_done(&self) -> bool {
        let done = |node: usize| {
            let state = &self.nodes[node];
            let whole = state.brain.as_ref().is_some_and(|brain| brain.swarm.is_complete());
            state.completed_at.is_some() && (whole || state.left)
        };
        (0..self.nodes.len()).filter(|node| self.is_obliged(*node)).all(done)
    }

    pub(crate) fn violated(&mut self, invariant: Invariant, peer: usize, what: String) {
        let same = self.violations.iter().filter(|noted| noted.invariant == invariant);
        if same.count() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, at: self.now, peer, what });
        }
    }

    fn happens(&mut self, event: Event) {
        self.trace.number(self.now.as_nanos() as u64);
        match event {
            Event::Arrive { link, to } => self.arrive(link, to),
            Event::Deliver { link, to } => self.deliver(link, to),
            Event::Closed { link, to } => self.hears_close(link, to),
            Event::Starved { link } => self.starved(link),
            Event::RaceOn { node, epoch, dial } if self.is_current(node, epoch) => {
                self.race_on(node, dial);
            }
            Event::Answer { node, epoch, dial, leg, came } if self.is_current(node, epoch) => {
                self.answered_dial(node, dial, leg, came);
            }
            Event::HungUp { node, epoch, addr } if self.is_current(node, epoch) => {
                self.hung_up(node, addr);
            }
            Event::HandshakeDue { link, end } => self.handshake_due(link, end),
            Event::Tick { node, epoch } if self.is_current(node, epoch) => self.tick(node),
            Event::Pump { node, epoch } if self.is_current(node, epoch) => self.pump(node),
            Event::Hashed { node, epoch, piece } if self.is_current(node, epoch) => {
                self.hashed(node, piece);
            }
            Event::Proved { node, epoch, proved } if self.is_current(node, epoch) => {
                self.proved(node, &proved);
            }
            Event::LeavesHashed { node, epoch, piece } if self.is_current(node, epoch) => {
                self.leaves_hashed(node, piece);
            }
            Event::Web { node, epoch, seed, fetch, came } if self.is_current(node, epoch) => {
                self.web_seed_came(node, seed, fetch, came);
            }
            Event::SyncDue { node, epoch } if self.is_current(node, epoch) => self.sync(node),
            Event::Synced { node, epoch, written, blocks } if self.is_current(node, epoch) => {
                self.synced(node, &written, &blocks);
            }
            Event::Save { node, epoch } if self.is_current(node, epoch) => self.save(node),
            Event::AnnounceDue { node, epoch } if self.is_current(node, epoch) => {
                self.announce(node);
            }
            Event::Announced { node, epoch, tracker, target } => {
                self.at_tracker(node, epoch, tracker, &target);
            }
            Event::Answered { node, epoch, tracker, body } if self.is_current(node, epoch) => {
                self.answered(node, tracker, body.as_deref());
            }
            Event::Datagram { node, to_tracker: true, bytes, .. } => {
                self.datagram_at_tracker(node, &bytes);
            }
            Event::Datagram { node, epoch, bytes, .. } if self.is_current(node, epoch) => {
                self.datagram_at_peer(node, &bytes);
            }
            Event::AskAgain { node, epoch } if self.is_current(node, epoch) => {
                self.go_on_asking(node);
            }
            Event::Script { node, epoch } if self.is_current(node, epoch) => self.script(node),
            Event::Start { node } => self.start(node),
            Event::Opened { node, epoch, checked } if self.is_current(node, epoch) => {
                self.opened(node, *checked);
            }
            Event::Stop { node, epoch } if self.is_current(node, epoch) => {
                self.stop(node);
                self.nodes[node].left = true;
            }
            Event::Fault(number) => self.fault(number),
            Event::FaultEnds(number) => {
                self.fault_ends(number);
                self.faults_left -= 1;
            }
            _ => {} // meant for an earlier start
        }
    }

    pub(crate) fn is_current(&self, node: usize, epoch: u32) -> bool {
        self.nodes[node].running && self.nodes[node].epoch == epoch
    }

    /// Whether what the peer's disk has there is the piece.
    pub(crate) fn is_there(&self, node: usize, piece: PieceIndex) -> bool {
        let blocks = self.data.blocks_of(piece);
        let good = (0..).zip(self.nodes[node].disk.cached(blocks));
        good.into_iter().all(|(block, content)| *content == self.data.right(piece, block))
    }
}
