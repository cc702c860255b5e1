//! Tracker URLs: which ones we can use, and where a `udp://` one leads (BEP 15, 41).
//!
//! Errors never repeat the URL itself: its path or query may hold the user's passkey.

use url::{Host, Url};

/// Longest tracker URL used; passkeys and signed queries stay far below.
const URL_BYTES_MAX: usize = 2_048;

/// Why a URL cannot be a tracker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No URL at all.
    #[error("not a valid url: {0}")]
    Invalid(#[from] url::ParseError),
    /// Longer than any honest one.
    #[error("a url of {length} bytes is too long")]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// Not `http`, `https` or `udp`.
    #[error("`{scheme}` trackers are not supported")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// Nobody to ask.
    #[error("the url names no host")]
    NoHost,
    /// UDP trackers have no default port.
    #[error("the url of a udp tracker needs a port")]
    NoPort,
}

/// Where a `udp://` tracker URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpTarget {
    /// Host name or IP address (IPv6 without brackets), to be resolved.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// Path and query, which the announce carries as BEP 41 `URLData`; may be empty.
    pub url_data: String,
}

/// Parses `url` and checks that it can be a tracker's.
pub(crate) fn parse(url: &str) -> Result<Url, UrlError> {
    if url.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong { length: url.len() });
    }
    let mut url = Url::parse(url.trim())?;
    url.set_fragment(None);
    match url.scheme() {
        "udp" if matches!(url.port(), None | Some(0)) => return Err(UrlError::NoPort),
        "http" | "https" | "udp" => {}
        scheme => {
            let scheme = scheme.chars().take(20).collect();
            return Err(UrlError::Scheme { scheme });
        }
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UrlError::NoHost);
    }
    Ok(url)
}

/// Host, port and BEP 41 data of a `udp://` URL.
pub fn udp_target(url: &str) -> Result<UdpTarget, UrlError> {
    let url = parse(url)?;
    if url.scheme() != "udp" {
        let scheme = url.scheme().to_owned();
        return Err(UrlError::Scheme { scheme });
    }
    let host = match url.host().ok_or(UrlError::NoHost)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let mut url_data = url.path().to_owned();
    if let Some(query) = url.query() {
        url_data.push('?');
        url_data.push_str(query);
    }
    Ok(UdpTarget { host, port: url.port().ok_or(UrlError::NoPort)?, url_data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_urls_give_host_port_and_data() {
        let target = udp_target("udp://tracker.example:1337/announce?key=a%20b#x").unwrap();
        assert_eq!(target.host, "tracker.example");
        assert_eq!(target.port, 1337);
        assert_eq!(target.url_data, "/announce?key=a%20b");
        let target = udp_target("udp://[2001:db8::1]:80").unwrap();
        assert_eq!((target.host.as_str(), target.url_data.as_str()), ("2001:db8::1", ""));
    }

    #[test]
    fn unusable_urls_say_why() {
        assert_eq!(udp_target("udp://host/announce"), Err(UrlError::NoPort));
        assert_eq!(udp_target("udp://[::1]:0"), Err(UrlError::NoPort));
        let scheme = |scheme: &str| UrlError::Scheme { scheme: scheme.into() };
        assert_eq!(parse("wss://host/").unwrap_err(), scheme("wss"));
        assert_eq!(udp_target("http://host/").unwrap_err(), scheme("http"));
        assert!(matches!(parse("announce"), Err(UrlError::Invalid(_))));
        assert!(matches!(parse("http://"), Err(UrlError::Invalid(_))));
        assert_eq!(parse("udp://:80/"), Err(UrlError::Invalid(url::ParseError::EmptyHost)));
        let long = format!("http://host/{}", "a".repeat(URL_BYTES_MAX));
        assert!(matches!(parse(&long), Err(UrlError::TooLong { length: 2_060 })));
    }
}
