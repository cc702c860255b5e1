//! The scenarios: each makes a plan from a seed, so that its seeds differ in sizes, rates and times.

mod transports;
mod trees;
mod web;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::{Behaviour, Fault, FaultPlan, Nat, PeerPlan, Plan, Script, Start};

/// Makes a plan from a seed.
pub type Make = fn(u64) -> Plan;

/// Names and makers of all scenarios.
pub const ALL: [(&str, Make); 30] = [
    ("plain", plain),
    ("lossy", lossy),
    ("partition", partition),
    ("nats", nats),
    ("churn", churn),
    ("flash-crowd", flash_crowd),
    ("byzantine", byzantine),
    ("hearsay", hearsay),
    ("liars", liars),
    ("disk-full", disk_full),
    ("write-errors", write_errors),
    ("read-errors", read_errors),
    ("slow-disk", slow_disk),
    ("vanishing-files", vanishing_files),
    ("killed", killed),
    ("power-loss", power_loss),
    ("slow-last-peer", slow_last_peer),
    ("end-game", end_game),
    ("almost-no-seed", almost_no_seed),
    ("small-budget", small_budget),
    ("tracker-down", tracker_down),
    ("private", private),
    ("everything", everything),
    ("trees", trees::honest),
    ("tree-liars", trees::liars),
    ("tree-crashes", trees::crashes),
    ("web-seeds", web::beside_peers),
    ("web-seeds-alone", web::alone),
    ("firewalls", transports::firewalls),
    ("punched", transports::punched),
];

/// The plan of a scenario's seed; `None` when there is no such scenario.
pub fn plan(name: &str, seed: u64) -> Option<Plan> {
    let (_, make) = ALL.iter().find(|(other, _)| *other == name)?;
    Some(make(seed))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn at(from: u64, lasts: u64, fault: Fault) -> FaultPlan {
    FaultPlan { at: seconds(from), lasts: seconds(lasts), fault }
}

/// Sizes and honest peers: one seed, and some leechers of different speeds.
fn swarm(seed: u64, leechers: std::ops::RangeInclusive<usize>) -> (Plan, fastrand::Rng) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut peers = vec![PeerPlan::seed(rng.u64(200_000..1_500_000))];
    for _ in 0..rng.usize(leechers) {
        let up = rng.u64(100_000..1_000_000);
        peers.push(PeerPlan::leecher(up, up * rng.u64(1..6)));
    }
    let plan = Plan {
        seed,
        pieces: rng.u32(20..70),
        blocks_per_piece: rng.u32(1..=4),
        files: rng.u32(1..6),
        peers,
        ..Plan::default()
    };
    (on_some_network(plan), rng)
}

/// IPv4 or IPv6, a tracker over HTTP or UDP, and in every other swarm some without the fast
/// extension. By a generator of its own, so that sizes and faults do not depend on it.
fn on_some_network(mut plan: Plan) -> Plan {
    let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0x0e7);
    plan.ipv6 = rng.u8(0..3) == 0;
    plan.udp_tracker = rng.u8(0..3) == 0;
    let mixed = rng.bool();
    plan.peers.iter_mut().for_each(|peer| peer.fast = !(mixed && rng.bool()));
    plan
}

/// Some of those that came after the others do not speak the fast extension.
fn some_without_fast(plan: &mut Plan, from: usize) {
    let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0xfa57);
    plan.peers.iter_mut().skip(from).for_each(|peer| peer.fast = rng.bool());
}

/// One of the leechers.
fn leecher(plan: &Plan, rng: &mut fastrand::Rng) -> usize {
    rng.usize(1..plan.peers.len())
}

fn plain(seed: u64) -> Plan {
    swarm(seed, 5..=12).0
}

fn lossy(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 5..=10);
    plan.loss = rng.u32(5_000..50_000);
    plan.resets = rng.u32(0..400);
    plan
}

fn partition(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 6..=10);
    for round in 0..rng.u64(1..4) {
        let apart: BTreeSet<usize> = (0..plan.peers.len()).filter(|_| rng.bool()).collect();
        let lasts = rng.u64(1..100);
        plan.faults.push(at(2 + round * 110 + rng.u64(0..5), lasts, Fault::Partition(apart)));
    }
    plan
}

