//! What is derived from the shared secret and the torrent: the marks that each side looks for, and
//! the key streams.

use metainfo::InfoHash;
use sha1::{Digest, Sha1};

use super::dh::Secret;
use super::{Ciphers, Rc4};

/// Bytes of a hash.
pub(super) const MARK_LENGTH: usize = 20;

/// A hash that is looked for in the stream, or looked up.
pub(super) type Mark = [u8; MARK_LENGTH];

fn hash(name: [u8; 4], parts: &[&[u8]]) -> Mark {
    let mut hasher = Sha1::new().chain_update(name);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// The name of a torrent within MSE. A server has a table of them, so that finding the torrent that a
/// peer means costs the same however many there are.
pub fn torrent_mark(info_hash: &InfoHash) -> [u8; MARK_LENGTH] {
    hash(*b"req2", &[&info_hash.0])
}

/// Follows the padding of who began.
pub(super) fn first_mark(secret: &Secret) -> Mark {
    hash(*b"req1", &[secret])
}

/// Hides a torrent's name, and finds it again.
pub(super) fn hide(mark: Mark, secret: &Secret) -> Mark {
    let mask = hash(*b"req3", &[secret]);
    let mut hidden = mark;
    hidden.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    hidden
}

/// The key streams of who began.
pub(super) fn ciphers(secret: &Secret, info_hash: &InfoHash) -> Ciphers {
    let stream = |name: &[u8; 4]| Rc4::new(&hash(*name, &[secret, &info_hash.0]));
    Ciphers { send: stream(b"keyA"), receive: stream(b"keyB") }
}

#[cfg(test)]
mod tests {
    use super::super::{VERIFICATION, vectors};
    use super::*;

    #[test]
    fn the_vectors() {
        let torrent = InfoHash(vectors::SKEY);
        assert_eq!(first_mark(&vectors::S), vectors::REQ1);
        assert_eq!(hide(torrent_mark(&torrent), &vectors::S), vectors::REQ2_XOR_REQ3);
        assert_eq!(hide(vectors::REQ2_XOR_REQ3, &vectors::S), torrent_mark(&torrent));
        assert_eq!(hash(*b"keyA", &[&vectors::S, &vectors::SKEY]), vectors::KEY_A);
        assert_eq!(hash(*b"keyB", &[&vectors::S, &vectors::SKEY]), vectors::KEY_B);
        let Ciphers { mut send, mut receive } = ciphers(&vectors::S, &torrent);
        let mut verification = VERIFICATION;
        send.clone().apply(&mut verification);
        assert_eq!(verification, vectors::VC_BY_A);
        let (mut by_a, mut by_b) = ([0; 16], [0; 16]);
        send.apply(&mut by_a);
        receive.apply(&mut by_b);
        assert_eq!((by_a, by_b), (vectors::STREAM_A, vectors::STREAM_B));
    }
}
