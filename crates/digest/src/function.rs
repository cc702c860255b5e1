//! What SHA-1 and SHA-256 do not share: a first state, constants, and the rounds of each kernel.
//! The rest of the crate is one code for both.

use crate::Block;
#[cfg(target_arch = "x86_64")]
use crate::{
    lanes::{avx2::Avx2, avx512::Avx512},
    sha_ni::ShaNi,
};

/// How a kernel hashes runs of one length, each into its state of `W` words. The value of type `T`
/// proves that the machine has the instructions.
#[cfg(target_arch = "x86_64")]
type Rounds<T, const W: usize> = fn(T, &mut [[u32; W]], &[&[Block]]);

/// [`Rounds`] of `N` lanes, no fewer.
#[cfg(target_arch = "x86_64")]
type LaneRounds<T, const W: usize, const N: usize> = fn(T, &mut [[u32; W]; N], &[&[Block]; N]);

/// A hash function with a state of `W` words, over blocks of 64 bytes.
pub(crate) struct Function<const W: usize> {
    /// The state before the first block.
    pub(crate) initial: [u32; W],
    /// Messages of one length, and the states that they end in.
    pub(crate) known: [(&'static [u8], [u32; W]); 2],
    pub(crate) portable: fn(&mut [u32; W], &[Block]),
    #[cfg(target_arch = "x86_64")]
    pub(crate) sha_ni: Rounds<ShaNi, W>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) avx2: LaneRounds<Avx2, W, { Avx2::LANES }>,
    #[cfg(target_arch = "x86_64")]
    pub(crate) avx512: LaneRounds<Avx512, W, { Avx512::LANES }>,
}

/// The two-block example that NIST gives for FIPS 180-4.
const TWO_BLOCKS: &[u8; 56] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
/// The same backwards.
const BACKWARDS: &[u8; 56] = b"qponponmonmlnmlkmlkjlkjikjihjihgihgfhgfegfedfedcedcbdcba";

/// FIPS 180-4, sections 5.3.1 and 6.1.
pub(crate) const SHA1: Function<5> = Function {
    initial: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0],
    known: [
        (TWO_BLOCKS, [0x8498_3e44, 0x1c3b_d26e, 0xbaae_4aa1, 0xf951_29e5, 0xe546_70f1]),
        (BACKWARDS, [0x4543_2a37, 0x1c56_0e91, 0x09a0_26d1, 0xeaa7_ff78, 0x76c3_d1ca]),
    ],
    portable: sha1::block_api::compress,
    #[cfg(target_arch = "x86_64")]
    sha_ni: ShaNi::sha1,
    #[cfg(target_arch = "x86_64")]
    avx2: Avx2::sha1,
    #[cfg(target_arch = "x86_64")]
    avx512: Avx512::sha1,
};

/// FIPS 180-4, sections 5.3.3 and 6.2.
#[rustfmt::skip] // eight words a row
pub(crate) const SHA256: Function<8> = Function {
    initial: [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ],
    known: [
        (TWO_BLOCKS, [
            0x248d_6a61, 0xd206_38b8, 0xe5c0_2693, 0x0c3e_6039, 0xa33c_e459, 0x64ff_2167, 0xf6ec_edd4, 0x19db_06c1,
        ]),
        (BACKWARDS, [
            0xe9ee_1b47, 0x6701_148b, 0xbd68_8936, 0x1a4e_e453, 0x1a9d_0e5f, 0x81ae_cb2b, 0x2e8c_d9a2, 0xb183_ae5d,
        ]),
    ],
    portable: sha2::block_api::compress256,
    #[cfg(target_arch = "x86_64")]
    sha_ni: ShaNi::sha256,
    #[cfg(target_arch = "x86_64")]
    avx2: Avx2::sha256,
    #[cfg(target_arch = "x86_64")]
    avx512: Avx512::sha256,
};

/// The constant of each round of SHA-256 (FIPS 180-4, section 4.2.2).
#[cfg(any(target_arch = "x86_64", test))]
#[rustfmt::skip] // eight rows of eight, as the standard prints them
pub(crate) const SHA256_K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];
