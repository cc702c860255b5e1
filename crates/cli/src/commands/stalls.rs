//! A word when a download stands still: what holds it up, once for each time that it does.

use std::time::{Duration, Instant};

use engine::{Cause, Explanation, Finding, TorrentHandle, TorrentState};
use serde_json::json;

use super::{explain, session};
use crate::format::untrusted;
use crate::output::Output;

/// Without a byte for so long it stands still.
const STALLED_AFTER: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One download, as it is watched.
struct Watch<'a> {
    handle: &'a TorrentHandle,
    downloaded: u64,
    /// Since when nothing comes, and what was explained then.
    still: Option<(Instant, Explanation)>,
    told: bool,
}

/// Watches until it is dropped.
pub(crate) async fn watch(handle: &TorrentHandle, output: Output) {
    let mut watch = Watch { handle, downloaded: 0, still: None, told: false };
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        watch.look(output).await;
    }
}

impl Watch<'_> {
    async fn look(&mut self, output: Output) {
        let stats = self.handle.stats();
        // One that waits for its disk says so by itself.
        let runs = stats.state == TorrentState::Downloading;
        if !runs || stats.downloaded != self.downloaded {
            self.downloaded = stats.downloaded;
            (self.still, self.told) = (None, false);
            return;
        }
        let Some((since, before)) = &self.still else {
            self.still = Some((Instant::now(), self.handle.explain().await));
            return;
        };
        if self.told || since.elapsed() < STALLED_AFTER {
            return;
        }
        self.told = true;
        let explanation = self.handle.explain().await.since(before);
        let Some(finding) = explanation.first() else { return };
        let name = untrusted(&session::name(self.handle));
        let seconds = STALLED_AFTER.as_secs();
        let sentence = explain::sentence(finding);
        output.note(format_args!("{name}: nothing came for {seconds} s: {sentence}"));
        output.value(&json!({
            "event": "stalled", "info_hash": explanation.info_hash.to_string(),
            "why": explain::document(finding),
        }));
    }
}

/// Why a download that ended is not complete; `None` when there is nothing to say that was not said.
pub(crate) async fn why_incomplete(handle: &TorrentHandle) -> Option<Finding> {
    if handle.stats().wanted_left == 0 {
        return None;
    }
    let first = handle.explain().await.findings.into_iter().next();
    // One that was going well, or failed with an error of its own, needs no word.
    let said = |finding: &Finding| {
        matches!(finding.cause, Cause::PeersRate | Cause::Checking | Cause::Stopped)
    };
    first.filter(|finding| !said(finding))
}
