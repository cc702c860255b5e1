//! A v2 torrent without piece layers (BEP 52) whose data is on the disk already: nothing that is good is
//! fetched, and nobody's own file is overwritten.

use std::path::{Path, PathBuf};

use engine::metainfo::{CreateOptions, Format, Torrent};
use engine::storage::StorageError;
use engine::{AddTorrent, Session, StateLocation, TorrentError};

use crate::support::{payload, seeder, within};

const PIECE: usize = 32 * 1024;
const LENGTH: usize = 9 * PIECE + 77;

struct World {
    dir: tempfile::TempDir,
    data: Vec<u8>,
    torrent: Torrent,
    /// As a link leads to it.
    without: Torrent,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(LENGTH, 5);
    let home = dir.path().join("seed/t");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("big"), &data).unwrap();
    std::fs::write(home.join("small"), &data[..100]).unwrap();
    let options = CreateOptions {
        piece_length: Some(PIECE as u32),
        format: Format::V2,
        ..CreateOptions::default()
    };
    let bytes = engine::create(&home, &options, |_| {}, &false.into()).unwrap();
    let torrent = Torrent::parse(&bytes).unwrap();
    let link = torrent.magnet().parse().unwrap();
    let without = Torrent::from_info(&torrent.info_bytes, &link).unwrap();
    assert!(without.lacks_layers());
    World { dir, data, torrent, without }
}

impl World {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts these bytes where the large file belongs.
    fn put(&self, big: &[u8]) {
        std::fs::create_dir_all(self.at("out/t")).unwrap();
        std::fs::write(self.at("out/t/big"), big).unwrap();
    }

    fn request(&self) -> AddTorrent {
        AddTorrent::new(self.without.clone(), self.at("out")).use_trackers(false)
    }
}

async fn keeping(state: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(state.into())).start().await.unwrap()
}

#[tokio::test]
async fn whole_data_needs_no_peer_and_is_trusted_the_next_time() {
    let world = world();
    world.put(&world.data);
    std::fs::write(world.at("out/t/small"), &world.data[..100]).unwrap();
    for hashed in [true, false] {
        let session = keeping(&world.at("state")).await;
        let handle = session.add(world.request()).await.unwrap();
        within(handle.wait()).await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.downloaded, stats.verified_bytes), (0, stats.total_bytes));
        assert_eq!(stats.check_progress.1 > 0, hashed);
        session.shutdown().await;
    }
}

#[tokio::test]
async fn of_damaged_data_only_the_bad_is_fetched() {
    let world = world();
    let mut damaged = world.data.clone();
    damaged[4 * PIECE + 5] ^= 1;
    damaged.truncate(8 * PIECE + 3);
    world.put(&damaged);
    let (seeding, addr) = seeder(&world.torrent, &world.at("seed")).await;
    let session = keeping(&world.at("state")).await;
    let handle = session.add(world.request().peers([addr])).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(world.at("out/t/big")).unwrap(), world.data);
    let fetched = handle.stats().downloaded;
    let wanted = 2 * PIECE + 77 + 100; // a piece is bad, one and a half are not there
    assert_eq!(fetched, wanted as u64);
    assert_eq!(handle.stats().resumed_bytes, 7 * PIECE as u64);
    session.shutdown().await;
    let session = keeping(&world.at("state")).await;
    let handle = session.add(world.request()).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.stats().check_progress.1, 0, "it is all recorded");
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_file_of_somebody_elses_is_left_alone_once_that_is_known() {
    let world = world();
    let own = payload(LENGTH, 6);
    world.put(&own);
    let (seeding, addr) = seeder(&world.torrent, &world.at("seed")).await;
    // Nobody has the hashes yet, and it is stopped.
    let session = keeping(&world.at("state")).await;
    let handle = session.add(world.request()).await.unwrap();
    within(handle.checked()).await.unwrap();
    session.shutdown().await;
    // However often it is run, with the same state, by the link or the .torrent file.
    let whole = AddTorrent::new(world.torrent.clone(), world.at("out")).use_trackers(false);
    for request in [world.request(), world.request(), whole] {
        let session = keeping(&world.at("state")).await;
        let handle = session.add(request.peers([addr])).await.unwrap();
        let error = within(handle.wait()).await.unwrap_err();
        assert!(matches!(error, TorrentError::Storage(StorageError::Stranger { .. })), "{error}");
        session.shutdown().await;
        assert_eq!(std::fs::read(world.at("out/t/big")).unwrap(), own);
    }
    // With consent it is overwritten.
    let session = keeping(&world.at("other")).await;
    let handle = session.add(world.request().peers([addr]).overwrite(true)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(world.at("out/t/big")).unwrap(), world.data);
    session.shutdown().await;
    seeding.shutdown().await;
}
