//! Sockets and time for the UDP tracker protocol; the protocol is [`tracker::udp`].
//!
//! Every exchange has a socket of its own, connected: the kernel drops what comes from another
//! address, and an ICMP refusal ends the wait. A tracker's connection id goes with the socket it
//! was given to, since trackers may tie it to our port; the pair is kept for the id's minute, so
//! that a hundred torrents on one tracker don't connect a hundred times.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tracker::udp::{
    ConnectionId, Exchange, ExchangeConfig, Family, Outcome, Patience, Query, Step, UdpError,
};
use wire::proxy::ProxyTarget;

use super::error::AnnounceError;
use crate::http::{NO_ROUTE_KINDS, family_of};
use crate::net::{Held, Network, Purpose, Relay};

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
    idle: Mutex<HashMap<ProxyTarget, Idle>>,
}

/// How datagrams go to a tracker.
enum Way {
    Direct(Held<UdpSocket>),
    Relayed(Relay),
}

impl Way {
    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Direct(socket) => socket.send(packet).await.map(drop),
            Self::Relayed(relay) => relay.send(packet).await,
        }
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Direct(socket) => socket.recv(buffer).await,
            Self::Relayed(relay) => match relay.recv(buffer).await? {
                (length, from) if from.is_ipv4() || !relay.is_to_name() => Ok(length),
                // The peers in it have a length that nobody could know when it was asked.
                _ => Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "the proxy reached the tracker by IPv6; give the tracker's IPv4 address",
                )),
            },
        }
    }
}

/// A socket that a tracker knows.
struct Idle {
    socket: Way,
    /// Which of the network's interfaces the socket was made for.
    generation: u64,
    connection: ConnectionId,
}

impl Udp {
    pub(super) fn new(network: Network) -> Self {
        Self { network, origin: Instant::now(), idle: Mutex::default() }
    }

    /// Asks the tracker at `target`, which is a name only behind a proxy, for at most `patience`.
    pub(super) async fn ask(
        &self,
        target: &ProxyTarget,
        host: &str,
        url_data: &str,
        query: Query,
        patience: Duration,
    ) -> Result<Outcome, AnnounceError> {
        let generation = self.network.generation();
        let known = self.take(target).filter(|idle| idle.generation == generation);
        let connection = known.as_ref().map(|idle| idle.connection);
        let socket = if let Some(idle) = known {
            idle.socket
        } else {
            self.open(target).await.map_err(|error| socket_error(host, error))?
        };
        let config = ExchangeConfig {
            query,
            family: match target {
                ProxyTarget::Address(addr) => family_of(*addr),
                ProxyTarget::Name(..) => Family::V4, // see `Way::recv`
            },
            url_data: url_data.to_owned(),
            connection,
            patience: Patience { retries_max: RETRIES_MAX, deadline: Some(patience) },
            seed: seed(),
        };
        let mut exchange = Exchange::new(self.now(), config);
        let outcome = self.drive(&mut exchange, &socket, host).await;
        if let (Ok(_), Some(connection)) = (&outcome, exchange.connection()) {
            self.keep(target.clone(), Idle { socket, generation, connection });
        }
        outcome
    }

    async fn open(&self, target: &ProxyTarget) -> io::Result<Way> {
        match (self.network.proxy(), target) {
            (Some(proxy), target) => {
                self.network.relay(proxy, target, Purpose::Tracker).await.map(Way::Relayed)
            }
            (None, ProxyTarget::Address(addr)) => {
                self.network.udp_to(*addr, Purpose::Tracker).await.map(Way::Direct)
            }
            (None, ProxyTarget::Name(..)) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    async fn drive(
        &self,
        exchange: &mut Exchange,
        socket: &Way,
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

    fn take(&self, target: &ProxyTarget) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove(target)
    }

    fn keep(&self, target: ProxyTarget, one: Idle) {
        let now = self.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, idle| now < idle.connection.expires);
        if idle.len() < IDLE_MAX {
            idle.insert(target, one);
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
