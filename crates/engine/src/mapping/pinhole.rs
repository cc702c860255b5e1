//! Pinholes: has the gateway of an IPv6 network let peers in to our port, at each global address that we
//! have by it, by PCP or UPnP. Nothing is translated there: port and address stay ours.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use portmap::igd::{self, Service};
use portmap::{Epoch, GATEWAY_PORT, LIFETIME_SECONDS, Protocol, Renewal, pcp};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::http::Way;
use super::{MappingMethod, gateway, udp, upnp};
use crate::clock::Clock;
use crate::events::Event;
use crate::net::{Network, Purpose};
use crate::session::SessionShared;

/// Addresses that pinholes are opened for: with privacy extensions a host has some.
const ADDRESSES_MAX: usize = 8;

/// Whether peers are let in over IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pinholes {
    /// Nobody is asked.
    #[default]
    Off,
    /// There is nobody to ask, or nothing to ask for.
    Needless {
        /// Why, in words.
        reason: String,
    },
    /// The gateway is being asked.
    Asking,
    /// The gateway lets them in.
    Open(OpenPinholes),
    /// It does not, and is asked again later.
    Failed {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// What a gateway lets in, by TCP and UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPinholes {
    /// How it was asked.
    pub method: MappingMethod,
    /// Its address on our link.
    pub gateway: Ipv6Addr,
    /// To which of our addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// To which port.
    pub port: u16,
}

/// Why no pinhole is open.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinholeError {
    #[error("there is no gateway for IPv6")]
    NoGateway,
    #[error("there is no global IPv6 address")]
    NoAddress,
    #[error("can't talk to the gateway {gateway}: {error}")]
    Io { gateway: Ipv6Addr, error: std::io::Error },
    #[error("the gateway {0} did not answer")]
    Silent(Ipv6Addr),
    #[error("the gateway would lead its port {0} to ours, and peers are told of ours")]
    Translated(u16),
    #[error("the gateway gave no time")]
    NoTime,
    #[error(transparent)]
    Pcp(#[from] pcp::Error),
    #[error(transparent)]
    Upnp(#[from] igd::Error),
    #[error("the gateway {gateway} serves no description of itself: {why}")]
    Description { gateway: Ipv6Addr, why: String },
    #[error("the gateway {0} has no service that opens pinholes")]
    NoService(Ipv6Addr),
    #[error(
        "the gateway {gateway} takes neither PCP ({pcp}) nor UPnP ({upnp}); let port {port} in there by hand, or give --no-port-mapping"
    )]
    Neither { gateway: Ipv6Addr, port: u16, pcp: Box<Self>, upnp: Box<Self> },
}

impl PinholeError {
    /// Whether everything is well without.
    fn is_needless(&self) -> bool {
        match self {
            Self::NoGateway | Self::NoAddress | Self::Upnp(igd::Error::FirewallOff) => true,
            Self::Neither { upnp, .. } => upnp.is_needless(),
            _ => false,
        }
    }
}

/// A session's pinholes.
#[derive(Default)]
pub(super) struct Holes {
    status: Mutex<Pinholes>,
    stop: Notify,
    stopped: Notify,
    again: Notify,
}

impl Holes {
    pub(super) fn status(&self) -> Pinholes {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They are being asked for, from now on.
    pub(super) fn begin(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Pinholes::Asking;
    }

    pub(super) fn look_again(&self) {
        self.again.notify_one();
    }

    pub(super) fn port_changed(&self, session: &SessionShared) {
        if self.status() != Pinholes::Off {
            self.set(Pinholes::Asking, session);
            self.again.notify_one();
        }
    }

    /// Closes them, as far as the time given suffices.
    pub(super) async fn stop(&self, limit: Duration) {
        if self.status() == Pinholes::Off {
            return;
        }
        self.stop.notify_one();
        if timeout(limit, self.stopped.notified()).await.is_err() {
            tracing::info!(
                "the gateway did not close its pinholes in time; they end by themselves"
            );
        }
    }

    fn set(&self, status: Pinholes, session: &SessionShared) {
        let mut ours = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *ours, status.clone()) == status {
            return;
        }
        drop(ours);
        if let Pinholes::Failed { reason } = &status {
            tracing::info!("no pinhole is open: {reason}");
        }
        session.events.send(Event::Pinholes(status));
    }
}

/// Opens them, renews them, and closes them at the end.
pub(super) async fn run(session: Weak<SessionShared>, network: Network, nonce: [u8; 12]) {
    let Some(clock) = session.upgrade().map(|session| session.clock) else { return };
    let epoch = Epoch::default();
    let mut keeper = Keeper { network, nonce, clock, epoch, by: None, held: Vec::new() };
    let mut renewal = Renewal::default();
    loop {
        let Some(now_session) = session.upgrade() else { return };
        let (holes, port) = (&now_session.mapping.pinholes, now_session.listen_port());
        let done = tokio::select! {
            done = keeper.keep(port) => done,
            () = holes.stop.notified() => break keeper.close(&now_session).await,
        };
        if now_session.listen_port() != port {
            continue; // meanwhile
        }
        let wait = match done {
            Ok((open, seconds)) => {
                holes.set(Pinholes::Open(open), &now_session);
                renewal.mapped(seconds)
            }
            Err(error) => {
                let reason = error.to_string();
                let status = if error.is_needless() {
                    Pinholes::Needless { reason }
                } else {
                    Pinholes::Failed { reason }
                };
                holes.set(status, &now_session);
                renewal.failed()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = holes.again.notified() => {}
            () = holes.stop.notified() => break keeper.close(&now_session).await,
        }
    }
}

/// How the gateway is asked.
#[derive(Debug, Clone)]
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
}

