//! One brain and one peer behind a pipe with a rate and a round trip: how full the brain keeps it,
//! and how much is queued for that.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, PieceIndex};
use swarm::{Action, BlockOutcome, Config, Hello, PeerKey, Spent, Swarm};
use wire::{Bitfield, BlockRequest, ExtendedHandshake, Message, PeerId, Reserved};

const PIECE: u32 = 4 << 20;
/// Hashing and writing a piece.
const VERIFY: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(100);

struct Pipe {
    swarm: Swarm,
    peer: PeerKey,
    now: Duration,
    /// Bytes a second.
    rate: f64,
    round_trip: Duration,
    /// When the last block that is under way has left the peer.
    free_at: Duration,
    arriving: VecDeque<(Duration, BlockRequest)>,
    verifying: VecDeque<(Duration, PieceIndex)>,
}

#[derive(Debug)]
struct Seen {
    /// The share of the pipe's rate that arrived.
    used: f64,
    /// Bytes that were asked for and had not arrived, at most.
    queued: u64,
    /// Bytes reserved, at most.
    reserved: u64,
}

impl Pipe {
    /// The peer has everything, and takes so many requests at once.
    fn new(rate: f64, round_trip: Duration, reqq: u32, budget_bytes: u64) -> Self {
        let now = Duration::from_secs(1000);
        let geometry = Geometry::new(32 << 30, PIECE).unwrap();
        let config = Config::new(geometry, InfoHash([1; 20]), PeerId([b'm'; 20]), 1);
        let mut swarm = Swarm::new(now, config);
        swarm.set_reserve_limit(now, (budget_bytes / u64::from(BLOCK_LENGTH)) as u32);
        let peer = Self::joins(&mut swarm, now, reqq);
        let (arriving, verifying) = (VecDeque::new(), VecDeque::new());
        Self { swarm, peer, now, rate, round_trip, free_at: now, arriving, verifying }
    }

    fn joins(swarm: &mut Swarm, now: Duration, reqq: u32) -> PeerKey {
        let addr = SocketAddr::from(([192, 0, 2, 1], 6881));
        let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]); // extension protocol alone
        let hello = Hello { addr, peer_id: PeerId([1; 20]), outgoing: false, reserved };
        let peer = swarm.add_peer(now, hello).unwrap();
        let says = ExtendedHandshake { reqq: Some(reqq), ..ExtendedHandshake::default() }.encode();
        let all = Bitfield::full(swarm.geometry().piece_count()).to_wire();
        for message in
            [Message::Extended { id: 0, payload: &says }, Message::Bitfield(&all), Message::Unchoke]
        {
            swarm.handle(now, peer, &message).unwrap();
        }
        peer
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { message: Message::Request(block), .. } => {
                    let sending = Duration::from_secs_f64(f64::from(block.length) / self.rate);
                    let starts = self.free_at.max(self.now + self.round_trip / 2);
                    self.free_at = starts + sending;
                    self.arriving.push_back((self.free_at + self.round_trip / 2, block));
                }
                Action::Verify { piece } => self.verifying.push_back((self.now + VERIFY, piece)),
                Action::Send { message: Message::Cancel(block), .. } => panic!("{block:?}"),
                _ => {}
            }
        }
    }

    fn run_for(&mut self, time: Duration) -> Seen {
        let end = self.now + time;
        let mut tick = self.now;
        let (mut bytes, mut queued, mut reserved) = (0_u64, 0, 0);
        while self.now < end {
            self.act();
            let arrival = self.arriving.front().map_or(end, |(at, _)| *at);
            let verified = self.verifying.front().map_or(end, |(at, _)| *at);
            self.now = arrival.min(verified).min(tick);
            if self.now == tick {
                tick += TICK;
                self.swarm.tick(self.now);
                let stats = &self.swarm.peers(self.now)[0];
                assert!(!stats.snubbed);
                queued = queued.max(stats.outstanding_bytes);
            } else if self.now == verified {
                if let Some((_, piece)) = self.verifying.pop_front() {
                    self.swarm.piece_written(self.now, piece);
                }
            } else if let Some((_, block)) = self.arriving.pop_front() {
                self.swarm.block_head(self.now, self.peer, block).unwrap();
                assert_eq!(self.swarm.block(self.now, self.peer, block), BlockOutcome::Stored);
                bytes += u64::from(block.length);
            }
            reserved = reserved.max(self.swarm.reserved_blocks());
        }
        let used = bytes as f64 / (self.rate * time.as_secs_f64());
        Seen { used, queued, reserved: u64::from(reserved) * u64::from(BLOCK_LENGTH) }
    }
}

