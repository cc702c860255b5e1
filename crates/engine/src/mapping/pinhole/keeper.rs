//! Which pinholes are open, asked for and renewed by the way that worked before. What is not renewed is
//! asked for anew, and closed at the end if it still stands then.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use portmap::igd::{self, Service};
use portmap::{Epoch, GATEWAY_PORT, LIFETIME_SECONDS, Protocol, pcp};

use super::{OpenPinholes, PinholeError};
use crate::clock::Clock;
use crate::mapping::http::Way;
use crate::mapping::{MappingMethod, gateway, udp, upnp};
use crate::net::{Network, Purpose};
use crate::session::SessionShared;

/// Addresses that pinholes are opened for: with privacy extensions a host has some.
const ADDRESSES_MAX: usize = 8;

/// How the gateway is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Pcp,
    Upnp(Service),
}

/// Pinholes for one address.
#[derive(Debug, Clone)]
struct Hole {
    client: Ipv6Addr,
    port: u16,
    gateway: SocketAddrV6,
    by: By,
    /// Their numbers (UPnP), TCP's and UDP's; `None` of one that is not open.
    ids: [Option<u16>; 2],
    /// By then they have ended by themselves.
    until: Duration,
}

/// A session's pinholes, and what it takes to renew them and to close them.
pub(super) struct Keeper {
    network: Network,
    nonce: [u8; 12],
    clock: Clock,
    epoch: Epoch,
    /// What worked last.
    by: Option<By>,
    /// Which port it gave then.
    external_port: Option<u16>,
    held: Vec<Hole>,
}

impl Keeper {
    /// None yet. `nonce`: tells ours from those of others (PCP).
    pub(super) fn new(network: Network, nonce: [u8; 12], clock: Clock) -> Self {
        let (epoch, by, external_port, held) = (Epoch::default(), None, None, Vec::new());
        Self { network, nonce, clock, epoch, by, external_port, held }
    }

    /// By which port the gateway let peers in last.
    pub(super) fn external_port(&self) -> Option<u16> {
        self.external_port
    }

    /// Has all of them open; gives for how many seconds.
    pub(super) async fn keep(&mut self, port: u16) -> Result<(OpenPinholes, u32), PinholeError> {
        let (gateway, clients) = match gateway::find_v6(&self.network) {
            Some((gateway, interface)) => {
                (Some(gateway), gateway::global_addresses(&self.network, &interface))
            }
            None => (None, Vec::new()),
        };
        let clients = &clients[..clients.len().min(ADDRESSES_MAX)];
        let now = self.clock.now();
        self.held.retain(|hole| now < hole.until);
        let is_good = |hole: &Hole| {
            hole.port == port && Some(hole.gateway) == gateway && clients.contains(&hole.client)
        };
        while let Some(place) = self.held.iter().position(|hole| !is_good(hole)) {
            let hole = self.held.swap_remove(place);
            if clients.contains(&hole.client) {
                self.end(&hole).await; // nobody can ask for an address that is gone
            }
        }
        let gateway = gateway.ok_or(PinholeError::NoGateway)?;
        let first = *clients.first().ok_or(PinholeError::NoAddress)?;
        if let Some(by) = self.by.take() {
            match self.all(&by, gateway, clients, port).await {
                Ok(open) => return Ok(open),
                Err(error) => tracing::info!(%error, "pinholes were not renewed"),
            }
            // What it opened stays on the list, to be closed when it can be, or until it has ended.
        }
        self.epoch = Epoch::default();
        let pcp = match self.all(&By::Pcp, gateway, clients, port).await {
            Ok(open) => return Ok(open),
            Err(error) => Box::new(error),
        };
        // What it opened all the same is of no use.
        if !pcp.is_silence() {
            let useless: Vec<_> = self.held.extract_if(.., |hole| hole.by == By::Pcp).collect();
            for hole in useless {
                self.end(&hole).await;
            }
        }
        let upnp = match upnp::find_firewall(&self.network, gateway, first).await {
            Ok(service) => self.all(&By::Upnp(service), gateway, clients, port).await,
            Err(error) => Err(error),
        };
        let gateway = *gateway.ip();
        let neither = |upnp| PinholeError::Neither { gateway, port, pcp, upnp: Box::new(upnp) };
        upnp.map_err(neither)
    }

