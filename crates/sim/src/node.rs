//! One simulated peer: its machine, and what its program holds while it runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::{MerkleHash, PieceIndex};
use storage::ResumeRecord;
use swarm::{PeerKey, Swarm};
use tracker::udp::{ConnectionId, Exchange};
use tracker::{Schedule, TrackerIndex};

use crate::content::Content;
use crate::dialling::Dials;
use crate::disk::Disk;
use crate::plan::{Behaviour, PeerPlan};
use crate::stream::Receiver;
use crate::web::WebSeed;

/// Names a connection for good.
pub(crate) type LinkId = usize;

/// The peer's end of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) receiver: Receiver,
    /// Its name in the brain, once both shook hands.
    pub(crate) key: Option<PeerKey>,
    pub(crate) outgoing: bool,
    /// The other end's address as seen from here.
    pub(crate) addr: SocketAddr,
    /// A script's progress.
    pub(crate) said: u32,
    /// Whether the other end shook hands.
    pub(crate) heard: bool,
}

/// A record on a disk: what a kill leaves, and what a power cut leaves for certain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved {
    pub(crate) cached: Option<ResumeRecord>,
    pub(crate) durable: Option<ResumeRecord>,
}

/// An announce over UDP that has no answer yet.
pub(crate) struct Asking {
    pub(crate) exchange: Exchange,
    pub(crate) tracker: TrackerIndex,
}

/// A running program with a brain.
pub(crate) struct Brain {
    pub(crate) swarm: Swarm,
    pub(crate) by_key: BTreeMap<PeerKey, LinkId>,
    /// Blocks of open pieces.
    pub(crate) open: BTreeMap<PieceIndex, Vec<Option<Content>>>,
    /// Pieces that are being hashed and written.
    pub(crate) in_pool: BTreeMap<PieceIndex, Vec<Content>>,
    /// Verified pieces that the disk refused.
    pub(crate) unwritten: Vec<(PieceIndex, Vec<Content>)>,
    pub(crate) retry_at: Option<Duration>,
    pub(crate) half_open: u32,
    pub(crate) held_blocks: u32,
    pub(crate) limit: u32,
    pub(crate) sought_at: Duration,
    pub(crate) record: ResumeRecord,
    pub(crate) save_due: bool,
    pub(crate) save_through: bool,
    pub(crate) web: Vec<WebSeed>,
}

/// One peer.
pub(crate) struct Node {
    pub(crate) plan: PeerPlan,
    pub(crate) addr: SocketAddr,
    /// Starts so far: what was meant for an earlier one is dropped.
    pub(crate) epoch: u32,
    /// Boots of its machine so far.
    pub(crate) boots: u32,
    pub(crate) running: bool,
    pub(crate) peer_id: [u8; 20],
    pub(crate) disk: Disk,
    pub(crate) saved: Saved,
    /// Piece layers that peers gave, by their roots: as its record keeps them.
    pub(crate) layers: BTreeSet<MerkleHash>,
    pub(crate) brain: Option<Brain>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) asking: Option<Asking>,
    /// The UDP tracker's, for as long as it lasts.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) links: BTreeMap<LinkId, Session>,
    pub(crate) dials: Dials,
    /// Addresses that the tracker gave, or that came by themselves.
    pub(crate) told: BTreeSet<SocketAddr>,
    /// Until when its NAT lets in what comes from there.
    pub(crate) holes: BTreeMap<IpAddr, Duration>,
    pub(crate) uplink_free: Duration,
    pub(crate) downlink_free: Duration,
    /// Connections with something to upload, in turn.
    pub(crate) ring: VecDeque<LinkId>,
    pub(crate) pump_at: Option<Duration>,
    pub(crate) tick_at: Option<Duration>,
    pub(crate) completed_at: Option<Duration>,
    pub(crate) left: bool,
    pub(crate) sums: Sums,
}

/// Payload bytes over all starts of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Received.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
    /// Received and not wanted.
    pub wasted: u64,
    /// Of pieces that failed their hash.
    pub failed: u64,
}

impl Node {
    pub(crate) fn new(number: usize, plan: PeerPlan, ipv6: bool, disk: Disk) -> Self {
        let number = number as u16 + 1;
        let [high, low] = number.to_be_bytes();
        let ip = if ipv6 {
            IpAddr::from([0x2001, 0x470, number, 0, 0, 0, 0, 7])
        } else {
            IpAddr::from([10, high, low, 7])
        };
        Self {
            plan,
            addr: SocketAddr::new(ip, 6881),
            epoch: 0,
            boots: 1,
            running: false,
            peer_id: [0; 20],
            disk,
            saved: Saved::default(),
            layers: BTreeSet::new(),
            brain: None,
            schedule: None,
            asking: None,
            connection: None,
            links: BTreeMap::new(),
            dials: Dials::default(),
            told: BTreeSet::new(),
            holes: BTreeMap::new(),
            uplink_free: Duration::ZERO,
            downlink_free: Duration::ZERO,
            ring: VecDeque::new(),
            pump_at: None,
            tick_at: None,
            completed_at: None,
            left: false,
            sums: Sums::default(),
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.plan.behaviour == Behaviour::Honest
    }

    /// Adds up what the brain counted before it goes.
    pub(crate) fn settle_sums(&mut self, now: Duration) {
        let Some(brain) = &self.brain else { return };
        let stats = brain.swarm.stats(now);
        self.sums.downloaded += stats.downloaded;
        self.sums.uploaded += stats.uploaded;
        self.sums.wasted += stats.wasted;
        self.sums.failed += stats.failed;
    }
}
