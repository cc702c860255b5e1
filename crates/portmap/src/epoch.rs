//! Whether a gateway has forgotten its mappings: its clock says so (RFC 6886, 3.6; RFC 6887, 8.5).

use std::time::Duration;

/// Seconds by which a gateway's clock may be behind: answers are late, and clocks drift.
const TOLERANCE_SECONDS: u64 = 2;

/// What a gateway's clock said last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epoch {
    last: Option<(u32, Duration)>,
}

impl Epoch {
    /// A gateway's clock, heard now; true when it has begun anew since it was heard last. One that
    /// runs slower than seven eighths of ours counts as begun anew.
    pub fn hear(&mut self, now: Duration, epoch: u32) -> bool {
        let last = self.last.replace((epoch, now));
        last.is_some_and(|(before, at)| {
            let passed = now.saturating_sub(at).as_secs();
            let least = u64::from(before).saturating_add(passed.saturating_sub(passed / 8));
            u64::from(epoch).saturating_add(TOLERANCE_SECONDS) < least
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_begins_anew_is_news() {
        let mut epoch = Epoch::default();
        let mut hear = |second, said| epoch.hear(Duration::from_secs(second), said);
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
}
