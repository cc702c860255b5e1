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
const CALIBRATION_RUNS: usize = 5;
/// So much faster must a tier be to be preferred to one before it in [`Tier::detected`]; less may be
/// chance, and the same machine shall choose the same.
const CLEARLY_FASTER: f64 = 1.05;

/// A tier for each number of messages at hand.
pub(crate) struct Plan {
    tiers: [Tier; LANES_MAX],
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

    /// Runs the widest of `tiers` that the messages fill, or else the narrowest; `None` if there are
    /// none. They come the fewest lanes first.
    pub(crate) fn only(tiers: &[Tier]) -> Option<Self> {
        let narrowest = tiers.first()?;
        let widest_full =
            |messages| tiers.iter().rfind(|tier| tier.lanes() <= messages).unwrap_or(narrowest);
        Some(Self { tiers: array::from_fn(|at| *widest_full(at + 1)), refused: None })
    }

    /// What to run when `messages` are at hand.
    pub(crate) fn tier(&self, messages: usize) -> Tier {
        self.tiers[messages.clamp(1, LANES_MAX) - 1]
    }

    /// Why a wish was not followed.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// What `wish` names; if it names nothing that works, what is fastest.
    fn choose<const W: usize>(function: &Function<W>, wish: &str) -> Self {
        let mut tiers = Tier::detected();
        tiers.retain(|&tier| is_sound(function, tier));
        let mut refused = None;
        if !wish.is_empty() {
            match Kernel::from_name(wish) {
                None => refused = Some(Refused::Unknown(wish.to_owned())),
                Some(kernel) => {
                    let wished: Vec<Tier> =
                        tiers.iter().copied().filter(|tier| tier.kernel() == kernel).collect();
                    match Self::only(&wished) {
                        Some(plan) => return plan,
                        None => refused = Some(Refused::Unavailable(kernel)),
                    }
                }
            }
        }
        Self { refused, ..Self::fastest(&measure(function, &tiers)) }
    }

    /// The fastest for each number of messages, given how long each tier takes over the same number
    /// of blocks in all of its lanes.
    fn fastest(times: &[(Tier, Duration)]) -> Self {
        let best = |messages: usize| {
            let rate = |tier: Tier, time: Duration| {
                tier.lanes().min(messages) as f64 / time.as_secs_f64().max(1e-9)
            };
            let rated = times.iter().map(|&(tier, time)| (tier, rate(tier, time)));
            let best = rated.reduce(
                |best, next| {
                    if next.1 > best.1 * CLEARLY_FASTER { next } else { best }
                },
            );
            best.map_or(Tier::Portable, |(tier, _)| tier)
        };
        Self { tiers: array::from_fn(|at| best(at + 1)), refused: None }
    }
}

/// The value of the environment variable; empty if it has none.
fn wish() -> String {
    std::env::var_os(VARIABLE).unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether every lane of `tier` computes the answers that are known.
fn is_sound<const W: usize>(function: &Function<W>, tier: Tier) -> bool {
    let messages = function.known.map(|(message, _)| [message]);
    let jobs = messages.each_ref().map(|message| Job::new(0, function.initial, message));
    // Each turn tells lanes apart by another bit of their number, so that no two may be confused.
    (0..LANES_MAX.ilog2()).all(|bit| {
        let known: [usize; LANES_MAX] = array::from_fn(|lane| lane >> bit & 1);
        let runs = known.map(|known| jobs[known].run());
        let mut states = [function.initial; LANES_MAX];
        tier.compress(function, &mut states[..tier.lanes()], &runs[..tier.lanes()]);
        let answers = known.map(|known| function.known[known].1);
        states[..tier.lanes()] == answers[..tier.lanes()]
    })
}

/// How long each tier takes over some blocks in all of its lanes. Each lane has data of its own, as
/// far apart as pieces are: what that costs the cache is part of the answer.
fn measure<const W: usize>(function: &Function<W>, tiers: &[Tier]) -> Vec<(Tier, Duration)> {
    let data: Vec<Block> = vec![[0x5a; BLOCK_BYTES]; CALIBRATION_BLOCKS * LANES_MAX];
    let runs: Vec<&[Block]> = data.chunks(CALIBRATION_BLOCKS).collect();
    let time = |tier: Tier| {
        let begin = Instant::now();
        let mut states = [function.initial; LANES_MAX];
        tier.compress(function, &mut states[..tier.lanes()], black_box(&runs[..tier.lanes()]));
        black_box(states);
        begin.elapsed()
    };
    let best = |tier| (0..CALIBRATION_RUNS).map(|_| time(tier)).min().unwrap_or_default();
    tiers.iter().map(|&tier| (tier, best(tier))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plan: &Plan) -> [&'static str; 4] {
        [1, 2, 7, 100].map(|messages| plan.tier(messages).kernel().name())
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_fastest_for_each_number_is_chosen() {
        let ([_, pair], [lanes]) = (&Tier::of(Kernel::ShaNi)[..], &Tier::of(Kernel::Avx2)[..])
        else {
            return; // not on this machine
        };
        let us = Duration::from_micros;
        let chosen = |portable, pair_us, lanes_us| {
            let times =
                [(Tier::Portable, us(portable)), (*pair, us(pair_us)), (*lanes, us(lanes_us))];
            names(&Plan::fastest(&times))
        };
        // Eight lanes take three times as long as two: from seven messages on they win.
        assert_eq!(chosen(9, 10, 32), ["portable", "sha-ni", "avx2", "avx2"]);
        assert_eq!(chosen(9, 10, 36), ["portable", "sha-ni", "sha-ni", "avx2"]);
        // What comes first wins unless it is clearly slower.
        assert_eq!(chosen(100, 192, 800), ["portable"; 4]);
        assert_eq!(chosen(100, 180, 750), ["portable", "sha-ni", "sha-ni", "sha-ni"]);
        assert_eq!(names(&Plan::fastest(&[])), ["portable"; 4]);
    }

    #[test]
    fn a_wish_is_followed_or_refused_with_the_reason() {
        for kernel in Kernel::ALL {
            let plan = Plan::choose(&SHA1, kernel.name());
            if Tier::of(kernel).is_empty() {
                assert_eq!(plan.refused(), Some(&Refused::Unavailable(kernel)));
            } else {
                assert_eq!((names(&plan), plan.refused()), ([kernel.name(); 4], None));
            }
        }
        let plan = Plan::choose(&SHA256, "AVX2");
        assert_eq!(plan.refused(), Some(&Refused::Unknown("AVX2".to_owned())));
        assert_eq!(Plan::choose(&SHA256, "").refused(), None);
    }

    #[test]
    fn one_kernel_alone_uses_its_widest_full_tier() {
        for kernel in Kernel::ALL {
            let tiers = Tier::of(kernel);
            let Some(plan) = Plan::only(&tiers) else { continue };
            let [one, two, many] = [1, 2, 100].map(|messages| plan.tier(messages).lanes());
            assert_eq!(Some(one), tiers.first().map(|tier| tier.lanes()));
            assert_eq!(two, if kernel == Kernel::ShaNi { 2 } else { one });
            assert_eq!(Some(many), tiers.last().map(|tier| tier.lanes()));
        }
    }

    #[test]
    fn what_computes_something_else_is_not_sound() {
        for tier in Tier::detected() {
            assert!(is_sound(&SHA1, tier) && is_sound(&SHA256, tier));
            let mut wrong = SHA256;
            wrong.known[1].1[7] ^= 1;
            assert!(!is_sound(&wrong, tier) || tier.lanes() == 1);
        }
    }
}
