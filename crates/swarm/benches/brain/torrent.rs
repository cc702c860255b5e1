//! A brain with peers to measure with.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use swarm::{Action, Config, Hello, PeerKey, Settings, Swarm};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, PeerId, Reserved};

const PIECE_LENGTH: u32 = 64 * BLOCK_LENGTH;
/// Pieces that are there already: enough for the rarest to come first.
const THERE: u32 = 10;

pub(crate) struct Torrent {
    pub(crate) swarm: Swarm,
    pub(crate) now: Duration,
    peers: Vec<PeerKey>,
}

impl Torrent {
    fn new(pieces: u32) -> Self {
        let mut have = Bitfield::new(pieces);
        (0..THERE).for_each(|piece| assert!(have.insert(piece)));
        let now = Duration::from_secs(1000);
        let length = u64::from(pieces) * u64::from(PIECE_LENGTH);
        let config = Config {
            have,
            settings: Settings { peers_max: 10_000, ..Settings::default() },
            ..Config::new(
                Geometry::new(length, PIECE_LENGTH).unwrap(),
                InfoHash([1; 20]),
                PeerId([b'm'; 20]),
                1,
            )
        };
        Self { swarm: Swarm::new(now, config), now, peers: Vec::new() }
    }

    /// With choking peers that have half of the pieces each.
    pub(crate) fn with_peers(pieces: u32, peers: u16) -> Self {
        let mut torrent = Self::new(pieces);
        for number in 0..peers {
            let key = torrent.joins(number);
            torrent.says(key, &Message::Bitfield(&half(pieces, u32::from(number))));
        }
        torrent.drain();
        torrent
    }

    pub(crate) fn joins(&mut self, number: u16) -> PeerKey {
        let [high, low] = number.to_be_bytes();
        let hello = Hello {
            addr: SocketAddr::from(([10, 0, high, low], 6881)),
            peer_id: PeerId(std::array::from_fn(|at| if at % 2 == 0 { high } else { low })),
            outgoing: false,
            reserved: Reserved::ours(),
        };
        let key = self.swarm.add_peer(self.now, hello).unwrap();
        let reqq = ExtendedHandshake { reqq: Some(2000), ..ExtendedHandshake::default() };
        self.says(key, &Message::Extended { id: 0, payload: &reqq.encode() });
        self.peers.push(key);
        key
    }

    pub(crate) fn says(&mut self, peer: PeerKey, message: &Message<'_>) {
        self.swarm.handle(self.now, peer, message).unwrap();
    }

    /// Polls every action; the requests among them.
    pub(crate) fn drain(&mut self) -> Vec<(PeerKey, BlockRequest)> {
        let request = |action| match action {
            Action::Send { peer, message: Message::Request(block) } => Some((peer, block)),
            _ => None,
        };
        std::iter::from_fn(|| self.swarm.poll_action()).filter_map(request).collect()
    }

    /// Every peer lets us ask, and answered so quickly that its window is as wide as it may be.
    pub(crate) fn wide_open(&mut self) {
        for key in self.peers.clone() {
            self.says(key, &Message::Unchoke);
        }
        for _ in 0..10 {
            self.now += Duration::from_millis(20);
            for (key, block) in self.drain() {
                self.swarm.block_head(self.now, key, block).unwrap();
                self.swarm.block(self.now, key, block);
            }
        }
    }
}

/// Half of the pieces by a pattern that differs from peer to peer.
pub(crate) fn half(pieces: u32, number: u32) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(u64::from(number));
    let mut set = Bitfield::new(pieces);
    (0..pieces).filter(|_| rng.bool()).for_each(|piece| assert!(set.insert(piece)));
    set.to_wire()
}
