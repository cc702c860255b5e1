//! Which gateway there is, and which of our addresses it knows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use portmap::GATEWAY_PORT;

use crate::net::{self, Network, Purpose};

/// The gateway of the default route, by the interface that we are bound to, if we are.
#[cfg(target_os = "linux")]
pub(super) fn find(network: &Network) -> Option<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    portmap::default_gateway_v4(&table, network.binding().interface())
}

/// The same for IPv6, with its link, and with the name of the interface.
#[cfg(target_os = "linux")]
pub(super) fn find_v6(network: &Network) -> Option<(SocketAddrV6, String)> {
    let table = std::fs::read_to_string("/proc/net/ipv6_route").ok()?;
    let (ip, name) = portmap::default_gateway_v6(&table, network.binding().interface())?;
    let all = net::interfaces().ok()?;
    let index = all.iter().find(|one| one.name == name)?.index?;
    // Other addresses than those of a link mean the same on all of them.
    let scope = if ip.is_unicast_link_local() { index } else { 0 };
    Some((SocketAddrV6::new(ip, 0, 0, scope), name))
}

/// Other systems tell it in ways that take code of its own for each.
#[cfg(not(target_os = "linux"))]
pub(super) fn find(_network: &Network) -> Option<Ipv4Addr> {
    None
}

/// The same for IPv6.
#[cfg(not(target_os = "linux"))]
pub(super) fn find_v6(_network: &Network) -> Option<(SocketAddrV6, String)> {
    None
}

/// Our address in its network.
pub(super) async fn own_address(network: &Network, gateway: Ipv4Addr) -> io::Result<Ipv4Addr> {
    let to = (gateway, GATEWAY_PORT).into();
    let socket = network.udp_to(to, Purpose::PortMapping).await?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// Our addresses on an interface that the internet knows, but for those that we may not use.
pub(super) fn global_addresses(network: &Network, interface: &str) -> Vec<Ipv6Addr> {
    let all = net::interfaces().unwrap_or_default();
    let here = all.into_iter().filter(|one| one.name == interface).flat_map(|one| one.addresses);
    let ours = here.filter_map(|ip| match ip {
        IpAddr::V6(v6) if is_global(v6) => Some(v6),
        _ => None,
    });
    let bound = network.binding().address();
    ours.filter(|ip| bound.is_none_or(|bound| bound == *ip)).collect()
}

/// Of `2000::/3`, which all are that were given out.
fn is_global(ip: Ipv6Addr) -> bool {
    ip.segments()[0] >> 13 == 1
}
