//! NAT-PMP (RFC 6886): two kinds of request, 2 and 12 bytes long.

use std::net::Ipv4Addr;

use crate::Protocol;

const VERSION: u8 = 0;
const REPLY: u8 = 128;

/// What is asked of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Its address towards the internet.
    ExternalAddress,
    /// That a port of it leads to ours.
    Map {
        /// Of which protocol.
        protocol: Protocol,
        /// Ours.
        internal_port: u16,
        /// The one that would suit us.
        external_port: u16,
        /// For so long; 0 ends it.
        seconds: u32,
    },
}

/// A gateway's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Seconds since it began to keep mappings: fewer than there should be, and it has lost them.
    pub epoch: u32,
    /// What it says.
    pub answer: Answer,
}

/// What a gateway says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its address towards the internet.
    ExternalAddress(Ipv4Addr),
    /// It leads there now.
    Mapped {
        /// Its own port, which may be another than was asked for.
        external_port: u16,
        /// For so long.
        seconds: u32,
    },
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an answer to this request; there may still come one.
    #[error("it is no answer to what was asked")]
    Unrelated,
    /// A gateway that speaks another version.
    #[error("the gateway does not speak NAT-PMP")]
    UnsupportedVersion,
    /// It has been told not to.
    #[error("the gateway does not allow it: switch NAT-PMP on in its settings")]
    NotAuthorized,
    /// It has no address itself.
    #[error("the gateway has no connection to the internet")]
    NetworkFailure,
    /// It has no more room.
    #[error("the gateway has no room for more mappings")]
    OutOfResources,
    /// It says something else.
    #[error("the gateway says error {0}")]
    Other(u16),
}

impl Request {
    /// As it goes to the gateway.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::ExternalAddress => vec![VERSION, 0],
            Self::Map { protocol, internal_port, external_port, seconds } => {
                let mut out = vec![VERSION, operation(protocol), 0, 0];
                out.extend_from_slice(&internal_port.to_be_bytes());
                out.extend_from_slice(&external_port.to_be_bytes());
                out.extend_from_slice(&seconds.to_be_bytes());
                out
            }
        }
    }

    /// A datagram from the gateway, as the answer to this request.
    ///
    /// # Errors
    /// [`Error::Unrelated`] for what answers something else or nothing; otherwise the gateway's no.
    pub fn decode(&self, bytes: &[u8]) -> Result<Reply, Error> {
        let (&[version, operation, high, low], rest) =
            bytes.split_first_chunk().ok_or(Error::Unrelated)?;
        let expected = match self {
            Self::ExternalAddress => 0,
            Self::Map { protocol, .. } => self::operation(*protocol),
        };
        let result = u16::from_be_bytes([high, low]);
        // PCP's gateways say so in the format of NAT-PMP, with their own version in front or with 0.
        if result == 1 && operation & REPLY != 0 {
            return Err(Error::UnsupportedVersion);
        }
        if version != VERSION || operation != REPLY | expected {
            return Err(Error::Unrelated);
        }
        match result {
            0 => {}
            2 => return Err(Error::NotAuthorized),
            3 => return Err(Error::NetworkFailure),
            4 => return Err(Error::OutOfResources),
            other => return Err(Error::Other(other)),
        }
        let (epoch, rest) = rest.split_first_chunk().ok_or(Error::Unrelated)?;
        let epoch = u32::from_be_bytes(*epoch);
        let answer = match self {
            Self::ExternalAddress => {
                let ip: [u8; 4] = *rest.first_chunk().ok_or(Error::Unrelated)?;
                Answer::ExternalAddress(ip.into())
            }
            Self::Map { internal_port, .. } => {
                let (internal, rest) = rest.split_first_chunk().ok_or(Error::Unrelated)?;
                let (external, rest) = rest.split_first_chunk().ok_or(Error::Unrelated)?;
                let seconds = rest.first_chunk().ok_or(Error::Unrelated)?;
                if u16::from_be_bytes(*internal) != *internal_port {
                    return Err(Error::Unrelated);
                }
                Answer::Mapped {
                    external_port: u16::from_be_bytes(*external),
                    seconds: u32::from_be_bytes(*seconds),
                }
            }
        };
        Ok(Reply { epoch, answer })
    }
}

fn operation(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 1,
        Protocol::Tcp => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAP: Request = Request::Map {
        protocol: Protocol::Tcp,
        internal_port: 6881,
        external_port: 6881,
        seconds: 7200,
    };

    #[test]
    fn the_formats_of_the_rfc() {
        assert_eq!(Request::ExternalAddress.encode(), [0, 0]);
        assert_eq!(MAP.encode(), [0, 2, 0, 0, 0x1a, 0xe1, 0x1a, 0xe1, 0, 0, 0x1c, 0x20]);
        let reply = [0, 128, 0, 0, 0, 0, 1, 0, 198, 51, 100, 7];
        let answer = Answer::ExternalAddress("198.51.100.7".parse().unwrap());
        assert_eq!(Request::ExternalAddress.decode(&reply), Ok(Reply { epoch: 256, answer }));
        let reply = [0, 130, 0, 0, 0, 0, 0, 9, 0x1a, 0xe1, 0x27, 0x10, 0, 0, 0, 60];
        let answer = Answer::Mapped { external_port: 10_000, seconds: 60 };
        assert_eq!(MAP.decode(&reply), Ok(Reply { epoch: 9, answer }));
    }

    #[test]
    fn answers_to_something_else_are_passed_over() {
        let udp = [0, 129, 0, 0, 0, 0, 0, 9, 0x1a, 0xe1, 0x27, 0x10, 0, 0, 0, 60];
        let other_port = [0, 130, 0, 0, 0, 0, 0, 9, 0x1a, 0xe2, 0x27, 0x10, 0, 0, 0, 60];
        let request = [0, 2, 0, 0, 0, 0, 0, 9, 0x1a, 0xe1, 0x27, 0x10, 0, 0, 0, 60];
        for reply in [&udp[..], &other_port, &request, &udp[..3], &[0, 130, 0, 0, 0, 0], &[]] {
            assert_eq!(MAP.decode(reply), Err(Error::Unrelated), "{reply:?}");
        }
    }

    #[test]
    fn a_no_is_told_apart() {
        let says = |code| MAP.decode(&[0, 130, 0, code, 0, 0, 0, 9]);
        assert_eq!(says(1), Err(Error::UnsupportedVersion));
        assert_eq!(says(2), Err(Error::NotAuthorized));
        assert_eq!(says(3), Err(Error::NetworkFailure));
        assert_eq!(says(4), Err(Error::OutOfResources));
        assert_eq!(says(5), Err(Error::Other(5)));
        assert_eq!(MAP.decode(&[2, 129, 0, 1]), Err(Error::UnsupportedVersion));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Request::ExternalAddress.decode(&bytes);
            if let Ok(reply) = MAP.decode(&bytes) {
                prop_assert!(bytes.len() >= 16);
                let mapped = matches!(reply.answer, Answer::Mapped { .. });
                prop_assert!(mapped);
            }
        }
    }
}
