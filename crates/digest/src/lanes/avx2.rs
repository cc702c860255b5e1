//! Eight lanes: the operations of [`Lanes`] in AVX2.

#![expect(unsafe_code, reason = "the instructions are there only on some machines")]
#![allow(
    clippy::wildcard_imports,
    reason = "every name begins with _mm; a test build does not look"
)]

use std::arch::x86_64::*;

use super::{Lanes, sha1, sha256};
use crate::Block;

/// Proof that this machine has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The number of lanes.
    pub(crate) const LANES: usize = 8;

    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// SHA-1 of eight runs of one length, each into its state.
    pub(crate) fn sha1(self, states: &mut [[u32; 5]; 8], runs: &[&[Block]; 8]) {
        #[target_feature(enable = "avx2")]
        fn compress(lanes: Avx2, states: &mut [[u32; 5]; 8], runs: &[&[Block]; 8]) {
            sha1::compress(lanes, states, runs);
        }
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { compress(self, states, runs) }
    }

    /// SHA-256 of eight runs of one length, each into its state.
    pub(crate) fn sha256(self, states: &mut [[u32; 8]; 8], runs: &[&[Block]; 8]) {
        #[target_feature(enable = "avx2")]
        fn compress(lanes: Avx2, states: &mut [[u32; 8]; 8], runs: &[&[Block]; 8]) {
            sha256::compress(lanes, states, runs);
        }
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { compress(self, states, runs) }
    }
}

/// An operation on vectors alone.
macro_rules! operations {
    ($($name:ident($($arg:ident),*) => $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: __m256i),*) -> __m256i {
            // SAFETY: `self` proves that the machine has AVX2; nothing here touches memory.
            unsafe { $value }
        }
    )*};
}

impl Lanes<8> for Avx2 {
    type Vector = __m256i;

    operations! {
        zip_low(a, b) => _mm256_unpacklo_epi32(a, b);
        zip_high(a, b) => _mm256_unpackhi_epi32(a, b);
        join_low(a, b) => _mm256_unpacklo_epi64(a, b);
        join_high(a, b) => _mm256_unpackhi_epi64(a, b);
        add(a, b) => _mm256_add_epi32(a, b);
        xor(a, b) => _mm256_xor_si256(a, b);
        xor3(a, b, c) => _mm256_xor_si256(_mm256_xor_si256(a, b), c);
        choose(a, b, c) => _mm256_xor_si256(c, _mm256_and_si256(a, _mm256_xor_si256(b, c)));
        // Written so that SHA-256's next round finds its `b ^ c` computed: it is this `a ^ b`.
        majority(a, b, c) => _mm256_xor_si256(
            b,
            _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)),
        );
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: __m256i) -> __m256i {
        const { assert!(LEFT + RIGHT == 32) };
        // SAFETY: `self` proves that the machine has AVX2; nothing here touches memory.
        unsafe { _mm256_or_si256(_mm256_slli_epi32::<LEFT>(a), _mm256_srli_epi32::<RIGHT>(a)) }
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves that the machine has AVX2; nothing here touches memory.
        unsafe { _mm256_srli_epi32::<BITS>(a) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: `self` proves that the machine has AVX2; nothing here touches memory.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(self, words: &[u32; 8]) -> __m256i {
        // SAFETY: `self` proves that the machine has AVX2; `words` are the 32 bytes that are read,
        // which need no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m256i) -> [u32; 8] {
        let mut words = [0; 8];
        // SAFETY: `self` proves that the machine has AVX2; `words` are the 32 bytes that are
        // written, which need no alignment.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
        words
    }

    #[inline(always)]
    fn gather(self, blocks: &[&Block; 8], first: usize, quad: usize) -> __m256i {
        let [low, high] = [0, 4].map(|lane| &blocks[first + lane].as_chunks::<16>().0[quad]);
        // SAFETY: `self` proves that the machine has AVX2; each address is that of 16 bytes, which
        // are read and need no alignment.
        unsafe {
            let low = _mm_loadu_si128(low.as_ptr().cast());
            let high = _mm_loadu_si128(high.as_ptr().cast());
            let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            let bytes_of_words = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(bytes_of_words))
        }
    }

    #[inline(always)]
    fn prefetch(self, address: *const Block) {
        // SAFETY: `self` proves that the machine has SSE, which comes before AVX2. A prefetch reads
        // nothing that the program can see and does not fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}
