//! Port mapping: has the gateway of a home network lead its port to ours, by PCP, NAT-PMP or UPnP,
//! whichever it speaks. `portmap` has the messages; this asks, renews, and takes back at the end.
//!
//! Over IPv6 there is nothing to map, but a firewall to get through (`pinhole.rs`).
//!
//! Never fatal: without it peers that can't be reached are dialled by us, or by holepunching.

mod gateway;
mod http;
mod pinhole;
mod udp;
mod upnp;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use portmap::{Epoch, Renewal};
use tokio::sync::Notify;

use self::pinhole::Holes;
pub use self::pinhole::{OpenPinholes, Pinholes};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::events::Event;
use crate::net::Network;
use crate::session::SessionShared;

/// What became of port mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PortMapping {
    /// It is switched off, or there is nothing to map.
    #[default]
    Off,
    /// Our own address is one that the internet knows.
    Needless,
    /// The gateway is being asked.
    Asking,
    /// The gateway leads its ports to ours.
    Mapped(MappedPorts),
    /// It does not, and is asked again later.
    Failed {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// Ports of a gateway that lead to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedPorts {
    /// How it was asked.
    pub method: MappingMethod,
    /// Its address in our network.
    pub gateway: IpAddr,
    /// Its address towards the internet, by its word.
    pub external_ip: Option<IpAddr>,
    /// Its TCP port.
    pub tcp: u16,
    /// Its UDP port.
    pub udp: u16,
}

/// How a gateway is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappingMethod {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// Internet Gateway Device, 1 or 2.
    Upnp,
}

impl std::fmt::Display for MappingMethod {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Why a port is not mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MappingError {
    #[error(
        "can't tell this network's gateway; open port {port} there by hand, or give --no-port-mapping"
    )]
    NoGateway { port: u16 },
    #[error("can't talk to the gateway {gateway}: {error}")]
    Io { gateway: Ipv4Addr, error: std::io::Error },
    #[error("the gateway {0} did not answer")]
    Silent(Ipv4Addr),
    #[error("our own address {0} is one that the internet knows")]
    Needless(Ipv4Addr),
    #[error(transparent)]
    Pcp(#[from] portmap::pcp::Error),
    #[error(transparent)]
    NatPmp(#[from] portmap::natpmp::Error),
    #[error(transparent)]
    Upnp(#[from] portmap::igd::Error),
    #[error("the gateway {gateway} serves no description of itself: {why}")]
    Description { gateway: Ipv4Addr, why: String },
    #[error("the gateway {0} has no service that maps ports")]
    NoService(Ipv4Addr),
    #[error(
        "the gateway's own address {0} is a private one: another stands between it and the internet, which has to map the port too"
    )]
    SecondNat(IpAddr),
    #[error(
        "the gateway {gateway} takes none of PCP ({pcp}), NAT-PMP ({nat_pmp}) and UPnP ({upnp}); open port {port} there by hand, or give --no-port-mapping"
    )]
    None { gateway: Ipv4Addr, port: u16, pcp: Box<Self>, nat_pmp: Box<Self>, upnp: Box<Self> },
}

/// A mapping, and what it takes to renew it and to take it back.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) ports: MappedPorts,
    pub(super) gateway: Ipv4Addr,
    /// Our address in the gateway's network.
    pub(super) client: Ipv4Addr,
    pub(super) internal_port: u16,
    pub(super) seconds: u32,
    pub(super) service: Option<portmap::igd::Service>,
}

/// What a gateway is asked for.
pub(super) struct Wish<'a> {
    pub(super) network: &'a Network,
    pub(super) gateway: Ipv4Addr,
    pub(super) client: Ipv4Addr,
    pub(super) internal_port: u16,
    /// The ports that it gave before, or ours.
    pub(super) suggested: [u16; 2],
    /// Tells our mappings from those of others (PCP).
    pub(super) nonce: [u8; 12],
    pub(super) clock: Clock,
}

/// A session's port mapping.
#[derive(Default)]
pub(crate) struct Mapping {
    status: Mutex<PortMapping>,
    /// What leads to us, for all we know: one that was not renewed lasts a while.
    external_ports: Mutex<Option<[u16; 2]>>,
    stop: Notify,
    stopped: Notify,
    /// Another port of ours is to be mapped.
    again: Notify,
    pinholes: Holes,
}