fn nats(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 8..=14);
    for peer in plan.peers.iter_mut().skip(2) {
        peer.nat = match rng.u8(0..4) {
            0 => Nat::Open,
            1 => Nat::Unreachable,
            _ => Nat::Outgoing,
        };
    }
    plan
}

/// Every few seconds somebody leaves for a while.
fn churn(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 8..=14);
    for round in 0..20 {
        let peer = leecher(&plan, &mut rng);
        let fault = match rng.u8(0..3) {
            0 => Fault::Leave(peer),
            1 => Fault::Kill(peer),
            _ => Fault::Reset(peer),
        };
        plan.faults.push(at(1 + round * 2, rng.u64(1..20), fault));
    }
    plan
}

fn flash_crowd(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 18..=28);
    plan.peers[0].up = 800_000;
    for peer in plan.peers.iter_mut().skip(1) {
        peer.joins = Duration::from_millis(rng.u64(0..3000));
        peer.stays = rng.bool().then(|| seconds(rng.u64(1..60)));
    }
    plan
}

fn byzantine(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 5..=8);
    let honest = plan.peers.len();
    plan.pieces = plan.pieces.min(40);
    for _ in 0..rng.usize(2..5) {
        let script = Script::ALL[rng.usize(0..Script::ALL.len())];
        let peer =
            PeerPlan { behaviour: Behaviour::Script(script), up: 200_000, ..PeerPlan::default() };
        plan.peers.push(peer);
    }
    let behaviours =
        [Behaviour::Refuses, Behaviour::Silent, Behaviour::Duplicates, Behaviour::WrongLengths];
    let behaviour = behaviours[rng.usize(0..behaviours.len())];
    plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(500_000) });
    some_without_fast(&mut plan, honest);
    plan
}

/// Who sends wrong data, and who says that it has what it has not.
fn liars(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 4..=8);
    for _ in 0..rng.usize(1..3) {
        let behaviour = Behaviour::Corrupts(rng.u32(1..100));
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(rng.u64(200_000..2_000_000)) });
    }
    if rng.bool() {
        plan.peers.push(PeerPlan { behaviour: Behaviour::Lies, ..PeerPlan::seed(500_000) });
    }
    plan
}

fn with_fault(
    seed: u64,
    count: u64,
    mut fault: impl FnMut(&Plan, &mut fastrand::Rng) -> Fault,
) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 5..=9);
    for round in 0..count {
        let fault = fault(&plan, &mut rng);
        plan.faults.push(at(1 + round * 4 + rng.u64(0..4), rng.u64(2..30), fault));
    }
    plan
}

fn disk_full(seed: u64) -> Plan {
    with_fault(seed, 3, |plan, rng| Fault::DiskFull(leecher(plan, rng)))
}

fn write_errors(seed: u64) -> Plan {
    with_fault(seed, 3, |plan, rng| Fault::WriteErrors(leecher(plan, rng)))
}

fn read_errors(seed: u64) -> Plan {
    with_fault(seed, 3, |plan, rng| Fault::ReadErrors(rng.usize(0..plan.peers.len())))
}

fn slow_disk(seed: u64) -> Plan {
    let delays = [200, 1000, 5000];
    with_fault(seed, 4, |plan, rng| {
        let delay = Duration::from_millis(delays[rng.usize(0..delays.len())]);
        Fault::SlowDisk(leecher(plan, rng), delay)
    })
}

/// Somebody's files go. Storage makes no new ones in their place, so the peer waits until it is
/// started again and finds out.
fn vanishing_files(seed: u64) -> Plan {
    let mut plan = with_fault(seed, 4, |plan, rng| {
        Fault::FileVanishes(leecher(plan, rng), rng.usize(0..plan.files as usize))
    });
    for peer in 1..plan.peers.len() {
        plan.faults.push(at(40 + peer as u64, 2, Fault::Kill(peer)));
    }
    plan
}

fn killed(seed: u64) -> Plan {
    let mut plan = with_fault(seed, 5, |plan, rng| Fault::Kill(leecher(plan, rng)));
    plan.sync_every = seconds(3);
    plan
}

