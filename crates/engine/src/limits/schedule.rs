//! Limits by the time of the week: which ones are in force, looked at each minute by the local clock.
//!
//! An hour that the clocks skip is skipped, and one that they have twice counts twice: a schedule is
//! about what the clock on the wall shows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Zoned;
use tokio::sync::Notify;

use super::times::Local;
use super::{Both, RateLimits, Times};

/// Limits for some times of the week, instead of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledLimits {
    /// When they are in force, by local time.
    pub times: Times,
    /// What they are: both directions, `None` is no limit.
    pub limits: RateLimits,
}

/// A session's limits: those of a schedule while one of its times holds, others otherwise.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    plan: Mutex<Plan>,
    /// The plan is another one.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Plan {
    usual: RateLimits,
    scheduled: Vec<ScheduledLimits>,
}

impl Plan {
    /// The first that holds.
    fn at(&self, now: Local) -> RateLimits {
        let holds = self.scheduled.iter().find(|rule| rule.times.hold(now));
        holds.map_or(self.usual, |rule| rule.limits)
    }
}

impl Schedule {
    pub(crate) fn set_usual(&self, limits: RateLimits, into: &Both) {
        let mut plan = self.lock();
        plan.usual = limits;
        into.set(plan.at(local(&Zoned::now())));
    }

    pub(crate) fn set_scheduled(&self, scheduled: Vec<ScheduledLimits>, into: &Both) {
        let mut plan = self.lock();
        plan.scheduled = scheduled;
        into.set(plan.at(local(&Zoned::now())));
        drop(plan);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps to the schedule for as long as the limits are there.
pub(crate) async fn keep(schedule: Arc<Schedule>, into: Weak<Both>) {
    keep_by(&schedule, &into, Zoned::now).await;
}

async fn keep_by(schedule: &Schedule, into: &Weak<Both>, clock: impl Fn() -> Zoned) {
    loop {
        let now = clock();
        let Some(into) = into.upgrade() else { return };
        let some = {
            let plan = schedule.lock();
            if !plan.scheduled.is_empty() {
                into.set(plan.at(local(&now)));
            }
            !plan.scheduled.is_empty()
        };
        drop(into);
        let next_minute = Duration::from_secs(60 - u64::from(now.second().unsigned_abs().min(59)));
        tokio::select! {
            () = tokio::time::sleep(next_minute), if some => {}
            () = schedule.changed.notified() => {}
        }
    }
}

fn local(now: &Zoned) -> Local {
    let weekday = now.weekday().to_monday_zero_offset().unsigned_abs();
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    Local { weekday, minute }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::TimeZone;
    use jiff::{Span, ToSpan};

    use super::*;

    const USUAL: RateLimits = RateLimits { download: Some(1_000_000), upload: None };
    const SLOW: RateLimits = RateLimits { download: Some(50_000), upload: Some(20_000) };

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// The minutes, of those from `begin` on, in which the slow limits are in force.
    async fn slow(times: &str, begin: Zoned, minutes: u32) -> u32 {
        let into = Arc::new(Both::default());
        let schedule = Arc::new(Schedule::default());
        let rule = ScheduledLimits { times: times.parse().unwrap(), limits: SLOW };
        *schedule.lock() = Plan { usual: USUAL, scheduled: vec![rule] };
        let start = tokio::time::Instant::now();
        let clock = move || {
            let passed: Span = i64::try_from(start.elapsed().as_millis()).unwrap().milliseconds();
            begin.checked_add(passed).unwrap()
        };
        let (held, kept) = (Arc::clone(&into), Arc::clone(&schedule));
        let keeping = tokio::spawn(async move {
            keep_by(&kept, &Arc::downgrade(&held), clock).await;
        });
        let mut slow = 0;
        for _ in 0..minutes {
            tokio::time::sleep(Duration::from_secs(30)).await; // amid each minute
            slow += u32::from(into.get() == SLOW);
            assert!(into.get() == SLOW || into.get() == USUAL);
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        keeping.abort();
        slow
    }

    #[tokio::test(start_paused = true)]
    async fn a_week_has_five_working_days() {
        let monday = date(2026, 11, 23).at(0, 0, 0, 0).to_zoned(berlin()).unwrap();
        assert_eq!(slow("mon-fri 08:00-18:00", monday.clone(), 7 * 24 * 60).await, 5 * 600);
        assert_eq!(slow("sat 22:00-06:00", monday, 7 * 24 * 60).await, 8 * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn nights_when_the_clocks_change_are_an_hour_shorter_and_longer() {
        let night = |month, day| date(2026, month, day).at(12, 0, 0, 0).to_zoned(berlin()).unwrap();
        assert_eq!(slow("00:00-06:00", night(3, 27), 24 * 60).await, 6 * 60);
        assert_eq!(slow("00:00-06:00", night(3, 28), 24 * 60).await, 5 * 60);
        assert_eq!(slow("00:00-06:00", night(10, 24), 24 * 60).await, 7 * 60);
        // The hour that is skipped is not there; the one that comes twice is slow twice.
        assert_eq!(slow("02:00-03:00", night(3, 28), 24 * 60).await, 0);
        assert_eq!(slow("02:00-03:00", night(10, 24), 24 * 60).await, 2 * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_time_that_holds_counts_and_a_new_plan_at_once() {
        let rule = |times: &str, download| ScheduledLimits {
            times: times.parse().unwrap(),
            limits: RateLimits { download: Some(download), upload: None },
        };
        let plan = Plan {
            usual: USUAL,
            scheduled: vec![rule("sat 00:00-24:00", 1), rule("00:00-24:00", 2)],
        };
        let noon = |weekday| plan.at(Local { weekday, minute: 720 }).download;
        assert_eq!((noon(5), noon(6)), (Some(1), Some(2)));
        let (schedule, into) = (Schedule::default(), Both::default());
        schedule.set_usual(USUAL, &into);
        assert_eq!(into.get(), USUAL);
        schedule.set_scheduled(vec![rule("00:00-24:00", 7)], &into);
        assert_eq!(into.get().download, Some(7));
        schedule.set_usual(SLOW, &into);
        assert_eq!(into.get().download, Some(7), "the schedule still holds");
        schedule.set_scheduled(Vec::new(), &into);
        assert_eq!(into.get(), SLOW);
    }
}
