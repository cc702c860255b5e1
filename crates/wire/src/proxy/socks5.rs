//! SOCKS5 (RFC 1928) with user names and passwords (RFC 1929), and the head of its datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Credentials, ProxyTarget};

const VERSION: u8 = 5;
/// Of the negotiation of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
const NO_METHOD: u8 = 0;
const BY_PASSWORD: u8 = 2;
const NONE_ACCEPTED: u8 = 0xff;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

/// Bytes of the longest head of a datagram that we write or read.
pub const DATAGRAM_HEAD_BYTES_MAX: usize = 4 + 1 + 255 + 2;

/// What is asked of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To connect by TCP.
    Connect(ProxyTarget),
    /// To relay datagrams, for as long as the connection lasts.
    Associate,
}

/// The negotiation, from the first byte to the proxy's answer.
///
/// ```text
/// send machine.output(), read machine.need() bytes, machine.input(them)?, until it gives a reply
/// ```
#[derive(Debug)]
pub struct Socks5 {
    request: Request,
    credentials: Option<Credentials>,
    state: State,
    output: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Method,
    Password,
    /// Version, reply, reserved, kind of address, and its first byte.
    Head,
    /// What is left of the address, and the port.
    Address {
        kind: u8,
        first: u8,
        left: usize,
    },
    Over,
}

/// What the proxy granted: where it sends from, or where datagrams go to. The port and the address are
/// zero when it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// By address, or by a name that nobody should believe.
    pub bound: Option<SocketAddr>,
}

/// Why a proxy is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    /// What answers speaks something else.
    #[error("it does not speak SOCKS5; check the address and the kind of proxy")]
    NotSocks5,
    /// It wants a user's name and password, and there are none, or does not take ours.
    #[error("it wants another way to log in; give user and password in its URL")]
    NoMethod,
    /// It wants none of what we offer with a password.
    #[error("it takes neither a password nor connections without one")]
    NoMethodWithPassword,
    /// The password is wrong.
    #[error("it refused the user or the password; check them in its URL")]
    Login,
    /// The reply codes of RFC 1928.
    #[error("it answered: {}", reason(*.0))]
    Refused(u8),
    /// A kind of address that does not exist.
    #[error("it answered with an address of the unknown kind {0}")]
    AddressKind(u8),
}

impl SocksError {
    /// Whether it is the target that can't be reached, and not the proxy that is of no use.
    pub fn is_about_target(self) -> bool {
        matches!(self, Self::Refused(3..=6))
    }
}

/// RFC 1928, section 6.
fn reason(code: u8) -> &'static str {
    match code {
        1 => "general failure; see the proxy's log",
        2 => "its rules don't allow this connection; ask who runs it",
        3 => "the network can't be reached",
        4 => "the host can't be reached",
        5 => "the connection was refused",
        6 => "the time to live ran out on the way",
        7 => "it does not know this command",
        8 => "it does not know this kind of address",
        _ => "an unknown failure",
    }
}

impl Socks5 {
    /// A negotiation. Credentials are only shown to a proxy that asks for them.
    pub fn new(request: Request, credentials: Option<Credentials>) -> Self {
        let output = match credentials {
            None => vec![VERSION, 1, NO_METHOD],
            Some(_) => vec![VERSION, 2, NO_METHOD, BY_PASSWORD],
        };
        Self { request, credentials, state: State::Method, output }
    }

    /// What is to be sent now; empty the second time.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// How many bytes the proxy says next, exactly; 0 once it is over.
    pub fn need(&self) -> usize {
        match self.state {
            State::Method | State::Password => 2,
            State::Head => 5,
            State::Address { left, .. } => left,
            State::Over => 0,
        }
    }

    /// Takes as many bytes as it needs, and gives the reply once that was the last.
    ///
    /// # Errors
    /// [`SocksError`]: the connection is of no use.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Option<Reply>, SocksError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, bytes) {
            // Some servers put SOCKS's own version in front of what they say of a password.
            (State::Method, [VERSION, NO_METHOD])
            | (State::Password, [PASSWORD_VERSION | VERSION, 0]) => self.ask(),
            (State::Method, [VERSION, BY_PASSWORD]) => {
                let Some(Credentials { user, password }) = &self.credentials else {
                    return Err(SocksError::NoMethod);
                };
                self.output.push(PASSWORD_VERSION);
                for word in [user, password] {
                    self.output.push(word.len() as u8); // at most 255, by `Credentials::new`
                    self.output.extend(word);
                }
                self.state = State::Password;
            }
            (State::Method, [VERSION, NONE_ACCEPTED]) if self.credentials.is_some() => {
                return Err(SocksError::NoMethodWithPassword);
            }
            (State::Method, [VERSION, _]) => return Err(SocksError::NoMethod),
            (State::Password, [_, _]) => return Err(SocksError::Login),
            (State::Head, [VERSION, 0, _, kind, first]) => {
                let left = match *kind {
                    V4 => 3 + 2,
                    V6 => 15 + 2,
                    NAME => usize::from(*first).saturating_add(2),
                    other => return Err(SocksError::AddressKind(other)),
                };
                self.state = State::Address { kind: *kind, first: *first, left };
            }
            (State::Head, [VERSION, code, ..]) => return Err(SocksError::Refused(*code)),
            (State::Address { kind, first, left }, bytes) if bytes.len() == left => {
                let whole = [&[first], bytes].concat();
                let bound = address(kind, &whole).map(|(addr, _)| addr);
                return Ok(Some(Reply { bound }));
            }
            _ => return Err(SocksError::NotSocks5),
        }
        Ok(None)
    }

    fn ask(&mut self) {
        self.state = State::Head;
        let any = ProxyTarget::Address(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        let (command, target) = match &self.request {
            Request::Connect(target) => (1, target),
            // Where our datagrams come from we don't know; many proxies insist on zeros then.
            Request::Associate => (3, &any),
        };
        self.output.extend([VERSION, command, 0]);
        put(target, &mut self.output);
    }
}

/// A kind, an address and a port.
fn put(target: &ProxyTarget, out: &mut Vec<u8>) {
    match target {
        ProxyTarget::Address(addr) => match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(V4);
                out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(V6);
                out.extend(ip.octets());
            }
        },
        ProxyTarget::Name(name, _) => {
            let name = name.as_bytes().get(..super::NAME_BYTES_MAX).unwrap_or(name.as_bytes());
            out.extend([NAME, name.len() as u8]); // at most 255
            out.extend(name);
        }
    }
    out.extend(target.port().to_be_bytes());
}

/// An address and its port, and what follows; `None` for a name, or when it is cut short.
fn address(kind: u8, bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (ip, rest) = match kind {
        V4 => {
            let (ip, rest) = bytes.split_first_chunk::<4>()?;
            (IpAddr::from(Ipv4Addr::from(*ip)), rest)
        }
        V6 => {
            let (ip, rest) = bytes.split_first_chunk::<16>()?;
            (IpAddr::from(Ipv6Addr::from(*ip)).to_canonical(), rest)
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// What stands before the bytes of a datagram that the proxy is to send.
pub fn datagram_head(target: &ProxyTarget) -> Vec<u8> {
    let mut head = vec![0, 0, 0]; // reserved, and no fragment
    put(target, &mut head);
    head
}

/// Who sent a datagram that came from the proxy, and its bytes. `None` for a fragment, which nobody
/// has to take, and for what is none of these.
pub fn open_datagram(datagram: &[u8]) -> Option<(SocketAddr, &[u8])> {
    match datagram.split_first_chunk::<4>()? {
        ([_, _, 0, kind], rest) => address(*kind, rest),
        _ => None,
    }
}
