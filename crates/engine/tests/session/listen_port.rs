//! Another listening port in mid download: who is connected stays, who comes finds the new one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use engine::metainfo::{CreateOptions, Torrent};
use engine::tracker::server::{Registry, ServerLimits};
use engine::{
    AddTorrent, Event, ListenPortError, Network, RateLimits, Session, TorrentHandle, TrackerServer,
    Transport,
};

use crate::support::{DEADLINE, payload, within};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BYTES: usize = 400_000;

async fn session(transport: Transport) -> Session {
    let builder = Session::builder().bind(HERE).allow_private_trackers(true);
    builder.transport(transport).start().await.unwrap()
}

fn torrent(dir: &Path, tracker: &TrackerServer) -> Torrent {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("file.bin"), payload(BYTES, 1)).unwrap();
    let options = CreateOptions {
        trackers: vec![vec![format!("http://{}/announce", tracker.local_addr())]],
        piece_length: Some(16 * 1024),
        ..CreateOptions::default()
    };
    let bytes = engine::create(&dir.join("file.bin"), &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

async fn download(session: &Session, torrent: &Torrent, out: &Path, from: u16) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), out).use_trackers(false);
    session.add(request.peers([SocketAddr::new(HERE, from)])).await.unwrap()
}

/// Waits until the tracker names the peer at this port.
async fn told(tracker: &TrackerServer, torrent: &Torrent, port: u16) {
    let info_hash = torrent.info_hash;
    let named = async {
        loop {
            let peers = tracker.with_registry(|registry, now| registry.peers(now, &info_hash));
            if peers.contains(&SocketAddr::new(HERE, port)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, named).await.expect("the tracker never heard of the port");
}

fn port_of(session: &Session) -> u16 {
    session.listen_addresses()[0].port()
}

async fn changes_in_mid_download(transport: Transport) {
    let dir = tempfile::tempdir().unwrap();
    // It is told of the change before its time.
    let min_interval = Duration::from_hours(1);
    let limits = ServerLimits { open: true, min_interval, ..ServerLimits::default() };
    let registry = Registry::new(limits, 1);
    let tracker =
        TrackerServer::bind(&Network::default(), SocketAddr::new(HERE, 0), registry).unwrap();
    let torrent = torrent(&dir.path().join("seed"), &tracker);
    let seeder = session(transport).await;
    seeder.set_limits(RateLimits { upload: Some(100_000), ..RateLimits::default() });
    let seed = AddTorrent::new(torrent.clone(), dir.path().join("seed")).seed_only(true);
    within(seeder.add(seed).await.unwrap().wait()).await.unwrap();
    let old = port_of(&seeder);
    told(&tracker, &torrent, old).await;

    let early = session(transport).await;
    let mut events = early.events();
    let running = download(&early, &torrent, &dir.path().join("early"), old).await;
    within(async {
        while running.stats().verified_bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(seeder.set_listen_port(0)).await.unwrap();
    let new = port_of(&seeder);
    assert_ne!(new, old);
    let refused = TcpStream::connect((HERE, old)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let before = running.stats().verified_bytes;
    assert!(before < BYTES as u64, "it was to be in mid download");
    told(&tracker, &torrent, new).await;

    seeder.set_limits(RateLimits::default());
    let late = session(transport).await;
    let out = dir.path().join("late");
    within(download(&late, &torrent, &out, new).await.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), payload(BYTES, 1));
    within(running.wait()).await.unwrap();
    within(async {
        loop {
            match events.next().await.expect("the session runs") {
                Event::Completed { .. } => return,
                Event::PeerDisconnected { addr, .. } => {
                    assert_ne!(addr.port(), old, "the connection was to stay");
                }
                _ => {}
            }
        }
    })
    .await;
    for session in [early, late, seeder] {
        session.shutdown().await;
    }
}

#[tokio::test]
async fn a_tcp_connection_stays_and_others_come_by_the_new_port() {
    changes_in_mid_download(Transport::Tcp).await;
}

/// The other side knows the connection by the old port.
#[tokio::test]
async fn a_utp_connection_stays_and_others_come_by_the_new_port() {
    changes_in_mid_download(Transport::Utp).await;
}

#[tokio::test]
async fn a_port_that_another_has_leaves_the_old_one_working() {
    let seeder = session(Transport::default()).await;
    let old = port_of(&seeder);
    let tcp = TcpListener::bind((HERE, 0)).unwrap();
    let udp = UdpSocket::bind((HERE, 0)).unwrap();
    for taken in [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()] {
        let error = within(seeder.set_listen_port(taken)).await.unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        assert_eq!(port_of(&seeder), old);
        TcpStream::connect((HERE, old)).unwrap();
    }
    within(seeder.set_listen_port(old)).await.unwrap(); // nothing to do
    TcpStream::connect((HERE, old)).unwrap();
    seeder.shutdown().await;
    let error = seeder.set_listen_port(0).await.unwrap_err();
    assert!(matches!(error, ListenPortError::Ended), "{error}");

    let deaf = Session::builder().bind(HERE).listen(false).start().await.unwrap();
    let error = deaf.set_listen_port(0).await.unwrap_err();
    assert!(matches!(error, ListenPortError::NotListening), "{error}");
    deaf.shutdown().await;
}
