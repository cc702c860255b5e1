//! A server for tests that says exactly the bytes it was told to, good or bad.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long a test waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the server does with one connection once the request's head is there.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Writes this and closes.
    Bytes(Vec<u8>),
    /// Writes the first, then the second again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes the first, then the second byte by byte, for ever, a hundredth of a second apart.
    Drip(Vec<u8>, u8),
    /// Says nothing.
    Silence,
}

impl Answer {
    /// A 200 with this body.
    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::with("200 OK", "", body)
    }

    /// Any status, with header lines of one's own (each ending in `\r\n`).
    pub(crate) fn with(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
        Self::Bytes([head.as_bytes(), body].concat())
    }

    /// A redirect.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::with("302 Found", &format!("Location: {location}\r\n"), b"")
    }
}

/// The server; ends when dropped.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
    _server: JoinSet<()>,
}

impl Scripted {
    /// Serves on IPv4 loopback; the first connection gets the first answer, and so on; those
    /// after the last get the last again.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), answers).await
    }

    pub(crate) async fn start_on(ip: IpAddr, answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        Self::serve(listener, answers)
    }

    pub(crate) fn serve(listener: TcpListener, answers: impl IntoIterator<Item = Answer>) -> Self {
        let addr = listener.local_addr().unwrap();
        let mut answers = answers.into_iter().collect::<Vec<_>>().into_iter();
        let (tell, requests) = mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            let mut last = Answer::Silence;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers.next().unwrap_or_else(|| last.clone());
                last = answer.clone();
                connections.spawn(converse(stream, answer, tell.clone()));
            }
        });
        Self { addr, requests, _server: server }
    }

    /// An `http` URL of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The next request's head.
    pub(crate) async fn request(&mut self) -> String {
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        request.expect("a request").unwrap()
    }

    /// Heads that have arrived and not been taken.
    pub(crate) fn requests_left(&self) -> usize {
        self.requests.len()
    }
}

/// Reads one request's head, tells of it, and answers.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: Answer,
    requests: mpsc::UnboundedSender<String>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let _ = requests.send(String::from_utf8(head).unwrap());
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Answer::Endless(first, again) => {
            let _ = stream.write_all(&first).await;
            while stream.write_all(&again).await.is_ok() {}
        }
        Answer::Drip(first, byte) => {
            let _ = stream.write_all(&first).await;
            while stream.write_all(&[byte]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Answer::Silence => {
            let _ = stream.read_u8().await; // until the client goes
        }
    }
}
