//! Which gateway there is, and which of our addresses it knows.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use portmap::GATEWAY_PORT;

use crate::net::{Network, Purpose};

/// The gateway of the default route, by the interface that we are bound to, if we are.
#[cfg(target_os = "linux")]
pub(super) fn find(network: &Network) -> Option<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    portmap::default_gateway_v4(&table, network.binding().interface())
}

/// Other systems tell it in ways that take code of its own for each.
#[cfg(not(target_os = "linux"))]
pub(super) fn find(_network: &Network) -> Option<Ipv4Addr> {
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
