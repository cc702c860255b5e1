//! Peers by name behind a proxy, which alone looks names up: an address stands in for each
//! ([`swarm::named_peer_ip`]), so that everything above goes on with addresses. To connect to one is to
//! have the proxy connect to the name. Without a proxy a peer's name is looked up like any other.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use wire::proxy::ProxyTarget;

use super::Network;

/// Names that addresses stand in for: links and trackers may bring them, some hundred bytes each.
const NAMES_MAX: usize = 4096;

/// Which address stands in for which name.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    addrs: HashMap<(String, u16), SocketAddr>,
    names: HashMap<SocketAddr, (String, u16)>,
}

impl Names {
    /// The address that stands in for a name, the same each time.
    fn stand_in(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        let name = (host.to_ascii_lowercase(), port);
        if port == 0 || ProxyTarget::new(&name.0, port).is_none() {
            return Err(invalid("not the name of a host, with a port"));
        }
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addr) = both.addrs.get(&name) {
            return Ok(*addr);
        }
        if both.names.len() >= NAMES_MAX {
            return Err(io::Error::other(format!("more than {NAMES_MAX} peers by name")));
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let addr = SocketAddr::new(swarm::named_peer_ip(u64::from_ne_bytes(random)), port);
        both.names.insert(addr, name.clone());
        both.addrs.insert(name, addr);
        Ok(addr)
    }

    fn name(&self, addr: SocketAddr) -> Option<(String, u16)> {
        let both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        both.names.get(&addr).cloned()
    }

    fn host(&self, ip: IpAddr) -> Option<String> {
        let both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = both.names.iter().find(|(addr, _)| addr.ip() == ip);
        found.map(|(_, (host, _))| host.clone())
    }
}

impl Network {
    /// The addresses to connect to a peer by, which is `HOST:PORT` or `[V6]:PORT`. Behind a proxy a name
    /// has one, which stands in for it.
    ///
    /// # Errors
    /// When it is neither, and what the resolver says.
    pub async fn peer_addresses(&self, peer: &str) -> io::Result<Vec<SocketAddr>> {
        if self.proxy().is_none() || peer.parse::<SocketAddr>().is_ok() {
            return self.resolve_authority(peer).await;
        }
        let (host, port) = super::host_and_port(peer)?;
        self.resolve_peer(host, port).await
    }

    /// The same of a host, which may be an address, and a port.
    pub(crate) async fn resolve_peer(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if self.proxy().is_none() || host.parse::<std::net::IpAddr>().is_ok() {
            return self.resolve(host, port).await;
        }
        Ok(vec![self.inner.names.stand_in(host, port)?])
    }

    /// What a peer is called: the name that its address stands in for, or the address.
    pub fn peer_name(&self, addr: SocketAddr) -> String {
        match self.inner.names.name(addr).filter(|_| swarm::is_named_peer(addr.ip())) {
            Some((host, port)) => format!("{host}:{port}"),
            None => addr.to_string(),
        }
    }

    /// The same of a host alone, of whatever port.
    pub fn host_name(&self, ip: IpAddr) -> String {
        let name = swarm::is_named_peer(ip).then(|| self.inner.names.host(ip)).flatten();
        name.unwrap_or_else(|| ip.to_string())
    }

    /// What the proxy is asked for, to get to an address.
    pub(super) fn target_of(&self, addr: SocketAddr) -> io::Result<ProxyTarget> {
        if !swarm::is_stand_in(addr.ip()) {
            return Ok(addr.into());
        }
        let target =
            self.inner.names.name(addr).and_then(|(host, port)| ProxyTarget::new(&host, port));
        target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{addr} leads nowhere"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NetworkOptions;
    use super::*;

    fn behind_proxy() -> Network {
        let proxy = "socks5://127.0.0.1:9".parse().unwrap();
        Network::new(NetworkOptions::default().proxy(proxy))
    }

    #[tokio::test]
    async fn a_name_has_one_address_and_an_address_is_itself() {
        let network = behind_proxy();
        let one = network.peer_addresses("Seed.test:6881").await.unwrap();
        assert_eq!(one, network.resolve_peer("seed.TEST", 6881).await.unwrap());
        assert_eq!(one.len(), 1);
        assert!(swarm::is_named_peer(one[0].ip()) && one[0].port() == 6881);
        assert_ne!(one, network.peer_addresses("seed.test:6882").await.unwrap());
        assert_eq!(network.peer_name(one[0]), "seed.test:6881");
        assert_eq!(network.host_name(one[0].ip()), "seed.test");
        assert_eq!(network.target_of(one[0]).unwrap().to_string(), "seed.test:6881");
        for addr in ["192.0.2.7:6881", "[2001:db8::1]:6881"] {
            let known: SocketAddr = addr.parse().unwrap();
            assert_eq!(network.peer_addresses(addr).await.unwrap(), [known]);
            assert_eq!(network.resolve_peer(&known.ip().to_string(), 6881).await.unwrap(), [known]);
            assert_eq!(network.peer_name(known), addr);
            assert_eq!(network.host_name(known.ip()), known.ip().to_string());
        }
        assert_eq!(network.sockets(), [], "nobody was asked");
    }

    #[tokio::test]
    async fn what_stands_in_for_nothing_leads_nowhere() {
        let network = behind_proxy();
        let other = SocketAddr::new(swarm::named_peer_ip(1), 6881);
        let error = network.connect(other, super::super::Purpose::Peers).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
        for wrong in ["seed.test", "seed.test:0", "seed.test:x", ":6881", &"a".repeat(300)] {
            let error = network.peer_addresses(wrong).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{wrong}");
        }
        let long = format!("{}:1", "a".repeat(256));
        assert!(network.peer_addresses(&long).await.is_err());
    }

    #[test]
    fn there_is_an_end_to_names() {
        let names = Names::default();
        for number in 0..NAMES_MAX {
            names.stand_in(&format!("{number}.test"), 1).unwrap();
        }
        assert!(names.stand_in("more.test", 1).is_err());
        assert!(names.stand_in("7.test", 1).is_ok(), "known");
    }
}
