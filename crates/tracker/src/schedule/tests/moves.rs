//! Trackers hear of another port or address of ours at once, and never often.

use super::*;

/// A tracker that was told of us, whose `min interval` is not over for long.
fn told(schedule: &mut Schedule, now: Duration) {
    for due in all_due(schedule, now) {
        let mut reply = reply();
        reply.min_interval = Some(HALF_HOUR);
        schedule.succeeded(now, due.tracker, &reply);
    }
}

#[test]
fn another_port_is_told_once_and_at_once() {
    let mut schedule = schedule(&[&["a"], &["b"]]);
    told(&mut schedule, at(0));
    schedule.announce_now(at(10), Prompt::User);
    assert!(schedule.next_timeout().unwrap() >= HALF_HOUR, "the min interval stands");
    schedule.announce_now(at(20), Prompt::Moved);
    assert_eq!(schedule.next_timeout().unwrap().max(at(20)), at(20));
    let dues = all_due(&mut schedule, at(20));
    assert_eq!(names(&dues), ["a", "b"]);
    assert!(dues.iter().all(|due| due.event == Event::None), "{dues:?}");
    dues.iter().for_each(|due| schedule.succeeded(at(21), due.tracker, &reply()));
    assert_eq!(all_due(&mut schedule, at(100)), [], "once");
}

#[test]
fn who_moves_all_the_time_is_told_of_once_a_minute() {
    let mut schedule = schedule(&[&["a"]]);
    told(&mut schedule, at(0));
    let mut announces = Vec::new();
    for second in 1..=600 {
        schedule.announce_now(at(second), Prompt::Moved);
        announces.extend(all_due(&mut schedule, at(second)).iter().map(|_| second));
        let answered = schedule.statuses()[0].tracker;
        let mut reply = reply();
        reply.min_interval = Some(HALF_HOUR);
        schedule.succeeded(at(second), answered, &reply);
    }
    assert_eq!(announces, [1, 61, 121, 181, 241, 301, 361, 421, 481, 541]);
    assert_eq!(only(&mut schedule, at(601)).event, Event::None, "the last one is told too");
}

#[test]
fn an_announce_on_its_way_that_is_outdated_is_followed_by_another() {
    let mut schedule = schedule(&[&["a"]]);
    let due = only(&mut schedule, at(0));
    schedule.announce_now(at(1), Prompt::Moved);
    schedule.succeeded(at(2), due.tracker, &reply());
    assert_eq!(only(&mut schedule, at(2)).event, Event::None);
}

#[test]
fn a_move_that_nobody_took_is_told_again_but_to_nobody_who_knew_nothing() {
    let mut schedule = schedule(&[&["a"], &["b"]]);
    let dues = all_due(&mut schedule, at(0));
    let (a, b) = (&dues[0], &dues[1]);
    schedule.succeeded(at(0), a.tracker, &reply());
    let never = Failure { message: "gone".into(), retry: Retry::Never };
    schedule.failed(at(0), b.tracker, &never);
    schedule.announce_now(at(1), Prompt::Moved);
    let due = only(&mut schedule, at(1));
    fail(&mut schedule, at(2), &due);
    let again = schedule.next_timeout().unwrap();
    assert!((at(61)..at(70)).contains(&again), "{again:?}: when it may be told, not in its turn");
    let due = only(&mut schedule, again);
    schedule.succeeded(again, due.tracker, &reply());
    assert_eq!(all_due(&mut schedule, again + MINUTE), []);
}
