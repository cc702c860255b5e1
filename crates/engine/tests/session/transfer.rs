//! From one session's disk to another's over loopback, by TCP if nothing else is said: every shape of torrent.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::support::{DEADLINE, leecher, payload, seeder, session, single_file, told, within};
use engine::metainfo::{CreateOptions, Torrent};
use engine::wire::PeerId;
use engine::{
    AddError, AddTorrent, Encryption, Event, HandshakeRequest, Network, Session, TorrentState,
    Transport,
};

/// Seeds `name` under `dir/seed`, downloads it into `dir/out`, and compares the trees.
async fn travels(dir: &Path, torrent: &Torrent) {
    let (seeding, addr) = seeder(torrent, &dir.join("seed")).await;
    let (session, handle) = leecher(torrent, &dir.join("out"), [addr]).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(tree(&dir.join("out")), tree(&dir.join("seed")));
    let stats = handle.stats();
    assert_eq!(stats.verified_bytes, stats.total_bytes);
    session.shutdown().await;
    seeding.shutdown().await;
}

/// Every file below `root`, with its bytes.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                files.push((path.strip_prefix(root).unwrap().to_path_buf(), bytes));
            }
        }
    }
    files.sort();
    files
}

fn torrent_of(path: &Path, piece_length: u32) -> Torrent {
    let options = CreateOptions { piece_length: Some(piece_length), ..CreateOptions::default() };
    let bytes = engine::create(path, &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

#[tokio::test]
async fn sizes_around_a_block_and_a_piece() {
    const PIECE: usize = 32 * 1024;
    for bytes in [1, 16_383, 16_384, 16_385, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 5] {
        let dir = tempfile::tempdir().unwrap();
        let data = payload(bytes, bytes as u64);
        let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
        travels(dir.path(), &torrent).await;
    }
}

/// A session on loopback that takes and makes connections of one kind.
async fn session_by(transport: Transport) -> Session {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Session::builder().bind(loopback).transport(transport).start().await.unwrap()
}

#[tokio::test]
async fn by_utp_alone_whoever_dials() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(9 * 1024 * 1024 + 5, 8);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, 64 * 1024);
    for seed_dials in [false, true] {
        let out = dir.path().join(format!("out-{seed_dials}"));
        let (seeding, session) =
            (session_by(Transport::Utp).await, session_by(Transport::Utp).await);
        let [seed_addr, addr] = [&seeding, &session].map(|session| session.listen_addresses()[0]);
        let seed = AddTorrent::new(torrent.clone(), dir.path().join("seed"))
            .seed_only(true)
            .use_trackers(false)
            .peers(seed_dials.then_some(addr));
        let request = AddTorrent::new(torrent.clone(), &out)
            .use_trackers(false)
            .peers((!seed_dials).then_some(seed_addr));
        let handle = session.add(request).await.unwrap();
        seeding.add(seed).await.unwrap();
        within(handle.wait()).await.unwrap();
        assert_eq!(tree(&out), tree(&dir.path().join("seed")));
        session.shutdown().await;
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn pieces_of_sixteen_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(35 * 1024 * 1024, 4);
    let torrent = single_file(&dir.path().join("seed"), "big.bin", &data, 16 * 1024 * 1024);
    travels(dir.path(), &torrent).await;
}

#[tokio::test]
async fn a_tree_with_empty_files_and_files_within_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("seed/tree");
    for (number, bytes) in [0, 1, 100, 16_384, 0, 40_000, 65_536, 0, 3, 200_000].iter().enumerate()
    {
        let folder = root.join(format!("ordner {}/ü", number % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}.bin")), payload(*bytes, number as u64))
            .unwrap();
    }
    travels(dir.path(), &torrent_of(&root, 32 * 1024)).await;
}

#[tokio::test]
async fn only_empty_files_is_complete_at_once_and_creates_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("seed/empty");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("a"), []).unwrap();
    std::fs::write(root.join("b"), []).unwrap();
    let torrent = torrent_of(&root, 16 * 1024);
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(tree(&dir.path().join("out")), tree(&dir.path().join("seed")));
    session.shutdown().await;
}

#[tokio::test]
async fn several_leechers_share_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(4 * 1024 * 1024, 5);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, 64 * 1024);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let mut running: Vec<(Session, _)> = Vec::new();
    for number in 0..4 {
        let peers = running.iter().map(|(session, _)| session.listen_addresses()[0]).chain([addr]);
        let out = dir.path().join(format!("out{number}"));
        let next = leecher(&torrent, &out, peers.collect::<Vec<_>>()).await;
        running.push(next);
    }
    for (_, handle) in &running {
        within(handle.wait()).await.unwrap();
    }
    for number in 0..4 {
        let copy = std::fs::read(dir.path().join(format!("out{number}/file.bin"))).unwrap();
        assert_eq!(copy, data);
    }
    for (session, _) in running {
        session.shutdown().await;
    }
    seeding.shutdown().await;
}

