//! Rate limits: of the session and of each torrent, for payload in each direction.
//!
//! Nothing on a socket is held back. A download is limited where blocks are asked for and an upload
//! where requests are taken on, so messages other than blocks never wait, over TCP as over uTP. A
//! limit is a debt that time pays off: who finds it paid may move at least one block, which is then
//! owed. That is exact over time at any rate, however large a block is beside it.

mod schedule;
mod times;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub use schedule::ScheduledLimits;
pub(crate) use schedule::{Schedule, keep};
pub use times::{Times, TimesError};

/// How much time a limit saves up when nobody uses it: pauses of the scheduler cost nothing, and no
/// burst is longer.
const SAVED: Duration = Duration::from_millis(250);

/// The longest that anybody waits before it looks again: a limit may have been lifted meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Bytes a second in each direction; `None` is as fast as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// Payload received.
    pub download: Option<u64>,
    /// Payload sent.
    pub upload: Option<u64>,
}

/// One direction's limit, shared by all that it binds.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    /// Bytes a second; 0 is none.
    rate: AtomicU64,
    paid: Mutex<Paid>,
}

#[derive(Debug, Default)]
struct Paid {
    /// Bytes that may be moved; less than nothing is owed.
    bytes: f64,
    at: Duration,
}

impl Limit {
    pub(crate) fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
    }

    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Bytes that may be moved now, or how long nothing may.
    fn room(&self, now: Duration) -> Result<u64, Duration> {
        let Some(rate) = self.rate() else { return Ok(u64::MAX) };
        let paid = self.up_to(now, rate);
        if paid.bytes > 0.0 {
            return Ok(paid.bytes as u64);
        }
        // One byte more than what is owed.
        Err(Duration::from_secs_f64((1.0 - paid.bytes) / rate as f64).min(LOOK_AGAIN))
    }

    fn spend(&self, now: Duration, bytes: u64) {
        if let Some(rate) = self.rate() {
            self.up_to(now, rate).bytes -= bytes as f64;
        }
    }

    fn up_to(&self, now: Duration, rate: u64) -> MutexGuard<'_, Paid> {
        // One number after another: what a panicking thread leaves is of use.
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = rate as f64;
        let earned = now.saturating_sub(paid.at).as_secs_f64() * rate;
        paid.bytes = (paid.bytes + earned).min(SAVED.as_secs_f64() * rate);
        paid.at = paid.at.max(now);
        paid
    }
}

/// The limits of both directions.
#[derive(Debug, Default)]
pub(crate) struct Both {
    pub(crate) download: Limit,
    pub(crate) upload: Limit,
}

impl Both {
    pub(crate) fn set(&self, limits: RateLimits) {
        self.download.set(limits.download);
        self.upload.set(limits.upload);
    }

    pub(crate) fn get(&self) -> RateLimits {
        RateLimits { download: self.download.rate(), upload: self.upload.rate() }
    }

    fn limit(&self, way: Way) -> &Limit {
        match way {
            Way::Down => &self.download,
            Way::Up => &self.upload,
        }
    }
}

/// What binds one torrent: its own limits and the session's.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    session: Arc<Both>,
    /// Few of ten thousand torrents ever have limits of their own.
    own: OnceLock<Box<Both>>,
}

/// Which way payload goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Down,
    Up,
}

impl Bounds {
    pub(crate) fn within(session: &Arc<Both>) -> Self {
        Self { session: Arc::clone(session), own: OnceLock::new() }
    }

    pub(crate) fn set_own(&self, limits: RateLimits) {
        if limits != RateLimits::default() || self.own.get().is_some() {
            self.own.get_or_init(Box::default).set(limits);
        }
    }

    pub(crate) fn own(&self) -> RateLimits {
        self.own.get().map(|own| own.get()).unwrap_or_default()
    }

    fn limits(&self, way: Way) -> impl Iterator<Item = &Limit> {
        let both = self.own.get().map(|own| &**own).into_iter().chain([&*self.session]);
        both.map(move |both| both.limit(way))
    }

    /// Whether there is any limit.
    pub(crate) fn bind(&self, way: Way) -> bool {
        self.limits(way).any(|limit| limit.rate().is_some())
    }

