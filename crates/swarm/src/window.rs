//! How many bytes to keep requested from one peer: rate × latency, measured, never a fixed queue.

use std::time::Duration;

use metainfo::BLOCK_LENGTH;

/// The measuring interval.
const INTERVAL: Duration = Duration::from_millis(250);
/// Intervals over which the best rate counts: two seconds.
const INTERVALS: usize = 8;
/// Slow start ends when an interval brings less than this much more than the one before.
const GROWTH_MIN: f64 = 1.10;
/// The window is this much more than what is measured to be in flight, so that it can grow.
const HEADROOM: f64 = 1.5;
/// Time for which a peer is given work ahead of its latency: covers the pauses of both schedulers.
const SLACK: Duration = Duration::from_millis(50);
/// But no more than this many bytes: at gigabytes a second the slack would only fill caches.
const SLACK_BYTES_MAX: f64 = 4.0 * 1024.0 * 1024.0;
/// Below this rate a peer gets one second's worth at most, so that its blocks are not stuck in a
/// long queue when somebody faster could have them.
const SLOW_RATE: f64 = 2.0e6;
/// Blocks that are always allowed: enough to measure with.
const BLOCKS_MIN: u32 = 4;
/// Requests outstanding whatever a peer says it can queue: 256 MiB, the largest budget of a session by
/// default. It fills 10 Gbit/s over a tenth of a second, which holds 125 MB.
const REQUESTS_MAX: u32 = 16_384;
/// What a peer takes that does not say (libtorrent's default when `reqq` is absent).
const REQQ_DEFAULT: u32 = 250;
/// Requests to a web seed at most: 32 MiB, a second of what a fast server sends.
const WEB_SEED_REQUESTS: u32 = 2048;
/// Bytes at first: a range for each connection. Then at least a range at a time.
const WEB_SEED_BYTES_FIRST: u64 = 1024 * 1024;
const WEB_SEED_BYTES_MIN: u64 = 256 * 1024;
/// A window is what limits the rate when so much of it is what the rate and the shortest latency hold
/// in flight: it is refilled at four fifths, and one that is measured right is two thirds full.
const LIMITS_FROM: f64 = 0.75;
/// Bounds of the time after which a request is given to somebody else.
const TIMEOUT_MIN: Duration = Duration::from_secs(2);
const TIMEOUT_MAX: Duration = Duration::from_mins(1);
/// The time-out before anything was measured.
const TIMEOUT_START: Duration = Duration::from_secs(15);

/// One peer's request window.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    bytes: u64,
    bytes_cap: u64,
    slow_start: bool,
    snubbed: bool,
    interval_start: Duration,
    interval_bytes: u64,
    last_rate: f64,
    rates: [f64; INTERVALS],
    next_rate: usize,
    latency_min: Option<Duration>,
    latency_mean: f64,
    latency_deviation: f64,
    web_seed: bool,
}

