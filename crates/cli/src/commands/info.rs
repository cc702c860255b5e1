//! `peerless info`: what a .torrent file, or the metadata behind a magnet link, says.

use engine::metainfo::{Info, Magnet, MerkleHash, Torrent};
use engine::{FollowMagnet, Network};
use serde_json::json;

use super::magnet;
use super::session::{Options, Patience};
use super::source::Source;
use crate::exit::Failure;
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Show what a torrent is: by its file or its URL, or by a magnet link, whose metadata comes from peers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless info ubuntu.torrent
  peerless info --json ubuntu.torrent | jq -r .magnet
  peerless info https://example.org/a.torrent
  peerless info 'magnet:?xt=urn:btih:…&tr=…'
  zcat a.torrent.gz | peerless info -")]
pub(crate) struct Args {
    /// A .torrent file, an http(s) URL of one, or a magnet link.
    #[arg(value_name = "TORRENT, URL or MAGNET")]
    torrent: String,
    /// With a magnet link: give up after this long without any peer; 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait_peers: u64,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let network = self.options.network()?;
        let torrent = match Source::of(&self.torrent, &network, &interrupt).await? {
            Source::Torrent(torrent) => torrent,
            Source::Magnet(magnet) => self.ask_peers(magnet, &network, &interrupt, output).await?,
        };
        if output.json {
            output.value(&document(&torrent));
        } else {
            text(&torrent, output);
        }
        Ok(())
    }

    async fn ask_peers(
        &self,
        magnet: Magnet,
        network: &Network,
        interrupt: &Interrupt,
        output: Output,
    ) -> Result<Torrent, Failure> {
        let peers = self.options.peers(network).await?;
        let session = self.options.builder(network, output)?.needs_network(true).start().await?;
        let patience = Patience::of(self.wait_peers);
        let request = FollowMagnet::new(magnet).peers(peers).use_trackers(!self.options.no_tracker);
        let found = tokio::select! {
            found = magnet::find(&session, request, patience, output) => found,
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        session.shutdown().await;
        Ok(found?.torrent)
    }
}

fn document(torrent: &Torrent) -> serde_json::Value {
    let (info, geometry) = (&torrent.info, torrent.info.geometry());
    let files = info.files().iter().enumerate().map(|(index, file)| {
        let attributes = file.attributes;
        json!({
            "index": index,
            "path": file.path.display(), "length": file.length, "offset": file.offset,
            "pad": attributes.pad, "executable": attributes.executable,
            "hidden": attributes.hidden, "symlink": attributes.symlink,
            "root": file.root.map(hex),
        })
    });
    json!({
        "name": info.name(),
        "version": version(info),
        "info_hash": torrent.info_hash.to_string(),
        "info_hash_v1": torrent.info_hashes.v1().map(|hash| hash.to_string()),
        "info_hash_v2": torrent.info_hashes.v2().map(|hash| hash.to_string()),
        "lacks_piece_layers": torrent.lacks_layers(),
        "total_length": geometry.total_length(),
        "payload_length": payload_length(info),
        "piece_length": geometry.piece_length(),
        "piece_count": geometry.piece_count(),
        "private": info.is_private(),
        "single_file": info.is_single_file(),
        "files": files.collect::<Vec<_>>(),
        "trackers": torrent.trackers,
        "web_seeds": torrent.web_seeds,
        "http_seeds": torrent.http_seeds,
        "similar": similar(torrent),
        "collections": torrent.hints().collections,
        "comment": torrent.comment,
        "created_by": torrent.created_by,
        "creation_date": torrent.creation_date,
        "magnet": torrent.magnet(),
    })
}

fn text(torrent: &Torrent, output: Output) {
    let (info, geometry) = (&torrent.info, torrent.info.geometry());
    let row = |name: &str, value: String| output.line(format_args!("{name:<13}{value}"));
    let (total, padding) = (payload_length(info), padding(info));
    row("Name:", untrusted(&info.name()));
    row("Version:", version(info).into());
    match (torrent.info_hashes.v1(), torrent.info_hashes.v2()) {
        (Some(v1), Some(v2)) => {
            row("Info hash:", v1.to_string());
            row("v2 hash:", v2.to_string());
        }
        (_, Some(v2)) => {
            row("Info hash:", v2.to_string());
            row("Short hash:", torrent.info_hash.to_string());
        }
        _ => row("Info hash:", torrent.info_hash.to_string()),
    }
    row("Size:", format!("{} ({total} bytes)", format::bytes(total)));
    if padding > 0 {
        row("Padding:", format!("{}, never sent nor stored", format::bytes(padding)));
    }
    let piece_length = format::bytes(u64::from(geometry.piece_length()));
    row("Pieces:", format!("{} of {piece_length}", geometry.piece_count()));
    row("Private:", if info.is_private() { "yes" } else { "no" }.into());
    for (tier, urls) in torrent.trackers.iter().enumerate() {
        for url in urls {
            row("Tracker:", format!("{} (tier {})", untrusted(url), tier + 1));
        }
    }
    for url in &torrent.web_seeds {
        row("Web seed:", untrusted(url));
    }
    for url in &torrent.http_seeds {
        row("HTTP seed:", untrusted(url));
    }
    for hash in similar(torrent) {
        row("Similar:", hash);
    }
    for name in &torrent.hints().collections {
        row("Collection:", untrusted(name));
    }
    if let Some(comment) = &torrent.comment {
        row("Comment:", untrusted(comment));
    }
    if let Some(program) = &torrent.created_by {
        row("Created by:", untrusted(program));
    }
    if let Some(date) = torrent.creation_date {
        row("Created:", format::date(date));
    }
    row("Magnet:", torrent.magnet());
    let files = info.files().iter().enumerate();
    let real: Vec<_> = files.filter(|(_, file)| !file.attributes.pad).collect();
    output.line(format_args!("Files:       {}", real.len()));
    let digits = real.last().map_or(1, |(index, _)| index.to_string().len());
    for (index, file) in real {
        let (size, path) = (format::bytes(file.length), untrusted(&file.path.display()));
        output.line(format_args!("  {index:>digits$}  {size:>10}  {path}"));
        if let Some(root) = file.root {
            output.line(format_args!("  {:>digits$}              root {}", "", hex(root)));
        }
    }
}

/// Bytes of its files, without the padding of hybrids.
pub(super) fn payload_length(info: &Info) -> u64 {
    length(info, false)
}

fn padding(info: &Info) -> u64 {
    length(info, true)
}

fn length(info: &Info, of_padding: bool) -> u64 {
    let files = info.files().iter().filter(|file| file.attributes.pad == of_padding);
    files.map(|file| file.length).sum()
}

/// Torrents that may have the same files, in digits.
pub(super) fn similar(torrent: &Torrent) -> Vec<String> {
    torrent.hints().similar.iter().map(ToString::to_string).collect()
}

fn version(info: &Info) -> &'static str {
    match (info.has_v1(), info.has_v2()) {
        (true, true) => "hybrid",
        (false, true) => "v2",
        _ => "v1",
    }
}

fn hex(hash: MerkleHash) -> String {
    hash.map(|byte| format!("{byte:02x}")).concat()
}
