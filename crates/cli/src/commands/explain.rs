//! `peerless explain`: tries to download for a while, and says what the time went to.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::{
    AddTorrent, Amount, Explanation, Fact, Finding, FollowMagnet, TorrentHandle, TorrentState,
};
use serde_json::{Value, json};

use super::drawing::draw;
use super::magnet;
use super::placing::Placing;
use super::session::{self, Options, Patience};
use super::source::Source;
use super::totals;
use crate::exit::Failure;
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Causes with a smaller share are not printed: nobody would act on them.
const SHARE_MIN: f64 = 0.01;

/// Say why a download is slow or stands still: the causes, what shows them, and the next step.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless explain ubuntu.torrent -o ~/Downloads
  peerless explain ubuntu.torrent --peer 192.0.2.7:6881 --for 60
  peerless explain ubuntu.torrent --json | jq -r '.causes[0].cause'

It downloads as `peerless get` would, for so long, and keeps what came. Each second of each peer is \
charged to one cause; the cause of most comes first. The exit code is 0 when causes were named, \
whatever they are, and as for `get` when the download could not begin.")]
pub(crate) struct Args {
    /// A .torrent file, an http(s) URL of one, or a magnet link.
    #[arg(value_name = "TORRENT, URL or MAGNET")]
    torrent: String,
    /// The folder to download into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Watch for this long; less when it completes before.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let network = self.options.network()?;
        let peers = self.options.peers(&network).await?;
        let source = Source::of(&self.torrent, &network, &interrupt).await?;
        let session = self.options.builder(&network, output)?.start().await?;
        let request = match source {
            Source::Torrent(torrent) => AddTorrent::new(torrent, &self.output),
            Source::Magnet(magnet) => {
                let follow = FollowMagnet::new(magnet)
                    .peers(peers.iter().copied())
                    .use_trackers(!self.options.no_tracker);
                let patience = Patience::of(self.seconds);
                let found = tokio::select! {
                    found = magnet::find(&session, follow, patience, output) => found?,
                    () = interrupt.wait() => return Err(Failure::interrupted()),
                };
                found.into_request(&self.output)
            }
        };
        let request = request.peers(peers).use_trackers(!self.options.no_tracker);
        let handle = session.add(self.placing.apply(request)).await?;
        let since = Instant::now();
        let drawing = draw(&handle, &network, output);
        let watched = tokio::select! {
            done = handle.wait() => done.map_err(Failure::from),
            () = tokio::time::sleep(Duration::from_secs(self.seconds)) => Ok(()),
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        drawing.end().await;
        let explanation = handle.explain().await;
        if explanation.state != TorrentState::Stopped {
            show(&handle, &explanation, since.elapsed(), output);
        }
        session.shutdown().await;
        watched
    }
}

fn show(handle: &TorrentHandle, explanation: &Explanation, took: Duration, output: Output) {
    let stats = handle.stats();
    let name = session::name(handle);
    let causes: Vec<Value> = explanation.findings.iter().map(document).collect();
    output.value(&json!({
        "name": name,
        "info_hash": explanation.info_hash.to_string(),
        "complete": stats.wanted_left == 0 && stats.state != TorrentState::Checking,
        "elapsed_seconds": took.as_secs_f64(),
        "bytes": stats.total_bytes,
        "verified": stats.verified_bytes,
        "downloaded": stats.downloaded,
        "uploaded": stats.uploaded,
        "all_time": totals::document(handle),
        "download_rate": stats.download_rate,
        "peers": stats.peers,
        "addresses": stats.peers_known,
        "filtered": stats.filtered,
        "causes": causes,
    }));
    let rate = stats.downloaded as f64 / took.as_secs_f64().max(0.001);
    output.line(format_args!(
        "{}: {} of {} after {}; {} came ({}); {} peers",
        untrusted(&name),
        format::bytes(stats.verified_bytes),
        format::bytes(stats.total_bytes),
        format::duration(took),
        format::bytes(stats.downloaded),
        format::rate(rate as u64),
        stats.peers,
    ));
    if let Some(all) = totals::sentence(handle) {
        output.line(format_args!("  {all}"));
    }
    let worth = |finding: &&Finding| finding.share >= SHARE_MIN;
    for finding in explanation.findings.iter().filter(worth) {
        output.line(format_args!("{:>5.1}%  {}", finding.share * 100.0, finding.cause));
        if !finding.evidence.is_empty() {
            output.line(format_args!("        {}", evidence(finding)));
        }
        output.line(format_args!("        next: {}", finding.cause.next_step()));
    }
}

/// A finding in a sentence.
pub(crate) fn sentence(finding: &Finding) -> String {
    let evidence = match evidence(finding) {
        empty if empty.is_empty() => empty,
        some => format!(" ({some})"),
    };
    format!("{}{evidence}; next: {}", finding.cause, finding.cause.next_step())
}

/// A finding for programs.
pub(crate) fn document(finding: &Finding) -> Value {
    let fact = |fact: &Fact| {
        let (unit, value) = match &fact.amount {
            Amount::Count(count) => ("count", json!(count)),
            Amount::Bytes(bytes) => ("bytes", json!(bytes)),
            Amount::Rate(rate) => ("bytes per second", json!(rate)),
            Amount::Time(time) => ("seconds", json!(time.as_secs_f64())),
            Amount::Text(text) => ("text", json!(untrusted(text))),
            _ => ("unknown", Value::Null),
        };
        json!({ "name": fact.name, "value": value, "unit": unit })
    };
    json!({
        "cause": finding.cause.name(),
        "text": finding.cause.to_string(),
        "share": finding.share,
        "seconds": finding.time.as_secs_f64(),
        "evidence": finding.evidence.iter().map(fact).collect::<Vec<_>>(),
        "next_step": finding.cause.next_step(),
    })
}

fn evidence(finding: &Finding) -> String {
    let fact = |fact: &Fact| {
        let amount = match &fact.amount {
            Amount::Count(count) => count.to_string(),
            Amount::Bytes(bytes) => format::bytes(*bytes),
            Amount::Rate(rate) => format::rate(*rate),
            Amount::Time(time) if time.as_secs() < 10 => format!("{} ms", time.as_millis()),
            Amount::Time(time) => format::duration(*time),
            Amount::Text(text) => untrusted(text),
            _ => return None,
        };
        Some(format!("{}: {amount}", fact.name))
    };
    finding.evidence.iter().filter_map(fact).collect::<Vec<_>>().join(", ")
}
