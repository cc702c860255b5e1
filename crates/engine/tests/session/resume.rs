//! What a session remembers for the next one, and what it does not believe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::support::{payload, seeder, single_file, within};
use engine::metainfo::Torrent;
use engine::{AddTorrent, Event, Session, StateLocation, TorrentHandle};

const PIECE: usize = 64 * 1024;

async fn remembering(
    state: &Path,
    torrent: &Torrent,
    out: &Path,
    peers: &[SocketAddr],
) -> (Session, TorrentHandle) {
    let session = Session::builder()
        .bind(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .state(StateLocation::Directory(state.into()))
        .start()
        .await
        .unwrap();
    let request =
        AddTorrent::new(torrent.clone(), out).use_trackers(false).peers(peers.iter().copied());
    let handle = session.add(request).await.unwrap();
    (session, handle)
}

#[tokio::test]
async fn a_finished_download_is_trusted_without_hashing() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(20 * PIECE, 11);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (state, out) = (dir.path().join("state"), dir.path().join("out"));
    let (session, handle) = remembering(&state, &torrent, &out, &[addr]).await;
    within(handle.wait()).await.unwrap();
    session.shutdown().await;

    let (session, handle) = remembering(&state, &torrent, &out, &[]).await;
    within(handle.wait()).await.unwrap();
    let stats = handle.stats();
    assert_eq!(stats.resumed_bytes, data.len() as u64, "all of it is trusted");
    assert_eq!(stats.check_progress.1, 0, "nothing is hashed");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_file_changed_behind_our_back_is_hashed_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(20 * PIECE, 12);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (state, out) = (dir.path().join("state"), dir.path().join("out"));
    let (session, handle) = remembering(&state, &torrent, &out, &[addr]).await;
    within(handle.wait()).await.unwrap();
    session.shutdown().await;

    let mut changed = data.clone();
    changed[5 * PIECE + 1] ^= 1;
    std::fs::write(out.join("file.bin"), &changed).unwrap();
    let (session, handle) = remembering(&state, &torrent, &out, &[addr]).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
    assert_eq!(handle.stats().downloaded, PIECE as u64, "one piece was bad, one piece travels");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(200 * PIECE, 13);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (state, out) = (dir.path().join("state"), dir.path().join("out"));
    let (session, handle) = remembering(&state, &torrent, &out, &[]).await;
    let mut events = session.events();
    handle.add_peers([addr]);
    within(async { while !matches!(events.next().await, Some(Event::PieceCompleted { .. })) {} })
        .await;
    session.shutdown().await;
    let before = handle.stats().pieces_have;
    assert!(before > 0);

    let (session, handle) = remembering(&state, &torrent, &out, &[addr]).await;
    within(handle.wait()).await.unwrap();
    let stats = handle.stats();
    assert!(stats.resumed_bytes >= u64::from(before) * PIECE as u64, "{stats:?}");
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
    session.shutdown().await;
    seeding.shutdown().await;
}
