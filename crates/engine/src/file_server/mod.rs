//! One file of a torrent over HTTP, for players: answered as its bytes are proved, with ranges
//! (RFC 9110, 14).

mod answer;
mod request;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metainfo::percent_encode;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::handle::{TorrentError, TorrentHandle};
use crate::net::{Held, Listener, Purpose};
use answer::Answer;
use request::{Part, is_trusted_host, media_type, part};

/// Connections served at once: a player has a few, and leaves some behind when it seeks.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head, and its header lines.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Time for a request's head, and how long a connection may rest before the next.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long to let file descriptors come back after the process ran out of them.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Serves one file of a torrent; ends when dropped.
///
/// It answers GET and HEAD under [`Self::url`], with single ranges, to any number of clients that
/// name it by its address: a web page that has its own name lead here is turned away.
pub struct FileServer {
    addr: SocketAddr,
    path: String,
    listeners: JoinSet<()>,
}

impl fmt::Debug for FileServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// What is served.
struct Served {
    handle: TorrentHandle,
    file: usize,
    path: String,
    media_type: &'static str,
    tag: String,
}

impl FileServer {
    /// Serves a file, by its number in [`metainfo::Info::files`], on `addr`; port 0 takes any free
    /// one. Whoever can connect there can read the file. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address can't be listened on, or there is no such file.
    pub fn bind(addr: SocketAddr, handle: &TorrentHandle, file: usize) -> io::Result<Self> {
        drop(handle.reader(file).map_err(io::Error::other)?);
        let entry = handle.torrent().info.files().get(file);
        let name = entry.and_then(|entry| entry.path.components().last()).unwrap_or(b"file");
        let mut path = String::from("/");
        percent_encode(name, &mut path);
        let served = Arc::new(Served {
            handle: handle.clone(),
            file,
            path: path.clone(),
            media_type: media_type(name),
            tag: format!("\"{}-{file}\"", handle.info_hash()),
        });
        let listener = handle.session.network.listen_on(addr, Purpose::FileServer)?;
        let addr = listener.local_addr();
        let mut listeners = JoinSet::new();
        listeners.spawn(accept(listener, served));
        Ok(Self { addr, path, listeners })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the file is.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.addr, self.path)
    }

    /// Closes all sockets and waits until they are.
    pub async fn shutdown(mut self) {
        self.listeners.shutdown().await;
    }
}

async fn accept(mut listener: Listener, served: Arc<Served>) {
    let mut connections = JoinSet::new(); // dropped with this task: closes them all
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&served)))),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: Held<TcpStream>, served: Arc<Served>) {
    let service = service_fn(|request| {
        let response = served.respond(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client of the file server left");
    }
}

impl Served {
    fn respond(&self, request: &Request<Incoming>) -> Response<Answer> {
        let headers = request.headers();
        let host = text(headers, HOST);
        if !host.is_some_and(is_trusted_host) {
            let why = "name this server by its address, as in the URL that was printed\n";
            return refusal(StatusCode::MISDIRECTED_REQUEST, why);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD alone\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if !["/", &self.path].contains(&request.uri().path()) {
            return refusal(StatusCode::NOT_FOUND, "there is nothing else here\n");
        }
        // A range of what another file was is no use.
        let is_same = text(headers, IF_RANGE).is_none_or(|tag| tag == self.tag);
        let range = text(headers, RANGE).filter(|_| is_same);
        match self.file(range, request.method() == Method::HEAD) {
            Ok(response) => response,
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }

    fn file(&self, range: Option<&str>, is_head: bool) -> Result<Response<Answer>, TorrentError> {
        let reader = self.handle.reader(self.file)?;
        let length = reader.length();
        let part = part(range, length);
        let (status, from, count, content_range) = match part {
            Part::Whole => (StatusCode::OK, 0, length, None),
            Part::Some { first, last } => {
                let content_range = format!("bytes {first}-{last}/{length}");
                (StatusCode::PARTIAL_CONTENT, first, last - first + 1, Some(content_range))
            }
            Part::Nothing => {
                let mut response =
                    refusal(StatusCode::RANGE_NOT_SATISFIABLE, "the file is shorter\n");
                set(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{length}"));
                return Ok(response);
            }
        };
        let answer = if is_head { Answer::nothing() } else { Answer::of_file(reader, from, count) };
        let mut response = Response::new(answer);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(count));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // Whatever a stranger put into the file, a browser is not to run it here.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        set(headers, ETAG, &self.tag);
        if let Some(content_range) = content_range {
            set(headers, CONTENT_RANGE, &content_range);
        }
        Ok(response)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn refusal(status: StatusCode, why: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::of_text(why));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