impl Mapping {
    pub(crate) fn status(&self) -> PortMapping {
        lock(&self.status).clone()
    }

    pub(crate) fn pinholes(&self) -> Pinholes {
        self.pinholes.status()
    }

    /// The ports by which the gateway leads TCP and UDP to us over IPv4.
    pub(crate) fn external_ports(&self) -> Option<[u16; 2]> {
        *lock(&self.external_ports)
    }

    /// The same of both over IPv6.
    pub(crate) fn port_v6(&self) -> Option<u16> {
        self.pinholes.external_port()
    }

    /// We listen on another port: what was mapped leads nowhere.
    pub(crate) fn port_changed(&self, session: &SessionShared) {
        let mut status = lock(&self.status);
        if *status != PortMapping::Off {
            *status = PortMapping::Asking;
            session.events.send(Event::PortMapping(PortMapping::Asking));
            self.again.notify_one();
        }
        drop(status);
        *lock(&self.external_ports) = None;
        self.pinholes.port_changed(session);
    }

    /// There may be another gateway.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
        self.pinholes.look_again();
    }

    /// Takes back what the gateway gave, as far as the time given suffices.
    pub(crate) async fn stop(&self, limit: Duration) {
        tokio::join!(self.unmap(limit), self.pinholes.stop(limit));
    }

    async fn unmap(&self, limit: Duration) {
        if self.status() == PortMapping::Off {
            return;
        }
        self.stop.notify_one();
        if timeout(limit, self.stopped.notified()).await.is_err() {
            tracing::info!("the gateway did not take its mapping back in time; it ends by itself");
        }
    }

    fn set(&self, status: PortMapping, held: Option<&Held>, session: &SessionShared) {
        *lock(&self.external_ports) = held.map(|held| [held.ports.tcp, held.ports.udp]);
        let before = std::mem::replace(&mut *lock(&self.status), status.clone());
        session.own_ports_changed();
        if before == status {
            return;
        }
        if let PortMapping::Mapped(MappedPorts { external_ip: Some(ip), .. }) = status {
            session.seen_at(swarm::Voter::Gateway, ip);
        }
        if let PortMapping::Failed { reason } = &status {
            tracing::info!("no port is mapped: {reason}");
        }
        session.events.send(Event::PortMapping(status));
    }
}

/// Begins, on the control runtime, if there is anything to map.
pub(crate) fn start(session: &Arc<SessionShared>) {
    let binding = session.network.binding();
    if !session.settings.port_mapping || binding.is_loopback() || session.listen_port() == 0 {
        return;
    }
    let mut nonce = [0; 12];
    if let Err(error) = getrandom::fill(&mut nonce) {
        tracing::warn!(%error, "no randomness: no port is mapped");
        return;
    }
    let is_v4 = binding.address().map(|ip| ip.is_ipv4());
    if is_v4 != Some(false) {
        *lock(&session.mapping.status) = PortMapping::Asking;
        tokio::spawn(run(Arc::downgrade(session), session.network.clone(), nonce));
    }
    if is_v4 != Some(true) {
        session.mapping.pinholes.begin();
        let network = session.network.clone();
        tokio::spawn(pinhole::run(Arc::downgrade(session), network, nonce));
    }
}

