//! One fault in each test, over real sockets and files: `explain` names it before all else, shows it,
//! and says what to do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use engine::metainfo::{CreateOptions, Torrent};
use engine::{AddTorrent, Amount, Cause, Explanation, Finding, Session, TorrentHandle};

use crate::script::{self, Peer};
use crate::support::{leecher, payload, seeder, single_file, within};

const PIECE: u32 = 64 * 1024;
const PIECES: u32 = 24;

fn torrent(dir: &Path) -> Torrent {
    let data = payload((PIECE * PIECES) as usize, 11);
    single_file(&dir.join("seed"), "file.bin", &data, PIECE)
}

/// Asks until this cause is named first: time has to go by before one is worth a name.
async fn first(handle: &TorrentHandle, cause: Cause) -> Finding {
    let asked = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            let explanation = handle.explain().await;
            assert!(!explanation.findings.is_empty());
            let first = explanation.first().unwrap();
            // The first moments go to setting things up.
            if first.cause == cause && first.time > Duration::from_millis(200) {
                return first.clone();
            }
        }
    };
    let found = within(asked).await;
    assert!(found.share > 0.3 && found.share <= 1.0, "{found:?}");
    assert!(!found.cause.next_step().is_empty());
    found
}

fn text<'a>(finding: &'a Finding, name: &str) -> &'a str {
    let fact = finding.evidence.iter().find(|fact| fact.name == name);
    match fact.map(|fact| &fact.amount) {
        Some(Amount::Text(text)) => text,
        _ => panic!("no words for {name:?}: {finding:?}"),
    }
}

fn count(finding: &Finding, name: &str) -> u64 {
    let fact = finding.evidence.iter().find(|fact| fact.name == name);
    match fact.map(|fact| &fact.amount) {
        Some(Amount::Count(count)) => *count,
        _ => panic!("no number for {name:?}: {finding:?}"),
    }
}

/// What a download from one scripted peer suffers from.
async fn suffers(
    cause: Cause,
    script: impl Fn(Peer) -> std::io::Result<()> + Send + Sync + 'static,
) -> Finding {
    suffers_at(cause, script::peer(script)).await
}

async fn suffers_at(cause: Cause, addr: SocketAddr) -> Finding {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    let finding = first(&handle, cause).await;
    session.shutdown().await;
    finding
}

#[tokio::test]
async fn a_peer_that_chokes() {
    let finding = suffers(Cause::Choked, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(5, &[0xff; PIECES as usize / 8])?;
        peer.drain()
    });
    let finding = finding.await;
    assert_eq!((count(&finding, "peers"), count(&finding, "connected")), (1, 1));
}

#[tokio::test]
async fn a_peer_without_anything_new() {
    let finding = suffers(Cause::NothingNew, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(1, &[])?;
        peer.drain()
    });
    assert_eq!(count(&finding.await, "copies of the rarest piece"), 0);
}

#[tokio::test]
async fn a_peer_that_never_answers() {
    let finding = suffers(Cause::Unanswered, |mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(PIECES)?;
        peer.drain()
    });
    let finding = finding.await;
    let asked = |fact: &engine::Fact| fact.name == "asked for" && fact.amount != Amount::Bytes(0);
    assert!(finding.evidence.iter().any(asked), "{finding:?}");
}

#[tokio::test]
async fn a_peer_that_rejects_everything() {
    let finding = suffers(Cause::Rejected, |mut peer| {
        peer.shake_hands(true)?;
        peer.message(14, &[])?; // it has all
        peer.message(1, &[])?;
        loop {
            let (piece, begin, length) = peer.next_request()?;
            let body: Vec<u8> =
                [piece, begin, length].iter().flat_map(|n| n.to_be_bytes()).collect();
            peer.message(16, &body)?;
        }
    });
    assert_eq!(count(&finding.await, "peers"), 1);
}

#[tokio::test]
async fn a_peer_that_leaves() {
    let finding = suffers(Cause::PeersLeft, |mut peer| peer.shake_hands(false).map(drop)).await;
    assert!(text(&finding, "last").contains("closed"), "{finding:?}");
}

#[tokio::test]
async fn a_peer_that_sends_bad_data() {
    let finding = suffers(Cause::Banned, |mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(PIECES)?;
        loop {
            let (piece, begin, length) = peer.next_request()?;
            peer.block(piece, begin, &vec![0; length as usize])?;
        }
    });
    let finding = finding.await;
    assert_eq!((count(&finding, "peers banned"), text(&finding, "last")), (1, "127.0.0.66"));
}

#[tokio::test]
async fn addresses_where_nobody_listens() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let finding = suffers_at(Cause::Unreachable, free).await;
    assert_eq!(count(&finding, "addresses"), 1);
    assert!(text(&finding, "last").contains(&free.to_string()), "{finding:?}");
}

