//! When a mapping is asked for again: at half of its life, or sooner.

use std::time::Duration;

/// What is asked for: an hour, after which what a crash left behind is gone.
pub const LIFETIME_SECONDS: u32 = 3600;

/// A gateway that was restarted, or has another address, is noticed when it is asked next.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// However short a life a gateway gives, it is not asked without pause.
const SOONEST: Duration = Duration::from_secs(1);
/// After the first failure; doubles with each more. A gateway that restarts is asked again about as long
/// after that as it took.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// After a renewal that failed, at the soonest (RFC 6887, 11.2.1).
const RETRY_SOONEST: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_mins(30);

/// What follows from a try to map our port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Renewal {
    failures: u32,
}

impl Renewal {
    /// It is mapped for so long, if the gateway is to be believed: when to ask again.
    pub fn mapped(&mut self, seconds: u32) -> Duration {
        self.failures = 0;
        Duration::from_secs((seconds / 2).into()).clamp(SOONEST, LOOK_EVERY)
    }

    /// It is not: when to try again. What was mapped before and not renewed lasts for `left` more, in
    /// which it is tried more often.
    pub fn failed(&mut self, left: Duration) -> Duration {
        let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        if left.is_zero() {
            self.failures = self.failures.saturating_add(1);
            return wait;
        }
        let half = left.checked_div(2).unwrap_or_default();
        wait.min(half.max(RETRY_SOONEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_half_of_its_life_within_reason() {
        let mut renewal = Renewal::default();
        for (life, wait) in [(0, 1), (1, 1), (60, 30), (3600, 300), (u32::MAX, 300)] {
            assert_eq!(renewal.mapped(life), Duration::from_secs(wait), "{life}");
        }
    }

    #[test]
    fn failures_make_patient() {
        let mut renewal = Renewal::default();
        let waits: Vec<_> = (0..10).map(|_| renewal.failed(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        renewal.mapped(100);
        assert_eq!(renewal.failed(Duration::ZERO), RETRY_FIRST);
    }

    #[test]
    fn what_was_not_renewed_is_asked_for_while_it_lasts_and_then_anew() {
        let mut renewal = Renewal::default();
        renewal.mapped(40);
        let mut wait = |left| renewal.failed(Duration::from_secs(left)).as_secs();
        assert_eq!([1800, 18, 9, 1].map(&mut wait), [10, 9, 4, 4]);
        assert_eq!([0, 0, 0].map(wait), [10, 20, 40]);
    }
}
