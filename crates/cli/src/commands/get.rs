//! `peerless get`: downloads, verifies, and goes on where an earlier run stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::metainfo::Torrent;
use engine::{AddTorrent, TorrentHandle};
use tokio::task::JoinSet;

use super::session::{self, Options};
use super::{explain, stalls};
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// How often progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Download torrents; run it again to go on after any stop.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless get ubuntu.torrent -o ~/Downloads
  peerless get https://example.org/a.torrent b.torrent
  peerless get a.torrent --peer 192.0.2.7:6881 --seed --ratio 1.5

Of several torrents each goes its own way: when one fails, the others go on, and the exit code is that
of the first failure. Ctrl-C saves and stops; a second one stops at once.")]
pub(crate) struct Args {
    /// .torrent files, or http(s) URLs of them.
    #[arg(required = true, value_name = "TORRENT or URL")]
    torrents: Vec<String>,
    /// The folder to download into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Go on seeding once complete.
    #[arg(long)]
    seed: bool,
    /// With --seed: until this many times the size was sent.
    #[arg(long, value_name = "R", requires = "seed")]
    ratio: Option<f64>,
    /// Give up after this long without any peer; 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait_peers: u64,
    /// Hash what is there instead of trusting what an earlier run remembered.
    #[arg(long)]
    recheck: bool,
    /// Cut longer files in the way, and write through hard links.
    #[arg(long)]
    overwrite: bool,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let mut failures = Failures { output, first: None };
        let peers = self.options.peers().await?;
        let mut torrents: Vec<Torrent> = Vec::new();
        for source in &self.torrents {
            let torrent = tokio::select! {
                torrent = load(source, self.options.bind()) => torrent,
                () = interrupt.wait() => return Err(Failure::interrupted()),
            };
            // The same torrent named twice is one download.
            match torrent {
                Err(failure) => failures.add(failure),
                Ok(torrent) if torrents.iter().any(|it| it.info_hash == torrent.info_hash) => {}
                Ok(torrent) => torrents.push(torrent),
            }
        }
        if torrents.is_empty() {
            return failures.result();
        }
        let session = self.options.builder()?.start().await?;
        let reporting = tokio::spawn(session::report(session.events(), output));
        let since = Instant::now();
        let mut handles = Vec::new();
        for torrent in torrents {
            let request = AddTorrent::new(torrent, &self.output)
                .peers(peers.iter().copied())
                .use_trackers(!self.options.no_tracker)
                .recheck(self.recheck)
                .overwrite(self.overwrite);
            match session.add(request).await {
                Ok(handle) => handles.push(handle),
                Err(error) => failures.add(error.into()),
            }
        }
        let bars = draw(&handles, output);
        let interrupted = tokio::select! {
            () = self.follow(&handles, &mut failures) => false,
            () = stalls::watch(&handles, output) => false,
            () = interrupt.wait() => true,
        };
        bars.abort();
        let _ = bars.await; // it was aborted
        let mut reasons = Vec::new();
        for handle in &handles {
            reasons.push(stalls::why_incomplete(handle).await);
        }
        session.shutdown().await;
        reporting.abort();
        for (handle, reason) in handles.iter().zip(reasons) {
            let mut summary = session::summary(handle, since);
            summary["why"] = reason.as_ref().map(explain::document).into();
            output.value(&summary);
            output.line(session::summary_line(handle, since));
            if let Some(reason) = reason {
                output.line(format_args!("  why: {}", explain::sentence(&reason)));
            }
        }
        if interrupted { Err(Failure::interrupted()) } else { failures.result() }
    }

    /// Until each is complete, and seeded as asked, or failed.
    async fn follow(&self, handles: &[TorrentHandle], failures: &mut Failures) {
        let patience = (self.wait_peers > 0).then(|| Duration::from_secs(self.wait_peers));
        let (seed, ratio) = (self.seed, self.ratio);
        let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
        for handle in handles {
            let handle = handle.clone();
            running.spawn(async move {
                session::complete(&handle, patience).await?;
                if seed {
                    seeded(&handle, ratio).await;
                }
                Ok(())
            });
        }
        while let Some(done) = running.join_next().await {
            if let Err(failure) = done.map_err(Failure::other).flatten() {
                failures.add(failure);
            }
        }
    }
}

/// What went wrong with some of several torrents, while the others go on.
struct Failures {
    output: Output,
    first: Option<Failure>,
}

impl Failures {
    /// Reports it at once.
    fn add(&mut self, mut failure: Failure) {
        self.output.failed(&failure);
        failure.reported = true;
        self.first.get_or_insert(failure);
    }

    /// The first of them, for the exit code.
    fn result(self) -> Result<(), Failure> {
        self.first.map_or(Ok(()), Err)
    }
}

/// The torrent of a file or URL.
pub(crate) async fn load(source: &str, bind: Option<std::net::IpAddr>) -> Result<Torrent, Failure> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let bytes = engine::fetch_torrent(source, bind).await?;
        return Torrent::parse(&bytes).map_err(|error| Failure::torrent(source, &error));
    }
    super::read_torrent(source)
}

/// Until the torrent was sent `ratio` times; for ever without one.
async fn seeded(handle: &TorrentHandle, ratio: Option<f64>) {
    let Some(ratio) = ratio else { return std::future::pending().await };
    let mut every = tokio::time::interval(DRAW_EVERY);
    loop {
        every.tick().await;
        let stats = handle.stats();
        if stats.uploaded as f64 >= ratio * stats.total_bytes as f64 {
            return;
        }
    }
}

/// Draws every torrent's progress until it is aborted.
pub(crate) fn draw(handles: &[TorrentHandle], output: Output) -> tokio::task::JoinHandle<()> {
    let bar = |handle: &TorrentHandle| {
        (handle.clone(), Drawn(Progress::new(output, &session::name(handle))))
    };
    let bars: Vec<_> = handles.iter().map(bar).collect();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(DRAW_EVERY);
        loop {
            every.tick().await;
            for (handle, drawn) in &bars {
                drawn.0.torrent(&handle.stats());
            }
        }
    })
}

/// A bar that is cleared when its task is aborted.
struct Drawn(Progress);

impl Drop for Drawn {
    fn drop(&mut self) {
        self.0.finish();
    }
}
