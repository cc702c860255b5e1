//! SHA-1 over many buffers at once.
//!
//! One call takes a batch of messages, each scattered over any number of slices, so that the
//! caller never copies blocks together and a kernel with several lanes can fill them. Today every
//! message runs through the `sha1` crate, which uses the processor's SHA instructions where it has
//! them; lane kernels slot in behind [`sha1_batch`].

use sha1::{Digest, Sha1};

/// A SHA-1 digest.
pub type Sha1Digest = [u8; 20];

/// SHA-1 of each message; a message is the concatenation of its slices.
pub fn sha1_batch(messages: &[&[&[u8]]]) -> Vec<Sha1Digest> {
    messages.iter().map(|message| sha1(message)).collect()
}

/// SHA-1 of one message scattered over `slices`.
pub fn sha1(slices: &[&[u8]]) -> Sha1Digest {
    let mut hasher = Sha1::new();
    slices.iter().for_each(|slice| hasher.update(slice));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_equals_whole() {
        // FIPS 180-2, "abc".
        let abc =
            *b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
        assert_eq!(sha1(&[b"abc"]), abc);
        assert_eq!(sha1_batch(&[&[b"a", b"", b"bc"], &[b"abc"]]), [abc, abc]);
    }
}
