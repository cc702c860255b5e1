//! Torrents that were complete before the state had an index of whole files: found by others all the same,
//! and nobody's start waits for it.

use std::path::Path;

use engine::metainfo::{CreateOptions, Format, Magnet, Torrent};
use engine::{AddTorrent, FollowMagnet, Session, StateLocation, TorrentHandle};
use rusqlite::Connection;

use crate::support::{payload, seeder, within};

const PIECE: u32 = 32 * 1024;

async fn keeping(state: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(state.into())).start().await.unwrap()
}

fn database(state: &Path) -> Connection {
    Connection::open(state.join("state.sqlite")).unwrap()
}

/// Makes of a database what the version before wrote: the index was all that was new.
fn make_older(state: &Path) {
    database(state)
        .execute_batch("DROP TABLE shelf; DROP TABLE hints; PRAGMA user_version = 3;")
        .unwrap();
}

/// Files in the index.
fn entered(state: &Path) -> i64 {
    database(state).query_row("SELECT count(*) FROM shelf", [], |row| row.get(0)).unwrap()
}

/// Writes two files below `dir/name` and makes their torrent.
fn made(dir: &Path, names: [&str; 3], private: bool) -> Torrent {
    let [name, one, other] = names;
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(one), payload(3 * PIECE as usize + 9, 1)).unwrap();
    std::fs::write(folder.join(other), payload(PIECE as usize, 2)).unwrap();
    let piece_length = Some(PIECE);
    let options = CreateOptions { piece_length, format: Format::V2, private, ..Default::default() };
    Torrent::parse(&engine::create(&folder, &options, |_| {}, &false.into()).unwrap()).unwrap()
}

async fn seed(session: &Session, torrent: &Torrent, dir: &Path) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    handle
}

/// What a session has of a torrent that nobody seeds.
async fn found(state: &Path, torrent: &Torrent, dir: &Path) -> u64 {
    let session = keeping(state).await;
    let request = AddTorrent::new(torrent.clone(), dir).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    within(handle.checked()).await.unwrap();
    let verified = handle.stats().verified_bytes;
    session.shutdown().await;
    verified
}

#[tokio::test]
async fn one_that_is_resumed_is_entered_when_it_ends_and_not_as_it_starts() {
    for stops in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (state, old, out) = (dir.path().join("state"), dir.path().join("a"), dir.path());
        let first = made(&old, ["first", "film", "clip"], false);
        let second = made(&dir.path().join("b"), ["second", "movie", "y"], false);
        let session = keeping(&state).await;
        seed(&session, &first, &old).await;
        session.shutdown().await;
        make_older(&state);
        assert_eq!(found(&state, &second, &out.join("1")).await, 0, "nobody knows where it is");

        let session = keeping(&state).await;
        let handle = seed(&session, &first, &old).await;
        assert_eq!(handle.stats().resumed_bytes, first.info.geometry().total_length());
        assert_eq!(entered(&state), 0, "the start does not do it");
        if stops {
            handle.stop().await;
        }
        session.shutdown().await;
        assert_eq!(entered(&state), 2);
        let whole = second.info.geometry().total_length();
        assert_eq!(found(&state, &second, &out.join("2")).await, whole, "stopped: {stops}");
    }
}

#[tokio::test]
async fn one_of_a_link_that_does_not_run_is_entered_when_somebody_looks() {
    let dir = tempfile::tempdir().unwrap();
    let (state, old) = (dir.path().join("state"), dir.path().join("a"));
    let first = made(&old, ["first", "film", "clip"], false);
    let second = made(&dir.path().join("b"), ["second", "movie", "y"], false);
    let (seeding, addr) = seeder(&first, &old).await;
    let session = keeping(&state).await;
    let magnet: Magnet = first.magnet().parse().unwrap();
    let search = session.follow(FollowMagnet::new(magnet).peers([addr])).unwrap();
    let request = within(search.found()).await.unwrap().into_request(dir.path().join("got"));
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    handle.rename_file(1, Path::new("first/another name")).await.unwrap();
    session.shutdown().await;
    seeding.shutdown().await;
    std::fs::remove_dir_all(&old).unwrap();
    make_older(&state);
    let whole = second.info.geometry().total_length();
    assert_eq!(found(&state, &second, &dir.path().join("out")).await, whole);
}

/// Its disk may hang, and everybody who is new waits until all are entered.
#[tokio::test]
async fn nothing_is_looked_at_to_enter_it() {
    let dir = tempfile::tempdir().unwrap();
    let (state, old, away) = (dir.path().join("state"), dir.path().join("a"), dir.path().join("b"));
    let first = made(&old, ["first", "film", "clip"], false);
    let second = made(&dir.path().join("c"), ["second", "movie", "y"], false);
    let session = keeping(&state).await;
    let (seeding, addr) = seeder(&first, &old).await;
    let magnet: Magnet = first.magnet().parse().unwrap();
    let search = session.follow(FollowMagnet::new(magnet).peers([addr])).unwrap();
    let got = dir.path().join("got");
    let request = within(search.found()).await.unwrap().into_request(&got);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    session.shutdown().await;
    seeding.shutdown().await;
    std::fs::remove_dir_all(&old).unwrap();
    make_older(&state);
    std::fs::rename(&got, &away).unwrap();
    std::os::unix::fs::symlink("nowhere", &got).unwrap(); // what a look would stumble over
    assert_eq!(found(&state, &second, &dir.path().join("1")).await, 0);
    assert_eq!(entered(&state), 2);
    std::fs::remove_file(&got).unwrap();
    std::fs::rename(&away, &got).unwrap();
    let whole = second.info.geometry().total_length();
    assert_eq!(found(&state, &second, &dir.path().join("2")).await, whole);
}

#[tokio::test]
async fn a_private_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (state, old) = (dir.path().join("state"), dir.path().join("a"));
    let first = made(&old, ["first", "film", "clip"], true);
    let session = keeping(&state).await;
    seed(&session, &first, &old).await;
    session.shutdown().await;
    make_older(&state);
    let session = keeping(&state).await;
    seed(&session, &first, &old).await;
    session.shutdown().await;
    assert_eq!(entered(&state), 0);
    let second = made(&dir.path().join("b"), ["second", "movie", "y"], false);
    assert_eq!(found(&state, &second, &dir.path().join("out")).await, 0);
}
