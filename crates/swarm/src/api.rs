//! What goes into the brain and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use metainfo::merkle::MerkleHash;
use metainfo::{Geometry, InfoHash, PieceIndex};
use wire::{Bitfield, BlockRequest, HashRequest, Message, PeerId, Reserved};

use crate::{OwnPorts, SeedLimit, UpperWork};

/// Names a connected peer. A key outlives its peer harmlessly: calls with it do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What a swarm is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Sizes of the torrent's pieces.
    pub geometry: Geometry,
    /// Its name; allowed-fast sets depend on it (BEP 6).
    pub info_hash: InfoHash,
    /// Pieces that are verified and on disk.
    pub have: Bitfield,
    /// The pieces to download; `None` is all.
    pub wanted: Option<Bitfield>,
    /// Blocks, by number within their piece, that are known zeros: never requested (BEP 47).
    pub pad_blocks: Vec<(PieceIndex, u32)>,
    /// Bytes of the torrent's `info` value, which peers may ask for (BEP 9); `None` gives it to nobody.
    pub metadata_size: Option<u32>,
    /// Where peers can connect to us (BEP 10 `p`).
    pub listen_port: Option<u16>,
    /// Our name and version (BEP 10 `v`).
    pub client_version: String,
    /// Our own peer id.
    pub own_peer_id: PeerId,
    /// Limits.
    pub settings: Settings,
    /// Seed of every random choice: the same events under the same seed give the same actions.
    pub seed: u64,
}

impl Config {
    /// Of a torrent that nothing is there of and all is wanted of, and that nobody can connect to.
    pub fn new(geometry: Geometry, info_hash: InfoHash, own_peer_id: PeerId, seed: u64) -> Self {
        Self {
            info_hash,
            have: Bitfield::new(geometry.piece_count()),
            geometry,
            wanted: None,
            pad_blocks: Vec::new(),
            metadata_size: None,
            listen_port: None,
            client_version: String::new(),
            own_peer_id,
            settings: Settings::default(),
            seed,
        }
    }
}

/// Limits of one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Connected peers.
    pub peers_max: usize,
    /// Peers served at one time, the optimistic one included.
    pub upload_slots: usize,
    /// Requests of one peer that are queued (BEP 10 `reqq`): what we advertise and accept.
    pub reqq: u32,
    /// Whether peers tell each other of peers (BEP 11). Those of private torrents don't (BEP 27).
    pub peer_exchange: bool,
    /// Whether peers bring each other together (BEP 55), for which uTP must be there. Only where
    /// there is peer exchange.
    pub holepunch: bool,
    /// Where our DHT node can be reached (BEP 5): peers that have one are told, and what they say of
    /// theirs comes as [`Action::DhtNode`]. `None` for a private torrent, or without a DHT.
    pub dht_ports: Option<OwnPorts>,
    /// Where peers can connect to us, if that is not [`Config::listen_port`] over both families.
    pub listen_ports: Option<OwnPorts>,
    /// Whether a seed tells each peer of one piece at a time (BEP 16), so that it sends little more
    /// than one copy. For the first seed of a torrent; slower for any other.
    pub super_seed: bool,
    /// Parts of the brain that are switched off: none, but in experiments.
    pub without: Without,
}

/// What an experiment takes away, to measure what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Without {
    /// Any piece is picked, not the rarest.
    pub rarest_first: bool,
    /// Nobody is served on trust: the slot goes by rank, as the others.
    pub optimistic_unchoke: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            peers_max: 200,
            upload_slots: 8,
            reqq: 2000, // 31 MiB of blocks: fills 1 Gbit/s over a quarter of a second
            peer_exchange: true,
            holepunch: true,
            dht_ports: None,
            listen_ports: None,
            super_seed: false,
            without: Without::default(),
        }
    }
}

/// A peer that shook hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Its address.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// Whether we connected to it.
    pub outgoing: bool,
    /// What it can do. The v2 bit stands for what was agreed on, not for what was offered: it is
    /// set when the two shook hands by the torrent's v2 hash (BEP 52).
    pub reserved: Reserved,
}

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A person or program named it.
    User,
    /// A tracker gave it.
    Tracker,
    /// It connected to us and said where it listens (BEP 10 `p`).
    Incoming,
    /// A peer told of it (BEP 11).
    PeerExchange,
    /// It is on our network and said so (BEP 14).
    LocalDiscovery,
    /// A DHT node named it (BEP 5).
    Dht,
    /// A magnet link names it (`x.pe`, BEP 9).
    Link,
}

