//! Addresses: compact forms (BEP 5, 32), and which a stranger may make us send packets to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::Id;

/// A node somebody told of: unproven until it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Contact {
    /// Its id.
    pub id: Id,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// The two networks, which share nothing (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 6-byte addresses.
    V4,
    /// 18-byte addresses.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// This machine.
    Loopback,
    /// A network of somebody's own.
    Private,
    /// Everywhere.
    Public,
}

fn reach(ip: IpAddr) -> Option<Reach> {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0xc0 == 64; // carriers' own (RFC 6598)
            match ip {
                _ if ip.is_multicast() || first == 0 || first >= 240 => None,
                _ if ip.is_loopback() => Some(Reach::Loopback),
                _ if ip.is_private() || ip.is_link_local() || shared => Some(Reach::Private),
                _ => Some(Reach::Public),
            }
        }
        IpAddr::V6(ip) => match ip {
            _ if ip.is_multicast() || ip.is_unspecified() => None,
            _ if ip.to_ipv4_mapped().is_some() => None, // the other network's
            _ if ip.is_loopback() => Some(Reach::Loopback),
            _ if ip.is_unique_local() || ip.is_unicast_link_local() => Some(Reach::Private),
            _ => Some(Reach::Public),
        },
    }
}

/// Whether a host can have this address and port at all.
pub(crate) fn is_usable(addr: SocketAddr) -> bool {
    addr.port() != 0 && reach(addr.ip()).is_some()
}

/// Addresses that say nothing about who has them: BEP 42 exempts them from its rule, and many
/// nodes may share one.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    matches!(reach(ip), Some(Reach::Loopback | Reach::Private))
}

/// Whether a node at `from` may tell us of `addr`: a stranger must not point us at our own
/// machine or network, but in a network of their own nodes find each other.
pub(crate) fn may_tell(from: IpAddr, addr: SocketAddr) -> bool {
    match (reach(from), reach(addr.ip())) {
        (Some(from), Some(told)) => addr.port() != 0 && from <= told,
        _ => false,
    }
}

/// Who is counted as one, wherever somebody may have so many and no more: an IPv4 address or an
/// IPv6 network of 64 bits; within local networks an address with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(IpAddr, u16);

pub(crate) fn origin(addr: SocketAddr) -> Origin {
    const NETWORK: u128 = !(u64::MAX as u128);
    match addr.ip() {
        ip if is_local(ip) => Origin(ip, addr.port()),
        IpAddr::V4(ip) => Origin(ip.into(), 0),
        IpAddr::V6(ip) => Origin(Ipv6Addr::from(u128::from(ip) & NETWORK).into(), 0),
    }
}

/// Appends the compact form: 6 or 18 bytes.
pub(crate) fn put_addr(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
}

/// Appends the compact form of a node: 26 or 38 bytes.
pub(crate) fn put_contact(out: &mut Vec<u8>, contact: &Contact) {
    out.extend(contact.id.0);
    put_addr(out, contact.addr);
}

/// A compact address of either family, told apart by length.
pub(crate) fn read_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let ip = match ip.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The whole records of `nodes` (26 bytes) or `nodes6` (38); a rest that is none is left.
pub(crate) fn read_contacts(bytes: &[u8], family: Family) -> impl Iterator<Item = Contact> {
    let record = if family == Family::V4 { 26 } else { 38 };
    bytes.chunks_exact(record).filter_map(|record| {
        let (id, addr) = record.split_first_chunk::<20>()?;
        Some(Contact { id: Id(*id), addr: read_addr(addr)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(from: &str, addr: &str) -> bool {
        may_tell(from.parse().unwrap(), addr.parse().unwrap())
    }

    #[test]
    fn strangers_cannot_point_us_at_our_own_network() {
        assert!(may("8.8.8.8", "9.9.9.9:1"));
        assert!(!may("8.8.8.8", "192.168.1.1:53") && !may("8.8.8.8", "127.0.0.1:80"));
        assert!(!may("192.168.1.1", "127.0.0.1:80"), "nor a neighbour at our machine");
        assert!(may("192.168.1.1", "192.168.1.2:80") && may("127.0.0.1", "127.0.0.1:80"));
        assert!(may("192.168.1.1", "8.8.8.8:80"));
        for nowhere in ["0.1.2.3:1", "224.0.0.1:1", "255.255.255.255:1", "9.9.9.9:0", "[::]:1"] {
            assert!(!may("8.8.8.8", nowhere) && !is_usable(nowhere.parse().unwrap()), "{nowhere}");
        }
        assert!(!may("2600::1", "[fe80::1]:1") && !may("2600::1", "[::ffff:127.0.0.1]:1"));
        assert!(may("2600::1", "[2601::1]:1"));
    }

    #[test]
    fn one_host_is_counted_once_but_for_local_ones() {
        let same = |a: &str, b: &str| origin(a.parse().unwrap()) == origin(b.parse().unwrap());
        assert!(same("8.8.8.8:1", "8.8.8.8:2") && !same("8.8.8.8:1", "8.8.8.9:1"));
        assert!(same("[2600::1]:1", "[2600::2:3]:9") && !same("[2600::1]:1", "[2600:0:0:1::1]:1"));
        assert!(!same("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    fn compact_forms_come_back_and_broken_ones_do_not() {
        for text in ["1.2.3.4:5", "[2600::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut bytes = Vec::new();
            put_addr(&mut bytes, addr);
            assert_eq!(read_addr(&bytes), Some(addr));
            assert_eq!(read_addr(&bytes[1..]), None);
            let contact = Contact { id: Id([7; 20]), addr };
            let mut bytes = Vec::new();
            put_contact(&mut bytes, &contact);
            bytes.extend([0; 5]);
            let read: Vec<_> = read_contacts(&bytes, Family::of(addr)).collect();
            assert_eq!(read, [contact], "the rest that is no record is left");
        }
    }
}
