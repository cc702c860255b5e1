//! A tier is a kernel with a number of lanes: what a step of the schedule runs on. Having a value
//! of one proves that the machine can run it.

use crate::{Block, Kernel, function::Function};
#[cfg(target_arch = "x86_64")]
use crate::{
    lanes::{avx2::Avx2, avx512::Avx512},
    sha_ni::ShaNi,
};

/// No tier has more lanes.
pub(crate) const LANES_MAX: usize = 16;

/// How to run the rounds of some messages at once.
#[derive(Clone, Copy)]
pub(crate) enum Tier {
    /// One message, by the `sha1` and `sha2` crates.
    Portable,
    /// So many messages, of [`ShaNi::LANES_MAX`] at most.
    #[cfg(target_arch = "x86_64")]
    ShaNi(ShaNi, usize),
    /// Eight messages.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// Sixteen messages.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Tier {
    /// Those that this machine can run, the fewest lanes first; of equals, what is not our own code.
    pub(crate) fn detected() -> Vec<Self> {
        let tiers = std::iter::once(Self::Portable);
        #[cfg(target_arch = "x86_64")]
        let tiers = {
            let sha_ni = ShaNi::detect().into_iter().flat_map(|proof| {
                (1..=ShaNi::LANES_MAX).map(move |lanes| Self::ShaNi(proof, lanes))
            });
            let avx2 = Avx2::detect().map(Self::Avx2);
            let avx512 = Avx512::detect().map(Self::Avx512);
            tiers.chain(sha_ni).chain(avx2).chain(avx512)
        };
        tiers.collect()
    }

    /// The kernel that this is a part of.
    pub(crate) fn kernel(self) -> Kernel {
        match self {
            Self::Portable => Kernel::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(..) => Kernel::ShaNi,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Kernel::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Kernel::Avx512,
        }
    }

    /// How many messages it takes at once, with no less work when there are fewer.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(_, lanes) => lanes,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Avx512::LANES,
        }
    }

    /// Hashes [`lanes`](Self::lanes) runs of one length, each into its state.
    pub(crate) fn compress<const W: usize>(
        self,
        function: &Function<W>,
        states: &mut [[u32; W]],
        runs: &[&[Block]],
    ) {
        match self {
            Self::Portable => (function.portable)(&mut states[0], runs[0]),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(proof, _) => (function.sha_ni)(proof, states, runs),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => (function.avx2)(proof, all_mut(states), all(runs)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => (function.avx512)(proof, all_mut(states), all(runs)),
        }
    }
}

/// All lanes, their number being known.
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) fn all<T, const N: usize>(lanes: &[T]) -> &[T; N] {
    lanes.try_into().expect("as many as the tier has lanes")
}

/// As [`all`].
#[cfg(any(target_arch = "x86_64", test))]
pub(crate) fn all_mut<T, const N: usize>(lanes: &mut [T]) -> &mut [T; N] {
    lanes.try_into().expect("as many as the tier has lanes")
}
