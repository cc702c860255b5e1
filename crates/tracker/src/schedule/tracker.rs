//! What a [`super::Schedule`] knows of one tracker: which events it is owed, when it may be asked
//! again, and what it said last.

use std::sync::Arc;
use std::time::Duration;

use super::{Failure, TrackerIndex, TrackerState, TrackerStatus};
use crate::announce::{AnnounceReply, Event, Retry};

/// First wait after a failure. Short: a tracker often learns of a new torrent seconds after the
/// user adds it, and until then answers "unregistered".
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(5);

/// Longest wait of our own choosing after repeated failures.
pub(super) const RETRY_MAX: Duration = Duration::from_hours(1);

/// Regular announces stay this far apart even when prompted, if the tracker names no
/// `min interval` of its own.
pub(super) const MIN_INTERVAL_DEFAULT: Duration = Duration::from_mins(2);

/// However often we move, nobody is told of it before its time more often than this.
pub(super) const MOVED_EVERY: Duration = Duration::from_mins(1);

/// Parts in a thousand added at most to an interval, so that torrents started together drift
/// apart. Never subtracted: before the interval only an event may be announced (BEP 15).
const INTERVAL_JITTER_PERMILLE: u32 = 100;

/// The same for waits after a failure, where a whole swarm retries at once.
const RETRY_JITTER_PERMILLE: u32 = 250;

/// One tracker of a torrent.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) url: Arc<str>,
    pub(super) in_flight: Option<Event>,
    /// The `tracker id` it gave, to be sent back.
    pub(super) given_id: Option<Vec<u8>>,
    last: Option<Last>,
    last_error: Option<String>,
    /// It answered a `started`, and got no `stopped` since.
    started: bool,
    /// It was told of us while pieces were missing, so it is to hear of the completion.
    met_incomplete: bool,
    completed_owed: bool,
    /// Failures in a row; the tracker is passed over until `retry_at` when above zero.
    failures: u32,
    retry_at: Duration,
    retry: Retry,
    failed_at: Duration,
    /// No regular announce before this.
    earliest: Duration,
    /// It was told where we are no longer.
    moved: bool,
    /// What is in flight says where we are now.
    telling: bool,
    /// Not told before its time, before this.
    moved_earliest: Duration,
}

/// What a tracker said in its last good answer.
#[derive(Debug)]
struct Last {
    at: Duration,
    next_at: Duration,
    interval: Duration,
    min_interval: Option<Duration>,
    seeders: Option<u32>,
    leechers: Option<u32>,
    peers: usize,
    warning: Option<String>,
}

impl Tracker {
    pub(super) fn new(url: &str) -> Self {
        let unusable = crate::tracker_url::parse(url).err();
        Self {
            url: url.into(),
            in_flight: None,
            given_id: None,
            last: None,
            retry: unusable.as_ref().map_or(Retry::Default, |_| Retry::Never),
            last_error: unusable.map(|error| error.to_string()),
            started: false,
            met_incomplete: false,
            completed_owed: false,
            failures: 0,
            retry_at: Duration::ZERO,
            failed_at: Duration::ZERO,
            earliest: Duration::ZERO,
            moved: false,
            telling: false,
            moved_earliest: Duration::ZERO,
        }
    }

    /// Whether it may be asked in this session at all (BEP 31 `never`, unusable URL).
    pub(super) fn is_usable(&self) -> bool {
        self.retry != Retry::Never
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether its last answer was good.
    pub(super) fn is_working(&self) -> bool {
        self.state() == TrackerState::Working
    }

    /// When its next regular announce is due, by its last answer.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.last.as_ref().filter(|_| self.started).map(|last| last.next_at)
    }

    /// For display; `turn`: when it will be asked, if it will.
    pub(super) fn status(
        &self,
        tracker: TrackerIndex,
        tier: usize,
        turn: Option<Duration>,
    ) -> TrackerStatus {
        let last = self.last.as_ref();
        TrackerStatus {
            tracker,
            tier,
            url: self.url.clone(),
            state: self.state(),
            last_error: self.last_error.clone(),
            warning: last.and_then(|last| last.warning.clone()),
            last_answer: last.map(|last| last.at),
            next_announce: turn,
            interval: last.map(|last| last.interval),
            min_interval: last.and_then(|last| last.min_interval),
            seeders: last.and_then(|last| last.seeders),
            leechers: last.and_then(|last| last.leechers),
            peers: last.map_or(0, |last| last.peers),
        }
    }

    fn state(&self) -> TrackerState {
        match self.in_flight {
            Some(_) => TrackerState::Announcing,
            None if !self.is_usable() => TrackerState::GivenUp,
            None if self.is_failing() => TrackerState::Failing,
            None if self.last.is_some() => TrackerState::Working,
            None => TrackerState::NotContacted,
        }
    }