    /// For how long anything is open that was not renewed.
    pub(super) fn left(&self) -> Duration {
        let until = self.held.iter().map(|hole| hole.until).max().unwrap_or_default();
        until.saturating_sub(self.clock.now())
    }

    /// For all addresses by one way; an error if that opens none.
    async fn all(
        &mut self,
        by: &By,
        gateway: SocketAddrV6,
        clients: &[Ipv6Addr],
        port: u16,
    ) -> Result<(OpenPinholes, u32), PinholeError> {
        let (mut addresses, mut least, mut failure) = (Vec::new(), u32::MAX, None);
        let mut external_port = None; // which is that of the first
        for client in clients {
            let opened = match by {
                By::Pcp => self.by_pcp(gateway, *client, port, external_port).await,
                By::Upnp(service) => {
                    let opened = self.by_upnp(service, gateway, *client, port).await;
                    opened.map(|seconds| (seconds, port)) // which cannot translate
                }
            };
            match opened {
                Ok((seconds, by_port)) => {
                    addresses.push(*client);
                    external_port = Some(by_port);
                    least = least.min(seconds);
                }
                Err(error) => {
                    tracing::info!(%error, %client, "no pinhole for this address");
                    // Who does not answer for the first is not asked for all of them.
                    let is_silent = error.is_silence();
                    failure.get_or_insert(error);
                    if is_silent && addresses.is_empty() {
                        break;
                    }
                }
            }
        }
        match failure {
            Some(error) if addresses.is_empty() => Err(error),
            _ => {
                self.by = Some(by.clone());
                let method = match by {
                    By::Pcp => MappingMethod::Pcp,
                    By::Upnp(_) => MappingMethod::Upnp,
                };
                let gateway = *gateway.ip();
                let external_port = external_port.unwrap_or(port);
                self.external_port = Some(external_port); // also after another way that gave another one
                Ok((OpenPinholes { method, gateway, addresses, port, external_port }, least))
            }
        }
    }

    /// The pinholes for an address that are on the list, or that are to be, and last so long from now on.
    fn hole(
        &mut self,
        by: &By,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        port: u16,
        seconds: u32,
    ) -> &mut Hole {
        let until = self.clock.now() + Duration::from_secs(seconds.into());
        let place = self.held.iter().position(|hole| hole.client == client && hole.by == *by);
        let place = place.unwrap_or_else(|| {
            let (by, ids) = (by.clone(), [None; 2]);
            self.held.push(Hole { client, port, gateway, by, ids, until });
            self.held.len() - 1
        });
        let hole = &mut self.held[place];
        hole.until = hole.until.max(until);
        hole
    }

    async fn by_pcp(
        &mut self,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        port: u16,
        external_port: Option<u16>,
    ) -> Result<(u32, u16), PinholeError> {
        let (mut least, mut anew, mut given) = (u32::MAX, false, external_port);
        for protocol in Protocol::BOTH {
            let ports = [port, given.or(self.external_port).unwrap_or(port)];
            let reply = self.ask_pcp(gateway, client, ports, protocol, LIFETIME_SECONDS).await?;
            self.hole(&By::Pcp, gateway, client, port, reply.seconds); // to be closed at the end
            anew |= self.epoch.hear_pcp(self.clock.now(), reply.epoch);
            // Peers are told one port, for both protocols and of all addresses.
            if *given.get_or_insert(reply.external_port) != reply.external_port || given == Some(0)
            {
                let _ = self.ask_pcp(gateway, client, [port; 2], protocol, 0).await; // ends by itself
                return Err(PinholeError::Translated(reply.external_port));
            }
            least = least.min(reply.seconds);
        }
        // A gateway that has begun anew has lost those that were asked for before.
        if anew {
            least = 1;
        }
        if least == 0 { Err(PinholeError::NoTime) } else { Ok((least, given.unwrap_or(port))) }
    }

