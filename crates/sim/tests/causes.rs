//! One fault in each world: the one that suffers from it names it before all else.

use std::time::Duration;

use sim::plan::{Behaviour, Fault, FaultPlan, Nat, PeerPlan, Script};
use sim::{Plan, World};
use swarm::Spent;

/// A minute of a download of 160 MB from a seed, with what `change` does to it: what most of the
/// leecher's time went to.
fn most(seed: u64, change: impl Fn(&mut Plan)) -> Spent {
    let peers = vec![PeerPlan::seed(1_000_000), PeerPlan::leecher(500_000, 20_000_000)];
    let limit = Duration::from_mins(1);
    let mut plan =
        Plan { seed, pieces: 2500, blocks_per_piece: 4, peers, limit, ..Plan::default() };
    change(&mut plan);
    let outcome = World::new(plan).run();
    let lines = &outcome.spent[1];
    lines.iter().max_by_key(|line| line.time).expect("it ran").what
}

fn named(expected: Spent, change: impl Fn(&mut Plan)) {
    for seed in 0..5 {
        assert_eq!(most(seed, &change), expected, "seed {seed}");
    }
}

fn fault(plan: &mut Plan, fault: Fault) {
    let (at, lasts) = (Duration::from_secs(2), Duration::from_hours(1));
    plan.faults.push(FaultPlan { at, lasts, fault });
}

fn behaves(behaviour: Behaviour) -> impl Fn(&mut Plan) {
    move |plan| plan.peers[0].behaviour = behaviour
}

#[test]
fn nothing_is_wrong() {
    named(Spent::Sending, |_| {});
}

#[test]
fn the_disk_is_full() {
    named(Spent::Paused, |plan| fault(plan, Fault::DiskFull(1)));
}

#[test]
fn the_disk_fails() {
    named(Spent::Paused, |plan| fault(plan, Fault::WriteErrors(1)));
}

#[test]
fn the_disk_is_slow() {
    named(Spent::Disk, |plan| {
        fault(plan, Fault::SlowDisk(1, Duration::from_secs(20)));
    });
}

#[test]
fn memory_is_short() {
    named(Spent::Memory, |plan| {
        plan.budget_blocks = plan.blocks_per_piece; // one piece, which one of three can work on
        plan.peers.extend([PeerPlan::seed(1_000_000); 2]);
    });
}

#[test]
fn the_seed_takes_few_requests_and_is_far_away() {
    named(Spent::Window, |plan| {
        plan.settings.reqq = 4;
        plan.peers[0].up = 10_000_000;
        plan.latency = (Duration::from_millis(200), Duration::from_millis(220));
    });
}

#[test]
fn the_seed_chokes() {
    named(Spent::Choked, |plan| {
        plan.settings.without.optimistic_unchoke = true; // or it serves one on trust all the same
        plan.peers[0].behaviour = Behaviour::Refuses;
    });
}

#[test]
fn the_seed_never_answers() {
    named(Spent::Unanswered, behaves(Behaviour::Silent));
}

#[test]
fn the_seed_rejects_everything() {
    named(Spent::Rejecting, behaves(Behaviour::Script(Script::RejectsAll)));
}

#[test]
fn the_seed_sends_bad_data() {
    named(Spent::Banned, behaves(Behaviour::Corrupts(100)));
}

#[test]
fn there_is_no_seed() {
    named(Spent::NothingNew, |plan| plan.peers[0] = PeerPlan::leecher(500_000, 20_000_000));
}

#[test]
fn both_are_behind_a_nat() {
    named(Spent::Unreached, |plan| {
        plan.peers.iter_mut().for_each(|peer| peer.nat = Nat::Outgoing);
    });
}

#[test]
fn the_tracker_is_down() {
    named(Spent::NobodyKnown, |plan| {
        let lasts = Duration::from_hours(1);
        plan.faults.push(FaultPlan { at: Duration::ZERO, lasts, fault: Fault::TrackerDown });
    });
}
