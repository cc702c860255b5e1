//! A web server on loopback that does to each request what a script says.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// Percent-decoded, with the query.
    pub(super) path: String,
    /// Bytes of it that are the query.
    pub(super) query: usize,
    /// First and last byte.
    pub(super) range: Option<(usize, usize)>,
    pub(super) head: String,
}

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// What it should.
    Serve,
    /// The whole file, whatever was asked for.
    Whole,
    /// This, and then it closes.
    Raw(Vec<u8>),
    /// The right head and so many bytes, and then it closes.
    Cut(usize),
    /// Bytes that are not those of the file.
    Corrupt,
}

impl Reply {
    pub(super) fn raw(head: &str, body_bytes: usize) -> Self {
        Self::Raw([head.as_bytes(), &vec![7; body_bytes]].concat())
    }

    pub(super) fn status(status: &str, headers: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n");
        Self::Raw(head.into_bytes())
    }
}

type Script = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

/// A web server for the files of a folder, which does to the nth request what a script says.
pub(super) struct Web {
    pub(super) url: String,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    pub(super) connections: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Web {
    pub(super) async fn start(
        root: &Path,
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (asked, connections) =
            (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicUsize>::default());
        let mut server = JoinSet::new();
        let (root, script): (PathBuf, Arc<Script>) = (root.to_owned(), Arc::new(script));
        let (log, count) = (Arc::clone(&asked), Arc::clone(&connections));
        server.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                serving.spawn(serve(stream, root.clone(), Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { url, asked, connections, _server: server }
    }

    /// One that does what it should.
    pub(super) async fn good(root: &Path) -> Self {
        Self::start(root, |_, _| Reply::Serve).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    root: PathBuf,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let asked = read_head(&String::from_utf8(head).unwrap());
        let nth = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let reply = script(nth, &asked);
        if let Reply::Raw(bytes) = reply {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            return;
        }
        let path = &asked.path[..asked.path.len() - asked.query];
        let Ok(mut file) = std::fs::read(root.join(path.trim_start_matches('/'))) else {
            let none = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(none).await.is_err() {
                return;
            }
            continue;
        };
        let whole = file.len();
        let ranged = asked.range.filter(|_| !matches!(reply, Reply::Whole));
        let (first, last) = ranged.unwrap_or((0, whole - 1));
        let head = if ranged.is_some() {
            format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{last}/{whole}\r\n")
        } else {
            "HTTP/1.1 200 OK\r\n".to_owned()
        };
        let head = format!("{head}Content-Length: {}\r\n\r\n", last + 1 - first);
        if matches!(reply, Reply::Corrupt) {
            file.iter_mut().for_each(|byte| *byte ^= 1);
        }
        let body = &file[first..=last];
        let cut = match reply {
            Reply::Cut(bytes) => bytes.min(body.len()),
            _ => body.len(),
        };
        if stream.write_all(&[head.as_bytes(), &body[..cut]].concat()).await.is_err() {
            return;
        }
        if matches!(reply, Reply::Cut(_)) {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

fn read_head(head: &str) -> Asked {
    let raw = head.split(' ').nth(1).unwrap();
    let query = raw.find('?').map_or("", |at| &raw[at..]);
    let mut bytes = raw[..raw.len() - query.len()].bytes();
    let mut path = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut hex =
            || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap() as u8;
        path.push(if byte == b'%' { hex() * 16 + hex() } else { byte });
    }
    let range = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned)
    });
    let range = range.map(|range| {
        let (first, last) = range.split_once('-').unwrap();
        (first.parse().unwrap(), last.parse().unwrap())
    });
    let path = String::from_utf8(path).unwrap() + query;
    Asked { path, query: query.len(), range, head: head.to_owned() }
}
