//! More of everything than a session wants: what it holds stays bounded, and an honest peer gets
//! its data all the same. Counts, no clocks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use engine::metainfo::Torrent;

use crate::script::{self, Peer};
use crate::support::{DEADLINE, leecher, payload, seeder, single_file, within};

const PIECE: u32 = 64 * 1024;
const BYTES: usize = 24 * 64 * 1024 - 1000;
/// What a handshake begins with.
const PREFIX: &[u8] = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0";
const CROWD: usize = 1000;
/// One crowd at a time: a machine is to keep up with it.
static CROWDS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Of a crowd that does not shake hands, as many may wait (`accept.rs`).
const STRANGERS_MAX: usize = 256;
/// As in the default settings.
const HALF_OPEN_MAX: u32 = 50;

fn torrent(dir: &Path) -> (Torrent, Vec<u8>) {
    let data = payload(BYTES, 9);
    (single_file(&dir.join("seed"), "file.bin", &data, PIECE), data)
}

/// An honest peer fetches everything from `addr`.
async fn honest_download(torrent: &Torrent, data: &[u8], out: &Path, addr: SocketAddr) {
    let (session, handle) = leecher(torrent, out, [addr]).await;
    within(handle.wait()).await.unwrap();
    assert!(std::fs::read(out.join("file.bin")).unwrap() == data, "the copy differs");
    session.shutdown().await;
}

/// Connects a crowd to a seeder, each sending `first` of the info hash and nothing more. Returns how many of them the
/// seeder still held when an honest peer had all its data.
async fn held_of_a_crowd(first: impl Fn([u8; 20]) -> Vec<u8>) -> usize {
    let _alone = CROWDS.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let (torrent, data) = torrent(dir.path());
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let first = first(torrent.info_hash.0);
    let crowd = tokio::task::spawn_blocking(move || {
        let connect = |_| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&first).unwrap();
            stream
        };
        (0..CROWD).map(connect).collect::<Vec<_>>()
    });
    let crowd = within(crowd).await.unwrap();
    honest_download(&torrent, &data, &dir.path().join("out"), addr).await;
    let held = tokio::task::spawn_blocking(move || crowd.iter().filter(|one| is_held(one)).count());
    let held = within(held).await.unwrap();
    session.shutdown().await;
    held
}

/// Whether the other side has not closed.
fn is_held(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn a_thousand_silent_connections_do_not_keep_an_honest_peer_out() {
    let held = held_of_a_crowd(|_| Vec::new()).await;
    assert!(held <= STRANGERS_MAX, "{held} are held");
}

#[tokio::test]
async fn a_thousand_half_handshakes_do_not_keep_an_honest_peer_out() {
    let held = held_of_a_crowd(|_| [PREFIX, b"half of a"].concat()).await;
    assert!(held <= STRANGERS_MAX, "{held} are held");
}

#[tokio::test]
async fn a_thousand_handshakes_without_an_id_do_not_keep_an_honest_peer_out() {
    let held = held_of_a_crowd(|info_hash| [PREFIX, &info_hash].concat()).await;
    assert!(held <= STRANGERS_MAX, "{held} are held");
}

/// Otherwise as many as there are connections would keep everybody out, and us from dialling.
#[tokio::test]
async fn who_has_not_shaken_hands_has_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, _) = torrent(dir.path());
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let hash = torrent.info_hash.0;
    let half = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(&[PREFIX, &hash].concat()).unwrap();
        stream.read_exact(&mut [0; 68]).unwrap(); // we were answered, and the torrent waits for the id
        stream
    });
    let half = within(half).await.unwrap();
    assert_eq!(session.stats().connections, 0);
    drop(half);
    session.shutdown().await;
}

#[tokio::test]
async fn a_thousand_addresses_that_never_answer_do_not_stop_a_download() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, data) = torrent(dir.path());
    let (_listener, port) = script::silence();
    let ip = |n: usize| [127, 1, (n / 250) as u8, (n % 250) as u8 + 1];
    let crowd = (0..CROWD).map(|n| SocketAddr::new(ip(n).into(), port));
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, crowd).await;
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let mut half_open_max = 0;
    let done = async {
        handle.add_peers([addr]);
        handle.wait().await
    };
    let watch = async {
        loop {
            half_open_max = half_open_max.max(handle.stats().half_open);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = within(done) => done.unwrap(),
        () = watch => {}
    }
    assert!(half_open_max <= HALF_OPEN_MAX, "{half_open_max} at once");
    assert!(std::fs::read(out.join("file.bin")).unwrap() == data);
    session.shutdown().await;
    honest.shutdown().await;
}

/// Every request is answered once, by a block or a rejection, however many there are.
#[tokio::test]
async fn a_flood_of_requests_is_answered_and_bounded() {
    const REQUESTS: usize = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let (torrent, data) = torrent(dir.path());
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let hash = torrent.info_hash.0;
    let flood = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::connect_deaf(addr, hash).unwrap();
        peer.read_handshake().unwrap();
        let mut reader = peer.other_half().unwrap();
        let writer = std::thread::spawn(move || {
            peer.message(2, &[]).unwrap();
            // Small, so that most of the answers are not the blocks themselves.
            let request = [&[0, 0, 0, 13, 6][..], &[0; 8], &[0, 0, 0, 16]].concat().repeat(100);
            (0..REQUESTS / 100).for_each(|_| peer.send(&request).unwrap());
            peer
        });
        let (mut blocks, mut rejected) = (0, 0);
        while blocks + rejected < REQUESTS {
            match reader.next_message().unwrap() {
                (7, body) => {
                    assert_eq!(body.len(), 8 + 16);
                    blocks += 1;
                }
                (16, _) => rejected += 1,
                _ => {}
            }
        }
        drop(writer.join().unwrap());
        rejected
    });
    honest_download(&torrent, &data, &dir.path().join("out"), addr).await;
    let rejected = tokio::time::timeout(DEADLINE, flood).await.unwrap().unwrap();
    assert!(rejected > 0, "a queue without end");
    session.shutdown().await;
}

/// Each message is as long as it may be, and says nothing that anybody can use.
#[tokio::test]
async fn a_flood_of_long_extended_messages_buys_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, data) = torrent(dir.path());
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let hash = torrent.info_hash.0;
    let flood = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::connect_deaf(addr, hash).unwrap();
        let body = vec![77; 128 * 1024 - 1];
        (0..500).try_for_each(|_| peer.message(20, &body))
    });
    honest_download(&torrent, &data, &dir.path().join("out"), addr).await;
    let _ = within(flood).await.unwrap(); // whether it is listened to at all is not the point
    assert!(session.stats().buffered_bytes <= 16 * 16 * 1024 * 4, "{:?}", session.stats());
    session.shutdown().await;
}
