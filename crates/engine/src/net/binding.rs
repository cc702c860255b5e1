//! What sockets are bound to.

use std::io;
use std::net::IpAddr;

use socket2::Socket;

/// What every socket of a [`super::Network`] is bound to. Default: nothing, and the system's routes
/// decide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binding {
    address: Option<IpAddr>,
    interface: Option<String>,
}

impl Binding {
    /// Bound to a network interface, by its name.
    pub fn to_interface(name: impl Into<String>) -> Self {
        Self { address: None, interface: Some(name.into()) }
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

impl From<IpAddr> for Binding {
    fn from(ip: IpAddr) -> Self {
        Self { address: Some(ip), interface: None }
    }
}
