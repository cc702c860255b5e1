//! Peer exchange (BEP 11): whom a peer has met and whom it has lost since it last said so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use metainfo::bencode::{self, Encoder, Limits, Node};

/// Addresses that one message of ours adds at most, of both families together, and drops at most.
pub const PEX_SENT_MAX: usize = 50;
/// Addresses taken from one list of a message; the rest of it is not looked at. A first message may
/// have more than 50, and some clients send 100.
const TAKEN_MAX: usize = 100;

const V4_LENGTH: usize = 4 + 2;
const V6_LENGTH: usize = 16 + 2;

/// What is said of a peer besides its address. Hearsay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It only uploads.
    pub const UPLOAD_ONLY: Self = Self(0x02);
    /// It speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// It can be reached by holepunching (BEP 55).
    pub const HOLEPUNCH: Self = Self(0x08);
    /// Somebody connected to it at this address.
    pub const REACHABLE: Self = Self(0x10);

    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is there.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A message of the extension.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PexMessage {
    /// Whom the sender has met.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Whom it has lost.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// From a message's payload. Addresses that can't be dialled are left out, lists that are too long
    /// or end within an address are cut, and what is missing is empty.
    ///
    /// # Errors
    /// When the payload is not one bencoded dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, bencode::Error> {
        let (tape, _) = bencode::parse_prefix(payload, Limits::network())?;
        let root = tape.root();
        let list = |key: &[u8]| bytes(root.get(key));
        let v4 = list(b"added").as_chunks::<V4_LENGTH>().0;
        let v6 = list(b"added6").as_chunks::<V6_LENGTH>().0;
        let v4 = v4.iter().copied().take(TAKEN_MAX).map(address_v4).zip(flags(list(b"added.f")));
        let v6 = v6.iter().take(TAKEN_MAX).map(address_v6).zip(flags(list(b"added6.f")));
        let added = v4.chain(v6).filter(|(addr, _)| is_dialable(*addr)).collect();
        let v4 = list(b"dropped").as_chunks::<V4_LENGTH>().0;
        let v6 = list(b"dropped6").as_chunks::<V6_LENGTH>().0;
        let v4 = v4.iter().copied().take(TAKEN_MAX).map(address_v4);
        let v6 = v6.iter().take(TAKEN_MAX).map(address_v6);
        Ok(Self { added, dropped: v4.chain(v6).collect() })
    }

    /// As it goes behind the receiver's id for it.
    pub fn encode(&self) -> Vec<u8> {
        let added = |v4| self.added.iter().filter(move |(addr, _)| addr.is_ipv4() == v4);
        let compact = |v4| added(v4).flat_map(|(addr, _)| encode(*addr)).collect::<Vec<u8>>();
        let flags = |v4| added(v4).map(|(_, flags)| flags.0).collect::<Vec<u8>>();
        let dropped = |v4| {
            let addrs = self.dropped.iter().filter(move |addr| addr.is_ipv4() == v4);
            addrs.flat_map(|addr| encode(*addr)).collect::<Vec<u8>>()
        };
        let mut out = Encoder::new();
        out.begin_dict();
        out.key(b"added").bytes(&compact(true)).key(b"added.f").bytes(&flags(true));
        out.key(b"added6").bytes(&compact(false)).key(b"added6.f").bytes(&flags(false));
        out.key(b"dropped").bytes(&dropped(true)).key(b"dropped6").bytes(&dropped(false));
        out.end().finish()
    }
}

fn bytes<'a>(node: Option<Node<'a, '_>>) -> &'a [u8] {
    node.and_then(|node| node.as_bytes()).unwrap_or_default()
}

/// A list that is too short says nothing of the others.
fn flags(list: &[u8]) -> impl Iterator<Item = PexFlags> {
    list.iter().map(|flags| PexFlags(*flags)).chain(std::iter::repeat(PexFlags::default()))
}

fn address_v4([a, b, c, d, high, low]: [u8; V4_LENGTH]) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

fn address_v6(bytes: &[u8; V6_LENGTH]) -> SocketAddr {
    let number = bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte));
    let port = bytes.last_chunk().map_or(0, |port| u16::from_be_bytes(*port));
    SocketAddr::from((Ipv6Addr::from_bits(number), port))
}

fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

fn encode(addr: SocketAddr) -> Vec<u8> {
    let mut out = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    out.extend_from_slice(&addr.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_format_of_the_bep() {
        let message = PexMessage {
            added: vec![
                ("192.0.2.1:258".parse().unwrap(), PexFlags::REACHABLE.with(PexFlags::UTP)),
                ("[2001:db8::1]:6881".parse().unwrap(), PexFlags::default()),
            ],
            dropped: vec!["192.0.2.2:1".parse().unwrap()],
        };
        let bytes = message.encode();
        let expected = [
            &b"d5:added6:\xc0\x00\x02\x01\x01\x027:added.f1:\x14"[..],
            b"6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe18:added6.f1:\0",
            b"7:dropped6:\xc0\x00\x02\x02\x00\x018:dropped60:e",
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(PexMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn what_is_missing_cut_or_of_another_type_is_passed_over() {
        let one = PexMessage::decode(b"d5:added9:\xc0\x00\x02\x01\x01\x02\xc0\x00\x02e").unwrap();
        assert_eq!(one.added, [("192.0.2.1:258".parse().unwrap(), PexFlags::default())]);
        for odd in [&b"de"[..], b"d5:addedi5e7:droppedlee", b"d5:added5:12345e", b"le"] {
            assert_eq!(PexMessage::decode(odd), Ok(PexMessage::default()));
        }
        assert!(PexMessage::decode(b"").is_err());
        assert!(PexMessage::decode(&[b'd'; 5000]).is_err());
    }

    #[test]
    fn what_nobody_can_dial_is_left_out_and_flags_stay_with_theirs() {
        let bytes = b"d5:added24:\xc0\x00\x02\x01\0\0\0\0\0\0\0\x01\xe0\0\0\x01\0\x01\xc0\x00\x02\x02\0\x017:added.f4:abcde";
        let message = PexMessage::decode(bytes).unwrap();
        assert_eq!(message.added, [("192.0.2.2:1".parse().unwrap(), PexFlags(b'd'))]);
    }

    #[test]
    fn of_a_flood_a_bounded_part_is_taken() {
        let addr = |number: u16| SocketAddr::from(([192, 0, 2, 1], number));
        let flood = PexMessage {
            added: (1..=5000).map(|port| (addr(port), PexFlags::default())).collect(),
            dropped: (1..=5000).map(addr).collect(),
        };
        let taken = PexMessage::decode(&flood.encode()).unwrap();
        assert_eq!((taken.added.len(), taken.dropped.len()), (TAKEN_MAX, TAKEN_MAX));
    }

    proptest! {
        #[test]
        fn round_trip(
            added in proptest::collection::vec((any::<std::net::Ipv6Addr>(), 1_u16.., any::<u8>()), 0..50),
            dropped in proptest::collection::vec((any::<Ipv4Addr>(), any::<u16>()), 0..50),
        ) {
            let added = added.into_iter().map(|(ip, port, flags)| (SocketAddr::from((ip, port)), PexFlags(flags)));
            let message = PexMessage {
                added: added.filter(|(addr, _)| is_dialable(*addr)).collect(),
                dropped: dropped.into_iter().map(SocketAddr::from).collect(),
            };
            prop_assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(message) = PexMessage::decode(&bytes) {
                prop_assert!(message.added.len() <= 2 * TAKEN_MAX);
            }
        }
    }
}
