//! `peerless seed`: gives what is there to whoever asks, until it is stopped.

use std::path::PathBuf;
use std::time::Instant;

use engine::AddTorrent;
use serde_json::json;

use super::drawing::draw;
use super::network;
use super::report;
use super::seeding::{self, SeedOptions};
use super::session::{self, Options};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Seed a torrent from a folder until stopped, or until it was seeded enough.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless seed ubuntu.torrent ~/Downloads
  peerless seed ubuntu.torrent ~/Downloads --port 6881
  peerless seed ubuntu.torrent ~/Downloads --ratio 2.0 --seed-time 30m
  peerless seed new.torrent ./new --super-seed

DIR is the folder that holds the payload under the torrent's own name, as `get -o DIR` leaves it. \
The data is checked first, unless an earlier run remembered it and it has not changed.")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
    /// The folder that holds the payload.
    dir: PathBuf,
    /// Tell each peer of one piece at a time, so that little more than one copy is sent: for the first
    /// seed of a torrent (BEP 16).
    #[arg(long)]
    super_seed: bool,
    /// Hash the data even if an earlier run remembered it.
    #[arg(long)]
    recheck: bool,
    #[command(flatten)]
    until: SeedOptions,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let torrent = super::read_torrent(&self.torrent)?;
        super::payload_folder(&self.dir)?;
        let interrupt = Interrupt::listen();
        let network = self.options.network()?;
        let peers = self.options.peers(&network).await?;
        let session = self.options.builder(&network, output)?.start().await?;
        let reporting = tokio::spawn(report::report(&session, output));
        let listing = tokio::spawn(network::list_on_signal(session.clone(), output));
        let following = tokio::spawn(self.options.follow_port(&session, output));
        let since = Instant::now();
        let request = AddTorrent::new(torrent, &self.dir)
            .peers(peers)
            .use_trackers(!self.options.no_tracker)
            .seed_only(true)
            .super_seed(self.super_seed)
            .seed_limits(self.until.limits())
            .recheck(self.recheck);
        let handle = session.add(request).await?;
        let drawing = draw(&handle, &network, output);
        let result = tokio::select! {
            result = serve(&session, &handle, output) => result,
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        drawing.end().await;
        session.shutdown().await;
        reporting.abort();
        listing.abort();
        following.abort();
        output.value(&session::summary(&handle, since));
        result
    }
}

async fn serve(
    session: &engine::Session,
    handle: &engine::TorrentHandle,
    output: Output,
) -> Result<(), Failure> {
    handle.checked().await?;
    let stats = handle.stats();
    let count = stats.pieces_total;
    if stats.pieces_have == 0 && count > 0 {
        let message = format!("none of the {count} pieces is there");
        return Err(Failure::new(Code::Verification, message).advise(super::PAYLOAD_FOLDER));
    }
    if stats.pieces_have < count {
        let have = stats.pieces_have;
        output.note(format_args!("{have} of {count} pieces are good; seeding those"));
    }
    let addresses = session.listen_addresses();
    let seeding = json!({
        "event": "seeding", "addresses": addresses, "pieces": stats.pieces_have, "pieces_total": count,
    });
    output.value(&session::named(seeding, &handle.torrent().info_hashes));
    let told = async {
        session.opened().await;
        for addr in &session.listen_addresses() {
            output.note(format_args!("seeding on {addr}"));
        }
        std::future::pending().await
    };
    tokio::select! {
        result = seeding::seeded(handle, output) => result,
        result = told => result,
    }
}