#[tokio::test]
async fn data_that_is_there_already_is_not_fetched_again() {
    const PIECE: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let data = payload(10 * PIECE, 6);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
    let out = dir.path().join("out");
    std::fs::create_dir_all(&out).unwrap();
    let mut damaged = data.clone();
    damaged[3 * PIECE + 7] ^= 1;
    std::fs::write(out.join("file.bin"), &damaged).unwrap();

    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &out, [addr]).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
    assert_eq!(handle.stats().downloaded, PIECE as u64, "only the damaged piece travels");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn who_comes_during_the_check_is_served_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file", &payload(200_000_000, 9), 1 << 20);
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir.path()).use_trackers(false).seed_only(true);
    let handle = session.add(request).await.unwrap();
    let asked = HandshakeRequest {
        addr: session.listen_addresses()[0].to_string(),
        info_hash: torrent.info_hash,
        v2: None,
        peer_id: PeerId(*b"-XX0001-early-comer-"),
        connect_timeout: DEADLINE,
        timeout: DEADLINE,
        network: Network::default(),
        transport: Transport::Both,
        ip_filter: std::sync::Arc::default(),
        encryption: Encryption::Off,
    };
    // 200 MB take longer to hash than to get here.
    within(engine::handshake(asked)).await.unwrap();
    assert_eq!(handle.stats().state, TorrentState::Seeding);
    session.shutdown().await;
}

#[tokio::test]
async fn only_the_wanted_piece_travels() {
    const PIECE: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let data = payload(10 * PIECE, 7);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE as u32);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let session = session().await;
    let request = AddTorrent::new(torrent, dir.path().join("out"))
        .use_trackers(false)
        .peers([addr])
        .wanted(vec![4]);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(within(handle.read_piece(4)).await.unwrap(), data[4 * PIECE..5 * PIECE]);
    assert_eq!(handle.stats().downloaded, PIECE as u64);
    assert!(within(handle.read_piece(5)).await.is_err(), "a piece that was never fetched");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_file_cut_short_while_seeding_is_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(640 * 1024, 8);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, 64 * 1024);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let mut events = seeding.events();
    let file = std::fs::File::options().write(true).open(dir.path().join("seed/file.bin")).unwrap();
    file.set_len(9).unwrap();
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    let noticed = told(&mut events, |event| match event {
        Event::StorageError { message, .. } => Some(message),
        _ => None,
    });
    let message = noticed.await;
    assert!(message.contains("file.bin"), "{message}");
    assert_ne!(handle.stats().state, TorrentState::Seeding);
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn two_torrents_never_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let first = single_file(&a, "same.bin", &payload(100_000, 31), 16_384);
    let second = single_file(&b, "same.bin", &payload(100_000, 32), 16_384);
    let session = session().await;
    let out = dir.path().join("out");
    let quiet =
        |torrent: &Torrent, root: &Path| AddTorrent::new(torrent.clone(), root).use_trackers(false);
    session.add(quiet(&first, &out)).await.unwrap();
    let Err(AddError::PathInUse { path, other }) = session.add(quiet(&second, &out)).await else {
        panic!()
    };
    assert_eq!((path.file_name().unwrap().to_str(), other), (Some("same.bin"), first.info_hash));
    session.add(quiet(&second, &dir.path().join("elsewhere"))).await.unwrap();
    session.shutdown().await;
}

#[tokio::test]
async fn somebody_elses_file_of_the_same_name_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(&dir.path().join("seed"), "notes.txt", &payload(100_000, 33), 16_384);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let (session, handle) = leecher(&torrent, &out, [addr]).await;
    let error = within(handle.wait()).await.unwrap_err();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read(out.join("notes.txt")).unwrap(), b"mine");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn waiting_for_a_stopped_torrent_ends() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &payload(100_000, 34), 16_384);
    for _ in 0..20 {
        let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.wait().await }
        });
        handle.stop().await;
        assert!(within(waiting).await.unwrap().is_err());
        assert_eq!(handle.stats().state, TorrentState::Stopped);
        assert_eq!(session.stats().torrents, 0);
        session.shutdown().await;
    }
}