fn seen(rate: f64, round_trip_ms: u64, reqq: u32, warm_up: u64, seconds: u64) -> Seen {
    let budget = 256 << 20; // the largest that a session takes by default
    let mut pipe = Pipe::new(rate, Duration::from_millis(round_trip_ms), reqq, budget);
    pipe.run_for(Duration::from_secs(warm_up));
    let seen = pipe.run_for(Duration::from_secs(seconds));
    assert!(seen.reserved <= budget, "{seen:?}");
    seen
}

#[test]
fn ten_gigabit_over_a_tenth_of_a_second_stay_full() {
    // 125 MB are in flight: the peer must take as many requests as that is blocks, and half as many
    // again, as a window is refilled in batches.
    let seen = seen(1.25e9, 100, 16_384, 2, 2);
    assert!(seen.used >= 0.9, "{seen:?}");
}

#[test]
fn a_choke_in_a_wide_window_makes_nobody_an_attacker() {
    // Without the fast extension: a choke takes everything back, and what is under way comes late.
    let mut pipe = Pipe::new(1.25e9, Duration::from_millis(100), 16_384, 256 << 20);
    pipe.run_for(Duration::from_secs(2));
    let late = pipe.arriving.len();
    assert!(late > 5000, "{late}");
    pipe.swarm.handle(pipe.now, pipe.peer, &Message::Choke).unwrap();
    pipe.act();
    for _ in 0..late {
        let (at, block) = pipe.arriving.pop_front().unwrap();
        pipe.now = at;
        pipe.swarm.block_head(at, pipe.peer, block).unwrap();
        assert_eq!(pipe.swarm.block(at, pipe.peer, block), BlockOutcome::Stored);
    }
}

#[test]
fn a_gigabit_over_a_tenth_of_a_second_stays_full_with_the_usual_queue() {
    let seen = seen(125e6, 100, 2000, 2, 3);
    assert!(seen.used >= 0.9, "{seen:?}");
}

#[test]
fn what_the_peer_takes_is_what_it_is_asked_for() {
    let seen = seen(1.25e9, 100, 500, 2, 2);
    assert!(seen.queued <= 500 * u64::from(BLOCK_LENGTH), "{seen:?}");
    assert!(seen.used >= 0.9 * 0.8 * 500.0 * f64::from(BLOCK_LENGTH) / 125e6, "{seen:?}");
}

#[test]
fn a_slow_peers_queue_is_a_second_or_two_of_its_rate() {
    for round_trip_ms in [20, 100, 500] {
        let seen = seen(100e3, round_trip_ms, 2000, 20, 60);
        assert!(seen.used >= 0.9, "{round_trip_ms} ms: {seen:?}");
        assert!(seen.queued <= 150_000, "{round_trip_ms} ms: {seen:?}");
    }
    // Where the path itself holds more than a second's worth, the queue is that all the same.
    let seen = seen(100e3, 3000, 2000, 30, 60);
    assert!(seen.used >= 0.2 && seen.queued <= 150_000, "{seen:?}");
}

/// What most of the peer's time goes to.
fn spent(rate: f64, round_trip_ms: u64, reqq: u32) -> Spent {
    let mut pipe = Pipe::new(rate, Duration::from_millis(round_trip_ms), reqq, 256 << 20);
    pipe.run_for(Duration::from_secs(10));
    let lines = pipe.swarm.spending(pipe.now);
    let charged: Duration = lines.iter().map(|line| line.time).sum();
    assert_eq!(charged, Duration::from_secs(10), "{lines:?}");
    lines.iter().max_by_key(|line| line.time).unwrap().what
}

#[test]
fn a_pipe_that_is_full_and_one_that_its_window_can_not_fill_are_told_apart() {
    for (rate, round_trip_ms, reqq) in [(1e6, 50, 2000), (50e3, 20, 2000), (125e6, 100, 2000)] {
        assert_eq!(spent(rate, round_trip_ms, reqq), Spent::Sending, "{rate} {reqq}");
    }
    // Ten requests of 16 KiB in a fifth of a second: 0.8 MB/s of the 10 that the peer could send.
    assert_eq!(spent(10e6, 200, 10), Spent::Window);
}
