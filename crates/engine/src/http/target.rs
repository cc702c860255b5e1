//! One hop's URL, taken apart for the request it becomes.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use url::{Host, Url};

use super::credentials;
use super::error::HttpError;

/// Where one hop leads.
#[derive(Debug, Clone)]
pub(super) struct Target {
    url: Url,
    /// What the request line asks for.
    path_and_query: PathAndQuery,
}

impl Target {
    /// Parses an absolute URL.
    pub(super) fn parse(raw: &str) -> Result<Self, HttpError> {
        Self::new(Url::parse(raw.trim())?, raw.trim())
    }

    /// The target of a redirect found here.
    pub(super) fn redirect(&self, location: &str) -> Result<Self, HttpError> {
        let bad = || HttpError::BadRedirect { host: self.host_name() };
        let url = self.url.join(location.trim()).map_err(|_| bad())?;
        let target = Self::new(url, location.trim()).map_err(|_| bad())?;
        if self.is_secure() && !target.is_secure() {
            return Err(HttpError::Downgrade { host: self.host_name() });
        }
        Ok(target)
    }

    fn new(mut url: Url, raw: &str) -> Result<Self, HttpError> {
        if !matches!(url.scheme(), "http" | "https") {
            let scheme = url.scheme().chars().take(20).collect();
            return Err(HttpError::Scheme { scheme });
        }
        url.set_fragment(None);
        let path_and_query = raw_query(raw)
            .and_then(|query| format!("{}?{query}", url.path()).parse().ok())
            .map_or_else(|| encoded(&url), Ok)?;
        Ok(Self { url, path_and_query })
    }

    /// Host name or address.
    pub(super) fn host(&self) -> Host<&str> {
        // `http` and `https` URLs always have one: the parser sees to it.
        self.url.host().unwrap_or(Host::Domain(""))
    }

    /// Port, the scheme's own unless the URL names one.
    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Whether TLS carries it.
    pub(super) fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and, unless it is the scheme's own, port: the `Host` header, and the name in messages.
    pub(super) fn host_name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The URL as a whole, secrets included.
    pub(super) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The request target: path and query, the query byte for byte as the URL had it.
    pub(super) fn request_target(&self) -> Uri {
        Uri::from(self.path_and_query.clone())
    }

    /// The `Authorization` header that the URL's user name and password ask for.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        credentials::basic(self.url.username(), self.url.password().unwrap_or_default())
    }
}

/// The query of `raw`, not normalized: signed queries don't survive a single changed byte.
fn raw_query(raw: &str) -> Option<&str> {
    let before_fragment = raw.split('#').next()?;
    before_fragment.split_once('?').map(|(_, query)| query)
}

/// Path and query with everything a request line can't carry percent-encoded.
fn encoded(url: &Url) -> Result<PathAndQuery, HttpError> {
    let encoded = match url.query() {
        Some(query) => format!("{}?{query}", url.path()).parse::<PathAndQuery>(),
        None => url.path().parse(),
    };
    encoded.map_err(|error| HttpError::Request {
        host: url.host_str().unwrap_or_default().to_owned(),
        source: error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(raw: &str) -> String {
        Target::parse(raw).unwrap().request_target().to_string()
    }

    #[test]
    fn the_query_stays_as_it_is() {
        assert_eq!(asked_for("http://h/a?k=%aF%41'|&&x=/?#f"), "/a?k=%aF%41'|&&x=/?");
        assert_eq!(asked_for("http://h/a b/../c?"), "/c?");
        assert_eq!(asked_for("http://h"), "/");
        // What no request line can carry is encoded.
        assert_eq!(asked_for("http://h/a?k=a b"), "/a?k=a%20b");
        assert_eq!(asked_for("http://h/a?k=a\r\nHost: x"), "/a?k=aHost:%20x");
    }

    #[test]
    fn the_host_header_has_the_port_only_where_needed() {
        let name = |raw| Target::parse(raw).unwrap().host_name();
        assert_eq!(name("http://Tracker.Example:80/a"), "tracker.example");
        assert_eq!(name("https://tracker.example:80/a"), "tracker.example:80");
        assert_eq!(name("http://user:pass@[2001:DB8::1]:8080/a"), "[2001:db8::1]:8080");
    }

    #[test]
    fn redirects_stay_secure_and_lead_somewhere() {
        let target = Target::parse("https://h/a/b?x=1").unwrap();
        assert_eq!(target.redirect("../c?y=%2f").unwrap().as_str(), "https://h/c?y=%2f");
        assert!(matches!(target.redirect("http://h/a"), Err(HttpError::Downgrade { .. })));
        for nowhere in ["ftp://h/a", "file:///etc/passwd", "http://", "https://[::1"] {
            let refused = target.redirect(nowhere);
            assert!(matches!(refused, Err(HttpError::BadRedirect { .. })), "{nowhere}");
        }
    }

    #[test]
    fn only_http_and_https() {
        assert!(matches!(Target::parse("udp://h:1/a"), Err(HttpError::Scheme { .. })));
        assert!(matches!(Target::parse("announce"), Err(HttpError::Invalid(_))));
    }
}
