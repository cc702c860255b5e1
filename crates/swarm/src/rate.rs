//! Transfer rates without a tick: an exponentially weighted average that ages when it is looked at.

use std::time::Duration;

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(5);

/// A rate in bytes per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    weighted_bytes: f64,
    at: Duration,
    since: Duration,
}

impl Rate {
    pub(crate) fn new(now: Duration) -> Self {
        Self { weighted_bytes: 0.0, at: now, since: now }
    }

    pub(crate) fn add(&mut self, now: Duration, bytes: u32) {
        self.weighted_bytes = self.aged(now) + f64::from(bytes);
        self.at = now;
    }

    /// Bytes per second now. A young rate is not diluted by the time before it.
    pub(crate) fn get(&self, now: Duration) -> u64 {
        let age = now.saturating_sub(self.since).as_secs_f64().max(0.1);
        let window = WINDOW.as_secs_f64();
        let seen = window * (1.0 - (-age / window).exp());
        (self.aged(now) / seen) as u64
    }

    fn aged(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.weighted_bytes * (-passed / WINDOW.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_and_a_stopped_one_fades() {
        let mut rate = Rate::new(Duration::ZERO);
        for tenth in 1..=300 {
            rate.add(Duration::from_millis(tenth * 100), 100_000);
        }
        let now = Duration::from_secs(30);
        assert!((950_000..1_050_000).contains(&rate.get(now)), "{}", rate.get(now));
        assert!(rate.get(now + Duration::from_mins(1)) < 10);
    }

    #[test]
    fn a_young_rate_is_not_diluted() {
        let mut rate = Rate::new(Duration::from_secs(100));
        rate.add(Duration::from_millis(100_500), 500_000);
        let measured = rate.get(Duration::from_millis(100_500));
        assert!((900_000..1_200_000).contains(&measured), "{measured}");
    }
}
