//! `peerless peers`: what the trackers say.

use std::net::SocketAddr;
use std::time::Duration;

use engine::tracker::AnnounceReply;
use engine::wire::PeerId;
use engine::{AnnounceOptions, Subject, announce_all, scrape_all};
use serde_json::{Value, json};

use super::reach::Reach;
use super::source::Source;
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Ask every tracker of a torrent for peers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless peers ubuntu.torrent
  peerless peers ubuntu.torrent --scrape
  peerless peers --json ubuntu.torrent | jq -r '.peers[]'")]
pub(crate) struct Args {
    /// A .torrent file, an http(s) URL of one, or a magnet link.
    #[arg(value_name = "TORRENT, URL or MAGNET")]
    torrent: String,
    /// Ask for the swarm's counts only (BEP 48); nobody hears of us.
    #[arg(long)]
    scrape: bool,
    /// The port to announce; trackers hand it to others.
    #[arg(long, value_name = "N", default_value_t = 6881)]
    port: u16,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    proxy: super::proxy::Through,
    /// Let trackers be on loopback and private addresses.
    #[arg(long)]
    allow_private: bool,
    /// Seconds for each tracker.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let network = self.proxy.network(&self.reach)?;
        let torrent = match Source::of(&self.torrent, &network, &interrupt).await? {
            Source::Torrent(torrent) => Subject::from(&torrent),
            Source::Magnet(magnet) => Subject::from(&magnet),
        };
        if torrent.trackers.is_empty() {
            return Err(Failure::new(Code::NoPeers, format!("{}: no trackers", self.torrent)));
        }
        let mut rng = fastrand::Rng::new();
        let options = AnnounceOptions {
            peer_id: PeerId::generate(|| rng.u8(..)),
            port: self.port,
            network,
            allow_private: self.allow_private,
            timeout: Duration::from_secs(self.timeout.max(1)),
        };
        let asked = async {
            if self.scrape {
                scrape(&torrent, options, output).await
            } else {
                announce(&torrent, options, output).await
            }
        };
        tokio::select! {
            answered = asked => answered,
            () = interrupt.wait() => Err(Failure::interrupted()),
        }
    }
}

async fn announce(
    torrent: &Subject,
    options: AnnounceOptions,
    output: Output,
) -> Result<(), Failure> {
    let mut peers: Vec<SocketAddr> = Vec::new();
    let mut trackers: Vec<Value> = Vec::new();
    let mut answered = false;
    for report in announce_all(torrent, options).await {
        let mut families = serde_json::Map::new();
        let host = untrusted(&report.host);
        for (family, reply) in [("ipv4", report.answer.v4), ("ipv6", report.answer.v6)] {
            let Some(reply) = reply else { continue };
            let value = match reply {
                Ok(reply) => {
                    answered = true;
                    peers.extend(&reply.peers);
                    output.line(format_args!("{host} ({family}): {}", sentence(&reply)));
                    json!({
                        "peers": reply.peers, "interval": reply.interval.as_secs(),
                        "min_interval": reply.min_interval.map(|time| time.as_secs()),
                        "seeders": reply.seeders, "leechers": reply.leechers,
                        "external_ip": reply.external_ip, "warning": reply.warning,
                    })
                }
                Err(error) => {
                    let message = untrusted(&error.to_string());
                    output.line(format_args!("{host} ({family}): error: {message}"));
                    json!({ "error": message })
                }
            };
            families.insert(family.into(), value);
        }
        trackers.push(json!({
            "info_hash": report.info_hash.to_string(), "url": report.url, "tier": report.tier,
            "replies": families,
        }));
    }
    peers.sort_unstable();
    peers.dedup();
    for peer in &peers {
        output.line(peer);
    }
    output.value(&json!({
        "info_hash": torrent.info_hash.to_string(), "peers": peers, "trackers": trackers,
    }));
    outcome(answered)
}

fn sentence(reply: &AnnounceReply) -> String {
    let count = |count: Option<u32>| count.map_or("?".into(), |count| count.to_string());
    let mut text = format!(
        "{} peers, {} seeders, {} leechers, again in {}",
        reply.peers.len(),
        count(reply.seeders),
        count(reply.leechers),
        format::duration(reply.interval),
    );
    if let Some(warning) = &reply.warning {
        text.push_str(", warning: ");
        text.push_str(&untrusted(warning));
    }
    text
}

async fn scrape(
    torrent: &Subject,
    options: AnnounceOptions,
    output: Output,
) -> Result<(), Failure> {
    let mut trackers: Vec<Value> = Vec::new();
    let mut answered = false;
    let number = |count: Option<u32>| count.map_or("?".into(), |count| count.to_string());
    for report in scrape_all(torrent, options).await {
        let host = untrusted(&report.host);
        let value = match report.answer {
            Ok(Some(counts)) => {
                answered = true;
                output.line(format_args!(
                    "{host}: {} seeders, {} leechers, {} downloads",
                    number(counts.complete),
                    number(counts.incomplete),
                    number(counts.downloaded),
                ));
                json!({
                    "seeders": counts.complete, "leechers": counts.incomplete,
                    "downloads": counts.downloaded,
                })
            }
            Ok(None) => {
                answered = true;
                output.line(format_args!("{host}: does not know the torrent"));
                json!({ "error": "does not know the torrent" })
            }
            Err(error) => {
                let message = untrusted(&error.to_string());
                output.line(format_args!("{host}: error: {message}"));
                json!({ "error": message })
            }
        };
        trackers.push(json!({
            "info_hash": report.info_hash.to_string(), "url": report.url, "tier": report.tier,
            "scrape": value,
        }));
    }
    output.value(&json!({
        "info_hash": torrent.info_hash.to_string(), "trackers": trackers,
    }));
    outcome(answered)
}

fn outcome(answered: bool) -> Result<(), Failure> {
    if answered {
        return Ok(());
    }
    Err(Failure::new(Code::NoPeers, "no tracker answered")
        .advise("--allow-private lets trackers be on private addresses; -v shows more"))
}
