//! The two files by which a machine knows names and who to ask: `hosts` and `resolv.conf`.

use std::net::IpAddr;

use crate::name::Name;

/// Servers that are asked, as the system's resolver does.
const SERVERS_MAX: usize = 3;
/// Names below which a short name is looked for.
const SEARCH_MAX: usize = 6;

/// The addresses that a `hosts` file gives a name. Lines that can't be read are left out.
pub fn addresses_in_hosts(file: &str, name: &Name) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in file.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse) else { continue };
        if words.any(|word| Name::parse(word).as_ref() == Ok(name)) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

/// A server for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub ip: IpAddr,
    /// For a link-local address: the name of the interface that leads to it.
    pub zone: Option<String>,
}

impl Server {
    /// Of `192.0.2.1` or `fe80::1%eth0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone.to_owned())),
            None => (text, None),
        };
        Some(Self { ip: ip.parse().ok()?, zone })
    }
}

/// What a `resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServersFile {
    /// Whom to ask, in this order; at most three.
    pub servers: Vec<Server>,
    /// Below which names to look for a name of one part.
    pub search: Vec<Name>,
}

impl ServersFile {
    /// Reads it. Lines that can't be read, and options, are left out.
    pub fn parse(file: &str) -> Self {
        let mut this = Self::default();
        for line in file.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if this.servers.len() < SERVERS_MAX => {
                    this.servers.extend(words.next().and_then(Server::parse));
                }
                // The last of these lines counts.
                Some("search" | "domain") => {
                    let names = words.filter_map(|word| Name::parse(word).ok());
                    this.search = names.take(SEARCH_MAX).collect();
                }
                _ => {}
            }
        }
        this
    }

    /// The names to ask for, one after the other, to find this one.
    pub fn candidates(&self, name: &Name) -> Vec<Name> {
        if name.has_dot() {
            return vec![name.clone()];
        }
        let below = self.search.iter().filter_map(|domain| name.below(domain).ok());
        below.chain([name.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let file = "127.0.0.1\tlocalhost\n\
                    # 192.0.2.9 nas\n\
                    192.0.2.1 nas.lan NAS # at home\n\
                    bad nas\n\
                    2001:db8::1 nas\n\
                    192.0.2.1 nas\n";
        let found = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(addresses_in_hosts(file, &name("nas")), found);
        assert_eq!(addresses_in_hosts(file, &name("nas.lan")), found[..1]);
        assert_eq!(addresses_in_hosts(file, &name("lan")), [] as [IpAddr; 0]);
    }

    #[test]
    fn servers_and_search_names_are_read() {
        let file = "; by hand\nsearch old.test\nnameserver 192.0.2.53\nnameserver nonsense\n\
                    nameserver fe80::1%eth0\noptions ndots:2 rotate\nsearch lan a.test\n\
                    nameserver 192.0.2.54\nnameserver 192.0.2.55\n";
        let read = ServersFile::parse(file);
        let [first, second, third] = &read.servers[..] else { panic!("{read:?}") };
        assert_eq!(first.ip, "192.0.2.53".parse::<IpAddr>().unwrap());
        assert_eq!((second.ip, second.zone.as_deref()), ("fe80::1".parse().unwrap(), Some("eth0")));
        assert_eq!(third.ip, "192.0.2.54".parse::<IpAddr>().unwrap(), "three are enough");
        let wanted = ["nas.lan", "nas.a.test", "nas"].map(name);
        assert_eq!(read.candidates(&name("nas")), wanted);
        assert_eq!(read.candidates(&name("b.test")), [name("b.test")]);
        assert_eq!(ServersFile::parse(""), ServersFile::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,200}", nameserver in "\\PC{0,40}") {
            let read = ServersFile::parse(&format!("{text}\nnameserver {nameserver}\nsearch {text}"));
            prop_assert!(read.servers.len() <= SERVERS_MAX && read.search.len() <= SEARCH_MAX);
            addresses_in_hosts(&text, &name("nas"));
        }
    }
}
