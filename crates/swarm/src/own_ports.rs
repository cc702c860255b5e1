//! Ports of ours, as those are told who reach us over one address family: a gateway translates over IPv4,
//! and hardly ever over IPv6 (BEP 7).

use std::net::IpAddr;

/// A port of ours over each family; 0 where nobody can come in, or is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnPorts {
    /// Over IPv4.
    pub v4: u16,
    /// Over IPv6.
    pub v6: u16,
}

impl OwnPorts {
    /// What is told to, or of, an address; `None` for nothing.
    pub fn over(self, ip: IpAddr) -> Option<u16> {
        let port = if ip.to_canonical().is_ipv4() { self.v4 } else { self.v6 };
        Some(port).filter(|port| *port != 0)
    }
}

/// The same over both.
impl From<u16> for OwnPorts {
    fn from(port: u16) -> Self {
        Self { v4: port, v6: port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_own_and_none_is_none() {
        let ports = OwnPorts { v4: 7000, v6: 6881 };
        let over = |ip: &str| ports.over(ip.parse().unwrap());
        assert_eq!(over("192.0.2.1"), Some(7000));
        assert_eq!(over("2001:db8::1"), Some(6881));
        assert_eq!(over("::ffff:192.0.2.1"), Some(7000), "IPv4 by another name");
        assert_eq!(OwnPorts { v4: 0, v6: 1 }.over(IpAddr::from([192, 0, 2, 1])), None);
    }
}
