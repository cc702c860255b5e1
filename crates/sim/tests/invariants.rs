//! Each invariant's check can fail: a driver that is broken on purpose is noticed, and by the check
//! that is meant to.

use sim::plan::{Behaviour, Broken, PeerPlan};
use sim::{Invariant, Plan, World, scenario, shrink};

fn broken(name: &str, seed: u64, how: Broken) -> Plan {
    Plan { broken: Some(how), ..scenario::plan(name, seed).unwrap() }
}

/// What the broken driver's runs are accused of.
fn accused(name: &str, how: Broken) -> Vec<Invariant> {
    let runs = (0..10).map(|seed| World::new(broken(name, seed, how)).run());
    runs.flat_map(|outcome| outcome.violations).map(|violation| violation.invariant).collect()
}

#[test]
fn data_that_is_not_hashed_is_announced_served_and_recorded() {
    let accused = accused("liars", Broken::SkipsTheHash);
    for invariant in [Invariant::Announced, Invariant::Served, Invariant::Recorded] {
        assert!(accused.contains(&invariant), "{invariant:?}");
    }
}

#[test]
fn durable_without_a_sync_is_noticed_when_it_is_recorded() {
    let accused = accused("power-loss", Broken::RecordsWithoutSync);
    assert!(accused.contains(&Invariant::Recorded));
    assert!(accused.contains(&Invariant::Believed), "and after the power came back");
}

#[test]
fn believing_what_was_only_written_is_noticed_after_a_power_cut() {
    let accused = accused("power-loss", Broken::BelievesAfterPowerLoss);
    assert!(accused.contains(&Invariant::Believed));
}

#[test]
fn a_budget_that_is_ignored_is_noticed() {
    assert!(accused("small-budget", Broken::IgnoresTheBudget).contains(&Invariant::Memory));
}

#[test]
fn an_innocent_that_is_banned_is_noticed() {
    assert!(accused("plain", Broken::BlamesTheInnocent).contains(&Invariant::Banned));
}

#[test]
fn a_private_torrent_that_dials_strangers_is_noticed() {
    assert!(accused("private", Broken::DialsStrangers).contains(&Invariant::Leaked));
    assert!(!accused("plain", Broken::DialsStrangers).contains(&Invariant::Leaked));
}

#[test]
fn an_address_that_is_dialled_too_often_is_noticed() {
    assert!(accused("firewalls", Broken::DialsAgain).contains(&Invariant::Dialled));
}

#[test]
fn a_transport_that_worked_and_is_not_tried_first_is_noticed() {
    assert!(accused("firewalls", Broken::ForgetsTheWay).contains(&Invariant::Way));
}

#[test]
fn a_download_that_never_ends_is_noticed() {
    assert!(accused("plain", Broken::LosesBlocks).contains(&Invariant::Unfinished));
}

#[test]
fn an_honest_peer_whose_messages_are_faults_is_noticed() {
    // Who changes lengths is no longer excused when it counts as honest.
    let mut plan = scenario::plan("byzantine", 0).unwrap();
    plan.broken = Some(Broken::SendsWrongLengths);
    plan.peers.retain(|peer| peer.behaviour == Behaviour::Honest);
    let outcome = World::new(plan).run();
    let is_fault = |violation: &sim::Violation| violation.invariant == Invariant::Fault;
    assert!(outcome.violations.iter().any(is_fault), "{:?}", outcome.violations);
}

#[test]
fn a_failing_run_is_made_smaller_and_still_fails() {
    let mut plan = broken("liars", 1, Broken::SkipsTheHash);
    plan.peers.extend([PeerPlan::leecher(100_000, 400_000); 3]);
    let (invariant, cut) = shrink::shrink(&plan).unwrap();
    let peers = plan.peers.len() - cut.peers.len();
    assert!(peers <= 5 && cut.pieces.is_some_and(|pieces| pieces < plan.pieces), "{cut:?}");
    assert!(shrink::broken_by(plan.cut(&cut)).contains(&invariant));
    assert!(shrink::shrink(&scenario::plan("plain", 0).unwrap()).is_none());
}