fn power_loss(seed: u64) -> Plan {
    let mut plan = with_fault(seed, 5, |plan, rng| Fault::PowerLoss(leecher(plan, rng)));
    plan.sync_every = seconds(3);
    plan
}

/// The only one that has the last pieces is slow.
fn slow_last_peer(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 3..=5);
    plan.pieces = plan.pieces.min(40);
    plan.blocks_per_piece = 2;
    plan.peers[0].start = Start::Without(3);
    plan.peers.push(PeerPlan::seed(rng.u64(8_000..30_000)));
    plan
}

/// Few pieces and many peers: nearly all of it is end game.
fn end_game(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 10..=16);
    plan.pieces = rng.u32(1..6);
    plan.files = 1;
    for peer in &mut plan.peers {
        peer.up = [20_000, 200_000, 2_000_000][rng.usize(0..3)];
    }
    plan.peers[0].up = 400_000;
    plan
}

/// No seed: everybody misses something that others have.
fn almost_no_seed(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 6..=10);
    plan.pieces = rng.u32(32..64);
    for (number, peer) in (0..).zip(&mut plan.peers) {
        peer.start = if number < 3 { Start::Without(number * 5) } else { Start::Empty };
    }
    plan
}

/// Room for little more than one piece.
fn small_budget(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 4..=8);
    plan.blocks_per_piece = rng.u32(2..=4);
    plan.budget_blocks = plan.blocks_per_piece + rng.u32(0..4);
    plan
}

fn tracker_down(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 5..=9);
    for peer in &mut plan.peers {
        peer.joins = Duration::from_millis(rng.u64(0..20_000));
    }
    plan.faults.push(at(rng.u64(0..10), rng.u64(5..200), Fault::TrackerDown));
    plan
}

/// All at once: loss, partitions, disks, crashes, attackers, and little memory.
fn everything(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 6..=9);
    let honest = plan.peers.len();
    plan.loss = rng.u32(0..20_000);
    plan.resets = rng.u32(0..200);
    plan.private = rng.bool();
    plan.budget_blocks = plan.blocks_per_piece * rng.u32(1..8);
    plan.sync_every = seconds(rng.u64(1..20));
    for round in 0..rng.u64(3..12) {
        let peer = leecher(&plan, &mut rng);
        let fault = match rng.u8(0..10) {
            0 => Fault::Partition((0..plan.peers.len()).filter(|_| rng.bool()).collect()),
            1 => Fault::Reset(peer),
            2 => Fault::Leave(peer),
            3 => Fault::Kill(peer),
            4 => Fault::PowerLoss(peer),
            5 => Fault::DiskFull(peer),
            6 => Fault::WriteErrors(peer),
            7 => Fault::ReadErrors(peer),
            8 => Fault::SlowDisk(peer, Duration::from_millis(rng.u64(1..2000))),
            _ => Fault::TrackerDown,
        };
        plan.faults.push(at(round * 4 + rng.u64(0..6), rng.u64(1..40), fault));
    }
    for _ in 0..rng.usize(0..3) {
        let behaviour = match rng.u8(0..3) {
            0 => Behaviour::Corrupts(rng.u32(1..100)),
            1 => Behaviour::Silent,
            _ => Behaviour::Script(Script::ALL[rng.usize(0..Script::ALL.len())]),
        };
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(rng.u64(100_000..1_000_000)) });
    }
    some_without_fast(&mut plan, honest);
    plan
}

/// Peers tell of thousands that are nowhere. Private torrents don't listen.
fn hearsay(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 4..=8);
    plan.private = rng.bool();
    for _ in 0..rng.usize(1..4) {
        let behaviour = Behaviour::Script(Script::ExchangeFlood);
        plan.peers.push(PeerPlan { behaviour, up: 200_000, ..PeerPlan::default() });
    }
    plan
}

fn private(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 5..=10);
    plan.private = true;
    let peer = leecher(&plan, &mut rng);
    plan.faults.push(at(rng.u64(1..10), rng.u64(1..10), Fault::Kill(peer)));
    plan
}
