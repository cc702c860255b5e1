//! PCP (RFC 6887): its MAP request, 60 bytes long either way, for IPv4 and for IPv6 pinholes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Protocol;

const VERSION: u8 = 2;
const MAP: u8 = 1;
const REPLY: u8 = 128;

/// That a port of a gateway leads to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The address it leads to: ours, as the gateway sees it.
    pub client: IpAddr,
    /// What tells our mapping from those of others; the same for as long as it is renewed.
    pub nonce: [u8; 12],
    /// Of which protocol.
    pub protocol: Protocol,
    /// Ours.
    pub internal_port: u16,
    /// The one that would suit us.
    pub external_port: u16,
    /// For so long; 0 ends it.
    pub seconds: u32,
}

/// A gateway's yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Seconds since it began to keep mappings: fewer than there should be, and it has lost them.
    pub epoch: u32,
    /// Where we can be reached.
    pub external_ip: IpAddr,
    /// And at which port.
    pub external_port: u16,
    /// For so long.
    pub seconds: u32,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an answer to this request; there may still come one.
    #[error("it is no answer to what was asked")]
    Unrelated,
    /// A gateway that speaks another version, or NAT-PMP alone.
    #[error("the gateway does not speak PCP")]
    UnsupportedVersion,
    /// It has been told not to.
    #[error("the gateway does not allow it: switch PCP on in its settings")]
    NotAuthorized,
    /// It has no address itself.
    #[error("the gateway has no connection to the internet")]
    NetworkFailure,
    /// It has no more room.
    #[error("the gateway has no room for more mappings")]
    OutOfResources,
    /// There is another gateway between it and us.
    #[error("another gateway stands between us and this one")]
    AddressMismatch,
    /// It says something else.
    #[error("the gateway says error {0}")]
    Other(u8),
}

