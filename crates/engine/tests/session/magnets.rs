//! Magnet links (BEP 9, 53): from a link alone to the whole torrent, over loopback.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::{DEADLINE, payload, seeder, session, single_file, within};
use engine::metainfo::{CreateOptions, Magnet, Torrent};
use engine::wire::PeerId;
use engine::{
    AddTorrent, Encryption, FollowMagnet, Found, HandshakeRequest, MagnetFailure, Network, Session,
    StateLocation, Transport,
};

const PIECE: u32 = 16 * 1024;

fn magnet(link: &str) -> Magnet {
    link.parse().unwrap()
}

async fn find(session: &Session, link: &str, peers: &[SocketAddr]) -> Found {
    let request = FollowMagnet::new(magnet(link)).peers(peers.iter().copied());
    let search = session.follow(request).unwrap();
    within(search.found()).await.unwrap()
}

/// Many pieces, so that the metadata itself is of several.
fn torrent(dir: &Path) -> Torrent {
    single_file(dir, "file.bin", &payload(60 * 1024 * 1024, 3), PIECE)
}

#[tokio::test]
async fn a_link_and_a_peer_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(&dir.path().join("seed"));
    assert!(torrent.info_bytes.len() > 4 * 16 * 1024);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    // The peer is in the link itself.
    let link = format!("{}&x.pe={addr}", torrent.magnet());
    let session = session().await;
    let found = find(&session, &link, &[]).await;
    assert_eq!(found.torrent.info, torrent.info);
    let handle = session.add(found.into_request(dir.path().join("out"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    let copy = std::fs::read(dir.path().join("out/file.bin")).unwrap();
    assert_eq!(copy, std::fs::read(dir.path().join("seed/file.bin")).unwrap());
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_comes_to_us_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(&dir.path().join("seed"));
    let session = session().await;
    let search = session.follow(FollowMagnet::new(magnet(&torrent.magnet()))).unwrap();
    let (seeding, _) = seeder(&torrent, &dir.path().join("seed")).await;
    seeding.torrents()[0].add_peers(session.listen_addresses());
    let found = within(search.found()).await.unwrap();
    assert_eq!(found.torrent.info_hash, torrent.info_hash);
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn only_the_selected_files_are_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("seed/tree");
    std::fs::create_dir_all(&tree).unwrap();
    for number in 0..4 {
        std::fs::write(tree.join(format!("{number}.bin")), payload(3 * PIECE as usize, number))
            .unwrap();
    }
    let options = CreateOptions { piece_length: Some(PIECE), ..CreateOptions::default() };
    let bytes = engine::create(&tree, &options, |_| {}, &false.into()).unwrap();
    let torrent = Torrent::parse(&bytes).unwrap();
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let session = session().await;
    let found = find(&session, &format!("{}&so=1,3-9", torrent.magnet()), &[addr]).await;
    let handle = session.add(found.into_request(dir.path().join("out"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.stats().downloaded, 6 * u64::from(PIECE));
    for number in [1, 3] {
        let name = format!("tree/{number}.bin");
        let copy = std::fs::read(dir.path().join("out").join(&name)).unwrap();
        assert_eq!(copy, std::fs::read(dir.path().join("seed").join(&name)).unwrap());
    }
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn what_was_found_once_needs_no_peer_again() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(&dir.path().join("seed"));
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let state = || {
        let builder = Session::builder().bind([127, 0, 0, 1].into());
        builder.state(StateLocation::Directory(dir.path().join("state"))).start()
    };
    let session = state().await.unwrap();
    let found = find(&session, &torrent.magnet(), &[addr]).await;
    let handle = session.add(found.into_request(dir.path().join("out"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    session.shutdown().await;
    seeding.shutdown().await;
    let session = state().await.unwrap();
    let found = find(&session, &torrent.magnet(), &[]).await;
    let handle = session.add(found.into_request(dir.path().join("out"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    let stats = handle.stats();
    assert_eq!((stats.resumed_bytes, stats.downloaded), (stats.total_bytes, 0));
    session.shutdown().await;
}

#[tokio::test]
async fn a_torrent_is_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "a.bin", b"some bytes", PIECE);
    let session = session().await;
    let follow = || session.follow(FollowMagnet::new(magnet(&torrent.magnet())));
    let first = follow().unwrap();
    assert!(matches!(follow().err(), Some(MagnetFailure::Duplicate)));
    drop(first);
    drop(follow().unwrap());
    let handle = session.add(AddTorrent::new(torrent.clone(), dir.path())).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert!(matches!(follow().err(), Some(MagnetFailure::Duplicate)));
    session.shutdown().await;
}

/// BEP 27: who may tell nobody of peers does not hand out what they share, either.
#[tokio::test]
async fn a_private_torrents_metadata_is_offered_to_nobody() {
    for private in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.bin");
        std::fs::write(&path, payload(100_000, 1)).unwrap();
        let options = CreateOptions { private, ..CreateOptions::default() };
        let bytes = engine::create(&path, &options, |_| {}, &false.into()).unwrap();
        let torrent = Torrent::parse(&bytes).unwrap();
        let (seeding, addr) = seeder(&torrent, dir.path()).await;
        let report = engine::handshake(HandshakeRequest {
            addr: addr.to_string(),
            info_hash: torrent.info_hash,
            v2: None,
            peer_id: PeerId([7; 20]),
            connect_timeout: DEADLINE,
            timeout: DEADLINE,
            network: Network::default(),
            transport: Transport::Both,
            ip_filter: std::sync::Arc::default(),
            encryption: Encryption::Off,
        });
        let said = report.await.unwrap().extended.unwrap();
        let size = Some(torrent.info_bytes.len() as u32).filter(|_| !private);
        assert_eq!(said.metadata_size, size);
        let offered = said.extensions.iter().any(|(name, _)| name == "ut_metadata");
        assert_eq!(offered, !private);
        seeding.shutdown().await;
    }
}
