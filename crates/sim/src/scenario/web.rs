//! Swarms with web seeds (BEP 19), of all versions: servers that are slow, break off, lack a file, lie,
//! know no ranges, or are not there for a while.

use metainfo::Format;

use super::{on_some_network, seconds, swarm};
use crate::plan::{Behaviour, PeerPlan, Plan, Start, WebConduct, WebPlan};

/// A server that does something wrong.
fn bad(plan: &Plan, rng: &mut fastrand::Rng) -> WebPlan {
    let rate = if rng.u8(0..6) == 0 { rng.u64(50..2_000) } else { rng.u64(50_000..1_000_000) };
    let conduct = match rng.u8(0..6) {
        0 => WebConduct::BreaksOff(rng.u32(1..80)),
        1 => WebConduct::Lacks(rng.usize(0..plan.files as usize)),
        2 => WebConduct::Lies(rng.u32(1..100)),
        3 => {
            let from = rng.u64(0..10);
            WebConduct::Away(seconds(from), seconds(from + rng.u64(1..40)))
        }
        4 => WebConduct::Busy(rng.u32(1..60)),
        _ => WebConduct::WholeFiles,
    };
    WebPlan { rate, conduct }
}

fn with_web_seeds(seed: u64) -> (Plan, fastrand::Rng) {
    let (mut plan, mut rng) = swarm(seed, 1..=4);
    plan.format = [Format::V1, Format::V2, Format::Hybrid][rng.usize(0..3)];
    plan.blocks_per_piece = 1 << rng.u32(0..4);
    for _ in 0..rng.usize(0..4) {
        let bad = bad(&plan, &mut rng);
        plan.web_seeds.push(bad);
    }
    let conduct = WebConduct::Good;
    let at = rng.usize(0..=plan.web_seeds.len());
    plan.web_seeds.insert(at, WebPlan { rate: rng.u64(50_000..500_000), conduct });
    (on_some_network(plan), rng)
}

/// Peers have everything too, and some lie.
pub(super) fn beside_peers(seed: u64) -> Plan {
    let (mut plan, mut rng) = with_web_seeds(seed);
    plan.lacks_layers = rng.bool();
    if rng.bool() {
        let behaviour = Behaviour::Corrupts(rng.u32(1..100));
        plan.peers.push(PeerPlan { behaviour, ..PeerPlan::seed(500_000) });
    }
    plan
}

/// No peer has anything that it did not get from a server.
pub(super) fn alone(seed: u64) -> Plan {
    let (mut plan, _) = with_web_seeds(seed);
    plan.peers[0].start = Start::Empty;
    plan
}
