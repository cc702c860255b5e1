//! Node ids that follow from the external address (BEP 42), so that nobody can choose where in
//! the space he stands.

use std::net::IpAddr;

use crate::address::is_local;
use crate::id::Id;

/// The 32 bits whose first 21 a node at `ip` begins its id with; `random` is the id's last byte.
fn prefix(ip: IpAddr, random: u8) -> u32 {
    match ip {
        IpAddr::V4(ip) => {
            let masked = (u32::from(ip) & 0x030f_3fff) | (u32::from(random & 7) << 29);
            crc32c::crc32c(&masked.to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let high = (u128::from(ip) >> 64) as u64;
            let masked = (high & 0x0103_070f_1f3f_7fff) | (u64::from(random & 7) << 61);
            crc32c::crc32c(&masked.to_be_bytes())
        }
    }
}

/// A random id among those that a node at `ip` may have.
pub fn secure_id(ip: IpAddr, rng: &mut fastrand::Rng) -> Id {
    let mut id = Id::random(rng).0;
    let [first, second, third, .., last] = &mut id;
    let [one, two, three, _] = prefix(ip, *last).to_be_bytes();
    (*first, *second) = (one, two);
    *third = (three & 0xf8) | (*third & 0x07);
    Id(id)
}

/// Whether a node at `ip` may have this id. Local addresses may have any.
pub fn is_secure(id: Id, ip: IpAddr) -> bool {
    let [first, second, third, .., last] = id.0;
    let found = u32::from_be_bytes([first, second, third, 0]);
    is_local(ip) || (found ^ prefix(ip, last)) & 0xffff_f800 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The table of BEP 42.
    const PUBLISHED: [(&str, u8, &str); 5] = [
        ("124.31.75.21", 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
    ];

    #[test]
    fn the_published_ids_are_accepted_at_their_address_only() {
        for (at, (address, random, id)) in PUBLISHED.into_iter().enumerate() {
            let id: Id = id.parse().unwrap();
            assert_eq!(id.0[19], random);
            assert!(is_secure(id, ip(address)), "{address}");
            let other = PUBLISHED[(at + 1) % PUBLISHED.len()].0;
            assert!(!is_secure(id, ip(other)), "{address} is not {other}");
        }
    }

    #[test]
    fn the_computed_prefixes_of_both_families() {
        assert_eq!(prefix(ip("124.31.75.21"), 1), 0x5fbf_bdb2);
        assert_eq!(prefix(ip("43.213.53.83"), 90), 0xe56f_6972);
        assert_eq!(prefix(ip("2001:db8:1234:5678:9abc:def0:1234:5678"), 3), 0x60ee_bd5b);
        assert_eq!(prefix(ip("fd00:1:2:3::1"), 6), 0x8f3b_5cae);
    }

    #[test]
    fn our_ids_are_secure_and_differ() {
        let mut rng = fastrand::Rng::with_seed(3);
        for address in ["8.8.8.8", "2600::1"] {
            let (one, two) = (secure_id(ip(address), &mut rng), secure_id(ip(address), &mut rng));
            assert!(is_secure(one, ip(address)) && is_secure(two, ip(address)));
            assert_ne!(one, two);
        }
    }

    #[test]
    fn local_addresses_are_exempt() {
        for local in ["10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.1.1", "127.0.0.1", "::1"] {
            assert!(is_secure(Id([0; 20]), ip(local)), "{local}");
        }
        assert!(!is_secure(Id([0; 20]), ip("8.8.8.8")));
    }
}
