//! How much may be in flight: LEDBAT (RFC 6817), which fills a link and yields to everybody else.
//!
//! The window grows while packets queue for less than [`TARGET`] and shrinks, in proportion to what
//! is in flight, while they queue for longer. A lost packet means little by itself: radio links lose
//! one in a hundred without being full. So a loss takes the window back to what fits on the link
//! without a queue, and halves it only when the queue is long or many are lost.

use crate::seq::{MILLISECOND, Micros};

/// How long packets may queue.
pub(crate) const TARGET: f64 = 100.0 * MILLISECOND as f64;
/// The window grows by this many packets a round trip, at least.
const GAIN_PACKETS: f64 = 2.0;
/// And by this share of itself: a fast link is not filled for minutes.
const GAIN_SHARE: f64 = 0.02;
/// Slow start grows by half a round trip: what it overshoots by stays below [`TARGET`] on a link of
/// 100 ms, where doubling does not.
const START_GAIN: f64 = 0.5;
/// A queue this long ends slow start.
const START_QUEUE: f64 = 10.0 * MILLISECOND as f64;
/// A queue this short is noise: packets leave in bursts, and threads wait for each other.
const QUEUE_NOISE: f64 = 10.0 * MILLISECOND as f64;
/// Of packets, when more are lost than this, the link is full, whatever the queue.
const LOSS_RATE_MAX: f64 = 0.04;
/// How much of the past is left in the loss rate after a round trip.
const LOSS_MEMORY: f64 = 0.85;
/// The loss rate counts as if so many had arrived before: one of three is no rate.
const LOSS_PRIOR_PACKETS: f64 = 64.0;
const START_PACKETS: f64 = 4.0;
const LEAST_PACKETS: f64 = 2.0;
/// After a second without packets the window is old.
const IDLE: Micros = 1_000 * MILLISECOND;
const IDLE_PACKETS: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Ledbat {
    window: f64,
    packet: f64,
    /// Up to which window to start slowly; `None` when that is over.
    start: Option<f64>,
    decreased_at: Micros,
    round_began: Micros,
    lost: f64,
    arrived: f64,
}

/// What is known at an ack or a loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) now: Micros,
    pub(crate) rtt: Micros,
    /// How long packets queue.
    pub(crate) queue: Micros,
}

impl Path {
    /// Of what is in flight, the share that is on the link and not in its queue; a half at least.
    fn without_queue(self) -> f64 {
        (1.0 - self.queue as f64 / (self.rtt.max(1)) as f64).clamp(0.5, 1.0)
    }
}

impl Ledbat {
    pub(crate) fn new(packet_bytes: usize) -> Self {
        let packet = packet_bytes as f64;
        Self {
            window: START_PACKETS * packet,
            packet,
            start: Some(f64::INFINITY),
            decreased_at: 0,
            round_began: 0,
            lost: 0.0,
            arrived: 0.0,
        }
    }

    /// Bytes that may be in flight.
    pub(crate) fn window(&self) -> usize {
        self.window as usize
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.start.is_some()
    }

    pub(crate) fn set_packet(&mut self, bytes: usize) {
        self.packet = bytes as f64;
        self.bound();
    }

    /// So many bytes arrived. The window grows only if it was what kept more from being sent.
    pub(crate) fn acked(&mut self, path: Path, bytes: usize, was_full: bool) {
        let bytes = bytes as f64;
        self.count(path, 0.0, bytes);
        let queue = path.queue as f64;
        if let Some(until) = self.start {
            if queue > START_QUEUE {
                self.start = None;
                self.window *= path.without_queue();
                self.decreased_at = path.now;
            } else if self.window >= until {
                self.start = None;
            } else if was_full {
                self.window += bytes * START_GAIN;
            }
        } else if queue <= TARGET {
            if was_full {
                let gain = (GAIN_PACKETS * self.packet).max(GAIN_SHARE * self.window);
                self.window += gain * (1.0 - queue / TARGET) * bytes / self.window;
            }
        } else {
            self.window -= bytes * (queue / TARGET - 1.0).min(0.5);
        }
        self.bound();
    }

    /// So many bytes were lost.
    pub(crate) fn lost(&mut self, path: Path, bytes: usize) {
        self.count(path, bytes as f64, 0.0);
        if path.now.saturating_sub(self.decreased_at) < path.rtt {
            return; // that was the same queue
        }
        let queue = path.queue as f64;
        let rate = self.lost / (self.lost + self.arrived + LOSS_PRIOR_PACKETS * self.packet);
        let factor = if queue >= TARGET || rate > LOSS_RATE_MAX {
            0.5
        } else if queue > QUEUE_NOISE {
            path.without_queue()
        } else {
            return;
        };
        self.window *= factor;
        self.start = None;
        self.decreased_at = path.now;
        self.bound();
    }

