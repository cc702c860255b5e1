//! A small HTTP tracker on a socket: for sharing a torrent from one machine, and for tests. What
//! it answers is decided by [`tracker::server::Registry`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracker::server::Registry;

use crate::net::{Held, Listener, Network, Purpose};

/// Connections served at once by one listener. One more ends the one that has taken longest: most take a
/// moment, and nobody who says nothing keeps others waiting.
pub(super) const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request's head: the longest scrape that is answered has 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines in a request.
const HEADERS_MAX: usize = 64;

/// Time for a request's head, and for the whole of a connection, which carries one request.
const HEAD_TIME: Duration = Duration::from_secs(10);
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// How long to let file descriptors come back after the process ran out of them.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// A running tracker; ends when dropped.
pub struct TrackerServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    listeners: JoinSet<()>,
}

impl fmt::Debug for TrackerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackerServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

struct Shared {
    registry: Mutex<Registry>,
    started: Instant,
}

impl TrackerServer {
    /// Listens on `addr`; on `[::]` it listens wherever `network` is bound to, IPv4 too, on the same port. Port 0 takes any. Must
    /// be called within a tokio runtime.
    pub fn bind(network: &Network, addr: SocketAddr, registry: Registry) -> io::Result<Self> {
        let everywhere = addr.is_ipv6() && addr.ip().is_unspecified();
        let sockets = if everywhere {
            network.listen(addr.port(), Purpose::TrackerServer)?
        } else {
            vec![network.listen_on(addr, Purpose::TrackerServer)?]
        };
        let port = sockets.first().map_or(addr, Listener::local_addr).port();
        let registry = Mutex::new(registry);
        let shared = Arc::new(Shared { registry, started: Instant::now() });
        let mut listeners = JoinSet::new();
        for listener in sockets {
            listeners.spawn(accept(listener, Arc::clone(&shared)));
        }
        Ok(Self { shared, addr: SocketAddr::new(addr.ip(), port), listeners })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Looks at the registry or changes it; the second argument is its `now`.
    pub fn with_registry<T>(&self, call: impl FnOnce(&mut Registry, Duration) -> T) -> T {
        self.shared.with_registry(call)
    }

    /// Closes all sockets and waits until they are.
    pub async fn shutdown(mut self) {
        self.listeners.shutdown().await;
    }
}

impl Shared {
    fn with_registry<T>(&self, call: impl FnOnce(&mut Registry, Duration) -> T) -> T {
        // The registry is consistent after every call, also one that another thread panicked in.
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        call(&mut registry, self.started.elapsed())
    }
}

async fn accept(mut listener: Listener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new(); // dropped with this task: closes them all
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    by_age.retain(|one| !one.is_finished()); // nobody has to go for one that has gone
                    if by_age.len() >= CONNECTIONS_MAX && let Some(oldest) = by_age.pop_front() {
                        oldest.abort();
                    }
                    by_age.push_back(connections.spawn(serve(stream, remote, Arc::clone(&shared))));
                }
                Err(error) => {
                    tracing::warn!(%error, "the tracker can't accept a connection");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => by_age.retain(|one| !one.is_finished()),
        }
    }
}

async fn serve(stream: Held<TcpStream>, remote: SocketAddr, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let response = respond(&shared, remote, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%remote, %error, "tracker connection failed"),
        Err(_) => tracing::debug!(%remote, "tracker connection took too long"),
    }
}

fn respond(
    shared: &Shared,
    remote: SocketAddr,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (status, body) = if request.method() == Method::GET {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        shared.with_registry(|registry, now| registry.handle_http(now, remote, target))
    } else {
        (405, b"this is a BitTorrent tracker: GET only\n".to_vec())
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
