//! One dial by TCP and uTP (BEP 29): which of the two begins when, and when nothing is left to wait for.
//!
//! TCP costs less CPU; a router or provider that stops one of the two may let the other through. So the
//! one has a head start, and who arrives first is taken. The driver begins what it is told to, and says
//! what failed.

use std::time::Duration;

/// What the first has before the other is tried beside it: most peers that take it at all have answered.
pub const HEAD_START: Duration = Duration::from_millis(400);
/// How long uTP is tried where TCP was refused before it began: a router may have let one of
/// the two through. Most such peers are gone, and others wait to be dialled.
pub const AFTER_REFUSAL: Duration = Duration::from_secs(3);

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leg {
    /// A TCP connection.
    Tcp,
    /// A uTP connection.
    Utp,
}

/// In which order an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// By TCP, and by uTP if that takes long or fails.
    #[default]
    TcpFirst,
    /// The other way round.
    UtpFirst,
    /// By uTP and nothing else.
    UtpAlone,
}

impl Transports {
    /// What is tried, in order, by who may use TCP, uTP or both. Who is to be dialled by uTP alone is
    /// dialled by nothing else, whatever may be used.
    pub fn legs(self, tcp: bool, utp: bool) -> &'static [Leg] {
        match (self, tcp, utp) {
            (Self::UtpAlone, ..) | (_, false, true) => &[Leg::Utp],
            (_, true, false) => &[Leg::Tcp],
            (Self::TcpFirst, true, true) => &[Leg::Tcp, Leg::Utp],
            (Self::UtpFirst, true, true) => &[Leg::Utp, Leg::Tcp],
            (_, false, false) => &[],
        }
    }
}

/// A dial under way.
#[derive(Debug, Clone)]
pub struct Race {
    /// Those that have not begun.
    waiting: &'static [Leg],
    /// When the next of them begins.
    begins_at: Duration,
    /// How many are being tried.
    trying: u32,
    ends_at: Option<Duration>,
}

impl Race {
    /// Begins now, with the first of `legs` ([`Transports::legs`]).
    pub fn new(now: Duration, legs: &'static [Leg]) -> Self {
        Self { waiting: legs, begins_at: now, trying: 0, ends_at: None }
    }

    /// What is to be begun now; to be asked until there is nothing.
    pub fn begin(&mut self, now: Duration) -> Option<Leg> {
        let (leg, rest) = self.waiting.split_first().filter(|_| self.begins_at <= now)?;
        self.waiting = rest;
        self.begins_at = now + HEAD_START;
        self.trying += 1;
        Some(*leg)
    }

    /// One that was begun led nowhere.
    pub fn failed(&mut self, now: Duration) {
        self.trying = self.trying.saturating_sub(1);
        if let Some(next) = self.waiting.first() {
            self.begins_at = now;
            // What stopped uTP says nothing of TCP, which has all its time.
            self.ends_at = (*next == Leg::Utp).then_some(now + AFTER_REFUSAL);
        }
    }

    /// When something changes if nothing happens: another begins, or the time is up.
    pub fn next_at(&self) -> Option<Duration> {
        if self.waiting.is_empty() { self.ends_at } else { Some(self.begins_at) }
    }

    /// Whether nothing can come of it any more.
    pub fn is_over(&self, now: Duration) -> bool {
        let none_left = self.waiting.is_empty() && self.trying == 0;
        none_left || self.ends_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const BOTH: &[Leg] = &[Leg::Tcp, Leg::Utp];

    #[test]
    fn the_second_begins_after_the_head_start() {
        let mut race = Race::new(ms(50), BOTH);
        assert_eq!((race.begin(ms(50)), race.begin(ms(50))), (Some(Leg::Tcp), None));
        assert_eq!(race.next_at(), Some(ms(50) + HEAD_START));
        assert_eq!(race.begin(ms(449)), None);
        assert_eq!(race.begin(ms(450)), Some(Leg::Utp));
        assert_eq!(race.next_at(), None, "each has its own time-out");
        race.failed(ms(9000));
        assert!(!race.is_over(ms(9000)));
        race.failed(ms(9500));
        assert!(race.is_over(ms(9500)));
    }

    #[test]
    fn who_refuses_the_first_is_not_waited_for_long() {
        let mut race = Race::new(ms(0), BOTH);
        race.begin(ms(0));
        race.failed(ms(100));
        assert_eq!(race.begin(ms(100)), Some(Leg::Utp), "at once");
        assert_eq!(race.next_at(), Some(ms(100) + AFTER_REFUSAL));
        assert!(!race.is_over(ms(3099)) && race.is_over(ms(3100)));
    }

    #[test]
    fn tcp_has_all_its_time_where_utp_fails_at_once() {
        let mut race = Race::new(ms(0), &[Leg::Utp, Leg::Tcp]);
        race.begin(ms(0));
        race.failed(ms(1));
        assert_eq!(race.begin(ms(1)), Some(Leg::Tcp), "at once");
        assert_eq!(race.next_at(), None, "it has its own time-out");
        assert!(!race.is_over(ms(9999)));
        race.failed(ms(10_001));
        assert!(race.is_over(ms(10_001)));
    }

    #[test]
    fn what_may_not_be_used_is_not_tried() {
        use Transports::{TcpFirst, UtpAlone, UtpFirst};
        for (order, tcp, utp, legs) in [
            (TcpFirst, true, true, BOTH),
            (UtpFirst, true, true, &[Leg::Utp, Leg::Tcp]),
            (UtpFirst, true, false, &[Leg::Tcp]),
            (TcpFirst, false, true, &[Leg::Utp]),
            (UtpAlone, true, true, &[Leg::Utp]),
            (UtpAlone, true, false, &[Leg::Utp]),
            (TcpFirst, false, false, &[]),
        ] {
            assert_eq!(order.legs(tcp, utp), legs, "{order:?} {tcp} {utp}");
        }
        assert!(Race::new(ms(0), &[]).is_over(ms(0)));
    }

    proptest! {
        /// Whatever fails when, each is begun at most once, and it ends once all that began has failed.
        #[test]
        fn each_begins_once_and_it_has_an_end(
            fails in proptest::collection::vec(any::<bool>(), 100),
            legs in proptest::sample::select(vec![BOTH, &[Leg::Utp, Leg::Tcp], &[Leg::Utp]]),
        ) {
            let mut race = Race::new(ms(0), legs);
            let (mut begun, mut failed) = (Vec::new(), 0);
            for (tick, fails) in (0..).zip(fails) {
                let now = ms(tick * 100);
                while let Some(leg) = race.begin(now) {
                    begun.push(leg);
                }
                if race.is_over(now) {
                    break;
                }
                prop_assert!(race.next_at().is_none_or(|at| at > now), "nothing is overdue");
                if fails && failed < begun.len() {
                    race.failed(now);
                    failed += 1;
                }
            }
            prop_assert!(legs.starts_with(&begun));
            let all_failed = failed == legs.len();
            prop_assert!(!all_failed || race.is_over(ms(10_000)));
        }
    }
}
