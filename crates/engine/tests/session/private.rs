//! A private torrent whose tracker is gone: the next one's peers replace those it had (BEP 27).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use engine::metainfo::{CreateOptions, Torrent};
use engine::tracker::server::{Registry, ServerLimits};
use engine::{AddTorrent, Event, Network, RateLimits, Session, TrackerServer};

use crate::support::{payload, within};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BYTES: usize = 400_000;

fn tracker() -> TrackerServer {
    let limits =
        ServerLimits { open: true, min_interval: Duration::ZERO, ..ServerLimits::default() };
    let registry = Registry::new(limits, 1);
    TrackerServer::bind(&Network::default(), SocketAddr::new(HERE, 0), registry).unwrap()
}

fn torrent(file: &Path, trackers: &[&TrackerServer]) -> Torrent {
    let urls = trackers.iter().map(|it| vec![format!("http://{}/announce", it.local_addr())]);
    let options = CreateOptions {
        trackers: urls.collect(),
        piece_length: Some(16 * 1024),
        private: true,
        ..CreateOptions::default()
    };
    Torrent::parse(&engine::create(file, &options, |_| {}, &false.into()).unwrap()).unwrap()
}

async fn seeder(dir: &Path, torrent: &Torrent, upload: Option<u64>) -> Session {
    let builder = Session::builder().bind(HERE).allow_private_trackers(true);
    let session = builder.start().await.unwrap();
    session.set_limits(RateLimits { upload, ..RateLimits::default() });
    let seed = AddTorrent::new(torrent.clone(), dir).seed_only(true);
    within(session.add(seed).await.unwrap().wait()).await.unwrap();
    session
}

/// Waits until the tracker names somebody.
async fn somebody(tracker: &TrackerServer, torrent: &Torrent) {
    within(async {
        while tracker
            .with_registry(|registry, now| registry.peers(now, &torrent.info_hash))
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_peers_of_the_tracker_before_are_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("file.bin");
    std::fs::write(&file, payload(BYTES, 1)).unwrap();
    let (first, second) = (tracker(), tracker());
    let (of_first, of_second) = (torrent(&file, &[&first]), torrent(&file, &[&second]));
    let slow = seeder(&data, &of_first, Some(20_000)).await;
    let fast = seeder(&data, &of_second, None).await;
    somebody(&first, &of_first).await;
    somebody(&second, &of_second).await;

    let builder = Session::builder().bind(HERE).allow_private_trackers(true);
    let leecher = builder.start().await.unwrap();
    let mut events = leecher.events();
    let both = torrent(&file, &[&first, &second]);
    let out = dir.path().join("out");
    let download = leecher.add(AddTorrent::new(both, &out)).await.unwrap();
    within(async {
        while download.stats().verified_bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let slow_addr = slow.listen_addresses()[0];
    first.shutdown().await;
    within(leecher.set_listen_port(0)).await.unwrap(); // which announces again
    within(async {
        loop {
            match events.next().await.expect("the session runs") {
                Event::PeerDisconnected { addr, reason, .. } if addr == slow_addr => {
                    assert!(reason.contains("tracker"), "{reason}");
                    return;
                }
                Event::Completed { .. } => panic!("it was to be in mid download"),
                _ => {}
            }
        }
    })
    .await;
    within(download.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), payload(BYTES, 1));
    for session in [leecher, slow, fast] {
        session.shutdown().await;
    }
    second.shutdown().await;
}
