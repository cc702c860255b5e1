//! The UDP side of the listening port: one socket for each address, shared by all protocols that
//! come in datagrams.
//!
//! Who receives is told by the first byte ([`Kind`]). Many datagrams travel in one system call
//! where the system can (GSO and GRO, by `quinn-udp`). The sockets never fragment: what is too long
//! for a path is lost or refused, so 1,280 bytes are safe and more must be probed for.
//!
//! Behind a proxy there is no such socket: `relayed.rs` has it relay each datagram.

mod moving;
mod receive;
mod relayed;
mod socket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::proxy::ProxyTarget;

pub(crate) use self::relayed::RelayState;
use self::relayed::Relayed;
use self::socket::Socket;
use crate::ip_filter::Gate;
use crate::net::{Network, Proxy};

/// What a datagram is, by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bencoded dictionary: DHT (BEP 5).
    Dht,
    /// A header of version 1: uTP (BEP 29).
    Utp,
}

impl Kind {
    /// Bytes of a uTP header.
    const UTP_HEADER_BYTES: usize = 20;
    /// The highest uTP type, a SYN.
    const UTP_TYPE_MAX: u8 = 4;

    /// `None` for what nobody here understands.
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        match *datagram.first()? {
            b'd' => Some(Self::Dht),
            first
                if first & 0xf == 1
                    && first >> 4 <= Self::UTP_TYPE_MAX
                    && datagram.len() >= Self::UTP_HEADER_BYTES =>
            {
                Some(Self::Utp)
            }
            _ => None,
        }
    }

    /// Whether it asks for a uTP connection.
    fn opens(datagram: &[u8]) -> bool {
        let syn = datagram.first().is_some_and(|first| first >> 4 == Self::UTP_TYPE_MAX);
        syn && Self::of(datagram) == Some(Self::Utp)
    }
}

/// Who is at the other end, and by which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    /// Them.
    pub(crate) remote: SocketAddr,
    /// Us: an answer that comes from another address than was asked is nobody's answer. `None`
    /// leaves the choice to the system.
    pub(crate) local: Option<SocketAddr>,
}

/// Takes the datagrams of one kind. It is called on the control runtime and must not block.
pub(crate) trait Handler: Send + Sync {
    /// One datagram, of the kind that was registered for.
    fn datagram(&self, from: Path, bytes: &[u8]);

    /// No more are there for now: the time to answer all of them together.
    fn drained(&self) {}
}

/// A socket that is received from until this is dropped.
struct Open {
    socket: Arc<Socket>,
    _receiving: DropGuard,
}

/// The sockets, to send by, and who gets what they receive.
pub(crate) struct Datagrams {
    network: Network,
    /// Empty once closed.
    sockets: RwLock<Vec<Open>>,
    /// What there is instead of sockets.
    relay: Option<Arc<Relayed>>,
    /// Those of ports that we have left, while connections still go by them.
    left: RwLock<Vec<Open>>,
    handlers: RwLock<[Option<Weak<dyn Handler>>; 2]>,
    closing: CancellationToken,
    /// Whom nothing is sent to or taken from.
    gate: Arc<Gate>,
}

impl Datagrams {
    /// Opens a socket on each address and receives for as long as the runtime that this is called
    /// in lives. An address that can't be had is logged and left out.
    pub(crate) fn open(network: &Network, addrs: &[SocketAddr]) -> Arc<Self> {
        let this = Self::new(network, None);
        let open = |addr: &SocketAddr| this.open_if_possible(*addr);
        let sockets = addrs.iter().filter_map(open).collect();
        *this.sockets.write().unwrap_or_else(PoisonError::into_inner) = sockets;
        this
    }

    /// Has the proxy relay all datagrams, as soon as it does and for as long as the runtime that this is
    /// called in lives.
    pub(crate) fn through(network: &Network, proxy: &Proxy) -> Arc<Self> {
        let relay = Arc::new(Relayed::new(proxy.clone()));
        let this = Self::new(network, Some(Arc::clone(&relay)));
        let running = relayed::run(Arc::downgrade(&this), relay, network.clone());
        this.spawn(running);
        this
    }

    fn new(network: &Network, relay: Option<Arc<Relayed>>) -> Arc<Self> {
        Arc::new(Self {
            network: network.clone(),
            sockets: RwLock::default(),
            left: RwLock::default(),
            relay,
            handlers: RwLock::default(),
            closing: CancellationToken::new(),
            gate: Arc::default(),
        })
    }

    /// Whether the proxy relays, and each change of that; `None` without a proxy.
    pub(crate) fn relay_state(&self) -> Option<watch::Receiver<RelayState>> {
        self.relay.as_ref().map(|relay| relay.state())
    }