impl Request {
    /// As it goes to the gateway.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, MAP, 0, 0];
        out.extend_from_slice(&self.seconds.to_be_bytes());
        out.extend_from_slice(&mapped(self.client).octets());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&[self.protocol.number(), 0, 0, 0]);
        out.extend_from_slice(&self.internal_port.to_be_bytes());
        out.extend_from_slice(&self.external_port.to_be_bytes());
        // Which external address does not matter; its zeros say of which family (RFC 6887, 5).
        let any = match self.client {
            IpAddr::V4(_) => mapped(Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED,
        };
        out.extend_from_slice(&any.octets());
        out
    }

    /// A datagram from the gateway, as the answer to this request.
    ///
    /// # Errors
    /// [`Error::Unrelated`] for what answers something else or nothing; otherwise the gateway's no.
    pub fn decode(&self, bytes: &[u8]) -> Result<Reply, Error> {
        let (&[version, operation, _, result], rest) =
            bytes.split_first_chunk().ok_or(Error::Unrelated)?;
        if operation & REPLY == 0 {
            return Err(Error::Unrelated);
        }
        // NAT-PMP's way to say that it does not know this version is 0, 128 + operation, 0, 1.
        if version != VERSION || result == 1 {
            return Err(Error::UnsupportedVersion);
        }
        if operation != REPLY | MAP {
            return Err(Error::Unrelated);
        }
        let (seconds, rest) = rest.split_first_chunk().ok_or(Error::Unrelated)?;
        let (epoch, rest) = rest.split_first_chunk().ok_or(Error::Unrelated)?;
        let (_, rest) = rest.split_first_chunk::<12>().ok_or(Error::Unrelated)?;
        let (nonce, rest) = rest.split_first_chunk::<12>().ok_or(Error::Unrelated)?;
        let (&[protocol, _, _, _, a, b, c, d], rest) =
            rest.split_first_chunk().ok_or(Error::Unrelated)?;
        let ours = *nonce == self.nonce
            && protocol == self.protocol.number()
            && u16::from_be_bytes([a, b]) == self.internal_port;
        if !ours {
            return Err(Error::Unrelated);
        }
        match result {
            0 => {}
            2 => return Err(Error::NotAuthorized),
            7 => return Err(Error::NetworkFailure),
            8 | 10 => return Err(Error::OutOfResources),
            12 => return Err(Error::AddressMismatch),
            other => return Err(Error::Other(other)),
        }
        let ip: [u8; 16] = *rest.first_chunk().ok_or(Error::Unrelated)?;
        Ok(Reply {
            epoch: u32::from_be_bytes(*epoch),
            external_ip: Ipv6Addr::from(ip).to_canonical(),
            external_port: u16::from_be_bytes([c, d]),
            seconds: u32::from_be_bytes(*seconds),
        })
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        Request {
            client: "192.168.1.7".parse().unwrap(),
            nonce: *b"twelve bytes",
            protocol: Protocol::Udp,
            internal_port: 6881,
            external_port: 7000,
            seconds: 3600,
        }
    }

    fn reply(result: u8) -> Vec<u8> {
        let mut bytes = request().encode();
        bytes[1] |= 128;
        bytes[3] = result;
        bytes.splice(4..12, [0, 0, 0, 120, 0, 0, 0, 77]);
        bytes.splice(42..44, [0x1b, 0x59]);
        bytes.splice(44..60, Ipv4Addr::new(198, 51, 100, 9).to_ipv6_mapped().octets());
        bytes
    }

    #[test]
    fn the_format_of_the_rfc() {
        let bytes = request().encode();
        assert_eq!(bytes.len(), 60);
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0x0e, 0x10]);
        assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 7]);
        assert_eq!(bytes[24..36], *b"twelve bytes");
        assert_eq!(bytes[36..44], [17, 0, 0, 0, 0x1a, 0xe1, 0x1b, 0x58]);
        assert_eq!(bytes[44..], Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
        let yes = Reply {
            epoch: 77,
            external_ip: "198.51.100.9".parse().unwrap(),
            external_port: 7001,
            seconds: 120,
        };
        assert_eq!(request().decode(&reply(0)), Ok(yes));
    }

    #[test]
    fn a_no_is_told_apart_and_strangers_have_no_say() {
        let says = |code| request().decode(&reply(code)).unwrap_err();
        assert_eq!(says(1), Error::UnsupportedVersion);
        assert_eq!(says(2), Error::NotAuthorized);
        assert_eq!(says(8), Error::OutOfResources);
        assert_eq!(says(12), Error::AddressMismatch);
        assert_eq!(says(13), Error::Other(13));
        let nat_pmp = [0, 129, 0, 1, 0, 0, 0, 5];
        assert_eq!(request().decode(&nat_pmp), Err(Error::UnsupportedVersion));
        let mut other = reply(0);
        other[30] ^= 1;
        assert_eq!(request().decode(&other), Err(Error::Unrelated), "another nonce");
        assert_eq!(request().decode(&request().encode()), Err(Error::Unrelated), "an echo");
    }

    /// On IPv6 nothing is translated: the zeros that stand for any address are IPv6's own.
    #[test]
    fn a_pinhole_is_asked_for_with_our_own_address() {
        let client: IpAddr = "2001:db8::7".parse().unwrap();
        let request = Request { client, external_port: 6881, ..request() };
        let mut bytes = request.encode();
        assert_eq!(bytes[8..24], "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(bytes[44..], [0; 16]);
        bytes[1] |= 128;
        bytes.splice(44..60, bytes[8..24].to_vec());
        let reply = request.decode(&bytes).unwrap();
        assert_eq!((reply.external_ip, reply.external_port), (client, 6881));
    }

    proptest! {
        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..70), like in any::<bool>()) {
            if like {
                let head = reply(0);
                for (byte, like) in bytes.iter_mut().zip(head).take(44) {
                    *byte = like;
                }
            }
            if request().decode(&bytes).is_ok() {
                prop_assert!(bytes.len() >= 60);
            }
        }
    }
}
