//! When a torrent has been seeded enough: by what it gave, for how long, or since nobody wants it.

use std::time::Duration;

use crate::{Action, Swarm};

/// When seeding ends. The first that is reached counts; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SeedLimits {
    /// Payload sent, in all runs, as a multiple of the bytes that are there.
    pub ratio: Option<f64>,
    /// Time of seeding, in all runs.
    pub time: Option<Duration>,
    /// Time of seeding without a byte sent, in this run: who starts it again wants it to seed.
    pub idle: Option<Duration>,
}

/// Which of the limits was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedLimit {
    /// As much was sent as was asked for.
    Ratio,
    /// It was seeded for as long as was asked for.
    Time,
    /// Nobody wanted anything for that long.
    Idle,
}

/// What was seeded in earlier runs, which limits count too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seeded {
    /// Payload bytes sent, while downloading or seeding.
    pub uploaded: u64,
    /// Time of seeding.
    pub time: Duration,
}

/// How the seeding goes.
#[derive(Default, PartialEq)]
pub(crate) struct Seeding {
    limits: SeedLimits,
    /// It downloads nothing, complete or not.
    only_seeds: bool,
    /// Before `since`, and in earlier runs.
    before: Seeded,
    since: Option<Duration>,
    last_upload: Duration,
    /// The owner was told.
    is_over: bool,
}

impl Seeding {
    /// It goes on, without limits and without a byte sent since.
    pub(crate) fn under_way(only_seeds: bool, since: Option<Duration>, before: Seeded) -> Self {
        Self { only_seeds, before, since, ..Self::default() }
    }

    pub(crate) fn only_seeds(&self) -> bool {
        self.only_seeds
    }

    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
    }

    pub(crate) fn before(&self) -> Seeded {
        self.before
    }

    /// Whether nothing else is to be known of it.
    pub(crate) fn is_blank(&self) -> bool {
        *self == Self::under_way(self.only_seeds, self.since, self.before)
    }

    /// When a limit of time is reached, if nothing is sent until then.
    fn ends_at(&self) -> Option<Duration> {
        let since = self.since.filter(|_| !self.is_over)?;
        let left = |time: Duration| time.saturating_sub(self.before.time);
        let time = self.limits.time.map(|time| since.saturating_add(left(time)));
        let last = self.last_upload.max(since);
        let idle = self.limits.idle.map(|idle| last.saturating_add(idle));
        time.into_iter().chain(idle).min()
    }

    /// How long it was seeded, and how long of that since the last byte.
    fn times(&self, now: Duration, since: Duration) -> (Duration, Duration) {
        let idle = now.saturating_sub(self.last_upload.max(since));
        let time = now.saturating_sub(since);
        (self.before.time.saturating_add(time), idle)
    }
}

impl Swarm {
    /// Sets when seeding ends, which is told once, by [`Action::SeededEnough`]. A torrent that
    /// `only_seeds` does so from the start, others when they are complete.
    pub fn set_seed_limits(&mut self, now: Duration, limits: SeedLimits, only_seeds: bool) {
        self.now = now;
        self.seeding.limits = limits;
        self.seeding.only_seeds = only_seeds;
        self.seeding.is_over = false;
        self.check_seed_limits();
    }

    /// What was seeded in earlier runs. To be told before the limits.
    pub fn set_seeded_before(&mut self, before: Seeded) {
        self.seeding.before = before;
    }

    /// When [`Swarm::tick`] is to look at the limits.
    pub(crate) fn seed_limit_at(&self) -> Option<Duration> {
        self.seeding.ends_at()
    }

    /// Payload was sent.
    pub(crate) fn seeded(&mut self) {
        self.seeding.last_upload = self.now;
        if self.seeding.limits.ratio.is_some() {
            self.check_seed_limits();
        }
    }

    pub(crate) fn check_seed_limits(&mut self) {
        let (now, seeds) = (self.now, self.is_complete() || self.seeding.only_seeds);
        if !seeds {
            if let Some(since) = self.seeding.since.take() {
                self.seeding.before.time = self.seeding.times(now, since).0;
            }
            return;
        }
        let since = *self.seeding.since.get_or_insert(now);
        let SeedLimits { ratio, time, idle } = self.seeding.limits;
        let wanted = ratio.map(|ratio| ratio * self.totals.verified as f64);
        let sent = self.seeding.before.uploaded.saturating_add(self.totals.uploaded) as f64;
        let (seeded, unwanted) = self.seeding.times(now, since);
        let reached = if wanted.is_some_and(|wanted| sent >= wanted && self.totals.verified > 0) {
            SeedLimit::Ratio
        } else if time.is_some_and(|time| seeded >= time) {
            SeedLimit::Time
        } else if idle.is_some_and(|idle| unwanted >= idle) {
            SeedLimit::Idle
        } else {
            return;
        };
        if !std::mem::replace(&mut self.seeding.is_over, true) {
            self.actions.push_back(Action::SeededEnough { limit: reached });
        }
    }
}
