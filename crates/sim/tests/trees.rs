//! What swarms with hash trees (BEP 52) and web seeds (BEP 19) are expected to do, by who is banned and
//! what is wasted.

use std::net::IpAddr;
use std::time::Duration;

use metainfo::Format;
use sim::plan::{Behaviour, PeerPlan, Script, WebConduct, WebPlan};
use sim::{Outcome, Plan, World};

const BLOCK: u64 = 16 * 1024;

fn plan(seed: u64, format: Format, peers: Vec<PeerPlan>) -> Plan {
    Plan { seed, format, pieces: 40, blocks_per_piece: 8, files: 3, peers, ..Plan::default() }
}

fn run(plan: Plan) -> Outcome {
    let seed = plan.seed;
    let outcome = World::new(plan).run();
    assert_eq!(outcome.violations, [], "seed {seed}");
    outcome
}

fn fast(behaviour: Behaviour) -> PeerPlan {
    PeerPlan { behaviour, down: 20_000_000, ..PeerPlan::seed(3_000_000) }
}

fn leecher() -> PeerPlan {
    PeerPlan::leecher(3_000_000, 20_000_000)
}

fn address(node: u8) -> IpAddr {
    [10, 0, node + 1, 7].into()
}

const BOTH: [Format; 2] = [Format::V2, Format::Hybrid];

#[test]
fn one_bad_block_is_enough_to_know_its_sender_and_costs_nobody_else_a_block() {
    for (seed, format) in (0..10).zip(BOTH.into_iter().cycle()) {
        let liar = fast(Behaviour::Corrupts(20));
        let peers = vec![fast(Behaviour::Honest), liar, fast(Behaviour::Honest), leecher()];
        let outcome = run(plan(seed, format, peers));
        assert_eq!(outcome.banned, [(3, address(1))], "seed {seed}");
        // What was on its way when it was found out, and not a piece of 8 blocks.
        let failed = outcome.peers[3].sums.failed / BLOCK;
        assert!((1..8).contains(&failed), "seed {seed}: {failed} blocks failed");
    }
}

#[test]
fn who_gives_false_hashes_is_banned_at_the_first_and_nobody_else() {
    for (seed, format) in (0..10).zip(BOTH.into_iter().cycle()) {
        let peers = vec![fast(Behaviour::Honest), fast(Behaviour::FalseHashes(100)), leecher()];
        let mut plan = plan(seed, format, peers);
        plan.lacks_layers = seed % 4 < 2;
        let outcome = run(plan);
        assert_eq!(outcome.banned, [(2, address(1))], "seed {seed}");
        assert_eq!(outcome.peers[2].sums.failed, 0, "its blocks were good");
    }
}

#[test]
fn who_gives_no_hashes_is_of_use_all_the_same() {
    for (seed, rejects) in (0..6).zip([true, false].into_iter().cycle()) {
        // It alone has the data; what pieces have to be is known.
        let peers = vec![fast(Behaviour::NoHashes { rejects }), leecher()];
        let mut plan = plan(seed, Format::V2, peers);
        let outcome = World::new(plan.clone()).run();
        assert_eq!(outcome.violations, [], "seed {seed}");
        assert!(outcome.took < Duration::from_secs(30), "seed {seed}: {:?}", outcome.took);
        // Without piece layers nothing can be verified, so nothing may be fetched.
        plan.lacks_layers = true;
        plan.limit = Duration::from_mins(2);
        let outcome = World::new(plan).run();
        assert_eq!(outcome.peers[1].completed_at, None, "seed {seed}");
        assert!(outcome.banned.is_empty(), "seed {seed}: {:?}", outcome.banned);
    }
}

#[test]
fn layers_are_fetched_once_they_are_given() {
    for seed in 0..6 {
        let late = PeerPlan { joins: Duration::from_secs(20), ..fast(Behaviour::Honest) };
        let peers = vec![fast(Behaviour::NoHashes { rejects: true }), late, leecher()];
        let mut plan = plan(seed, Format::V2, peers);
        plan.lacks_layers = true;
        let outcome = run(plan);
        let took = outcome.peers[2].completed_at.unwrap();
        assert!((20..60).contains(&took.as_secs()), "seed {seed}: {took:?}");
    }
}

