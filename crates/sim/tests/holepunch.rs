//! Two peers behind NATs, and one in the open that has nothing to give and brings them together
//! (BEP 55).

use std::time::Duration;

use sim::plan::{Behaviour, Nat, PeerPlan};
use sim::{Plan, World};

fn run(seed: u64, holepunch: bool) -> sim::Outcome {
    let relay = PeerPlan { behaviour: Behaviour::Silent, ..PeerPlan::leecher(100_000, 100_000) };
    let behind_nat = |peer| PeerPlan { nat: Nat::Outgoing, ..peer };
    let mut plan = Plan {
        seed,
        peers: vec![
            relay,
            behind_nat(PeerPlan::seed(1_000_000)),
            behind_nat(PeerPlan::leecher(500_000, 1_000_000)),
        ],
        ..Plan::default()
    };
    plan.settings.holepunch = holepunch;
    World::new(plan).run()
}

#[test]
fn who_is_behind_a_nat_meets_who_is_behind_another() {
    for seed in 0..20 {
        let outcome = run(seed, true);
        let done = outcome.peers[2].completed_at;
        assert!(done.is_some_and(|at| at < Duration::from_secs(150)), "seed {seed}: {done:?}");
        assert_eq!(outcome.violations, [], "seed {seed}");
    }
}

#[test]
fn without_the_relay_they_do_not() {
    let outcome = run(1, false);
    assert_eq!(outcome.peers[2].completed_at, None);
}
