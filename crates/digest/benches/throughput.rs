//! How fast each kernel hashes, next to the `sha1` and `sha2` crates: `cargo bench -p
//! peerless-digest`, or `-- sha1` for one algorithm, `-- avx2` for one kernel.
//!
//! Messages are given as storage gives pieces, in slices of 16 KiB.

use std::{fmt, hint::black_box};

use digest::{Algorithm, Kernel};
use divan::{
    Bencher,
    counter::{BytesCount, BytesFormat},
};
use sha1::Digest;

const KIB: usize = 1024;
const SLICE_BYTES: usize = 16 * KIB;

fn main() {
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
        println!("{algorithm:?} runs on {}", digest::kernel(algorithm));
    }
    divan::Divan::default()
        .bytes_format(BytesFormat::Binary)
        .sample_count(20)
        .config_with_args()
        .main();
}

#[divan::bench(args = cases())]
fn sha1(bencher: Bencher<'_, '_>, case: Case) {
    case.run(bencher, |hasher, messages| match hasher {
        Hasher::Crate => {
            for message in messages {
                let mut hasher = sha1::Sha1::new();
                message.iter().for_each(|slice| hasher.update(slice));
                black_box(hasher.finalize());
            }
        }
        Hasher::Kernel(kernel) => drop(black_box(kernel.sha1_batch(messages))),
        Hasher::Chosen => drop(black_box(digest::sha1_batch(messages))),
    });
}

#[divan::bench(args = cases())]
fn sha256(bencher: Bencher<'_, '_>, case: Case) {
    case.run(bencher, |hasher, messages| match hasher {
        Hasher::Crate => {
            for message in messages {
                let mut hasher = sha2::Sha256::new();
                message.iter().for_each(|slice| hasher.update(slice));
                black_box(hasher.finalize());
            }
        }
        Hasher::Kernel(kernel) => drop(black_box(kernel.sha256_batch(messages))),
        Hasher::Chosen => drop(black_box(digest::sha256_batch(messages))),
    });
}

/// What hashes.
#[derive(Clone, Copy)]
enum Hasher {
    /// The `sha1` or `sha2` crate by itself, one message after the other.
    Crate,
    Kernel(Kernel),
    /// What this crate chooses.
    Chosen,
}

/// A batch for a hasher.
#[derive(Clone, Copy)]
struct Case {
    hasher: Hasher,
    message_bytes: usize,
    messages: usize,
}

/// Every hasher of this machine with batches of every size.
fn cases() -> Vec<Case> {
    let kernels = digest::kernels().into_iter().map(Hasher::Kernel);
    let hashers = [Hasher::Crate].into_iter().chain(kernels).chain([Hasher::Chosen]);
    let mut cases = Vec::new();
    for hasher in hashers {
        for message_bytes in [16 * KIB, 256 * KIB, 1024 * KIB] {
            let case = |messages| Case { hasher, message_bytes, messages };
            cases.extend([1, 2, 8, 16, 64].map(case));
        }
    }
    cases
}

impl Case {
    fn run(self, bencher: Bencher<'_, '_>, hash: impl Fn(Hasher, &[&[&[u8]]])) {
        let bytes = self.messages * self.message_bytes;
        let memory: Vec<u8> = (0..bytes).map(|at| (at ^ (at >> 13)) as u8).collect();
        let messages: Vec<Vec<&[u8]>> = memory
            .chunks(self.message_bytes)
            .map(|message| message.chunks(SLICE_BYTES).collect())
            .collect();
        let messages: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
        bencher.counter(BytesCount::new(bytes)).bench_local(|| hash(self.hasher, &messages));
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hasher = match self.hasher {
            Hasher::Crate => "crate",
            Hasher::Kernel(kernel) => kernel.name(),
            Hasher::Chosen => "chosen",
        };
        write!(f, "{hasher} {} x {} KiB", self.messages, self.message_bytes / KIB)
    }
}
