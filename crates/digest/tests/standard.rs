//! The examples that NIST gives for FIPS 180-4, on every kernel of this machine.

use digest::kernels;

const TWO_BLOCKS: &[u8] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
const FOUR_BLOCKS: &[u8] = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                             hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[test]
fn sha1() {
    let million = vec![b'a'; 1_000_000];
    let messages: [&[&[u8]]; 5] =
        [&[], &[b"a", b"", b"bc"], &[TWO_BLOCKS], &[FOUR_BLOCKS], &[&million]];
    let expected = [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "a49b2446a02c645bf419f995b67091253a04a259",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
    ];
    for kernel in kernels() {
        let digests = kernel.sha1_batch(&messages).unwrap_or_default();
        let digests: Vec<String> = digests.iter().map(|digest| hex(digest)).collect();
        assert_eq!(digests, expected, "{kernel}");
    }
    assert_eq!(hex(&digest::sha1(messages[1])), expected[1]);
}

#[test]
fn sha256() {
    let million = vec![b'a'; 1_000_000];
    let messages: [&[&[u8]]; 5] =
        [&[], &[b"a", b"", b"bc"], &[TWO_BLOCKS], &[FOUR_BLOCKS], &[&million]];
    let expected = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ];
    for kernel in kernels() {
        let digests = kernel.sha256_batch(&messages).unwrap_or_default();
        let digests: Vec<String> = digests.iter().map(|digest| hex(digest)).collect();
        assert_eq!(digests, expected, "{kernel}");
    }
    assert_eq!(hex(&digest::sha256(messages[1])), expected[1]);
}
