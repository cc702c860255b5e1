//! `peerless get`: downloads, verifies, and goes on where an earlier run stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use engine::metainfo::{InfoHashes, Magnet};
use engine::{AddError, AddTorrent, FollowMagnet, Session, TorrentHandle};
use serde_json::json;
use tokio::task::JoinSet;

use super::choosing::Choosing;
use super::drawing::draw;
use super::magnet;
use super::network;
use super::placing::Placing;
use super::report;
use super::seeding::{self, SeedOptions};
use super::session::{self, Options, Patience};
use super::source::Source;
use super::{explain, stalls};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Download torrents; run it again to go on after any stop.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless get ubuntu.torrent -o ~/Downloads
  peerless get https://example.org/a.torrent b.torrent
  peerless get 'magnet:?xt=urn:btih:…&tr=…'
  peerless get album.torrent --files '0,3-5,*.flac'
  peerless get a.torrent --peer 192.0.2.7:6881 --seed --ratio 1.5

Of several torrents each goes its own way: when one fails, the others go on, and the exit code is that \
of the first failure. Ctrl-C saves and stops; a second one stops at once.")]
pub(crate) struct Args {
    /// .torrent files, http(s) URLs of them, or magnet links.
    #[arg(required = true, value_name = "TORRENT, URL or MAGNET")]
    torrents: Vec<String>,
    /// The folder to download into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// A web seed (BEP 19) of these torrents besides those that they name: the URL of a folder, with
    /// a slash at its end, or of a single file; again for more.
    #[arg(long, value_name = "URL", value_parser = super::edit::url)]
    web_seed: Vec<String>,
    /// Go on seeding once complete.
    #[arg(long)]
    seed: bool,
    /// Give up after this long without any peer; 0: never. While the interface or address of --bind is
    /// not there, time does not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait_peers: u64,
    /// Take files that are below this folder already, under whatever name, by reflink or copy; again
    /// for more.
    #[arg(long, value_name = "DIR")]
    reuse: Vec<PathBuf>,
    #[command(flatten)]
    choosing: Choosing,
    #[command(flatten)]
    until: SeedOptions,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        self.until.need(self.seed)?;
        for folder in &self.reuse {
            std::fs::read_dir(folder).map_err(|error| {
                Failure::file(folder, &error).advise("--reuse takes a folder that can be read")
            })?;
        }
        let interrupt = Interrupt::listen();
        let mut failures = Failures { output, first: None };
        let network = self.options.network()?;
        let peers = self.options.peers(&network).await?;
        let mut sources: Vec<Source> = Vec::new();
        for text in &self.torrents {
            // The same torrent named twice is one download.
            match Source::of(text, &network, &interrupt).await {
                Err(failure) if failure.code == Code::Interrupted => return Err(failure),
                Err(failure) => failures.add(failure),
                Ok(source) if sources.iter().any(|it| it.is_the_same_as(&source)) => {}
                Ok(source) => sources.push(source),
            }
        }
        if sources.is_empty() {
            return failures.result();
        }
        let session = self.options.builder(&network, output)?.start().await?;
        let reporting = tokio::spawn(report::report(&session, output));
        let listing = tokio::spawn(network::list_on_signal(session.clone(), output));
        let following = tokio::spawn(self.options.follow_port(&session, output));
        let since = Instant::now();
        let getting = Arc::new(Getting {
            session: session.clone(),
            args: self,
            peers,
            output,
            handles: Mutex::default(),
        });
        let mut running: JoinSet<Result<(), Failure>> = JoinSet::new();
        for source in sources {
            match source {
                Source::Magnet(magnet) => drop(running.spawn(Arc::clone(&getting).magnet(magnet))),
                // In order: of two that want one file, the first has it.
                Source::Torrent(torrent) => {
                    let request = AddTorrent::new(torrent, &getting.args.output);
                    match getting.add(request).await {
                        Ok(None) => {}
                        Ok(Some(handle)) => {
                            drop(running.spawn(Arc::clone(&getting).finish(handle)));
                        }
                        Err(failure) => failures.add(failure),
                    }
                }
            }
        }
        let all = async {
            while let Some(done) = running.join_next().await {
                if let Err(failure) = done.map_err(Failure::other).flatten() {
                    failures.add(failure);
                }
            }
        };
        let interrupted = tokio::select! {
            () = all => false,
            () = interrupt.wait() => true,
        };
        running.shutdown().await;
        let handles =
            std::mem::take(&mut *getting.handles.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reasons = Vec::new();
        for handle in &handles {
            reasons.push(stalls::why_incomplete(handle).await);
        }
        session.shutdown().await;
        reporting.abort();
        listing.abort();
        following.abort();
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
}

/// What the downloads of one command share.
struct Getting {
    session: Session,
    args: Args,
    peers: Vec<SocketAddr>,
    output: Output,
    /// Those that began.
    handles: Mutex<Vec<TorrentHandle>>,
}

impl Getting {
    /// `None` when it is one of the others: a hybrid, given by both of its names.
    async fn add(&self, request: AddTorrent) -> Result<Option<TorrentHandle>, Failure> {
        let request = self.args.choosing.apply(request)?;
        let request = request
            .peers(self.peers.iter().copied())
            .web_seeds(self.args.web_seed.iter().cloned())
            .use_trackers(!self.args.options.no_tracker)
            .reuse(self.args.reuse.iter().cloned());
        let handle = match self.session.add(self.args.placing.apply(request)).await {
            Err(AddError::Duplicate(names)) => {
                self.same_torrent(&names);
                return Ok(None);
            }
            added => added?,
        };
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle.clone());
        Ok(Some(handle))
    }

    /// Two of those that were named turned out to be one torrent, which is got once.
    fn same_torrent(&self, names: &InfoHashes) {
        self.output.line(format_args!("{names}: one torrent, named twice; it is got once"));
        self.output.value(&session::named(json!({ "event": "same_torrent" }), names));
    }

    fn patience(&self) -> Patience {
        Patience::of(self.args.wait_peers).with(self.session.network())
    }

    /// First the metadata, then the rest.
    async fn magnet(self: Arc<Self>, magnet: Magnet) -> Result<(), Failure> {
        let name = magnet.hashes.on_the_wire();
        let request = FollowMagnet::new(magnet)
            .peers(self.peers.iter().copied())
            .use_trackers(!self.args.options.no_tracker);
        let found = magnet::find(&self.session, request, self.patience(), self.output).await;
        let found = match (found, self.session.torrent(&name)) {
            (Err(_), Some(there)) => {
                self.same_torrent(&there.torrent().info_hashes);
                return Ok(());
            }
            (found, _) => found?,
        };
        match self.add(found.into_request(&self.args.output)).await? {
            Some(handle) => self.finish(handle).await,
            None => Ok(()),
        }
    }

    /// Until it is complete, and seeded as asked, or failed.
    async fn finish(self: Arc<Self>, handle: TorrentHandle) -> Result<(), Failure> {
        let _drawing = draw(&handle, self.session.network(), self.output);
        let patience = self.patience();
        tokio::select! {
            completed = session::complete(&handle, &patience) => completed?,
            () = stalls::watch(&handle, self.output) => {}
        }
        if self.args.seed {
            handle.set_seed_limits(self.args.until.limits());
            seeding::seeded(&handle, self.output).await?;
        }
        Ok(())
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
