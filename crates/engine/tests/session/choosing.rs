//! Files chosen when a torrent is added and while it runs: what appears, what is fetched, what is
//! remembered.

use std::path::Path;

use engine::metainfo::{CreateOptions, FilePriority, Torrent};
use engine::{AddTorrent, Event, PieceOrder, Session, StateLocation, TorrentError, TorrentState};

use crate::support::{leecher, payload, seeder, session, told, within};

const PIECE: usize = 16 * 1024;
/// `0.bin` to `3.bin`: each border is in the middle of a piece.
const LENGTHS: [usize; 4] = [50_000, 3_000, 70_000, 40_000];

fn tree(dir: &Path) -> Torrent {
    let tree = dir.join("seed/tree");
    std::fs::create_dir_all(&tree).unwrap();
    for (number, length) in LENGTHS.iter().enumerate() {
        let data = payload(*length, number as u64);
        std::fs::write(tree.join(format!("{number}.bin")), data).unwrap();
    }
    let options = CreateOptions { piece_length: Some(PIECE as u32), ..CreateOptions::default() };
    Torrent::parse(&engine::create(&tree, &options, |_| {}, &false.into()).unwrap()).unwrap()
}

/// What of the payload is under its name, checked against the seed's, and whether there is a part
/// store.
fn there(dir: &Path) -> (Vec<usize>, bool) {
    let out = dir.join("out");
    let there = (0..LENGTHS.len()).filter(|number| {
        let name = format!("tree/{number}.bin");
        let Ok(copy) = std::fs::read(out.join(&name)) else { return false };
        copy == std::fs::read(dir.join("seed").join(&name)).unwrap()
    });
    let there = there.collect();
    let hidden = std::fs::read_dir(&out).into_iter().flatten();
    let mut names = hidden.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (there, names.any(|name| name.starts_with(".peerless-")))
}

fn appeared(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("out/tree")).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn only(files: &[usize]) -> Vec<FilePriority> {
    let priority = |file| {
        if files.contains(&file) { FilePriority::Normal } else { FilePriority::Skip }
    };
    (0..LENGTHS.len()).map(priority).collect()
}

async fn keeping(dir: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(dir.join("state"))).start().await.unwrap()
}

#[tokio::test]
async fn chosen_files_alone_appear_and_the_rest_later_without_fetching_anything_twice() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let session = keeping(dir.path()).await;
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).peers([addr]);
    let handle = session.add(request.file_priorities(only(&[1]))).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(appeared(dir.path()), ["1.bin"]);
    assert_eq!(there(dir.path()), (vec![1], true));
    let files = handle.files();
    assert_eq!(files[1].verified_bytes, LENGTHS[1] as u64);
    assert!(files[0].verified_bytes > 0, "its share of the piece");
    assert_eq!(files[2].priority, FilePriority::Skip);
    let stats = handle.stats();
    assert_eq!((stats.wanted_left, stats.state), (0, TorrentState::Seeding));
    assert_eq!(stats.downloaded, PIECE as u64);

    // Another wish while it runs. What is there already completes at once.
    handle.set_file_priorities([(3, FilePriority::High)]).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(appeared(dir.path()), ["1.bin", "3.bin"]);
    handle.set_file_priorities([(0, FilePriority::Normal), (2, FilePriority::Low)]).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(there(dir.path()), (vec![0, 1, 2, 3], false), "and the part store went");
    assert_eq!(handle.stats().downloaded, torrent.info.geometry().total_length());
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_choice_is_remembered_and_its_part_store_believed() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let first = keeping(dir.path()).await;
    let request = || AddTorrent::new(torrent.clone(), dir.path().join("out"));
    let order = PieceOrder { sequential: true, first_last: true };
    let chosen = request().peers([addr]).file_priorities(only(&[1, 3])).piece_order(order);
    let handle = first.add(chosen).await.unwrap();
    within(handle.wait()).await.unwrap();
    first.shutdown().await;

    let second = keeping(dir.path()).await;
    let mut events = second.events();
    let handle = second.add(request()).await.unwrap();
    within(handle.wait()).await.unwrap();
    let checked = told(&mut events, |event| match event {
        Event::Checked { hashed_bytes, .. } => Some(hashed_bytes),
        _ => None,
    });
    assert_eq!(checked.await, 0, "all of it is known");
    assert_eq!(handle.stats().downloaded, 0);
    assert_eq!(handle.files()[0].priority, FilePriority::Skip);
    assert_eq!(appeared(dir.path()), ["1.bin", "3.bin"]);
    second.shutdown().await;

    // A third run wants all, with nothing fetched again.
    let third = keeping(dir.path()).await;
    let all = request().peers([addr]).file_priorities(vec![FilePriority::Normal; 4]);
    let handle = third.add(all).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(there(dir.path()), (vec![0, 1, 2, 3], false));
    let had: u64 = [3u64, 7, 8, 9].iter().map(|_| PIECE as u64).sum();
    assert!(handle.stats().downloaded <= torrent.info.geometry().total_length() - had / 2);
    third.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_partial_seed_serves_what_it_has_out_of_the_part_store_too() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).peers([addr]);
    let handle = session.add(request.file_priorities(only(&[1]))).await.unwrap();
    within(handle.wait()).await.unwrap();
    seeding.shutdown().await;
    // The piece has bytes of three files, of which one is wanted.
    let elsewhere = dir.path().join("other");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let (other, _) =
        leecher(&torrent, &elsewhere, session.listen_addresses().first().copied()).await;
    let piece = 50_000 / PIECE as u32;
    let mut events = other.events();
    let completed = told(&mut events, |event| match event {
        Event::PieceCompleted { piece, .. } => Some(piece),
        _ => None,
    });
    assert_eq!(completed.await, piece);
    // The whole of the wanted file, and the end of the one before it.
    let copy = |name| std::fs::read(elsewhere.join(name)).unwrap();
    let whole = |name| std::fs::read(dir.path().join("seed").join(name)).unwrap();
    assert_eq!(copy("tree/1.bin"), whole("tree/1.bin"));
    let end = piece as usize * PIECE;
    assert_eq!(copy("tree/0.bin")[end..], whole("tree/0.bin")[end..]);
    session.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn what_can_not_be_chosen_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = tree(dir.path());
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let session = session().await;
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).peers([addr]);
    let handle = session.add(request.file_priorities(only(&[1]))).await.unwrap();
    within(handle.wait()).await.unwrap();
    let error = handle.set_file_priorities([(9, FilePriority::High)]).await.unwrap_err();
    assert!(matches!(error, TorrentError::NoSuchFile { file: 9, count: 4 }), "{error}");
    // A folder in the place of a file: its share stays in the part store.
    std::fs::create_dir(dir.path().join("out/tree/0.bin")).unwrap();
    let error = handle.set_file_priorities([(0, FilePriority::High)]).await.unwrap_err();
    assert!(matches!(error, TorrentError::Storage(_)), "{error}");
    assert_eq!(handle.files()[0].priority, FilePriority::Skip);
    assert_eq!(handle.stats().state, TorrentState::Seeding);
    let piece = 50_000 / PIECE as u32;
    assert_eq!(within(handle.read_piece(piece)).await.unwrap().len(), PIECE);
    std::fs::remove_dir(dir.path().join("out/tree/0.bin")).unwrap();
    handle.set_file_priorities([(0, FilePriority::High)]).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(there(dir.path()), (vec![0, 1], true));
    session.shutdown().await;
    seeding.shutdown().await;
}
