//! Every kernel of this machine against the `sha1` and `sha2` crates.

use digest::{Kernel, Sha1Digest, Sha256Digest, kernels};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;

const KIB: usize = 1024;

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + (at >> 8) * 7 + seed * 101 + 3) as u8).collect()
}

/// Asserts that `kernel` gives each message's hashes.
fn check(kernel: Kernel, messages: &[Vec<&[u8]>]) {
    let refs: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
    let whole: Vec<Vec<u8>> = messages.iter().map(|message| message.concat()).collect();
    let lengths: Vec<usize> = whole.iter().map(Vec::len).collect();
    let sha1: Vec<Sha1Digest> = whole.iter().map(|message| Sha1::digest(message).into()).collect();
    let sha256: Vec<Sha256Digest> =
        whole.iter().map(|message| Sha256::digest(message).into()).collect();
    assert_eq!(kernel.sha1_batch(&refs), Some(sha1), "SHA-1 by {kernel} of {lengths:?}");
    assert_eq!(kernel.sha256_batch(&refs), Some(sha256), "SHA-256 by {kernel} of {lengths:?}");
}

#[test]
fn every_count_of_messages_of_every_short_length() {
    let data = bytes(KIB, 1);
    for kernel in kernels() {
        for count in 0..=33 {
            for length in 0..=130 {
                let messages: Vec<Vec<&[u8]>> =
                    (0..count).map(|at| vec![&data[at..at + length]]).collect();
                check(kernel, &messages);
            }
        }
    }
}

#[test]
fn lengths_around_blocks_and_slices() {
    let lengths: Vec<usize> = [64, 128, 512, 4 * KIB, 16 * KIB, 32 * KIB]
        .into_iter()
        .flat_map(|middle| {
            [9, 8, 1].map(|less| middle - less).into_iter().chain(middle..middle + 2)
        })
        .collect();
    let data: Vec<Vec<u8>> = lengths.iter().map(|&length| bytes(length, length)).collect();
    for kernel in kernels() {
        for count in 1..=33 {
            let messages: Vec<Vec<&[u8]>> =
                (0..count).map(|at| data[at * 7 % data.len()].chunks(16 * KIB).collect()).collect();
            check(kernel, &messages);
        }
        let all: Vec<Vec<&[u8]>> = data.iter().map(|message| vec![&message[..]]).collect();
        check(kernel, &all);
    }
}

/// A message and where it is cut.
fn message(length_max: usize) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    prop::collection::vec(any::<u8>(), 0..length_max).prop_flat_map(|content| {
        let cuts = prop::collection::vec(0..=content.len(), 0..8);
        (Just(content), cuts)
    })
}

fn cut<'a>(content: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut borders = [&[0, content.len()], cuts].concat();
    borders.sort_unstable();
    borders.windows(2).map(|border| &content[border[0]..border[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn messages_of_any_lengths_cut_anywhere(messages in prop::collection::vec(message(2_000), 1..=40)) {
        let messages: Vec<Vec<&[u8]>> =
            messages.iter().map(|(content, cuts)| cut(content, cuts)).collect();
        for kernel in kernels() {
            check(kernel, &messages);
        }
        let refs: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(Some(digest::sha1_batch(&refs)), Kernel::Portable.sha1_batch(&refs));
        prop_assert_eq!(Some(digest::sha256_batch(&refs)), Kernel::Portable.sha256_batch(&refs));
    }
}