    /// Nothing was heard for so long that all in flight is taken for lost.
    pub(crate) fn timed_out(&mut self, now: Micros) {
        let least = LEAST_PACKETS * self.packet;
        if self.window > least {
            self.start = Some((self.window / 2.0).max(least));
        }
        self.window = least;
        self.decreased_at = now;
    }

    /// Packets leave after nothing was in flight for so long.
    pub(crate) fn rested(&mut self, time: Micros) {
        if time >= IDLE {
            self.window = self.window.min((self.window / 2.0).max(IDLE_PACKETS * self.packet));
        }
    }

    fn count(&mut self, path: Path, lost: f64, arrived: f64) {
        if path.now.saturating_sub(self.round_began) >= path.rtt {
            self.round_began = path.now;
            self.lost *= LOSS_MEMORY;
            self.arrived *= LOSS_MEMORY;
        }
        self.lost += lost;
        self.arrived += arrived;
    }

    fn bound(&mut self) {
        self.window = self.window.max(LEAST_PACKETS * self.packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1_000;
    const RTT: Micros = 100 * MILLISECOND;

    fn path(round: u64, queue_ms: u64) -> Path {
        let queue = queue_ms * MILLISECOND;
        Path { now: round * RTT * 3, rtt: RTT + queue, queue }
    }

    fn grown(packets: usize) -> Ledbat {
        let mut ledbat = Ledbat::new(PACKET);
        while ledbat.window() < packets * PACKET {
            ledbat.acked(path(0, 0), PACKET, true);
        }
        ledbat.acked(path(0, 20), 0, true);
        assert!(!ledbat.is_starting());
        ledbat
    }

    #[test]
    fn it_starts_by_half_and_stops_at_a_queue() {
        let mut ledbat = Ledbat::new(PACKET);
        let before = ledbat.window();
        ledbat.acked(path(1, 0), before, true);
        assert_eq!(ledbat.window(), before * 3 / 2);
        ledbat.acked(path(2, 50), 0, true);
        assert!(!ledbat.is_starting());
        assert!(ledbat.window() < before * 3 / 2);
    }

    #[test]
    fn it_grows_below_the_target_and_shrinks_above() {
        let mut ledbat = grown(200);
        let start = ledbat.window();
        ledbat.acked(path(1, 0), start, true);
        assert!(ledbat.window() > start && ledbat.window() < start + start / 20);
        let before = ledbat.window();
        ledbat.acked(path(2, 100), before, true);
        assert_eq!(ledbat.window(), before, "at the target nothing changes");
        ledbat.acked(path(3, 150), before, true);
        assert!(ledbat.window().abs_diff(before / 2) <= 1);
        let before = ledbat.window();
        ledbat.acked(path(4, 0), before, false);
        assert_eq!(ledbat.window(), before, "who does not use it gets no more");
    }

    #[test]
    fn never_less_than_two_packets() {
        let mut ledbat = grown(10);
        for round in 1..50 {
            ledbat.acked(path(round, 900), 100 * PACKET, true);
            ledbat.lost(path(round, 900), PACKET);
        }
        assert_eq!(ledbat.window(), 2 * PACKET);
        ledbat.timed_out(0);
        assert_eq!(ledbat.window(), 2 * PACKET);
    }

    #[test]
    fn a_loss_halves_once_a_round_trip_and_only_in_a_queue() {
        let mut ledbat = grown(200);
        let before = ledbat.window();
        ledbat.lost(path(1, 0), PACKET);
        assert_eq!(ledbat.window(), before, "one packet of many, and no queue");
        ledbat.lost(path(2, 110), PACKET);
        assert_eq!(ledbat.window(), before / 2);
        ledbat.lost(path(2, 110), PACKET);
        assert_eq!(ledbat.window(), before / 2, "the same round trip");
        ledbat.lost(path(3, 110), PACKET);
        assert_eq!(ledbat.window(), before / 4);
    }

    #[test]
    fn many_losses_mean_a_full_link_even_without_a_queue() {
        let mut ledbat = grown(200);
        let before = ledbat.window();
        (1..8).for_each(|round| {
            ledbat.acked(path(round, 0), 90 * PACKET, false);
            ledbat.lost(path(round, 0), 10 * PACKET);
        });
        assert!(ledbat.window() < before / 2, "{} of {before}", ledbat.window());
    }

    #[test]
    fn after_a_timeout_half_the_window_comes_back_fast() {
        let mut ledbat = grown(200);
        let before = ledbat.window();
        ledbat.timed_out(RTT);
        assert!(ledbat.is_starting());
        while ledbat.is_starting() {
            ledbat.acked(path(2, 0), ledbat.window(), true);
        }
        assert!((before / 2..before).contains(&ledbat.window()));
    }
}
