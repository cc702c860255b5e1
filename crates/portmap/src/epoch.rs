//! Whether a gateway has forgotten its mappings: its clock says so (RFC 6886, 3.6; RFC 6887, 8.5). The
//! two have rules of their own.

use std::time::Duration;

/// Seconds by which a gateway's clock may be behind: answers are late, and clocks drift.
const TOLERANCE_SECONDS: u64 = 2;

/// What a gateway's clock said last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epoch {
    last: Option<(u32, Duration)>,
}

impl Epoch {
    /// A NAT-PMP gateway's clock, heard now; true when it has begun anew since it was heard last. One that
    /// runs slower than seven eighths of ours counts as begun anew.
    pub fn hear_nat_pmp(&mut self, now: Duration, epoch: u32) -> bool {
        let last = self.last.replace((epoch, now));
        last.is_some_and(|(before, at)| {
            let passed = now.saturating_sub(at).as_secs();
            let least = u64::from(before).saturating_add(passed.saturating_sub(passed / 8));
            u64::from(epoch).saturating_add(TOLERANCE_SECONDS) < least
        })
    }

    /// A PCP gateway's: true when it goes back by more than a second, or the time that passed there and here
    /// differs by more than a sixteenth. Another one that took the first one's place may be ahead of it.
    pub fn hear_pcp(&mut self, now: Duration, epoch: u32) -> bool {
        let last = self.last.replace((epoch, now));
        last.is_some_and(|(before, at)| {
            if epoch.saturating_add(1) < before {
                return true;
            }
            let here = now.saturating_sub(at).as_secs();
            let there = u64::from(epoch.saturating_sub(before));
            let is_short =
                |one: u64, other: u64| one.saturating_add(2) < other.saturating_sub(other / 16);
            is_short(here, there) || is_short(there, here)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_begins_anew_is_news() {
        let mut epoch = Epoch::default();
        let mut hear = |second, said| epoch.hear_nat_pmp(Duration::from_secs(second), said);
        assert!(!hear(10, 1_000_000));
        assert!(!hear(110, 1_000_100));
        assert!(!hear(210, 1_000_199), "a little slow");
        assert!(!hear(310, 2_000_000), "one that jumps forth has lost nothing");
        assert!(hear(410, 3), "a restart");
        assert!(!hear(420, 13));
        assert!(!hear(1020, 550), "slow, within an eighth");
        assert!(hear(2020, 560), "it stood still, or was restarted in between");
        assert!(!hear(2021, u32::MAX));
        assert!(hear(2022, 0), "it wrapped: mapping once more costs nothing");
    }

    /// The rule of RFC 6887, 8.5, at its edges.
    #[test]
    fn a_pcp_clock_may_neither_go_back_nor_jump_forth() {
        let mut epoch = Epoch::default();
        let mut hear = |second, said| epoch.hear_pcp(Duration::from_secs(second), said);
        assert!(!hear(10, 1_000_000));
        assert!(!hear(10, 999_999), "datagrams overtake each other");
        assert!(hear(10, 999_997));
        assert!(!hear(110, 1_000_097));
        assert!(!hear(270, 1_000_245), "a sixteenth and two seconds slow");
        assert!(hear(430, 1_000_391), "slower");
        assert!(!hear(590, 1_000_563), "as much too quick");
        assert!(hear(750, 1_000_740), "quicker");
        assert!(hear(760, 2_000_000), "another gateway, which has run for longer");
        assert!(!hear(770, 2_000_010));
        assert!(hear(780, 0), "a restart");
        assert!(hear(781, u32::MAX));
        assert!(hear(782, 0), "it wrapped: mapping once more costs nothing");
    }

    proptest::proptest! {
        #[test]
        fn a_true_clock_is_never_news(
            start in 0..u32::MAX / 2,
            steps in proptest::collection::vec((0..100_000u64, 0..1000u32), 1..50),
        ) {
            let (mut pcp, mut nat_pmp) = (Epoch::default(), Epoch::default());
            let mut now = Duration::from_secs(7);
            for (step, millis) in steps {
                now += Duration::from_millis(step * 1000 + u64::from(millis));
                let said = start + (now.as_secs() as u32);
                proptest::prop_assert!(!pcp.hear_pcp(now, said));
                proptest::prop_assert!(!nat_pmp.hear_nat_pmp(now, said));
            }
        }
    }
}
