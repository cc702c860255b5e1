//! How UPnP gateways are found: a question to a multicast group, answered with the address of a
//! description. Only one that the gateway serves itself is taken: otherwise whoever answers first could
//! send us anywhere. Over IPv6 a gateway has several addresses and may name any; it is asked at the one
//! that we know it by, whichever it names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Where devices listen.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);

/// The same for IPv6, on one link.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);

/// Seconds in which a device may answer.
pub const ANSWER_SECONDS: u64 = 1;

/// Bytes of a path: what gateways have is far below.
const PATH_MAX: usize = 512;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;

/// The question to a group, for gateways of either version.
pub fn searches(group: IpAddr) -> [String; 2] {
    let group = SocketAddr::new(group, GROUP.port());
    [1, 2].map(|version| {
        format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {group}\r\nMAN: \"ssdp:discover\"\r\nMX: {ANSWER_SECONDS}\r\n\
             ST: urn:schemas-upnp-org:device:InternetGatewayDevice:{version}\r\n\r\n"
        )
    })
}

/// Something that a gateway serves over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Where.
    pub addr: SocketAddr,
    /// What to ask for; begins with a slash.
    pub path: String,
}

/// Why an answer leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an answer to the question.
    #[error("it is no answer of a gateway")]
    Unrelated,
    /// No `http://` and an address, or too long.
    #[error("it names no place that could be its own")]
    BadLocation,
    /// Another host's.
    #[error("it sends us to another host, {0}, where we don't go")]
    Elsewhere(IpAddr),
}

/// The place that an answer from this host names.
///
/// # Errors
/// [`Error`], if that is not the host's own.
pub fn answer(bytes: &[u8], from: SocketAddr) -> Result<Location, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Unrelated)?;
    let mut lines = text.split("\r\n").take(HEADERS_MAX);
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return Err(Error::Unrelated);
    }
    let header = |line: &str, name: &str| {
        let (head, value) = line.split_once(':')?;
        head.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    let headers: Vec<&str> = lines.collect();
    let find = |name| headers.iter().find_map(|line| header(line, name));
    if !find("st").is_some_and(|kind| kind.contains(":InternetGatewayDevice:")) {
        return Err(Error::Unrelated);
    }
    Location::parse(&find("location").ok_or(Error::BadLocation)?, from)
}

