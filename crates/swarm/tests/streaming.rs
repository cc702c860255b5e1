//! Readers in virtual time: how long they wait for the first byte, after a seek, and while they read,
//! behind peers of several speeds.

#[path = "support/joins.rs"]
mod joins;

use std::collections::VecDeque;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, PieceIndex};
use swarm::{Action, Config, Hello, PeerKey, ReaderId, Swarm};
use wire::{Bitfield, BlockRequest, Message, PeerId, Reserved};

use joins::joins;

const PIECE: u32 = 256 * 1024;
const PIECES: u32 = 2000;
/// Hashing and writing a piece.
const VERIFY: Duration = Duration::from_millis(10);
const ROUND_TRIP: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// A peer behind a pipe: blocks leave it in the order they were asked for.
struct Source {
    key: PeerKey,
    /// Bytes a second.
    rate: f64,
    free_at: Duration,
    /// What it was asked for and did not begin to send, and since when it knows.
    queue: VecDeque<(Duration, BlockRequest)>,
    arriving: VecDeque<(Duration, BlockRequest)>,
    /// From then on nothing comes.
    stalls_at: Option<Duration>,
}

impl Source {
    /// When it begins with its next block.
    fn sends_at(&self) -> Option<Duration> {
        self.queue.front().map(|(knows, _)| self.free_at.max(*knows))
    }

    fn send(&mut self, now: Duration) {
        while let Some(at) = self.sends_at().filter(|at| *at <= now) {
            let (_, block) = self.queue.pop_front().unwrap();
            self.free_at = at + Duration::from_secs_f64(f64::from(block.length) / self.rate);
            if self.stalls_at.is_none_or(|stalls| at < stalls) {
                self.arriving.push_back((self.free_at + ROUND_TRIP / 2, block));
            }
        }
    }
}

/// Somebody who reads: as fast as it can, or at a rate.
struct Reader {
    id: ReaderId,
    at: u64,
    /// Bytes a second.
    rate: Option<f64>,
    /// When it asks for the next piece, if it is not waiting already.
    asks_at: Duration,
    /// Whether it was answered since it began or went elsewhere.
    began: bool,
    /// How long it waited for the first piece.
    first: Option<Duration>,
    /// And for those after it.
    stalled: Duration,
}

struct World {
    swarm: Swarm,
    now: Duration,
    sources: Vec<Source>,
    readers: Vec<Reader>,
    verifying: VecDeque<(Duration, PieceIndex)>,
    received: u64,
}

impl World {
    /// With peers of these rates that have everything, and let us ask.
    fn new(rates: &[f64]) -> Self {
        let now = Duration::from_secs(1000);
        let geometry = Geometry::new(u64::from(PIECES) * u64::from(PIECE), PIECE).unwrap();
        let config = Config::new(geometry, InfoHash([1; 20]), PeerId([b'm'; 20]), 1);
        let mut world = Self {
            swarm: Swarm::new(now, config),
            now,
            sources: Vec::new(),
            readers: Vec::new(),
            verifying: VecDeque::new(),
            received: 0,
        };
        rates.iter().for_each(|rate| world.joins(*rate, |_| true));
        world
    }

    fn joins(&mut self, rate: f64, has: impl Fn(PieceIndex) -> bool) {
        let number = self.sources.len() as u8 + 1;
        let mut set = Bitfield::new(PIECES);
        (0..PIECES).filter(|piece| has(*piece)).for_each(|piece| assert!(set.insert(piece)));
        let (now, set) = (self.now, set.to_wire());
        let says = Message::Bitfield(&set);
        let key = joins(&mut self.swarm, now, number, Reserved::default(), &says).unwrap();
        let (free_at, queue, arriving) = (self.now, VecDeque::new(), VecDeque::new());
        self.sources.push(Source { key, rate, free_at, queue, arriving, stalls_at: None });
    }

    fn reads(&mut self, piece: PieceIndex, rate: Option<f64>) -> usize {
        let id = ReaderId(self.readers.len() as u64);
        let at = u64::from(piece) * u64::from(PIECE);
        let reader = Reader {
            id,
            at,
            rate,
            asks_at: self.now,
            began: false,
            first: None,
            stalled: Duration::ZERO,
        };
        self.readers.push(reader);
        self.tell(self.readers.len() - 1);
        self.readers.len() - 1
    }

