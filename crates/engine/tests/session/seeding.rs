//! When seeding ends, while it runs.

use std::time::Duration;

use engine::{AddTorrent, Event, SeedLimit, SeedLimits, TorrentState};

use crate::support::{payload, session, single_file, within};

#[tokio::test]
async fn limits_of_seeding_are_changed_while_it_runs_and_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(100_000, 1);
    let torrent = single_file(dir.path(), "file.bin", &data, 32 * 1024);
    let session = session().await;
    let limits = SeedLimits { time: Some(Duration::from_hours(1)), ..SeedLimits::default() };
    let request = AddTorrent::new(torrent, dir.path()).use_trackers(false);
    let handle = session.add(request.seed_only(true).seed_limits(limits)).await.unwrap();
    within(handle.wait()).await.unwrap();
    assert_eq!(handle.seed_limits(), limits);
    let mut events = session.events();
    handle.set_seed_limits(SeedLimits { idle: Some(Duration::ZERO), ..limits });
    assert_eq!(within(handle.seeded()).await.unwrap(), SeedLimit::Idle);
    assert_eq!(handle.stats().state, TorrentState::Stopped);
    let told = async {
        while let Some(event) = events.next().await {
            if let Event::SeededEnough { limit, .. } = event {
                return limit;
            }
        }
        panic!("nothing was told");
    };
    assert_eq!(within(told).await, SeedLimit::Idle);
    session.shutdown().await;
}
