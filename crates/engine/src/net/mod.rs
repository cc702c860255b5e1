//! The one socket factory: every socket of the library is made here, and every name is looked up here,
//! so that what a [`Network`] is bound to holds for all of them. `clippy.toml` refuses sockets elsewhere.
//!
//! MSE and uTP come on top, in `peer` and `utp_driver`.

mod binding;
mod from;
mod held;
mod link;
mod listener;
mod names;
mod news;
mod proxy;
mod registry;
mod relay;
mod resolver;
mod watch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use wire::proxy::ProxyTarget;

pub use self::binding::{Binding, BindingError};
pub(crate) use self::held::Held;
pub use self::link::{InterfaceInfo, interfaces};
pub(crate) use self::listener::Listener;
pub use self::proxy::{Proxy, ProxyUrlError};
use self::registry::Registry;
pub use self::registry::{Purpose, SocketInfo, SocketProtocol};
pub(crate) use self::relay::{Association, Relay};
pub(crate) use self::watch::Change;

/// Inbound connections the kernel may hold for us.
const BACKLOG: i32 = 256;

/// Bytes that a UDP socket may hold, if the system allows: bursts come faster than threads wake.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What a [`Network`] is made with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NetworkOptions {
    /// What every socket is bound to.
    pub bind: Binding,
    /// What every connection goes through.
    pub proxy: Option<Proxy>,
    /// Whom to ask for names when bound; empty: the system's servers.
    pub name_servers: Vec<SocketAddr>,
}

impl NetworkOptions {
    /// Binds every socket.
    #[must_use]
    pub fn bind(mut self, bind: Binding) -> Self {
        self.bind = bind;
        self
    }

    /// Has every connection go through this proxy, which looks names up too. What can't go through it
    /// is refused: datagrams but those that it relays, multicast, and peers that would come in.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Asks these servers for names, when bound. Default: the system's.
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.name_servers = servers.into_iter().collect();
        self
    }
}

/// Where all sockets come from, and all addresses of names. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    options: NetworkOptions,
    registry: Arc<Registry>,
    names: names::Names,
    state: tokio::sync::watch::Sender<State>,
    /// The same in short: something is absent.
    lost: AtomicBool,
    /// Whether the proxy can be reached.
    proxy_health: tokio::sync::watch::Sender<proxy::Health>,
    /// Why it let nobody through then, in words.
    proxy_trouble: Mutex<Option<String>>,
}

/// What is known of what we are bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    absence: Option<link::Absence>,
    index: Option<u32>,
    /// One more with each new interface: sockets of the one before lead nowhere.
    generation: u64,
}

impl Network {
    /// A factory; nothing is opened yet.
    pub fn new(options: NetworkOptions) -> Self {
        let index = link::look(&options.bind).ok().and_then(|link| link.index);
        let state = State { index, ..State::default() };
        let state = tokio::sync::watch::Sender::new(state);
        Self { inner: Arc::new(Inner { options, state, ..Inner::default() }) }
    }

    /// A factory whose sockets are bound to this address.
    pub fn bound_to(ip: IpAddr) -> Self {
        Self::new(NetworkOptions::default().bind(ip.into()))
    }

    /// What every socket is bound to.
    pub fn binding(&self) -> &Binding {
        &self.inner.options.bind
    }

    /// Every socket that is open now.
    pub fn sockets(&self) -> Vec<SocketInfo> {
        self.inner.registry.all()
    }

    /// Who is asked for names by bound sockets; `None`: the system's resolver is, as we are not bound.
    pub async fn name_servers(&self) -> Option<Vec<SocketAddr>> {
        if self.binding().is_none() {
            return None;
        }
        Some(resolver::servers(self).await.addrs)
    }

