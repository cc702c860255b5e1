//! Addresses for who has none here: a web seed, and a peer by a name that only a proxy can look up. They
//! are out of a block that nobody can connect from or to (RFC 6666), mean something to this program alone,
//! and are told nobody.

use std::net::{IpAddr, Ipv6Addr};

/// The first half of every one of them.
const BLOCK: u64 = 0x0100_0000_0000_0000;
/// Set in the second half of all that are peers: web seeds have small numbers there.
const NAMED: u64 = 1 << 63;

/// What a web seed has for an address.
pub fn web_seed_ip(number: u16) -> IpAddr {
    Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, number).into()
}

/// What a peer by a name has for an address. Of `random` 63 bits count: nobody else can name it.
pub fn named_peer_ip(random: u64) -> IpAddr {
    Ipv6Addr::from(u128::from(BLOCK) << 64 | u128::from(random | NAMED)).into()
}

/// Whether an address stands in for a peer's name.
pub fn is_named_peer(ip: IpAddr) -> bool {
    let is_named = |ip: Ipv6Addr| u128::from(ip) as u64 & NAMED != 0;
    is_stand_in(ip) && matches!(ip, IpAddr::V6(ip) if is_named(ip))
}

/// Whether an address stands in for something else.
pub fn is_stand_in(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if u128::from(ip) >> 64 == u128::from(BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_seeds_and_peers_have_different_ones_and_nobody_else_has_any() {
        for random in [0, 1, u64::from(u16::MAX), u64::MAX] {
            let ip = named_peer_ip(random);
            assert!(is_stand_in(ip) && is_named_peer(ip));
            assert!((0..=u16::MAX).all(|number| web_seed_ip(number) != ip));
        }
        for web_seed in [0, u16::MAX].map(web_seed_ip) {
            assert!(is_stand_in(web_seed) && !is_named_peer(web_seed));
        }
        assert_ne!(named_peer_ip(1), named_peer_ip(2));
        for other in ["100:0:0:1::1", "200::1", "::1", "1.0.0.0", "2001:db8::1"] {
            assert!(!is_stand_in(other.parse().unwrap()), "{other}");
        }
    }
}
