//! One brain and peers that say what a test tells them to.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, PieceIndex};
use swarm::{Action, BlockFate, BlockOutcome, Config, Fault, Hello, PeerKey, Refusal, Swarm};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, PeerId, Reserved};

/// Bytes of a whole block.
pub(crate) const BLOCK: u32 = BLOCK_LENGTH;
/// Pieces of four blocks.
pub(crate) const PIECE: u32 = 4 * BLOCK;

pub(crate) const OWN_ID: PeerId = PeerId([b'm'; 20]);

pub(crate) struct Script {
    pub(crate) swarm: Swarm,
    pub(crate) now: Duration,
    pub(crate) pieces: u32,
}

/// What a scripted torrent starts with.
pub(crate) fn config(pieces: u32, have: Bitfield) -> Config {
    Config {
        have,
        metadata_size: Some(40_000),
        listen_port: Some(6881),
        client_version: "peerless test".into(),
        ..Config::new(
            Geometry::new(u64::from(pieces) * u64::from(PIECE), PIECE).unwrap(),
            InfoHash([0xaa; 20]),
            OWN_ID,
            7,
        )
    }
}

pub(crate) fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 6881))
}

/// An incoming peer without the fast extension and without BEP 10.
pub(crate) fn plain(number: u8) -> Hello {
    let peer_id = PeerId([number; 20]);
    Hello { addr: addr(number), peer_id, outgoing: false, reserved: Reserved::default() }
}

/// An incoming peer with the fast extension alone.
pub(crate) fn fast(number: u8) -> Hello {
    Hello { reserved: Reserved([0, 0, 0, 0, 0, 0, 0, 4]), ..plain(number) }
}

/// An incoming peer with BEP 10 alone.
pub(crate) fn extended(number: u8) -> Hello {
    Hello { reserved: Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]), ..plain(number) }
}

pub(crate) fn whole(piece: PieceIndex, block: u32) -> BlockRequest {
    BlockRequest { piece, begin: block * BLOCK, length: BLOCK }
}

impl Script {
    pub(crate) fn start(config: Config) -> Self {
        let (now, pieces) = (Duration::from_secs(1000), config.geometry.piece_count());
        Self { swarm: Swarm::new(now, config), now, pieces }
    }

    /// Nothing there yet.
    pub(crate) fn leecher(pieces: u32) -> Self {
        Self::start(config(pieces, Bitfield::new(pieces)))
    }

    /// Everything there.
    pub(crate) fn seed(pieces: u32) -> Self {
        Self::start(config(pieces, Bitfield::full(pieces)))
    }

    pub(crate) fn joins(&mut self, hello: Hello) -> PeerKey {
        self.swarm.add_peer(self.now, hello).unwrap()
    }

    pub(crate) fn refused(&mut self, hello: Hello) -> Refusal {
        self.swarm.add_peer(self.now, hello).unwrap_err()
    }

    pub(crate) fn leaves(&mut self, peer: PeerKey) {
        self.swarm.remove_peer(self.now, peer);
    }

    pub(crate) fn says(&mut self, peer: PeerKey, message: &Message<'_>) {
        self.swarm.handle(self.now, peer, message).unwrap();
    }

    pub(crate) fn fault(&mut self, peer: PeerKey, message: &Message<'_>) -> Fault {
        self.swarm.handle(self.now, peer, message).unwrap_err()
    }

    /// Says by bitfield that it has these pieces.
    pub(crate) fn has(&mut self, peer: PeerKey, pieces: &[PieceIndex]) {
        let mut set = Bitfield::new(self.pieces);
        for piece in pieces {
            set.insert(*piece);
        }
        self.says(peer, &Message::Bitfield(&set.to_wire()));
    }

    pub(crate) fn has_all(&mut self, peer: PeerKey) {
        self.has(peer, &(0..self.pieces).collect::<Vec<_>>());
    }

    /// A peer with these pieces that lets us ask.
    pub(crate) fn source(&mut self, hello: Hello, pieces: &[PieceIndex]) -> PeerKey {
        let peer = self.joins(hello);
        self.has(peer, pieces);
        self.says(peer, &Message::Unchoke);
        peer
    }

    pub(crate) fn handshake(&mut self, peer: PeerKey, handshake: &ExtendedHandshake) {
        self.says(peer, &Message::Extended { id: 0, payload: &handshake.encode() });
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.swarm.poll_action()).collect()
    }

    /// What the peer is sent; every other action is dropped.
    pub(crate) fn sent(&mut self, peer: PeerKey) -> Vec<Message<'static>> {
        let to_peer = |action| match action {
            Action::Send { peer: to, message } if to == peer => Some(message),
            _ => None,
        };
        self.actions().into_iter().filter_map(to_peer).collect()
    }

    /// The requests the peer is sent; every other action is dropped.
    pub(crate) fn requests(&mut self, peer: PeerKey) -> Vec<BlockRequest> {
        let request = |message| match message {
            Message::Request(block) => Some(block),
            _ => None,
        };
        self.sent(peer).into_iter().filter_map(request).collect()
    }

    /// A whole block arrives.
    pub(crate) fn gives(&mut self, peer: PeerKey, block: BlockRequest) -> BlockOutcome {
        let fate = self.swarm.block_head(self.now, peer, block).unwrap();
        let outcome = self.swarm.block(self.now, peer, block);
        assert!(fate == BlockFate::Keep || outcome == BlockOutcome::Unwanted);
        outcome
    }

    pub(crate) fn written(&mut self, piece: PieceIndex) {
        self.swarm.piece_written(self.now, piece);
    }

    /// The peer delivers what it is asked for, until it is asked for nothing more.
    pub(crate) fn delivers(&mut self, peer: PeerKey) {
        loop {
            let mut asked = Vec::new();
            let mut verified = false;
            for action in self.actions() {
                match action {
                    Action::Send { peer: to, message: Message::Request(block) } if to == peer => {
                        asked.push(block);
                    }
                    Action::Verify { piece } => {
                        self.written(piece);
                        verified = true;
                    }
                    _ => {}
                }
            }
            if asked.is_empty() && !verified {
                return;
            }
            for block in asked {
                self.gives(peer, block);
            }
        }
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now += by;
        self.swarm.tick(self.now);
    }

    pub(crate) fn seconds_later(&mut self, seconds: u64) {
        self.later(Duration::from_secs(seconds));
    }

    /// Whether the swarm closes the peer's connection, and why.
    pub(crate) fn closes(&mut self, peer: PeerKey) -> Option<Fault> {
        self.actions().into_iter().find_map(|action| match action {
            Action::Disconnect { peer: whose, reason } if whose == peer => Some(reason),
            _ => None,
        })
    }

    pub(crate) fn takes(&mut self, peer: PeerKey, bytes_max: u32) -> Vec<BlockRequest> {
        let mut out = Vec::new();
        self.swarm.take_uploads(self.now, peer, bytes_max, &mut out);
        out
    }
}
