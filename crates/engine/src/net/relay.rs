//! Datagrams with one target through a SOCKS5 proxy (RFC 1928, UDP ASSOCIATE). They are relayed for as
//! long as the connection lasts on which that was asked for.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, UdpSocket};
use wire::proxy::{ProxyTarget, Request, datagram_head, open_datagram};

use super::{Held, Network, Proxy, Purpose};

/// A way for datagrams to one target and back.
pub(crate) struct Relay {
    control: Held<TcpStream>,
    socket: Held<UdpSocket>,
    /// Stands before each datagram.
    head: Vec<u8>,
    proxy: String,
    to_name: bool,
}

impl Network {
    /// Has the proxy relay datagrams to `target`, whose name, if it is one, the proxy looks up.
    ///
    /// # Errors
    /// What the proxy says; an HTTP proxy relays none.
    pub(crate) async fn relay(
        &self,
        proxy: &Proxy,
        target: &ProxyTarget,
        purpose: Purpose,
    ) -> io::Result<Relay> {
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
        let (head, proxy) = (datagram_head(target), proxy.to_string());
        let to_name = matches!(target, ProxyTarget::Name(..));
        Ok(Relay { control, socket, head, proxy, to_name })
    }
}

impl Relay {
    /// Whether the proxy chose the address, and its family.
    pub(crate) fn is_to_name(&self) -> bool {
        self.to_name
    }

    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(&[&self.head, bytes].concat()).await.map(drop)
    }

    /// The next datagram, and who sent it.
    pub(crate) async fn recv(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut relayed = vec![0; buffer.len() + wire::proxy::DATAGRAM_HEAD_BYTES_MAX];
        loop {
            tokio::select! {
                length = self.socket.recv(&mut relayed) => {
                    let datagram = relayed.get(..length?).unwrap_or_default();
                    let Some((from, inside)) = open_datagram(datagram) else { continue };
                    let length = inside.len().min(buffer.len());
                    if let (Some(to), Some(inside)) = (buffer.get_mut(..length), inside.get(..length)) {
                        to.copy_from_slice(inside);
                    }
                    return Ok((length, from));
                }
                ready = self.control.readable() => {
                    ready?;
                    // It has nothing to say there; its end is the relay's.
                    match self.control.try_read(&mut [0; 64]) {
                        Ok(1..) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => {
                            let text = format!("the proxy {} ended the relay of datagrams", self.proxy);
                            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
                        }
                    }
                }
            }
        }
    }
}
