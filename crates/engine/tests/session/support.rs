//! What the engine's behaviour tests share: payloads, torrents, sessions, and a deadline for
//! everything that waits.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use engine::metainfo::{CreateOptions, Torrent};
use engine::{AddTorrent, Event, EventStream, Session, TorrentHandle};

/// Longer than anything here takes on a busy machine; only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Deterministic bytes that no compressor or sparse file can fake.
pub(crate) fn payload(bytes: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut data = vec![0; bytes];
    rng.fill(&mut data);
    data
}

/// Writes `data` as `dir/name` and makes its torrent.
pub(crate) fn single_file(dir: &Path, name: &str, data: &[u8], piece_length: u32) -> Torrent {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, data).unwrap();
    let options = CreateOptions { piece_length: Some(piece_length), ..CreateOptions::default() };
    let bytes = engine::create(&path, &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

/// A session on loopback with nothing left behind.
pub(crate) async fn session() -> Session {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Session::builder().bind(loopback).start().await.unwrap()
}

/// A session that seeds `torrent` from `dir`, and where it listens.
pub(crate) async fn seeder(torrent: &Torrent, dir: &Path) -> (Session, SocketAddr) {
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    let addr = session.listen_addresses()[0];
    (session, addr)
}

/// A session that begins to download `torrent` into `dir` from `peers`.
pub(crate) async fn leecher(
    torrent: &Torrent,
    dir: &Path,
    peers: impl IntoIterator<Item = SocketAddr>,
) -> (Session, TorrentHandle) {
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir).use_trackers(false).peers(peers);
    let handle = session.add(request).await.unwrap();
    (session, handle)
}

/// Waits for an event of which `pick` makes something.
pub(crate) async fn told<T>(events: &mut EventStream, pick: impl Fn(Event) -> Option<T>) -> T {
    within(async {
        loop {
            let event = events.next().await.expect("the session lives");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    })
    .await
}

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("this took longer than the test's deadline")
}
