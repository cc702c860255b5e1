//! The DHT as a network (issue 5's figures): announce, then find, from a seed that is printed.

use sim::dht_network::{DhtPlan, run};

#[test]
fn two_hundred_nodes_find_who_announced_in_four_hops() {
    for seed in [1, 2] {
        let outcome = run(&DhtPlan::small(seed));
        assert_eq!(outcome.lookups, 200, "seed {seed}");
        assert!(outcome.is_good(), "seed {seed}: {outcome:?}");
        assert_eq!(outcome.lost_percent, 0, "seed {seed}: nobody is missing");
    }
}

#[test]
fn a_thousand_nodes_with_liars_and_churn_find_who_announced() {
    let outcome = run(&DhtPlan::large(1));
    assert!(outcome.lookups >= 98, "few vanish while they look: {outcome:?}");
    assert!(outcome.is_good(), "seed 1: {outcome:?}");
}

#[test]
fn one_seed_is_one_run() {
    let plan = |seed| DhtPlan { nodes: 60, liars: 6, torrents: 20, ..DhtPlan::large(seed) };
    let (first, again) = (run(&plan(7)), run(&plan(7)));
    assert_eq!(first, again);
    assert_ne!(first.trace, run(&plan(8)).trace);
}
