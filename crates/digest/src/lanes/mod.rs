//! Hashing many messages in the lanes of wide registers.
//!
//! A vector holds one word of each of N messages, so the rounds of one block compute N blocks. The
//! rounds are written once, in [`sha1`] and [`sha256`], over the dozen operations of [`Lanes`]; each
//! register width says what those operations are ([`avx2`], [`avx512`]). `plain`, arrays of words
//! for the tests, lets a machine without AVX-512 run all of its kernel but those operations.

#![expect(
    clippy::inline_always,
    reason = "an operation must become part of a function that has the instructions it needs; \
              left out of line it would be a call through memory for each addition"
)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(test)]
mod plain;
pub(crate) mod sha1;
pub(crate) mod sha256;
#[cfg(test)]
mod tests;

use crate::Block;

/// How many blocks ahead each lane's data is asked for. A block is a cache line; the hardware
/// follows fewer streams than there are lanes, and this many blocks take longer to hash than memory
/// takes to answer.
const PREFETCH_BLOCKS: usize = 8;

/// What the rounds need of a register with N lanes of 32 bits.
///
/// A value of the implementing type is the proof that the machine has the instructions: it can be
/// made only by detecting them.
pub(crate) trait Lanes<const N: usize>: Copy {
    /// N words.
    type Vector: Copy;

    /// `word` in every lane.
    fn splat(self, word: u32) -> Self::Vector;
    /// `words[i]` in lane `i`.
    fn load(self, words: &[u32; N]) -> Self::Vector;
    /// Lane `i` in word `i`.
    fn store(self, vector: Self::Vector) -> [u32; N];
    /// Lanes `4 i..4 i + 4` are the 16 bytes at `16 * quad` of `blocks[first + 4 * i]`, as words of
    /// big-endian bytes.
    fn gather(self, blocks: &[&Block; N], first: usize, quad: usize) -> Self::Vector;

    /// In each group of four lanes: `a0 b0 a1 b1`.
    fn zip_low(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each group of four lanes: `a2 b2 a3 b3`.
    fn zip_high(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each group of four lanes: `a0 a1 b0 b1`.
    fn join_low(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// In each group of four lanes: `a2 a3 b2 b3`.
    fn join_high(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The sum, wrapping.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Exclusive or of two.
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Exclusive or of three: FIPS 180-4's Parity.
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// A bit of `b` where `a` has one, of `c` where not: FIPS 180-4's Ch.
    fn choose(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// What at least two of three say: FIPS 180-4's Maj.
    fn majority(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Rotates to the left by `LEFT` bits; `RIGHT` is the rest of 32.
    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: Self::Vector) -> Self::Vector;
    /// Shifts to the right by `BITS`.
    fn shift_right<const BITS: i32>(self, a: Self::Vector) -> Self::Vector;

    /// Asks for the cache line at `address`, which may be anywhere.
    fn prefetch(self, address: *const Block);
}

/// Word `t` of sixteen blocks' lanes in vector `t`: a transpose in registers, four words at a time.
#[inline(always)]
fn message_words<L: Lanes<N>, const N: usize>(lanes: L, blocks: &[&Block; N]) -> [L::Vector; 16] {
    let mut words = [lanes.splat(0); 16];
    for quad in 0..4 {
        let a = lanes.gather(blocks, 0, quad);
        let b = lanes.gather(blocks, 1, quad);
        let c = lanes.gather(blocks, 2, quad);
        let d = lanes.gather(blocks, 3, quad);
        let (ab_low, ab_high) = (lanes.zip_low(a, b), lanes.zip_high(a, b));
        let (cd_low, cd_high) = (lanes.zip_low(c, d), lanes.zip_high(c, d));
        words[4 * quad] = lanes.join_low(ab_low, cd_low);
        words[4 * quad + 1] = lanes.join_high(ab_low, cd_low);
        words[4 * quad + 2] = lanes.join_low(ab_high, cd_high);
        words[4 * quad + 3] = lanes.join_high(ab_high, cd_high);
    }
    words
}

/// Block `index` of each run, with those that come later asked for.
#[inline(always)]
fn blocks_at<'a, L: Lanes<N>, const N: usize>(
    lanes: L,
    runs: &[&'a [Block]; N],
    index: usize,
) -> [&'a Block; N] {
    let mut blocks = [&runs[0][index]; N];
    for (block, run) in blocks.iter_mut().zip(runs) {
        *block = &run[index];
        lanes.prefetch(run.as_ptr().wrapping_add(index + PREFETCH_BLOCKS));
    }
    blocks
}

/// Word `i` of every lane's state in vector `i`.
#[inline(always)]
fn load_states<L: Lanes<N>, const N: usize, const W: usize>(
    lanes: L,
    states: &[[u32; W]; N],
) -> [L::Vector; W] {
    let mut vectors = [lanes.splat(0); W];
    for (word, vector) in vectors.iter_mut().enumerate() {
        let mut column = [0; N];
        for (out, state) in column.iter_mut().zip(states) {
            *out = state[word];
        }
        *vector = lanes.load(&column);
    }
    vectors
}

/// The reverse of [`load_states`].
#[inline(always)]
fn store_states<L: Lanes<N>, const N: usize, const W: usize>(
    lanes: L,
    vectors: [L::Vector; W],
    states: &mut [[u32; W]; N],
) {
    for (word, vector) in vectors.into_iter().enumerate() {
        for (state, value) in states.iter_mut().zip(lanes.store(vector)) {
            state[word] = value;
        }
    }
}
