//! What decisions cost: windows filled, messages handled, peers that come and go: `cargo bench -p
//! peerless-swarm`, or `-- have` for some of them.
//!
//! Each is measured with 10,000 and 100,000 pieces of 64 blocks: what costs the same for both does
//! not look at every piece.

#[path = "brain/torrent.rs"]
mod torrent;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use swarm::{Action, PeerKey};
use wire::Message;

use torrent::{Torrent, half};

const PIECES: [u32; 2] = [10_000, 100_000];

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
    let mut queue: VecDeque<_> = torrent.drain().into();
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

/// A new peer says that it has half of the pieces.
#[divan::bench(args = PIECES, sample_size = 1)]
fn bitfield(bencher: Bencher<'_, '_>, pieces: u32) {
    let bits = half(pieces, 77);
    let torrent = RefCell::new((Torrent::with_peers(pieces, 50), None));
    bencher
        .with_inputs(|| {
            let (torrent, last) = &mut *torrent.borrow_mut();
            if let Some(last) = last.take() {
                torrent.swarm.remove_peer(torrent.now, last);
            }
            torrent.drain();
            *last.insert(torrent.joins(5000))
        })
        .bench_local_values(|key| torrent.borrow_mut().0.says(key, &Message::Bitfield(&bits)));
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
