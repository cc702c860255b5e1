//! BEP 12 order, events and timing in simulated time.

mod moves;

use super::tracker::{MIN_INTERVAL_DEFAULT, RETRY_FIRST, RETRY_MAX};
use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const HALF_HOUR: Duration = Duration::from_mins(30);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn urls(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    let url = |name: &&str| format!("http://{name}.example/announce");
    tiers.iter().map(|tier| tier.iter().map(url).collect()).collect()
}

fn schedule_as(policy: Policy, complete: bool, tiers: &[&[&str]]) -> Schedule {
    let tiers = urls(tiers);
    Schedule::new(at(0), ScheduleConfig { tiers, policy, complete, seed: 1 })
}

fn schedule(tiers: &[&[&str]]) -> Schedule {
    schedule_as(Policy::AllTiers, false, tiers)
}

fn reply() -> AnnounceReply {
    AnnounceReply::with_interval(HALF_HOUR)
}

fn name(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches(".example/announce").to_owned()
}

fn names(dues: &[Due]) -> Vec<String> {
    let mut names: Vec<String> = dues.iter().map(|due| name(&due.url)).collect();
    names.sort();
    names
}

fn all_due(schedule: &mut Schedule, now: Duration) -> Vec<Due> {
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn only(schedule: &mut Schedule, now: Duration) -> Due {
    let mut dues = all_due(schedule, now);
    assert_eq!(dues.len(), 1, "{dues:?}");
    dues.remove(0)
}

fn fail(schedule: &mut Schedule, now: Duration, due: &Due) {
    schedule.failed(now, due.tracker, &Failure::new("no route"));
}

fn order(schedule: &Schedule) -> Vec<String> {
    schedule.statuses().iter().map(|status| name(&status.url)).collect()
}

#[test]
fn started_first_then_regular_at_the_interval() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    assert_eq!((due.event, due.numwant), (Event::Started, NUMWANT));
    assert_eq!(schedule.next_timeout(), None, "in flight");
    schedule.succeeded(at(1), due.tracker, &reply());
    let next = schedule.next_timeout().unwrap();
    assert!((at(1_801)..=at(1_801 + 180)).contains(&next), "{next:?}: never early, 10 % late");
    assert_eq!(schedule.next(next.saturating_sub(at(1))), None);
    let due = only(&mut schedule, next);
    assert_eq!(due.event, Event::None);
}

#[test]
fn intervals_differ_between_torrents() {
    let next_at = |seed| {
        let tiers = urls(&[&["a"]]);
        let config = ScheduleConfig { tiers, policy: Policy::AllTiers, complete: false, seed };
        let mut schedule = Schedule::new(at(0), config);
        let due = only(&mut schedule, at(0));
        schedule.succeeded(at(0), due.tracker, &reply());
        schedule.next_timeout().unwrap()
    };
    let times: BTreeSet<Duration> = (0..20).map(next_at).collect();
    assert!(times.len() > 10, "{times:?}");
}

#[test]
fn started_is_repeated_until_answered() {
    let mut schedule = schedule(&[&["a"]]);
    let mut now = at(0);
    for _ in 0..5 {
        let due = only(&mut schedule, now);
        assert_eq!(due.event, Event::Started);
        fail(&mut schedule, now, &due);
        now = schedule.next_timeout().unwrap();
    }
}

#[test]
fn failures_back_off_to_an_hour() {
    let mut schedule = schedule(&[&["a"]]);
    let mut now = at(0);
    let mut expected = RETRY_FIRST;
    for _ in 0..20 {
        let due = only(&mut schedule, now);
        fail(&mut schedule, now, &due);
        let next = schedule.next_timeout().unwrap();
        let wait = next.saturating_sub(now);
        assert!(wait >= expected && wait <= expected * 5 / 4, "{wait:?} for {expected:?}");
        expected = (expected * 2).min(RETRY_MAX);
        now = next;
    }
    let due = only(&mut schedule, now);
    schedule.succeeded(now, due.tracker, &reply());
    now = schedule.next_timeout().unwrap();
    let due = only(&mut schedule, now);
    fail(&mut schedule, now, &due);
    assert!(schedule.next_timeout().unwrap() <= now + RETRY_FIRST * 5 / 4, "forgotten");
}

