//! N lanes in an array: what each operation of [`Lanes`] means, for the tests to compare with.

use super::Lanes;
use crate::Block;

/// Needs nothing of the machine.
#[derive(Clone, Copy)]
pub(super) struct Plain;

/// Applies `f` lane by lane.
fn each<const N: usize>(f: impl Fn(usize) -> u32) -> [u32; N] {
    std::array::from_fn(f)
}

impl<const N: usize> Lanes<N> for Plain {
    type Vector = [u32; N];

    fn splat(self, word: u32) -> [u32; N] {
        [word; N]
    }

    fn load(self, words: &[u32; N]) -> [u32; N] {
        *words
    }

    fn store(self, vector: [u32; N]) -> [u32; N] {
        vector
    }

    fn gather(self, blocks: &[&Block; N], first: usize, quad: usize) -> [u32; N] {
        each(|lane| {
            let block = blocks[first + lane / 4 * 4];
            u32::from_be_bytes(block.as_chunks().0[4 * quad + lane % 4])
        })
    }

    fn zip_low(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| if lane % 2 == 0 { a } else { b }[lane / 4 * 4 + lane % 4 / 2])
    }

    fn zip_high(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| if lane % 2 == 0 { a } else { b }[lane / 4 * 4 + lane % 4 / 2 + 2])
    }

    fn join_low(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| if lane % 4 < 2 { a } else { b }[lane / 4 * 4 + lane % 2])
    }

    fn join_high(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| if lane % 4 < 2 { a } else { b }[lane / 4 * 4 + lane % 2 + 2])
    }

    fn add(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| a[lane].wrapping_add(b[lane]))
    }

    fn xor(self, a: [u32; N], b: [u32; N]) -> [u32; N] {
        each(|lane| a[lane] ^ b[lane])
    }

    fn xor3(self, a: [u32; N], b: [u32; N], c: [u32; N]) -> [u32; N] {
        each(|lane| a[lane] ^ b[lane] ^ c[lane])
    }

    fn choose(self, a: [u32; N], b: [u32; N], c: [u32; N]) -> [u32; N] {
        each(|lane| (a[lane] & b[lane]) | (!a[lane] & c[lane]))
    }

    fn majority(self, a: [u32; N], b: [u32; N], c: [u32; N]) -> [u32; N] {
        each(|lane| (a[lane] & b[lane]) | (a[lane] & c[lane]) | (b[lane] & c[lane]))
    }

    fn rotate<const LEFT: i32, const RIGHT: i32>(self, a: [u32; N]) -> [u32; N] {
        each(|lane| a[lane].rotate_left(LEFT.unsigned_abs()))
    }

    fn shift_right<const BITS: i32>(self, a: [u32; N]) -> [u32; N] {
        each(|lane| a[lane] >> BITS)
    }

    fn prefetch(self, _address: *const Block) {}
}
