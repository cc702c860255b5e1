//! The way through a proxy: which one, and the connection to a target behind it. What is said to it is
//! in [`wire::proxy`].
//!
//! A [`Network`] with a proxy makes no connection but to it, and looks no name up but its own. What
//! can't go through it (multicast, peers that come in, datagrams but those of [`super::relay`]) is
//! refused, never sent past it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};
use wire::proxy::{
    Credentials, HttpConnect, HttpProxyError, ProxyTarget, Request, Socks5, SocksError,
};

use super::{Held, Network, Purpose};
use crate::http::percent_decode;

/// Time for the proxy to say whether it could connect. It waits for the target meanwhile.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Who does not get through to it so often, and nobody in between, has lost it: it may have been busy.
const LOST_AFTER: u32 = 3;

/// A proxy that is lost, or may be, is tried again after this long, and then twice as long each time.
const PROBE_FIRST: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(16);

/// Port of a proxy whose URL names none.
const SOCKS_PORT: u16 = 1080;
const HTTP_PORT: u16 = 8080;

/// A proxy, by its URL: `socks5://user:password@host:port` or `http://…`. It is shown without user and
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// Whether the proxy itself can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Health {
    #[default]
    Well,
    /// So often it could not, as it was used.
    Failing(u32),
    Lost,
}

impl Health {
    /// What it is after one more attempt. A probe is made because others have failed.
    fn after(self, reached: bool, is_probe: bool) -> Self {
        match self {
            _ if reached => Self::Well,
            Self::Well => Self::Failing(1),
            Self::Failing(times) if times + 1 < LOST_AFTER && !is_probe => Self::Failing(times + 1),
            _ => Self::Lost,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

/// Why a URL names no proxy. It does not repeat the URL, where a password may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// No URL with a host.
    #[error("not the URL of a proxy; give socks5://HOST:PORT or http://HOST:PORT")]
    NotAUrl,
    /// Another scheme.
    #[error("an unknown kind of proxy; give socks5://HOST:PORT or http://HOST:PORT")]
    Kind,
    /// Longer than 255 bytes, or a password without a user.
    #[error(
        "the proxy's user or password can't be used: 1 to 255 bytes of user, up to 255 of password"
    )]
    Credentials,
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(text).map_err(|_| ProxyUrlError::NotAUrl)?;
        let kind = match url.scheme() {
            // With `h` some programs mean that the proxy looks names up, which it always does here.
            "socks5" | "socks5h" => Kind::Socks5,
            "http" => Kind::Http,
            _ => return Err(ProxyUrlError::Kind),
        };
        let host = match url.host().ok_or(ProxyUrlError::NotAUrl)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let port = match kind {
            Kind::Socks5 => url.port().unwrap_or(SOCKS_PORT),
            // The parser takes a scheme's own port away, also where it was written.
            Kind::Http if text.trim_end_matches('/').ends_with(":80") => 80,
            Kind::Http => url.port().unwrap_or(HTTP_PORT),
        };
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let credentials = if user.is_empty() && password.is_empty() {
            None
        } else {
            let credentials = Credentials::new(percent_decode(user), percent_decode(password));
            Some(credentials.ok_or(ProxyUrlError::Credentials)?)
        };
        if host.is_empty() || port == 0 {
            return Err(ProxyUrlError::NotAUrl);
        }
        Ok(Self { kind, host, port, credentials })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Socks5 => "socks5",
            Kind::Http => "http",
        };
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(formatter, "{scheme}://{}{}{}:{}", brackets.0, self.host, brackets.1, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Replies of SOCKS5 that say what the proxy does not do at all.
const NOT_ALLOWED: u8 = 2;
const NO_SUCH_COMMAND: u8 = 7;

/// How a connection looks that the proxy closed, with or without having read what it was told.
const CLOSED: [io::ErrorKind; 3] =
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];

