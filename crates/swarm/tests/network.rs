//! Whole swarms of the real brain in one thread and in virtual time: a small network with latency
//! and bandwidth between them, one seed for everything.

#[path = "network/world.rs"]
mod world;

use std::time::Duration;

use world::{Behaviour, World};

const PIECE: u32 = 64 * 1024;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn one_seed_and_one_leecher() {
    for seed in 0..10 {
        let mut world = World::new(seed, 40 * u64::from(PIECE) - 1000, PIECE);
        let from = world.add(Behaviour::Honest, 10e6, true);
        let to = world.add(Behaviour::Honest, 10e6, false);
        world.connect(to, from);
        world.run_until_complete(seconds(60));
        let stats = world.stats(to);
        assert_eq!(stats.wasted, 0);
        assert_eq!(stats.downloaded, 40 * u64::from(PIECE) - 1000);
    }
}

#[test]
fn a_slow_seed_and_eight_leechers_waste_next_to_nothing() {
    for seed in 0..5 {
        let mut world = World::new(seed, 200 * u64::from(PIECE), PIECE);
        let first = world.add(Behaviour::Honest, 2e6, true);
        let others: Vec<_> = (0..8).map(|_| world.add(Behaviour::Honest, 5e6, false)).collect();
        for (at, &peer) in others.iter().enumerate() {
            world.connect(peer, first);
            for &other in &others[..at] {
                world.connect(peer, other);
            }
        }
        world.run_until_complete(seconds(300));
        for &peer in &others {
            let stats = world.stats(peer);
            let waste = stats.wasted as f64 / stats.downloaded as f64;
            assert!(waste < 0.02, "seed {seed}: {waste}");
        }
        let sent = world.stats(first).uploaded as f64 / (200.0 * f64::from(PIECE));
        assert!(sent < 3.0, "seed {seed}: the seed sent {sent} copies; leechers must share");
    }
}

#[test]
fn a_silent_and_a_slow_peer_do_not_hold_the_download_up() {
    for seed in 0..5 {
        let mut world = World::new(seed, 100 * u64::from(PIECE), PIECE);
        let good = world.add(Behaviour::Honest, 5e6, true);
        let silent = world.add(Behaviour::Silent, 5e6, true);
        let slow = world.add(Behaviour::Honest, 2e3, true);
        let to = world.add(Behaviour::Honest, 5e6, false);
        for other in [silent, slow, good] {
            world.connect(to, other);
        }
        let took = world.run_until_complete(seconds(120));
        assert!(took < seconds(30), "seed {seed}: {took:?}");
    }
}

#[test]
fn the_corrupting_peer_is_banned_and_nobody_else() {
    for seed in 0..10 {
        let mut world = World::new(seed, 60 * u64::from(PIECE), PIECE);
        let bad = world.add(Behaviour::Corrupts { percent: 30 }, 5e6, true);
        let good: Vec<_> = (0..3).map(|_| world.add(Behaviour::Honest, 3e6, true)).collect();
        let to = world.add(Behaviour::Honest, 5e6, false);
        world.connect(to, bad);
        for &other in &good {
            world.connect(to, other);
        }
        world.run_until_complete(seconds(300));
        assert!(world.banned(to).iter().all(|addr| *addr == world.addr(bad).ip()), "seed {seed}");
        assert_eq!(world.banned(to).len(), 1, "seed {seed}: the corrupter was not found");
    }
}

#[test]
fn who_gives_nothing_gets_only_turns_on_trust() {
    for seed in 0..3 {
        let mut world = World::new(seed, 3000 * u64::from(PIECE), PIECE);
        world.set_upload_slots(3);
        // The seed brings more than the leechers can pass on: their upload is what is scarce.
        let first = world.add(Behaviour::Honest, 3e6, true);
        let fair: Vec<_> = (0..6).map(|_| world.add(Behaviour::Honest, 3e5, false)).collect();
        let leech = world.add(Behaviour::Refuses, 3e5, false);
        let all: Vec<_> = fair.iter().copied().chain([leech]).collect();
        for (at, &peer) in all.iter().enumerate() {
            if peer != leech {
                world.connect(peer, first);
            }
            for &other in &all[..at] {
                world.connect(peer, other);
            }
        }
        world.run_for(seconds(120));
        let got = |peer| world.stats(peer).downloaded;
        let fair_mean = fair.iter().map(|peer| got(*peer)).sum::<u64>() / fair.len() as u64;
        assert!(got(leech) * 2 < fair_mean, "seed {seed}: {} of {fair_mean}", got(leech));
    }
}

#[test]
fn peers_may_come_and_go() {
    for seed in 0..5 {
        let mut world = World::new(seed, 100 * u64::from(PIECE), PIECE);
        let first = world.add(Behaviour::Honest, 3e6, true);
        let others: Vec<_> = (0..5).map(|_| world.add(Behaviour::Honest, 3e6, false)).collect();
        for round in 0..20 {
            for (at, &peer) in others.iter().enumerate() {
                world.connect(peer, first);
                for &other in &others[..at] {
                    world.connect(peer, other);
                }
            }
            world.run_for(Duration::from_millis(700));
            world.disconnect(others[round % others.len()]);
        }
        for (at, &peer) in others.iter().enumerate() {
            world.connect(peer, first);
            for &other in &others[..at] {
                world.connect(peer, other);
            }
        }
        world.run_until_complete(seconds(300));
    }
}

#[test]
fn a_small_reserve_is_never_a_deadlock() {
    for seed in 0..5 {
        let mut world = World::new(seed, 50 * u64::from(PIECE), PIECE);
        world.set_reserve_limit(2); // half a piece
        let good = world.add(Behaviour::Honest, 5e6, true);
        let other = world.add(Behaviour::Honest, 1e6, true);
        let to = world.add(Behaviour::Honest, 5e6, false);
        world.connect(to, good);
        world.connect(to, other);
        world.run_until_complete(seconds(120));
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut world = World::new(seed, 50 * u64::from(PIECE), PIECE);
        let first = world.add(Behaviour::Honest, 2e6, true);
        let others: Vec<_> = (0..4).map(|_| world.add(Behaviour::Honest, 2e6, false)).collect();
        for (at, &peer) in others.iter().enumerate() {
            world.connect(peer, first);
            for &other in &others[..at] {
                world.connect(peer, other);
            }
        }
        world.run_until_complete(seconds(120));
        world.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