    /// Waits until something can be sent, which is at once without a proxy.
    ///
    /// # Errors
    /// When the proxy relays no datagrams at all.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        match &self.relay {
            Some(relay) => relay.ready().await,
            None => Ok(()),
        }
    }

    /// Opens a socket on each address, as [`Self::open`] does, when there was none yet.
    ///
    /// # Errors
    /// When none can be had.
    pub(crate) fn open_at(self: &Arc<Self>, addrs: &[SocketAddr]) -> io::Result<()> {
        let new: Vec<_> = addrs.iter().filter_map(|addr| self.open_if_possible(*addr)).collect();
        if new.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        *self.sockets.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn open_if_possible(self: &Arc<Self>, addr: SocketAddr) -> Option<Open> {
        self.open_one(addr)
            .inspect_err(|error| tracing::info!(%addr, %error, "no datagrams by this address"))
            .ok()
    }

    fn open_one(self: &Arc<Self>, addr: SocketAddr) -> io::Result<Open> {
        let socket = Arc::new(Socket::open(&self.network, addr)?);
        let receiving = receive::receive(Arc::downgrade(self), Arc::clone(&socket));
        let until = self.closing.child_token();
        tokio::spawn(until.clone().run_until_cancelled_owned(receiving));
        Ok(Open { socket, _receiving: until.drop_guard() })
    }

    /// Replaces sockets that are bound to an interface which may be another by now. An address can be
    /// had on the new one while the old one still has it.
    pub(crate) fn reopen(self: &Arc<Self>) {
        if let Some(relay) = &self.relay {
            relay.reopen();
        }
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        for open in &mut *sockets {
            if !open.socket.is_of(&self.network)
                && let Some(new) = self.open_if_possible(open.socket.local_addr())
            {
                *open = new;
            }
        }
    }

    /// Has `handler` take datagrams of this kind for as long as it lives, instead of who did before.
    pub(crate) fn register(&self, kind: Kind, handler: &Arc<impl Handler + 'static>) {
        let handler: Weak<dyn Handler> = Arc::<_>::downgrade(handler) as _;
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        handlers[kind as usize] = Some(handler);
    }

    fn handler(&self, kind: Kind) -> Option<Arc<dyn Handler>> {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        handlers[kind as usize].as_ref()?.upgrade()
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Where we receive: at most one address of each family. Behind a proxy they say nothing.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        if self.relay.is_some() {
            let nowhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            return nowhere.map(|ip| SocketAddr::new(ip, 0)).to_vec();
        }
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().map(|open| open.socket.local_addr()).collect()
    }

    /// By which of our addresses this one is talked to.
    pub(crate) fn local_addr(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let same = |local: &SocketAddr| local.is_ipv4() == remote.is_ipv4();
        self.local_addrs().into_iter().find(same)
    }

    /// The port that it has, of whatever address; `None` without a socket.
    pub(crate) fn port(&self) -> Option<u16> {
        self.local_addrs().first().map(SocketAddr::port).filter(|port| *port != 0)
    }

    /// Sends `bytes`, cut into datagrams of `segment` bytes (the last may be shorter). Nothing was
    /// sent when the error is `WouldBlock`: wait for [`Self::writable`].
    ///
    /// # Errors
    /// What the system says, or that the IP filter has the address. A datagram may be lost after `Ok` as well.
    pub(crate) fn try_send(&self, to: Path, bytes: &[u8], segment: usize) -> io::Result<()> {
        if self.gate.holds(to.remote.ip()) {
            return Err(Gate::error(to.remote.ip()));
        }
        if self.network.is_lost() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        match &self.relay {
            Some(relay) => relay.try_send(&to.remote.into(), bytes, segment),
            None => self.socket(to)?.try_send(to, bytes, segment),
        }
    }

    /// Sends a datagram to a host that the proxy looks up.
    ///
    /// # Errors
    /// As [`Self::try_send`]; without a proxy.
    pub(crate) fn try_send_named(&self, to: &ProxyTarget, bytes: &[u8]) -> io::Result<()> {
        if self.network.is_lost() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let relay = self.relay.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        relay.try_send(to, bytes, bytes.len())
    }

    /// Waits until there is room to send there.
    #[allow(dead_code)] // for protocols that must not lose what they send; a refusal may be lost
    pub(crate) async fn writable(&self, to: Path) -> io::Result<()> {
        match &self.relay {
            Some(relay) => relay.writable().await,
            None => self.socket(to)?.writable().await,
        }
    }

    /// Runs something for as long as this is not closed.
    pub(crate) fn spawn(&self, running: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.closing.child_token().run_until_cancelled_owned(running));
    }

    /// Gives the ports back, although torrents' handles keep this alive.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        if let Some(relay) = &self.relay {
            relay.close();
        }
        for sockets in [&self.sockets, &self.left] {
            sockets.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn socket(&self, to: Path) -> io::Result<Arc<Socket>> {
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        let same = |open: &&Open| open.socket.local_addr().is_ipv4() == to.remote.is_ipv4();
        let open = sockets.iter().find(same).map(|open| Arc::clone(&open.socket));
        drop(sockets);
        let port = open.as_ref().map(|socket| socket.local_addr().port());
        if let Some(local) = to.local.filter(|local| Some(local.port()) != port)
            && let Some(left) = self.left_by(to.remote, local.port())
        {
            return Ok(left);
        }
        let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket of that family");
        open.ok_or_else(none)
    }
}

#[cfg(test)]
mod tests;