impl Source {
    /// Whether a private torrent may take peers from there (BEP 27).
    pub fn is_private(self) -> bool {
        match self {
            Self::User | Self::Tracker | Self::Incoming => true,
            Self::PeerExchange | Self::LocalDiscovery | Self::Dht | Self::Link => false,
        }
    }
}

/// What the driver is to do, in the order in which it must reach the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send a small message.
    Send {
        /// To whom.
        peer: PeerKey,
        /// Never one that borrows.
        message: Message<'static>,
    },
    /// Send a `bitfield` of [`crate::Swarm::have`] as it is now.
    SendBitfield {
        /// To whom.
        peer: PeerKey,
    },
    /// Send an extended message (BEP 10).
    SendExtended {
        /// To whom.
        peer: PeerKey,
        /// The receiver's id for it; 0 is the handshake.
        id: u8,
        /// What follows the id.
        payload: Vec<u8>,
    },
    /// Answer a request for a piece of the metadata (BEP 9), with that or with a rejection.
    SendMetadata {
        /// To whom.
        peer: PeerKey,
        /// The receiver's id for the extension.
        id: u8,
        /// Which piece; it may not exist.
        piece: u32,
    },
    /// Every block of the piece is there (pad blocks are zeros): hash it, and write it if good.
    Verify {
        /// Which.
        piece: PieceIndex,
    },
    /// Compare a block's hash with its leaf (BEP 52), and tell [`crate::Swarm::block_proved`].
    Prove {
        /// Which block. It was stored just now, or some time ago.
        block: BlockRequest,
        /// The SHA-256 of its first `length` bytes. What is behind them must be zeros.
        leaf: MerkleHash,
        /// Bytes of the file in it.
        length: u32,
        /// To be given back with the outcome.
        opened: u32,
    },
    /// Hash every block of a piece that is there, for [`crate::Swarm::leaves_hashed`].
    HashLeaves {
        /// Which.
        piece: PieceIndex,
    },
    /// Make what is above a file's piece layer, elsewhere: it takes long. For
    /// [`crate::Swarm::upper_hashed`].
    HashUpper {
        /// The tree's number, for the outcome.
        tree: u32,
        /// What to do.
        work: UpperWork,
    },
    /// Send the hashes that [`crate::Swarm::hashes_for`] gives, or a rejection. They are made when
    /// they can be sent, so that one that asks and does not read costs no memory.
    SendHashes {
        /// To whom.
        peer: PeerKey,
        /// What it asked for.
        request: HashRequest,
    },
    /// The hashes of a file's pieces are all there and proved: keep them, nobody gave them before.
    LayerKnown {
        /// The root of the file's tree.
        root: MerkleHash,
        /// One hash for each piece.
        layer: Arc<[MerkleHash]>,
    },
    /// Pieces of a file whose layer is known now; those of them that may be on the disk are to be compared
    /// with it, and told by [`crate::Swarm::judged`].
    Judge {
        /// The file's.
        pieces: std::ops::Range<PieceIndex>,
    },
    /// Each block of the piece fits its v2 hash, and all of it does not fit its v1 hash: the torrent
    /// contradicts itself, and can't complete.
    Contradiction {
        /// Which.
        piece: PieceIndex,
    },
    /// Drop the blocks held of the piece: nobody is left who could finish it, and its reservation
    /// is needed. It may be requested again later.
    Abandon {
        /// Which.
        piece: PieceIndex,
    },
    /// The piece is all padding and its hash is not that of zeros: the torrent can't complete.
    Impossible {
        /// Which.
        piece: PieceIndex,
    },
    /// [`crate::Swarm::take_uploads`] has something for the peer.
    UploadReady {
        /// Whom.
        peer: PeerKey,
    },
    /// Close the connection and call [`crate::Swarm::remove_peer`].
    Disconnect {
        /// Whose.
        peer: PeerKey,
        /// Why.
        reason: Fault,
    },
    /// The address sent data that was proved bad: it is not let in again.
    Banned {
        /// Which.
        addr: IpAddr,
    },
    /// A peer says that it is a DHT node (BEP 5 `port`).
    DhtNode {
        /// Where.
        addr: SocketAddr,
    },
    /// [`crate::Swarm::next_punch`] has an address, whose owner does not wait.
    Dial,
    /// A peer sees us at an address (BEP 10 `yourip`): a vote, not a truth.
    SeenAt {
        /// Who.
        peer: IpAddr,
        /// Us, there.
        ip: IpAddr,
    },
    /// The last wanted piece was written, or what is missing is no longer wanted.
    Complete,
    /// Seeding came to the end that its owner set.
    SeededEnough {
        /// What was reached.
        limit: SeedLimit,
    },
}

