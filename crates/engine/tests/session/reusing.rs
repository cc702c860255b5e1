//! Files of other torrents (BEP 38, and the roots of BEP 52): taken where hashes agree, from public torrents
//! alone, and never changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::metainfo::{CreateOptions, Format, InfoHash, Torrent};
use engine::{AddTorrent, Session, StateLocation, TorrentHandle};

use crate::support::{payload, session, within};

const PIECE: u32 = 32 * 1024;

async fn keeping(state: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(state.into())).start().await.unwrap()
}

fn options(format: Format) -> CreateOptions {
    CreateOptions { piece_length: Some(PIECE), format, ..CreateOptions::default() }
}

/// Writes files below `dir/name` and makes their torrent.
fn tree(dir: &Path, name: &str, files: &[(&str, &[u8])], options: &CreateOptions) -> Torrent {
    for (path, data) in files {
        let path = dir.join(name).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }
    let bytes = engine::create(&dir.join(name), options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

async fn seed(session: &Session, torrent: &Torrent, dir: &Path) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    handle
}

/// Adds it without anybody to fetch from. What it has once it was looked at.
async fn add(
    session: &Session,
    torrent: &Torrent,
    dir: &Path,
    search: bool,
) -> (TorrentHandle, u64) {
    let request = AddTorrent::new(torrent.clone(), dir).use_trackers(false).search(search);
    let handle = session.add(request).await.unwrap();
    within(handle.checked()).await.unwrap();
    let verified = handle.stats().verified_bytes;
    (handle, verified)
}

struct World {
    dir: tempfile::TempDir,
    film: Vec<u8>,
    clip: Vec<u8>,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let (film, clip) = (payload(5 * PIECE as usize + 99, 1), payload(PIECE as usize, 2));
    World { dir, film, clip }
}

impl World {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn first(&self, options: &CreateOptions) -> Torrent {
        tree(&self.at("old"), "first", &[("film", &self.film), ("clip", &self.clip)], options)
    }

    /// The same files, by other names in another torrent.
    fn second(&self, options: &CreateOptions) -> Torrent {
        tree(&self.at("made"), "second", &[("x/movie", &self.film), ("y", &self.clip)], options)
    }

    fn is_whole(&self) -> bool {
        let read = |name: &str| std::fs::read(self.at("out/second").join(name));
        read("x/movie").is_ok_and(|it| it == self.film) && read("y").is_ok_and(|it| it == self.clip)
    }

    fn apart(&self) {
        let inode = |name: &str| std::fs::metadata(self.at(name)).unwrap().ino();
        assert_ne!(inode("old/first/film"), inode("out/second/x/movie"), "never a hard link");
        std::fs::write(self.at("out/second/x/movie"), b"changed").unwrap();
        assert_eq!(std::fs::read(self.at("old/first/film")).unwrap(), self.film);
    }
}

#[tokio::test]
async fn the_same_roots_are_found_in_the_session_whatever_the_names() {
    for (one, other) in [(Format::V2, Format::V2), (Format::Hybrid, Format::V2)] {
        let world = world();
        let session = session().await;
        seed(&session, &world.first(&options(one)), &world.at("old")).await;
        let torrent = world.second(&options(other));
        let (handle, _) = add(&session, &torrent, &world.at("out"), true).await;
        within(handle.wait()).await.unwrap();
        assert_eq!(handle.stats().downloaded, 0);
        assert!(world.is_whole());
        session.shutdown().await;
        world.apart();
    }
}

#[tokio::test]
async fn files_of_torrents_that_only_the_state_knows_are_found() {
    let world = world();
    let session = keeping(&world.at("state")).await;
    let gone = seed(&session, &world.first(&options(Format::V2)), &world.at("old")).await;
    drop(gone);
    session.shutdown().await;
    let session = keeping(&world.at("state")).await;
    let torrent = world.second(&options(Format::V2));
    let (handle, verified) = add(&session, &torrent, &world.at("out"), true).await;
    assert_eq!(verified, torrent.info.geometry().total_length());
    assert!(world.is_whole());
    handle.stop().await;
    session.shutdown().await;

    // Once it was changed there it is not taken, whatever the record says.
    std::fs::remove_dir_all(world.at("out")).unwrap();
    let mut film = world.film.clone();
    film[3 * PIECE as usize] ^= 1;
    std::fs::write(world.at("old/first/film"), &film).unwrap();
    let files: [(&str, &[u8]); 2] = [("film", &world.film), ("else", &payload(9, 9))];
    let again = tree(&world.at("made"), "third", &files, &options(Format::V2));
    let session = keeping(&world.at("state")).await;
    let (_, verified) = add(&session, &again, &world.at("out"), true).await;
    assert_eq!(verified, 0, "the second one's copy is gone, and the first is another now");
    assert!(!world.at("out/third/film").exists());
    session.shutdown().await;
}

#[tokio::test]
async fn hints_lead_to_files_of_v1_torrents_from_either_side_and_not_without() {
    let plain = options(Format::V1);
    let group = |name: &str| CreateOptions { collections: vec![name.into()], ..plain.clone() };
    let naming = |hash: InfoHash| CreateOptions { similar: vec![hash], ..plain.clone() };
    for case in 0..4 {
        let world = world();
        let (old, new) = match case {
            0 => (world.first(&group("series")), world.second(&group("series"))),
            1 => {
                let old = world.first(&plain);
                let new = world.second(&naming(old.info_hash));
                (old, new)
            }
            2 => {
                let new = world.second(&plain);
                (world.first(&naming(new.info_hash)), new)
            }
            _ => (world.first(&group("series")), world.second(&group("another"))),
        };
        // Once in one session, once by the state alone.
        for restart in [false, true] {
            let state = world.at(if restart { "state" } else { "other" });
            let mut session = keeping(&state).await;
            seed(&session, &old, &world.at("old")).await;
            if restart {
                session.shutdown().await;
                session = keeping(&state).await;
            }
            let (_, verified) = add(&session, &new, &world.at("out"), true).await;
            session.shutdown().await;
            if case == 3 {
                assert_eq!(verified, 0, "nothing hints at it");
                continue;
            }
            // The pieces that two files share are in neither file whole, but both files were found.
            assert_eq!(verified, new.info.geometry().total_length(), "case {case}, {restart}");
            assert!(world.is_whole());
            std::fs::remove_dir_all(world.at("out")).unwrap();
        }
    }
}

#[tokio::test]
async fn files_of_private_torrents_and_of_nobody_are_not_given_away() {
    let world = world();
    let private = CreateOptions { private: true, ..options(Format::V2) };
    let old = world.first(&private);
    let session = keeping(&world.at("state")).await;
    seed(&session, &old, &world.at("old")).await;
    let new = world.second(&options(Format::V2));
    for restart in [false, true] {
        let session = if restart {
            session.shutdown().await;
            keeping(&world.at("state")).await
        } else {
            session.clone()
        };
        let (handle, verified) = add(&session, &new, &world.at("out"), true).await;
        assert_eq!(verified, 0);
        assert!(!world.at("out/second").join("y").exists());
        handle.stop().await;
        if restart {
            session.shutdown().await;
        }
    }

    // Of a public one they are, unless that is switched off.
    let session = engine::Session::builder().bind([127, 0, 0, 1].into()).start().await.unwrap();
    let public = tree(
        &world.at("old"),
        "first",
        &[("film", &world.film), ("clip", &world.clip)],
        &options(Format::V2),
    );
    seed(&session, &public, &world.at("old")).await;
    let (_, verified) = add(&session, &new, &world.at("off"), false).await;
    assert_eq!(verified, 0, "switched off");
    session.shutdown().await;
}

#[tokio::test]
async fn files_are_found_under_their_new_names_and_in_their_new_place() {
    for moves in [false, true] {
        let world = world();
        let session = keeping(&world.at("state")).await;
        let old = world.first(&options(Format::V2));
        let (handle, verified) = add(&session, &old, &world.at("old"), true).await;
        assert_eq!(verified, old.info.geometry().total_length());
        if moves {
            let moving = session.move_torrent(&handle, world.at("moved"), |_| {}, Arc::default());
            let moved = within(moving).await.unwrap();
            moved.outcome.unwrap();
            within(moved.torrent.checked()).await.unwrap();
        } else {
            for (file, name) in [(0, "first/one"), (1, "first/other")] {
                handle.rename_file(file, Path::new(name)).await.unwrap();
            }
        }
        session.shutdown().await;
        let session = keeping(&world.at("state")).await;
        let torrent = world.second(&options(Format::V2));
        let (_, verified) = add(&session, &torrent, &world.at("out"), true).await;
        assert_eq!(verified, torrent.info.geometry().total_length(), "moved: {moves}");
        assert!(world.is_whole());
        session.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_not_to_be_looked_for_is_not_after_a_move() {
    let world = world();
    let session = session().await;
    seed(&session, &world.first(&options(Format::V2)), &world.at("old")).await;
    let torrent = world.second(&options(Format::V2));
    let (handle, verified) = add(&session, &torrent, &world.at("out"), false).await;
    assert_eq!(verified, 0);
    let moving = session.move_torrent(&handle, world.at("other"), |_| {}, Arc::default());
    let moved = within(moving).await.unwrap();
    moved.outcome.unwrap();
    within(moved.torrent.checked()).await.unwrap();
    assert_eq!(moved.torrent.stats().verified_bytes, 0);
    session.shutdown().await;
}