impl Window {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            bytes: u64::from(BLOCKS_MIN * BLOCK_LENGTH),
            bytes_cap: u64::from(REQQ_DEFAULT * BLOCK_LENGTH),
            slow_start: true,
            snubbed: false,
            interval_start: now,
            interval_bytes: 0,
            last_rate: 0.0,
            rates: [0.0; INTERVALS],
            next_rate: 0,
            latency_min: None,
            latency_mean: 0.0,
            latency_deviation: 0.0,
            web_seed: false,
        }
    }

    /// That of a web seed: a range costs a round trip and several connections want one each, so it
    /// is asked for at least a second's worth.
    pub(crate) fn of_web_seed(now: Duration) -> Self {
        let mut window = Self::new(now);
        window.set_reqq(WEB_SEED_REQUESTS);
        window.web_seed = true;
        window
    }

    /// The peer said how many requests it queues.
    pub(crate) fn set_reqq(&mut self, reqq: u32) {
        let requests = reqq.clamp(1, REQUESTS_MAX);
        self.bytes_cap = u64::from(requests) * u64::from(BLOCK_LENGTH);
    }

    /// Bytes that may be outstanding.
    pub(crate) fn bytes(&self) -> u64 {
        if self.snubbed {
            return u64::from(BLOCK_LENGTH);
        }
        let floor = if self.web_seed { self.web_seed_floor() } else { 0 };
        self.bytes.max(floor).min(self.bytes_cap)
    }

    /// A second's worth. One that was not measured yet gets enough for all its connections.
    fn web_seed_floor(&self) -> u64 {
        match self.best_rate() as u64 {
            0 => WEB_SEED_BYTES_FIRST,
            rate => rate.max(WEB_SEED_BYTES_MIN),
        }
    }

    /// Requests that may be outstanding, whatever their size: the peer counts them, not bytes.
    pub(crate) fn requests_max(&self) -> u32 {
        u32::try_from(self.bytes_cap / u64::from(BLOCK_LENGTH)).unwrap_or(REQUESTS_MAX)
    }

    /// Whether the peer is not delivering what it was asked for.
    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// A request timed out.
    pub(crate) fn snub(&mut self) {
        self.snubbed = true;
        self.slow_start = false;
        self.bytes = u64::from(BLOCKS_MIN * BLOCK_LENGTH);
    }

    /// A requested block arrived `latency` after it was asked for.
    pub(crate) fn received(&mut self, now: Duration, bytes: u32, latency: Duration) {
        if self.snubbed {
            self.snubbed = false;
            self.interval_start = now;
            self.interval_bytes = 0;
        }
        let seconds = latency.as_secs_f64();
        if self.latency_min.is_none() {
            self.latency_mean = seconds;
            self.latency_deviation = seconds / 2.0;
        } else {
            let error = seconds - self.latency_mean;
            self.latency_mean += error / 8.0;
            self.latency_deviation += (error.abs() - self.latency_deviation) / 4.0;
        }
        self.latency_min = Some(self.latency_min.map_or(latency, |min| min.min(latency)));
        self.interval_bytes += u64::from(bytes);
        if self.slow_start {
            self.bytes = (self.bytes + u64::from(bytes)).min(self.bytes_cap);
        }
        let elapsed = now.saturating_sub(self.interval_start);
        if elapsed >= INTERVAL {
            self.interval_ends(now, elapsed);
        }
    }

    fn interval_ends(&mut self, now: Duration, elapsed: Duration) {
        let rate = self.interval_bytes as f64 / elapsed.as_secs_f64();
        if self.slow_start && self.last_rate > 0.0 && rate < self.last_rate * GROWTH_MIN {
            self.slow_start = false;
        }
        self.last_rate = rate;
        if let Some(slot) = self.rates.get_mut(self.next_rate) {
            *slot = rate;
        }
        self.next_rate = (self.next_rate + 1) % INTERVALS;
        self.interval_start = now;
        self.interval_bytes = 0;
        if !self.slow_start {
            self.bytes = self.steady();
        }
    }

    fn steady(&self) -> u64 {
        let rate = self.rates.iter().copied().fold(0.0, f64::max);
        let latency = self.latency_min.unwrap_or_default().as_secs_f64();
        let slack = (rate * SLACK.as_secs_f64()).min(SLACK_BYTES_MAX);
        let mut bytes = HEADROOM * (rate * latency + slack);
        if rate < SLOW_RATE {
            bytes = bytes.min(rate);
        }
        (bytes as u64).max(u64::from(BLOCKS_MIN * BLOCK_LENGTH))
    }

    /// The best rate of the last two seconds, in bytes per second.
    pub(crate) fn best_rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Whether more would come if more could be asked for at once.
    pub(crate) fn is_the_limit(&self) -> bool {
        let latency = self.latency_min.unwrap_or_default().as_secs_f64();
        self.best_rate() * latency >= LIMITS_FROM * self.bytes() as f64
    }

    /// The shortest time from request to block, once there was one.
    pub(crate) fn latency_min(&self) -> Option<Duration> {
        self.latency_min
    }

    /// How long a request may take before others may have it: four deviations above the mean.
    pub(crate) fn timeout(&self) -> Duration {
        if self.latency_min.is_none() {
            return TIMEOUT_START;
        }
        let seconds = self.latency_mean + 4.0 * self.latency_deviation;
        Duration::from_secs_f64(seconds.clamp(0.0, TIMEOUT_MAX.as_secs_f64())).max(TIMEOUT_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer behind a pipe of `rate` bytes a second and `rtt`: blocks leave it in order.
    /// Returns the share of the pipe that was used over the last second, and the longest queue of
    /// that second in bytes.
    fn run(rate: f64, rtt: Duration, reqq: u32, seconds: u64) -> (f64, u64) {
        let mut window = Window::new(Duration::ZERO);
        window.set_reqq(reqq);
        let block = u64::from(BLOCK_LENGTH);
        let mut queue = std::collections::VecDeque::new(); // (asked, arrives)
        let mut pipe_free = Duration::ZERO;
        let mut now = Duration::ZERO;
        let (mut late_bytes, mut longest) = (0, 0);
        let end = Duration::from_secs(seconds);
        while now < end {
            while (queue.len() as u64 + 1) * block <= window.bytes() {
                let starts = pipe_free.max(now + rtt / 2);
                pipe_free = starts + Duration::from_secs_f64(block as f64 / rate);
                queue.push_back((now, pipe_free + rtt / 2));
            }
            let (asked, arrives) = queue.pop_front().unwrap();
            now = arrives;
            window.received(now, BLOCK_LENGTH, now.saturating_sub(asked));
            if now + Duration::from_secs(1) > end {
                late_bytes += block;
                longest = longest.max(queue.len() as u64 * block);
            }
        }
        (late_bytes as f64 / rate, longest)
    }

    #[test]
    fn a_gigabit_over_a_tenth_of_a_second_stays_full() {
        let (used, _) = run(125e6, Duration::from_millis(100), 2000, 5);
        assert!(used > 0.9, "{used}");
    }

    #[test]
    fn ten_gigabit_over_a_tenth_of_a_second_is_as_full_as_the_peers_queue_allows() {
        for reqq in [500, 2000, 4096, u32::MAX] {
            let (used, _) = run(1.25e9, Duration::from_millis(100), reqq, 3);
            let allowed = f64::from(reqq) * f64::from(BLOCK_LENGTH) / (1.25e9 * 0.1);
            assert!(used > 0.9 * allowed.min(1.0), "{used} of {allowed}");
        }
    }

    #[test]
    fn a_slow_peers_queue_is_at_most_about_a_second() {
        let (used, longest) = run(200e3, Duration::from_millis(50), 2000, 30);
        assert!(used > 0.9, "{used}");
        assert!(longest <= 220_000, "{longest}");
    }

    #[test]
    fn a_snubbed_peer_gets_one_block_until_it_delivers() {
        let mut window = Window::new(Duration::ZERO);
        window.snub();
        assert_eq!(window.bytes(), u64::from(BLOCK_LENGTH));
        window.received(Duration::from_secs(9), BLOCK_LENGTH, Duration::from_secs(9));
        assert!(!window.is_snubbed() && window.bytes() > u64::from(BLOCK_LENGTH));
    }

    #[test]
    fn timeouts_follow_the_latency_within_bounds() {
        let mut window = Window::new(Duration::ZERO);
        assert_eq!(window.timeout(), TIMEOUT_START);
        for _ in 0..100 {
            window.received(Duration::ZERO, BLOCK_LENGTH, Duration::from_millis(20));
        }
        assert_eq!(window.timeout(), TIMEOUT_MIN);
        for _ in 0..100 {
            window.received(Duration::ZERO, BLOCK_LENGTH, Duration::from_mins(5));
        }
        assert_eq!(window.timeout(), TIMEOUT_MAX);
    }
}
