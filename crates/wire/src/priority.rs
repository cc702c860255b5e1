//! Canonical peer priority (BEP 40): an order of connections that both ends agree on and nobody
//! can choose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The priority of a connection between two addresses; the higher is kept first. Symmetric.
/// Addresses of different families have none in common: zero.
pub fn peer_priority(a: SocketAddr, b: SocketAddr) -> u32 {
    if a.ip() == b.ip() {
        let (low, high) = (a.port().min(b.port()), a.port().max(b.port()));
        return crc32c::crc32c([low.to_be_bytes(), high.to_be_bytes()].as_flattened());
    }
    match (a.ip(), b.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = v4_mask(a, b);
            let masked = |ip: Ipv4Addr| (u32::from(ip) & mask).to_be_bytes();
            ordered(&masked(a), &masked(b))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = v6_mask(a, b);
            let masked = |ip: Ipv6Addr| (u128::from(ip) & mask).to_be_bytes();
            ordered(&masked(a), &masked(b))
        }
        _ => 0,
    }
}

/// All of the address within one /24; within one /16 the last byte is masked by 0x55; else the
/// last two.
fn v4_mask(a: Ipv4Addr, b: Ipv4Addr) -> u32 {
    match (u32::from(a) ^ u32::from(b)).leading_zeros() {
        24.. => 0xffff_ffff,
        16.. => 0xffff_ff55,
        _ => 0xffff_5555,
    }
}

/// As for IPv4, with /48 and /56 as the borders.
fn v6_mask(a: Ipv6Addr, b: Ipv6Addr) -> u128 {
    const HOST: u128 = u128::MAX / 3; // 0x5555…
    let common = (u128::from(a) ^ u128::from(b)).leading_zeros();
    let network = match common {
        56.. => return u128::MAX,
        48.. => 56,
        _ => 48,
    };
    !(u128::MAX >> network) | HOST
}

fn ordered(a: &[u8], b: &[u8]) -> u32 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    crc32c::crc32c_append(crc32c::crc32c(low), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(a: &str, b: &str) -> u32 {
        let forth = peer_priority(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(forth, peer_priority(b.parse().unwrap(), a.parse().unwrap()), "symmetric");
        forth
    }

    #[test]
    fn published_vectors() {
        assert_eq!(priority("123.213.32.10:1", "98.76.54.32:2"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10:1", "123.213.32.234:2"), 0x9956_8189);
    }

    #[test]
    fn ports_decide_at_equal_addresses() {
        let expected = crc32c::crc32c(&[0x1a, 0xe1, 0x1a, 0xe2]);
        assert_eq!(priority("1.2.3.4:6881", "1.2.3.4:6882"), expected);
    }

    #[test]
    fn what_is_near_in_v6_shows_more_of_its_bytes() {
        let bytes = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let of = |low: &str, high: &str| crc32c::crc32c([bytes(low), bytes(high)].as_flattened());
        // Another /48, the same /48, the same /56; the lower bytes come first.
        let far = of("2001:db8:1:0155::", "2001:db8:2:0055::");
        assert_eq!(priority("[2001:db8:2:00ff::]:1", "[2001:db8:1:03ff::]:2"), far);
        let near = of("2001:db8:1:0155::", "2001:db8:1:0355::");
        assert_eq!(priority("[2001:db8:1:03ff::]:1", "[2001:db8:1:01ff::]:2"), near);
        let next = of("2001:db8:1:01aa::ff", "2001:db8:1:01ff::");
        assert_eq!(priority("[2001:db8:1:01ff::]:1", "[2001:db8:1:01aa::ff]:2"), next);
        let ports = crc32c::crc32c(&[0, 9, 1, 0]);
        assert_eq!(priority("[2001:db8::1]:256", "[2001:db8::1]:9"), ports, "by bytes, not words");
    }

    #[test]
    fn v6_keeps_the_network_and_families_do_not_mix() {
        let far = priority("[2001:db8::1]:1", "[2002:db8::2]:1");
        assert_eq!(far, priority("[2001:db8::3]:1", "[2002:db8::2]:1"), "the low bits are masked");
        assert_eq!(priority("1.2.3.4:1", "[2002:db8::2]:1"), 0);
    }
}
