//! How fast batches are hashed, next to the `sha1` and `sha2` crates by themselves: `cargo bench -p
//! peerless-digest`, or `-- sha1` for one algorithm. `PEERLESS_DIGEST` chooses the kernel.
//!
//! Messages are given as storage gives pieces, in slices of 16 KiB.

use std::{fmt, hint::black_box};

use digest::Algorithm;
use divan::{
    Bencher,
    counter::{BytesCount, BytesFormat},
};
use sha1::{Digest, Sha1};
use sha2::Sha256;

const KIB: usize = 1024;
const SLICE_BYTES: usize = 16 * KIB;

fn main() {
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
        println!("{algorithm:?} by {}", digest::kernel(algorithm));
    }
    divan::Divan::default()
        .bytes_format(BytesFormat::Binary)
        .sample_count(20)
        .config_with_args()
        .main();
}

#[divan::bench(args = BATCHES)]
fn sha1(bencher: Bencher<'_, '_>, batch: Batch) {
    batch.run(bencher, digest::sha1_batch);
}

#[divan::bench(args = BATCHES)]
fn sha1_crate(bencher: Bencher<'_, '_>, batch: Batch) {
    batch.run(bencher, one_by_one::<Sha1>);
}

#[divan::bench(args = BATCHES)]
fn sha256(bencher: Bencher<'_, '_>, batch: Batch) {
    batch.run(bencher, digest::sha256_batch);
}

#[divan::bench(args = BATCHES)]
fn sha2_crate(bencher: Bencher<'_, '_>, batch: Batch) {
    batch.run(bencher, one_by_one::<Sha256>);
}

fn one_by_one<D: Digest>(messages: &[&[&[u8]]]) {
    for message in messages {
        let mut hasher = D::new();
        message.iter().for_each(|slice| hasher.update(slice));
        black_box(hasher.finalize());
    }
}

#[derive(Clone, Copy)]
struct Batch {
    messages: usize,
    message_bytes: usize,
}

const BATCHES: [Batch; 15] = {
    let mut batches = [Batch { messages: 0, message_bytes: 0 }; 15];
    let mut at = 0;
    while at < batches.len() {
        batches[at] = Batch {
            messages: [1, 2, 8, 16, 64][at % 5],
            message_bytes: [16 * KIB, 256 * KIB, 1024 * KIB][at / 5],
        };
        at += 1;
    }
    batches
};

impl Batch {
    fn run<T>(self, bencher: Bencher<'_, '_>, hash: impl Fn(&[&[&[u8]]]) -> T) {
        let bytes = self.messages * self.message_bytes;
        let memory: Vec<u8> = (0..bytes).map(|at| (at ^ (at >> 13)) as u8).collect();
        let messages: Vec<Vec<&[u8]>> = memory
            .chunks(self.message_bytes)
            .map(|message| message.chunks(SLICE_BYTES).collect())
            .collect();
        let messages: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
        bencher.counter(BytesCount::new(bytes)).bench_local(|| hash(&messages));
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} KiB", self.messages, self.message_bytes / KIB)
    }
}