#[tokio::test]
async fn a_peer_with_another_torrent() {
    let finding = suffers(Cause::NotServed, |mut peer| {
        peer.read_handshake()?;
        peer.send(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")?;
        peer.send(&[7; 20])?;
        peer.send(b"-XX0001-hostile-peer")?;
        peer.drain()
    });
    let finding = finding.await;
    assert!(text(&finding, "last").contains("info hash 0707"), "{finding:?}");
}

#[tokio::test]
async fn a_peer_that_closes_on_our_info_hash() {
    let finding = suffers(Cause::NotServed, |mut peer| peer.read_handshake()).await;
    assert!(text(&finding, "last").contains("closed"), "{finding:?}");
}

#[tokio::test]
async fn a_port_of_something_else() {
    let finding = suffers(Cause::NotBitTorrent, |mut peer| {
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        peer.drain()
    });
    assert!(count(&finding.await, "failed attempts") >= 1);
}

/// A tracker that gives everybody this answer.
fn tracker(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]); // who leaves early gets no answer
            let length = answer.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
    });
    addr
}

async fn suffers_from_tracker(cause: Cause, url: Option<String>) -> Finding {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file.bin"), payload(PIECE as usize, 12)).unwrap();
    let trackers = url.map(|url| vec![url]).into_iter().collect();
    let options = CreateOptions { trackers, ..CreateOptions::default() };
    let bytes = engine::create(&dir.path().join("file.bin"), &options, |_| {}, &false.into());
    let torrent = Torrent::parse(&bytes.unwrap()).unwrap();
    let builder = Session::builder().bind(Ipv4Addr::LOCALHOST.into()).allow_private_trackers(true);
    let session = builder.start().await.unwrap();
    let handle = session.add(AddTorrent::new(torrent, dir.path().join("out"))).await.unwrap();
    let finding = first(&handle, cause).await;
    session.shutdown().await;
    finding
}

#[tokio::test]
async fn a_tracker_that_refuses() {
    let addr = tracker("d14:failure reason22:torrent not registerede");
    let url = format!("http://{addr}/announce?passkey=secret");
    let finding = suffers_from_tracker(Cause::TrackerError, Some(url)).await;
    let said = text(&finding, "tracker");
    assert!(said.contains(&addr.to_string()) && said.contains("torrent not registered"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test]
async fn a_tracker_that_nobody_reaches() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let url = format!("http://{free}/announce");
    let finding = suffers_from_tracker(Cause::TrackerError, Some(url)).await;
    assert!(text(&finding, "tracker").contains(&free.to_string()), "{finding:?}");
}

#[tokio::test]
async fn a_tracker_that_knows_nobody() {
    let url = format!("http://{}/announce", tracker("d8:intervali1800e5:peers0:e"));
    let finding = suffers_from_tracker(Cause::NobodyKnown, Some(url)).await;
    assert_eq!(count(&finding, "trackers"), 1);
}

#[tokio::test]
async fn no_tracker_and_no_peer() {
    let finding = suffers_from_tracker(Cause::NoTrackers, None).await;
    assert!(finding.cause.next_step().contains("name a peer"));
}

#[tokio::test]
async fn a_disk_that_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, []).await;
    within(handle.checked()).await.unwrap();
    std::fs::create_dir_all(out.join("file.bin")).unwrap(); // a folder in the file's place
    handle.add_peers([addr]);
    let finding = first(&handle, Cause::DiskRefuses).await;
    assert!(text(&finding, "message").contains(&*out.to_string_lossy()), "{finding:?}");
    session.shutdown().await;
    honest.shutdown().await;
}

#[tokio::test]
async fn no_connection_left() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let builder = Session::builder().bind(Ipv4Addr::LOCALHOST.into()).connections_max(0);
    let session = builder.start().await.unwrap();
    let peer = SocketAddr::from(([127, 0, 0, 1], 9));
    let request = AddTorrent::new(torrent, dir.path().join("out")).peers([peer]);
    let handle = session.add(request.use_trackers(false)).await.unwrap();
    let finding = first(&handle, Cause::ConnectionLimit).await;
    assert_eq!(count(&finding, "connections allowed"), 0);
    session.shutdown().await;
}

#[tokio::test]
async fn what_is_over_is_left_behind_and_every_torrent_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
    first(&handle, Cause::NoTrackers).await;
    let before = handle.explain().await;
    handle.add_peers([addr]);
    within(handle.wait()).await.unwrap();
    // Two that have all leave each other.
    let unvisited = |since: &Explanation| {
        since.first().unwrap().cause == Cause::Unvisited && since.findings[0].share > 0.5
    };
    within(async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        while !unvisited(&handle.explain().await.since(&before)) {
            every.tick().await;
        }
    })
    .await;
    let all = session.explain().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].info_hash, torrent.info_hash);
    let shares: f64 = all[0].findings.iter().map(|finding| finding.share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let ranked = all[0].findings.is_sorted_by(|a, b| a.time >= b.time);
    assert!(ranked, "{all:?}");
    handle.stop().await;
    assert_eq!(handle.explain().await.first().unwrap().cause, Cause::Stopped);
    session.shutdown().await;
    honest.shutdown().await;
}