    /// The address by which this machine would leave towards the internet: the most likely one to be
    /// reached on. Nothing is sent.
    pub fn own_address(&self) -> Option<IpAddr> {
        if let Some(ip) = self.binding().address() {
            return Some(ip);
        }
        let towards = |to: SocketAddr| -> io::Result<IpAddr> {
            let socket = self.socket(to, Type::DGRAM)?;
            socket.connect(&to.into())?;
            let local = socket.local_addr()?.as_socket().map(|addr| addr.ip());
            local.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
        };
        // Addresses for documentation: they are routed like any other, and are nobody's.
        let v4 = towards((Ipv4Addr::new(192, 0, 2, 1), 9).into());
        let v6 = || towards((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into());
        v4.or_else(|_| v6()).ok()
    }

    /// The addresses of `HOST:PORT` or `[V6]:PORT`.
    ///
    /// # Errors
    /// When it is neither, and what the resolver says.
    pub async fn resolve_authority(&self, authority: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(addr) = authority.parse() {
            return Ok(vec![addr]);
        }
        let (host, port) = host_and_port(authority)?;
        self.resolve(host, port).await
    }

    /// The addresses of a host, which may be an address itself.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if let Some(proxy) = self.proxy() {
            let text = format!("{host}: only the proxy {proxy} looks names up; give an address");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.look_up(host, port).await
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if self.binding().is_none() {
            return Ok(tokio::net::lookup_host((host, port)).await?.collect());
        }
        let found = Box::pin(resolver::resolve(self, host)).await?;
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// Connects by TCP, through the proxy if there is one; to the name that the address stands in for, if
    /// it does.
    pub(crate) async fn connect(
        &self,
        addr: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<TcpStream>> {
        match self.proxy() {
            // The proxy's own name is looked up here, and no other.
            Some(proxy) if purpose != Purpose::Resolver => {
                self.connect_by_proxy(proxy, self.target_of(addr)?, purpose).await
            }
            _ => self.connect_directly(addr, purpose).await,
        }
    }

    /// Connects through the proxy to a host that it looks up.
    pub(crate) async fn connect_host(
        &self,
        host: &str,
        port: u16,
        purpose: Purpose,
    ) -> io::Result<Held<TcpStream>> {
        let nobody = || io::Error::new(io::ErrorKind::InvalidInput, "no name of a host");
        let target = ProxyTarget::new(host, port).ok_or_else(nobody)?;
        match self.proxy() {
            Some(proxy) => self.connect_by_proxy(proxy, target, purpose).await,
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "no proxy to look it up")),
        }
    }

