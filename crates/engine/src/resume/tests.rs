//! Nothing is claimed before it is true: data first, then the record, in every order of events.

use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;

use metainfo::{CreateOptions, Torrent};

use super::*;
use crate::{AddTorrent, Session, TorrentHandle, TorrentState};

const PIECE: u32 = 16 * 1024;
const PIECES: usize = 4;

async fn session() -> Session {
    let loopback = std::net::Ipv4Addr::LOCALHOST.into();
    Session::builder().bind(loopback).start().await.unwrap()
}

fn torrent_of(path: &Path) -> Torrent {
    let options = CreateOptions { piece_length: Some(PIECE), ..CreateOptions::default() };
    let bytes = crate::create(path, &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

fn bytes(pieces: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; pieces * PIECE as usize];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    data
}

/// A download whose last piece is not there.
async fn all_but_one(folder: &Path) -> (Session, TorrentHandle) {
    let path = folder.join("file.bin");
    let data = bytes(PIECES, 1);
    fs::write(&path, &data).unwrap();
    let torrent = torrent_of(&path);
    fs::write(&path, &data[..(PIECES - 1) * PIECE as usize]).unwrap();
    let session = session().await;
    let request = AddTorrent::new(torrent, folder).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    handle.checked().await.unwrap();
    assert_eq!(handle.stats().pieces_have as usize, PIECES - 1);
    (session, handle)
}

#[tokio::test]
async fn what_is_written_during_a_sync_is_not_durable_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (session, handle) = all_but_one(dir.path()).await;
    let (inner, shared) = (&session.inner.shared, &handle.shared);
    // An earlier sync holds the disk's one thread for them until it is told to go on.
    let (go_on, gate) = mpsc::channel::<()>();
    inner.pools.sync(&shared.store, move |_| {
        let _ = gate.recv();
    });
    let mut syncing = pin!(sync(inner, shared));
    poll_fn(|context| {
        assert!(syncing.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let record = shared.record.get().unwrap();
    let last = PIECES as u32 - 1;
    record.written(last);
    drop(go_on);
    assert!(syncing.await);
    let progress = record.progress();
    assert_eq!(progress.durable.iter().collect::<Vec<_>>(), (0..last).collect::<Vec<_>>());
    assert!(progress.written.has(last));
    session.shutdown().await;
}

/// Two torrents on disks of their own, of which one hangs.
#[tokio::test]
async fn a_disk_that_hangs_keeps_no_other_from_becoming_durable() {
    let here = tempfile::tempdir().unwrap();
    let Ok(there) = tempfile::tempdir_in("/dev/shm") else { return }; // no other disk
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    if device(here.path()) == device(there.path()) {
        return;
    }
    let (session, hanging) = all_but_one(here.path()).await;
    let path = there.path().join("other.bin");
    fs::write(&path, bytes(PIECES, 9)).unwrap();
    let torrent = torrent_of(&path);
    let other = session.add(AddTorrent::new(torrent, there.path()).use_trackers(false));
    let other = other.await.unwrap();
    other.checked().await.unwrap();
    let inner = &session.inner.shared;
    let (go_on, gate) = mpsc::channel::<()>();
    inner.pools.sync(&hanging.shared.store, move |_| {
        let _ = gate.recv();
    });
    let is_behind = |handle: &TorrentHandle| handle.shared.record.get().unwrap().is_behind();
    assert!(is_behind(&hanging) && is_behind(&other));
    let mut syncs = Syncs::default();
    syncs.begin(inner);
    let done = syncs.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(done, other.info_hash());
    assert!(is_behind(&hanging) && !is_behind(&other));
    syncs.begin(inner);
    assert_eq!(syncs.tasks.len(), 1, "the first is still at it");
    drop(go_on);
    assert_eq!(syncs.tasks.join_next().await.unwrap().unwrap(), hanging.info_hash());
    assert!(!is_behind(&hanging));
    session.shutdown().await;
}

#[tokio::test]
async fn a_torrent_that_can_not_be_synced_is_not_left_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (session, handle) = all_but_one(dir.path()).await;
    let shared = Arc::clone(&handle.shared);
    let record = shared.record.get().unwrap().clone();
    fs::remove_file(dir.path().join("file.bin")).unwrap();
    handle.stop().await;
    let stored = session.inner.shared.state.load(record.key()).unwrap().unwrap();
    assert!(!stored.progress.clean);
    assert_eq!(stored.progress.durable.count(), 0);
    assert_eq!(&*stored.progress.boot_id, "", "nor believed as long as the system runs");
    session.shutdown().await;
}

#[tokio::test]
async fn a_torrent_in_good_order_is_left_clean_and_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (session, handle) = all_but_one(dir.path()).await;
    let key = handle.shared.record.get().unwrap().key().clone();
    handle.stop().await;
    let stored = session.inner.shared.state.load(&key).unwrap().unwrap();
    assert!(stored.progress.clean);
    assert_eq!(stored.progress.durable.count() as usize, PIECES - 1);
    session.shutdown().await;
}

/// Two files of two pieces each; where the second belongs there is a folder by the time that it is
/// to be written.
#[tokio::test]
async fn a_piece_that_the_disk_refused_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("seed/tree");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("a"), bytes(2, 2)).unwrap();
    fs::write(source.join("b"), bytes(2, 3)).unwrap();
    let torrent = torrent_of(&source);
    let seeding = session().await;
    let request = AddTorrent::new(torrent.clone(), dir.path().join("seed")).use_trackers(false);
    seeding.add(request).await.unwrap().wait().await.unwrap();

    let out = dir.path().join("out");
    let session = session().await;
    let request = AddTorrent::new(torrent, &out).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    handle.checked().await.unwrap();
    fs::create_dir_all(out.join("tree/b")).unwrap();
    handle.add_peers(seeding.listen_addresses());
    let shared = &handle.shared;
    let record = shared.record.get().unwrap();
    let waits = |state: &TorrentState| matches!(state, TorrentState::Paused { .. });
    shared.state_where(waits).await;
    while !record.progress().written.has(0) || !record.progress().written.has(1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(record.progress().written.iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(handle.stats().pieces_have, 2);

    fs::remove_dir(out.join("tree/b")).unwrap();
    handle.wait().await.unwrap();
    assert_eq!(record.progress().written.count(), 4);
    assert_eq!(fs::read(out.join("tree/b")).unwrap(), bytes(2, 3));
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_torrent_whose_sync_died_is_synced_again() {
    let dir = tempfile::tempdir().unwrap();
    let (session, handle) = all_but_one(dir.path()).await;
    let mut syncs = Syncs::default();
    let dies = syncs.tasks.spawn(async { panic!("as a bug would") });
    syncs.under_way.insert(handle.info_hash(), dies.id());
    while !dies.is_finished() {
        tokio::task::yield_now().await;
    }
    syncs.begin(&session.inner.shared);
    assert_eq!(syncs.tasks.join_next().await.unwrap().unwrap(), handle.info_hash());
    assert!(!handle.shared.record.get().unwrap().is_behind());
    session.shutdown().await;
}
