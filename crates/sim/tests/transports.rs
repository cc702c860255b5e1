//! TCP and uTP over networks that let through one of them: who is reached by what, how soon, and how it is
//! tried the next time.

use std::time::Duration;

use sim::plan::{Behaviour, Fault, FaultPlan, Nat, Paths, PeerPlan, Speaks, TcpPath};
use sim::{Outcome, Plan, World, scenario};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A seed, and a leecher that takes it some minutes.
fn two(seed: u64) -> Plan {
    let peers = vec![PeerPlan::seed(20_000), PeerPlan::leecher(20_000, 1_000_000)];
    Plan { seed, pieces: 64, blocks_per_piece: 4, peers, ..Plan::default() }
}

fn good(plan: Plan) -> Outcome {
    let seed = plan.seed;
    let outcome = World::new(plan).run();
    assert_eq!(outcome.violations, [], "seed {seed}");
    outcome
}

/// How often anybody was reached by TCP, and by uTP.
fn reached(outcome: &Outcome) -> [u32; 2] {
    let of = |by: usize| outcome.peers.iter().map(|peer| peer.reached_by[by]).sum();
    [of(0), of(1)]
}

/// Connections that break after a while are made again by what led there before: the invariant looks at
/// each dial.
fn breaks(mut plan: Plan) -> Plan {
    let fault = |at| FaultPlan { at: seconds(at), lasts: seconds(1), fault: Fault::Reset(0) };
    plan.faults = [70, 170].map(fault).into();
    plan
}

#[test]
fn utp_leads_where_tcp_does_not() {
    use TcpPath::{Closed, Refused, Silent, Through, Vanishes};
    for (tcp, by_utp) in
        [(Through, false), (Closed, true), (Silent, true), (Refused, true), (Vanishes, true)]
    {
        for seed in 0..3 {
            let mut plan = breaks(two(seed));
            plan.peers[1].paths.tcp = tcp;
            // Or the seed is dialled by uTP first, since it could help somebody whom nobody came to.
            plan.settings.holepunch = false;
            let [tcp_count, utp_count] = reached(&good(plan));
            let counts = if by_utp { [utp_count, tcp_count] } else { [tcp_count, utp_count] };
            assert!(counts[0] >= 3 && counts[1] == 0, "{tcp:?}, seed {seed}: {counts:?}");
        }
    }
}

#[test]
fn tcp_leads_where_utp_does_not() {
    for (no_utp, speaks) in [(true, Speaks::Both), (false, Speaks::Tcp)] {
        let mut plan = breaks(two(1));
        plan.peers[1].paths = Paths { no_utp, ..Paths::default() };
        plan.peers[1].speaks = speaks;
        let [tcp, utp] = reached(&good(plan));
        assert!(tcp >= 3 && utp == 0, "{tcp} and {utp}");
    }
}

#[test]
fn neither_leads_where_both_are_stopped() {
    let mut plan = two(1);
    plan.peers[1].paths = Paths { tcp: TcpPath::Silent, no_utp: true };
    plan.limit = Duration::from_mins(10);
    let outcome = World::new(plan).run();
    assert_eq!(reached(&outcome), [0, 0]);
    let unfinished = |violation: &sim::Violation| violation.invariant.name() == "unfinished";
    assert!(outcome.violations.iter().all(unfinished), "{:?}", outcome.violations);
}

/// A relay in the open that sees where packets come from and nothing else, and is known by TCP first.
fn behind_nats(seed: u64, holepunch: bool) -> Plan {
    let relay = PeerPlan {
        behaviour: Behaviour::Silent,
        sees_sources: true,
        ..PeerPlan::leecher(100_000, 100_000)
    };
    let mut plan = two(seed);
    plan.peers.iter_mut().for_each(|peer| peer.nat = Nat::Outgoing);
    plan.peers.push(relay);
    plan.settings.holepunch = holepunch;
    let full = FaultPlan { at: seconds(0), lasts: seconds(1700), fault: Fault::DiskFull(2) };
    let resets = [70, 170, 270].map(|at| FaultPlan {
        at: seconds(at),
        lasts: seconds(1),
        fault: Fault::Reset(2),
    });
    plan.faults = std::iter::once(full).chain(resets).collect();
    plan
}

#[test]
fn a_relay_that_sees_sources_alone_helps_once_it_is_reached_by_utp() {
    for seed in 0..5 {
        let outcome = good(behind_nats(seed, true));
        let done = outcome.peers[1].completed_at;
        assert!(done.is_some_and(|at| at > seconds(70)), "seed {seed}: not before: {done:?}");
    }
    assert_eq!(World::new(behind_nats(1, false)).run().peers[1].completed_at, None);
}

#[test]
fn firewalled_swarms_use_both_transports() {
    let mut sums = [0, 0];
    for seed in 0..10 {
        let [tcp, utp] = reached(&good(scenario::plan("firewalls", seed).unwrap()));
        (sums[0], sums[1]) = (sums[0] + tcp, sums[1] + utp);
    }
    assert!(sums[0] > 20 && sums[1] > 20, "{sums:?}");
}

/// Uplinks that many share have queues of many minutes. Once, blocks that came so late were taken for
/// blocks that nobody had asked for, and honest peers cut each other off.
#[test]
fn slow_uplinks_are_no_fault() {
    for seed in [16, 21, 95] {
        let outcome = good(scenario::plan("firewalls", seed).unwrap());
        assert!(outcome.took > Duration::from_mins(7), "seed {seed}: {:?}", outcome.took);
    }
}
