//! The GET itself: one connection a hop, redirects by hand, one deadline for all of it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, HOST, LOCATION, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracker::udp::Family;
use url::Host;

use super::address::{Lookup, PrivatePolicy};
use super::body;
use super::connect::{self, NO_ROUTE_KINDS};
use super::error::HttpError;
use super::target::Target;
use super::tls::{Tls, TlsError};
use crate::net::{Network, Purpose};

/// Bytes of a reply's head, and of one read of its body. Heads of trackers are below 1 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Header lines in a reply.
pub(super) const HEADERS_MAX: usize = 64;

/// What all requests of a client share.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    /// Who we say we are; empty: the header is left out.
    pub user_agent: String,
    /// Where connections and addresses of names come from.
    pub network: Network,
}

impl Default for HttpSettings {
    /// Our own name and version, from any address.
    fn default() -> Self {
        Self::over(&Network::default())
    }
}

impl HttpSettings {
    /// Our own name and version.
    pub(crate) fn over(network: &Network) -> Self {
        let user_agent = concat!("peerless/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { user_agent, network: network.clone() }
    }
}

/// What one GET may do.
#[derive(Debug, Clone)]
pub(crate) struct GetOptions {
    /// Resolve and connect with this family only (BEP 7: a tracker learns one address a request).
    pub family: Option<Family>,
    /// Whether the URL and its redirects may lead to private addresses.
    pub private_addresses: PrivatePolicy,
    /// The URL that is judged in the place of the one fetched: a tracker's own, before announce
    /// parameters were appended. Redirects are judged as they come.
    pub judged_url: Option<String>,
    /// Bytes of body accepted, as sent and inflated.
    pub body_max: usize,
    /// Redirects followed.
    pub redirects_max: usize,
    /// Time for everything, redirects included.
    pub timeout: Duration,
}

impl Default for GetOptions {
    /// A tracker's answer: 4 MiB, 5 redirects, 30 seconds, no private addresses.
    fn default() -> Self {
        Self {
            family: None,
            private_addresses: PrivatePolicy::Refuse,
            judged_url: None,
            body_max: 4 * 1024 * 1024,
            redirects_max: 5,
            timeout: Duration::from_secs(30),
        }
    }
}

/// What a server said in the end; any status but a redirect that could be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The whole body, inflated.
    pub body: Vec<u8>,
}

impl HttpReply {
    /// Whether the status is 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Fetches `http` and `https` URLs. Clones share everything.
#[derive(Clone)]
pub(crate) struct HttpClient {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) settings: HttpSettings,
    tls: Tls,
}

impl HttpClient {
    /// A client; nothing is opened or loaded before it is used.
    pub(crate) fn new(settings: HttpSettings) -> Self {
        Self { shared: Arc::new(Shared { settings, tls: Tls::default() }) }
    }

    /// A client that trusts `roots` alone.
    #[cfg(test)]
    pub(super) fn trusting(roots: rustls::RootCertStore) -> Self {
        let settings = HttpSettings::default();
        Self { shared: Arc::new(Shared { settings, tls: Tls::trusting(roots) }) }
    }

    /// Fetches `url`.
    pub(crate) async fn get(
        &self,
        url: &str,
        mut options: GetOptions,
    ) -> Result<HttpReply, HttpError> {
        let deadline = Instant::now() + options.timeout;
        let mut target = Target::parse(url)?;
        let mut judged_url = options.judged_url.clone().unwrap_or_else(|| url.to_owned());
        let mut visited = Vec::new();
        loop {
            let host = target.host_name();
            let hop = self.hop(&target, &judged_url, &options);
            let step = timeout_at(deadline, hop).await.unwrap_or_else(|_| {
                Err(HttpError::TimedOut { host: host.clone(), limit: options.timeout })
            })?;
            let next = match step {
                Step::Reply(reply) => return Ok(reply),
                Step::Redirect(location) => target.redirect(&location)?,
            };
            visited.push(target);
            if visited.iter().any(|before| before.as_str() == next.as_str()) {
                return Err(HttpError::RedirectLoop { host });
            }
            if visited.len() > options.redirects_max {
                let redirects_max = options.redirects_max;
                return Err(HttpError::TooManyRedirects { host, redirects_max });
            }
            let elsewhere = visited.last().is_some_and(|last| last.host() != next.host());
            if elsewhere && options.private_addresses == PrivatePolicy::AllowAsWritten {
                options.private_addresses = PrivatePolicy::Refuse;
            }
            next.as_str().clone_into(&mut judged_url);
            target = next;
        }
    }

    /// One request to one host.
    async fn hop(
        &self,
        target: &Target,
        judged_url: &str,
        options: &GetOptions,
    ) -> Result<Step, HttpError> {
        let host = target.host_name();
        let stream = self.open(target, judged_url, options).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| body::exchange_error(error, &host))?;
        let mut driver = JoinSet::new(); // ends the connection when this hop ends, however it does
        driver.spawn(connection);
        let request = self.request(target)?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| body::exchange_error(error, &host))?;
        if let Some(location) = redirect_location(&response) {
            return Ok(Step::Redirect(location));
        }
        let (head, incoming) = response.into_parts();
        let bytes = body::read(incoming, options.body_max, &host).await?;
        Ok(Step::Reply(HttpReply {
            status: head.status.as_u16(),
            body: body::inflate(&head.headers, bytes, options.body_max, &host)?,
        }))
    }

    /// A connection to `target`, with TLS where its URL says so.
    pub(super) async fn open(
        &self,
        target: &Target,
        judged_url: &str,
        options: &GetOptions,
    ) -> Result<Box<dyn Stream>, HttpError> {
        let host = target.host_name();
        let network = &self.shared.settings.network;
        let lookup = Lookup {
            host: target.host(),
            port: target.port(),
            family: options.family,
            judged_url,
            private_addresses: options.private_addresses,
        };
        let connected = match target.host() {
            // The proxy looks it up: there is no address to judge, but for what a name says itself.
            Host::Domain(name) if network.proxy().is_some() => {
                lookup.judge_name()?;
                network.connect_host(name, target.port(), Purpose::Http).await
            }
            _ => connect::connect(network, lookup.addresses(network).await?).await,
        };
        let stream = connected.map_err(|source| {
            let host = host.clone();
            if NO_ROUTE_KINDS.contains(&source.kind()) {
                HttpError::NoRoute { host, source }
            } else {
                HttpError::Connect { host, source }
            }
        })?;
        if !target.is_secure() {
            return Ok(Box::new(stream));
        }
        match self.shared.tls.connect(target.host(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(TlsError::Handshake(source)) => Err(HttpError::Tls { host, source }),
            Err(TlsError::Setup(error)) => Err(error.into()),
        }
    }

    fn request(&self, target: &Target) -> Result<Request<Empty<Bytes>>, HttpError> {
        let mut request = Request::get(target.request_target())
            .header(HOST, target.host_name())
            .header(ACCEPT, "*/*")
            .header(ACCEPT_ENCODING, "gzip, deflate")
            .header(CONNECTION, "close");
        if !self.shared.settings.user_agent.is_empty() {
            request = request.header(USER_AGENT, &self.shared.settings.user_agent);
        }
        if let Some(value) = target.authorization() {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::new());
        request.map_err(|source| HttpError::Request { host: target.host_name(), source })
    }
}

/// Either half of TLS or none, to hyper.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How one hop ended.
enum Step {
    Reply(HttpReply),
    /// The `Location` header.
    Redirect(String),
}

/// Where a response redirects to, if it does.
pub(super) fn redirect_location(response: &Response<Incoming>) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}