    /// Bytes that may be moved now, at least 1, or how long nothing may. Without a limit, all there
    /// are.
    pub(crate) fn room(&self, way: Way, now: Duration) -> Result<u64, Duration> {
        let session = self.session.limit(way).room(now);
        let own = self.own.get().map_or(Ok(u64::MAX), |own| own.limit(way).room(now));
        match (own, session) {
            (Ok(own), Ok(session)) => Ok(own.min(session).max(1)),
            (Err(own), Err(session)) => Err(own.max(session)),
            (Err(wait), _) | (_, Err(wait)) => Err(wait),
        }
    }

    /// Records that these bytes are being moved, allowed or not.
    pub(crate) fn spend(&self, way: Way, now: Duration, bytes: u64) {
        self.limits(way).for_each(|limit| limit.spend(now, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 16 * 1024;

    /// Moves blocks for as long as it may, in steps of `step`, and gives the bytes a second.
    fn moved(bounds: &Bounds, seconds: u64, step: Duration) -> f64 {
        let (mut now, mut bytes) = (Duration::ZERO, 0);
        while now < Duration::from_secs(seconds) {
            match bounds.room(Way::Down, now) {
                Ok(room) => {
                    let taken = room.div_ceil(BLOCK).min(64) * BLOCK;
                    bounds.spend(Way::Down, now, taken);
                    bytes += taken;
                }
                Err(wait) => now += wait.max(step),
            }
        }
        bytes as f64 / seconds as f64
    }

    fn bounds(own: Option<u64>, session: Option<u64>) -> Bounds {
        let bounds = Bounds::default();
        bounds.set_own(RateLimits { download: own, upload: None });
        bounds.session.download.set(session);
        bounds
    }

    #[test]
    fn any_rate_is_kept_to_within_a_hundredth() {
        for rate in [8 * 1024, 100_000, 1_000_000, 100_000_000, 1_000_000_000] {
            for step in [1, 10, 100].map(Duration::from_millis) {
                let rate_moved = moved(&bounds(Some(rate), None), 200, step);
                let off = (rate_moved / rate as f64 - 1.0).abs();
                assert!(off < 0.01, "{rate} in steps of {step:?}: {rate_moved}");
            }
        }
    }

    #[test]
    fn the_tighter_of_two_limits_binds_and_two_share_one() {
        let step = Duration::from_millis(1);
        let tight = moved(&bounds(Some(50_000), Some(1_000_000)), 100, step);
        assert!((tight / 50_000.0 - 1.0).abs() < 0.02, "{tight}");
        let session = Arc::new(Both::default());
        session.download.set(Some(1_000_000));
        let (a, b) = (Bounds::within(&session), Bounds::within(&session));
        let (mut now, mut bytes) = (Duration::ZERO, [0, 0]);
        while now < Duration::from_secs(100) {
            for (bounds, bytes) in [&a, &b].into_iter().zip(&mut bytes) {
                if bounds.room(Way::Down, now).is_ok() {
                    bounds.spend(Way::Down, now, BLOCK);
                    *bytes += BLOCK;
                }
            }
            now += step;
        }
        let sum = (bytes[0] + bytes[1]) as f64 / 100.0;
        assert!((sum / 1_000_000.0 - 1.0).abs() < 0.02, "{bytes:?}");
    }

    #[test]
    fn without_a_limit_there_is_room_and_nothing_is_owed_later() {
        let bounds = bounds(None, None);
        assert!(!bounds.bind(Way::Down));
        bounds.spend(Way::Down, Duration::ZERO, 1 << 40);
        bounds.set_own(RateLimits { download: Some(1000), upload: None });
        assert!(bounds.bind(Way::Down) && !bounds.bind(Way::Up));
        assert!(bounds.room(Way::Down, Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_raised_limit_is_noticed_soon() {
        let bounds = bounds(Some(1), None);
        bounds.spend(Way::Down, Duration::ZERO, BLOCK);
        let wait = bounds.room(Way::Down, Duration::ZERO).unwrap_err();
        assert!(wait <= LOOK_AGAIN, "{wait:?}");
        bounds.set_own(RateLimits::default());
        assert!(bounds.room(Way::Down, Duration::ZERO).is_ok());
    }
}
