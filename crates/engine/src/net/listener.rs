//! A listening socket, whose connections are on the list of sockets too.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::{Held, Network, Purpose};

/// A TCP listener.
pub(crate) struct Listener {
    network: Network,
    socket: Held<TcpListener>,
    purpose: Purpose,
}

impl Listener {
    pub(super) fn new(network: Network, socket: Held<TcpListener>, purpose: Purpose) -> Self {
        Self { network, socket, purpose }
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for somebody to connect.
    pub(crate) async fn accept(&self) -> io::Result<(Held<TcpStream>, SocketAddr)> {
        let (stream, addr) = self.socket.accept().await?;
        Ok((self.network.hold(stream, self.purpose), addr))
    }
}
