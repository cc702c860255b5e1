//! How UPnP gateways are found: a question to a multicast group, answered with the address of a
//! description. Only one that the gateway serves itself is taken: otherwise whoever answers first could
//! send us anywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Where devices listen.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);

/// Seconds in which a device may answer.
pub const ANSWER_SECONDS: u64 = 1;

/// Bytes of a path: what gateways have is far below.
const PATH_MAX: usize = 512;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;

/// The question, for gateways of either version.
pub fn searches() -> [String; 2] {
    [1, 2].map(|version| {
        format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}\r\nMAN: \"ssdp:discover\"\r\nMX: {ANSWER_SECONDS}\r\n\
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
pub fn answer(bytes: &[u8], from: IpAddr) -> Result<Location, Error> {
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
    /// From an absolute URL, which has to lead to this host.
    ///
    /// # Errors
    /// [`Error`], if it does not.
    pub fn parse(url: &str, host: IpAddr) -> Result<Self, Error> {
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
        if addr.ip() != host {
            return Err(Error::Elsewhere(addr.ip()));
        }
        let location = Self { addr, path: path.to_owned() };
        if addr.port() != 0 && is_path(path) { Ok(location) } else { Err(Error::BadLocation) }
    }

    /// What a URL in a document that was found here leads to; only to this host.
    ///
    /// # Errors
    /// [`Error`], if it leads elsewhere.
    pub fn join(&self, reference: &str) -> Result<Self, Error> {
        if reference.contains("://") {
            return Self::parse(reference, self.addr.ip());
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

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));

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

    proptest! {
        #[test]
        fn any_text(text in ".{0,200}", reference in ".{0,80}") {
            let _ = answer(text.as_bytes(), HOST);
            if let Ok(location) = Location::parse(&text, HOST) {
                prop_assert_eq!(location.addr.ip(), HOST);
                if let Ok(joined) = location.join(&reference) {
                    prop_assert_eq!(joined.addr.ip(), HOST);
                    prop_assert!(joined.path.starts_with('/'));
                }
            }
        }
    }
}
