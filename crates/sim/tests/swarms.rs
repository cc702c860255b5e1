//! What a swarm is expected to do, by numbers: waste, sharing, who is banned, who is served.

use std::time::Duration;

use sim::plan::{Behaviour, Nat, PeerPlan, Start};
use sim::{Outcome, Plan, World};

const BLOCK: u64 = 16 * 1024;

fn plan(seed: u64, pieces: u32, peers: Vec<PeerPlan>) -> Plan {
    Plan { seed, pieces, blocks_per_piece: 4, peers, ..Plan::default() }
}

fn run(plan: Plan) -> Outcome {
    let outcome = World::new(plan).run();
    assert_eq!(outcome.violations, []);
    outcome
}

fn fast(behaviour: Behaviour, up: u64) -> PeerPlan {
    PeerPlan { behaviour, down: 20_000_000, ..PeerPlan::seed(up) }
}

#[test]
fn one_seed_and_one_leecher_waste_nothing() {
    for seed in 0..10 {
        let leecher = PeerPlan::leecher(1_000_000, 20_000_000);
        let outcome = run(plan(seed, 40, vec![PeerPlan::seed(10_000_000), leecher]));
        let sums = outcome.peers[1].sums;
        assert_eq!((sums.wasted, sums.downloaded), (0, 160 * BLOCK), "seed {seed}");
    }
}

#[test]
fn a_slow_seed_and_eight_leechers_share_and_waste_next_to_nothing() {
    for seed in 0..5 {
        let mut peers = vec![PeerPlan::seed(2_000_000)];
        peers.extend([PeerPlan::leecher(5_000_000, 20_000_000); 8]);
        let outcome = run(plan(seed, 200, peers));
        for peer in &outcome.peers[1..] {
            let waste = peer.sums.wasted as f64 / peer.sums.downloaded as f64;
            assert!(waste < 0.02, "seed {seed}: {waste}");
        }
        let copies = outcome.peers[0].sums.uploaded as f64 / (800 * BLOCK) as f64;
        assert!(copies < 3.0, "seed {seed}: the seed sent {copies} copies");
    }
}

#[test]
fn a_silent_and_a_slow_peer_do_not_hold_the_download_up() {
    for seed in 0..5 {
        let peers = vec![
            fast(Behaviour::Honest, 5_000_000),
            fast(Behaviour::Silent, 5_000_000),
            fast(Behaviour::Honest, 2_000),
            PeerPlan::leecher(5_000_000, 20_000_000),
        ];
        let outcome = run(plan(seed, 100, peers));
        assert!(outcome.took < Duration::from_secs(30), "seed {seed}: {:?}", outcome.took);
    }
}

#[test]
fn the_corrupting_peer_is_banned_and_nobody_else() {
    for seed in 0..10 {
        let peers = vec![
            fast(Behaviour::Corrupts(30), 5_000_000),
            fast(Behaviour::Honest, 3_000_000),
            fast(Behaviour::Honest, 3_000_000),
            PeerPlan::leecher(5_000_000, 20_000_000),
        ];
        let outcome = run(plan(seed, 60, peers));
        let corrupter = [10, 0, 1, 7].into();
        assert_eq!(outcome.banned, [(3, corrupter)], "seed {seed}");
    }
}

#[test]
fn who_gives_nothing_gets_only_turns_on_trust() {
    for seed in 0..3 {
        // The seed brings more than the leechers can pass on: their upload is what is scarce. Both it
        // and the one that gives nothing are behind a NAT, so that these two never meet. It comes last,
        // when the tracker knows the others, and nobody helps them through their NATs.
        let (nat, joins) = (Nat::Outgoing, Duration::from_secs(2));
        let mut peers = vec![PeerPlan { nat, joins, ..PeerPlan::seed(3_000_000) }];
        peers.extend([PeerPlan::leecher(300_000, 20_000_000); 6]);
        peers.push(PeerPlan { behaviour: Behaviour::Refuses, nat, joins, ..peers[1] });
        let mut plan = plan(seed, 2500, peers);
        plan.settings.upload_slots = 3;
        plan.settings.holepunch = false;
        plan.limit = Duration::from_mins(2); // in the middle: in the end all have everything
        let outcome = World::new(plan).run();
        let leech = outcome.peers[7].sums.downloaded;
        let fair = outcome.peers[1..7].iter().map(|peer| peer.sums.downloaded).sum::<u64>() / 6;
        assert!(leech * 2 < fair, "seed {seed}: {leech} of {fair}");
    }
}

