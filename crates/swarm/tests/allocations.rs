//! What the brain allocates: nothing for a block and a node of a tree for some pieces, little for a
//! peer, and no more reserved than its budget whoever sends how much.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, PieceIndex};
use swarm::{Action, BlockOutcome, Config, Hello, PeerKey, Settings, Swarm};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, PeerId, Reserved};

/// Blocks of a piece.
const BLOCKS: u32 = 64;
const PIECES: u32 = 10_000;

fn config(seed: u64, have: Bitfield) -> Config {
    let piece_length = BLOCKS * BLOCK_LENGTH;
    let length = u64::from(PIECES) * u64::from(piece_length);
    Config {
        have,
        settings: Settings { peers_max: 1000, ..Settings::default() },
        ..Config::new(
            Geometry::new(length, piece_length).unwrap(),
            InfoHash([1; 20]),
            PeerId([b'm'; 20]),
            seed,
        )
    }
}

struct Torrent {
    swarm: Swarm,
    now: Duration,
    /// What peers were asked for, in order.
    asked: VecDeque<(PeerKey, BlockRequest)>,
    /// Complete pieces, and blocks held of all.
    verifying: VecDeque<PieceIndex>,
    held: u32,
}

impl Torrent {
    fn new(seed: u64) -> Self {
        let (now, config) = (Duration::from_secs(1000), config(seed, Bitfield::new(PIECES)));
        let (asked, verifying) = (VecDeque::with_capacity(100_000), VecDeque::with_capacity(1000));
        Self { swarm: Swarm::new(now, config), now, asked, verifying, held: 0 }
    }

    /// A peer with three quarters of the pieces.
    fn joins(&mut self, number: u16) -> PeerKey {
        let [high, low] = number.to_be_bytes();
        let hello = Hello {
            addr: SocketAddr::from(([10, 0, high, low], 6881)),
            peer_id: PeerId(std::array::from_fn(|at| if at % 2 == 0 { high } else { low })),
            outgoing: false,
            reserved: Reserved::ours(),
        };
        let key = self.swarm.add_peer(self.now, hello).unwrap();
        let says = ExtendedHandshake { reqq: Some(500), ..ExtendedHandshake::default() };
        let mut set = Bitfield::full(PIECES);
        (u32::from(number) % 4..PIECES).step_by(4).for_each(|piece| assert!(set.remove(piece)));
        self.says(key, &Message::Extended { id: 0, payload: &says.encode() });
        self.says(key, &Message::Bitfield(&set.to_wire()));
        key
    }

    fn says(&mut self, peer: PeerKey, message: &Message<'_>) {
        self.swarm.handle(self.now, peer, message).unwrap();
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    self.asked.push_back((peer, block));
                }
                Action::Verify { piece } => self.verifying.push_back(piece),
                Action::Abandon { .. } => panic!("every piece is with somebody who gives it"),
                _ => {}
            }
        }
    }

    /// A block arrives for the oldest request.
    fn block(&mut self) {
        let (peer, block) = self.asked.pop_front().expect("something is asked for");
        self.swarm.block_head(self.now, peer, block).unwrap();
        if self.swarm.block(self.now, peer, block) == BlockOutcome::Stored {
            self.held += 1;
        }
        self.act();
    }

    /// The oldest complete piece is written.
    fn write(&mut self) {
        let Some(piece) = self.verifying.pop_front() else { return };
        self.held -= BLOCKS;
        self.swarm.piece_written(self.now, piece);
        self.act();
    }

    fn tick(&mut self) {
        self.swarm.tick(self.now);
        self.swarm.next_timeout();
        self.act();
    }

    /// So many blocks, a tenth of a millisecond apart, each piece written at once.
    fn blocks(&mut self, count: u32) {
        for number in 0..count {
            self.now += Duration::from_micros(100);
            self.block();
            self.write();
            if number % 1000 == 0 {
                self.tick();
            }
        }
    }
}

