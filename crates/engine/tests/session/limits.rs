//! Rate limits between two sessions. That they are kept exactly is shown in simulated time; here, that
//! they bind what really moves.

use std::time::{Duration, Instant};

use crate::support::{leecher, payload, seeder, single_file, within};
use engine::RateLimits;

const PIECE: u32 = 64 * 1024;
const BYTES: u64 = 1024 * 1024;

/// What is left when as much as a limit may save up, and one block, has moved at once.
fn shortest(rate: u64) -> Duration {
    Duration::from_secs_f64((BYTES - rate / 4 - 16 * 1024) as f64 / rate as f64)
}

/// Which limit is set before the download begins.
#[derive(Debug, Clone, Copy)]
enum On {
    SessionDown,
    TorrentDown,
    SessionUp,
    TorrentUp,
}

#[tokio::test]
async fn a_transfer_takes_as_long_as_its_limit_wants() {
    let rate = 700_000;
    for on in [On::SessionDown, On::TorrentDown, On::SessionUp, On::TorrentUp] {
        let dir = tempfile::tempdir().unwrap();
        let torrent =
            single_file(&dir.path().join("seed"), "a.bin", &payload(BYTES as usize, 1), PIECE);
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
        let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
        within(handle.checked()).await.unwrap();
        let (down, up) = (
            RateLimits { download: Some(rate), upload: None },
            RateLimits { download: None, upload: Some(rate) },
        );
        match on {
            On::SessionDown => session.set_limits(down),
            On::TorrentDown => handle.set_limits(down),
            On::SessionUp => seeding.set_limits(up),
            On::TorrentUp => seeding.torrents()[0].set_limits(up),
        }
        let begun = Instant::now();
        handle.add_peers([addr]);
        within(handle.wait()).await.unwrap();
        assert!(begun.elapsed() >= shortest(rate), "{on:?}: {:?}", begun.elapsed());
        session.shutdown().await;
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn a_lifted_limit_no_longer_binds() {
    let dir = tempfile::tempdir().unwrap();
    let torrent =
        single_file(&dir.path().join("seed"), "a.bin", &payload(BYTES as usize, 1), PIECE);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
    within(handle.checked()).await.unwrap();
    // At one byte a second this would take a month.
    session.set_limits(RateLimits { download: Some(1), upload: None });
    handle.add_peers([addr]);
    within(async {
        while handle.stats().downloaded == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    session.set_limits(RateLimits::default());
    within(handle.wait()).await.unwrap();
    session.shutdown().await;
    seeding.shutdown().await;
}
