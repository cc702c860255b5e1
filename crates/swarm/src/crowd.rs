//! Nobody has all the places: where they are taken, one of whoever has several goes to who comes from
//! elsewhere. So a stranger needs about as many addresses as there are places to keep others out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::reach::{Reach, owner};

/// Connections that one address may have before they are a crowd: behind one there may be a household.
const HOUSEHOLD: usize = 3;

/// The owner of the most of these addresses, when a newcomer from `newcomer` takes the place of one of
/// theirs. Who is on our own network is none: behind its router there may be everybody.
pub(crate) fn crowd(
    places: impl Iterator<Item = IpAddr>,
    newcomer: Option<IpAddr>,
) -> Option<IpAddr> {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for ip in places {
        *counts.entry(owner(ip)).or_default() += 1;
    }
    let same = newcomer.and_then(|ip| counts.get(&owner(ip)).copied()).unwrap_or_default();
    let crowds = counts.into_iter().filter(|(ip, count)| {
        let is_more = *count > HOUSEHOLD && *count > same + 1;
        is_more && Reach::of(*ip) == Reach::World
    });
    crowds.max_by_key(|(_, count)| *count).map(|(ip, _)| ip)
}

/// Who asks for a slot: all connections from one address of the internet are one host's.
pub(crate) type Host = (IpAddr, u16);

pub(crate) fn host(addr: SocketAddr) -> Host {
    match Reach::of(addr.ip()) {
        Reach::World => (owner(addr.ip()), 0),
        Reach::Machine | Reach::Network => (addr.ip(), addr.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[(&str, usize)], newcomer: &str) -> Option<IpAddr> {
        let all = counts.iter().flat_map(|(ip, count)| std::iter::repeat_n(*ip, *count));
        crowd(all.map(|ip| ip.parse().unwrap()), Some(newcomer.parse().unwrap()))
    }

    #[test]
    fn the_largest_makes_room_for_who_is_fewer() {
        let many = "9.9.9.9".parse().ok();
        assert_eq!(of(&[("8.8.8.8", 5), ("9.9.9.9", 6)], "7.7.7.7"), many);
        assert_eq!(of(&[("8.8.8.8", 4), ("9.9.9.9", 6)], "8.8.8.8"), many);
        assert_eq!(of(&[("8.8.8.8", 5), ("9.9.9.9", 6)], "8.8.8.8"), None, "as many then");
        assert_eq!(of(&[("9.9.9.9", 6)], "9.9.9.9"), None, "its own");
        assert_eq!(of(&[("9.9.9.9", HOUSEHOLD)], "8.8.8.8"), None);
        assert_eq!(of(&[("192.168.1.1", 200), ("127.0.0.1", 200)], "8.8.8.8"), None);
    }

    #[test]
    fn a_host_is_an_address_of_the_internet_or_a_peer_of_our_own_network() {
        let of = |addr: &str| host(addr.parse().unwrap());
        assert_eq!(of("9.9.9.9:1"), of("9.9.9.9:2"));
        assert_eq!(of("[2600::1]:1"), of("[2600::2]:2"));
        assert_ne!(of("9.9.9.9:1"), of("9.9.9.8:1"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.1:2"));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_crowd() {
        let all = (0..10).map(|n| format!("2600::{n}").parse().unwrap());
        assert_eq!(crowd(all, None), "2600::".parse().ok());
    }
}
