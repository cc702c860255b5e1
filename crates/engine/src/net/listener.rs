//! A listening socket, whose connections are on the list of sockets too. It is opened again when the
//! interface that it is bound to was replaced.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Held, Network, Purpose, State};

/// How long to wait before a port that can't be had is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A TCP listener.
pub(crate) struct Listener {
    network: Network,
    /// `None` while it can't be had.
    socket: Option<Held<TcpListener>>,
    local: SocketAddr,
    purpose: Purpose,
    state: watch::Receiver<State>,
    generation: u64,
}

impl Listener {
    pub(super) fn new(
        network: Network,
        socket: Held<TcpListener>,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let (local, state) = (socket.local_addr()?, network.state());
        let generation = network.generation();
        Ok(Self { network, socket: Some(socket), local, purpose, state, generation })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for somebody to connect.
    pub(crate) async fn accept(&mut self) -> io::Result<(Held<TcpStream>, SocketAddr)> {
        loop {
            self.state.mark_unchanged();
            let generation = self.network.generation();
            if self.generation != generation {
                self.socket = None; // its port is free for the next
                self.generation = generation;
            }
            if self.socket.is_none() {
                match self.network.open_listener(self.local, self.purpose) {
                    Ok(socket) => self.socket = Some(socket),
                    Err(error) => tracing::info!(local = %self.local, %error, "not listening yet"),
                }
            }
            let accept = async {
                if let Some(socket) = &self.socket {
                    return Some(socket.accept().await);
                }
                tokio::time::sleep(AGAIN).await;
                None
            };
            let accepted = tokio::select! {
                accepted = accept => accepted,
                // The network that would tell of a change is held by this listener.
                _ = self.state.changed() => None,
            };
            if let Some(accepted) = accepted {
                let (stream, addr) = accepted?;
                return Ok((self.network.hold(stream, self.purpose), addr));
            }
        }
    }
}
