//! What was moved and how long it was seeded: over all runs, whatever happens to a torrent in between,
//! and payload alone. Numbers of one session begin at zero (BEP 3: since `started`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::metainfo::Torrent;
use engine::storage::{RecordKey, SqliteState, StateStore};
use engine::{AddTorrent, SeedLimit, SeedLimits, Session, StateLocation, TorrentHandle};

use crate::support::{leecher, payload, single_file, within};

const PIECE: usize = 32 * 1024;
const SIZE: usize = 5 * PIECE + 17;

async fn keeping(state: &Path) -> Session {
    let builder = Session::builder().bind([127, 0, 0, 1].into());
    builder.state(StateLocation::Directory(state.into())).start().await.unwrap()
}

fn seeding(torrent: &Torrent, root: &Path) -> AddTorrent {
    AddTorrent::new(torrent.clone(), root).seed_only(true).use_trackers(false)
}

/// Gives one whole copy to somebody.
async fn give(seeds: &Session, torrent: &Torrent, to: &Path) {
    let (other, copy) = leecher(torrent, to, seeds.listen_addresses()).await;
    within(copy.wait()).await.unwrap();
    other.shutdown().await;
}

fn moved(handle: &TorrentHandle) -> (u64, u64) {
    let totals = handle.totals().unwrap();
    (totals.uploaded, totals.downloaded)
}

#[tokio::test]
async fn they_are_of_all_runs_whatever_happens_to_the_torrent() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let data = payload(SIZE, 1);
    let torrent = single_file(&at("seed"), "file.bin", &data, PIECE as u32);
    let size = SIZE as u64;

    let seeds = keeping(&at("state")).await;
    let handle = seeds.add(seeding(&torrent, &at("seed"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(moved(&handle), (0, 0));
    give(&seeds, &torrent, &at("one")).await;
    seeds.shutdown().await;
    assert_eq!(moved(&handle), (size, 0), "payload, and nothing else");
    let first = handle.totals().unwrap();
    assert!(first.active > Duration::ZERO && first.active == first.seeding);

    // Another session: rechecked, renamed, moved.
    let seeds = keeping(&at("state")).await;
    let request = seeding(&torrent, &at("seed")).recheck(true);
    let handle = seeds.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!((moved(&handle), handle.stats().uploaded), ((size, 0), 0));
    within(handle.rename_file(0, "other.bin".as_ref())).await.unwrap();
    let limits = SeedLimits { ratio: Some(9.0), ..SeedLimits::default() };
    handle.set_seed_limits(limits);
    let gone = seeds.move_torrent(&handle, at("new"), |_| {}, Arc::default());
    let handle = within(gone).await.unwrap().torrent;
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.seed_limits(), limits, "nor forgets when to end");
    give(&seeds, &torrent, &at("two")).await;
    let again = handle.totals().unwrap();
    assert!(again.seeding >= first.seeding && again.added_at == first.added_at);
    seeds.shutdown().await;
    assert_eq!((moved(&handle), handle.stats().uploaded), ((2 * size, 0), size));
}

#[tokio::test]
async fn limits_of_seeding_count_all_runs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let torrent = single_file(&at("seed"), "file.bin", &payload(SIZE, 2), PIECE as u32);
    let limits = SeedLimits { ratio: Some(2.0), ..SeedLimits::default() };
    for (run, ends) in [("one", false), ("two", true)] {
        let seeds = keeping(&at("state")).await;
        let request = seeding(&torrent, &at("seed")).seed_limits(limits);
        let handle = seeds.add(request).await.unwrap();
        within(handle.wait()).await.unwrap();
        give(&seeds, &torrent, &at(run)).await;
        if ends {
            assert_eq!(within(handle.seeded()).await.unwrap(), SeedLimit::Ratio);
            assert_eq!(handle.stats().uploaded, SIZE as u64, "half of it is of the run before");
        }
        seeds.shutdown().await;
    }
    // It was seeded for some time: a limit below is reached at once.
    let seeds = keeping(&at("state")).await;
    let handle = seeds.add(seeding(&torrent, &at("seed"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    let before = handle.totals().unwrap();
    seeds.shutdown().await;
    let seeds = keeping(&at("state")).await;
    let limits = SeedLimits { time: Some(before.seeding), ..SeedLimits::default() };
    let request = seeding(&torrent, &at("seed")).seed_limits(limits);
    let handle = seeds.add(request).await.unwrap();
    assert_eq!(within(handle.seeded()).await.unwrap(), SeedLimit::Time);
    handle.wait().await.unwrap(); // who comes late hears that it was complete
    seeds.shutdown().await;
}

/// The record is in the database while the torrent runs, so a kill takes a second of it at most.
#[tokio::test]
async fn they_are_saved_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let torrent = single_file(&at("seed"), "file.bin", &payload(SIZE, 3), PIECE as u32);
    let seeds = keeping(&at("state/seeds")).await;
    let handle = seeds.add(seeding(&torrent, &at("seed"))).await.unwrap();
    within(handle.wait()).await.unwrap();
    let gets = keeping(&at("state/gets")).await;
    let request = AddTorrent::new(torrent.clone(), at("out")).use_trackers(false);
    let copy = gets.add(request.peers(seeds.listen_addresses())).await.unwrap();
    within(copy.wait()).await.unwrap();
    for (name, root, want) in [("seeds", "seed", (SIZE, 0)), ("gets", "out", (0, SIZE))] {
        let state = SqliteState::open(at("state").join(name)).unwrap();
        let root = std::fs::canonicalize(at(root)).unwrap();
        let key = RecordKey { info_hash: torrent.info_hash, root: root.into() };
        let saved = || {
            let totals = state.load(&key).unwrap()?.totals;
            Some((totals.uploaded as usize, totals.downloaded as usize))
        };
        let there = async {
            while saved() != Some(want) {
                tokio::time::sleep(Duration::from_millis(20)).await; // it is another thread's
            }
        };
        within(there).await;
    }
    assert!(copy.totals().unwrap().completed_at.is_some());
    gets.shutdown().await;
    seeds.shutdown().await;
}
