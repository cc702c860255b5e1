//! The rounds of SHA-256 (FIPS 180-4, section 6.2.2), once for every register width.

use super::{Lanes, blocks_at, load_states, message_words, store_states};
use crate::{Block, function::SHA256_K};

/// Hashes the runs, which are of one length, each into its state.
#[inline(always)]
#[expect(clippy::many_single_char_names, reason = "those of the standard")]
pub(crate) fn compress<L: Lanes<N>, const N: usize>(
    lanes: L,
    states: &mut [[u32; 8]; N],
    runs: &[&[Block]; N],
) {
    let mut state = load_states(lanes, states);
    for index in 0..runs[0].len() {
        let mut words = message_words(lanes, &blocks_at(lanes, runs, index));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;

        macro_rules! round {
            ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $t:expr) => {
                if $t >= 16 {
                    let (near, far) = (words[($t + 1) % 16], words[($t + 14) % 16]);
                    let near = lanes.xor3(
                        lanes.rotate::<25, 7>(near),
                        lanes.rotate::<14, 18>(near),
                        lanes.shift_right::<3>(near),
                    );
                    let far = lanes.xor3(
                        lanes.rotate::<15, 17>(far),
                        lanes.rotate::<13, 19>(far),
                        lanes.shift_right::<10>(far),
                    );
                    let old = lanes.add(words[$t % 16], words[($t + 9) % 16]);
                    words[$t % 16] = lanes.add(old, lanes.add(near, far));
                }
                let input = lanes.add(lanes.add($h, lanes.splat(SHA256_K[$t])), words[$t % 16]);
                let choice = lanes.add(input, lanes.choose($e, $f, $g));
                let sigma = lanes.xor3(
                    lanes.rotate::<26, 6>($e),
                    lanes.rotate::<21, 11>($e),
                    lanes.rotate::<7, 25>($e),
                );
                let first = lanes.add(choice, sigma);
                let sigma = lanes.xor3(
                    lanes.rotate::<30, 2>($a),
                    lanes.rotate::<19, 13>($a),
                    lanes.rotate::<10, 22>($a),
                );
                $d = lanes.add($d, first);
                $h = lanes.add(first, lanes.add(sigma, lanes.majority($a, $b, $c)));
            };
        }
        // After eight rounds every name is back at its place.
        macro_rules! rounds {
            ($($t:literal)*) => {$(
                round!(a, b, c, d, e, f, g, h, $t);
                round!(h, a, b, c, d, e, f, g, $t + 1);
                round!(g, h, a, b, c, d, e, f, $t + 2);
                round!(f, g, h, a, b, c, d, e, $t + 3);
                round!(e, f, g, h, a, b, c, d, $t + 4);
                round!(d, e, f, g, h, a, b, c, $t + 5);
                round!(c, d, e, f, g, h, a, b, $t + 6);
                round!(b, c, d, e, f, g, h, a, $t + 7);
            )*};
        }
        rounds!(0 8 16 24 32 40 48 56);

        for (sum, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = lanes.add(*sum, new);
        }
    }
    store_states(lanes, state, states);
}
