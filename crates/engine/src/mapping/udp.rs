//! PCP and NAT-PMP: a datagram there, sent again when nothing comes, and one back.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use portmap::{Epoch, GATEWAY_PORT, LIFETIME_SECONDS, Protocol, natpmp, pcp};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Held, MappedPorts, MappingError, MappingMethod, Wish};
use crate::clock::Clock;
use crate::net::{Network, Purpose};

/// The first wait for an answer, doubled with each more (RFC 6886, 3.1).
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Datagrams sent of one request, over nearly four seconds: a gateway is one hop away.
const TRIES: u32 = 4;
/// Bytes of the longest answer (RFC 6887, 7).
const DATAGRAM_MAX: usize = 1100;

pub(super) async fn pcp(wish: &Wish<'_>, epoch: &mut Epoch) -> Result<Held, MappingError> {
    let mut both: Option<[pcp::Reply; 2]> = None;
    // A gateway that has begun anew since may have done so between the two.
    for _ in 0..2 {
        let mut anew = false;
        let [tcp, udp] = wish.suggested;
        let first = pcp_one(wish, Protocol::Tcp, tcp, LIFETIME_SECONDS).await?;
        anew |= epoch.hear_pcp(wish.clock.now(), first.epoch);
        // One port for both, if that can be had.
        let udp = if udp == tcp { first.external_port } else { udp };
        let second = pcp_one(wish, Protocol::Udp, udp, LIFETIME_SECONDS).await?;
        anew |= epoch.hear_pcp(wish.clock.now(), second.epoch);
        both = Some([first, second]);
        if !anew {
            break;
        }
    }
    let [tcp, udp] = both.ok_or(MappingError::Silent(wish.gateway))?;
    held(wish, MappingMethod::Pcp, [tcp.external_port, udp.external_port], tcp.external_ip, {
        tcp.seconds.min(udp.seconds)
    })
}

pub(super) async fn nat_pmp(wish: &Wish<'_>, epoch: &mut Epoch) -> Result<Held, MappingError> {
    let request = natpmp::Request::ExternalAddress;
    let reply = nat_pmp_one(wish.network, wish.gateway, request).await?;
    let natpmp::Answer::ExternalAddress(ip) = reply.answer else {
        return Err(natpmp::Error::Unrelated.into());
    };
    epoch.hear_nat_pmp(wish.clock.now(), reply.epoch);
    let (mut ports, mut seconds) = ([0; 2], u32::MAX);
    for _ in 0..2 {
        let mut anew = false;
        let mut suggested = wish.suggested;
        for (place, protocol) in Protocol::BOTH.into_iter().enumerate() {
            let request = natpmp::Request::Map {
                protocol,
                internal_port: wish.internal_port,
                external_port: suggested[place],
                seconds: LIFETIME_SECONDS,
            };
            let reply = nat_pmp_one(wish.network, wish.gateway, request).await?;
            anew |= epoch.hear_nat_pmp(wish.clock.now(), reply.epoch);
            let natpmp::Answer::Mapped { external_port, seconds: life } = reply.answer else {
                return Err(natpmp::Error::Unrelated.into());
            };
            ports[place] = external_port;
            seconds = seconds.min(life);
            if place == 0 && suggested[0] == suggested[1] {
                suggested[1] = external_port; // one port for both, if that can be had
            }
        }
        if !anew {
            break;
        }
    }
    held(wish, MappingMethod::NatPmp, ports, ip.into(), seconds)
}

/// What a gateway gave, unless it is of no use.
fn held(
    wish: &Wish<'_>,
    method: MappingMethod,
    [tcp, udp]: [u16; 2],
    external_ip: IpAddr,
    seconds: u32,
) -> Result<Held, MappingError> {
    super::upnp::check_external(external_ip)?;
    if tcp == 0 || udp == 0 || seconds == 0 {
        // It gave what it was asked for by name, and not by deed.
        return Err(MappingError::Silent(wish.gateway));
    }
    Ok(Held {
        ports: MappedPorts {
            method,
            gateway: wish.gateway.into(),
            external_ip: Some(external_ip),
            tcp,
            udp,
        },
        gateway: wish.gateway,
        client: wish.client,
        internal_port: wish.internal_port,
        seconds,
        service: None,
    })
}

pub(super) async fn pcp_end(
    network: &Network,
    held: &Held,
    nonce: [u8; 12],
) -> Result<(), MappingError> {
    let wish = Wish {
        network,
        gateway: held.gateway,
        client: held.client,
        internal_port: held.internal_port,
        suggested: [held.ports.tcp, held.ports.udp],
        nonce,
        clock: Clock::start(),
    };
    let end = |protocol, port| pcp_one(&wish, protocol, port, 0);
    let (tcp, udp) =
        tokio::join!(end(Protocol::Tcp, held.ports.tcp), end(Protocol::Udp, held.ports.udp));
    tcp.and(udp).map(drop)
}

pub(super) async fn nat_pmp_end(network: &Network, held: &Held) -> Result<(), MappingError> {
    let end = |protocol| {
        let request = natpmp::Request::Map {
            protocol,
            internal_port: held.internal_port,
            external_port: 0, // as RFC 6886, 3.4 wants it
            seconds: 0,
        };
        nat_pmp_one(network, held.gateway, request)
    };
    let (tcp, udp) = tokio::join!(end(Protocol::Tcp), end(Protocol::Udp));
    tcp.and(udp).map(drop)
}

async fn pcp_one(
    wish: &Wish<'_>,
    protocol: Protocol,
    external_port: u16,
    seconds: u32,
) -> Result<pcp::Reply, MappingError> {
    let request = pcp::Request {
        client: wish.client.into(),
        nonce: wish.nonce,
        protocol,
        internal_port: wish.internal_port,
        external_port,
        seconds,
    };
    let decode = |bytes: &[u8]| match request.decode(bytes) {
        Err(pcp::Error::Unrelated) => None,
        answer => Some(answer.map_err(MappingError::from)),
    };
    ask(wish.network, wish.gateway, &request.encode(), decode).await
}

async fn nat_pmp_one(
    network: &Network,
    gateway: Ipv4Addr,
    request: natpmp::Request,
) -> Result<natpmp::Reply, MappingError> {
    let decode = |bytes: &[u8]| match request.decode(bytes) {
        Err(natpmp::Error::Unrelated) => None,
        answer => Some(answer.map_err(MappingError::from)),
    };
    ask(network, gateway, &request.encode(), decode).await
}

/// Sends a request until an answer comes that `decode` takes for one.
async fn ask<T>(
    network: &Network,
    gateway: Ipv4Addr,
    request: &[u8],
    decode: impl Fn(&[u8]) -> Option<Result<T, MappingError>>,
) -> Result<T, MappingError> {
    let failed = |error| MappingError::Io { gateway, error };
    // Connected: what others send does not come in.
    let to = (gateway, GATEWAY_PORT).into();
    let socket = network.udp_to(to, Purpose::PortMapping).await.map_err(failed)?;
    let answer = exchange(&socket, request, decode).await.map_err(failed)?;
    answer.unwrap_or(Err(MappingError::Silent(gateway)))
}

/// The same by a socket that is connected; `None` if no answer comes.
pub(super) async fn exchange<T>(
    socket: &UdpSocket,
    request: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut buffer = [0; DATAGRAM_MAX];
    for number in 0..TRIES {
        socket.send(request).await?;
        let until = Instant::now() + FIRST_WAIT * 2u32.pow(number);
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            // Most often that nobody listens there.
            let length = received?;
            if let Some(answer) = decode(&buffer[..length]) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}
