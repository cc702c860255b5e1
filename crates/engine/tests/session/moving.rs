//! A torrent that moves to another folder, and files that get other names, while it is in a session.

use std::path::Path;
use std::sync::Arc;

use engine::metainfo::{CreateOptions, Torrent};
use engine::storage::StorageError;
use engine::{AddTorrent, Event, RateLimits, Session, StateLocation, TorrentError};

use crate::support::{leecher, payload, session, within};

const PIECE: usize = 64 * 1024;

fn tree(dir: &Path) -> Torrent {
    let tree = dir.join("seed/tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    for (number, name) in ["a.bin", "sub/b.bin"].iter().enumerate() {
        std::fs::write(tree.join(name), payload(30 * PIECE + 99, number as u64)).unwrap();
    }
    let options = CreateOptions { piece_length: Some(PIECE as u32), ..CreateOptions::default() };
    Torrent::parse(&engine::create(&tree, &options, |_| {}, &false.into()).unwrap()).unwrap()
}

async fn keeping(dir: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(dir.join("state"))).start().await.unwrap()
}

fn seeding(torrent: &Torrent, root: &Path) -> AddTorrent {
    AddTorrent::new(torrent.clone(), root).seed_only(true).use_trackers(false)
}

#[tokio::test]
async fn who_downloads_from_it_goes_on_after_the_move() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let seeds = keeping(dir.path()).await;
    let handle = seeds.add(seeding(&torrent, &dir.path().join("seed"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    handle.set_limits(RateLimits { upload: Some(4 << 20), ..RateLimits::default() });
    let addr = seeds.listen_addresses()[0];
    let (other, copy) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    let mut events = other.events();
    within(async {
        while !matches!(events.next().await.unwrap(), Event::PieceCompleted { .. }) {}
    })
    .await;
    let to = dir.path().join("deep/new");
    let moved = within(seeds.move_torrent(&handle, &to, |_| {}, Arc::default())).await.unwrap();
    assert_eq!(moved.outcome.unwrap(), Vec::<std::path::PathBuf>::new());
    moved.torrent.set_limits(RateLimits::default());
    within(moved.torrent.wait()).await.unwrap();
    assert_eq!(moved.torrent.stats().resumed_bytes, torrent.info.geometry().total_length());
    assert!(!dir.path().join("seed/tree").exists() && to.join("tree/sub/b.bin").exists());
    moved.torrent.add_peers(other.listen_addresses()); // sooner than it tries again
    within(copy.wait()).await.unwrap();
    for name in ["tree/a.bin", "tree/sub/b.bin"] {
        let one = std::fs::read(dir.path().join("out").join(name)).unwrap();
        assert_eq!(one, std::fs::read(to.join(name)).unwrap());
    }
    other.shutdown().await;
    seeds.shutdown().await;
    // A later run knows the new place.
    let again = keeping(dir.path()).await;
    let handle = again.add(seeding(&torrent, &to)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.stats().resumed_bytes, torrent.info.geometry().total_length());
    again.shutdown().await;
}

#[tokio::test]
async fn a_move_that_fails_leaves_it_running_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let session = session().await;
    let handle = session.add(seeding(&torrent, &dir.path().join("seed"))).await.unwrap();
    let to = dir.path().join("new");
    std::fs::create_dir_all(to.join("tree")).unwrap();
    std::fs::write(to.join("tree/a.bin"), b"somebody's").unwrap();
    let moved = within(session.move_torrent(&handle, &to, |_| {}, Arc::default())).await.unwrap();
    assert!(matches!(moved.outcome, Err(StorageError::Exists { .. })));
    assert_eq!(std::fs::read(to.join("tree/a.bin")).unwrap(), b"somebody's");
    within(moved.torrent.wait()).await.unwrap();
    let path = &moved.torrent.files()[0].path;
    assert!(path.starts_with(dir.path().canonicalize().unwrap().join("seed")) && path.exists());
    within(moved.torrent.read_piece(3)).await.unwrap();
    session.shutdown().await;
}

#[tokio::test]
async fn a_new_name_is_remembered_and_served_from() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let root = dir.path().join("seed");
    let session = keeping(dir.path()).await;
    let handle = session.add(seeding(&torrent, &root)).await.unwrap();
    within(handle.wait()).await.unwrap();
    handle.rename_file(1, Path::new("tree/c/renamed.bin")).await.unwrap();
    assert!(root.join("tree/c/renamed.bin").exists() && !root.join("tree/sub").exists());
    within(handle.read_piece(45)).await.unwrap();
    for bad in ["../out.bin", "tree//x", "/abs", "tree/./x", ""] {
        let error = handle.rename_file(1, Path::new(bad)).await.unwrap_err();
        assert!(matches!(error, TorrentError::Storage(StorageError::BadName { .. })), "{bad}");
    }
    let error = handle.rename_file(1, Path::new("tree/a.bin")).await.unwrap_err();
    assert!(matches!(error, TorrentError::Storage(StorageError::Exists { .. })), "{error}");
    session.shutdown().await;
    let again = keeping(dir.path()).await;
    let handle = again.add(seeding(&torrent, &root)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.stats().resumed_bytes, torrent.info.geometry().total_length());
    assert!(handle.files()[1].path.ends_with("tree/c/renamed.bin"));
    within(handle.read_piece(45)).await.unwrap();
    again.shutdown().await;
}
