//! What events cost, in steps: pieces, peers and requests looked at. None grows with the size of the
//! torrent, and none but those that tell everybody something with the number of peers.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash};
use wire::{Bitfield, BlockRequest, Message, PeerId, Reserved};

use crate::steps::counted;
use crate::{Action, Config, Hello, PeerKey, Settings, Swarm};

/// Blocks of a piece.
const BLOCKS: u32 = 16;

struct Torrent {
    swarm: Swarm,
    now: Duration,
    pieces: u32,
}

impl Torrent {
    fn new(pieces: u32) -> Self {
        let (now, piece_length) = (Duration::from_secs(1000), BLOCKS * BLOCK_LENGTH);
        let mut have = Bitfield::new(pieces);
        (0..10).for_each(|piece| assert!(have.insert(piece)));
        let config = Config {
            have,
            settings: Settings { peers_max: 10_000, ..Settings::default() },
            ..Config::new(
                Geometry::new(u64::from(pieces) * u64::from(piece_length), piece_length).unwrap(),
                InfoHash([1; 20]),
                PeerId([b'm'; 20]),
                1,
            )
        };
        Self { swarm: Swarm::new(now, config), now, pieces }
    }

    /// A peer with every `nth` piece, from piece `first` on.
    fn joins(&mut self, number: u16, first: u32, nth: usize) -> PeerKey {
        let [high, low] = number.to_be_bytes();
        self.joins_from(number, SocketAddr::from(([10, 0, high, low], 6881)), first, nth)
    }

    fn joins_from(&mut self, number: u16, addr: SocketAddr, first: u32, nth: usize) -> PeerKey {
        let [high, low] = number.to_be_bytes();
        let hello = Hello {
            addr,
            peer_id: PeerId(std::array::from_fn(|at| if at % 2 == 0 { high } else { low })),
            outgoing: false,
            reserved: Reserved::default(),
        };
        let key = self.swarm.add_peer(self.now, hello).unwrap();
        let mut set = Bitfield::new(self.pieces);
        (first..self.pieces).step_by(nth).for_each(|piece| assert!(set.insert(piece)));
        self.says(key, &Message::Bitfield(&set.to_wire()));
        key
    }

    fn says(&mut self, peer: PeerKey, message: &Message<'_>) {
        self.swarm.handle(self.now, peer, message).unwrap();
    }

    fn drain(&mut self) -> Vec<(PeerKey, BlockRequest)> {
        let mut asked = Vec::new();
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    asked.push((peer, block));
                }
                Action::Verify { piece } => self.swarm.piece_written(self.now, piece),
                _ => {}
            }
        }
        asked
    }

    fn gives(&mut self, peer: PeerKey, block: BlockRequest) {
        self.swarm.block_head(self.now, peer, block).unwrap();
        self.swarm.block(self.now, peer, block);
    }

    /// Has what is asked for come, with what is asked for in its place, and `then` after each.
    fn steps_of_600_blocks(&mut self, then: impl Fn(&mut Self, BlockRequest)) -> u64 {
        let mut queue = std::collections::VecDeque::from(self.drain());
        let mut total = 0;
        for number in 0..600 {
            let (peer, block) = queue.pop_front().unwrap();
            self.now += Duration::from_millis(1);
            let steps = counted(|| {
                self.gives(peer, block);
                queue.extend(self.drain());
            });
            // The first ask is a sort of all pieces; a piece that is done is told to all.
            if number > 0 && !is_last(block) {
                total += steps;
            }
            then(self, block);
        }
        total
    }

    fn ticks(&mut self, by: Duration) {
        self.now += by;
        self.swarm.tick(self.now);
        self.swarm.next_timeout();
        self.drain();
    }
}

/// Whether it is the last of its piece.
fn is_last(block: BlockRequest) -> bool {
    block.begin / BLOCK_LENGTH == BLOCKS - 1
}