    /// The event that its next announce carries.
    fn event(&self) -> Event {
        match (self.started, self.completed_owed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        }
    }

    /// When it may be asked, if its group's round begins at `round_at`.
    pub(super) fn ready_at(&self, round_at: Duration) -> Duration {
        let at = match self.event() {
            Event::Completed => Duration::ZERO,
            Event::None | Event::Paused => {
                let regular = round_at.max(self.earliest);
                if self.moved { regular.min(self.moved_earliest) } else { regular }
            }
            Event::Started | Event::Stopped => round_at,
        };
        if self.is_failing() { at.max(self.retry_at) } else { at }
    }

    /// Puts its next announce in flight.
    pub(super) fn begin(&mut self, now: Duration, complete: bool) -> Event {
        let event = self.event();
        self.telling = std::mem::take(&mut self.moved);
        if self.telling && now < self.earliest {
            self.moved_earliest = now.saturating_add(MOVED_EVERY);
        }
        self.met_incomplete |= !complete;
        self.in_flight = Some(event);
        event
    }

    /// Puts a `stopped` in flight if it needs one: it answered a `started`, or one is on its way
    /// and may well have arrived.
    pub(super) fn begin_stop(&mut self) -> bool {
        let owed = self.started || self.in_flight == Some(Event::Started);
        self.started = false;
        self.in_flight = owed.then_some(Event::Stopped);
        owed
    }

    pub(super) fn completed(&mut self) {
        self.completed_owed = self.met_incomplete;
    }

    /// What it was told of where we are is not true any more, if it was told.
    pub(super) fn moved(&mut self) {
        self.moved = self.started || self.in_flight.is_some();
    }

    /// Forgets a stopped session's events.
    pub(super) fn restart(&mut self) {
        self.in_flight = None;
        self.started = false;
        self.met_incomplete = false;
        self.completed_owed = false;
        self.failures = 0;
        (self.moved, self.telling) = (false, false);
    }

    /// Takes an answer to what was in flight; the time of the next regular announce, unless the
    /// answer was to a `stopped` or to nothing.
    pub(super) fn succeeded(
        &mut self,
        now: Duration,
        reply: &AnnounceReply,
        rng: &mut fastrand::Rng,
    ) -> Option<Duration> {
        match self.in_flight.take()? {
            Event::Stopped => return None,
            Event::Started => self.started = true,
            Event::Completed => {
                self.completed_owed = false;
                self.met_incomplete = false;
            }
            Event::None | Event::Paused => {}
        }
        self.failures = 0;
        self.last_error = None;
        if reply.tracker_id.is_some() {
            self.given_id.clone_from(&reply.tracker_id);
        }
        let min = reply.min_interval.unwrap_or(MIN_INTERVAL_DEFAULT.min(reply.interval));
        self.earliest = now.saturating_add(min);
        let interval = jittered(reply.interval, INTERVAL_JITTER_PERMILLE, rng);
        let next_at = now.saturating_add(interval);
        self.last = Some(Last {
            at: now,
            next_at,
            interval: reply.interval,
            min_interval: reply.min_interval,
            seeders: reply.seeders,
            leechers: reply.leechers,
            peers: reply.peers.len().saturating_add(reply.named_peers.len()),
            warning: reply.warning.clone(),
        });
        Some(next_at)
    }

    /// Takes a failure of what was in flight.
    pub(super) fn failed(&mut self, now: Duration, failure: &Failure, rng: &mut fastrand::Rng) {
        if matches!(self.in_flight.take(), None | Some(Event::Stopped)) {
            return;
        }
        let wait = match failure.retry {
            Retry::After(wait) => wait.max(RETRY_FIRST),
            Retry::Default | Retry::Never => {
                let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(16));
                jittered(doubled.min(RETRY_MAX), RETRY_JITTER_PERMILLE, rng)
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.moved |= std::mem::take(&mut self.telling);
        self.failed_at = now;
        self.retry_at = now.saturating_add(wait);
        self.retry = failure.retry;
        self.last_error = Some(failure.message.clone());
    }

    /// The user asks for an announce: our own patience after failures ends, the tracker's
    /// `retry in` and `min interval` stand.
    pub(super) fn hurry(&mut self, now: Duration) {
        if self.retry == Retry::Default {
            let soonest = now.max(self.failed_at.saturating_add(RETRY_FIRST));
            self.retry_at = self.retry_at.min(soonest);
        }
    }
}

/// `time` and up to `permille` thousandths more.
fn jittered(time: Duration, permille: u32, rng: &mut fastrand::Rng) -> Duration {
    let extra = time.saturating_mul(rng.u32(..=permille)).checked_div(1_000);
    time.saturating_add(extra.unwrap_or_default())
}
