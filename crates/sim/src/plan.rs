//! What a run consists of, as data: peers, faults and sizes. A scenario makes one from a seed, and
//! shrinking takes parts away.

mod paths;

use std::collections::BTreeSet;
use std::time::Duration;

use metainfo::Format;

pub use paths::{Paths, Speaks, TcpPath};

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Honest,
    /// The real brain, that gives nothing.
    Refuses,
    /// The real brain, whose driver drops every request it should answer.
    Silent,
    /// The real brain over wrong data: so many blocks of a hundred.
    Corrupts(u32),
    /// The real brain, that says it has everything and has nothing: it sends nonsense.
    Lies,
    /// The real brain, that sends every block twice.
    Duplicates,
    /// The real brain, that sends blocks of another length or place than was asked for.
    WrongLengths,
    /// The real brain, that gives no hashes (BEP 52): with a rejection, or without a word.
    NoHashes {
        /// It says so.
        rejects: bool,
    },
    /// The real brain, whose hashes or proofs are false: so many answers of a hundred.
    FalseHashes(u32),
    /// The real brain, that gives every answer twice, so that the second was not asked for.
    HashesTwice,
    /// A script.
    Script(Script),
}

impl Behaviour {
    /// Whether it never sends a byte that is not true: nobody may ban it.
    pub fn is_innocent(self) -> bool {
        matches!(
            self,
            Self::Honest | Self::Refuses | Self::Silent | Self::NoHashes { .. } | Self::HashesTwice
        )
    }
}

/// What a scripted peer does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `have` for random pieces, and of pieces that do not exist.
    HaveFlood,
    /// Thousands of requests, never reading the answers.
    RequestFlood,
    /// Chokes and unchokes, answering nothing.
    ChokeFlap,
    /// Random bytes behind a handshake.
    Garbage,
    /// Messages that announce gigabytes.
    HugeLengths,
    /// Asks for its allowed-fast pieces over and over while choked.
    AllowedFast,
    /// Connects and says nothing.
    Mute,
    /// A byte of its handshake each second.
    SlowLoris,
    /// A bitfield with spare bits.
    BadBitfield,
    /// Takes pieces back and has them again.
    DontHaveFlap,
    /// Rejects every request at once.
    RejectsAll,
    /// Suggests and cancels.
    SuggestFlood,
    /// Blocks that nobody asked for.
    UnaskedBlocks,
    /// Extended messages, some of them bencode.
    ExtendedFlood,
    /// Tells of peers that are nowhere, all the time (BEP 11).
    ExchangeFlood,
    /// Asks for hashes of everything, over and over (BEP 52).
    HashFlood,
    /// Hashes that nobody asked for.
    UnaskedHashes,
}

impl Script {
    /// Those of the scenarios that draw one: all but [`Self::ExchangeFlood`] and those of hashes, which
    /// have their own.
    pub const ALL: [Self; 14] = [
        Self::HaveFlood,
        Self::RequestFlood,
        Self::ChokeFlap,
        Self::Garbage,
        Self::HugeLengths,
        Self::AllowedFast,
        Self::Mute,
        Self::SlowLoris,
        Self::BadBitfield,
        Self::DontHaveFlap,
        Self::RejectsAll,
        Self::SuggestFlood,
        Self::UnaskedBlocks,
        Self::ExtendedFlood,
    ];
}

/// Who can connect to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Both ways.
    Open,
    /// Only outwards.
    Outgoing,
    /// Its address leads nowhere, and it can't connect either.
    Unreachable,
}

/// What a peer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Everything.
    Seed,
    /// Nothing.
    Empty,
    /// Every piece but those `n` where `piece % 16 == n`: two of them have everything together.
    Without(u32),
}

/// One peer.
#[derive(Debug, Clone, Copy)]
pub struct PeerPlan {
    /// How it behaves.
    pub behaviour: Behaviour,
    /// What it has.
    pub start: Start,
    /// Bytes a second.
    pub up: u64,
    /// Bytes a second.
    pub down: u64,
    /// Who can reach it.
    pub nat: Nat,
    /// What its network lets through.
    pub paths: Paths,
    /// The transports that it uses.
    pub speaks: Speaks,
    /// It knows its peers by where their packets come from, and not by where they say that they listen,
    /// as it brings them together (BEP 55).
    pub sees_sources: bool,
    /// Whether it speaks the fast extension (BEP 6).
    pub fast: bool,
    /// Whether it knows v2: in a hybrid some don't (BEP 52).
    pub v2: bool,
    /// When it comes.
    pub joins: Duration,
    /// How long it stays when it is complete; `None` is for ever.
    pub stays: Option<Duration>,
}

/// A web seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebPlan {
    /// Bytes a second of each connection.
    pub rate: u64,
    /// How it serves.
    pub conduct: WebConduct,
}

/// How a web seed serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebConduct {
    /// As it should.
    Good,
    /// So many answers of a hundred break off somewhere.
    BreaksOff(u32),
    /// It lacks a file: 404.
    Lacks(usize),
    /// So many blocks of a hundred are wrong.
    Lies(u32),
    /// It is not there from one time to the other.
    Away(Duration, Duration),
    /// So many answers of a hundred are 503.
    Busy(u32),
    /// It knows no ranges: each answer is the whole file.
    WholeFiles,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// These peers are cut off from the others.
    Partition(BTreeSet<usize>),
    /// The peer's connections are reset.
    Reset(usize),
    /// The peer leaves in good order and comes back.
    Leave(usize),
    /// The peer's program is killed; it is started again.
    Kill(usize),
    /// The peer's machine loses power; it comes back.
    PowerLoss(usize),
    /// ENOSPC.
    DiskFull(usize),
    /// EIO for writes.
    WriteErrors(usize),
    /// EIO for reads.
    ReadErrors(usize),
    /// Each operation takes that long.
    SlowDisk(usize, Duration),
    /// A file of the peer's is deleted.
    FileVanishes(usize, usize),
    /// The tracker answers nobody.
    TrackerDown,
}

