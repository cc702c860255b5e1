//! What a client says to a proxy before anything else: SOCKS5 (RFC 1928, with the user names and
//! passwords of RFC 1929) and the CONNECT method of HTTP (RFC 9110, 9.3.6).
//!
//! Both are state machines without a socket. They name how many bytes they want next and never want
//! one that is not theirs, so that behind them the stream is as the other end sent it. A name goes to
//! the proxy as a name: nobody here looks it up.

mod http;
mod socks5;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use http::{HttpConnect, HttpProxyError};
pub use socks5::{
    DATAGRAM_HEAD_BYTES_MAX, Reply, Request, Socks5, SocksError, datagram_head, open_datagram,
};

/// Bytes of the longest name (RFC 1035).
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Where a proxy is to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProxyTarget {
    /// An address.
    Address(SocketAddr),
    /// A name that the proxy looks up, and a port.
    Name(String, u16),
}

impl ProxyTarget {
    /// A host, which may be an address in words, and a port. `None` for what no proxy can be told: an
    /// empty name, one that is too long, or one with bytes that no host name has.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Self::Address(SocketAddr::new(ip, port)));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = (1..=NAME_BYTES_MAX).contains(&host.len()) && host.bytes().all(allowed);
        is_name.then(|| Self::Name(host.to_owned(), port))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(addr) => addr.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl From<SocketAddr> for ProxyTarget {
    fn from(addr: SocketAddr) -> Self {
        Self::Address(addr)
    }
}

impl fmt::Display for ProxyTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(formatter),
            Self::Name(name, port) => write!(formatter, "{name}:{port}"),
        }
    }
}

/// A user's name and password. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    /// `None` when either is longer than the 255 bytes that SOCKS5 has for it, or the user's name is
    /// empty.
    pub fn new(user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Option<Self> {
        let (user, password) = (user.into(), password.into());
        let fits = !user.is_empty() && user.len() <= 255 && password.len() <= 255;
        fits.then_some(Self { user, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests;
