//! UPnP: the gateway is found by a datagram, describes itself over HTTP, and is called there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use portmap::igd::{self, Call, Service};
use portmap::ssdp::{self, Location};
use portmap::{LIFETIME_SECONDS, Protocol};
use tokio::time::{Instant, timeout_at};

use super::{Held, MappedPorts, MappingError, MappingMethod, Wish, http};
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

/// Asks by multicast, and the gateway by itself: networks lose multicast.
async fn search(wish: &Wish<'_>) -> Result<Location, MappingError> {
    let gateway = wish.gateway;
    let failed = |error| MappingError::Io { gateway, error };
    let local = (wish.client, 0).into();
    let socket = wish.network.udp(local, Purpose::PortMapping).map_err(failed)?;
    for search in ssdp::searches() {
        let targets = [SocketAddr::from(ssdp::GROUP), (gateway, ssdp::GROUP.port()).into()];
        for to in targets {
            if let Err(error) = socket.send_to(search.as_bytes(), to).await {
                tracing::debug!(%error, %to, "no search for a gateway");
            }
        }
    }
    let until = Instant::now() + SEARCH;
    let mut buffer = [0; DATAGRAM_MAX];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
        let Ok((length, from)) = received else { continue };
        if from.ip() != IpAddr::V4(gateway) {
            continue; // anybody may answer; only the gateway is asked
        }
        match ssdp::answer(&buffer[..length], from.ip()) {
            Ok(location) => return Ok(location),
            Err(error) => tracing::debug!(%error, %from, "an answer that is none"),
        }
    }
    Err(MappingError::Silent(gateway))
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
