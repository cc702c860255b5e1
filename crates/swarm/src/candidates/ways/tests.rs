//! When an address is dialled by uTP alone, and that it costs who refuses us no more dials than before.

use proptest::prelude::*;

use super::*;
use crate::Source;

const UTP: Reached = Reached { encrypted: false, utp: true };
const TCP: Reached = Reached { encrypted: false, utp: false };

fn addr() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 6881))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn one() -> Candidates {
    let mut candidates = Candidates::new();
    candidates.add(Duration::ZERO, Source::Tracker, addr());
    candidates
}

/// Dials when that may be done, and tells when that was and whether by uTP alone.
fn dial(candidates: &mut Candidates) -> Option<(Duration, bool)> {
    let at = candidates.next_at(false, |_| false)?;
    assert_eq!(candidates.next(at, false, |_| false), Some(addr()));
    Some((at, candidates.way_to(addr()).transports == Transports::UtpAlone))
}

#[test]
fn after_tcp_that_leads_nowhere_utp_is_tried_soon_and_once() {
    let mut candidates = one();
    assert_eq!(dial(&mut candidates), Some((Duration::ZERO, false)));
    candidates.hung_up(Duration::ZERO, addr(), 0.0);
    assert_eq!(dial(&mut candidates), Some((FALLBACK_AFTER, true)));
    candidates.unreached(FALLBACK_AFTER, addr(), 0.0);
    let mut now = FALLBACK_AFTER;
    for wait in [20, 40, 80] {
        assert_eq!(dial(&mut candidates), Some((now + secs(wait), false)), "as without it");
        now += secs(wait);
        candidates.hung_up(now, addr(), 0.0);
    }
}

#[test]
fn what_worked_is_remembered_until_it_fails() {
    let mut candidates = one();
    dial(&mut candidates);
    candidates.hung_up(Duration::ZERO, addr(), 0.0);
    for _ in 0..3 {
        let (at, utp) = dial(&mut candidates).unwrap();
        assert!(utp, "at {at:?}");
        candidates.opened(addr(), UTP);
        candidates.connected(addr());
        candidates.disconnected(at, addr(), secs(1000), false, 0.0);
    }
    let (at, utp) = dial(&mut candidates).unwrap();
    assert!(utp);
    candidates.unreached(at, addr(), 0.0);
    let (at, utp) = dial(&mut candidates).unwrap();
    assert!(!utp, "both ways again");
    candidates.hung_up(at, addr(), 0.0);
    assert!(dial(&mut candidates).unwrap().1, "and it has another turn");
}

/// It is connected in that way for a while.
fn connects(candidates: &mut Candidates, reached: Reached) {
    let (at, _) = dial(candidates).unwrap();
    candidates.opened(addr(), reached);
    candidates.connected(addr());
    candidates.disconnected(at, addr(), secs(1000), false, 0.0);
}

fn order(candidates: &Candidates) -> Transports {
    candidates.way_to(addr()).transports
}

#[test]
fn utp_that_won_the_race_is_first_next_time_and_tcp_not_left_out() {
    let mut candidates = one();
    assert_eq!(order(&candidates), Transports::TcpFirst);
    connects(&mut candidates, UTP);
    assert_eq!(order(&candidates), Transports::UtpFirst);
    assert_eq!(candidates.way_to(addr()).encrypted, Some(false));
    connects(&mut candidates, UTP);
    assert_eq!(order(&candidates), Transports::UtpFirst);
    connects(&mut candidates, TCP);
    assert_eq!(order(&candidates), Transports::TcpFirst, "which won");
    connects(&mut candidates, UTP);
    let (at, _) = dial(&mut candidates).unwrap();
    candidates.unreached(at, addr(), 0.0);
    assert_eq!(order(&candidates), Transports::TcpFirst, "that may have changed");
}

#[test]
fn who_may_bring_us_together_with_others_is_to_see_where_our_utp_comes_from() {
    let mut candidates = one();
    candidates.set_open_to(Reach::Network.into());
    assert_eq!(order(&candidates), Transports::TcpFirst, "it never said so");
    candidates.introduces(addr());
    assert_eq!(order(&candidates), Transports::UtpFirst);
    connects(&mut candidates, UTP);
    candidates.set_open_to(Reach::World.into());
    assert_eq!(order(&candidates), Transports::TcpFirst, "somebody came from as far away");
    let near = SocketAddr::from(([192, 168, 0, 1], 6881));
    candidates.add(Duration::ZERO, Source::LocalDiscovery, near);
    candidates.introduces(near);
    for (open_to, transports) in [
        (Reach::Machine, Transports::UtpFirst),
        (Reach::Network, Transports::TcpFirst),
        (Reach::World, Transports::TcpFirst),
    ] {
        candidates.set_open_to(open_to.into());
        assert_eq!(candidates.way_to(near).transports, transports, "{open_to:?}");
    }
}

#[test]
fn who_comes_by_ipv6_says_nothing_of_the_nat_before_ipv4() {
    let mut candidates = one();
    candidates.introduces(addr());
    let mut open_to = OpenTo::default();
    open_to.came_from("2600::1".parse().unwrap());
    candidates.set_open_to(open_to);
    assert_eq!(order(&candidates), Transports::UtpFirst);
    open_to.came_from("::ffff:8.8.8.8".parse().unwrap());
    candidates.set_open_to(open_to);
    assert_eq!(order(&candidates), Transports::TcpFirst);
}

#[test]
fn who_shook_hands_and_left_is_not_dialled_by_utp() {
    let mut candidates = one();
    for _ in 0..4 {
        let (at, utp) = dial(&mut candidates).unwrap();
        assert!(!utp);
        candidates.opened(addr(), TCP);
        candidates.connected(addr());
        candidates.disconnected(at, addr(), secs(1), false, 0.0);
    }
}

#[test]
fn who_came_to_us_meanwhile_is_left_alone() {
    let mut candidates = one();
    dial(&mut candidates);
    candidates.connected(addr());
    candidates.hung_up(Duration::ZERO, addr(), 0.0);
    assert_eq!(candidates.next_at(false, |_| false), None);
    assert_eq!(candidates.way_to(addr()), Way::default());
}

#[test]
fn another_network_has_other_middleboxes() {
    let mut candidates = one();
    dial(&mut candidates);
    candidates.hung_up(Duration::ZERO, addr(), 0.0);
    candidates.forgive(secs(1));
    assert_eq!(dial(&mut candidates), Some((secs(1), false)));
    candidates.hung_up(secs(1), addr(), 0.0);
    assert!(dial(&mut candidates).unwrap().1);
}

proptest! {
    /// Whatever way it refuses us, an address is dialled as often as if there were no uTP, and at most
    /// once by uTP alone.
    #[test]
    fn who_refuses_us_is_dialled_no_more_often(
        hangs_up in proptest::collection::vec(any::<bool>(), 20),
        jitter in 0.0..1.0,
    ) {
        let mut candidates = one();
        let (mut dials, mut by_utp) = (0, 0);
        for hangs_up in hangs_up {
            let Some((at, utp)) = dial(&mut candidates) else { break };
            dials += 1;
            by_utp += u32::from(utp);
            if hangs_up && !utp {
                candidates.hung_up(at, addr(), jitter);
            } else {
                candidates.unreached(at, addr(), jitter);
            }
        }
        prop_assert_eq!(dials, super::super::FAILURES_MAX + 1);
        prop_assert!(by_utp <= 1);
        prop_assert_eq!(candidates.len(), 0);
    }
}