struct Keeper {
    network: Network,
    nonce: [u8; 12],
    clock: Clock,
    epoch: Epoch,
    /// What worked last.
    by: Option<By>,
    held: Vec<Hole>,
}

impl Keeper {
    /// Has all of them open; gives for how many seconds.
    async fn keep(&mut self, port: u16) -> Result<(OpenPinholes, u32), PinholeError> {
        let (gateway, clients) = match gateway::find_v6(&self.network) {
            Some((gateway, interface)) => {
                (Some(gateway), gateway::global_addresses(&self.network, &interface))
            }
            None => (None, Vec::new()),
        };
        let clients = &clients[..clients.len().min(ADDRESSES_MAX)];
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
            self.held.clear();
        }
        self.epoch = Epoch::default();
        let pcp = match self.all(&By::Pcp, gateway, clients, port).await {
            Ok(open) => return Ok(open),
            Err(error) => Box::new(error),
        };
        // What it opened all the same is not to be taken for UPnP's.
        for hole in std::mem::take(&mut self.held) {
            self.end(&hole).await;
        }
        let upnp = match upnp::find_firewall(&self.network, gateway, first).await {
            Ok(service) => self.all(&By::Upnp(service), gateway, clients, port).await,
            Err(error) => Err(error),
        };
        let gateway = *gateway.ip();
        let neither = |upnp| PinholeError::Neither { gateway, port, pcp, upnp: Box::new(upnp) };
        upnp.map_err(neither)
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
        for client in clients {
            let opened = match by {
                By::Pcp => self.by_pcp(gateway, *client, port).await,
                By::Upnp(service) => self.by_upnp(service, gateway, *client, port).await,
            };
            match opened {
                Ok(seconds) => {
                    addresses.push(*client);
                    least = least.min(seconds);
                }
                Err(error) => {
                    tracing::info!(%error, %client, "no pinhole for this address");
                    // Who does not answer for the first is not asked for all of them.
                    let is_silent =
                        matches!(error, PinholeError::Silent(_) | PinholeError::Io { .. });
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
                Ok((OpenPinholes { method, gateway, addresses, port }, least))
            }
        }
    }

    /// The pinholes for an address that are on the list, or that are to be.
    fn hole(&mut self, by: &By, gateway: SocketAddrV6, client: Ipv6Addr, port: u16) -> &mut Hole {
        let place = self.held.iter().position(|hole| hole.client == client);
        let place = place.unwrap_or_else(|| {
            self.held.push(Hole { client, port, gateway, by: by.clone(), ids: [None; 2] });
            self.held.len() - 1
        });
        &mut self.held[place]
    }

    async fn by_pcp(
        &mut self,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        port: u16,
    ) -> Result<u32, PinholeError> {
        let (mut least, mut anew) = (u32::MAX, false);
        for protocol in Protocol::BOTH {
            let seconds = LIFETIME_SECONDS;
            let reply = self.ask_pcp(gateway, client, port, protocol, seconds).await?;
            self.hole(&By::Pcp, gateway, client, port); // to be closed at the end
            anew |= self.epoch.hear(self.clock.now(), reply.epoch);
            if reply.external_port != port {
                let _ = self.ask_pcp(gateway, client, port, protocol, 0).await; // ends by itself
                return Err(PinholeError::Translated(reply.external_port));
            }
            least = least.min(reply.seconds);
        }
        // A gateway that has begun anew has lost those that were asked for before.
        if anew {
            least = 1;
        }
        if least == 0 { Err(PinholeError::NoTime) } else { Ok(least) }
    }

    async fn ask_pcp(
        &self,
        gateway: SocketAddrV6,
        client: Ipv6Addr,
        port: u16,
        protocol: Protocol,
        seconds: u32,
    ) -> Result<pcp::Reply, PinholeError> {
        let request = pcp::Request {
            client: client.into(),
            nonce: self.nonce,
            protocol,
            internal_port: port,
            external_port: port,
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
            let hole = self.hole(&by, gateway, client, port);
            if let Some(id) = hole.ids[place] {
                match upnp::keep(way, service, *gateway.ip(), id, seconds).await {
                    Ok(()) => continue,
                    Err(PinholeError::Upnp(igd::Error::Forgotten)) => hole.ids[place] = None,
                    Err(error) => return Err(error),
                }
            }
            let wish = igd::Pinhole { protocol, client, port, seconds };
            hole.ids[place] = Some(upnp::open(way, service, *gateway.ip(), wish).await?);
        }
        Ok(seconds)
    }

    /// Closes what one address has, as best effort: it ends by itself otherwise.
    async fn end(&self, hole: &Hole) {
        let (gateway, client) = (hole.gateway, hole.client);
        let done = match &hole.by {
            By::Pcp => {
                let end = |protocol| self.ask_pcp(gateway, client, hole.port, protocol, 0);
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
    async fn close(&self, session: &SessionShared) {
        for hole in &self.held {
            self.end(hole).await;
        }
        session.mapping.pinholes.stopped.notify_one();
    }
}

/// Where a gateway's services are asked, when it was found at this address.
pub(super) fn at(gateway: SocketAddrV6) -> SocketAddr {
    SocketAddrV6::new(*gateway.ip(), 0, 0, gateway.scope_id()).into()
}
