//! GETs whose bodies are read as they come, over connections that are kept: what web seeds need. The
//! distrust is that of [`HttpClient::get`]: each address is judged before it is dialled, at every
//! redirect again.

use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderValue, RANGE, USER_AGENT};
use hyper::http::response::Parts;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::address::PrivatePolicy;
use super::body::exchange_error;
use super::client::{GetOptions, HEADERS_MAX, HttpClient, redirect_location};
use super::error::HttpError;
use super::target::Target;

/// Connections that are kept: to the server, and to the one that it redirects to.
const LINES_MAX: usize = 2;
/// Bytes of a reply's head, and of one read of its body: few system calls for a mebibyte.
const READ_BYTES_MAX: usize = 128 * 1024;
/// Redirects followed.
const REDIRECTS_MAX: usize = 5;

/// A connection to one server.
struct Line {
    origin: (String, bool),
    policy: PrivatePolicy,
    sender: SendRequest<Empty<Bytes>>,
    /// Ends the connection when dropped.
    _driver: JoinSet<()>,
}

/// The kept connections of one user of them, who has one answer at a time.
pub(crate) struct Lines {
    http: HttpClient,
    kept: Vec<Line>,
    /// Time for a connection and the head of its answer.
    head_limit: Duration,
}

/// An answer whose head is there.
pub(crate) struct Opened {
    /// Status and headers.
    pub(crate) head: Parts,
    /// What follows.
    pub(crate) body: Incoming,
    /// Whose it is, for messages.
    pub(crate) host: String,
}

impl Lines {
    pub(crate) fn new(http: HttpClient, head_limit: Duration) -> Self {
        Self { http, kept: Vec::new(), head_limit }
    }

    /// Ends all connections: the last answer was not read to its end.
    pub(crate) fn close(&mut self) {
        self.kept.clear();
    }

    /// Asks for `url`, or the bytes from first to last of it, and follows redirects.
    pub(crate) async fn get(
        &mut self,
        url: &str,
        range: Option<(u64, u64)>,
        mut policy: PrivatePolicy,
    ) -> Result<Opened, HttpError> {
        let mut target = Target::parse(url)?;
        let mut visited: Vec<Target> = Vec::new();
        loop {
            let host = target.host_name();
            let limit = self.head_limit;
            let asked = tokio::time::timeout(limit, self.ask(&target, range, policy));
            let late = |_| HttpError::TimedOut { host: host.clone(), limit };
            let asked = asked.await.map_err(late).flatten();
            let (head, body) = asked.inspect_err(|_| self.close())?;
            let response = hyper::Response::from_parts(head, body);
            let Some(location) = redirect_location(&response) else {
                let (head, body) = response.into_parts();
                return Ok(Opened { head, body, host });
            };
            drop(response); // unread: the connection it came over is not used again
            self.kept.retain(|line| line.origin != origin(&target));
            let next = target.redirect(&location)?;
            visited.push(target);
            if visited.iter().any(|before| before.as_str() == next.as_str()) {
                return Err(HttpError::RedirectLoop { host });
            }
            if visited.len() > REDIRECTS_MAX {
                return Err(HttpError::TooManyRedirects { host, redirects_max: REDIRECTS_MAX });
            }
            let elsewhere = visited.last().is_some_and(|last| last.host() != next.host());
            if elsewhere && policy == PrivatePolicy::AllowAsWritten {
                policy = PrivatePolicy::Refuse;
            }
            target = next;
        }
    }

    /// One request to one server. A kept connection may have ended meanwhile: then a new one is made.
    async fn ask(
        &mut self,
        target: &Target,
        range: Option<(u64, u64)>,
        policy: PrivatePolicy,
    ) -> Result<(Parts, Incoming), HttpError> {
        let origin = origin(target);
        let kept = self.kept.iter().position(|line| line.origin == origin && line.policy == policy);
        if let Some(at) = kept {
            let mut line = self.kept.swap_remove(at);
            if line.sender.ready().await.is_ok()
                && let Ok(response) = line.sender.send_request(self.request(target, range)?).await
            {
                self.kept.push(line);
                return Ok(response.into_parts());
            }
        }
        let mut line = self.open(target, policy).await?;
        let response = line.sender.send_request(self.request(target, range)?).await;
        let response = response.map_err(|error| exchange_error(error, &target.host_name()))?;
        if self.kept.len() >= LINES_MAX {
            self.kept.remove(0);
        }
        self.kept.push(line);
        Ok(response.into_parts())
    }

    async fn open(&self, target: &Target, policy: PrivatePolicy) -> Result<Line, HttpError> {
        let options = GetOptions { private_addresses: policy, ..GetOptions::default() };
        let stream = self.http.open(target, target.as_str(), &options).await?;
        let (sender, connection) = Builder::new()
            .max_buf_size(READ_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| exchange_error(error, &target.host_name()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) }); // who asked hears of errors
        Ok(Line { origin: origin(target), policy, sender, _driver: driver })
    }

    fn request(
        &self,
        target: &Target,
        range: Option<(u64, u64)>,
    ) -> Result<Request<Empty<Bytes>>, HttpError> {
        let mut request = Request::get(target.request_target())
            .header(HOST, target.host_name())
            // A range of a compressed file is not the range of the file.
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let user_agent = &self.http.shared.settings.user_agent;
        if !user_agent.is_empty() {
            request = request.header(USER_AGENT, user_agent);
        }
        if let Some(value) = target.authorization() {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((first, last)) = range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        let request = request.body(Empty::new());
        request.map_err(|source| HttpError::Request { host: target.host_name(), source })
    }
}

/// What a connection leads to: host and port, and whether by TLS.
fn origin(target: &Target) -> (String, bool) {
    (format!("{}:{}", target.host(), target.port()), target.is_secure())
}
