//! What sockets are bound to.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use socket2::Socket;

/// Bytes of an interface's name; Linux cuts longer ones, which makes them another's.
const NAME_BYTES_MAX: usize = 15;

/// A text that names nothing to bind to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither an IP address nor a network interface's name, nor both as in 192.0.2.7%tun0"
)]
pub struct BindingError(String);

/// What every socket of a [`super::Network`] is bound to. Default: nothing, and the system's routes
/// decide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binding {
    address: Option<IpAddr>,
    interface: Option<String>,
}

impl Binding {
    /// Bound to a network interface, by its name.
    ///
    /// # Errors
    /// When no interface can have that name: the system would take another one, or none.
    pub fn to_interface(name: &str) -> Result<Self, BindingError> {
        let is_strange = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_strange) {
            return Err(BindingError(name.to_owned()));
        }
        Ok(Self { address: None, interface: Some(name.to_owned()) })
    }

    /// Whether it is bound to nothing.
    pub fn is_none(&self) -> bool {
        self.address.is_none() && self.interface.is_none()
    }

    /// Whether it is an address alone: sockets bound to one are good again when it is back.
    pub(super) fn is_address(&self) -> bool {
        self.interface.is_none()
    }

    /// Whether nothing beyond this machine can be reached.
    pub fn is_loopback(&self) -> bool {
        self.address.is_some_and(|ip| ip.is_loopback()) || self.interface() == Some("lo")
    }

    /// The local address; `None` leaves it to the system.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The network interface, by its name; `None` leaves it to the system's routes.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Binds a socket to the interface, if there is one: it can't send by another from then on.
    #[cfg(target_os = "linux")]
    pub(super) fn bind_device(&self, socket: &Socket) -> io::Result<()> {
        match &self.interface {
            Some(name) => socket.bind_device(Some(name.as_bytes())),
            None => Ok(()),
        }
    }

    /// Only Linux lets a program without privileges tie a socket to an interface.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn bind_device(&self, _socket: &Socket) -> io::Result<()> {
        match &self.interface {
            Some(name) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this system can't bind to the interface {name}; give its address"),
            )),
            None => Ok(()),
        }
    }
}

/// As in a command line: `192.0.2.1`, `tun0`, or both, `192.0.2.1%tun0`.
impl FromStr for Binding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(ip.into());
        }
        if let Some((ip, name)) = text.split_once('%')
            && let Ok(ip) = ip.parse()
        {
            return Ok(Self { address: Some(ip), ..Self::to_interface(name)? });
        }
        if text.split_once('%').is_some_and(|(_, ip)| ip.parse::<IpAddr>().is_ok()) {
            return Err(BindingError(text.to_owned()));
        }
        Self::to_interface(text)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, &self.interface) {
            (Some(ip), Some(name)) => write!(f, "{ip}%{name}"),
            (Some(ip), None) => write!(f, "{ip}"),
            (None, Some(name)) => f.write_str(name),
            (None, None) => f.write_str("any address"),
        }
    }
}

impl From<IpAddr> for Binding {
    fn from(ip: IpAddr) -> Self {
        Self { address: Some(ip), interface: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_an_interface_or_both() {
        let read = |text: &str| text.parse::<Binding>();
        let address = read("192.0.2.7").unwrap();
        assert_eq!((address.address(), address.interface()), ("192.0.2.7".parse().ok(), None));
        let interface = read("tun0").unwrap();
        assert_eq!((interface.address(), interface.interface()), (None, Some("tun0")));
        for both in ["192.0.2.7%tun0", "fe80::1%tun0"] {
            assert_eq!(read(both).unwrap().to_string(), both);
            assert!(read(both).unwrap().address().is_some() && !read(both).unwrap().is_none());
        }
    }

    /// The empty name unbinds a socket, and a long one is cut to what may be another's.
    #[test]
    fn what_would_bind_to_nothing_or_to_another_is_refused() {
        for bad in
            ["", "tun0%192.0.2.7", "192.0.2.7%", "a name", "a/b", "tun\0", "sixteen-letters0"]
        {
            assert!(bad.parse::<Binding>().is_err(), "{bad:?}");
        }
        assert!("fifteen-letters".parse::<Binding>().is_ok());
    }
}
