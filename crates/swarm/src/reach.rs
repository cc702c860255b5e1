//! From where an address leads to the same host, and who is counted as one: nobody makes us knock at our
//! own doors, or is many for having many addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::is_stand_in;

/// From how far an address leads to the same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reach {
    /// From the same machine.
    #[default]
    Machine,
    /// From the same network.
    Network,
    /// From everywhere.
    World,
}

impl Reach {
    /// Of this address.
    pub fn of(ip: IpAddr) -> Self {
        let ip = translated(ip);
        let local = match ip {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                let shared = a == 100 && b & 0xc0 == 64; // carriers' own (RFC 6598)
                ip.is_private() || ip.is_link_local() || shared
            }
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        match () {
            () if ip.is_loopback() => Self::Machine,
            () if local => Self::Network,
            () => Self::World,
        }
    }
}

/// From how far others come to us, of each address family: a carrier's NAT is before one and not the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenTo {
    /// Over IPv4.
    pub v4: Reach,
    /// Over IPv6.
    pub v6: Reach,
}

impl OpenTo {
    /// Somebody came from there.
    pub fn came_from(&mut self, ip: IpAddr) {
        let reach = if ip.to_canonical().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        *reach = Reach::of(ip).max(*reach);
    }

    /// From how far, over the family of this address.
    pub fn over(self, ip: IpAddr) -> Reach {
        if ip.to_canonical().is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// The same over both.
impl From<Reach> for OpenTo {
    fn from(reach: Reach) -> Self {
        Self { v4: reach, v6: reach }
    }
}

/// Whether an address means the same to who tells of it and to who hears of it, of whom `other` is not
/// us: one that only a machine or a local network knows is for others there, and one that stands in for
/// something else for nobody. So nobody far away makes us knock at our own doors.
pub(crate) fn may_tell(addr: IpAddr, other: IpAddr) -> bool {
    Reach::of(addr) >= Reach::of(other) && !is_stand_in(addr)
}

/// Where packets to it go in the end: an address of NAT64 (RFC 6052) or 6to4 (RFC 3056) is one of IPv4 in
/// other clothes.
fn translated(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    let v4 = match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Ipv4Addr::from_bits(v6.to_bits() as u32),
        [0x2002, ..] => Ipv4Addr::from_bits((v6.to_bits() >> 80) as u32),
        _ => return ip,
    };
    v4.into()
}

/// Whose an address is: who has one of IPv6 has the 64 bits behind it, too, but on a network of our own,
/// where all have them. Whoever has a translated one of IPv4 has that.
pub(crate) fn owner(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = translated(ip) else { return translated(ip) };
    match v6.segments() {
        // A client of Teredo (RFC 4380): its own is behind its server's 64 bits, turned over.
        [0x2001, 0, ..] => Ipv4Addr::from_bits(!(v6.to_bits() as u32)).into(),
        _ if Reach::of(ip) == Reach::World && !is_stand_in(ip) => {
            Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()
        }
        _ => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_far_away_names_our_own_doors_whatever_they_are_dressed_as() {
        for ours in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:192.168.1.1",
            "::ffff:169.254.169.254",
            "64:ff9b::192.168.1.1",
            "2002:a00:1::1",
        ] {
            assert!(!may_tell(ip(ours), ip("8.8.8.8")), "{ours}");
            assert!(!may_tell(ip(ours), ip("2600::1")), "{ours}");
            assert!(may_tell(ip(ours), ip("127.0.0.1")), "{ours}");
        }
        assert!(
            may_tell(ip("9.9.9.9"), ip("8.8.8.8")) && may_tell(ip("::ffff:9.9.9.9"), ip("8.8.8.8"))
        );
        assert!(
            may_tell(ip("10.0.0.2"), ip("10.0.0.1")) && !may_tell(ip("127.0.0.1"), ip("10.0.0.1"))
        );
        assert!(!may_tell(crate::named_peer_ip(1), ip("127.0.0.1")));
    }

    #[test]
    fn who_has_one_address_has_all_behind_it() {
        assert_eq!(owner(ip("2600::1")), owner(ip("2600::2:3")));
        assert_ne!(owner(ip("2600::1")), owner(ip("2600:0:0:1::1")));
        assert_ne!(owner(ip("fd00::1")), owner(ip("fd00::2")));
        assert_eq!(owner(ip("::ffff:9.9.9.9")), ip("9.9.9.9"));
        assert_ne!(owner(ip("9.9.9.9")), owner(ip("9.9.9.8")));
        assert_ne!(owner(crate::named_peer_ip(1)), owner(crate::named_peer_ip(2)));
    }

    #[test]
    fn who_has_an_address_of_ipv4_in_other_clothes_is_not_everybody_who_does() {
        assert_eq!(owner(ip("64:ff9b::9.9.9.9")), ip("9.9.9.9"));
        assert_ne!(owner(ip("64:ff9b::9.9.9.9")), owner(ip("64:ff9b::9.9.9.8")));
        assert_eq!(owner(ip("2002:909:909::1")), ip("9.9.9.9"));
        assert_eq!(owner(ip("2002:909:909:1::1")), owner(ip("2002:909:909:2::1")));
        // RFC 4380's own example: a client at 192.0.2.45.
        let client = "2001:0:4136:e378:8000:63bf:3fff:fdd2";
        assert_eq!(owner(ip(client)), ip("192.0.2.45"));
        assert_ne!(owner(ip(client)), owner(ip("2001:0:4136:e378:8000:63bf:3fff:fdd3")));
    }
}