#[test]
fn completed_once_and_at_once() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    schedule.succeeded(at(0), due.tracker, &reply());
    schedule.completed();
    assert!(schedule.next_timeout().unwrap() <= at(10));
    let due = only(&mut schedule, at(10));
    assert_eq!(due.event, Event::Completed);
    fail(&mut schedule, at(10), &due);
    let due = only(&mut schedule, at(20));
    assert_eq!(due.event, Event::Completed, "until it is answered");
    schedule.succeeded(at(20), due.tracker, &reply());
    schedule.completed();
    let next = schedule.next_timeout().unwrap();
    assert!(next >= at(20) + HALF_HOUR);
    assert_eq!(only(&mut schedule, next).event, Event::None);
}

#[test]
fn never_completed_when_started_complete() {
    let mut schedule = schedule_as(Policy::AllTiers, true, &[&["a"]]);
    let due = only(&mut schedule, at(0));
    schedule.completed();
    schedule.succeeded(at(0), due.tracker, &reply());
    schedule.completed();
    assert_eq!(schedule.next(at(60)), None);
    assert_eq!(only(&mut schedule, at(3_600)).event, Event::None);
}

#[test]
fn completed_follows_a_started_on_its_way() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    schedule.completed();
    assert_eq!(schedule.next(at(1)), None, "one at a time");
    schedule.succeeded(at(2), due.tracker, &reply());
    assert_eq!(only(&mut schedule, at(2)).event, Event::Completed);
}

#[test]
fn a_backup_met_after_completion_hears_no_completed() {
    let mut schedule = schedule(&[&["a", "b"]]);
    let a = only(&mut schedule, at(0));
    schedule.succeeded(at(0), a.tracker, &reply());
    schedule.completed();
    let a = only(&mut schedule, at(1));
    schedule.succeeded(at(1), a.tracker, &reply());
    let now = schedule.next_timeout().unwrap();
    let a = only(&mut schedule, now);
    fail(&mut schedule, now, &a);
    let b = only(&mut schedule, now);
    assert_eq!(b.event, Event::Started);
    schedule.succeeded(now, b.tracker, &reply());
    assert_eq!(schedule.next(now + MINUTE), None);
}

#[test]
fn stopped_only_where_started_and_once() {
    let mut schedule = schedule(&[&["a"], &["b"], &["c"]]);
    let dues = all_due(&mut schedule, at(0));
    assert_eq!(names(&dues), ["a", "b", "c"]);
    for due in &dues {
        match name(&due.url).as_str() {
            "a" => schedule.succeeded(at(1), due.tracker, &reply()),
            "b" => fail(&mut schedule, at(1), due),
            _ => {} // still in flight: it may have arrived
        }
    }
    let stopped = schedule.stop();
    assert_eq!(names(&stopped), ["a", "c"]);
    assert!(stopped.iter().all(|due| due.event == Event::Stopped && due.numwant == 0));
    assert_eq!(schedule.stop(), []);
    assert_eq!((schedule.next(at(9_999)), schedule.next_timeout()), (None, None));
    schedule.failed(at(2), stopped[0].tracker, &Failure::new("timed out"));
    assert_eq!(schedule.next(at(9_999)), None);
}

#[test]
fn restart_begins_with_started_again() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    schedule.succeeded(at(0), due.tracker, &reply());
    schedule.completed();
    schedule.stop();
    schedule.restart(at(5), true);
    let due = only(&mut schedule, at(5));
    assert_eq!(due.event, Event::Started);
    schedule.succeeded(at(5), due.tracker, &reply());
    assert_eq!(schedule.next(at(60)), None, "completed belongs to the session before");
    assert_eq!(names(&schedule.stop()), ["a"]);
}

