//! Spreads a window over a round trip: a burst would fill the queue that LEDBAT keeps short.

use crate::seq::{MILLISECOND, Micros};

/// Faster than the window asks for, so that pacing is never what slows it down.
const HEADROOM: f64 = 1.25;
const HEADROOM_START: f64 = 2.0;
/// Timers are no finer than this: so much may leave together.
const GRAIN: f64 = 4.0 * MILLISECOND as f64;
const BURST_BYTES_MIN: f64 = 16_000.0;

#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes that may leave now.
    room: f64,
    /// Bytes a microsecond; zero when it is not known.
    rate: f64,
    counted_at: Micros,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { room: BURST_BYTES_MIN, rate: 0.0, counted_at: 0 }
    }

    /// Sets the rate by what may be in flight and how long a round trip takes.
    pub(crate) fn set(&mut self, now: Micros, window: usize, rtt: Option<Micros>, starts: bool) {
        self.count(now);
        let headroom = if starts { HEADROOM_START } else { HEADROOM };
        self.rate = rtt.map_or(0.0, |rtt| window as f64 * headroom / rtt.max(1) as f64);
    }

    fn count(&mut self, now: Micros) {
        let passed = now.saturating_sub(self.counted_at) as f64;
        self.counted_at = self.counted_at.max(now);
        let most = (self.rate * GRAIN).max(BURST_BYTES_MIN);
        self.room = (self.room + passed * self.rate).min(most);
    }

    /// Whether a packet may leave. What is over is paid later, so any size is possible.
    pub(crate) fn allows(&mut self, now: Micros) -> bool {
        self.count(now);
        self.rate == 0.0 || self.room > 0.0
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.rate > 0.0 {
            self.room -= bytes as f64;
        }
    }

    /// When a packet may leave again.
    pub(crate) fn due(&self) -> Micros {
        if self.rate == 0.0 || self.room > 0.0 {
            return self.counted_at;
        }
        let wait = (-self.room + self.rate * GRAIN / 2.0) / self.rate;
        self.counted_at.saturating_add(wait as u64).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_most_of_a_round_trip() {
        let mut pace = Pace::new();
        let (window, rtt) = (1_000_000, 100 * MILLISECOND);
        let (mut now, mut sent) = (0, 0);
        pace.set(now, window, Some(rtt), false);
        while sent < window {
            if pace.allows(now) {
                pace.sent(1_000);
                sent += 1_000;
            } else {
                assert!(pace.due() > now);
                now = pace.due();
            }
        }
        assert!((rtt * 7 / 10..rtt).contains(&now), "{now}");
    }

    #[test]
    fn without_a_round_trip_nothing_waits() {
        let mut pace = Pace::new();
        for _ in 0..1_000 {
            assert!(pace.allows(0));
            pace.sent(1_000);
        }
    }
}