/// What the proxy said, or did not say.
enum Failure {
    Socks(SocksError),
    Http(HttpProxyError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Network {
    /// The proxy that everything goes through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.inner.options.proxy.as_ref()
    }

    /// Refuses what would go past the proxy, if there is one.
    pub(crate) fn must_not_pass_proxy(&self, what: &str) -> io::Result<()> {
        match self.proxy() {
            None => Ok(()),
            Some(proxy) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{what} can't go through the proxy {proxy}"),
            )),
        }
    }

    /// Connects by TCP to a name that the proxy looks up, or to an address.
    pub(crate) async fn connect_by_proxy(
        &self,
        proxy: &Proxy,
        target: ProxyTarget,
        purpose: Purpose,
    ) -> io::Result<Held<TcpStream>> {
        let (stream, _) = self.ask_proxy(proxy, Request::Connect(target), purpose).await?;
        Ok(stream)
    }

    /// Asks the proxy for something. Gives the connection, and the address in its answer.
    pub(super) async fn ask_proxy(
        &self,
        proxy: &Proxy,
        request: Request,
        purpose: Purpose,
    ) -> io::Result<(Held<TcpStream>, Option<SocketAddr>)> {
        let mut stream = self.reach(proxy, purpose).await?;
        let what = match &request {
            Request::Connect(target) => format!("did not connect to {target}"),
            Request::Associate => "does not relay datagrams".into(),
        };
        let is_associate = request == Request::Associate;
        let asked = timeout(ANSWER_LIMIT, proxy.ask(&mut stream, request)).await;
        let failure = match asked {
            Ok(Ok(bound)) => {
                self.set_proxy_trouble(None);
                return Ok((stream, bound));
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
            )),
        };
        // Its rules, or what it can: asking again changes neither.
        let refused =
            matches!(&failure, Failure::Socks(SocksError::Refused(NOT_ALLOWED | NO_SUCH_COMMAND)));
        let (about_target, text) = match failure {
            Failure::Socks(error) => (error.is_about_target(), error.to_string()),
            Failure::Http(error) => (error.is_about_target(), error.to_string()),
            Failure::Io(error) if CLOSED.contains(&error.kind()) => {
                let text =
                    "it closed the connection before it had answered; check the kind of proxy";
                (false, text.into())
            }
            Failure::Io(error) => (false, error.to_string()),
        };
        let kind = match about_target {
            _ if refused && is_associate => io::ErrorKind::Unsupported,
            true => io::ErrorKind::ConnectionRefused,
            false => io::ErrorKind::Other,
        };
        let text = format!("the proxy {proxy} {what}: {text}");
        if !refused {
            self.set_proxy_trouble((!about_target).then(|| text.clone()));
        }
        Err(io::Error::new(kind, text))
    }

    /// Why the proxy let nobody through when it was last asked, in words.
    pub fn proxy_trouble(&self) -> Option<String> {
        self.inner.proxy_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_proxy_trouble(&self, why: Option<String>) {
        *self.inner.proxy_trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Asks the proxy, if there is one, for what says most of it: to relay datagrams, or, where it never
    /// does, for a connection to itself.
    ///
    /// # Errors
    /// Why nobody gets through, or why no datagrams do (`Unsupported`).
    pub async fn try_proxy(&self) -> io::Result<()> {
        match self.proxy() {
            Some(proxy) if proxy.relays() => {
                self.ask_proxy(proxy, Request::Associate, Purpose::Proxy).await.map(drop)
            }
            Some(proxy) => self.reach(proxy, Purpose::Proxy).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits until the proxy is lost.
    pub(crate) async fn proxy_lost(&self) {
        let mut health = self.inner.proxy_health.subscribe();
        // No error: who would tell is held by this network.
        drop(health.wait_for(|health| *health == Health::Lost).await);
    }

    /// Waits until the proxy, if it is lost or will be, can be reached again, and tries it meanwhile: who
    /// would use it rests, and may rest for long.
    pub(crate) async fn proxy_back(&self, proxy: &Proxy) {
        let mut health = self.inner.proxy_health.subscribe();
        let mut was_lost = false;
        while !was_lost {
            drop(health.wait_for(|health| *health != Health::Well).await);
            let mut wait = PROBE_FIRST;
            loop {
                let now = *health.borrow_and_update();
                was_lost |= now == Health::Lost;
                if now == Health::Well {
                    break;
                }
                if timeout(wait, health.wait_for(|health| *health != now)).await.is_err() {
                    drop(self.reach(proxy, Purpose::Proxy).await); // which takes note of what comes of it
                    wait = (wait * 2).min(PROBE_MAX);
                }
            }
        }
    }

    /// The proxy itself is reached as everything is without one.
    async fn reach(&self, proxy: &Proxy, purpose: Purpose) -> io::Result<Held<TcpStream>> {
        let reached = self.reach_any(proxy, purpose).await.map_err(|error| {
            let text = format!("can't reach the proxy {proxy}: {error}; nothing is sent past it");
            self.set_proxy_trouble(Some(text.clone()));
            io::Error::other(text)
        });
        let is_probe = matches!(purpose, Purpose::Proxy);
        self.inner.proxy_health.send_if_modified(|health| {
            let after = health.after(reached.is_ok(), is_probe);
            std::mem::replace(health, after) != after
        });
        reached
    }

    async fn reach_any(&self, proxy: &Proxy, purpose: Purpose) -> io::Result<Held<TcpStream>> {
        let addrs = match proxy.host.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, proxy.port)],
            Err(_) => self.look_up(&proxy.host, proxy.port).await?,
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in addrs {
            match self.connect_directly(addr, purpose).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Proxy {
    /// Whether it can relay datagrams, as far as its kind goes.
    pub fn relays(&self) -> bool {
        self.kind == Kind::Socks5
    }

    /// Asks, and gives the address in the answer. No byte behind the answer is read.
    async fn ask(
        &self,
        stream: &mut Held<TcpStream>,
        request: Request,
    ) -> Result<Option<SocketAddr>, Failure> {
        match (self.kind, request) {
            (Kind::Socks5, request) => {
                let mut machine = Socks5::new(request, self.credentials.clone());
                loop {
                    let output = machine.output();
                    if !output.is_empty() {
                        stream.write_all(&output).await?;
                    }
                    let mut answer = vec![0; machine.need()];
                    stream.read_exact(&mut answer).await?;
                    if let Some(reply) = machine.input(&answer).map_err(Failure::Socks)? {
                        return Ok(reply.bound);
                    }
                }
            }
            (Kind::Http, Request::Associate) => {
                Err(io::Error::from(io::ErrorKind::Unsupported).into())
            }
            (Kind::Http, Request::Connect(target)) => {
                let request = HttpConnect::request(&target, self.credentials.as_ref());
                stream.write_all(&request).await?;
                let mut machine = HttpConnect::default();
                loop {
                    let byte = stream.read_u8().await?;
                    if machine.input(byte).map_err(Failure::Http)? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