    fn seeks(&mut self, reader: usize, piece: PieceIndex) {
        let reads = &mut self.readers[reader];
        reads.at = u64::from(piece) * u64::from(PIECE);
        reads.asks_at = self.now;
        (reads.began, reads.first) = (false, None);
        self.tell(reader);
    }

    fn tell(&mut self, reader: usize) {
        let reader = &self.readers[reader];
        let end = self.swarm.geometry().total_length();
        self.swarm.reader_at(self.now, reader.id, reader.at, end);
    }

    /// Readers take what is there.
    fn read(&mut self) {
        for number in 0..self.readers.len() {
            loop {
                let reader = &mut self.readers[number];
                let piece = (reader.at / u64::from(PIECE)) as PieceIndex;
                if reader.asks_at > self.now || !self.swarm.have().has(piece) {
                    break;
                }
                let waited = self.now.saturating_sub(reader.asks_at);
                if std::mem::replace(&mut reader.began, true) {
                    reader.stalled += waited;
                } else {
                    reader.first = Some(waited);
                }
                reader.at += u64::from(PIECE);
                let takes = reader.rate.map_or(0.0, |rate| f64::from(PIECE) / rate);
                reader.asks_at = self.now + Duration::from_secs_f64(takes);
                self.tell(number);
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::Send { peer, message: Message::Request(block) } => {
                    let knows = self.now + ROUND_TRIP / 2;
                    let source = self.sources.iter_mut().find(|it| it.key == peer).unwrap();
                    source.queue.push_back((knows, block));
                }
                Action::Send { peer, message: Message::Cancel(block) } => {
                    let source = self.sources.iter_mut().find(|it| it.key == peer).unwrap();
                    source.queue.retain(|(_, queued)| *queued != block);
                }
                Action::Verify { piece } => self.verifying.push_back((self.now + VERIFY, piece)),
                _ => {}
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut tick = self.now + TICK;
        while self.now < end {
            self.act();
            let arrivals = self.sources.iter().flat_map(|source| {
                let arrives = source.arriving.front().map(|(at, _)| *at);
                arrives.into_iter().chain(source.sends_at())
            });
            let arrival = arrivals.min().unwrap_or(end);
            let verified = self.verifying.front().map_or(end, |(at, _)| *at);
            let asks = self.readers.iter().map(|reader| reader.asks_at);
            let asks = asks.filter(|at| *at > self.now).min().unwrap_or(end);
            self.now = arrival.min(verified).min(tick).min(asks).min(end);
            if self.now == tick {
                tick += TICK;
                self.swarm.tick(self.now);
            }
            while let Some((_, piece)) = self.verifying.pop_front_if(|(at, _)| *at <= self.now) {
                self.swarm.piece_written(self.now, piece);
            }
            for source in &mut self.sources {
                source.send(self.now);
                while let Some((at, block)) =
                    source.arriving.pop_front_if(|(at, _)| *at <= self.now)
                {
                    self.swarm.block_head(at, source.key, block).unwrap();
                    self.swarm.block(at, source.key, block);
                    self.received += u64::from(block.length);
                }
            }
            self.read();
        }
    }

    fn first(&mut self, reader: usize, limit: Duration) -> Duration {
        self.run_for(limit);
        self.readers[reader].first.expect("the reader got something in time")
    }

    /// Pieces that are neither there nor begun but for readers, by where they lie.
    fn has(&self, pieces: std::ops::Range<PieceIndex>) -> u32 {
        pieces.filter(|piece| self.swarm.have().has(*piece)).count() as u32
    }
}

/// A megabyte a second, put together in several ways.
const MIXES: [&[f64]; 5] = [
    &[1e6],
    &[250e3; 4],
    &[100e3; 10],
    &[700e3, 100e3, 100e3, 50e3, 50e3],
    &[500e3, 400e3, 40e3, 40e3, 10e3, 10e3],
];

#[test]
fn the_first_byte_comes_within_a_second() {
    for mix in MIXES {
        let mut world = World::new(mix);
        let reader = world.reads(700, None);
        let first = world.first(reader, 3 * SECOND);
        assert!(first <= SECOND, "{mix:?}: {first:?}");
    }
}

#[test]
fn after_a_seek_it_comes_within_a_second() {
    for mix in MIXES {
        let mut world = World::new(mix);
        let reader = world.reads(0, None);
        for (round, target) in [1500, 300, 1900, 700, 1000].into_iter().enumerate() {
            world.run_for(SECOND * (3 + round as u32));
            assert!(world.readers[reader].at > 0);
            world.seeks(reader, target);
            let first = world.first(reader, 3 * SECOND);
            assert!(first <= SECOND, "{mix:?} to {target}: {first:?}");
            let next = (world.readers[reader].at / u64::from(PIECE)) as PieceIndex + 8;
            assert!(world.swarm.is_urgent(next), "{mix:?}: it reads ahead");
            assert!(!world.swarm.is_urgent(10), "what it left is not urgent");
        }
    }
}

#[test]
fn who_reads_slower_than_it_comes_never_waits_and_the_rest_comes_too() {
    for mix in MIXES {
        let mut world = World::new(mix);
        let reader = world.reads(100, Some(500e3));
        world.run_for(60 * SECOND);
        let seen = &world.readers[reader];
        assert!(seen.first.is_some_and(|first| first <= SECOND), "{mix:?}: {:?}", seen.first);
        assert!(seen.stalled <= Duration::from_millis(100), "{mix:?}: {:?}", seen.stalled);
        let read = (seen.at / u64::from(PIECE)) as PieceIndex;
        let elsewhere = world.has(0..100) + world.has(read + 100..PIECES);
        assert!(elsewhere > 40, "{mix:?}: {elsewhere} pieces besides what is read");
        let used = world.received as f64 / 60e6;
        assert!(used > 0.9, "{mix:?}: {used} of the line");
    }
}

#[test]
fn who_reads_as_fast_as_it_comes_gets_all_of_it_in_order() {
    for mix in MIXES {
        let mut world = World::new(mix);
        let reader = world.reads(0, None);
        world.run_for(30 * SECOND);
        let read = world.readers[reader].at as f64 / 30e6;
        assert!(read > 0.85, "{mix:?}: {read} of the line is what it read");
    }
}

#[test]
fn several_readers_share() {
    for mix in MIXES {
        let mut world = World::new(mix);
        for piece in [100, 900, 1700] {
            world.reads(piece, Some(200e3));
        }
        world.run_for(30 * SECOND);
        for reader in &world.readers {
            let first = reader.first.expect("each gets something");
            assert!(first <= SECOND * 3 / 2, "{mix:?}: {first:?}");
            assert!(reader.stalled <= SECOND / 2, "{mix:?}: {:?}", reader.stalled);
        }
    }
}

#[test]
fn a_peer_that_stalls_on_what_is_urgent_holds_nobody_up() {
    let mut world = World::new(&[300e3, 300e3, 300e3, 300e3]);
    let reader = world.reads(0, None);
    world.run_for(5 * SECOND);
    // It takes the requests that the seek brings, and answers none: less than a time-out.
    world.sources[2].stalls_at = Some(world.now);
    world.sources[2].arriving.clear();
    world.seeks(reader, 1200);
    let first = world.first(reader, 2 * SECOND);
    assert!(first <= SECOND * 3 / 2, "{first:?}");
}

#[test]
fn what_only_a_slow_peer_has_is_asked_of_it() {
    let mut world = World::new(&[]);
    world.joins(1e6, |piece| piece != 50);
    world.joins(30e3, |_| true);
    let reader = world.reads(50, None);
    let first = world.first(reader, 12 * SECOND);
    assert!(first <= 11 * SECOND, "{first:?} for a quarter of a megabyte at 30 kB/s");
}

#[test]
fn without_readers_nothing_is_urgent() {
    let mut world = World::new(&[500e3, 500e3]);
    let reader = world.reads(1000, None);
    world.run_for(SECOND);
    assert!((1000..1010).any(|piece| world.swarm.is_urgent(piece)));
    let id = world.readers.remove(reader).id;
    world.swarm.reader_gone(world.now, id);
    assert!((0..PIECES).all(|piece| !world.swarm.is_urgent(piece)));
    let before = world.swarm.have().count();
    world.run_for(40 * SECOND);
    let came = world.swarm.have().count() - before;
    assert!(came > 130, "{came} pieces");
    let there = world.has(1000..1040);
    assert!(there < 20, "{there} of what was urgent: the rest is picked as always");
    assert!(u64::from(BLOCK_LENGTH) * 16 == u64::from(PIECE));
}
