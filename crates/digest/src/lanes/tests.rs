//! The rounds on plain words in both widths, and each register's operations against plain ones.
//!
//! Miri knows the AVX-512 instructions, so a machine without them can test that kernel too:
//! `RUSTFLAGS="-C target-feature=+avx512f,+avx512bw" cargo +nightly miri test -p peerless-digest
//! --lib -- lanes`.

use super::plain::Plain;
use crate::{
    Block,
    function::{Function, SHA1, SHA256},
    tier::{LANES_MAX, Tier, all, all_mut},
};

/// Words without a pattern: a step of splitmix64 from each seed.
fn noise(seed: u64) -> u32 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 32) as u32
}

/// A run for each lane.
fn data() -> Vec<Vec<Block>> {
    let byte = |lane: usize, block: usize, at: usize| noise((lane << 16 | block << 8 | at) as u64);
    let block = |lane, block| std::array::from_fn(|at| byte(lane, block, at) as u8);
    (0..LANES_MAX).map(|lane| (0..3).map(|number| block(lane, number)).collect()).collect()
}

/// Asserts that `rounds` are those of the portable kernel in each of `lanes`.
fn check<const W: usize>(
    function: &Function<W>,
    lanes: usize,
    rounds: impl FnOnce(&mut [[u32; W]], &[&[Block]]),
) {
    let data = data();
    let runs: Vec<&[Block]> = data.iter().take(lanes).map(Vec::as_slice).collect();
    let mut states = vec![function.initial; lanes];
    rounds(&mut states, &runs);
    for (lane, (state, run)) in states.iter().zip(runs).enumerate() {
        let mut expected = function.initial;
        (function.portable)(&mut expected, run);
        assert_eq!(*state, expected, "lane {lane} of {lanes}");
    }
}

fn check_plain<const N: usize>() {
    check(&SHA1, N, |states, runs| {
        super::sha1::compress::<_, N>(Plain, all_mut(states), all(runs));
    });
    check(&SHA256, N, |states, runs| {
        super::sha256::compress::<_, N>(Plain, all_mut(states), all(runs));
    });
}

#[test]
fn plain_rounds_of_any_number_of_lanes() {
    check_plain::<4>();
    check_plain::<8>();
    check_plain::<16>();
}

#[test]
fn rounds_of_every_tier_are_the_portable_ones() {
    for tier in Tier::detected() {
        let lanes = tier.lanes();
        check(&SHA1, lanes, |states, runs| tier.compress(&SHA1, states, runs));
        check(&SHA256, lanes, |states, runs| tier.compress(&SHA256, states, runs));
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use super::*;
    use crate::lanes::{Lanes, avx2::Avx2, avx512::Avx512, load_states, store_states};

    /// Every operation on noise, as arrays.
    fn operations<L: Lanes<N>, const N: usize>(lanes: L, seed: u64) -> Vec<[u32; N]> {
        let words = |of: u64| std::array::from_fn(|lane| noise(seed + of * 100 + lane as u64));
        let [a, b, c] = [0, 1, 2].map(|of| lanes.load(&words(of)));
        let data = data();
        let data: [&Block; N] = std::array::from_fn(|lane| &data[lane][0]);
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
        for seed in [0, 10_000, 20_000] {
            assert_eq!(operations(lanes, seed), operations::<_, 8>(Plain, seed));
        }
    }

    #[test]
    fn avx512_operations_are_the_plain_ones() {
        let Some(lanes) = Avx512::detect() else { return };
        for seed in [0, 10_000, 20_000] {
            assert_eq!(operations(lanes, seed), operations::<_, 16>(Plain, seed));
        }
    }
}
