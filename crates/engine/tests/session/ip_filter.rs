//! The IP filter over real sockets: both ways, over TCP and uTP, from the start and while it runs.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use engine::metainfo::Torrent;
use engine::{
    AddTorrent, Cause, Event, FollowMagnet, IpFilter, IpFilterBuilder, Session, SessionBuilder,
    TorrentHandle, Transport,
};

use crate::script::peer;
use crate::support::{DEADLINE, leecher, payload, seeder, single_file, within};

fn filter(list: &str) -> IpFilter {
    let mut builder = IpFilterBuilder::default();
    for line in list.lines() {
        builder.line(line.as_bytes()).unwrap();
    }
    builder.build().unwrap()
}

fn torrent(dir: &Path) -> Torrent {
    single_file(&dir.join("seed"), "a.bin", &payload(300_000, 1), 64 * 1024)
}

/// A session at an address of its own.
fn at(last: u8) -> SessionBuilder {
    Session::builder().bind(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

async fn seeds(session: &Session, torrent: &Torrent, dir: &Path) -> SocketAddr {
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    within(session.add(request).await.unwrap().wait()).await.unwrap();
    session.listen_addresses()[0]
}

async fn downloads(
    session: &Session,
    torrent: &Torrent,
    dir: &Path,
    from: SocketAddr,
) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), dir).use_trackers(false).peers([from]);
    session.add(request).await.unwrap()
}

#[tokio::test]
async fn who_connects_from_a_refused_address_is_sent_away_without_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    session.set_ip_filter(filter("127.0.0.5"));
    let refused = tokio::task::spawn_blocking(move || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 5], 0)).into())?;
        socket.connect(&addr.into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.read(&mut [0; 1])
    });
    let refused = within(refused).await.unwrap();
    let gone = |kind| matches!(kind, std::io::ErrorKind::ConnectionReset);
    assert!(refused.as_ref().map_or_else(|error| gone(error.kind()), |read| *read == 0));
    assert_eq!(session.stats().refused, 1);
    // Others are served as before.
    let (other, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    within(handle.wait()).await.unwrap();
    other.shutdown().await;
    session.shutdown().await;
}

#[tokio::test]
async fn a_refused_address_is_not_dialled_and_explain_says_so() {
    for transport in [Transport::Tcp, Transport::Utp] {
        let dir = tempfile::tempdir().unwrap();
        let torrent = torrent(dir.path());
        let seed = at(2).transport(transport).start().await.unwrap();
        let addr = seeds(&seed, &torrent, &dir.path().join("seed")).await;
        let list = filter("127.0.0.2/32");
        let session = at(3).transport(transport).ip_filter(list).start().await.unwrap();
        let handle = downloads(&session, &torrent, &dir.path().join("out"), addr).await;
        within(handle.checked()).await.unwrap();
        within(async {
            while handle.stats().filtered == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let explained = handle.explain().await;
        assert_eq!(explained.first().unwrap().cause, Cause::Filtered, "{explained:?}");
        assert_eq!(handle.stats().peers_known, 0);
        // Once the filter is lifted it can be named again.
        session.set_ip_filter(IpFilter::default());
        handle.add_peers([addr]);
        within(handle.wait()).await.unwrap();
        session.shutdown().await;
        seed.shutdown().await;
    }
}

#[tokio::test]
async fn a_utp_connection_from_a_refused_address_is_never_made() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let seed = at(2).transport(Transport::Utp).ip_filter(filter("127.0.0.3")).start();
    let seed = seed.await.unwrap();
    let addr = seeds(&seed, &torrent, &dir.path().join("seed")).await;
    let session = at(3).transport(Transport::Utp).start().await.unwrap();
    let handle = downloads(&session, &torrent, &dir.path().join("out"), addr).await;
    within(async {
        while seed.stats().refused == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((handle.stats().peers, seed.stats().connections), (0, 0));
    session.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_is_refused_from_now_on_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    // It is asked, and says nothing more.
    let silent = peer(|mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(5)?;
        peer.drain()
    });
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [silent]).await;
    let mut events = session.events();
    within(async {
        while handle.stats().peers == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    session.set_ip_filter(filter("127.0.0.64/26"));
    let left = within(async {
        loop {
            match events.next().await {
                Some(Event::PeerDisconnected { addr, reason, .. }) => break (addr, reason),
                Some(_) => {}
                None => panic!("the session ended"),
            }
        }
    });
    let (addr, reason) = left.await;
    assert_eq!(addr, silent);
    assert!(reason.contains("IP filter"), "{reason}");
    session.shutdown().await;
}

#[tokio::test]
async fn a_magnet_link_keeps_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path());
    let seed = at(2).start().await.unwrap();
    let addr = seeds(&seed, &torrent, &dir.path().join("seed")).await;
    let session = at(3).ip_filter(filter("127.0.0.2")).start().await.unwrap();
    let follow =
        FollowMagnet::new(torrent.magnet().parse().unwrap()).use_trackers(false).peers([addr]);
    let search = session.follow(follow).unwrap();
    let stats = search.stats().metadata;
    assert_eq!((stats.filtered, stats.peers_known), (1, 0));
    drop(search);
    session.set_ip_filter(IpFilter::default());
    let follow =
        FollowMagnet::new(torrent.magnet().parse().unwrap()).use_trackers(false).peers([addr]);
    let search = session.follow(follow).unwrap();
    within(search.found()).await.unwrap();
    session.shutdown().await;
    seed.shutdown().await;
}
