//! `ut_holepunch` (BEP 55): a peer that two others are connected to has them dial each other at the
//! same time, so that each one's packets open its own NAT for the other's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const RENDEZVOUS: u8 = 0;
const CONNECT: u8 = 1;
const ERROR: u8 = 2;

const FAMILY_V4: u8 = 0;
const FAMILY_V6: u8 = 1;

/// A message of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolepunchMessage {
    /// Bring me together with who is there.
    Rendezvous(SocketAddr),
    /// Dial this address by uTP, now; its owner dials you.
    Connect(SocketAddr),
    /// A rendezvous with that address can't be.
    Error(SocketAddr, HolepunchError),
}

/// Why a rendezvous can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HolepunchError {
    /// The address is none that a peer can have.
    #[error("no peer can have this address")]
    NoSuchPeer,
    /// The relay is not connected to it.
    #[error("the relay is not connected to the peer")]
    NotConnected,
    /// The peer does not know the extension.
    #[error("the peer does not know the extension")]
    NoSupport,
    /// It is the relay's own address.
    #[error("the address is the relay's own")]
    NoSelf,
    /// A number that the BEP does not have.
    #[error("error {0}")]
    Other(u32),
}

impl HolepunchError {
    fn code(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            other => Self::Other(other),
        }
    }
}

impl HolepunchMessage {
    /// From an extended message's payload; `None` for what the BEP does not have. The error code may
    /// be missing where there is no error, and what follows is ignored.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (&[kind, family], rest) = payload.split_first_chunk()?;
        let (ip, rest) = match family {
            FAMILY_V4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                (IpAddr::from(Ipv4Addr::from(*ip)), rest)
            }
            FAMILY_V6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                (IpAddr::from(Ipv6Addr::from(*ip)), rest)
            }
            _ => return None,
        };
        let (port, rest) = rest.split_first_chunk()?;
        let addr = SocketAddr::new(ip, u16::from_be_bytes(*port));
        match kind {
            RENDEZVOUS => Some(Self::Rendezvous(addr)),
            CONNECT => Some(Self::Connect(addr)),
            ERROR => {
                let code = u32::from_be_bytes(*rest.first_chunk()?);
                Some(Self::Error(addr, HolepunchError::from_code(code)))
            }
            _ => None,
        }
    }

    /// As it goes behind message id 20 and the receiver's id for the extension: 12 or 24 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, addr, code) = match *self {
            Self::Rendezvous(addr) => (RENDEZVOUS, addr, 0),
            Self::Connect(addr) => (CONNECT, addr, 0),
            Self::Error(addr, error) => (ERROR, addr, error.code()),
        };
        let mut out = vec![kind];
        match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(FAMILY_V4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(FAMILY_V6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_format_of_the_bep() {
        let v4 = "192.0.2.7:6881".parse().unwrap();
        let error = HolepunchMessage::Error(v4, HolepunchError::NoSupport);
        assert_eq!(error.encode(), [2, 0, 192, 0, 2, 7, 0x1a, 0xe1, 0, 0, 0, 3]);
        let v6 = HolepunchMessage::Connect("[2001:db8::9]:258".parse().unwrap());
        let bytes = v6.encode();
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes.get(..6), Some(&[1, 1, 0x20, 1, 0xd, 0xb8][..]));
        assert_eq!(bytes.get(17..), Some(&[9, 1, 2, 0, 0, 0, 0][..]));
    }

    #[test]
    fn only_an_error_needs_its_code() {
        let asked = HolepunchMessage::Rendezvous("192.0.2.7:1".parse().unwrap());
        assert_eq!(HolepunchMessage::decode(&[0, 0, 192, 0, 2, 7, 0, 1]), Some(asked));
        assert_eq!(HolepunchMessage::decode(&[2, 0, 192, 0, 2, 7, 0, 1]), None);
        assert_eq!(HolepunchMessage::decode(&[0, 2, 192, 0, 2, 7, 0, 1, 0, 0, 0, 0]), None);
        assert_eq!(HolepunchMessage::decode(&[3, 0, 192, 0, 2, 7, 0, 1, 0, 0, 0, 0]), None);
        assert_eq!(HolepunchMessage::decode(&[0, 1, 192, 0, 2, 7, 0, 1, 0, 0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn round_trip(ip: IpAddr, port: u16, kind in 0u8..3, code: u32) {
            let addr = SocketAddr::new(ip, port);
            let message = match kind {
                RENDEZVOUS => HolepunchMessage::Rendezvous(addr),
                CONNECT => HolepunchMessage::Connect(addr),
                _ => HolepunchMessage::Error(addr, HolepunchError::from_code(code)),
            };
            prop_assert_eq!(HolepunchMessage::decode(&message.encode()), Some(message));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(message) = HolepunchMessage::decode(&bytes) {
                prop_assert_eq!(HolepunchMessage::decode(&message.encode()), Some(message));
            }
        }
    }
}
