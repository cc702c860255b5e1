//! uTP where TCP is taken and leads to no peer, as behind a middlebox that closes what it does not know, or
//! says nothing.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use engine::metainfo::Torrent;
use engine::{AddTorrent, FollowMagnet, Session, Transport};

use crate::script;
use crate::support::{leecher, payload, session, single_file, within};

const PIECE: u32 = 64 * 1024;

/// A peer whose uTP alone leads to it: it closes what comes by TCP.
async fn by_utp_alone(torrent: &Torrent, dir: &std::path::Path) -> (Session, SocketAddr) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let session =
        Session::builder().bind(loopback).transport(Transport::Utp).start().await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    within(session.add(request).await.unwrap().wait()).await.unwrap();
    let addr = session.listen_addresses()[0];
    // It takes TCP, and says nothing on it.
    let mut closed = std::net::TcpStream::connect(addr).unwrap();
    assert_eq!(closed.read(&mut [0; 1]).unwrap_or(0), 0);
    (session, addr)
}

#[tokio::test]
async fn a_peer_whose_tcp_is_closed_is_reached_by_utp() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(1_000_000, 5);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let (seeding, addr) = by_utp_alone(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("out/file.bin")).unwrap(), data);
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn so_is_one_that_has_the_metadata_of_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file.bin", &payload(1_000_000, 6), PIECE);
    let (seeding, addr) = by_utp_alone(&torrent, dir.path()).await;
    let session = session().await;
    let follow = FollowMagnet::new(torrent.magnet().parse().unwrap()).peers([addr]);
    let search = session.follow(follow).unwrap();
    assert_eq!(within(search.found()).await.unwrap().torrent.info, torrent.info);
    session.shutdown().await;
    seeding.shutdown().await;
}

/// A middlebox at an address of its own: it passes UDP on to `to`, takes TCP itself, and says nothing.
/// Tells each time that it took a connection.
fn silent_middlebox(to: SocketAddr) -> (SocketAddr, mpsc::Receiver<()>) {
    let takes = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 69), 0)).unwrap();
    let addr = takes.local_addr().unwrap();
    let (outside, inside) =
        (UdpSocket::bind(addr).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    inside.connect(to).unwrap();
    let (took, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in takes.incoming() {
            held.push(connection);
            let _ = took.send(()); // the test may be over
        }
    });
    let client = Arc::new(Mutex::new(None));
    let (back, answers, its) =
        (outside.try_clone().unwrap(), inside.try_clone().unwrap(), Arc::clone(&client));
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = outside.recv_from(&mut packet) {
            *client.lock().unwrap() = Some(from);
            let _ = inside.send(&packet[..length]); // lost, like any
        }
    });
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok(length) = answers.recv(&mut packet) {
            if let Some(client) = *its.lock().unwrap() {
                let _ = back.send_to(&packet[..length], client);
            }
        }
    });
    (addr, taken)
}

#[tokio::test]
async fn a_peer_whose_tcp_is_taken_and_silent_is_reached_by_utp() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(300_000, 8);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let (seeding, behind) = by_utp_alone(&torrent, &dir.path().join("seed")).await;
    let (addr, taken) = silent_middlebox(behind);
    // Fifteen seconds are for the world, not for loopback.
    let builder = Session::builder().bind(Ipv4Addr::LOCALHOST.into());
    let session = builder.handshake_limit(Duration::from_millis(1500)).start().await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).peers([addr]);
    let handle = session.add(request.use_trackers(false)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("out/file.bin")).unwrap(), data);
    assert_eq!(taken.try_iter().count(), 1, "TCP was tried, once, before uTP");
    session.shutdown().await;
    seeding.shutdown().await;
}

/// Who shakes hands and hangs up then is there, and does not want us: nothing comes by uTP.
#[tokio::test]
async fn who_shakes_hands_and_hangs_up_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file.bin", &payload(100_000, 7), PIECE);
    let (mute, met) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&met);
    let addr = script::peer(move |mut peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        peer.shake_hands(false).map(drop)
    });
    let hears = Arc::clone(&mute);
    let socket = UdpSocket::bind(addr).unwrap();
    std::thread::spawn(move || {
        while socket.recv(&mut [0; 2048]).is_ok() {
            hears.fetch_add(1, Ordering::SeqCst);
        }
    });
    // One that closes at once is the clock: it is dialled by uTP after it was by TCP.
    let closes = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 67), 0)).unwrap();
    let other = closes.local_addr().unwrap();
    let tried = UdpSocket::bind(other).unwrap();
    std::thread::spawn(move || closes.incoming().for_each(drop));
    let (session, _handle) = leecher(&torrent, &dir.path().join("out"), [addr, other]).await;
    tried.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let came = tokio::task::spawn_blocking(move || tried.recv(&mut [0; 2048]).unwrap());
    assert!(within(came).await.unwrap() >= 20, "a uTP packet");
    assert!(met.load(Ordering::SeqCst) > 0);
    assert_eq!(mute.load(Ordering::SeqCst), 0);
    session.shutdown().await;
}
