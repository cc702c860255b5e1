//! What a torrent moved in all its runs, beside what it did in this one.

use engine::TorrentHandle;
use serde_json::{Value, json};

use crate::format;

/// `null` before it ran.
pub(crate) fn document(handle: &TorrentHandle) -> Value {
    let Some(totals) = handle.totals() else { return Value::Null };
    json!({
        "uploaded": totals.uploaded,
        "downloaded": totals.downloaded,
        "ratio": ratio(handle),
        "active_seconds": totals.active.as_secs_f64(),
        "seeding_seconds": totals.seeding.as_secs_f64(),
        "added_at": totals.added_at,
        "completed_at": totals.completed_at,
    })
}

/// What was sent as a multiple of what is there, which is what `--ratio` limits.
pub(crate) fn ratio(handle: &TorrentHandle) -> Option<f64> {
    let there = handle.stats().verified_bytes;
    let totals = handle.totals().filter(|_| there > 0)?;
    Some(totals.uploaded as f64 / there as f64)
}

/// For people; `None` when earlier runs have nothing to add.
pub(crate) fn sentence(handle: &TorrentHandle) -> Option<String> {
    let (stats, totals) = (handle.stats(), handle.totals()?);
    if (totals.uploaded, totals.downloaded) == (stats.uploaded, stats.downloaded) {
        return None;
    }
    let ratio = ratio(handle).map(|ratio| format!(" (ratio {ratio:.2})")).unwrap_or_default();
    Some(format!(
        "in all: {} received, {} sent{ratio}; active for {}, seeding for {}",
        format::bytes(totals.downloaded),
        format::bytes(totals.uploaded),
        format::duration(totals.active),
        format::duration(totals.seeding),
    ))
}