#[test]
fn every_tier_has_one_tracker_in_use() {
    let mut schedule = schedule(&[&["a", "b"], &["c", "d"]]);
    let dues = all_due(&mut schedule, at(0));
    assert_eq!(dues.len(), 2);
    for due in &dues {
        schedule.succeeded(at(0), due.tracker, &reply());
    }
    assert_eq!(schedule.next(at(60)), None, "the others are backups");
    let waiting = schedule.statuses().iter().filter(|s| s.next_announce.is_none()).count();
    assert_eq!(waiting, 2);
}

#[test]
fn a_tier_is_tried_in_order_and_the_working_one_promoted() {
    let mut schedule = schedule(&[&["a", "b", "c"]]);
    let before = order(&schedule);
    let first = only(&mut schedule, at(0));
    assert_eq!(name(&first.url), before[0]);
    fail(&mut schedule, at(0), &first);
    let second = only(&mut schedule, at(0));
    assert_eq!(name(&second.url), before[1]);
    fail(&mut schedule, at(0), &second);
    let third = only(&mut schedule, at(0));
    schedule.succeeded(at(0), third.tracker, &reply());
    let after = [before[2].clone(), before[0].clone(), before[1].clone()];
    assert_eq!(order(&schedule), after, "BEP 12's own example");
    assert_eq!(schedule.next(at(60)), None);
    let next = schedule.next_timeout().unwrap();
    assert_eq!(only(&mut schedule, next).tracker, third.tracker);
}