#[test]
fn v1_and_v2_peers_of_a_hybrid_serve_each_other() {
    for seed in 0..6 {
        let v1 = PeerPlan { v2: false, ..leecher() };
        let peers = vec![PeerPlan { v2: seed % 2 == 0, ..fast(Behaviour::Honest) }, v1, leecher()];
        let outcome = run(plan(seed, Format::Hybrid, peers));
        assert!(outcome.peers.iter().skip(1).all(|peer| peer.completed_at.is_some()));
        let uploaded = |peer: usize| outcome.peers[peer].sums.uploaded;
        assert!(uploaded(1) > 0 && uploaded(2) > 0, "seed {seed}");
    }
}

#[test]
fn questions_without_end_do_not_hold_a_swarm_up() {
    for seed in 0..4 {
        let among = |behaviour| {
            let mut peers = vec![PeerPlan::seed(300_000), leecher(), leecher()];
            peers.extend([fast(behaviour); 6]);
            run(plan(seed, Format::V2, peers)).took
        };
        // They give no data either.
        let (flooded, silent) =
            (among(Behaviour::Script(Script::HashFlood)), among(Behaviour::Silent));
        assert!(flooded < silent * 2, "seed {seed}: {flooded:?} and {silent:?}");
    }
}

/// The files of a v2 torrent leave their last pieces short, so that those behind are further on than
/// there are bytes.
#[test]
fn a_good_web_seed_alone_gives_everything_of_every_version() {
    for (seed, format) in (0..9).zip([Format::V1, Format::V2, Format::Hybrid].into_iter().cycle()) {
        let mut plan = plan(seed, format, vec![leecher()]);
        plan.web_seeds = vec![WebPlan { rate: 1_000_000, conduct: WebConduct::Good }];
        let outcome = run(plan);
        let sums = outcome.peers[0].sums;
        assert_eq!((sums.wasted, sums.failed), (0, 0), "seed {seed}");
        assert!(outcome.took < Duration::from_secs(30), "seed {seed}: {:?}", outcome.took);
    }
}

#[test]
fn servers_that_lack_a_file_each_have_everything_together() {
    for seed in 0..6 {
        let lacks = |file| WebPlan { rate: 500_000, conduct: WebConduct::Lacks(file) };
        // Each file begins a piece: of one that is in two files nobody has all.
        let mut plan = plan(seed, Format::V2, vec![leecher()]);
        plan.web_seeds = vec![lacks(0), lacks(1), lacks(0)];
        run(plan);
    }
}

#[test]
fn a_lying_web_seed_is_banned_and_no_other() {
    for (seed, format) in (0..6).zip([Format::V1, Format::Hybrid, Format::V2].into_iter().cycle()) {
        let web = |conduct| WebPlan { rate: 500_000, conduct };
        let mut plan = plan(seed, format, vec![fast(Behaviour::Honest), leecher()]);
        plan.web_seeds = vec![web(WebConduct::Good), web(WebConduct::Lies(30))];
        let outcome = run(plan);
        assert_eq!(outcome.banned, [(1, swarm::web_seed_ip(1))], "seed {seed}");
    }
}

#[test]
fn a_web_seed_that_is_back_is_asked_again() {
    let away = WebConduct::Away(Duration::ZERO, Duration::from_secs(30));
    let breaks = WebConduct::BreaksOff(60);
    for (seed, conduct) in (0..6).zip([away, breaks, WebConduct::Busy(20)].into_iter().cycle()) {
        let mut plan = plan(seed, Format::V1, vec![leecher()]);
        plan.web_seeds = vec![WebPlan { rate: 500_000, conduct }];
        let outcome = run(plan);
        assert!(conduct != away || outcome.took >= Duration::from_secs(29), "{:?}", outcome.took);
        assert_eq!(outcome.peers[0].sums.wasted, 0, "seed {seed}: it goes on where it broke off");
    }
}