    async fn ask_pcp(
        &self,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        [port, external_port]: [u16; 2],
        protocol: Protocol,
        seconds: u32,
    ) -> Result<pcp::Reply, PinholeError> {
        let request = pcp::Request {
            client: client.into(),
            nonce: self.nonce,
            protocol,
            internal_port: port,
            external_port,
            seconds,
        };
        let failed = |error| PinholeError::Io { gateway: *gateway.ip(), error };
        let to = SocketAddrV6::new(*gateway.ip(), GATEWAY_PORT, 0, gateway.scope_id()).into();
        let socket = self.network.udp_from(client, to, Purpose::PortMapping).await;
        let socket = socket.map_err(failed)?;
        let decode = |bytes: &[u8]| match request.decode(bytes) {
            Err(pcp::Error::Unrelated) => None,
            answer => Some(answer),
        };
        let answer = udp::exchange(&socket, &request.encode(), decode).await.map_err(failed)?;
        Ok(answer.ok_or(PinholeError::Silent(*gateway.ip()))??)
    }

    async fn by_upnp(
        &mut self,
        service: &Service,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        port: u16,
    ) -> Result<u32, PinholeError> {
        let network = self.network.clone();
        let way = Way { network: &network, from: Some(client) };
        let by = By::Upnp(service.clone());
        let seconds = LIFETIME_SECONDS;
        for (place, protocol) in Protocol::BOTH.into_iter().enumerate() {
            if let Some(id) = self.hole(&by, gateway, client, port, 0).ids[place] {
                match upnp::keep(way, service, *gateway.ip(), id, seconds).await {
                    Ok(()) => {
                        self.hole(&by, gateway, client, port, seconds);
                        continue;
                    }
                    // It gave an answer, and that was no: another one is asked for in its place.
                    Err(PinholeError::Upnp(error)) => {
                        tracing::info!(%error, %client, "a pinhole was not renewed");
                        self.hole(&by, gateway, client, port, 0).ids[place] = None;
                        if error != igd::Error::Forgotten {
                            let _ = upnp::close(way, service, *gateway.ip(), id).await; // or ends
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            let wish = igd::Pinhole { protocol, client, port, seconds };
            let id = upnp::open(way, service, *gateway.ip(), wish).await?;
            self.hole(&by, gateway, client, port, seconds).ids[place] = Some(id);
        }
        Ok(seconds)
    }

    /// Closes what one address has, as best effort: it ends by itself otherwise.
    async fn end(&self, hole: &Hole) {
        let (gateway, client) = (hole.gateway, hole.client);
        let done = match &hole.by {
            By::Pcp => {
                let end = |protocol| self.ask_pcp(gateway, client, [hole.port; 2], protocol, 0);
                let (tcp, udp) = tokio::join!(end(Protocol::Tcp), end(Protocol::Udp));
                tcp.and(udp).map(drop)
            }
            By::Upnp(service) => {
                let way = Way { network: &self.network, from: Some(client) };
                let mut done = Ok(());
                for id in hole.ids.into_iter().flatten() {
                    done = done.and(upnp::close(way, service, *gateway.ip(), id).await);
                }
                done
            }
        };
        if let Err(error) = done {
            tracing::info!(%error, %client, "a pinhole was not closed");
        }
    }

    /// Closes all of them.
    pub(super) async fn close(&self, session: &SessionShared) {
        for hole in &self.held {
            self.end(hole).await;
        }
        session.mapping.pinholes.stopped.notify_one();
    }
}

#[cfg(test)]
mod tests;
