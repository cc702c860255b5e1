//! Which addresses a URL out of a torrent may make us contact: the guard against torrents that
//! use us to reach our user's own machine, router or office network (server-side request
//! forgery).
//!
//! The driver calls [`may_contact`] with the address it is about to connect to, after every DNS
//! look-up and again for every redirect: a name that was public a moment ago may not be now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;

/// Paths that mean a tracker and nothing else. A private tracker in a home network has one of
/// these; a router's or database's control page has not. They are exempt only without a query,
/// since the query is where a forged request carries its orders.
const TRACKER_PATHS: [&str; 2] = ["/announce", "/scrape"];

/// Why a URL is not followed to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// No URL at all.
    #[error("not a valid url: {0}")]
    Invalid(#[from] url::ParseError),
    /// Not `http`, `https` or `udp`.
    #[error("`{scheme}` urls are not followed")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// An address that only its own network can mean.
    #[error("{ip} is a {kind} address; a torrent's url may not lead there unless you allow it")]
    Private {
        /// The address.
        ip: IpAddr,
        /// `loopback`, `private`, …
        kind: &'static str,
    },
    /// An address that no single host has; no setting allows it.
    #[error("{ip} is not the address of a host")]
    NotAHost {
        /// The address.
        ip: IpAddr,
    },
}

/// Whether `url`, whose host resolved to `ip`, may be contacted. `url` is the tracker's or web
/// seed's own, before announce parameters are appended, or a redirect's target as received.
/// `private_allowed`: the user wants this torrent or tracker to reach private addresses.
pub fn may_contact(url: &str, ip: IpAddr, private_allowed: bool) -> Result<(), Forbidden> {
    let url = Url::parse(url)?;
    if !matches!(url.scheme(), "http" | "https" | "udp") {
        let scheme = url.scheme().chars().take(20).collect();
        return Err(Forbidden::Scheme { scheme });
    }
    match reach_of(ip) {
        Reach::Public => Ok(()),
        Reach::NoHost => Err(Forbidden::NotAHost { ip }),
        Reach::Private(_) if private_allowed => Ok(()),
        Reach::Private(_) if url.query().is_none() && TRACKER_PATHS.contains(&url.path()) => Ok(()),
        Reach::Private(kind) => Err(Forbidden::Private { ip, kind }),
    }
}

/// From where an address can be reached.
enum Reach {
    Public,
    Private(&'static str),
    NoHost,
}

fn reach_of(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach_of_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => reach_of_v4(v4),
            None => reach_of_v6(v6),
        },
    }
}

fn reach_of_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        // 0.0.0.0/8 means "this host" (Linux connects to loopback); 224/3 is multicast, reserved
        // and broadcast.
        [0 | 224..=255, ..] => Reach::NoHost,
        [127, ..] => Reach::Private("loopback"),
        [169, 254, ..] => Reach::Private("link-local"),
        [100, 64..=127, ..] => Reach::Private("carrier-grade NAT"), // RFC 6598
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private("private"),
        _ => Reach::Public,
    }
}

fn reach_of_v6(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        _ if ip.is_unspecified() || ip.is_multicast() => Reach::NoHost,
        _ if ip.is_loopback() => Reach::Private("loopback"),
        [0xfe80..=0xfebf, ..] => Reach::Private("link-local"),
        [0xfc00..=0xfdff, ..] => Reach::Private("unique local"),
        [0xfec0..=0xfeff, ..] => Reach::Private("site-local"), // RFC 3879: old, still routed
        _ => Reach::Public,
    }
}

/// The IPv4 address that packets to `ip` really go to: mapped, compatible, NAT64 (RFC 6052) and
/// 6to4 (RFC 3056) addresses carry one.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => None, // unspecified and loopback
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, ip: &str, allowed: bool) -> Result<(), Forbidden> {
        may_contact(url, ip.parse().unwrap(), allowed)
    }

    const PRIVATE: [&str; 15] = [
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "64:ff9b::192.168.1.1",
        "2002:a00:1::1",
    ];

    #[test]
    fn public_addresses_are_reached_with_any_path() {
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert_eq!(check("https://host/a/b.php?passkey=1", ip, false), Ok(()), "{ip}");
        }
    }

    #[test]
    fn private_addresses_only_as_a_plain_tracker_or_when_allowed() {
        for ip in PRIVATE {
            for url in [
                "http://host/",
                "http://host/cgi-bin/reboot",
                "http://host/announce?reboot=1",
                "http://host/announce?",
                "http://host/announce/../reboot",
                "http://host/announcement",
                "http://host/announce.php",
                "udp://host:80",
            ] {
                let refused = check(url, ip, false);
                assert!(matches!(refused, Err(Forbidden::Private { .. })), "{url} at {ip}");
                assert_eq!(check(url, ip, true), Ok(()), "{url} at {ip}");
            }
            for url in ["http://host/announce", "udp://host:80/announce", "https://host/scrape"] {
                assert_eq!(check(url, ip, false), Ok(()), "{url} at {ip}");
            }
        }
    }

    #[test]
    fn what_is_no_host_is_never_contacted() {
        for ip in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            let ip: IpAddr = ip.parse().unwrap();
            let refused = Err(Forbidden::NotAHost { ip });
            assert_eq!(may_contact("http://host/announce", ip, true), refused);
        }
    }

    #[test]
    fn only_tracker_schemes() {
        for url in ["file:///etc/passwd", "gopher://host/announce", "ftp://host/announce"] {
            let refused = check(url, "8.8.8.8", true);
            assert!(matches!(refused, Err(Forbidden::Scheme { .. })), "{url}");
        }
        assert!(matches!(check("announce", "8.8.8.8", true), Err(Forbidden::Invalid(_))));
    }

    #[test]
    fn the_error_says_what_and_what_to_do() {
        let error = check("http://router/", "192.168.1.1", false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.168.1.1 is a private address; a torrent's url may not lead there unless you \
             allow it"
        );
    }
}
