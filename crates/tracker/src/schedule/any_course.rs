//! Whatever happens to a schedule, in whatever order: the rules of BEP 3, 12 and 31 hold.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Due, Failure, Policy, Prompt, Schedule, ScheduleConfig, TrackerIndex, TrackerState,
    TrackerStatus,
};
use crate::announce::{AnnounceReply, Event, Retry};

const MINUTE: Duration = Duration::from_mins(1);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What a driver may do, in any order.
#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Succeed(usize, u64, Option<u64>),
    Fail(usize, Retry),
    Complete,
    Prompt(Prompt),
    PeersWanted(bool),
    StopAndRestart(bool),
    SetTrackers(Vec<Vec<u8>>),
    Add(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let retry = prop_oneof![
        4 => Just(Retry::Default),
        1 => Just(Retry::Never),
        1 => (0_u64..10_000).prop_map(|secs| Retry::After(at(secs))),
    ];
    let prompt = prop_oneof![Just(Prompt::User), Just(Prompt::FewPeers), Just(Prompt::Moved)];
    let tiers = prop::collection::vec(prop::collection::vec(0_u8..8, 0..4), 0..4);
    prop_oneof![
        8 => (0_u64..3_000).prop_map(Act::Wait),
        8 => (any::<usize>(), 0_u64..5_000, prop::option::of(0_u64..5_000))
            .prop_map(|(which, interval, min)| Act::Succeed(which, interval, min)),
        4 => (any::<usize>(), retry).prop_map(|(which, retry)| Act::Fail(which, retry)),
        1 => Just(Act::Complete),
        2 => prompt.prop_map(Act::Prompt),
        1 => any::<bool>().prop_map(Act::PeersWanted),
        1 => any::<bool>().prop_map(Act::StopAndRestart),
        1 => tiers.prop_map(Act::SetTrackers),
        1 => (0_u8..8).prop_map(Act::Add),
    ]
}

/// What one tracker has seen in this session.
#[derive(Debug, Default)]
struct Seen {
    started: bool,
    completed: bool,
    answered: Option<(Duration, Duration)>,
    /// It was told what is not true any more.
    moved: bool,
    telling: bool,
    told_early: Option<Duration>,
}

/// The rules of BEP 3, 12 and 31 as an outside judge.
#[derive(Debug, Default)]
struct Judge {
    seen: HashMap<TrackerIndex, Seen>,
    in_flight: Vec<Due>,
    given_up: Vec<TrackerIndex>,
    complete_from_start: bool,
    complete: bool,
}

impl Judge {
    fn announced(&mut self, now: Duration, due: Due) -> Result<(), TestCaseError> {
        let seen = self.seen.entry(due.tracker).or_default();
        prop_assert!(self.in_flight.iter().all(|other| other.tracker != due.tracker));
        prop_assert!(!self.given_up.contains(&due.tracker));
        match due.event {
            Event::Started => prop_assert!(!seen.started),
            Event::Completed => {
                prop_assert!(seen.started && !seen.completed && self.complete);
                prop_assert!(!self.complete_from_start);
            }
            Event::None => {
                prop_assert!(seen.started);
                let (answered, min) = seen.answered.unwrap();
                if seen.moved && now < answered + min {
                    let again = seen.told_early.map_or(at(0), |told| told + MINUTE);
                    prop_assert!(now >= again, "{now:?} before {again:?}");
                    seen.told_early = Some(now);
                } else {
                    prop_assert!(now >= answered + min, "{now:?} after {answered:?} + {min:?}");
                }
            }
            Event::Stopped => prop_assert!(false, "only from stop"),
            Event::Paused => prop_assert!(false, "for who announces to say"),
        }
        seen.telling = std::mem::take(&mut seen.moved);
        self.in_flight.push(due);
        Ok(())
    }

    fn prompted(&mut self, prompt: Prompt) {
        for (tracker, seen) in &mut self.seen {
            let is_asked = self.in_flight.iter().any(|due| due.tracker == *tracker);
            seen.moved |= prompt == Prompt::Moved && (seen.started || is_asked);
        }
    }

