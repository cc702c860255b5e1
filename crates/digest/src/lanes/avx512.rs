//! Sixteen lanes: the operations of [`Lanes`] in AVX-512, which has a rotation and any function of
//! three inputs as one instruction each.

#![expect(unsafe_code, reason = "the instructions are there only on some machines")]
#![allow(
    clippy::wildcard_imports,
    reason = "every name begins with _mm; a test build does not look"
)]

use std::arch::x86_64::*;

use super::{Lanes, sha1, sha256};
use crate::Block;

/// Truth tables for `vpternlogd`: bit `4 a + 2 b + c` is the answer for those inputs.
const XOR3: i32 = 0b1001_0110;
const CHOOSE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// Proof that this machine has the foundation of AVX-512 and its byte and word instructions.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The number of lanes.
    pub(crate) const LANES: usize = 16;

    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"))
            .then_some(Self(()))
    }

    /// SHA-1 of sixteen runs of one length, each into its state.
    pub(crate) fn sha1(self, states: &mut [[u32; 5]; 16], runs: &[&[Block]; 16]) {
        #[target_feature(enable = "avx512f,avx512bw")]
        fn compress(lanes: Avx512, states: &mut [[u32; 5]; 16], runs: &[&[Block]; 16]) {
            sha1::compress(lanes, states, runs);
        }
        // SAFETY: `self` proves that the machine has AVX-512 F and BW.
        unsafe { compress(self, states, runs) }
    }

    /// SHA-256 of sixteen runs of one length, each into its state.
    pub(crate) fn sha256(self, states: &mut [[u32; 8]; 16], runs: &[&[Block]; 16]) {
        #[target_feature(enable = "avx512f,avx512bw")]
        fn compress(lanes: Avx512, states: &mut [[u32; 8]; 16], runs: &[&[Block]; 16]) {
            sha256::compress(lanes, states, runs);
        }
        // SAFETY: `self` proves that the machine has AVX-512 F and BW.
        unsafe { compress(self, states, runs) }
    }
}

/// An operation on vectors alone.
macro_rules! operations {
    ($($name:ident($($arg:ident),*) => $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: __m512i),*) -> __m512i {
            // SAFETY: `self` proves that the machine has AVX-512; nothing here touches memory.
            unsafe { $value }
        }
    )*};
}

impl Lanes<16> for Avx512 {
    type Vector = __m512i;

    operations! {
        zip_low(a, b) => _mm512_unpacklo_epi32(a, b);
        zip_high(a, b) => _mm512_unpackhi_epi32(a, b);
        join_low(a, b) => _mm512_unpacklo_epi64(a, b);
        join_high(a, b) => _mm512_unpackhi_epi64(a, b);
        add(a, b) => _mm512_add_epi32(a, b);
        xor(a, b) => _mm512_xor_si512(a, b);
        xor3(a, b, c) => _mm512_ternarylogic_epi32::<XOR3>(a, b, c);
        choose(a, b, c) => _mm512_ternarylogic_epi32::<CHOOSE>(a, b, c);
        majority(a, b, c) => _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: __m512i) -> __m512i {
        const { assert!(LEFT + RIGHT == 32) };
        // SAFETY: `self` proves that the machine has AVX-512; nothing here touches memory.
        unsafe { _mm512_rol_epi32::<LEFT>(a) }
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves that the machine has AVX-512; nothing here touches memory. The
        // counts are a vector of the intrinsic's, and a constant of the instruction's.
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(BITS)) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: `self` proves that the machine has AVX-512; nothing here touches memory.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(self, words: &[u32; 16]) -> __m512i {
        // SAFETY: `self` proves that the machine has AVX-512; `words` are the 64 bytes that are
        // read, which need no alignment.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512i) -> [u32; 16] {
        let mut words = [0; 16];
        // SAFETY: `self` proves that the machine has AVX-512; `words` are the 64 bytes that are
        // written, which need no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
        words
    }

    #[inline(always)]
    fn gather(self, blocks: &[&Block; 16], first: usize, quad: usize) -> __m512i {
        let [a, b, c, d] =
            [0, 4, 8, 12].map(|lane| &blocks[first + lane].as_chunks::<16>().0[quad]);
        // SAFETY: `self` proves that the machine has AVX-512 F and BW; each address is that of 16
        // bytes, which are read and need no alignment.
        unsafe {
            let all = _mm512_castsi128_si512(_mm_loadu_si128(a.as_ptr().cast()));
            let all = _mm512_inserti32x4::<1>(all, _mm_loadu_si128(b.as_ptr().cast()));
            let all = _mm512_inserti32x4::<2>(all, _mm_loadu_si128(c.as_ptr().cast()));
            let all = _mm512_inserti32x4::<3>(all, _mm_loadu_si128(d.as_ptr().cast()));
            let bytes_of_words = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            _mm512_shuffle_epi8(all, _mm512_broadcast_i32x4(bytes_of_words))
        }
    }

    #[inline(always)]
    fn prefetch(self, address: *const Block) {
        // SAFETY: `self` proves that the machine has SSE, which comes before AVX-512. A prefetch
        // reads nothing that the program can see and does not fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}
