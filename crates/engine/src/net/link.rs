//! Whether what we are bound to is there: an interface that is up and has an address.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use socket2::{Domain, Socket, Type};

use super::Binding;

/// Others named in a message: a machine with containers has hundreds.
const NAMED_MAX: usize = 12;

/// What we are bound to, when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    /// The interface's number: another one is another interface, though its name be the same.
    pub(super) index: Option<u32>,
    /// Which addresses it has.
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// Why nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absence {
    /// There is no such interface, but there are these.
    Gone(String, Vec<String>),
    /// It is down, or has no carrier.
    Down(String),
    /// It has no address.
    Bare(String),
    /// No interface has the address that we are bound to; they have these.
    NoAddress(IpAddr, Vec<String>),
    /// The system does not tell.
    Unknown(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(name, others) => {
                write!(f, "there is no interface {name}{}", only(others))?;
            }
            Self::Down(name) => write!(f, "the interface {name} is down")?,
            Self::Bare(name) => write!(f, "the interface {name} has no address")?,
            Self::NoAddress(ip, others) => {
                write!(f, "no interface has the address {ip}{}", only(others))?;
            }
            Self::Unknown(error) => write!(f, "the interfaces can't be listed ({error})")?,
        }
        f.write_str("; nothing is sent by another: bring it up, or bind to another one")
    }
}

/// What there is instead: whoever mistyped a name sees it.
fn only(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(", only {}", others.join(", ")) }
}

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceInfo {
    /// Its name.
    pub name: String,
    /// Its number, which link-local addresses go with.
    pub index: Option<u32>,
    /// Whether it is up, with a carrier.
    pub is_up: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The interfaces that have addresses.
///
/// # Errors
/// When the system does not tell.
pub fn interfaces() -> io::Result<Vec<InterfaceInfo>> {
    let mut all: Vec<InterfaceInfo> = Vec::new();
    for one in if_addrs::get_if_addrs()? {
        let (is_up, ip) = (one.is_oper_up(), one.ip());
        if let Some(known) = all.iter_mut().find(|known| known.name == one.name) {
            known.addresses.push(ip);
            continue;
        }
        let (name, index) = (one.name, one.index);
        all.push(InterfaceInfo { name, index, is_up, addresses: vec![ip] });
    }
    Ok(all)
}

/// Looks for what we are bound to.
pub(super) fn look(binding: &Binding) -> Result<Link, Absence> {
    if binding.is_none() {
        return Ok(Link { index: None, v4: true, v6: true });
    }
    let all = if_addrs::get_if_addrs().map_err(|error| Absence::Unknown(error.to_string()))?;
    let is_ours = |one: &&if_addrs::Interface| {
        binding.interface().is_none_or(|name| one.name == name)
            && binding.address().is_none_or(|ip| one.ip() == ip)
    };
    let ours: Vec<_> = all.iter().filter(is_ours).collect();
    let Some(first) = ours.first() else { return absent(binding, &all) };
    if !ours.iter().any(|one| one.is_oper_up()) {
        return Err(Absence::Down(first.name.clone()));
    }
    let has = |v4: bool| ours.iter().any(|one| one.ip().is_ipv4() == v4 && is_wide(one.ip()));
    let link = Link { index: first.index, v4: has(true), v6: has(false) };
    if link.v4 || link.v6 { Ok(link) } else { Err(Absence::Bare(first.name.clone())) }
}

/// An address of one link leads nowhere else.
fn is_wide(ip: IpAddr) -> bool {
    !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Why it is not among all that are listed.
fn absent(binding: &Binding, all: &[if_addrs::Interface]) -> Result<Link, Absence> {
    // Loopback last: who mistyped a name did not mean that.
    let is_last = |one: &if_addrs::Interface| one.is_loopback() || one.name == "lo";
    let some = |of: fn(&if_addrs::Interface) -> String| {
        let mut some: Vec<_> = all.iter().map(|one| (is_last(one), of(one))).collect();
        some.sort_unstable();
        some.dedup();
        some.into_iter().take(NAMED_MAX).map(|(_, name)| name).collect()
    };
    if let Some(name) = binding.interface() {
        // The system knows better than its list: a socket that is never used asks it.
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None);
        let exists = socket.and_then(|socket| binding.bind_device(&socket)).is_ok();
        let name = name.to_owned();
        return Err(match binding.address() {
            _ if !exists => Absence::Gone(name, some(|one| one.name.clone())),
            Some(ip) => Absence::NoAddress(ip, some(|one| one.ip().to_string())),
            None => Absence::Bare(name),
        });
    }
    let ip = binding.address().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    // Of 127.0.0.0/8 only the first is listed, and all can be had.
    let addr = std::net::SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None);
    match socket.and_then(|socket| socket.bind(&addr.into())) {
        Ok(()) => Ok(Link { index: None, v4: ip.is_ipv4(), v6: ip.is_ipv6() }),
        Err(_) => Err(Absence::NoAddress(ip, some(|one| one.ip().to_string()))),
    }
}