async fn run(session: Weak<SessionShared>, network: Network, nonce: [u8; 12]) {
    let (mut renewal, mut epoch) = (Renewal::default(), Epoch::default());
    let mut held: Option<Held> = None;
    let (mut suggested, mut until) = ([0; 2], Duration::ZERO);
    loop {
        let Some(now_session) = session.upgrade() else { return };
        let (port, clock) = (now_session.listen_port(), now_session.clock);
        if let Some(old) = held.take_if(|held| held.internal_port != port) {
            take_back(&network, &old, nonce).await; // the new one may get the same port outside
        }
        if held.is_none() {
            suggested = [port; 2];
        }
        let done = tokio::select! {
            done = map(&network, port, suggested, &mut held, nonce, &mut epoch, clock) => Some(done),
            () = now_session.mapping.stop.notified() => None,
        };
        let (status, mapped_for) = match done {
            None => break finish(&now_session, &network, held, nonce).await,
            Some(Ok(mapped)) => {
                let (ports, seconds) = (mapped.ports, mapped.seconds);
                suggested = [ports.tcp, ports.udp];
                until = clock.now() + Duration::from_secs(seconds.into());
                held = Some(mapped);
                (PortMapping::Mapped(ports), Some(seconds))
            }
            Some(Err(MappingError::Needless(_))) => {
                held = None;
                (PortMapping::Needless, None)
            }
            Some(Err(error)) => {
                held = held.filter(|_| clock.now() < until);
                (PortMapping::Failed { reason: error.to_string() }, None)
            }
        };
        if now_session.listen_port() != port {
            continue; // meanwhile: what was mapped leads nowhere
        }
        now_session.mapping.set(status, held.as_ref(), &now_session);
        let wait = match (mapped_for, &held) {
            (Some(seconds), _) => renewal.mapped(seconds),
            (None, Some(_)) => renewal.failed(until.saturating_sub(clock.now())),
            (None, None) => renewal.failed(Duration::ZERO),
        };
        let mapping = &now_session.mapping;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = mapping.again.notified() => {}
            () = mapping.stop.notified() => {
                break finish(&now_session, &network, held, nonce).await;
            }
        }
    }
}

async fn finish(session: &SessionShared, network: &Network, held: Option<Held>, nonce: [u8; 12]) {
    if let Some(held) = held {
        take_back(network, &held, nonce).await;
    }
    session.mapping.stopped.notify_one();
}

/// Has the port mapped by the way that worked before, or else by any. What another gateway holds, or this one
/// for another address of ours, leads nowhere.
async fn map(
    network: &Network,
    port: u16,
    suggested: [u16; 2],
    held: &mut Option<Held>,
    nonce: [u8; 12],
    epoch: &mut Epoch,
    clock: Clock,
) -> Result<Held, MappingError> {
    let gateway = gateway::find(network).ok_or(MappingError::NoGateway { port })?;
    let client = gateway::own_address(network, gateway).await;
    let client = client.map_err(|error| MappingError::Io { gateway, error })?;
    held.take_if(|held| held.gateway != gateway || held.client != client);
    if !is_inside(client.into()) {
        return Err(MappingError::Needless(client));
    }
    let wish = Wish { network, gateway, client, internal_port: port, suggested, nonce, clock };
    if let Some(held) = held {
        let again = match held.ports.method {
            MappingMethod::Pcp => udp::pcp(&wish, epoch).await,
            MappingMethod::NatPmp => udp::nat_pmp(&wish, epoch).await,
            MappingMethod::Upnp => upnp::map(&wish, held.service.as_ref()).await,
        };
        match again {
            Ok(mapped) => return Ok(mapped),
            Err(error) => tracing::info!(%error, %gateway, "a mapping was not renewed"),
        }
    }
    *epoch = Epoch::default();
    let pcp = match udp::pcp(&wish, epoch).await {
        Ok(mapped) => return Ok(mapped),
        Err(error) => Box::new(error),
    };
    // Who is silent on their common port is asked no second time.
    let nat_pmp = match &*pcp {
        MappingError::Silent(gateway) => Box::new(MappingError::Silent(*gateway)),
        _ => match udp::nat_pmp(&wish, epoch).await {
            Ok(mapped) => return Ok(mapped),
            Err(error) => Box::new(error),
        },
    };
    match upnp::map(&wish, None).await {
        Ok(mapped) => Ok(mapped),
        Err(upnp) => Err(MappingError::None { gateway, port, pcp, nat_pmp, upnp: Box::new(upnp) }),
    }
}

/// Ends a mapping, as best effort: it ends by itself otherwise.
async fn take_back(network: &Network, held: &Held, nonce: [u8; 12]) {
    let done = match held.ports.method {
        MappingMethod::Pcp => udp::pcp_end(network, held, nonce).await,
        MappingMethod::NatPmp => udp::nat_pmp_end(network, held).await,
        MappingMethod::Upnp => upnp::end(network, held).await,
    };
    if let Err(error) = done {
        tracing::info!(%error, gateway = %held.gateway, "a mapping was not taken back");
    }
}

/// Whether an address means something in a network of its own alone.
pub(super) fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Plain data: one left by a panicking thread is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