#[test]
fn tiers_are_shuffled_inside_once() {
    let orders: BTreeSet<Vec<String>> = (0..30)
        .map(|seed| {
            let tiers = urls(&[&["a", "b", "c"], &["d"]]);
            let policy = Policy::AllTiers;
            let config = ScheduleConfig { tiers, policy, complete: false, seed };
            let order = order(&Schedule::new(at(0), config));
            assert_eq!(order[3], "d", "tiers keep their order");
            order
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

#[test]
fn bep_12_policy_goes_to_the_next_tier_after_the_whole_tier_failed() {
    let mut schedule = schedule_as(Policy::FirstWorking, false, &[&["a", "b"], &["c"]]);
    let first = only(&mut schedule, at(0));
    fail(&mut schedule, at(0), &first);
    let second = only(&mut schedule, at(0));
    assert_ne!(name(&second.url), "c");
    fail(&mut schedule, at(0), &second);
    let third = only(&mut schedule, at(0));
    assert_eq!(name(&third.url), "c");
    schedule.succeeded(at(0), third.tracker, &reply());
    assert_eq!(schedule.next(at(60)), None, "the round is over");
    assert_eq!(order(&schedule)[2], "c", "promotion stays inside the tier");
    let next = schedule.next_timeout().unwrap();
    assert!(next >= HALF_HOUR);
    assert_eq!(only(&mut schedule, next).tracker, first.tracker, "the next begins at the top");
}

#[test]
fn retry_in_is_obeyed() {
    let mut schedule = schedule(&[&["a"], &["b"]]);
    let dues = all_due(&mut schedule, at(0));
    let later = ReplyError::refused(b"busy", Retry::After(MINUTE * 90));
    let never = ReplyError::refused(b"gone", Retry::Never);
    schedule.failed(at(0), dues[0].tracker, &(&later).into());
    schedule.failed(at(0), dues[1].tracker, &(&never).into());
    schedule.announce_now(at(10), Prompt::User);
    assert_eq!(schedule.next_timeout(), Some(MINUTE * 90));
    assert_eq!(only(&mut schedule, MINUTE * 90).tracker, dues[0].tracker);
    assert_eq!(schedule.next(at(1_000_000)), None);
    let statuses = schedule.statuses();
    assert_eq!(statuses[1].state, TrackerState::GivenUp);
    assert_eq!(statuses[1].last_error.as_deref(), Some("the tracker refused: gone"));
    assert_eq!(statuses[1].next_announce, None);
}

#[test]
fn prompts_respect_the_min_interval() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    let min_interval = Some(MINUTE * 10);
    schedule.succeeded(at(0), due.tracker, &AnnounceReply { min_interval, ..reply() });
    schedule.announce_now(at(30), Prompt::FewPeers);
    assert_eq!(schedule.next(at(30)), None);
    assert_eq!(schedule.next_timeout(), Some(MINUTE * 10));
    let due = only(&mut schedule, MINUTE * 10);
    assert_eq!(due.event, Event::None);
    schedule.succeeded(MINUTE * 10, due.tracker, &reply());
    schedule.announce_now(MINUTE * 10, Prompt::User);
    assert_eq!(schedule.next_timeout(), Some(MINUTE * 10 + MIN_INTERVAL_DEFAULT));
}

#[test]
fn min_interval_above_the_interval_wins() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    let min_interval = Some(HALF_HOUR * 4);
    schedule.succeeded(at(0), due.tracker, &AnnounceReply { min_interval, ..reply() });
    assert_eq!(schedule.next_timeout(), Some(HALF_HOUR * 4));
}

#[test]
fn the_user_ends_our_wait_after_failures_few_peers_do_not() {
    let mut schedule = schedule(&[&["a"]]);
    let mut now = at(0);
    for _ in 0..10 {
        let due = only(&mut schedule, now);
        fail(&mut schedule, now, &due);
        now = schedule.next_timeout().unwrap();
    }
    let due = only(&mut schedule, now);
    fail(&mut schedule, now, &due);
    let wait = schedule.next_timeout().unwrap();
    schedule.announce_now(now + MINUTE, Prompt::FewPeers);
    assert_eq!(schedule.next_timeout(), Some(wait));
    schedule.announce_now(now, Prompt::User);
    assert_eq!(schedule.next_timeout(), Some(now + RETRY_FIRST), "no hammering");
    schedule.announce_now(now + MINUTE, Prompt::User);
    assert_eq!(only(&mut schedule, now + MINUTE).tracker, due.tracker);
}

#[test]
fn tracker_id_is_sent_back_to_its_tracker_alone() {
    let mut schedule = schedule(&[&["a"], &["b"]]);
    for due in all_due(&mut schedule, at(0)) {
        assert_eq!(due.tracker_id, None);
        let tracker_id = (name(&due.url) == "a").then(|| b"xyz".to_vec());
        schedule.succeeded(at(0), due.tracker, &AnnounceReply { tracker_id, ..reply() });
    }
    for _ in 0..2 {
        schedule.announce_now(schedule.next_timeout().unwrap(), Prompt::User);
        for due in all_due(&mut schedule, at(1_000_000)) {
            let expected = (name(&due.url) == "a").then(|| b"xyz".to_vec());
            assert_eq!(due.tracker_id, expected);
            schedule.succeeded(at(1_000_000), due.tracker, &reply());
        }
    }
    let stopped = schedule.stop();
    assert_eq!(stopped[0].tracker_id.as_deref(), Some(&b"xyz"[..]));
}

#[test]
fn no_peers_are_asked_for_when_none_are_wanted() {
    let mut schedule = schedule(&[&["a"]]);
    schedule.set_peers_wanted(false);
    assert_eq!(only(&mut schedule, at(0)).numwant, 0);
}

#[test]
fn key_is_stable() {
    let mut schedule = schedule(&[&["a"]]);
    let key = schedule.key();
    schedule.stop();
    schedule.restart(at(1), false);
    assert_eq!(schedule.key(), key);
}

#[test]
fn replacing_trackers_keeps_what_stays_and_stops_what_goes() {
    let mut schedule = schedule(&[&["a"], &["b"], &["c"]]);
    for due in all_due(&mut schedule, at(0)) {
        if name(&due.url) == "c" {
            fail(&mut schedule, at(0), &due);
        } else {
            schedule.succeeded(at(0), due.tracker, &reply());
        }
    }
    let stopped = schedule.set_trackers(at(60), &urls(&[&["b"], &["d"]]));
    assert_eq!(names(&stopped), ["a"]);
    assert_eq!(order(&schedule), ["b", "d"]);
    let due = only(&mut schedule, at(60));
    assert_eq!((name(&due.url).as_str(), due.event), ("d", Event::Started));
    schedule.succeeded(at(61), stopped[0].tracker, &reply()); // a late report changes nothing
    assert!(schedule.add(at(61), " http://e.example/announce "));
    assert!(!schedule.add(at(61), "http://e.example/announce"));
    assert_eq!(name(&only(&mut schedule, at(61)).url), "e");
    assert_eq!(schedule.statuses()[2].tier, 2);
    schedule.succeeded(at(61), due.tracker, &reply());
    assert_eq!(names(&schedule.stop()), ["b", "d", "e"]);
}

#[test]
fn what_stays_goes_on_waiting_for_its_own_time() {
    for policy in [Policy::AllTiers, Policy::FirstWorking] {
        let mut schedule = schedule_as(policy, false, &[&["a"]]);
        let due = only(&mut schedule, at(0));
        schedule.succeeded(at(0), due.tracker, &reply());
        let next = schedule.next_timeout();
        schedule.set_trackers(at(600), &urls(&[&["a", "b"]]));
        assert_eq!(schedule.next_timeout(), next);
        assert_eq!(order(&schedule), ["a", "b"], "the one that works stays in front");
    }
}

#[test]
fn a_retry_at_once_is_no_busy_loop() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    let failure = Failure { message: "x".into(), retry: Retry::After(Duration::ZERO) };
    schedule.failed(at(0), due.tracker, &failure);
    assert_eq!(schedule.next_timeout(), Some(RETRY_FIRST));
}