/// The steps of 600 blocks within pieces, with what is asked for in their place, among `others` peers
/// that choke us.
fn steps_of_blocks(pieces: u32, others: u16) -> u64 {
    let mut torrent = Torrent::new(pieces);
    for number in 0..others {
        torrent.joins(number, 0, 2);
    }
    // Half of the pieces are with nobody who may be asked.
    let peer = torrent.joins(9999, 1, 2);
    torrent.says(peer, &Message::Unchoke);
    torrent.steps_of_600_blocks(|_, _| {})
}

#[test]
fn a_block_costs_the_same_however_large_the_torrent_and_the_swarm() {
    for (pieces, others) in [(1000, 1), (100_000, 1), (1000, 200), (20_000, 50)] {
        let steps = steps_of_blocks(pieces, others);
        assert!(steps <= 600 * 5, "{steps} with {pieces} pieces, {others} others");
    }
}

/// The most steps of a `have` from a peer that lets us ask and is busy.
fn steps_of_haves(pieces: u32, others: u16) -> u64 {
    let mut torrent = Torrent::new(pieces);
    for number in 0..others {
        torrent.joins(number, 0, 2);
    }
    let peer = torrent.joins(9999, 0, 2);
    torrent.says(peer, &Message::Unchoke);
    torrent.drain();
    let have = |piece| {
        counted(|| {
            torrent.says(peer, &Message::Have(piece));
            torrent.drain();
        })
    };
    (1..200).step_by(2).map(have).max().unwrap()
}

#[test]
fn a_have_costs_the_same_however_large_the_torrent_and_the_swarm() {
    for (pieces, others) in [(1000, 1), (100_000, 1), (1000, 200), (20_000, 50)] {
        let steps = steps_of_haves(pieces, others);
        assert!(steps <= 5, "{steps} with {pieces} pieces, {others} others");
    }
}

#[test]
fn who_has_nothing_new_for_us_costs_no_second_look() {
    let mut torrent = Torrent::new(100_000);
    torrent.joins(1, 1, 1); // has all but one, and chokes us
    let busy = torrent.joins(2, 0, 20_000);
    torrent.says(busy, &Message::Unchoke);
    let mut queue = std::collections::VecDeque::from(torrent.drain());
    let mut asked = queue.len();
    while asked < 4 * BLOCKS as usize {
        let (peer, block) = queue.pop_front().unwrap();
        torrent.gives(peer, block);
        let more = torrent.drain();
        asked += more.len();
        queue.extend(more);
    }
    assert!(!queue.is_empty(), "the last is on its way");
    let idle = torrent.joins(3, 0, 20_000);
    torrent.says(idle, &Message::Unchoke);
    assert_eq!(torrent.drain(), []);
    let steps = counted(|| {
        for _ in 0..100 {
            torrent.ticks(Duration::from_millis(1));
        }
    });
    assert!(steps < 100 * 20, "{steps}");
}

#[test]
fn who_waits_for_the_budget_chooses_nothing() {
    const WAITING: u16 = 100;
    let mut torrent = Torrent::new(1000);
    torrent.swarm.set_reserve_limit(torrent.now, 2 * BLOCKS + 3);
    torrent.joins(9999, 1, 2); // what is rarest, and chokes us
    for number in 0..WAITING {
        let peer = torrent.joins(number, 0, 2);
        torrent.says(peer, &Message::Unchoke);
    }
    torrent.drain();
    let steps = counted(|| {
        torrent.swarm.refill_everybody();
        torrent.drain();
    });
    assert!(steps <= u64::from(WAITING) * 10, "{steps}");
}

/// The steps of a second of ticks with peers that do nothing, two that deliver and one that waits.
fn steps_of_ticks(idle: u16) -> u64 {
    let mut torrent = Torrent::new(2000);
    for number in 0..idle {
        torrent.joins(number, 0, 2);
    }
    for number in [9997, 9998] {
        let busy = torrent.joins(number, 0, 1);
        torrent.says(busy, &Message::Unchoke);
    }
    let waits = torrent.joins(9999, 0, 2000);
    torrent.says(waits, &Message::Unchoke);
    torrent.drain();
    torrent.ticks(Duration::from_millis(1));
    counted(|| (0..100).for_each(|_| torrent.ticks(Duration::from_millis(10))))
}