    /// Connects by TCP, whether there is a proxy or not.
    async fn connect_directly(
        &self,
        addr: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<TcpStream>> {
        self.must_reach(addr)?;
        let socket = self.socket(addr, Type::STREAM)?;
        let local = self.local_ip(addr)?;
        if !local.is_unspecified() {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        let stream = TcpSocket::from_std_stream(socket.into()).connect(addr).await?;
        // We batch messages ourselves: one write a batch, which must not wait for the last one's ack.
        stream.set_nodelay(true)?;
        Ok(self.hold(stream, purpose))
    }

    /// A UDP socket on this local address, which may be a TCP listener's.
    pub(crate) fn udp(&self, local: SocketAddr, purpose: Purpose) -> io::Result<Held<UdpSocket>> {
        self.must_not_pass_proxy("datagrams")?;
        let socket = self.socket(local, Type::DGRAM)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // As much as may be had is good: Linux gives less than asked for, other systems refuse.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        socket.bind(&local.into())?;
        Ok(self.hold(UdpSocket::from_std(socket.into())?, purpose))
    }

    /// A UDP socket for datagrams with `remote` alone. Fails at once where there is no route.
    pub(crate) async fn udp_to(
        &self,
        remote: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<UdpSocket>> {
        if purpose != Purpose::Resolver {
            self.must_not_pass_proxy("datagrams")?;
        }
        self.udp_directly_to(remote, purpose).await
    }

    async fn udp_directly_to(
        &self,
        remote: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<UdpSocket>> {
        self.must_reach(remote)?;
        let socket = self.socket(remote, Type::DGRAM)?;
        socket.bind(&SocketAddr::new(self.local_ip(remote)?, 0).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        socket.connect(remote).await?;
        Ok(self.hold(socket, purpose))
    }

    /// Local addresses to open a socket on, of each family that there may be.
    pub(crate) fn local_addresses(&self, port: u16) -> Vec<SocketAddr> {
        let any = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let ips: Vec<IpAddr> = self.binding().address().map_or(any, |ip| vec![ip]);
        ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Listens where we are bound to, or on every address of both families on one port.
    pub(crate) fn listen(&self, port: u16, purpose: Purpose) -> io::Result<Vec<Listener>> {
        let mut listeners: Vec<Listener> = Vec::new();
        for mut addr in self.local_addresses(port) {
            if let Some(first) = listeners.first() {
                addr.set_port(first.local_addr().port());
            }
            match self.listen_on(addr, purpose) {
                Ok(listener) => listeners.push(listener),
                // A machine without IPv6 still has a working IPv4.
                Err(error) if !listeners.is_empty() => {
                    tracing::info!(%addr, %error, "not listening on this address");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }

    /// Listens on this local address.
    pub(crate) fn listen_on(&self, local: SocketAddr, purpose: Purpose) -> io::Result<Listener> {
        if purpose == Purpose::Peers {
            self.must_not_pass_proxy("peers that come in")?;
        }
        Listener::new(self.clone(), self.open_listener(local, purpose)?, purpose)
    }

    fn open_listener(&self, local: SocketAddr, purpose: Purpose) -> io::Result<Held<TcpListener>> {
        let socket = if purpose == Purpose::FileServer {
            // For programs of the user's own, whatever the network is bound to.
            Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?
        } else {
            self.socket(local, Type::STREAM)?
        };
        socket.set_nonblocking(true)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // So that a restart finds its port again while old connections linger.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&local.into()).map_err(|error| self.explained(error))?;
        socket.listen(BACKLOG)?;
        Ok(self.hold(TcpListener::from_std(socket.into())?, purpose))
    }

    /// A socket that hears what is sent to a multicast group and sends to it, by the network that we
    /// are bound to, otherwise by the one that the system has for it. Others may listen beside it.
    pub(crate) fn multicast(
        &self,
        group: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Held<UdpSocket>> {
        self.must_not_pass_proxy("multicast")?;
        let socket = self.socket(group, Type::DGRAM)?;
        socket.set_reuse_address(true)?;
        let bind = self.binding().address();
        if self.binding().interface().is_some() {
            // A bound socket sends by its interface alone, but would be let into the group by another.
            let index = self.link()?.index.unwrap_or_default();
            Self::join_by(index, &socket, group.ip())?;
            socket.bind(&group.into())?;
            return Ok(self.hold(UdpSocket::from_std(socket.into())?, purpose));
        }
        match (group.ip(), bind) {
            (IpAddr::V4(ip), None | Some(IpAddr::V4(_))) => {
                let network = match bind {
                    Some(IpAddr::V4(ip)) => ip,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                socket.join_multicast_v4(&ip, &network)?;
                socket.set_multicast_if_v4(&network)?;
            }
            (IpAddr::V6(ip), None) => {
                socket.set_only_v6(true)?;
                socket.join_multicast_v6(&ip, 0)?;
            }
            // An IPv6 address does not name its network here, and another must not be told.
            (_, Some(bind)) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    format!("the bind address {bind} does not name a network for {group}"),
                ));
            }
        }
        // Bound to the group, it gets nothing that was sent to us alone, from however far.
        socket.bind(&group.into())?;
        Ok(self.hold(UdpSocket::from_std(socket.into())?, purpose))
    }

    /// Lets a socket into a group by the interface with this number.
    fn join_by(index: u32, socket: &Socket, group: IpAddr) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            IpAddr::V6(group) => {
                socket.set_only_v6(true)?;
                socket.join_multicast_v6(&group, index)?;
                socket.set_multicast_if_v6(index)
            }
        }
    }

    /// A socket for addresses of this one's family that does not block.
    fn socket(&self, addr: SocketAddr, kind: Type) -> io::Result<Socket> {
        let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
        let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        self.binding().bind_device(&socket).map_err(|error| self.explained(error))?;
        Ok(socket)
    }

    /// An error in opening a socket, or that what we are bound to is not there.
    fn explained(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Unsupported {
            return error; // what the system can't do at all it can't do later
        }
        match link::look(self.binding()) {
            Err(absence) => io::Error::new(io::ErrorKind::NetworkDown, absence.to_string()),
            Ok(_) => error,
        }
    }

    /// What we are bound to.
    fn link(&self) -> io::Result<link::Link> {
        link::look(self.binding())
            .map_err(|absence| io::Error::new(io::ErrorKind::NetworkDown, absence.to_string()))
    }

    /// Refuses what can't be reached as we are bound.
    fn must_reach(&self, remote: SocketAddr) -> io::Result<()> {
        let link = self.link()?;
        if if remote.is_ipv4() { link.v4 } else { link.v6 } {
            return Ok(());
        }
        let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
        let message =
            format!("{remote} can't be reached: {} has no {family} address", self.binding());
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message))
    }

    /// Our address for talking to this one; unspecified when the system may choose.
    fn local_ip(&self, remote: SocketAddr) -> io::Result<IpAddr> {
        match self.binding().address() {
            Some(ip) if ip.is_ipv4() != remote.is_ipv4() => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("{remote} can't be reached from the bind address {ip}"),
            )),
            Some(ip) => Ok(ip),
            None if remote.is_ipv4() => Ok(Ipv4Addr::UNSPECIFIED.into()),
            None => Ok(Ipv6Addr::UNSPECIFIED.into()),
        }
    }

    /// Puts a socket on the list for as long as it lives.
    fn hold<T: registry::Describe>(&self, socket: T, purpose: Purpose) -> Held<T> {
        let entry = Registry::enter(&self.inner.registry, socket.describe(purpose));
        Held::new(socket, entry)
    }
}

/// The two parts of `HOST:PORT`.
fn host_and_port(authority: &str) -> io::Result<(&str, u16)> {
    let parts = authority.rsplit_once(':');
    match parts.map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.is_empty() => Ok((host, port)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not HOST:PORT")),
    }
}

#[cfg(test)]
mod tests;
