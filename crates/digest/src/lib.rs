//! SHA-1 and SHA-256 over many buffers at once.
//!
//! One call takes a batch of messages, each scattered over any number of slices, so that the caller
//! never copies blocks together and a kernel with several lanes can fill them:
//!
//! ```
//! let (head, tail) = (vec![1; 16 * 1024], vec![2; 5_000]);
//! let pieces: [&[&[u8]]; 2] = [&[&head, &tail], &[&tail]];
//! let hashes = digest::sha1_batch(&pieces);
//! assert_eq!(hashes[1], digest::sha1(&[&tail]));
//! ```
//!
//! # Kernels
//!
//! | name | what it is | messages at once |
//! |---|---|---|
//! | `portable` | the `sha1` and `sha2` crates, which use the SHA instructions of x86 and `ARMv8` | 1 |
//! | `sha-ni` | the SHA instructions of x86, messages interleaved | 1 to 4 |
//! | `avx2` | a message in each lane of AVX2 registers | 8 |
//! | `avx512` | a message in each lane of AVX-512 registers (F and BW) | 16 |
//!
//! Which is fastest depends on the processor and on how many messages there are. So the first call
//! of each algorithm lets every kernel that the machine has prove itself on known answers, measures
//! it for some microseconds, and keeps the fastest for each number of messages. [`kernel`] tells
//! which.
//!
//! The environment variable `PEERLESS_DIGEST` names the one kernel to use instead, for comparisons
//! and for processors that mislead: it hashes everything, even when most of its lanes are empty. The
//! variable is read once. A name that is unknown, or of a kernel that the machine cannot run,
//! changes nothing but what [`kernel`] says.
//!
//! # How it fits together
//!
//! `schedule` keeps a `job` per message, asks the `plan` which `tier` (a kernel and a number of
//! lanes) suits the number of jobs, and gives it a run of blocks of each. `function` is what the two
//! algorithms do not share; `lanes` and `sha_ni` have the rounds. All `unsafe` of this crate is in
//! those two: loads and stores whose bounds a reference proves, and instructions whose presence a
//! value proves that only detection makes.

mod function;
mod job;
mod kernel;
#[cfg(any(target_arch = "x86_64", test))]
mod lanes;
mod plan;
mod schedule;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(test)]
mod tests;
mod tier;

use function::{SHA1, SHA256};
pub use kernel::{Algorithm, Kernel, KernelInfo, Refused, kernel, lanes};
use plan::Plan;

/// Both functions take their message in blocks of this size.
const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

/// A SHA-1 digest.
pub type Sha1Digest = [u8; 20];

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// SHA-1 of each message; a message is the concatenation of its slices.
pub fn sha1_batch(messages: &[&[&[u8]]]) -> Vec<Sha1Digest> {
    schedule::digests(&SHA1, Plan::sha1(), messages)
}

/// SHA-256 of each message; a message is the concatenation of its slices.
pub fn sha256_batch(messages: &[&[&[u8]]]) -> Vec<Sha256Digest> {
    schedule::digests(&SHA256, Plan::sha256(), messages)
}

/// SHA-1 of one message scattered over `slices`.
pub fn sha1(slices: &[&[u8]]) -> Sha1Digest {
    schedule::digest(&SHA1, Plan::sha1(), slices)
}

/// SHA-256 of one message scattered over `slices`.
pub fn sha256(slices: &[&[u8]]) -> Sha256Digest {
    schedule::digest(&SHA256, Plan::sha256(), slices)
}
