//! Torrents with hash trees (BEP 52): v2 alone and hybrids, with piece layers and without, among peers
//! that give no hashes, false ones, or too many.

use metainfo::Format;

use super::{at, leecher, on_some_network, some_without_fast, swarm};
use crate::plan::{Behaviour, Fault, PeerPlan, Plan, Script};

/// Sizes, versions and honest peers; in a hybrid some of them know v1 alone.
pub(super) fn with_trees(seed: u64) -> (Plan, fastrand::Rng) {
    let (mut plan, mut rng) = swarm(seed, 4..=9);
    plan.format = if rng.bool() { Format::V2 } else { Format::Hybrid };
    plan.blocks_per_piece = 1 << rng.u32(0..4);
    plan.pieces = plan.pieces.min(200 / plan.blocks_per_piece);
    plan.lacks_layers = rng.bool();
    if plan.format == Format::Hybrid && rng.bool() {
        plan.peers.iter_mut().skip(1).for_each(|peer| peer.v2 = rng.u8(0..3) > 0);
    }
    (on_some_network(plan), rng)
}

/// Everybody means well, though some give no hashes; and some come and go.
pub(super) fn honest(seed: u64) -> Plan {
    let (mut plan, mut rng) = with_trees(seed);
    for _ in 0..rng.usize(0..3) {
        let behaviour = Behaviour::NoHashes { rejects: rng.bool() };
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(rng.u64(200_000..2_000_000)) });
    }
    if rng.bool() {
        for round in 0..10 {
            let peer = leecher(&plan, &mut rng);
            let fault = if rng.bool() { Fault::Leave(peer) } else { Fault::Reset(peer) };
            plan.faults.push(at(1 + round * 2, rng.u64(1..10), fault));
        }
    }
    plan
}

/// False hashes, false proofs, false data, hashes that nobody asked for, and questions without end.
pub(super) fn liars(seed: u64) -> Plan {
    let (mut plan, mut rng) = with_trees(seed);
    let honest = plan.peers.len();
    for _ in 0..rng.usize(1..5) {
        let behaviour = match rng.u8(0..7) {
            0 | 1 => Behaviour::FalseHashes(rng.u32(1..=100)),
            2 => Behaviour::NoHashes { rejects: rng.bool() },
            3 => Behaviour::HashesTwice,
            4 => Behaviour::Script(Script::HashFlood),
            5 => Behaviour::Script(Script::UnaskedHashes),
            _ => Behaviour::Corrupts(rng.u32(1..100)),
        };
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(rng.u64(200_000..2_000_000)) });
    }
    some_without_fast(&mut plan, honest);
    plan
}

/// Programs are killed, machines lose power, and disks fail.
pub(super) fn crashes(seed: u64) -> Plan {
    let (mut plan, mut rng) = with_trees(seed);
    plan.sync_every = super::seconds(3);
    plan.budget_blocks = plan.blocks_per_piece * rng.u32(1..20);
    plan.loss = rng.u32(0..10_000);
    for round in 0..rng.u64(2..8) {
        let peer = leecher(&plan, &mut rng);
        let fault = match rng.u8(0..6) {
            0 | 1 => Fault::Kill(peer),
            2 => Fault::PowerLoss(peer),
            3 => Fault::DiskFull(peer),
            4 => Fault::ReadErrors(rng.usize(0..plan.peers.len())),
            _ => Fault::SlowDisk(peer, std::time::Duration::from_millis(rng.u64(1..1000))),
        };
        plan.faults.push(at(1 + round * 3, rng.u64(1..20), fault));
    }
    if rng.bool() {
        let behaviour = Behaviour::Corrupts(rng.u32(1..100));
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(500_000) });
    }
    plan
}
