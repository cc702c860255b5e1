//! Datagrams through a SOCKS5 proxy (RFC 1928, UDP ASSOCIATE): an [`Association`] has them relayed to
//! anybody, a [`Relay`] to one target. They are relayed for as long as the connection lasts on which
//! that was asked for.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::net::{TcpStream, UdpSocket};
use wire::proxy::{ProxyTarget, Request, datagram_head, open_datagram};

use super::{Held, Network, Proxy, Purpose};

/// What a proxy relays datagrams by. Only the proxy's own datagrams come in: its socket is connected.
pub(crate) struct Association {
    control: Held<TcpStream>,
    socket: Held<UdpSocket>,
    proxy: String,
}

/// A way for datagrams to one target and back.
pub(crate) struct Relay {
    association: Association,
    /// Stands before each datagram.
    head: Vec<u8>,
    to_name: bool,
}

impl Network {
    /// Has the proxy relay datagrams.
    ///
    /// # Errors
    /// What the proxy says, [`io::ErrorKind::Unsupported`] when it does not do that; an HTTP proxy
    /// relays none.
    pub(crate) async fn associate(
        &self,
        proxy: &Proxy,
        purpose: Purpose,
    ) -> io::Result<Association> {
        if !proxy.relays() {
            self.must_not_pass_proxy("datagrams")?;
        }
        let (control, reply) = self.ask_proxy(proxy, Request::Associate, purpose).await?;
        let mut addr = control.peer_addr()?;
        // Many proxies name an address of their own network, or none. And no other machine than the
        // proxy is to get our datagrams.
        let port = reply.map_or(0, |bound| bound.port());
        if port == 0 {
            let text = format!("the proxy {proxy} names no port for datagrams");
            return Err(io::Error::other(text));
        }
        addr.set_port(port);
        let socket = self.udp_directly_to(addr, purpose).await?;
        Ok(Association { control, socket, proxy: proxy.to_string() })
    }

    /// Has the proxy relay datagrams to `target`, whose name, if it is one, the proxy looks up.
    ///
    /// # Errors
    /// As [`Self::associate`].
    pub(crate) async fn relay(
        &self,
        proxy: &Proxy,
        target: &ProxyTarget,
        purpose: Purpose,
    ) -> io::Result<Relay> {
        let association = self.associate(proxy, purpose).await?;
        let to_name = matches!(target, ProxyTarget::Name(..));
        Ok(Relay { association, head: datagram_head(target), to_name })
    }
}

impl Association {
    /// Sends what [`datagram_head`] begins.
    pub(crate) fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.try_send(datagram).map(drop)
    }

    /// Waits until there is room to send.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// The next datagram that is there: who sent it, and where its bytes are in `buffer`. `None` when
    /// it is a fragment, or nothing that can be read.
    pub(crate) fn try_recv(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<Option<(SocketAddr, Range<usize>)>> {
        self.socket.try_recv(buffer).map(|length| opened(buffer, length))
    }

    /// Waits for the next datagram, as [`Self::try_recv`] has it.
    ///
    /// # Errors
    /// When the proxy ended it, with [`io::ErrorKind::ConnectionAborted`]; what the system says.
    pub(crate) async fn recv(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<Option<(SocketAddr, Range<usize>)>> {
        tokio::select! {
            length = self.socket.recv(buffer) => Ok(opened(buffer, length?)),
            error = self.ended() => Err(error),
        }
    }

    /// Waits until the proxy ends it.
    async fn ended(&self) -> io::Error {
        loop {
            // It has nothing to say there; its end is the relay's.
            let read = match self.control.readable().await {
                Ok(()) => self.control.try_read(&mut [0; 64]),
                Err(error) => Err(error),
            };
            match read {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => {
                    let text = format!("the proxy {} ended the relay of datagrams", self.proxy);
                    return io::Error::new(io::ErrorKind::ConnectionAborted, text);
                }
            }
        }
    }
}

fn opened(buffer: &[u8], length: usize) -> Option<(SocketAddr, Range<usize>)> {
    let (from, inside) = open_datagram(buffer.get(..length)?)?;
    Some((from, length - inside.len()..length)) // what is inside is its end
}

impl Relay {
    /// Whether the proxy chose the address, and its family.
    pub(crate) fn is_to_name(&self) -> bool {
        self.to_name
    }

    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.association.socket.send(&[&self.head, bytes].concat()).await.map(drop)
    }

    /// The next datagram, and who sent it.
    pub(crate) async fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut relayed = vec![0; buffer.len() + wire::proxy::DATAGRAM_HEAD_BYTES_MAX];
        loop {
            let Some((from, inside)) = self.association.recv(&mut relayed).await? else { continue };
            let inside = relayed.get(inside).unwrap_or_default();
            let length = inside.len().min(buffer.len());
            if let (Some(to), Some(inside)) = (buffer.get_mut(..length), inside.get(..length)) {
                to.copy_from_slice(inside);
            }
            return Ok((length, from));
        }
    }
}
