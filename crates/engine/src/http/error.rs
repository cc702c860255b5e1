//! Why a GET gave no reply.

use std::io;
use std::time::Duration;

use super::address::AddressError;
use super::tls;

/// Why a GET gave no reply. Every message names the host at most: paths and queries hold secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No URL at all.
    #[error("not a valid url: {0}")]
    Invalid(#[from] url::ParseError),
    /// Neither `http` nor `https`.
    #[error("`{scheme}` urls can't be fetched")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// The host has no address for us.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// This machine reaches none of the host's addresses.
    #[error("no route to {host}: {source}")]
    NoRoute {
        /// Which host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No connection.
    #[error("can't connect to {host}: {source}")]
    Connect {
        /// Which host.
        host: String,
        /// What the system said of the last address tried.
        source: io::Error,
    },
    /// The certificate or the TLS handshake is no good.
    #[error("no secure connection to {host}: {}", tls::in_words(.source))]
    Tls {
        /// Which host.
        host: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The TLS library could not be set up.
    #[error("can't set up tls: {0}")]
    TlsSetup(#[from] rustls::Error),
    /// The reply broke off: the server closed before the end that it had promised.
    #[error("{host} broke off its reply")]
    Truncated {
        /// Which host.
        host: String,
    },
    /// Not HTTP, or lost on the way.
    #[error("the http exchange with {host} failed: {source}")]
    Protocol {
        /// Which host.
        host: String,
        /// What hyper found.
        source: hyper::Error,
    },
    /// Time is up.
    #[error("{host} did not reply in full within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// Which host.
        host: String,
        /// The time it had, redirects included.
        limit: Duration,
    },
    /// The body is longer than allowed, as sent or inflated.
    #[error("the reply of {host} is longer than {body_max} bytes")]
    BodyTooLong {
        /// Which host.
        host: String,
        /// The limit, in bytes.
        body_max: usize,
    },
    /// A `Content-Encoding` that we did not ask for.
    #[error("the reply of {host} has the unknown encoding `{encoding}`")]
    Encoding {
        /// Which host.
        host: String,
        /// The header's value, shortened.
        encoding: String,
    },
    /// A compressed body that can't be inflated.
    #[error("the compressed reply of {host} is damaged: {source}")]
    Inflate {
        /// Which host.
        host: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// One redirect after the other.
    #[error("{host} redirects more than {redirects_max} times")]
    TooManyRedirects {
        /// The last host.
        host: String,
        /// The limit.
        redirects_max: usize,
    },
    /// A redirect to where we have been.
    #[error("{host} redirects in a circle")]
    RedirectLoop {
        /// The last host.
        host: String,
    },
    /// A redirect from `https` to `http`.
    #[error("{host} redirects to an insecure url")]
    Downgrade {
        /// The host that sent it.
        host: String,
    },
    /// A redirect that leads nowhere.
    #[error("{host} redirects to what is no http url")]
    BadRedirect {
        /// The host that sent it.
        host: String,
    },
    /// The URL can't be asked for, or the client's own name can't be sent.
    #[error("can't form a request to {host}: {source}")]
    Request {
        /// Which host.
        host: String,
        /// What is wrong with it.
        source: hyper::http::Error,
    },
}

impl HttpError {
    /// Whether the server's certificate is not believed.
    pub(crate) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Tls { source, .. } if tls::certificate_error(source).is_some())
    }
}
