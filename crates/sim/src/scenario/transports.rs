//! TCP and uTP over networks that let through one of them, or neither without help.

use std::time::Duration;

use super::{at, swarm};
use crate::plan::{Behaviour, Fault, Nat, Paths, PeerPlan, Plan, Speaks, TcpPath};

const TCP_PATHS: [TcpPath; 5] =
    [TcpPath::Through, TcpPath::Closed, TcpPath::Silent, TcpPath::Refused, TcpPath::Vanishes];

/// A seed that everybody can reach by what his network has, and leechers behind firewalls and
/// middleboxes. Connections break when they have lasted for a while, and are made again.
pub(super) fn firewalls(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 6..=10);
    // Many minutes, so that there are second dials, and blocks that come long after they were asked for.
    plan.peers[0].up = 25_000;
    (plan.pieces, plan.blocks_per_piece) = (rng.u32(60..100), 4);
    for peer in plan.peers.iter_mut().skip(1) {
        (peer.up, peer.down) = (rng.u64(5_000..25_000), rng.u64(60_000..400_000));
        match rng.u8(0..5) {
            0 => peer.speaks = Speaks::Tcp,
            1 => peer.speaks = Speaks::Utp,
            2 => peer.paths.no_utp = true,
            _ => {
                let tcp = TCP_PATHS[rng.usize(0..TCP_PATHS.len())];
                peer.paths = Paths { tcp, no_utp: false };
            }
        }
    }
    for round in 0..rng.u64(1..4) {
        let peer = rng.usize(0..plan.peers.len());
        plan.faults.push(at(65 + 90 * round + rng.u64(0..10), 1, Fault::Reset(peer)));
    }
    plan
}

/// All that have something are behind NATs, and so are those that want it. Relays in the open, whose disks
/// are full, bring them together. One that sees only those that came by uTP is of use once its connections
/// broke: everybody knows then what it can do.
pub(super) fn punched(seed: u64) -> Plan {
    let (mut plan, mut rng) = swarm(seed, 2..=5);
    for peer in &mut plan.peers {
        peer.nat = Nat::Outgoing;
        if rng.u8(0..3) == 0 {
            peer.paths.tcp = TcpPath::Vanishes;
        }
    }
    let relay = PeerPlan { behaviour: Behaviour::Silent, ..PeerPlan::leecher(200_000, 200_000) };
    let first = plan.peers.len();
    let sees_sources = rng.bool();
    plan.peers.push(PeerPlan { sees_sources, ..relay });
    if !sees_sources && rng.bool() {
        plan.peers.push(PeerPlan { joins: Duration::from_secs(5), ..relay });
    }
    for relay in first..plan.peers.len() {
        plan.faults.push(at(0, 1500, Fault::DiskFull(relay)));
    }
    if sees_sources {
        for round in 0..4 {
            plan.faults.push(at(65 + 100 * round, 1, Fault::Reset(first)));
        }
    }
    plan
}
