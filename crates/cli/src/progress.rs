//! Progress on anything that takes longer than a second: a bar on a terminal, a plain line now and
//! then elsewhere, nothing with `--quiet` or `--json`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::{TorrentState, TorrentStats};
use indicatif::{ProgressBar, ProgressStyle};

use crate::format;
use crate::output::{Output, bars};

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix:.bold} {wide_bar} {percent:>3}% {msg}";

/// One thing's progress. Its bar goes when it is dropped.
pub(crate) struct Progress {
    name: String,
    output: Output,
    bar: Option<ProgressBar>,
    plain: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new(output: Output, name: &str) -> Self {
        let name = format::untrusted(name);
        let bar = output.is_live().then(|| {
            let bar = bars().add(ProgressBar::new(1));
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_prefix(name.chars().take(24).collect::<String>());
            bar
        });
        Self { name, output, bar, plain: Mutex::new(Instant::now()) }
    }

    /// Sets how far it is, in bytes, and what else there is to say.
    pub(crate) fn set(&self, done: u64, total: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(done);
            bar.set_message(message.to_owned());
            return;
        }
        let Ok(mut last) = self.plain.lock() else { return };
        if last.elapsed() >= PLAIN_EVERY {
            *last = Instant::now();
            // Downwards: 100.0 is for the end alone.
            let percent = (done as f64 * 1000.0 / total.max(1) as f64).floor() / 10.0;
            self.output.note(format_args!("{}: {percent:.1}% {message}", self.name));
        }
    }

    /// Sets everything from a torrent's numbers, its share ratio in all runs, and why it has no network,
    /// if it has none.
    pub(crate) fn torrent(
        &self,
        stats: &TorrentStats,
        ratio: Option<f64>,
        absence: Option<String>,
    ) {
        match &stats.state {
            TorrentState::Checking => {
                let (done, total) = stats.check_progress;
                self.set(done, total, "checking");
            }
            state => {
                let wanted = stats.verified_bytes + stats.wanted_left;
                let message = absence.map(|why| format!("waiting: {why}"));
                let message = message.unwrap_or_else(|| summary(state, stats, ratio));
                self.set(stats.verified_bytes, wanted, &message);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn summary(state: &TorrentState, stats: &TorrentStats, ratio: Option<f64>) -> String {
    let peers = match stats.web_seeds {
        0 => format!("{} peers", stats.peers),
        seeds => format!("{} peers, {seeds} web seeds", stats.peers),
    };
    match state {
        TorrentState::Paused { reason } => format!("waiting: {}", format::untrusted(reason)),
        TorrentState::Seeding => {
            let up = format::bytes(stats.uploaded);
            let ratio = ratio.map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default();
            format!("seeding, ↑ {} ({up}{ratio}), {peers}", format::rate(stats.upload_rate))
        }
        _ => {
            let eta = stats.eta.map_or("-".into(), format::duration);
            format!("↓ {} ETA {eta}, {peers}", format::rate(stats.download_rate))
        }
    }
}