    fn stopped(&mut self, stopped: &[Due]) -> Result<(), TestCaseError> {
        for due in stopped {
            prop_assert_eq!(due.event, Event::Stopped);
            let on_its_way = |d: &Due| d.tracker == due.tracker && d.event == Event::Started;
            let seen = self.seen.remove(&due.tracker); // removed: a second stopped is an error
            prop_assert!(seen.is_some_and(|s| s.started || self.in_flight.iter().any(on_its_way)));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_course_of_events(
        seed: u64,
        complete: bool,
        all_tiers: bool,
        acts in prop::collection::vec(act(), 0..120),
    ) {
        let url = |n: &u8| format!("http://{n}.example/announce");
        let tiers = vec![vec![url(&0), url(&1)], vec![url(&2)], vec![url(&3), url(&4)]];
        let policy = if all_tiers { Policy::AllTiers } else { Policy::FirstWorking };
        let mut schedule = Schedule::new(at(0), ScheduleConfig { tiers, policy, complete, seed });
        let mut judge = Judge { complete_from_start: complete, complete, ..Judge::default() };
        let mut now = at(0);
        for act in acts {
            match act {
                Act::Wait(secs) => now += at(secs),
                Act::Succeed(which, interval, min) if !judge.in_flight.is_empty() => {
                    let due = judge.in_flight.swap_remove(which % judge.in_flight.len());
                    let mut reply = AnnounceReply::with_interval(at(interval));
                    reply.min_interval = min.map(at);
                    schedule.succeeded(now, due.tracker, &reply);
                    let floor = reply.min_interval.unwrap_or(MINUTE);
                    let seen = judge.seen.entry(due.tracker).or_default();
                    seen.started |= due.event == Event::Started;
                    seen.completed |= due.event == Event::Completed;
                    seen.answered = Some((now, floor));
                }
                Act::Fail(which, retry) if !judge.in_flight.is_empty() => {
                    let due = judge.in_flight.swap_remove(which % judge.in_flight.len());
                    schedule.failed(now, due.tracker, &Failure { message: "x".into(), retry });
                    let seen = judge.seen.entry(due.tracker).or_default();
                    seen.moved |= std::mem::take(&mut seen.telling);
                    if retry == Retry::Never {
                        judge.given_up.push(due.tracker);
                        let given_up = |s: &TrackerStatus| {
                            s.tracker != due.tracker || s.state == TrackerState::GivenUp
                        };
                        prop_assert!(schedule.statuses().iter().all(given_up));
                    }
                }
                Act::Succeed(..) | Act::Fail(..) => {}
                Act::Complete => {
                    schedule.completed();
                    judge.complete = true;
                }
                Act::Prompt(prompt) => {
                    schedule.announce_now(now, prompt);
                    judge.prompted(prompt);
                }
                Act::PeersWanted(wanted) => schedule.set_peers_wanted(wanted),
                Act::StopAndRestart(complete) => {
                    judge.stopped(&schedule.stop())?;
                    prop_assert!(schedule.stop().is_empty());
                    prop_assert_eq!(schedule.next(now), None);
                    judge.in_flight.clear();
                    judge.seen.clear();
                    (judge.complete, judge.complete_from_start) = (complete, complete);
                    schedule.restart(now, complete);
                }
                Act::SetTrackers(tiers) => {
                    let tiers: Vec<Vec<String>> =
                        tiers.iter().map(|tier| tier.iter().map(url).collect()).collect();
                    judge.stopped(&schedule.set_trackers(now, &tiers))?;
                    let left: Vec<_> = schedule.statuses().iter().map(|s| s.tracker).collect();
                    judge.in_flight.retain(|due| left.contains(&due.tracker));
                }
                Act::Add(n) => {
                    schedule.add(now, &url(&n));
                }
            }
            while let Some(due) = schedule.next(now) {
                judge.announced(now, due)?;
            }
            // Never a timer in the past: that would be a busy loop.
            prop_assert!(schedule.next_timeout().is_none_or(|at| at > now));
            let statuses = schedule.statuses();
            let announcing = statuses.iter().filter(|s| s.state == TrackerState::Announcing);
            prop_assert_eq!(announcing.count(), judge.in_flight.len());
            // Something is always to come, unless there is nobody to ask.
            let asleep = judge.in_flight.is_empty() && schedule.next_timeout().is_none();
            prop_assert!(!asleep || statuses.iter().all(|s| s.state == TrackerState::GivenUp));
        }
    }
}
