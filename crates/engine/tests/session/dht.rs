//! Sessions that find each other by the DHT alone, on loopback; and private torrents, that don't.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use engine::dht_core::{PeersQuery, SecretKey};
use engine::metainfo::{CreateOptions, Torrent};
use engine::wire::PeerId;
use engine::{
    AddTorrent, Encryption, Event, HandshakeRequest, Network, Session, StateLocation,
    TorrentHandle, Transport,
};

use crate::support::{DEADLINE, payload, single_file, within};

const PIECE: u32 = 32 * 1024;

async fn node(bootstrap: Option<SocketAddr>) -> (Session, SocketAddr) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let names = bootstrap.map(|addr| addr.to_string());
    let session = Session::builder().bind(loopback).dht_bootstrap(names).start().await.unwrap();
    let addr = session.listen_addresses()[0];
    (session, addr)
}

async fn add(session: &Session, torrent: &Torrent, dir: &Path, seeds: bool) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(seeds).use_trackers(false);
    session.add(request).await.unwrap()
}

fn private(dir: &Path, name: &str) -> Torrent {
    std::fs::write(dir.join(name), payload(50_000, 9)).unwrap();
    let options = CreateOptions { private: true, ..CreateOptions::default() };
    let bytes = engine::create(&dir.join(name), &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

#[tokio::test]
async fn a_download_finds_its_seed_by_the_dht_and_a_private_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (seed_dir, out) = (dir.path().join("seed"), dir.path().join("out"));
    let torrent = single_file(&seed_dir, "open.bin", &payload(300_000, 1), PIECE);
    let secret = private(&seed_dir, "private.bin");
    let (hub, hub_addr) = node(None).await;
    let (seeding, _) = node(Some(hub_addr)).await;
    let (leeching, _) = node(Some(hub_addr)).await;
    let mut events = leeching.events();
    let private_seed = add(&seeding, &secret, &seed_dir, true).await;
    let private_leech = add(&leeching, &secret, &out, false).await;
    let seed = add(&seeding, &torrent, &seed_dir, true).await;
    within(seed.wait()).await.unwrap();
    let download = add(&leeching, &torrent, &out, false).await;
    within(download.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("open.bin")).unwrap(), payload(300_000, 1));
    // A search of the public torrent gave the seed; the private one was never searched for.
    let found = within(async {
        loop {
            if let Some(Event::DhtReply { info_hash, peers, nodes }) = events.next().await {
                assert_eq!(info_hash, torrent.info_hash, "a private torrent in the DHT");
                if peers > 0 {
                    return nodes;
                }
            }
        }
    });
    assert!(found.await > 0);
    let hub_dht = hub.dht().unwrap();
    let known = hub_dht.peers(secret.info_hash, PeersQuery::default());
    assert_eq!(within(known).await.unwrap().peers, []);
    assert_eq!(private_leech.stats().peers_known, 0);
    assert_eq!(private_seed.stats().peers_known, 0);
    for session in [hub, seeding, leeching] {
        session.shutdown().await;
    }
}

#[tokio::test]
async fn peers_tell_each_other_of_their_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(&dir.path().join("seed"), "a.bin", &payload(100_000, 2), PIECE);
    let (seeding, addr) = node(None).await;
    let (leeching, _) = node(None).await;
    within(add(&seeding, &torrent, &dir.path().join("seed"), true).await.wait()).await.unwrap();
    let download = add(&leeching, &torrent, &dir.path().join("out"), false).await;
    download.add_peers([addr]);
    // Neither was told of a node: what each knows comes from the other's `port` message.
    within(leeching.dht().unwrap().joined()).await;
    within(seeding.dht().unwrap().joined()).await;
    let status = within(leeching.dht().unwrap().status()).await.unwrap();
    assert_eq!(status.interfaces[0].nodes, 1);
    seeding.shutdown().await;
    leeching.shutdown().await;
}

async fn reserved_of(addr: SocketAddr, torrent: &Torrent) -> engine::wire::Reserved {
    let request = HandshakeRequest {
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
    };
    engine::handshake(request).await.unwrap().reserved
}

#[tokio::test]
async fn the_handshake_tells_of_a_node_only_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "open.bin", &payload(50_000, 3), PIECE);
    let secret = private(dir.path(), "private.bin");
    let (with, addr) = node(None).await;
    for (torrent, tells) in [(&torrent, true), (&secret, false)] {
        within(add(&with, torrent, dir.path(), true).await.wait()).await.unwrap();
        assert_eq!(reserved_of(addr, torrent).await.dht(), tells);
    }
    with.shutdown().await;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let without = Session::builder().bind(loopback).dht(false).start().await.unwrap();
    assert!(without.dht().is_none());
    within(add(&without, &torrent, dir.path(), true).await.wait()).await.unwrap();
    assert!(!reserved_of(without.listen_addresses()[0], &torrent).await.dht());
    without.shutdown().await;
}

#[tokio::test]
async fn the_nodes_of_the_last_run_are_enough_to_join_again() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, hub_addr) = node(None).await;
    // One that comes by itself, and so gets a place in the table.
    let (other, _) = node(Some(hub_addr)).await;
    within(other.dht().unwrap().joined()).await;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let run = |bootstrap: Option<String>| {
        let state = StateLocation::Directory(dir.path().to_path_buf());
        Session::builder().bind(loopback).state(state).dht_bootstrap(bootstrap).start()
    };
    let first = run(Some(hub_addr.to_string())).await.unwrap();
    let dht = first.dht().unwrap();
    within(dht.joined()).await;
    within(async {
        while dht.status().await.unwrap().interfaces[0].nodes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.shutdown().await;
    let second = run(None).await.unwrap();
    within(second.dht().unwrap().joined()).await;
    for session in [second, other, hub] {
        session.shutdown().await;
    }
}

#[tokio::test]
async fn items_are_put_by_one_session_and_got_by_another() {
    let (hub, hub_addr) = node(None).await;
    let (one, _) = node(Some(hub_addr)).await;
    let (two, _) = node(Some(hub_addr)).await;
    let (one_dht, two_dht) = (one.dht().unwrap(), two.dht().unwrap());
    within(one_dht.joined()).await;
    within(two_dht.joined()).await;
    let stored = within(one_dht.put(b"12:Hello World!".to_vec())).await.unwrap();
    assert!(stored.count >= 1, "{stored:?}");
    assert_eq!(stored.target.to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    let item = within(two_dht.item(stored.target)).await.unwrap().expect("it is there");
    assert_eq!(item.value, b"12:Hello World!");
    let key = SecretKey::from_seed(&[3; 32]);
    let put = one_dht.put_mutable(key.clone(), b"s".to_vec(), b"1:a".to_vec(), None, None);
    assert!(within(put).await.unwrap().count >= 1);
    let item = within(two_dht.mutable_item(key.public(), b"s".to_vec())).await.unwrap();
    assert_eq!(item.expect("it is there").value, b"1:a");
    let pong = within(two_dht.ping(hub_addr)).await.unwrap().expect("it answers");
    assert_eq!(pong.seen_as, Some(two.listen_addresses()[0]));
    assert!(within(one_dht.put(vec![b'x'; 2000])).await.is_err());
    for session in [hub, one, two] {
        session.shutdown().await;
    }
}