#[test]
fn an_ablation_is_another_brain() {
    let run = |without| {
        let plan = sim::scale::Crowd::Flash.plan(1, 30, 64, without);
        World::new(plan).run().trace
    };
    let traces = sim::scale::VARIANTS.map(|(_, without)| run(without));
    assert!(traces[0] != traces[1] && traces[0] != traces[2] && traces[1] != traces[2]);
}

#[test]
fn a_last_piece_that_only_a_slow_peer_has_is_fetched_once() {
    for seed in 0..5 {
        let mut peers = vec![PeerPlan { start: Start::Without(3), ..PeerPlan::seed(2_000_000) }];
        peers.push(PeerPlan::seed(20_000));
        peers.push(PeerPlan::leecher(1_000_000, 20_000_000));
        let outcome = run(plan(seed, 32, peers));
        let sums = outcome.peers[2].sums;
        assert!(sums.wasted * 50 < sums.downloaded, "seed {seed}: {sums:?}");
    }
}

#[test]
fn a_swarm_stays_close_to_the_fluid_limit() {
    let crowd = sim::scale::Crowd::Flash;
    let plan = crowd.plan(3, 40, 256, swarm::Without::default());
    let limit = sim::scale::fluid_limit(&plan);
    let measured = sim::scale::measure("as it is", &plan);
    let last = measured.times.last().unwrap().as_secs_f64() / limit.as_secs_f64();
    assert_eq!(measured.unfinished, 0);
    assert!((1.0..2.0).contains(&last), "{last} times the limit");
    assert!(measured.duplicates < 0.02, "{}", measured.duplicates);
    let svg = sim::scale::plot("forty", limit, &[measured]);
    assert!(svg.starts_with("<svg") && svg.contains("fluid limit") && svg.ends_with("</svg>\n"));
}

#[test]
fn a_super_seed_sends_little_more_than_one_copy() {
    for seed in 0..5 {
        let mut peers = vec![PeerPlan::seed(1_000_000)];
        peers.extend([PeerPlan::leecher(1_000_000, 20_000_000); 8]);
        let mut plan = plan(seed, 200, peers);
        plan.settings.super_seed = true;
        let outcome = run(plan.clone());
        let size = (800 * BLOCK) as f64;
        let copies = outcome.peers[0].sums.uploaded as f64 / size;
        assert!(copies <= 1.10, "seed {seed}: the seed sent {copies} copies");
        plan.settings.super_seed = false;
        let usual = run(plan).peers[0].sums.uploaded as f64 / size;
        assert!(usual > copies, "seed {seed}: {usual} copies without");
        assert!(outcome.took < Duration::from_mins(2), "seed {seed}: {:?}", outcome.took);
    }
}

/// A super-seed much faster than those that come to it, of which the first is alone for a while.
fn first_and_others(seed: u64, others: usize) -> Plan {
    let leecher =
        PeerPlan { stays: Some(Duration::ZERO), ..PeerPlan::leecher(1_000_000, 20_000_000) };
    let mut peers = vec![PeerPlan::seed(20_000_000), leecher];
    let later = PeerPlan { joins: Duration::from_secs(20), ..leecher };
    peers.extend(std::iter::repeat_n(later, others));
    let mut plan = plan(seed, 200, peers);
    plan.settings.super_seed = true;
    plan
}

#[test]
fn who_comes_first_to_a_super_seed_does_not_leave_with_the_only_copy() {
    for seed in 0..5 {
        let outcome = run(first_and_others(seed, 7));
        let copies = outcome.peers[0].sums.uploaded as f64 / (800 * BLOCK) as f64;
        assert!((1.0..=1.10).contains(&copies), "seed {seed}: the seed sent {copies} copies");
        assert!(outcome.took < Duration::from_mins(2), "seed {seed}: {:?}", outcome.took);
    }
    // Who stays alone gets piece after piece, one a few round trips, and waits a minute for the last.
    let alone = run(first_and_others(0, 0)).took;
    assert!((60..180).contains(&alone.as_secs()), "{alone:?}");
}
