//! The announce schedule: whatever trackers answer and whenever, nobody is asked twice at once, no
//! timer lies in the past, and a stopped schedule says nothing.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tracker::{Due, Failure, Policy, Prompt, Retry, Schedule, ScheduleConfig, TRACKERS_MAX, http};

fuzz_target!(|input: &[u8]| {
    let url = |n: u8| format!("http://{n}.example/announce");
    let tiers = vec![vec![url(0), url(1)], vec![url(2)], vec![url(3), url(4)]];
    let policy = if input.len() % 2 == 0 { Policy::AllTiers } else { Policy::FirstWorking };
    let config = ScheduleConfig { tiers, policy, complete: false, seed: 5 };
    let mut schedule = Schedule::new(Duration::ZERO, config);
    let mut now = Duration::ZERO;
    let mut asked: Vec<Due> = Vec::new();
    for step in input.chunks_exact(3) {
        let [what, a, b] = *step else { return };
        let seconds = Duration::from_secs(u64::from(a) << (b % 12));
        match what % 10 {
            0 | 1 => now += seconds,
            2 | 3 if !asked.is_empty() => {
                let due = asked.swap_remove(usize::from(a) % asked.len());
                // As it comes: what a driver hands over went through the parser.
                let seconds = seconds.as_secs();
                let min =
                    if b & 1 == 0 { format!("12:min intervali{seconds}e") } else { String::new() };
                let reply = format!("d8:intervali{seconds}e{min}5:peers0:e");
                if let Ok(reply) = http::parse_announce(reply.as_bytes()) {
                    schedule.succeeded(now, due.tracker, &reply);
                }
            }
            4 | 5 if !asked.is_empty() => {
                let due = asked.swap_remove(usize::from(a) % asked.len());
                let retry = match b % 4 {
                    0 => Retry::Never,
                    1 => Retry::After(seconds),
                    _ => Retry::Default,
                };
                schedule.failed(now, due.tracker, &Failure { message: "no".into(), retry });
            }
            6 => {
                let prompts = [Prompt::User, Prompt::FewPeers, Prompt::Moved];
                schedule.announce_now(now, prompts[usize::from(b % 3)]);
            }
            7 => {
                if b & 1 == 0 {
                    schedule.completed();
                } else {
                    schedule.set_peers_wanted(a & 1 == 0);
                }
            }
            8 => {
                schedule.stop();
                assert!(schedule.next(now).is_none() && schedule.next_timeout().is_none());
                asked.clear();
                schedule.restart(now, b & 1 == 0);
            }
            9 => {
                if a & 1 == 0 {
                    schedule.add(now, &url(b));
                } else {
                    let tiers: Vec<Vec<String>> = (0..b % 5).map(|n| vec![url(n ^ a)]).collect();
                    schedule.set_trackers(now, &tiers);
                    let left: Vec<_> = schedule.statuses().iter().map(|s| s.tracker).collect();
                    asked.retain(|due| left.contains(&due.tracker));
                }
            }
            _ => {}
        }
        while let Some(due) = schedule.next(now) {
            assert!(asked.iter().all(|other| other.tracker != due.tracker), "asked twice at once");
            asked.push(due);
        }
        assert!(schedule.next_timeout().is_none_or(|at| at > now), "a timer in the past");
        assert!(schedule.statuses().len() <= TRACKERS_MAX);
    }
});