impl Location {
    /// From an absolute URL, which has to lead to this host; its port does not matter.
    ///
    /// # Errors
    /// [`Error`], if it does not.
    pub fn parse(url: &str, host: SocketAddr) -> Result<Self, Error> {
        let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = scheme.and_then(|_| url.get(7..)).ok_or(Error::BadLocation)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at).ok_or(Error::BadLocation)?,
            None => (rest, "/"),
        };
        let addr: SocketAddr = authority
            .parse()
            .or_else(|_| authority.parse().map(|ip: IpAddr| SocketAddr::new(ip, 80)))
            .map_err(|_| Error::BadLocation)?;
        if addr.is_ipv4() != host.is_ipv4() || host.is_ipv4() && addr.ip() != host.ip() {
            return Err(Error::Elsewhere(addr.ip()));
        }
        let mut ours = host; // with the link that its address belongs to
        ours.set_port(addr.port());
        let location = Self { addr: ours, path: path.to_owned() };
        if addr.port() != 0 && is_path(path) { Ok(location) } else { Err(Error::BadLocation) }
    }

    /// What a URL in a document that was found here leads to; only to this host.
    ///
    /// # Errors
    /// [`Error`], if it leads elsewhere.
    pub fn join(&self, reference: &str) -> Result<Self, Error> {
        if reference.contains("://") {
            return Self::parse(reference, self.addr);
        }
        let path = if reference.starts_with('/') {
            reference.to_owned()
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{reference}")
        };
        if is_path(&path) && !path.starts_with("//") {
            Ok(Self { addr: self.addr, path })
        } else {
            Err(Error::BadLocation)
        }
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= PATH_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 1900));
    const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn on_link(port: u16) -> SocketAddr {
        std::net::SocketAddrV6::new(LINK, port, 0, 3).into()
    }

    fn says(location: &str) -> Result<Location, Error> {
        let text = format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
             ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
             Location:{location}\r\nEXT:\r\n\r\n"
        );
        answer(text.as_bytes(), HOST)
    }

    fn at(addr: &str, path: &str) -> Location {
        Location { addr: addr.parse().unwrap(), path: path.into() }
    }

    #[test]
    fn a_gateway_says_where_its_description_is() {
        let expected = at("192.168.1.1:5000", "/root.xml?x=1");
        assert_eq!(says(" http://192.168.1.1:5000/root.xml?x=1"), Ok(expected));
        assert_eq!(says("HTTP://192.168.1.1"), Ok(at("192.168.1.1:80", "/")));
    }

    #[test]
    fn nobody_sends_us_elsewhere() {
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert_eq!(says("http://192.0.2.1/x"), Err(Error::Elsewhere(elsewhere)));
        for bad in [
            "https://192.168.1.1/x",
            "http://gateway.local/x",
            "http://user@192.168.1.1/x",
            "http://192.168.1.1:0/x",
            "http://192.168.1.1/a b",
            "",
            &format!("http://192.168.1.1/{}", "x".repeat(PATH_MAX)),
        ] {
            assert_eq!(says(bad), Err(Error::BadLocation), "{bad}");
        }
        let unrelated: [&[u8]; 4] = [
            b"NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nST: urn:x:device:Printer:1\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            b"\xff\xfe",
        ];
        for bytes in unrelated {
            assert_eq!(answer(bytes, HOST), Err(Error::Unrelated));
        }
    }

    #[test]
    fn what_is_named_in_a_description_stays_there() {
        let base = at("192.168.1.1:5000", "/a/root.xml");
        assert_eq!(base.join("/ctl"), Ok(at("192.168.1.1:5000", "/ctl")));
        assert_eq!(base.join("ctl"), Ok(at("192.168.1.1:5000", "/a/ctl")));
        assert_eq!(base.join("http://192.168.1.1:9/ctl"), Ok(at("192.168.1.1:9", "/ctl")));
        assert!(base.join("http://192.0.2.9:9/ctl").is_err());
        assert!(base.join("//192.0.2.9:9/ctl").is_err());
        assert!(base.join("ctl\r\nX: y").is_err());
    }

    #[test]
    fn over_ipv6_it_is_asked_where_we_know_it() {
        let parse = |url| Location::parse(url, on_link(1900));
        let expected = Location { addr: on_link(5000), path: "/root.xml".into() };
        let same = |url| assert_eq!(parse(url).as_ref(), Ok(&expected));
        same("http://[2001:db8::1]:5000/root.xml");
        same("http://[fe80::1]:5000/root.xml");
        same("http://[fe80::1%9]:5000/root.xml");
        assert_eq!(parse("http://192.0.2.1:5000/x"), Err(Error::Elsewhere([192, 0, 2, 1].into())));
        let control = expected.join("http://[2001:db8::1]:6000/ctl").unwrap();
        assert_eq!(control, Location { addr: on_link(6000), path: "/ctl".into() });
    }

    #[test]
    fn a_search_names_its_group() {
        assert!(searches((*GROUP.ip()).into())[0].contains("HOST: 239.255.255.250:1900\r\n"));
        assert!(searches(GROUP_V6.into())[1].contains("HOST: [ff02::c]:1900\r\n"));
    }

    proptest! {
        #[test]
        fn any_text(text in ".{0,200}", url in "http://\\[?[0-9a-f:.%]{0,20}\\]?(:[0-9]{0,6})?/?.{0,20}", reference in ".{0,80}") {
            for host in [HOST, on_link(1900)] {
                let _ = answer(text.as_bytes(), host);
                let parsed = [&text, &url].map(|url| Location::parse(url, host));
                for location in parsed.into_iter().flatten() {
                    let same = |addr: SocketAddr| {
                        let mut addr = addr;
                        addr.set_port(host.port());
                        addr == host
                    };
                    prop_assert!(same(location.addr));
                    if let Ok(joined) = location.join(&reference) {
                        prop_assert!(same(joined.addr));
                        prop_assert!(joined.path.starts_with('/'));
                    }
                }
            }
        }
    }
}
