//! The allowed-fast set (BEP 6): pieces a peer may request while it is choked.

use std::net::Ipv4Addr;

use metainfo::{InfoHash, PieceIndex};
use sha1::{Digest, Sha1};

/// The `k` pieces that both sides compute for the peer at `ip`, in the BEP's order; all pieces of a
/// torrent that has fewer.
pub fn allowed_fast_set(
    ip: Ipv4Addr,
    info_hash: InfoHash,
    piece_count: u32,
    k: usize,
) -> Vec<PieceIndex> {
    let wanted = k.min(piece_count as usize);
    let [a, b, c, _] = ip.octets();
    let mut set: Vec<PieceIndex> = Vec::with_capacity(wanted);
    let mut hash: [u8; 20] =
        Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.0).finalize().into();
    while set.len() < wanted {
        let (words, _) = hash.as_chunks::<4>();
        for word in words {
            let Some(piece) = u32::from_be_bytes(*word).checked_rem(piece_count) else {
                return set;
            };
            if set.len() < wanted && !set.contains(&piece) {
                set.push(piece);
            }
        }
        hash = Sha1::digest(hash).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        let hash = InfoHash([0xaa; 20]);
        let ip = Ipv4Addr::new(80, 4, 4, 200);
        let nine = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(allowed_fast_set(ip, hash, 1313, 7), nine[..7]);
        assert_eq!(allowed_fast_set(ip, hash, 1313, 9), nine);
        let other: InfoHash = "11f6ad8ec52a2984abaafd7c3b516503785c2072".parse().unwrap();
        assert_eq!(
            allowed_fast_set(Ipv4Addr::new(10, 1, 2, 3), other, 57, 10),
            [36, 31, 53, 5, 20, 56, 55, 2, 8, 35]
        );
    }

    #[test]
    fn a_torrent_with_fewer_pieces_ends_the_search() {
        let hash = InfoHash([0xaa; 20]);
        assert_eq!(allowed_fast_set(Ipv4Addr::new(1, 2, 3, 4), hash, 3, 10), [2, 1, 0]);
        assert!(allowed_fast_set(Ipv4Addr::LOCALHOST, hash, 0, 10).is_empty());
    }
}
