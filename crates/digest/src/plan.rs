//! Which tier to run for how many messages: measured once, or as a person wishes.

use std::{
    array,
    hint::black_box,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{
    BLOCK_BYTES, Block, Kernel, Refused,
    function::{Function, SHA1, SHA256},
    job::Job,
    tier::{LANES_MAX, Tier},
};

/// Names the kernel to use; the crate's documentation says how.
pub(crate) const VARIABLE: &str = "PEERLESS_DIGEST";

/// Blocks of each lane in one measurement: 4 KiB, at 1 GB/s some 4 us for one lane. Longer is
/// steadier, but all of it is time that the first hash waits.
const CALIBRATION_BLOCKS: usize = 64;
/// The best of so many counts, since whatever disturbs a measurement makes it slower. The first ones
/// also wake up wide registers.
const CALIBRATION_RUNS: usize = 8;
/// So much longer each kernel counts as taking than the one before it in [`Kernel::ALL`]. A smaller
/// difference may be chance, and the same machine shall choose the same.
const HANDICAP: f64 = 0.03;
/// One for each number of messages that may be at hand, and one for more.
const TIERS: usize = LANES_MAX + 1;

/// A tier for each number of messages that are left.
pub(crate) struct Plan {
    tiers: [Tier; TIERS],
    refused: Option<Refused>,
}

impl Plan {
    /// SHA-1's, as measured or wished.
    pub(crate) fn sha1() -> &'static Self {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| Self::choose(&SHA1, &wish()))
    }

    /// SHA-256's, as measured or wished.
    pub(crate) fn sha256() -> &'static Self {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| Self::choose(&SHA256, &wish()))
    }

    /// `tier` alone, for any number of messages.
    #[cfg(test)]
    pub(crate) fn only(tier: Tier) -> Self {
        Self { tiers: [tier; TIERS], refused: None }
    }

    /// What to run when `messages` are left.
    pub(crate) fn tier(&self, messages: usize) -> Tier {
        self.tiers[messages.clamp(1, TIERS) - 1]
    }

    /// Why a wish was not followed.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// The fastest of the kernel that `wish` names, or of all.
    fn choose<const W: usize>(function: &Function<W>, wish: &str) -> Self {
        let mut tiers = Tier::detected();
        tiers.retain(|&tier| is_sound(function, tier));
        let mut refused = None;
        match Kernel::from_name(wish) {
            Some(kernel) if tiers.iter().any(|tier| tier.kernel() == kernel) => {
                tiers.retain(|tier| tier.kernel() == kernel);
            }
            Some(kernel) => refused = Some(Refused::Unavailable(kernel)),
            None if wish.is_empty() => {}
            None => refused = Some(Refused::Unknown(wish.to_owned())),
        }
        Self { tiers: fastest(&measure(function, &tiers)), refused }
    }
}

/// What to begin with so that each number of messages is done soonest, given how long each tier
/// takes over messages of one length in all of its lanes; the last is for when there are always
/// more. What does not fit in a tier's lanes comes afterwards, for which the best is known already.
fn fastest(times: &[(Tier, Duration)]) -> [Tier; TIERS] {
    let best = |total: &dyn Fn(Tier, Duration) -> Duration| {
        let totals = times.iter().map(|&(tier, time)| {
            let handicap = f64::from(tier.kernel() as u8) * HANDICAP;
            (tier, total(tier, time.mul_f64(1.0 + handicap)))
        });
        // The same tiers in another order take as long; the wide ones go first.
        totals.rev().min_by_key(|&(_, time)| time).unwrap_or((Tier::Portable, Duration::ZERO))
    };
    let mut total = [Duration::ZERO; TIERS];
    array::from_fn(|at| {
        let messages = at + 1;
        if messages == TIERS {
            return best(&|tier, time| time * LANES_MAX as u32 / tier.lanes() as u32).0;
        }
        let (tier, time) = best(&|tier, time| time + total[messages - tier.lanes().min(messages)]);
        total[messages] = time;
        tier
    })
}

