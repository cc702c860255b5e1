//! The rounds on plain words in both widths, and each register's operations against plain ones.

use super::{Lanes, avx2::Avx2, avx512::Avx512, load_states, plain::Plain, store_states};
use crate::{
    Block,
    function::{SHA1, SHA256},
};

/// Words without a pattern: a step of splitmix64 from each seed.
fn noise(seed: u64) -> u32 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 32) as u32
}

fn blocks(seed: u64) -> Vec<Block> {
    (0..3)
        .map(|block| std::array::from_fn(|at| noise(seed * 1_000 + block * 64 + at as u64) as u8))
        .collect()
}

fn rounds_are_those_of_the_crates<const N: usize>() {
    let data: [Vec<Block>; N] = std::array::from_fn(|lane| blocks(lane as u64));
    let runs: [&[Block]; N] = std::array::from_fn(|lane| data[lane].as_slice());

    let mut states = [SHA1.initial; N];
    super::sha1::compress(Plain, &mut states, &runs);
    for (state, run) in states.iter().zip(runs) {
        let mut expected = SHA1.initial;
        sha1::block_api::compress(&mut expected, run);
        assert_eq!(*state, expected);
    }

    let mut states = [SHA256.initial; N];
    super::sha256::compress(Plain, &mut states, &runs);
    for (state, run) in states.iter().zip(runs) {
        let mut expected = SHA256.initial;
        sha2::block_api::compress256(&mut expected, run);
        assert_eq!(*state, expected);
    }
}

#[test]
fn plain_rounds_of_8_lanes() {
    rounds_are_those_of_the_crates::<8>();
}

#[test]
fn plain_rounds_of_16_lanes() {
    rounds_are_those_of_the_crates::<16>();
}

/// Every operation on noise, as arrays.
fn operations<L: Lanes<N>, const N: usize>(lanes: L, seed: u64) -> Vec<[u32; N]> {
    let words = |of: u64| std::array::from_fn(|lane| noise(seed + of * 100 + lane as u64));
    let [a, b, c] = [0, 1, 2].map(|of| lanes.load(&words(of)));
    let data: [Block; N] = std::array::from_fn(|lane| blocks(seed + lane as u64)[0]);
    let data: [&Block; N] = data.each_ref();
    lanes.prefetch(std::ptr::null());
    let mut results = vec![
        a,
        lanes.splat(noise(seed)),
        lanes.zip_low(a, b),
        lanes.zip_high(a, b),
        lanes.join_low(a, b),
        lanes.join_high(a, b),
        lanes.add(a, b),
        lanes.xor(a, b),
        lanes.xor3(a, b, c),
        lanes.choose(a, b, c),
        lanes.majority(a, b, c),
        lanes.rotate::<1, 31>(a),
        lanes.rotate::<5, 27>(a),
        lanes.rotate::<30, 2>(a),
        lanes.shift_right::<3>(a),
        lanes.shift_right::<10>(a),
    ];
    for first in 0..4 {
        results.extend((0..4).map(|quad| lanes.gather(&data, first, quad)));
    }
    let states: [[u32; 5]; N] = std::array::from_fn(|lane| {
        std::array::from_fn(|word| noise(seed + 5 * lane as u64 + word as u64))
    });
    let mut copies = [[0; 5]; N];
    store_states(lanes, load_states(lanes, &states), &mut copies);
    assert_eq!(copies, states);
    results.into_iter().map(|vector| lanes.store(vector)).collect()
}

#[test]
fn avx2_operations_are_the_plain_ones() {
    let Some(lanes) = Avx2::detect() else { return };
    for seed in (0..50).map(|round| round * 10_000) {
        assert_eq!(operations(lanes, seed), operations::<_, 8>(Plain, seed));
    }
}

#[test]
fn avx512_operations_are_the_plain_ones() {
    let Some(lanes) = Avx512::detect() else { return };
    for seed in (0..50).map(|round| round * 10_000) {
        assert_eq!(operations(lanes, seed), operations::<_, 16>(Plain, seed));
    }
}
