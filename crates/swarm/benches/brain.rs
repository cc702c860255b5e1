//! What decisions cost: windows filled, messages handled, peers that come and go: `cargo bench -p
//! peerless-swarm`, or `-- have` for some of them.
//!
//! Each is measured with 10,000 and 100,000 pieces of 64 blocks: what costs the same for both does
//! not look at every piece.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use swarm::{Action, Config, Hello, PeerKey, Settings, Swarm};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, PeerId, Reserved};

const PIECE_LENGTH: u32 = 64 * BLOCK_LENGTH;
const PIECES: [u32; 2] = [10_000, 100_000];
/// Pieces that are there already: enough for the rarest to come first.
const THERE: u32 = 10;

fn main() {
    divan::Divan::default().sample_count(50).config_with_args().main();
}

#[derive(Clone, Copy)]
struct Size {
    pieces: u32,
    peers: u16,
}

const SIZES: [Size; 4] = [
    Size { pieces: 10_000, peers: 1 },
    Size { pieces: 100_000, peers: 1 },
    Size { pieces: 10_000, peers: 50 },
    Size { pieces: 100_000, peers: 50 },
];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pieces, {} peers", self.pieces, self.peers)
    }
}

struct Torrent {
    swarm: Swarm,
    now: Duration,
    peers: Vec<PeerKey>,
}

impl Torrent {
    fn new(pieces: u32) -> Self {
        let mut have = Bitfield::new(pieces);
        (0..THERE).for_each(|piece| assert!(have.insert(piece)));
        let now = Duration::from_secs(1000);
        let length = u64::from(pieces) * u64::from(PIECE_LENGTH);
        let config = Config {
            geometry: Geometry::new(length, PIECE_LENGTH).unwrap(),
            info_hash: InfoHash([1; 20]),
            have,
            wanted: None,
            pad_blocks: Vec::new(),
            listen_port: None,
            client_version: String::new(),
            own_peer_id: PeerId([b'm'; 20]),
            settings: Settings { peers_max: 10_000, ..Settings::default() },
            seed: 1,
        };
        Self { swarm: Swarm::new(now, config), now, peers: Vec::new() }
    }

    /// With choking peers that have half of the pieces each.
    fn with_peers(pieces: u32, peers: u16) -> Self {
        let mut torrent = Self::new(pieces);
        for number in 0..peers {
            let key = torrent.joins(number);
            torrent.says(key, &Message::Bitfield(&half(pieces, u32::from(number))));
        }
        torrent.drain();
        torrent
    }

    fn joins(&mut self, number: u16) -> PeerKey {
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

    fn says(&mut self, peer: PeerKey, message: &Message<'_>) {
        self.swarm.handle(self.now, peer, message).unwrap();
    }

    /// Polls every action; the requests among them.
    fn drain(&mut self) -> Vec<(PeerKey, BlockRequest)> {
        let request = |action| match action {
            Action::Send { peer, message: Message::Request(block) } => Some((peer, block)),
            _ => None,
        };
        std::iter::from_fn(|| self.swarm.poll_action()).filter_map(request).collect()
    }

    /// Every peer lets us ask, and answered so quickly that its window is as wide as it may be.
    fn wide_open(&mut self) {
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
fn half(pieces: u32, number: u32) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(u64::from(number));
    let mut set = Bitfield::new(pieces);
    (0..pieces).filter(|_| rng.bool()).for_each(|piece| assert!(set.insert(piece)));
    set.to_wire()
}

/// Asks every peer, of whom nothing is asked, for as much as its window takes.
#[divan::bench(args = SIZES, sample_size = 1, sample_count = 20)]
fn fill_windows(bencher: Bencher<'_, '_>, size: Size) {
    let mut torrent = Torrent::with_peers(size.pieces, size.peers);
    torrent.wide_open();
    let asked = torrent.drain().len() as u32;
    assert!(asked >= 500, "{asked}");
    bencher
        .counter(ItemsCount::new(asked))
        .with_inputs(|| {
            let mut torrent = Torrent::with_peers(size.pieces, size.peers);
            torrent.wide_open();
            torrent
        })
        .bench_local_values(|mut torrent| {
            black_box(torrent.drain());
            torrent
        });
}

/// Blocks arrive, and as many are asked for.
#[divan::bench(args = SIZES, sample_size = 100)]
fn block(bencher: Bencher<'_, '_>, size: Size) {
    let mut torrent = Torrent::with_peers(size.pieces, size.peers);
    torrent.wide_open();
    let mut queue: std::collections::VecDeque<_> = torrent.drain().into();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let Some((key, block)) = queue.pop_front() else { return };
        torrent.now += Duration::from_micros(10);
        torrent.swarm.block_head(torrent.now, key, block).unwrap();
        torrent.swarm.block(torrent.now, key, block);
        while let Some(action) = torrent.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    queue.push_back((peer, block));
                }
                Action::Verify { piece } => torrent.swarm.piece_written(torrent.now, piece),
                _ => {}
            }
        }
    });
}

/// A `have`, with the order of pieces in use.
#[divan::bench(args = PIECES, sample_size = 100)]
fn have(bencher: Bencher<'_, '_>, pieces: u32) {
    let mut torrent = Torrent::with_peers(pieces, 50);
    torrent.wide_open();
    let mut next = (0..).map(|number| (number % 1000, number / 1000 % pieces));
    let keys: Vec<PeerKey> = (1000..2000).map(|number| torrent.joins(number)).collect();
    torrent.drain();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let Some((peer, piece)) = next.next() else { return };
        let (now, key) = (torrent.now, keys[peer as usize]);
        torrent.swarm.handle(now, key, &Message::Have(piece)).unwrap();
    });
}

/// A peer comes, says what it has, is asked for something, and leaves.
#[divan::bench(args = PIECES)]
fn connect_bitfield_request_leave(bencher: Bencher<'_, '_>, pieces: u32) {
    let mut torrent = Torrent::with_peers(pieces, 50);
    let bits = half(pieces, 77);
    bencher.bench_local(|| {
        let key = torrent.joins(5000);
        torrent.says(key, &Message::Bitfield(&bits));
        torrent.says(key, &Message::Unchoke);
        black_box(torrent.drain());
        torrent.swarm.remove_peer(torrent.now, key);
        black_box(torrent.drain());
    });
}

/// A peer comes, has nothing, and leaves.
#[divan::bench(args = PIECES)]
fn connect_leave(bencher: Bencher<'_, '_>, pieces: u32) {
    let mut torrent = Torrent::with_peers(pieces, 50);
    bencher.bench_local(|| {
        let key = torrent.joins(5000);
        black_box(torrent.drain());
        torrent.swarm.remove_peer(torrent.now, key);
        black_box(torrent.drain());
    });
}

/// A look at the clock with peers that do nothing.
#[divan::bench(args = [10, 1000])]
fn tick(bencher: Bencher<'_, '_>, peers: u16) {
    let mut torrent = Torrent::with_peers(1000, peers);
    bencher.bench_local(|| {
        torrent.now += Duration::from_micros(1);
        torrent.swarm.tick(torrent.now);
        black_box(torrent.swarm.next_timeout())
    });
}
