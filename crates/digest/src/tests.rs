//! Every tier of this machine against known answers and against the `sha1` and `sha2` crates, through
//! the whole schedule.

use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::*;
use crate::tier::{LANES_MAX, Tier};

const KIB: usize = 1024;

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + (at >> 8) * 7 + seed * 101 + 3) as u8).collect()
}

/// Asserts that each tier alone, and those chosen, give each message's hashes.
fn check(messages: &[Vec<&[u8]>]) {
    let refs: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
    let whole: Vec<Vec<u8>> = messages.iter().map(|message| message.concat()).collect();
    let lengths: Vec<usize> = whole.iter().map(Vec::len).collect();
    let sha1: Vec<Sha1Digest> = whole.iter().map(|message| Sha1::digest(message).into()).collect();
    let sha256: Vec<Sha256Digest> =
        whole.iter().map(|message| Sha256::digest(message).into()).collect();
    for tier in Tier::detected() {
        let (plan, what) = (Plan::only(tier), (tier.kernel(), tier.lanes()));
        let hashes = schedule::digests(&SHA1, &plan, &refs);
        assert_eq!(hashes, sha1, "SHA-1 by {what:?} of {lengths:?}");
        let hashes = schedule::digests(&SHA256, &plan, &refs);
        assert_eq!(hashes, sha256, "SHA-256 by {what:?} of {lengths:?}");
    }
    assert_eq!(sha1_batch(&refs), sha1);
    assert_eq!(sha256_batch(&refs), sha256);
    if let [message, ..] = refs[..] {
        assert_eq!((super::sha1(message), super::sha256(message)), (sha1[0], sha256[0]));
    }
}

/// Digests as NIST prints them.
fn hex<const B: usize>(digests: &[[u8; B]]) -> Vec<String> {
    let byte = |byte: &u8| {
        [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
    };
    digests.iter().map(|digest| digest.iter().flat_map(byte).collect()).collect()
}

/// The examples that NIST gives for FIPS 180-4.
#[test]
fn known_answers() {
    let million = vec![b'a'; 1_000_000];
    let four_blocks = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                        hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    let messages: [&[&[u8]]; 4] = [&[], &[b"a", b"", b"bc"], &[four_blocks], &[&million]];
    let sha1 = [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "a49b2446a02c645bf419f995b67091253a04a259",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    ];
    let sha256 = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ];
    assert_eq!(hex(&sha1_batch(&messages)), sha1);
    assert_eq!(hex(&sha256_batch(&messages)), sha256);
    check(&messages.map(<[_]>::to_vec));
}

#[test]
fn every_number_of_messages_of_every_short_length() {
    let data = bytes(KIB, 1);
    for count in 0..=2 * LANES_MAX + 1 {
        for length in 0..=130 {
            check(&(0..count).map(|at| vec![&data[at..at + length]]).collect::<Vec<_>>());
        }
    }
}

#[test]
fn lengths_around_blocks_and_slices() {
    let lengths: Vec<usize> = [64, 128, 512, 4 * KIB, 16 * KIB, 32 * KIB]
        .into_iter()
        .flat_map(|middle| [middle - 9, middle - 8, middle - 1, middle, middle + 1])
        .collect();
    let data: Vec<Vec<u8>> = lengths.iter().map(|&length| bytes(length, length)).collect();
    for count in 1..=2 * LANES_MAX + 1 {
        let message = |at: usize| data[at * 7 % data.len()].chunks(16 * KIB).collect();
        check(&(0..count).map(message).collect::<Vec<_>>());
    }
}

#[test]
fn a_long_message_outlives_many_short_ones() {
    let data = bytes(64 * KIB, 2);
    let mut messages: Vec<Vec<&[u8]>> = (0..100).map(|at| vec![&data[at..3 * at]]).collect();
    messages.insert(50, data.chunks(1_000).collect());
    messages.insert(90, vec![&data[1..]]);
    check(&messages);
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
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_of_any_lengths_cut_anywhere(
        messages in prop::collection::vec(message(2_000), 1..=40),
    ) {
        let cut = messages.iter().map(|(content, cuts)| cut(content, cuts));
        check(&cut.collect::<Vec<_>>());
    }
}
