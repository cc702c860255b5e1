//! A web server for files of a folder that does what a test's script says, and a torrent to get from it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::metainfo::{CreateOptions, Torrent};
use engine::{AddTorrent, Session, TorrentHandle, WebSeedState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::{payload, session, single_file, within};

pub(crate) const PIECE: u32 = 64 * 1024;

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Percent-decoded, with the query.
    pub(crate) path: String,
    /// Bytes of it that are the query.
    pub(crate) query: usize,
    /// First and last byte.
    pub(crate) range: Option<(usize, usize)>,
    pub(crate) head: String,
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
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
    pub(crate) fn raw(head: &str, body_bytes: usize) -> Self {
        Self::Raw([head.as_bytes(), &vec![7; body_bytes]].concat())
    }

    pub(crate) fn status(status: &str, headers: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n");
        Self::Raw(head.into_bytes())
    }
}

type Script = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

/// A web server for the files of a folder, which does to the nth request what a script says.
pub(crate) struct Web {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Web {
    pub(crate) async fn start(
        root: &Path,
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::behind(None, root, script).await
    }

    /// The same behind TLS.
    pub(crate) async fn secure(
        tls: TlsAcceptor,
        root: &Path,
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::behind(Some(tls), root, script).await
    }

    async fn behind(
        tls: Option<TlsAcceptor>,
        root: &Path,
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
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
                let (root, script, log) = (root.clone(), Arc::clone(&script), Arc::clone(&log));
                let Some(tls) = tls.clone() else {
                    serving.spawn(serve(stream, root, script, log));
                    continue;
                };
                serving.spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, root, script, log).await;
                    }
                });
            }
        });
        Self { url, asked, connections, _server: server }
    }

    /// One that does what it should.
    pub(crate) async fn good(root: &Path) -> Self {
        Self::start(root, |_, _| Reply::Serve).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
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

/// A torrent, what it is of, and the folder that holds that.
pub(crate) struct Thing {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) torrent: Torrent,
}

impl Thing {
    /// One file.
    pub(crate) fn file(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let torrent =
            single_file(&dir.path().join("seed"), "a file.bin", &payload(bytes, 1), PIECE);
        Self { dir, torrent }
    }

    /// Files with names that no URL takes as they are.
    pub(crate) fn tree() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("seed/odd # names?");
        let names = ["a b.txt", "sub/50%.bin", "sub/Größe+&=;.bin", "sub/deep/#1?.bin", "z"];
        for (name, seed) in names.iter().zip(1..) {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, payload(70_000 * seed as usize + 3, seed)).unwrap();
        }
        std::fs::write(root.join("empty"), b"").unwrap();
        let options = CreateOptions { piece_length: Some(PIECE), ..CreateOptions::default() };
        let bytes = engine::create(&root, &options, |_| {}, &false.into()).unwrap();
        Self { dir, torrent: Torrent::parse(&bytes).unwrap() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("seed")
    }

    pub(crate) fn length(&self) -> u64 {
        self.torrent.info.geometry().total_length()
    }

    pub(crate) async fn get(&self, urls: &[&str]) -> (Session, TorrentHandle) {
        let session = session().await;
        let request = AddTorrent::new(self.torrent.clone(), self.dir.path().join("out"))
            .use_trackers(false)
            .web_seeds(urls.iter().map(ToString::to_string));
        let handle = session.add(request).await.unwrap();
        (session, handle)
    }

    /// It is there, byte for byte.
    pub(crate) fn check(&self) {
        for file in self.torrent.info.files() {
            let [theirs, ours] = ["seed", "out"].map(|root| self.dir.path().join(root));
            let [theirs, ours] = [theirs, ours].map(|root| std::fs::read(file.path.under(&root)));
            assert!(theirs.unwrap() == ours.unwrap(), "{}", file.path.display());
        }
    }

    /// Completes from one web seed alone.
    pub(crate) async fn completes_from(&self, url: &str) {
        let (session, handle) = self.get(&[url]).await;
        within(handle.wait()).await.unwrap();
        self.check();
        let stats = handle.stats();
        assert_eq!((stats.wasted, stats.failed, stats.peers), (0, 0, 0));
        assert_eq!(stats.downloaded, self.length());
        session.shutdown().await;
    }

    /// The first web seed fails like this; what it said.
    pub(crate) async fn fails_with(&self, url: &str, words: &str) -> engine::WebSeedStatus {
        let (session, handle) = self.get(&[url]).await;
        let status = sooner_or_later(async || {
            let seed = handle.web_seeds().into_iter().next();
            seed.filter(|seed| seed.state != WebSeedState::Active && seed.error.is_some())
        });
        let status = status.await;
        let said = status.error.as_deref().unwrap_or_default();
        assert!(said.contains(words), "{said}");
        session.shutdown().await;
        status
    }
}

/// What a snapshot shows once it is as it should be.
pub(crate) async fn sooner_or_later<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    within(async {
        loop {
            every.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    })
    .await
}
