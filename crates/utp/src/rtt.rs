//! Round trips, and when to stop waiting for an answer (RFC 6298, with the BEP's bounds).

use crate::seq::{MILLISECOND, Micros, SECOND};

/// Before a round trip was seen.
const RTO_START: Micros = SECOND;
/// Peers may hold acks back for 100 ms, and schedulers add to it.
const RTO_MIN: Micros = 500 * MILLISECOND;
const RTO_MAX: Micros = 30 * SECOND;
/// Doublings of the timeout.
const BACKOFF_MAX: u32 = 6;
/// Packets out of order by less than this, in microseconds, are not lost: threads and network cards
/// reorder by as much.
const REORDER_MIN: Micros = MILLISECOND;

#[derive(Debug, Default)]
pub(crate) struct Rtt {
    smoothed: Option<Micros>,
    variation: Micros,
    least: Micros,
    backoff: u32,
}

impl Rtt {
    /// A packet that was sent once was acknowledged after so long.
    pub(crate) fn sample(&mut self, rtt: Micros) {
        if rtt > self.timeout() {
            return; // the timeout would have come first: a clock jumped
        }
        self.backoff = 0;
        match self.smoothed {
            None => {
                (self.smoothed, self.variation, self.least) = (Some(rtt), rtt / 2, rtt);
            }
            Some(smoothed) => {
                let variation = self.variation.saturating_mul(3);
                self.variation = variation.saturating_add(smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some(smoothed.saturating_mul(7).saturating_add(rtt) / 8);
                self.least = self.least.min(rtt);
            }
        }
    }

    pub(crate) fn smoothed(&self) -> Option<Micros> {
        self.smoothed
    }

    /// How much later than others a packet may arrive without being lost.
    pub(crate) fn reorder(&self) -> Micros {
        (self.least / 4).max(REORDER_MIN)
    }

    /// How long to wait before everything in flight is taken for lost.
    pub(crate) fn timeout(&self) -> Micros {
        let base = self.smoothed.map_or(RTO_START, |smoothed| {
            smoothed.saturating_add(self.variation.saturating_mul(4)).max(RTO_MIN)
        });
        base.checked_shl(self.backoff).unwrap_or(RTO_MAX).min(RTO_MAX)
    }

    /// Waits twice as long the next time.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1).min(BACKOFF_MAX);
    }

    /// The peer answers again.
    pub(crate) fn answered(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trips_and_doubles() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), SECOND);
        rtt.sample(400 * MILLISECOND);
        assert_eq!(rtt.timeout(), 1_200 * MILLISECOND);
        (0..100).for_each(|_| rtt.sample(400 * MILLISECOND));
        assert_eq!(rtt.timeout(), RTO_MIN.max(rtt.smoothed().unwrap() + 4 * rtt.variation));
        let once = rtt.timeout();
        rtt.back_off();
        assert_eq!(rtt.timeout(), 2 * once);
        (0..40).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), RTO_MAX);
        rtt.answered();
        assert_eq!(rtt.timeout(), once);
    }
}
