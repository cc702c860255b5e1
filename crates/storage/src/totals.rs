//! What a torrent moved and for how long it ran, over all runs: what a share ratio and limits of
//! seeding are measured by. It says nothing of the data, so it is kept apart from what does: a seed
//! whose record is clean stays that, however much it sends.

use std::time::{Duration, Instant};

/// Sums over all runs. They only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Payload bytes sent to peers.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// Milliseconds that it ran, downloading or seeding.
    pub active_ms: u64,
    /// Milliseconds of them in which it had all that was wanted.
    pub seeding_ms: u64,
}

impl Totals {
    /// The greater of each: of two that were taken at different times, nobody knows which is later.
    pub(crate) fn max_of_each(self, other: Self) -> Self {
        Self {
            uploaded: self.uploaded.max(other.uploaded),
            downloaded: self.downloaded.max(other.downloaded),
            active_ms: self.active_ms.max(other.active_ms),
            seeding_ms: self.seeding_ms.max(other.seeding_ms),
        }
    }
}

/// Totals that grow while the torrent runs, without anybody counting for it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    totals: Totals,
    /// Up to when its time is in `totals`; `None` while it does not run.
    since: Option<Instant>,
    seeds: bool,
}

impl Meter {
    pub(crate) fn new(totals: Totals) -> Self {
        Self { totals, since: None, seeds: false }
    }

    /// As of `now`.
    pub(crate) fn at(&self, now: Instant) -> Totals {
        let mut totals = self.totals;
        let ran = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        totals.active_ms = totals.active_ms.saturating_add(ran_ms);
        if self.seeds {
            totals.seeding_ms = totals.seeding_ms.saturating_add(ran_ms);
        }
        totals
    }

    /// From now on it runs, and seeds or does not. True when that is news.
    pub(crate) fn run(&mut self, now: Instant, seeds: bool) -> bool {
        if self.since.is_some() && self.seeds == seeds {
            return false;
        }
        self.totals = self.at(now);
        (self.since, self.seeds) = (Some(now), seeds);
        true
    }

    /// From now on it does not run. True when it did.
    pub(crate) fn rest(&mut self, now: Instant) -> bool {
        self.totals = self.at(now);
        self.since.take().is_some()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Bytes were moved. True when it were any.
    pub(crate) fn moved(&mut self, uploaded: u64, downloaded: u64) -> bool {
        self.totals.uploaded = self.totals.uploaded.saturating_add(uploaded);
        self.totals.downloaded = self.totals.downloaded.saturating_add(downloaded);
        uploaded > 0 || downloaded > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_it_runs_and_as_seeding_while_it_seeds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let times = |meter: &Meter, ms| {
            let totals = meter.at(at(ms));
            (totals.active_ms, totals.seeding_ms)
        };
        let before = Totals { active_ms: 100, seeding_ms: 50, ..Totals::default() };
        let mut meter = Meter::new(before);
        assert_eq!(times(&meter, 10), (100, 50), "it does not run yet");
        assert!(meter.run(at(10), false) && !meter.run(at(11), false));
        assert_eq!(times(&meter, 30), (120, 50));
        assert!(meter.run(at(30), true));
        assert_eq!(times(&meter, 37), (127, 57));
        assert!(meter.moved(3, 0) && meter.moved(0, 7) && !meter.moved(0, 0));
        assert!(meter.rest(at(50)) && !meter.rest(at(60)));
        assert_eq!(times(&meter, 99), (140, 70));
        assert_eq!((meter.at(at(0)).uploaded, meter.at(at(0)).downloaded), (3, 7));
        assert!(!meter.is_running());
    }
}
