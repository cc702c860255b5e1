//! The list of all sockets that are open: who asked for them, and what they are bound to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// A peer's connection, or the port where peers come in.
    Peers,
    /// uTP and the DHT, which share sockets.
    Datagrams,
    /// A question to a UDP tracker.
    Tracker,
    /// A question to an HTTP server: a tracker, or one that has a .torrent.
    Http,
    /// Local discovery, by multicast.
    LocalDiscovery,
    /// A question to the gateway, to have our port mapped.
    PortMapping,
    /// A question to a name server.
    Resolver,
    /// The tracker that we are ourselves.
    TrackerServer,
    /// A file of a torrent, for the user's player.
    FileServer,
    /// A look whether a proxy that was lost is back.
    Proxy,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peers => "peers",
            Self::Datagrams => "utp and dht",
            Self::Tracker => "udp tracker",
            Self::Http => "http",
            Self::LocalDiscovery => "local discovery",
            Self::PortMapping => "port mapping",
            Self::Resolver => "name server",
            Self::TrackerServer => "tracker server",
            Self::FileServer => "file server",
            Self::Proxy => "proxy",
        })
    }
}

/// How a socket talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketProtocol {
    /// A TCP connection.
    Tcp,
    /// A TCP port that others connect to.
    TcpListener,
    /// Datagrams.
    Udp,
}

impl fmt::Display for SocketProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::TcpListener => "tcp listener",
            Self::Udp => "udp",
        })
    }
}

/// An open socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketInfo {
    /// What it is for.
    pub purpose: Purpose,
    /// How it talks.
    pub protocol: SocketProtocol,
    /// Our address; `None` when the system does not say.
    pub local: Option<SocketAddr>,
    /// Theirs, if it is connected.
    pub remote: Option<SocketAddr>,
    /// The interface that it is bound to, as the system tells.
    pub interface: Option<String>,
}

/// A socket that can be put on the list.
pub(super) trait Describe {
    const PROTOCOL: SocketProtocol;

    fn socket(&self) -> SockRef<'_>;

    /// What the system says of it.
    fn describe(&self, purpose: Purpose) -> SocketInfo {
        let socket = self.socket();
        let local = socket.local_addr().ok().and_then(|addr| addr.as_socket());
        let remote = socket.peer_addr().ok().and_then(|addr| addr.as_socket());
        let interface = interface_of(&socket);
        SocketInfo { purpose, protocol: Self::PROTOCOL, local, remote, interface }
    }
}

#[cfg(target_os = "linux")]
fn interface_of(socket: &SockRef<'_>) -> Option<String> {
    let name = socket.device().ok()??;
    Some(String::from_utf8_lossy(&name).into_owned())
}

#[cfg(not(target_os = "linux"))]
fn interface_of(_socket: &SockRef<'_>) -> Option<String> {
    None
}

impl Describe for TcpStream {
    const PROTOCOL: SocketProtocol = SocketProtocol::Tcp;

    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

impl Describe for TcpListener {
    const PROTOCOL: SocketProtocol = SocketProtocol::TcpListener;

    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

impl Describe for UdpSocket {
    const PROTOCOL: SocketProtocol = SocketProtocol::Udp;

    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Sockets>);

#[derive(Debug, Default)]
struct Sockets {
    next: u64,
    open: BTreeMap<u64, SocketInfo>,
}

impl Registry {
    /// Puts one on the list until the entry is dropped.
    pub(super) fn enter(this: &Arc<Self>, info: SocketInfo) -> Entry {
        let mut sockets = this.lock();
        let number = sockets.next;
        sockets.next += 1;
        sockets.open.insert(number, info);
        Entry { registry: Arc::clone(this), number }
    }

    pub(super) fn all(&self) -> Vec<SocketInfo> {
        self.lock().open.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's place on the list.
#[derive(Debug, Default)]
pub(super) struct Entry {
    registry: Arc<Registry>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.number);
    }
}
