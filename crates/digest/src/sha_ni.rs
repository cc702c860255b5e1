//! The SHA instructions of x86, with one message or with a few whose rounds are interleaved.
//!
//! A round waits for the one before it longer than the unit is busy with it; other messages fill
//! the gap. How many it takes differs from processor to processor, and more than needed cost
//! registers, so the plan measures each number.

#![expect(unsafe_code, reason = "the instructions are there only on some machines")]
#![allow(
    clippy::wildcard_imports,
    reason = "every name begins with _mm; a test build does not look"
)]
#![expect(clippy::many_single_char_names, reason = "those of the standard")]
#![expect(clippy::needless_range_loop, reason = "one index goes through all runs side by side")]
#![expect(clippy::unused_self, reason = "the value is the proof that the call is sound")]

use std::arch::x86_64::*;

use crate::{
    Block,
    function::SHA256_K,
    tier::{all, all_mut},
};

/// Calls a function of so many messages as there are.
macro_rules! for_each_width {
    ($function:ident($states:ident, $runs:ident)) => {
        match $states.len() {
            1 => $function::<1>(all_mut($states), all($runs)),
            2 => $function::<2>(all_mut($states), all($runs)),
            3 => $function::<3>(all_mut($states), all($runs)),
            4 => $function::<4>(all_mut($states), all($runs)),
            lanes => unreachable!("{lanes} lanes of {}", ShaNi::LANES_MAX),
        }
    };
}

/// Proof that this machine has the SHA instructions, SSSE3 and SSE 4.1.
#[derive(Clone, Copy)]
pub(crate) struct ShaNi(());

impl ShaNi {
    /// More messages at once need more registers than there are.
    pub(crate) const LANES_MAX: usize = 4;

    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1"))
        .then_some(Self(()))
    }

    /// SHA-1 of one to four runs of one length, each into its state.
    pub(crate) fn sha1(self, states: &mut [[u32; 5]], runs: &[&[Block]]) {
        // SAFETY: `self` proves that the machine has these instructions.
        unsafe { for_each_width!(sha1(states, runs)) }
    }

    /// SHA-256 of one to four runs of one length, each into its state.
    pub(crate) fn sha256(self, states: &mut [[u32; 8]], runs: &[&[Block]]) {
        // SAFETY: `self` proves that the machine has these instructions.
        unsafe { for_each_width!(sha256(states, runs)) }
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sha1<const S: usize>(states: &mut [[u32; 5]; S], runs: &[&[Block]; S]) {
    // The instructions take a word's first to the highest lane, so all 16 bytes turn round.
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let mut abcd = states.map(|[a, b, c, d, _]| words(a, b, c, d));
    let mut e = states.map(|[.., e]| words(e, 0, 0, 0));

    for index in 0..runs[0].len() {
        let (abcd_before, e_before) = (abcd, e);
        let mut message = [[_mm_setzero_si128(); 4]; S];
        for s in 0..S {
            message[s] = load(&runs[s][index], order);
            e[s] = _mm_add_epi32(e[s], message[s][0]);
        }
        // Four rounds; `e` holds what goes into them: E and the message, summed.
        macro_rules! four {
            ($function:literal, $group:expr) => {
                for s in 0..S {
                    let w = &mut message[s];
                    let before = abcd[s];
                    abcd[s] = _mm_sha1rnds4_epu32::<$function>(before, e[s]);
                    if (3..19).contains(&$group) {
                        let mix = _mm_sha1msg1_epu32(w[($group + 1) % 4], w[($group + 2) % 4]);
                        let mix = _mm_xor_si128(mix, w[($group + 3) % 4]);
                        w[($group + 1) % 4] = _mm_sha1msg2_epu32(mix, w[$group % 4]);
                    }
                    e[s] = if $group == 19 {
                        _mm_sha1nexte_epu32(before, e_before[s])
                    } else {
                        _mm_sha1nexte_epu32(before, w[($group + 1) % 4])
                    };
                }
            };
        }
        macro_rules! twenty {
            ($function:literal, $($group:literal)*) => { $(four!($function, $group);)* };
        }
        twenty!(0, 0 1 2 3 4);
        twenty!(1, 5 6 7 8 9);
        twenty!(2, 10 11 12 13 14);
        twenty!(3, 15 16 17 18 19);

        for s in 0..S {
            abcd[s] = _mm_add_epi32(abcd[s], abcd_before[s]);
        }
    }

    for s in 0..S {
        let [d, c, b, a] = unpack(abcd[s]);
        let [.., e] = unpack(e[s]);
        states[s] = [a, b, c, d, e];
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn sha256<const S: usize>(states: &mut [[u32; 8]; S], runs: &[&[Block]; S]) {
    // Each word's bytes turn round, the words stay.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut abef = states.map(|[a, b, _, _, e, f, _, _]| words(a, b, e, f));
    let mut cdgh = states.map(|[_, _, c, d, _, _, g, h]| words(c, d, g, h));

    for index in 0..runs[0].len() {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut message = [[_mm_setzero_si128(); 4]; S];
        for s in 0..S {
            message[s] = load(&runs[s][index], order);
        }
        macro_rules! four {
            ($($group:literal)*) => {$(
                let k = &SHA256_K.as_chunks::<4>().0[$group];
                let k = words(k[3], k[2], k[1], k[0]);
                for s in 0..S {
                    let w = &mut message[s];
                    if $group >= 4 {
                        let old = _mm_sha256msg1_epu32(w[$group % 4], w[($group + 1) % 4]);
                        let (near, late) = (w[($group + 2) % 4], w[($group + 3) % 4]);
                        let mix = _mm_add_epi32(old, _mm_alignr_epi8::<4>(late, near));
                        w[$group % 4] = _mm_sha256msg2_epu32(mix, late);
                    }
                    let input = _mm_add_epi32(w[$group % 4], k);
                    cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], input);
                    let input = _mm_shuffle_epi32::<0b1110>(input);
                    abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], input);
                }
            )*};
        }
        four!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

        for s in 0..S {
            abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
        }
    }

    for s in 0..S {
        let [f, e, b, a] = unpack(abef[s]);
        let [h, g, d, c] = unpack(cdgh[s]);
        states[s] = [a, b, c, d, e, f, g, h];
    }
}

/// Four words, the first in the highest lane.
#[target_feature(enable = "sse2")]
#[inline]
fn words(a: u32, b: u32, c: u32, d: u32) -> __m128i {
    _mm_set_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed())
}

/// Four words, that of the lowest lane first.
#[target_feature(enable = "sse4.1")]
#[inline]
fn unpack(vector: __m128i) -> [u32; 4] {
    [
        _mm_extract_epi32::<0>(vector).cast_unsigned(),
        _mm_extract_epi32::<1>(vector).cast_unsigned(),
        _mm_extract_epi32::<2>(vector).cast_unsigned(),
        _mm_extract_epi32::<3>(vector).cast_unsigned(),
    ]
}

/// A block's sixteen words, its bytes put into `order`.
#[target_feature(enable = "ssse3")]
#[inline]
fn load(block: &Block, order: __m128i) -> [__m128i; 4] {
    let mut vectors = [order; 4];
    for (vector, bytes) in vectors.iter_mut().zip(block.as_chunks::<16>().0) {
        // SAFETY: `bytes` are the 16 bytes that are read, which need no alignment.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        *vector = _mm_shuffle_epi8(bytes, order);
    }
    vectors
}