#[test]
fn useless_and_repeated_urls() {
    let tiers = [
        vec![String::new(), "  ".into()],
        vec!["wss://w.example/announce".into(), "http://a.example/announce".into()],
        vec!["http://a.example/announce".into()],
    ];
    let mut schedule = schedule(&[]);
    assert_eq!(schedule.next_timeout(), None);
    schedule.set_trackers(at(0), &tiers);
    assert_eq!(name(&only(&mut schedule, at(0)).url), "a");
    let statuses = schedule.statuses();
    assert_eq!(statuses.len(), 2);
    let unusable = statuses.iter().find(|s| s.url.starts_with("wss")).unwrap();
    assert_eq!(unusable.state, TrackerState::GivenUp);
    assert_eq!(unusable.last_error.as_deref(), Some("`wss` trackers are not supported"));
}

#[test]
fn trackers_are_capped() {
    let many: Vec<Vec<String>> =
        (0..10_000).map(|n| vec![format!("http://{n}.example/")]).collect();
    let mut schedule = schedule(&[]);
    schedule.set_trackers(at(0), &many);
    assert_eq!(schedule.statuses().len(), TRACKERS_MAX);
    assert!(!schedule.add(at(0), "http://one.more/"));
}

#[test]
fn statuses_show_the_last_answer() {
    let mut schedule = schedule(&[&["a"]]);
    assert_eq!(schedule.statuses()[0].state, TrackerState::NotContacted);
    let due = only(&mut schedule, at(0));
    assert_eq!(schedule.statuses()[0].state, TrackerState::Announcing);
    let mut good = reply();
    good.add_compact_v4(&[192, 0, 2, 1, 0, 80]);
    (good.seeders, good.leechers) = (Some(3), Some(4));
    good.warning = Some("update your client".into());
    schedule.succeeded(at(7), due.tracker, &good);
    let status = &schedule.statuses()[0];
    assert_eq!(status.state, TrackerState::Working);
    assert_eq!((status.seeders, status.leechers, status.peers), (Some(3), Some(4), 1));
    assert_eq!(status.interval, Some(HALF_HOUR));
    assert_eq!(status.last_answer, Some(at(7)));
    assert_eq!(status.next_announce, schedule.next_timeout());
    assert_eq!(status.warning.as_deref(), Some("update your client"));
}