#[test]
fn a_block_allocates_nothing() {
    for peers in [1, 20] {
        let mut torrent = Torrent::new(1);
        for number in 0..peers {
            let peer = torrent.joins(number);
            torrent.says(peer, &Message::Unchoke);
        }
        torrent.act();
        torrent.blocks(20_000); // windows and tables grow to their size
        let count = 20_000;
        let allocated = measure(|| torrent.blocks(count)).count_total;
        let pieces = u64::from(count / BLOCKS);
        assert!(allocated * 4 <= pieces, "{allocated} for {pieces} pieces of {peers} peers");
    }
}

#[test]
fn an_idle_peer_costs_little_more_than_its_bitfield() {
    const PEERS: u16 = 1000;
    let bitfield = i64::from(PIECES / 8);
    let mut torrent = Torrent::new(1);
    let first = torrent.joins(5000);
    torrent.act();
    torrent.swarm.remove_peer(torrent.now, first);
    let held = measure(|| {
        for number in 0..PEERS - 1 {
            torrent.joins(number);
        }
        torrent.act();
    })
    .bytes_current;
    let each = held / i64::from(PEERS);
    assert!(each > bitfield, "{each}");
    assert!(each <= bitfield + 1500, "{each} bytes for a peer");
    let returned = measure(|| drop(torrent)).bytes_current;
    assert!(-returned >= held, "{returned}");
}

#[test]
fn a_seed_that_nobody_talks_to_has_a_bit_for_each_piece() {
    let bitfield = i64::from(PIECES / 8);
    let config = config(1, Bitfield::full(PIECES));
    let mut torrent = Torrent::new(1);
    let mut swarm = None;
    let new = measure(|| swarm = Some(Swarm::new(torrent.now, config))).bytes_current;
    assert!(new <= bitfield + 500, "{new} bytes");
    torrent.swarm = swarm.unwrap();
    let kept = measure(|| {
        let peers: Vec<PeerKey> = (0..100).map(|number| torrent.joins(number)).collect();
        torrent.act();
        peers.into_iter().for_each(|peer| torrent.swarm.remove_peer(torrent.now, peer));
        torrent.act();
    });
    assert!(kept.bytes_max > 100 * bitfield as u64, "{kept:?}");
    // Places for as many peers.
    assert!(kept.bytes_current <= 100 * 32, "{kept:?}");
}

#[test]
fn a_thousand_senders_fill_the_budget_and_no_more() {
    for (seed, budget_pieces) in [(1, 1), (2, 64), (3, 1000)] {
        let limit = budget_pieces * BLOCKS + 3; // what no whole piece fits into stays free
        let mut torrent = Torrent::new(seed);
        torrent.swarm.set_reserve_limit(torrent.now, limit);
        for number in 0..1000 {
            let peer = torrent.joins(number);
            torrent.says(peer, &Message::Unchoke);
        }
        torrent.act();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut most = 0;
        let mut senders = |torrent: &mut Torrent| {
            for number in 0..20_000 {
                torrent.now += Duration::from_micros(rng.u64(1..50));
                if torrent.asked.is_empty() || rng.u32(..20) == 0 {
                    torrent.write();
                } else {
                    // Peers are as quick as they like.
                    let quick = rng.usize(..torrent.asked.len().min(50));
                    torrent.asked.swap(0, quick);
                    torrent.block();
                }
                if number % 500 == 0 {
                    torrent.tick();
                }
                let reserved = torrent.swarm.reserved_blocks();
                assert!(torrent.held <= reserved && reserved <= limit, "{reserved} of {limit}");
                most = most.max(reserved);
            }
        };
        let grown = measure(|| senders(&mut torrent)).bytes_max;
        assert_eq!(most, budget_pieces * BLOCKS, "all of it is used");
        // Queues of requests, and the states of an open piece's blocks.
        let bound = 1000 * 512 + u64::from(budget_pieces) * 1024;
        assert!(grown <= bound, "{grown} bytes with {budget_pieces} pieces");
    }
}
