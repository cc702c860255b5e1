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

/// How many places each has, counted as peers come and go: asked after each event of a full torrent.
#[derive(Default)]
pub(crate) struct Crowds {
    /// By whose addresses they are; of those of the internet only.
    places: BTreeMap<IpAddr, usize>,
    /// How many have so many places.
    sizes: BTreeMap<usize, usize>,
    /// Places that go to newcomers who have none.
    surplus: usize,
}

impl Crowds {
    /// A peer has a place.
    pub(crate) fn joins(&mut self, ip: IpAddr) {
        self.change(ip, |places| places + 1);
    }

    /// It has it no more.
    pub(crate) fn leaves(&mut self, ip: IpAddr) {
        self.change(ip, |places| places.saturating_sub(1));
    }

    fn change(&mut self, ip: IpAddr, new: impl Fn(usize) -> usize) {
        let ip = owner(ip);
        if Reach::of(ip) != Reach::World {
            return;
        }
        let before = self.places.get(&ip).copied().unwrap_or_default();
        let after = new(before);
        match self.sizes.get_mut(&before) {
            Some(1) => _ = self.sizes.remove(&before),
            Some(owners) => *owners -= 1,
            None => {} // it had no place
        }
        self.surplus -= before.saturating_sub(HOUSEHOLD);
        self.surplus += after.saturating_sub(HOUSEHOLD);
        if after == 0 {
            self.places.remove(&ip);
        } else {
            self.places.insert(ip, after);
            *self.sizes.entry(after).or_default() += 1;
        }
    }

    /// How many newcomers, each from elsewhere, get in where all places are taken.
    pub(crate) fn surplus(&self) -> usize {
        self.surplus
    }

    /// Whether a newcomer from there does.
    pub(crate) fn makes_room_for(&self, newcomer: IpAddr) -> bool {
        let most = self.sizes.last_key_value().map_or(0, |(places, _)| *places);
        let same = self.places.get(&owner(newcomer)).copied().unwrap_or_default();
        most > HOUSEHOLD && most > same + 1
    }
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
    use proptest::prelude::*;

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

    proptest! {
        /// Counted one by one, they are what they are when counted at once.
        #[test]
        fn what_is_counted_as_they_come_and_go_is_true(
            moves in proptest::collection::vec((any::<bool>(), 0..6_u8), 0..200),
        ) {
            // The last is a router of our own.
            let ip = |owner| IpAddr::from([if owner == 5 { 10 } else { 9 }, 9, 9, owner]);
            let (mut crowds, mut there) = (Crowds::default(), Vec::new());
            for (joins, who) in moves {
                let at = there.iter().position(|other| *other == ip(who));
                if let Some(at) = at.filter(|_| !joins) {
                    crowds.leaves(there.swap_remove(at));
                } else {
                    there.push(ip(who));
                    crowds.joins(ip(who));
                }
                let more = |who| there.iter().filter(|ip_there| **ip_there == ip(who)).count();
                let surplus: usize = (0..5).map(|who| more(who).saturating_sub(HOUSEHOLD)).sum();
                prop_assert_eq!(crowds.surplus(), surplus);
                for newcomer in (0..6).map(ip).chain([IpAddr::from([8, 8, 8, 8])]) {
                    let room = crowd(there.iter().copied(), Some(newcomer)).is_some();
                    // A router of our own is counted for itself, and for nobody else.
                    if newcomer != ip(5) {
                        prop_assert_eq!(crowds.makes_room_for(newcomer), room);
                    }
                }
            }
            there.into_iter().for_each(|ip| crowds.leaves(ip));
            prop_assert!(crowds.places.is_empty() && crowds.sizes.is_empty());
        }
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
