//! What a torrent moved and for how long it ran, over all runs, as its owner sees it. Trackers hear of
//! this session alone (BEP 3: since `started`), which is in [`crate::TorrentStats`].

use std::sync::PoisonError;
use std::time::Duration;

use swarm::Seeded;

use crate::handle::{TorrentHandle, TorrentShared};

/// Sums over all runs, this one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TorrentTotals {
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// Time that it ran.
    pub active: Duration,
    /// Time of it with all that was wanted there.
    pub seeding: Duration,
    /// When it was added for the first time, in seconds since 1970.
    pub added_at: i64,
    /// When its last piece arrived, in seconds since 1970; `None` if that was not here, or not yet.
    pub completed_at: Option<i64>,
}

impl TorrentShared {
    /// So many bytes more needed no download.
    pub(crate) fn resumed(&self, bytes: u64) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.resumed_bytes += bytes;
    }

    /// What limits of seeding count from.
    pub(crate) fn seeded_before(&self) -> Seeded {
        let totals = self.record.get().map(storage::RecordHandle::totals).unwrap_or_default();
        Seeded { uploaded: totals.uploaded, time: Duration::from_millis(totals.seeding_ms) }
    }
}

impl TorrentHandle {
    /// What it moved and for how long it ran, over all runs; `None` until its check is over. A kill takes
    /// at most the last second of it, and of the time of one that moved nothing ten minutes.
    pub fn totals(&self) -> Option<TorrentTotals> {
        let record = self.shared.record.get()?;
        let (totals, (added_at, completed_at)) = (record.totals(), record.dates());
        Some(TorrentTotals {
            uploaded: totals.uploaded,
            downloaded: totals.downloaded,
            active: Duration::from_millis(totals.active_ms),
            seeding: Duration::from_millis(totals.seeding_ms),
            added_at,
            completed_at,
        })
    }
}
