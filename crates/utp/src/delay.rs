//! How long packets queue on their way, from clocks that differ, drift and jump (RFC 6817).
//!
//! A one-way delay holds the unknown difference of two clocks. The least of the last minutes is
//! taken for the way without a queue; what a sample is above it, is the queue.

use std::collections::VecDeque;

use crate::seq::{MILLISECOND, Micros, SECOND, stamp_since};

/// Minutes whose least delay counts: long enough to see an empty queue, short enough to follow a
/// route that became longer.
const HISTORY_MINUTES: usize = 13;
const MINUTE: Micros = 60 * SECOND;
/// The last samples of which the least is taken: a single late one says nothing.
const RECENT: usize = 4;
/// Drift moves a base by less than this between two minima. More is a jump.
const DRIFT_MAX: i32 = 10 * MILLISECOND as i32;
/// Clocks that jump do it by more than this, queues move by less.
const JUMP_MIN: i32 = SECOND as i32;

/// After so many packets what was unusual is usual.
const UNUSUAL_MAX: u32 = 100;

/// The least delay of each of the last minutes.
#[derive(Debug, Default)]
struct Base {
    minutes: VecDeque<u32>,
    /// Of all of them.
    least: Option<u32>,
    minute_began: Micros,
}

impl Base {
    fn add(&mut self, now: Micros, sample: u32) {
        if self.minutes.is_empty() || now.saturating_sub(self.minute_began) >= MINUTE {
            self.minute_began = now;
            self.minutes.push_back(sample);
            if self.minutes.len() > HISTORY_MINUTES {
                self.minutes.pop_front();
                self.least = self.minutes.iter().copied().reduce(lesser);
            }
        } else if let Some(last) = self.minutes.back_mut() {
            *last = lesser(*last, sample);
        }
        self.least = Some(self.least.map_or(sample, |least| lesser(least, sample)));
    }

    fn shift(&mut self, by: u32) {
        for minute in &mut self.minutes {
            *minute = minute.wrapping_add(by);
        }
        self.least = self.least.map(|least| least.wrapping_add(by));
    }
}

fn lesser(a: u32, b: u32) -> u32 {
    if stamp_since(a, b) < 0 { a } else { b }
}

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    ours: Base,
    theirs: Base,
    /// There and back: what no clock can change.
    sum: Option<u32>,
    /// Packets in a row for which that was far from what it was before.
    unusual: u32,
    recent: VecDeque<u32>,
}

impl Delays {
    /// A packet tells how long our last one took to the peer (0 when it has had none), and how long
    /// it took itself.
    pub(crate) fn sample(&mut self, now: Micros, ours: u32, theirs: u32) {
        if ours == 0 || ours == i32::MAX.cast_unsigned() {
            return self.theirs.add(now, theirs); // some clients send this for "unknown"
        }
        if self.has_jumped(ours, ours.wrapping_add(theirs)) {
            *self = Self::default();
            self.sum = Some(ours.wrapping_add(theirs));
        }
        let before = self.theirs.least;
        self.theirs.add(now, theirs);
        if let (Some(before), Some(after)) = (before, self.theirs.least) {
            // The way back became shorter than ever: their clock runs faster than ours, and makes
            // the way there seem longer by as much.
            let drift = stamp_since(before, after);
            if (1..=DRIFT_MAX).contains(&drift) {
                self.ours.shift(drift.cast_unsigned());
            }
        }
        self.ours.add(now, ours);
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(ours);
    }

    /// One way changed, and there and back did not: that was a clock. A packet that was on its way
    /// at that moment changes the sum, and no later one does.
    fn has_jumped(&mut self, ours: u32, sum: u32) -> bool {
        let far = |a: u32, b: u32| stamp_since(a, b).unsigned_abs() > JUMP_MIN.unsigned_abs();
        let usual = *self.sum.get_or_insert(sum);
        if far(sum, usual) {
            self.unusual = self.unusual.saturating_add(1);
            if self.unusual > UNUSUAL_MAX {
                (self.sum, self.unusual) = (Some(sum), 0);
            }
            return false;
        }
        (self.sum, self.unusual) = (Some(sum), 0);
        self.ours.least.is_some_and(|base| far(ours, base))
    }

    /// How long our packets queue; `None` before anything is known.
    pub(crate) fn queue(&self) -> Option<Micros> {
        let base = self.ours.least?;
        let above = self.recent.iter().map(|sample| stamp_since(*sample, base).max(0));
        above.min().map(|queue| u64::from(queue.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples as clocks give them that differ by `offset` microseconds.
    fn sample(delays: &mut Delays, now: Micros, queue: u32, offset: u32) {
        let (ours, theirs) = (50_000 + queue, 50_000_u32);
        delays.sample(now, ours.wrapping_add(offset), theirs.wrapping_sub(offset));
    }

    #[test]
    fn the_queue_is_what_is_above_the_base_whatever_the_clocks_say() {
        for offset in [0, 1, 77_777, u32::MAX - 60_000, 1 << 31, u32::MAX] {
            let mut delays = Delays::default();
            assert_eq!(delays.queue(), None);
            sample(&mut delays, 0, 0, offset);
            for at in 1..20 {
                sample(&mut delays, at * SECOND, 70_000, offset);
            }
            assert_eq!(delays.queue(), Some(70_000), "offset {offset}");
        }
    }

    #[test]
    fn one_late_sample_is_no_queue() {
        let mut delays = Delays::default();
        (0..5).for_each(|at| sample(&mut delays, at, 0, 9));
        sample(&mut delays, 5, 500_000, 9);
        assert_eq!(delays.queue(), Some(0));
    }

    #[test]
    fn a_base_is_forgotten_after_minutes() {
        let mut delays = Delays::default();
        sample(&mut delays, 0, 0, 9);
        let mut forgotten_at = None;
        for minute in 1..30 {
            sample(&mut delays, minute * MINUTE, 40_000, 9);
            if minute > RECENT as u64 && delays.queue() == Some(0) {
                forgotten_at.get_or_insert(minute);
            }
        }
        assert_eq!(forgotten_at, Some(HISTORY_MINUTES as u64));
    }

    #[test]
    fn drift_is_no_queue() {
        let mut delays = Delays::default();
        for second in 0..600_u32 {
            // Their clock gains 100 microseconds a second: 60 ms in ten minutes.
            sample(&mut delays, Micros::from(second) * SECOND, 0, second * 100);
        }
        assert!(delays.queue().unwrap() <= 1_000, "{:?}", delays.queue());
    }

    #[test]
    fn a_clock_that_jumps_is_no_queue() {
        for jump in [3_000_000, 40_000_000, 1 << 31, u32::MAX - 5_000_000] {
            let mut delays = Delays::default();
            (0..50).for_each(|at| sample(&mut delays, at * SECOND, 20_000, 7));
            sample(&mut delays, 50 * SECOND, 0, 7);
            // The packet in between has one half of the jump.
            delays.sample(51 * SECOND, 50_007, 50_000_u32.wrapping_sub(7).wrapping_sub(jump));
            for at in 52..60 {
                sample(&mut delays, at * SECOND, 0, 7_u32.wrapping_add(jump));
            }
            assert_eq!(delays.queue(), Some(0), "jump {jump}");
        }
    }

    #[test]
    fn an_unknown_delay_is_no_sample() {
        let mut delays = Delays::default();
        delays.sample(0, 0, 5);
        delays.sample(0, i32::MAX.cast_unsigned(), 5);
        assert_eq!(delays.queue(), None);
    }
}