/// The value of the environment variable; empty if it has none.
fn wish() -> String {
    std::env::var_os(VARIABLE).unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether every lane of `tier` computes the answers that are known.
fn is_sound<const W: usize>(function: &Function<W>, tier: Tier) -> bool {
    let messages = function.known.map(|(message, _)| [message]);
    let jobs = messages.each_ref().map(|message| Job::new(0, function.initial, message));
    // Each turn tells lanes apart by another bit of their number, counted from one: no two may be
    // confused, and every lane gets both messages.
    (0..=LANES_MAX.ilog2()).all(|bit| {
        let known: [usize; LANES_MAX] = array::from_fn(|lane| (lane + 1) >> bit & 1);
        let runs = known.map(|known| jobs[known].run());
        let mut states = [function.initial; LANES_MAX];
        tier.compress(function, &mut states[..tier.lanes()], &runs[..tier.lanes()]);
        let answers = known.map(|known| function.known[known].1);
        states[..tier.lanes()] == answers[..tier.lanes()]
    })
}

/// How long each tier takes over some blocks in all of its lanes. Each lane has data of its own, as
/// far apart as pieces are: what that costs the cache is part of the answer. Like theirs it begins at
/// a cache line. Elsewhere each wide load takes two lines, and a kernel that is far ahead falls behind.
fn measure<const W: usize>(function: &Function<W>, tiers: &[Tier]) -> Vec<(Tier, Duration)> {
    let bytes = vec![0x5a; (CALIBRATION_BLOCKS * LANES_MAX + 1) * BLOCK_BYTES];
    let (data, _): (&[Block], _) = bytes[bytes.as_ptr().align_offset(BLOCK_BYTES)..].as_chunks();
    let runs: Vec<&[Block]> = data.chunks(CALIBRATION_BLOCKS).take(LANES_MAX).collect();
    let time = |tier: Tier| {
        let begin = Instant::now();
        let mut states = [function.initial; LANES_MAX];
        tier.compress(function, &mut states[..tier.lanes()], black_box(&runs[..tier.lanes()]));
        black_box(states);
        begin.elapsed()
    };
    let mut times: Vec<(Tier, Duration)> =
        tiers.iter().map(|&tier| (tier, Duration::MAX)).collect();
    // Turn by turn, so that a busy moment meets all of them.
    for _ in 0..CALIBRATION_RUNS {
        times.iter_mut().for_each(|(tier, best)| *best = time(*tier).min(*best));
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_ends_soonest_is_chosen() {
        let detected = Tier::detected();
        let find = |lanes| detected.iter().copied().rfind(|tier| tier.lanes() == lanes);
        let (Some(two), Some(three), Some(eight)) = (find(2), find(3), find(8)) else {
            return; // not on this machine
        };
        let lanes = |[one_us, two_us, three_us, eight_us]: [u64; 4]| {
            let us = Duration::from_micros;
            let times = [
                (Tier::Portable, us(one_us)),
                (two, us(two_us)),
                (three, us(three_us)),
                (eight, us(eight_us)),
            ];
            let first = fastest(&times);
            [1, 2, 3, 4, 6, 8, 9, 17].map(|messages| first[messages - 1].lanes())
        };
        // Three at a time are the fastest, but four are done sooner two by two.
        assert_eq!(lanes([100, 110, 150, 450]), [1, 2, 3, 2, 3, 3, 3, 3]);
        // Wide lanes win long before they are full; what is left over goes elsewhere, last.
        assert_eq!(lanes([100, 190, 280, 250]), [1, 2, 8, 8, 8, 8, 8, 8]);
        // What comes first wins unless it is clearly faster.
        assert_eq!(lanes([100, 196, 292, 770]), [1; 8]);
        assert!(fastest(&[]).iter().all(|tier| tier.lanes() == 1));
    }

    #[test]
    fn a_wish_is_followed_or_refused_with_the_reason() {
        let detected = Tier::detected();
        for kernel in Kernel::ALL {
            let plan = Plan::choose(&SHA1, kernel.name());
            if detected.iter().any(|tier| tier.kernel() == kernel) {
                assert_eq!(plan.refused(), None);
                assert!(plan.tiers.iter().all(|tier| tier.kernel() == kernel));
            } else {
                assert_eq!(plan.refused(), Some(&Refused::Unavailable(kernel)));
            }
        }
        let plan = Plan::choose(&SHA256, "AVX2");
        assert_eq!(plan.refused(), Some(&Refused::Unknown("AVX2".to_owned())));
        assert_eq!(Plan::choose(&SHA256, "").refused(), None);
    }

    #[test]
    fn a_tier_with_a_wrong_lane_is_not_sound() {
        for tier in Tier::detected() {
            assert!(is_sound(&SHA1, tier) && is_sound(&SHA256, tier));
        }
        let mut wrong = SHA256;
        wrong.portable = |state, run| {
            (SHA256.portable)(state, run);
            state[7] ^= u32::from(run[0][0] == b'q');
        };
        assert!(!is_sound(&wrong, Tier::Portable));
    }
}
