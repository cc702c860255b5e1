//! How much we answer, whom, and how much we ask: a DHT node must not be a weapon against an
//! address that somebody forged, nor a burden for the line it shares.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Origin;

/// Fills at a rate up to a burst; taking needs what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Duration,
}

impl Allowance {
    pub(crate) fn new(now: Duration, per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, left: burst, at: now }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.at = now.max(self.at);
    }

    pub(crate) fn take(&mut self, now: Duration, amount: f64) -> bool {
        self.refill(now);
        let enough = self.left >= amount;
        if enough {
            self.left -= amount;
        }
        enough
    }

    /// When there will be `amount` again.
    pub(crate) fn ready_at(&self, amount: f64) -> Duration {
        let missing = ((amount - self.left).max(0.0) / self.per_second).min(3600.0);
        // A millisecond more, so that rounding never wakes somebody in vain.
        self.at
            .saturating_add(Duration::from_secs_f64(missing))
            .saturating_add(Duration::from_millis(1))
    }

    fn is_full(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left >= self.burst
    }
}

/// Limits for one source of queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceLimits {
    /// Answers a second in the long run.
    pub replies_per_second: f64,
    /// Answers at once.
    pub replies_burst: f64,
    /// Bytes of answers a second in the long run.
    pub bytes_per_second: f64,
    /// Bytes of answers at once.
    pub bytes_burst: f64,
}

impl Default for SourceLimits {
    /// An honest client asks one node a few times a minute, in bursts at its start. With a forged
    /// address a victim gets 4 KiB a second from us, less than the attacker could send himself.
    fn default() -> Self {
        Self {
            replies_per_second: 10.0,
            replies_burst: 50.0,
            bytes_per_second: 4096.0,
            bytes_burst: 32_768.0,
        }
    }
}

/// Sources remembered at once; one costs about 100 bytes.
const SOURCES_MAX: usize = 4096;

/// With all places taken, they are looked through no more often than this.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What each source has had of late.
#[derive(Debug)]
pub(crate) struct Sources {
    limits: SourceLimits,
    all: BTreeMap<Origin, (Allowance, Allowance)>,
    /// When room was last made: a flood of new sources must not have us look through all of them
    /// for each.
    forgot_at: Duration,
}

impl Sources {
    pub(crate) fn new(limits: SourceLimits) -> Self {
        Self { limits, all: BTreeMap::new(), forgot_at: Duration::ZERO }
    }

    /// Whether one more query from `origin` is looked at.
    pub(crate) fn may_ask(&mut self, now: Duration, origin: Origin) -> bool {
        self.of(now, origin).is_some_and(|(replies, _)| replies.take(now, 1.0))
    }

    /// Whether an answer of so many bytes may go to `origin`.
    pub(crate) fn may_get(&mut self, now: Duration, origin: Origin, bytes: usize) -> bool {
        self.of(now, origin).is_some_and(|(_, allowance)| allowance.take(now, bytes as f64))
    }

    /// Forgets who is entitled to everything again. Full of busy sources, newcomers wait.
    fn of(&mut self, now: Duration, origin: Origin) -> Option<&mut (Allowance, Allowance)> {
        if self.all.len() >= SOURCES_MAX && !self.all.contains_key(&origin) {
            if now.saturating_sub(self.forgot_at) >= FORGET_EVERY {
                self.forget(now);
            }
            if self.all.len() >= SOURCES_MAX {
                return None;
            }
        }
        let limits = self.limits;
        Some(self.all.entry(origin).or_insert_with(|| {
            (
                Allowance::new(now, limits.replies_per_second, limits.replies_burst),
                Allowance::new(now, limits.bytes_per_second, limits.bytes_burst),
            )
        }))
    }

    pub(crate) fn forget(&mut self, now: Duration) {
        self.forgot_at = now;
        self.all.retain(|_, (replies, bytes)| !(replies.is_full(now) && bytes.is_full(now)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::address::origin;

    fn from(n: u32) -> Origin {
        origin(SocketAddr::from((n.to_be_bytes(), 1)))
    }

    #[test]
    fn one_source_cannot_use_up_what_another_has() {
        let mut sources = Sources::new(SourceLimits::default());
        let (one, two) = (from(0x0808_0808), from(0x0909_0909));
        let got = (0..1000).filter(|_| sources.may_ask(Duration::ZERO, one)).count();
        assert_eq!(got, 50);
        assert!(sources.may_ask(Duration::ZERO, two));
        let later = Duration::from_secs(1);
        let got = (0..1000).filter(|_| sources.may_ask(later, one)).count();
        assert_eq!(got, 10);
    }

    #[test]
    fn the_number_of_sources_is_bounded_and_old_ones_make_room() {
        let mut sources = Sources::new(SourceLimits::default());
        let many = (0..100_000).filter(|n| sources.may_ask(Duration::ZERO, from(0x0800_0000 + n)));
        assert_eq!(many.count(), SOURCES_MAX);
        assert!(sources.may_ask(Duration::from_secs(10), from(0x0908_0808)));
        assert!(sources.all.len() < 10);
    }

    #[test]
    fn an_allowance_says_when_it_has_enough_again() {
        let mut allowance = Allowance::new(Duration::ZERO, 2.0, 1.0);
        assert!(allowance.take(Duration::ZERO, 1.0) && !allowance.take(Duration::ZERO, 1.0));
        let at = allowance.ready_at(1.0);
        assert!(!allowance.take(Duration::from_millis(490), 1.0));
        assert!(allowance.take(at, 1.0));
    }
}
