//! Every scenario under many seeds, and that one seed is one run.

use sim::plan::Speaks;
use sim::{World, scenario};

/// Seeds of each of the scenarios: 300 runs.
const SEEDS: u64 = 10;

#[test]
fn every_invariant_holds_in_every_scenario() {
    let mut failed = Vec::new();
    let mut runs = 0;
    for (name, make) in scenario::ALL {
        for seed in 0..SEEDS {
            runs += 1;
            let outcome = World::new(make(seed)).run();
            if let Some(first) = outcome.violations.first() {
                failed.push(format!("{name}, seed {seed}: {first}"));
            }
        }
    }
    assert!(runs >= 200, "{runs} runs");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Two peers passed the only piece that the budget had room for to and fro, for ever: silent ones,
/// and in the third one that takes pieces back before anything asked of it times out.
#[test]
fn peers_that_deliver_nothing_do_not_keep_the_only_open_piece_to_themselves() {
    for seed in [1419, 2991, 3446] {
        let mut plan = scenario::plan("everything", seed).unwrap();
        // As they were when they failed.
        (plan.ipv6, plan.udp_tracker) = (false, false);
        plan.peers.iter_mut().for_each(|peer| (peer.fast, peer.speaks) = (true, Speaks::Tcp));
        let outcome = World::new(plan).run();
        assert_eq!(outcome.violations, [], "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run() {
    for (name, make) in scenario::ALL {
        let run = |seed| World::new(make(seed)).run();
        let (first, again) = (run(77), run(77));
        assert_eq!(first, again, "{name}");
        assert_ne!(first.trace, run(78).trace, "{name}");
    }
}

/// The same number on every machine: changes of the code change it, and nothing else may.
#[test]
fn the_trace_does_not_depend_on_the_machine() {
    let run = |name| World::new(scenario::plan(name, 5).unwrap()).run().trace;
    let once = std::thread::spawn(move || run("churn")).join().unwrap();
    assert_eq!(once, run("churn"), "nothing of a thread or an address is in it");
}

#[test]
fn the_scenarios_do_what_they_are_named_for() {
    let count = |name: &str, which: fn(&sim::Outcome) -> bool| {
        (0..20)
            .filter(|seed| which(&World::new(scenario::plan(name, *seed).unwrap()).run()))
            .count()
    };
    let failed_pieces = |outcome: &sim::Outcome| outcome.peers.iter().any(|p| p.sums.failed > 0);
    assert!(count("liars", failed_pieces) >= 15, "wrong data arrives");
    assert!(
        count("liars", |outcome| !outcome.banned.is_empty()) >= 10,
        "and its senders are banned"
    );
    assert_eq!(count("plain", failed_pieces), 0);
    let slow = |outcome: &sim::Outcome| outcome.took.as_secs() >= 20;
    assert!(count("partition", slow) > count("plain", slow), "a partition costs time");
}

#[test]
fn seeds_differ_in_addresses_trackers_and_extensions() {
    let plans: Vec<_> =
        (0..SEEDS).flat_map(|seed| scenario::ALL.map(|(_, make)| make(seed))).collect();
    let count = |which: fn(&sim::Plan) -> bool| plans.iter().filter(|plan| which(plan)).count();
    assert!(count(|plan| plan.ipv6) >= 20);
    assert!(count(|plan| plan.udp_tracker) >= 20);
    assert!(count(|plan| plan.peers.iter().any(|peer| !peer.fast)) >= 20);
    let all =
        |plan: &sim::Plan| plan.ipv6 && plan.udp_tracker && plan.peers.iter().any(|p| !p.fast);
    assert!(count(all) > 0 && count(|plan| plan.peers.iter().all(|peer| peer.fast)) >= 20);
}