#[test]
fn a_tick_costs_as_much_as_there_is_active() {
    let (few, many) = (steps_of_ticks(10), steps_of_ticks(1000));
    assert!(few < 100 * 20, "{few}");
    assert_eq!(few, many);
}

#[test]
fn idle_peers_are_looked_at_when_something_is_due() {
    let mut torrent = Torrent::new(1000);
    for number in 0..100 {
        torrent.joins(number, 0, 2);
    }
    torrent.drain();
    let at = torrent.swarm.next_timeout().unwrap();
    assert!(at <= torrent.now + Duration::from_secs(10), "the choker's round");
    torrent.ticks(Duration::from_secs(99));
    assert_eq!(torrent.swarm.checks.len(), 100, "each once");
    torrent.now += Duration::from_secs(1);
    torrent.swarm.tick(torrent.now);
    let kept = std::iter::from_fn(|| torrent.swarm.poll_action())
        .filter(|action| matches!(action, Action::Send { message: Message::KeepAlive, .. }));
    assert_eq!(kept.count(), 100);
    torrent.ticks(Duration::from_mins(3));
    assert!(torrent.swarm.checks.is_empty(), "all were silent for too long");
}

/// The steps of 600 blocks while somebody reads from the middle on, among peers that choke us.
fn steps_while_reading(pieces: u32, others: u16) -> u64 {
    let mut torrent = Torrent::new(pieces);
    for number in 0..others {
        torrent.joins(number, 0, 2);
    }
    let peer = torrent.joins(9999, 0, 1);
    torrent.says(peer, &Message::Unchoke);
    let middle = u64::from(pieces / 2) * u64::from(BLOCKS * BLOCK_LENGTH);
    torrent.swarm.reader_at(torrent.now, crate::ReaderId(1), middle, u64::MAX);
    torrent.steps_of_600_blocks(|torrent, block| {
        assert!(block.piece >= pieces / 2, "{}: it reads on", block.piece);
        if is_last(block) {
            let at = u64::from(block.piece) * u64::from(BLOCKS * BLOCK_LENGTH);
            torrent.swarm.reader_at(torrent.now, crate::ReaderId(1), at, u64::MAX);
        }
    })
}

#[test]
fn what_is_urgent_costs_the_same_however_large_the_torrent() {
    let few = steps_while_reading(1000, 1);
    assert!(few <= 600 * 10, "{few}");
    assert_eq!(few, steps_while_reading(100_000, 1));
    // Peers are compared now and then, never for each block.
    let many = steps_while_reading(1000, 200);
    assert!(many <= 600 * 20, "{many} with 200 others");
}

#[test]
fn who_changes_its_mind_all_the_time_has_nobody_ranked() {
    let others = 200;
    let mut torrent = Torrent::new(1000);
    for number in 0..others {
        let peer = torrent.joins(number, 0, 2);
        torrent.says(peer, &Message::Interested);
    }
    let fickle = torrent.joins(9999, 0, 2);
    torrent.drain();
    let steps = counted(|| {
        torrent.says(fickle, &Message::Interested);
        torrent.says(fickle, &Message::NotInterested);
    });
    assert!(steps <= u64::from(others) + 10, "{steps}: the slots are counted once");
}

#[test]
fn a_full_torrent_is_not_counted_through_after_each_event() {
    let mut torrent = Torrent::new(1000);
    for number in 0..200_u16 {
        let [high, low] = number.to_be_bytes();
        let ip = if number < 4 { [9, 9, 9, 9] } else { [8, 8, high, low] };
        torrent.joins_from(number, SocketAddr::from((ip, 6881)), 0, 2);
    }
    torrent.swarm.settings.peers_max = 200;
    let stranger = SocketAddr::from(([7, 7, 7, 7], 6881));
    torrent.swarm.add_candidates(torrent.now, crate::Source::Tracker, &[stranger]);
    torrent.drain();
    let steps = counted(|| assert_eq!(torrent.swarm.next_timeout(), Some(torrent.now)));
    assert!(steps <= 5, "{steps}");
    let steps = counted(|| assert_eq!(torrent.swarm.next_dial(torrent.now), Some(stranger)));
    assert!(steps <= 5, "{steps}");
}