impl Action {
    /// The peer that it is about.
    pub(crate) fn peer(&self) -> Option<PeerKey> {
        match self {
            Self::Send { peer, .. }
            | Self::SendBitfield { peer }
            | Self::SendExtended { peer, .. }
            | Self::SendMetadata { peer, .. }
            | Self::SendHashes { peer, .. }
            | Self::UploadReady { peer }
            | Self::Disconnect { peer, .. } => Some(*peer),
            Self::Verify { .. }
            | Self::Prove { .. }
            | Self::HashLeaves { .. }
            | Self::HashUpper { .. }
            | Self::LayerKnown { .. }
            | Self::Judge { .. }
            | Self::Contradiction { .. }
            | Self::Abandon { .. }
            | Self::Impossible { .. }
            | Self::Banned { .. }
            | Self::DhtNode { .. }
            | Self::Dial
            | Self::SeenAt { .. }
            | Self::SeededEnough { .. }
            | Self::Complete => None,
        }
    }
}

/// What to do with a block whose head arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFate {
    /// Keep the body.
    Keep,
    /// Read the body and drop it.
    Discard,
}

/// What became of a block whose body arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockOutcome {
    /// It belongs to an open piece now: hold it until `Verify`.
    Stored,
    /// It was not wanted, or not any more.
    Unwanted,
}

/// Why a peer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Enough peers.
    #[error("the torrent has enough peers")]
    Full,
    /// It sent bad data before.
    #[error("the address is banned: it sent bad data")]
    Banned,
    /// The user's filter has its address.
    #[error("the IP filter refuses the address")]
    Filtered,
    /// The same peer is connected already.
    #[error("the peer is connected already")]
    Duplicate,
    /// The connection leads back to us.
    #[error("the address is our own")]
    Ourselves,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A piece index past the last.
    #[error("piece {0} does not exist")]
    NoSuchPiece(PieceIndex),
    /// The bits are not a bitfield of this torrent.
    #[error(transparent)]
    Bitfield(#[from] wire::BitfieldError),
    /// A message of the fast extension (BEP 6) that was not agreed on.
    #[error("a fast-extension message without the fast extension")]
    NotFast,
    /// A rejection of what was never asked.
    #[error("a rejection of a request that was never made")]
    RejectedNothing,
    /// A request outside the piece, or for more than is served at once.
    #[error("a request for {} bytes at {} of piece {}", .0.length, .0.begin, .0.piece)]
    BadRequest(BlockRequest),
    /// Too many blocks that were never asked for.
    #[error("blocks that were never requested")]
    Unrequested,
    /// Too many hashes that were never asked for.
    #[error("hashes that were never requested")]
    UnaskedHashes,
    /// Hashes that do not lead up to what is known of the tree.
    #[error("it sent false hashes")]
    FalseHashes,
    /// Nothing was heard for minutes.
    #[error("nothing was heard for {0} s")]
    Silent(u64),
    /// Neither side needs the other: both only upload (BEP 21).
    #[error("both sides only upload")]
    BothUploadOnly,
    /// Neither side wanted anything of the other, and all places were taken.
    #[error("it made room for another peer")]
    MadeRoom,
    /// The same peer is connected twice; the other connection stays.
    #[error("the peer is connected twice")]
    Duplicate,
    /// The user's filter has its address since.
    #[error("the IP filter refuses its address")]
    Filtered,
    /// Another tracker serves the private torrent (BEP 27).
    #[error("another tracker serves this private torrent now")]
    TrackerChanged,
    /// It sent bad data.
    #[error("it sent bad data")]
    SentBadData,
}
