//! The kernels by name, and which of them were chosen.

use std::fmt;

use crate::plan::{Plan, VARIABLE};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1: the pieces of BitTorrent v1 (BEP 3).
    Sha1,
    /// SHA-256: the blocks of BitTorrent v2 (BEP 52).
    Sha256,
}

/// A way to compute the hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The `sha1` and `sha2` crates, one message at a time. They use the SHA instructions of x86
    /// and `ARMv8` where there are any.
    Portable,
    /// The SHA instructions of x86, up to four messages interleaved.
    ShaNi,
    /// AVX2, eight messages in lanes.
    Avx2,
    /// AVX-512 (F and BW), sixteen messages in lanes.
    Avx512,
}

impl Kernel {
    /// Every kernel, whether or not this machine has it.
    pub(crate) const ALL: [Self; 4] = [Self::Portable, Self::ShaNi, Self::Avx2, Self::Avx512];

    /// As in `PEERLESS_DIGEST`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::ShaNi => "sha-ni",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The kernel of that [`name`](Self::name).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kernels hash, as [`kernel`] tells.
///
/// Displayed like `avx2`, or `avx2 (1: portable, 2: sha-ni)` if few messages go to others; a
/// [`refused`](Self::refused) wish follows after a semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    /// For one message.
    pub one: Kernel,
    /// For two messages.
    pub two: Kernel,
    /// For many messages, while more of them wait.
    pub many: Kernel,
    /// Why `PEERLESS_DIGEST` was not followed, if it was not.
    pub refused: Option<Refused>,
}

impl fmt::Display for KernelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.many)?;
        if self.one != self.many || self.two != self.many {
            write!(f, " (1: {}, 2: {})", self.one, self.two)?;
        }
        match &self.refused {
            Some(refused) => write!(f, "; {refused}"),
            None => Ok(()),
        }
    }
}

/// Why the kernel that `PEERLESS_DIGEST` names is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// No kernel has that name.
    Unknown(String),
    /// This machine does not have it, or it failed its self test.
    Unavailable(Kernel),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let [first, others @ ..] = Kernel::ALL;
                write!(f, "{VARIABLE}={name:?} names no kernel: there are {first}")?;
                others.iter().try_for_each(|kernel| write!(f, ", {kernel}"))
            }
            Self::Unavailable(kernel) => {
                write!(
                    f,
                    "{VARIABLE}={kernel} cannot be followed: this machine does not have it, or it failed its self test"
                )
            }
        }
    }
}

/// How many messages at once `algorithm` is fastest with. A batch of fewer leaves lanes empty. The
/// first call may measure the kernels, like a first hash.
pub fn lanes(algorithm: Algorithm) -> usize {
    plan(algorithm).tier(usize::MAX).lanes()
}

fn plan(algorithm: Algorithm) -> &'static Plan {
    match algorithm {
        Algorithm::Sha1 => Plan::sha1(),
        Algorithm::Sha256 => Plan::sha256(),
    }
}

/// Which kernels `algorithm` runs on, for display. The first call may measure them, like a first
/// hash.
pub fn kernel(algorithm: Algorithm) -> KernelInfo {
    let plan = plan(algorithm);
    let [one, two, many] = [1, 2, usize::MAX].map(|messages| plan.tier(messages).kernel());
    KernelInfo { one, two, many, refused: plan.refused().cloned() }
}
