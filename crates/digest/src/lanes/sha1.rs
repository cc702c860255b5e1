//! The rounds of SHA-1 (FIPS 180-4, section 6.1.2), once for every register width.

use super::{Lanes, blocks_at, load_states, message_words, store_states};
use crate::Block;

/// The constant of each twenty rounds.
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Hashes the runs, which are of one length, each into its state.
#[inline(always)]
#[expect(clippy::many_single_char_names, reason = "those of the standard")]
pub(crate) fn compress<L: Lanes<N>, const N: usize>(
    lanes: L,
    states: &mut [[u32; 5]; N],
    runs: &[&[Block]; N],
) {
    let mut state = load_states(lanes, states);
    for index in 0..runs[0].len() {
        let mut words = message_words(lanes, &blocks_at(lanes, runs, index));
        let [mut a, mut b, mut c, mut d, mut e] = state;

        macro_rules! round {
            ($f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $t:expr) => {
                if $t >= 16 {
                    let old = lanes.xor(words[$t % 16], words[($t + 2) % 16]);
                    let mix = lanes.xor3(old, words[($t + 8) % 16], words[($t + 13) % 16]);
                    words[$t % 16] = lanes.rotate::<1, 31>(mix);
                }
                let input = lanes.add(lanes.add($e, lanes.splat(K[$t / 20])), words[$t % 16]);
                let mixed = lanes.add(input, lanes.$f($b, $c, $d));
                $e = lanes.add(mixed, lanes.rotate::<5, 27>($a));
                $b = lanes.rotate::<30, 2>($b);
            };
        }
        // After five rounds every name is back at its place.
        macro_rules! twenty {
            ($f:ident, $($t:literal)*) => {$(
                round!($f, a, b, c, d, e, $t);
                round!($f, e, a, b, c, d, $t + 1);
                round!($f, d, e, a, b, c, $t + 2);
                round!($f, c, d, e, a, b, $t + 3);
                round!($f, b, c, d, e, a, $t + 4);
            )*};
        }
        twenty!(choose, 0 5 10 15);
        twenty!(xor3, 20 25 30 35);
        twenty!(majority, 40 45 50 55);
        twenty!(xor3, 60 65 70 75);

        for (sum, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = lanes.add(*sum, new);
        }
    }
    store_states(lanes, state, states);
}