impl Fault {
    /// Whose it is; `None` is everybody's.
    pub fn peer(&self) -> Option<usize> {
        match self {
            Self::Reset(peer)
            | Self::Leave(peer)
            | Self::Kill(peer)
            | Self::PowerLoss(peer)
            | Self::DiskFull(peer)
            | Self::WriteErrors(peer)
            | Self::ReadErrors(peer)
            | Self::SlowDisk(peer, _)
            | Self::FileVanishes(peer, _) => Some(*peer),
            Self::Partition(_) | Self::TrackerDown => None,
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts, or how long the peer is away.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// A driver that is broken on purpose, to show that the invariant notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Takes every piece for good.
    SkipsTheHash,
    /// Says that pieces are durable without syncing.
    RecordsWithoutSync,
    /// After a power cut believes what was only written.
    BelievesAfterPowerLoss,
    /// Opens pieces without end.
    IgnoresTheBudget,
    /// Tells the brain that a good piece was bad.
    BlamesTheInnocent,
    /// Dials addresses that no tracker gave.
    DialsStrangers,
    /// Dials who was not reached again, and again.
    DialsAgain,
    /// Does not tell the brain by what a peer was reached.
    ForgetsTheWay,
    /// Drops every block that it receives.
    LosesBlocks,
    /// Sends blocks of another length or place than was asked for.
    SendsWrongLengths,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every random choice of the run.
    pub seed: u64,
    /// Pieces of the torrent.
    pub pieces: u32,
    /// Blocks of 16 KiB in a piece.
    pub blocks_per_piece: u32,
    /// Files of the torrent.
    pub files: u32,
    /// The private flag (BEP 27).
    pub private: bool,
    /// Its versions (BEP 52). With trees, a piece has a power of two of blocks.
    pub format: Format,
    /// Whether those who begin with nothing lack the piece layers too, as by a magnet link.
    pub lacks_layers: bool,
    /// HTTP servers, which everybody knows (BEP 19).
    pub web_seeds: Vec<WebPlan>,
    /// Whether everybody has an IPv6 address, and no other.
    pub ipv6: bool,
    /// Whether the tracker is asked over UDP (BEP 15).
    pub udp_tracker: bool,
    /// Who takes part; faults name them by their place here.
    pub peers: Vec<PeerPlan>,
    /// Peers that shrinking took away.
    pub absent: BTreeSet<usize>,
    /// What goes wrong.
    pub faults: Vec<FaultPlan>,
    /// Shortest and longest latency of a path, one way.
    pub latency: (Duration, Duration),
    /// Segments lost of a million.
    pub loss: u32,
    /// Segments at which the connection is reset, of a million.
    pub resets: u32,
    /// Blocks that a peer may hold in memory.
    pub budget_blocks: u32,
    /// Limits of the brain.
    pub settings: swarm::Settings,
    /// How often what is written is synced.
    pub sync_every: Duration,
    /// When everybody must be complete.
    pub limit: Duration,
    /// A driver that is broken on purpose.
    pub broken: Option<Broken>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 0,
            pieces: 32,
            blocks_per_piece: 2,
            files: 1,
            private: false,
            format: Format::V1,
            lacks_layers: false,
            web_seeds: Vec::new(),
            ipv6: false,
            udp_tracker: false,
            peers: Vec::new(),
            absent: BTreeSet::new(),
            faults: Vec::new(),
            latency: (Duration::from_millis(5), Duration::from_millis(80)),
            loss: 0,
            resets: 0,
            budget_blocks: 1024,
            settings: swarm::Settings { peers_max: 50, ..swarm::Settings::default() },
            sync_every: Duration::from_secs(10),
            limit: Duration::from_mins(30),
            broken: None,
        }
    }
}

impl Default for PeerPlan {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::Honest,
            start: Start::Empty,
            up: 500_000,
            down: 2_000_000,
            nat: Nat::Open,
            paths: Paths::default(),
            speaks: Speaks::Both,
            sees_sources: false,
            fast: true,
            v2: true,
            joins: Duration::ZERO,
            stays: None,
        }
    }
}

impl PeerPlan {
    /// One that has everything.
    pub fn seed(up: u64) -> Self {
        Self { start: Start::Seed, up, ..Self::default() }
    }

    /// One that has nothing.
    pub fn leecher(up: u64, down: u64) -> Self {
        Self { up, down, ..Self::default() }
    }
}

/// The parts of a plan that are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// By place.
    pub peers: BTreeSet<usize>,
    /// By place.
    pub faults: BTreeSet<usize>,
    /// So many pieces instead.
    pub pieces: Option<u32>,
}

impl Plan {
    /// What the tracker's announce URL begins with.
    pub(crate) fn tracker(&self) -> &'static str {
        if self.udp_tracker { "udp://tracker.test:6969" } else { "http://tracker.test" }
    }

    /// The plan without some of its parts.
    #[must_use]
    pub fn cut(mut self, cut: &Cut) -> Self {
        self.absent.extend(&cut.peers);
        let absent = self.absent.clone();
        let mut place = 0;
        self.faults.retain(|plan| {
            place += 1;
            let orphan = plan.fault.peer().is_some_and(|peer| absent.contains(&peer));
            !orphan && !cut.faults.contains(&(place - 1))
        });
        self.pieces = cut.pieces.unwrap_or(self.pieces).max(1);
        self
    }
}
