//! From a host's name to the addresses that may be contacted.

use std::io;
#[cfg(test)]
use std::net::Ipv6Addr;
use std::net::{Ipv4Addr, SocketAddr};

use tracker::udp::Family;
use tracker::{Forbidden, may_contact};
use url::Host;

use crate::net::Network;

/// Addresses of one host that are tried: more is a mistake or a trick to make us dial a lot.
const ADDRESSES_MAX: usize = 8;

/// Whether a URL that strangers wrote may lead to addresses that only our own network can mean:
/// loopback, private, link-local ones. Whatever the policy says, a plain tracker URL (path
/// `/announce` or `/scrape`, no query) may, since home networks have trackers too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PrivatePolicy {
    /// It may not: a torrent must not be able to press the buttons of the user's router.
    #[default]
    Refuse,
    /// It may where the user's own URL leads; another host that this redirects to may not.
    AllowAsWritten,
    /// It may: the user trusts this torrent.
    Allow,
}

/// Why a host has no address for us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The name has no address, or no resolver answered.
    #[error("can't resolve {host}: {source}")]
    Resolve {
        /// Whose name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The host has addresses, but none of the family asked for.
    #[error("{host} has no {} address", if matches!(.family, Family::V4) { "ipv4" } else { "ipv6" })]
    OtherFamily {
        /// Which host.
        host: String,
        /// The family asked for.
        family: Family,
    },
    /// The host's addresses are not to be contacted.
    #[error("won't contact {host}: {source}")]
    Forbidden {
        /// Which host.
        host: String,
        /// Which address, and why not.
        source: Forbidden,
    },
}

/// Whom to look up, and what of it is of use.
pub(crate) struct Lookup<'a> {
    /// Name or address.
    pub(crate) host: Host<&'a str>,
    /// Port of the addresses.
    pub(crate) port: u16,
    /// Only addresses of this family.
    pub(crate) family: Option<Family>,
    /// The URL that leads there, judged for each address.
    pub(crate) judged_url: &'a str,
    /// How to judge private addresses.
    pub(crate) private_addresses: PrivatePolicy,
}

impl Lookup<'_> {
    /// Asks the resolver. At least one address, at most `ADDRESSES_MAX`.
    pub(crate) async fn addresses(
        &self,
        network: &Network,
    ) -> Result<Vec<SocketAddr>, AddressError> {
        let host = || self.host.to_string();
        let resolve_error = |source| AddressError::Resolve { host: host(), source };
        let mut addrs = resolve(network, &self.host, self.port).await.map_err(resolve_error)?;
        if addrs.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(resolve_error(none));
        }
        if let Some(family) = self.family {
            addrs.retain(|addr| family_of(*addr) == family);
        }
        addrs.truncate(ADDRESSES_MAX);
        match (self.permitted(&addrs), self.family) {
            (Err(source), _) => Err(AddressError::Forbidden { host: host(), source }),
            (Ok(permitted), Some(family)) if permitted.is_empty() => {
                Err(AddressError::OtherFamily { host: host(), family })
            }
            (Ok(permitted), _) => Ok(permitted),
        }
    }

    /// Judges a host whose address only a proxy will know: one that says it is the proxy's own machine
    /// is as forbidden as ours. A name is asked for once, over IPv4, since the proxy chooses the family.
    pub(crate) fn judge_name(&self) -> Result<(), AddressError> {
        let host = self.host.to_string();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            self.permitted(&[(Ipv4Addr::LOCALHOST, self.port).into()])
                .map_err(|source| AddressError::Forbidden { host: host.clone(), source })?;
        }
        match self.family {
            Some(Family::V6) => Err(AddressError::OtherFamily { host, family: Family::V6 }),
            _ => Ok(()),
        }
    }

    /// Those of `addrs` that may be contacted; the reason against the first when none may.
    fn permitted(&self, addrs: &[SocketAddr]) -> Result<Vec<SocketAddr>, Forbidden> {
        let private_allowed = self.private_addresses != PrivatePolicy::Refuse;
        let mut refusal = None;
        let mut permitted = Vec::new();
        for &addr in addrs {
            match may_contact(self.judged_url, addr.ip(), private_allowed) {
                Ok(()) => permitted.push(addr),
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        match refusal {
            Some(reason) if permitted.is_empty() => Err(reason),
            _ => Ok(permitted),
        }
    }
}

/// The family of `addr`.
pub(crate) fn family_of(addr: SocketAddr) -> Family {
    if addr.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// In tests two names are known that need no resolver.
async fn resolve(network: &Network, host: &Host<&str>, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addrs: Vec<SocketAddr> = match *host {
        #[cfg(test)]
        Host::Domain("both.test") => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        #[cfg(test)]
        Host::Domain("two.test") => {
            vec![([127, 0, 0, 2], port).into(), ([127, 0, 0, 1], port).into()]
        }
        Host::Domain(name) => network.resolve(name, port).await?,
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
    };
    for addr in &mut addrs {
        addr.set_ip(addr.ip().to_canonical()); // an IPv4 address in IPv6 clothes takes IPv4's route
    }
    addrs.dedup();
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(url: &'a str, host: Host<&'a str>) -> Lookup<'a> {
        Lookup {
            host,
            port: 80,
            family: None,
            judged_url: url,
            private_addresses: PrivatePolicy::Refuse,
        }
    }

    #[test]
    fn forbidden_addresses_are_left_out() {
        let both: [SocketAddr; 2] =
            ["127.0.0.1:80", "8.8.8.8:80"].map(|addr| addr.parse().unwrap());
        let mut lookup = lookup("http://host/page", Host::Domain("host"));
        assert_eq!(lookup.permitted(&both).unwrap(), both[1..]);
        assert!(matches!(lookup.permitted(&both[..1]), Err(Forbidden::Private { .. })));
        lookup.private_addresses = PrivatePolicy::Allow;
        assert_eq!(lookup.permitted(&both).unwrap(), both);
    }

    #[tokio::test]
    async fn mapped_addresses_are_judged_by_what_they_are() {
        let host = Host::Ipv6("::ffff:10.0.0.1".parse().unwrap());
        let refused = lookup("http://host/page", host.clone()).addresses(&Network::default()).await;
        assert!(matches!(refused, Err(AddressError::Forbidden { .. })));
        let addrs =
            lookup("http://host/announce", host).addresses(&Network::default()).await.unwrap();
        assert_eq!(addrs, ["10.0.0.1:80".parse().unwrap()]);
    }

    #[tokio::test]
    async fn the_other_family_is_told_apart() {
        let host = Host::Ipv4("8.8.8.8".parse().unwrap());
        let v6 = Lookup { family: Some(Family::V6), ..lookup("http://host/", host) };
        let error = v6.addresses(&Network::default()).await.unwrap_err();
        assert!(matches!(error, AddressError::OtherFamily { family: Family::V6, .. }));
        assert_eq!(error.to_string(), "8.8.8.8 has no ipv6 address");
    }
}
