//! Sockets and time for the UDP tracker protocol; the protocol is [`tracker::udp`].
//!
//! Every exchange has a socket of its own, connected: the kernel drops what comes from another
//! address, and an ICMP refusal ends the wait. A tracker's connection id goes with the socket it
//! was given to, since trackers may tie it to our port; the pair is kept for the id's minute, so
//! that a hundred torrents on one tracker don't connect a hundred times.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tracker::udp::{
    ConnectionId, Exchange, ExchangeConfig, Outcome, Patience, Query, Step, UdpError,
};

use super::error::AnnounceError;
use crate::http::{NO_ROUTE_KINDS, family_of};
use crate::net::{Held, Network, Purpose};

/// Retransmissions are bounded by the deadline; this is BEP 15's own limit.
const RETRIES_MAX: u32 = 8;

/// A datagram longer than this is cut, which costs the peers beyond 900 (IPv6) at worst.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;

/// Idle sockets kept for their connection ids; each is a file descriptor.
const IDLE_MAX: usize = 32;

/// All exchanges of a client.
pub(super) struct Udp {
    network: Network,
    origin: Instant,
    idle: Mutex<HashMap<SocketAddr, Idle>>,
}

/// A socket that a tracker knows.
struct Idle {
    socket: Held<UdpSocket>,
    /// Which of the network's interfaces the socket was made for.
    generation: u64,
    connection: ConnectionId,
}

impl Udp {
    pub(super) fn new(network: Network) -> Self {
        Self { network, origin: Instant::now(), idle: Mutex::default() }
    }

    /// Asks the tracker at `addr`, for at most `patience`.
    pub(super) async fn ask(
        &self,
        addr: SocketAddr,
        host: &str,
        url_data: &str,
        query: Query,
        patience: Duration,
    ) -> Result<Outcome, AnnounceError> {
        let generation = self.network.generation();
        let known = self.take(addr).filter(|idle| idle.generation == generation);
        let connection = known.as_ref().map(|idle| idle.connection);
        let socket = if let Some(idle) = known {
            idle.socket
        } else {
            let opened = self.network.udp_to(addr, Purpose::Tracker).await;
            opened.map_err(|error| socket_error(host, error))?
        };
        let config = ExchangeConfig {
            query,
            family: family_of(addr),
            url_data: url_data.to_owned(),
            connection,
            patience: Patience { retries_max: RETRIES_MAX, deadline: Some(patience) },
            seed: seed(),
        };
        let mut exchange = Exchange::new(self.now(), config);
        let outcome = self.drive(&mut exchange, &socket, host).await;
        if let (Ok(_), Some(connection)) = (&outcome, exchange.connection()) {
            self.keep(addr, Idle { socket, generation, connection });
        }
        outcome
    }

    async fn drive(
        &self,
        exchange: &mut Exchange,
        socket: &UdpSocket,
        host: &str,
    ) -> Result<Outcome, AnnounceError> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let until = match exchange.poll(self.now()) {
                Step::Send(packet) => {
                    socket.send(&packet).await.map_err(|error| socket_error(host, error))?;
                    continue;
                }
                Step::Wait(until) => until,
                Step::Failed(error) => return Err(error.into()),
                // Only after a result, which ends this loop.
                Step::Finished => return Err(UdpError::TimedOut { sent: 0 }.into()),
            };
            let received = timeout_at(self.origin + until, socket.recv(&mut buffer)).await;
            let Ok(received) = received else { continue };
            let length = received.map_err(|error| socket_error(host, error))?;
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Some(result) = exchange.handle(self.now(), datagram) {
                return Ok(result?);
            }
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn take(&self, addr: SocketAddr) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove(&addr)
    }

    fn keep(&self, addr: SocketAddr, one: Idle) {
        let now = self.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, idle| now < idle.connection.expires);
        if idle.len() < IDLE_MAX {
            idle.insert(addr, one);
        }
    }
}

fn socket_error(host: &str, source: io::Error) -> AnnounceError {
    let host = host.to_owned();
    if NO_ROUTE_KINDS.contains(&source.kind()) {
        AnnounceError::NoRoute { host, source }
    } else {
        AnnounceError::Socket { host, source }
    }
}

/// For transaction ids: whoever can guess them can answer in the tracker's place.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}
