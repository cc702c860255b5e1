//! UPnP: the gateway is found by a datagram, describes itself over HTTP, and is called there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hyper::body::Bytes;
use portmap::igd::{self, Call, Service};
use portmap::ssdp::{self, Location};
use portmap::{LIFETIME_SECONDS, Protocol};
use tokio::time::{Instant, timeout_at};

use super::http::{self, Way};
use super::pinhole::{self, PinholeError};
use super::{Held, MappedPorts, MappingError, MappingMethod, Wish};
use crate::net::{Network, Purpose};

/// A device answers within the second that it is given.
const SEARCH: Duration = Duration::from_millis(ssdp::ANSWER_SECONDS * 1000 + 500);
/// Bytes of an answer.
const DATAGRAM_MAX: usize = 2048;
/// Other ports tried when ours is somebody else's.
const OTHERS: u16 = 4;

/// Maps both ports by the service that did so before, or by any that is found.
pub(super) async fn map(wish: &Wish<'_>, known: Option<&Service>) -> Result<Held, MappingError> {
    if let Some(service) = known
        && let Ok(held) = by(wish, service).await
    {
        return Ok(held);
    }
    let location = search(wish).await?;
    let gateway = wish.gateway;
    let failed = |why| MappingError::Description { gateway, why };
    let (status, description) = http::get(wish.network, &location).await.map_err(failed)?;
    if status != 200 {
        return Err(failed(format!("status {status}")));
    }
    let mut last = MappingError::NoService(gateway);
    for service in igd::services(&description, &location) {
        match by(wish, &service).await {
            Ok(held) => return Ok(held),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn search(wish: &Wish<'_>) -> Result<Location, MappingError> {
    let gateway = wish.gateway;
    let found =
        find(wish.network, (wish.client, 0).into(), ssdp::GROUP.into(), (gateway, 0).into());
    let found = found.await.map_err(|error| MappingError::Io { gateway, error })?;
    found.ok_or(MappingError::Silent(gateway))
}

/// Asks by multicast, and the gateway by itself: networks lose multicast. `None`: it does not answer.
async fn find(
    network: &Network,
    local: SocketAddr,
    group: SocketAddr,
    gateway: SocketAddr,
) -> io::Result<Option<Location>> {
    let socket = network.udp(local, Purpose::PortMapping)?;
    let mut itself = gateway;
    itself.set_port(ssdp::GROUP.port());
    for search in ssdp::searches(group.ip()) {
        for to in [group, itself] {
            if let Err(error) = socket.send_to(search.as_bytes(), to).await {
                tracing::debug!(%error, %to, "no search for a gateway");
            }
        }
    }
    let until = Instant::now() + SEARCH;
    let mut buffer = [0; DATAGRAM_MAX];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
        let Ok((length, from)) = received else { continue };
        if from.ip() != gateway.ip() {
            continue; // anybody may answer; only the gateway is asked
        }
        match ssdp::answer(&buffer[..length], gateway) {
            Ok(location) => return Ok(Some(location)),
            Err(error) => tracing::debug!(%error, %from, "an answer that is none"),
        }
    }
    Ok(None)
}

async fn by(wish: &Wish<'_>, service: &Service) -> Result<Held, MappingError> {
    let reply = http::call(wish.network, service, Call::ExternalAddress).await;
    let (status, body) = reply.map_err(|why| nonsense(wish.gateway, why))?;
    let external_ip = igd::external_address(status, &body)?;
    if let Some(ip) = external_ip {
        check_external(ip)?;
    }
    let [tcp, udp] = wish.suggested;
    let (tcp, lease) = add(wish, service, Protocol::Tcp, tcp, LIFETIME_SECONDS).await?;
    let udp = if wish.suggested[0] == udp { tcp } else { udp };
    let (udp, lease) = add(wish, service, Protocol::Udp, udp, lease).await?;
    Ok(Held {
        ports: MappedPorts {
            method: MappingMethod::Upnp,
            gateway: wish.gateway.into(),
            external_ip,
            tcp,
            udp,
        },
        gateway: wish.gateway,
        client: wish.client,
        internal_port: wish.internal_port,
        // What is mapped for good is looked at all the same.
        seconds: if lease == 0 { u32::MAX } else { lease },
        service: Some(service.clone()),
    })
}

/// Maps one port, or one near it; gives which, and for how long, where 0 is for good.
async fn add(
    wish: &Wish<'_>,
    service: &Service,
    protocol: Protocol,
    suggested: u16,
    seconds: u32,
) -> Result<(u16, u32), MappingError> {
    let (mut external_port, mut seconds, mut conflicts) = (suggested, seconds, 0);
    loop {
        let mapping = igd::Mapping {
            protocol,
            external_port,
            internal_port: wish.internal_port,
            client: wish.client,
            seconds,
        };
        let call = Call::Add(mapping);
        let reply = http::call(wish.network, service, call).await;
        let (status, body) = reply.map_err(|why| nonsense(wish.gateway, why))?;
        match call.done(status, &body) {
            Ok(()) => return Ok((external_port, seconds)),
            Err(igd::Error::PermanentOnly) if seconds != 0 => seconds = 0,
            Err(igd::Error::SamePorts) if external_port != wish.internal_port => {
                external_port = wish.internal_port;
            }
            Err(igd::Error::Conflict) if conflicts < OTHERS => {
                conflicts += 1;
                external_port = fastrand::u16(1024..);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn end(network: &Network, held: &Held) -> Result<(), MappingError> {
    let Some(service) = &held.service else { return Ok(()) };
    let end = async |protocol, external_port| {
        let call = Call::Delete { protocol, external_port };
        let reply = http::call(network, service, call).await;
        let (status, body) = reply.map_err(|why| nonsense(held.gateway, why))?;
        call.done(status, &body).map_err(MappingError::from)
    };
    let (tcp, udp) =
        tokio::join!(end(Protocol::Tcp, held.ports.tcp), end(Protocol::Udp, held.ports.udp));
    tcp.and(udp)
}

fn nonsense(gateway: Ipv4Addr, why: String) -> MappingError {
    MappingError::Description { gateway, why }
}

/// A gateway whose own address is private does not lead in from the internet.
pub(super) fn check_external(ip: IpAddr) -> Result<(), MappingError> {
    if super::is_inside(ip) { Err(MappingError::SecondNat(ip)) } else { Ok(()) }
}

/// The service of a gateway that opens pinholes, if it has one and lets us use it.
pub(super) async fn find_firewall(
    network: &Network,
    gateway: SocketAddrV6,
    client: Ipv6Addr,
) -> Result<Service, PinholeError> {
    let ip = *gateway.ip();
    // From our address on the link, if we may have that one: the answer is to come from the gateway's.
    let local = network.binding().address().unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    let group = SocketAddrV6::new(ssdp::GROUP_V6, ssdp::GROUP.port(), 0, gateway.scope_id());
    let found = find(network, (local, 0).into(), group.into(), pinhole::at(gateway)).await;
    let found = found.map_err(|error| PinholeError::Io { gateway: ip, error })?;
    let location = found.ok_or(PinholeError::Silent(ip))?;
    let way = Way { network, from: Some(client) };
    let failed = |why| PinholeError::Description { gateway: ip, why };
    let (status, description) = http::get(way, &location).await.map_err(failed)?;
    if status != 200 {
        return Err(failed(format!("status {status}")));
    }
    let mut last = PinholeError::NoService(ip);
    for service in igd::firewalls(&description, &location) {
        let (status, body) = asked(way, &service, ip, Call::FirewallStatus).await?;
        match igd::firewall_status(status, &body) {
            Ok(()) => return Ok(service),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Opens a pinhole; gives its number.
pub(super) async fn open(
    way: Way<'_>,
    service: &Service,
    gateway: Ipv6Addr,
    hole: igd::Pinhole,
) -> Result<u16, PinholeError> {
    let (status, body) = asked(way, service, gateway, Call::Open(hole)).await?;
    Ok(igd::opened(hole, status, &body)?)
}

/// Keeps one for so many seconds more.
pub(super) async fn keep(
    way: Way<'_>,
    service: &Service,
    gateway: Ipv6Addr,
    id: u16,
    seconds: u32,
) -> Result<(), PinholeError> {
    let call = Call::Keep { id, seconds };
    let (status, body) = asked(way, service, gateway, call).await?;
    Ok(call.done(status, &body)?)
}

pub(super) async fn close(
    way: Way<'_>,
    service: &Service,
    gateway: Ipv6Addr,
    id: u16,
) -> Result<(), PinholeError> {
    let call = Call::Close { id };
    let (status, body) = asked(way, service, gateway, call).await?;
    Ok(call.done(status, &body)?)
}

async fn asked(
    way: Way<'_>,
    service: &Service,
    gateway: Ipv6Addr,
    call: Call,
) -> Result<(u16, Bytes), PinholeError> {
    let reply = http::call(way, service, call).await;
    reply.map_err(|why| PinholeError::Description { gateway, why })
}
