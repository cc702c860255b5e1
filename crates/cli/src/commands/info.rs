//! `peerless info`: what a .torrent file says.

use engine::metainfo::Torrent;
use serde_json::json;

use crate::exit::Failure;
use crate::format::{self, untrusted};
use crate::output::Output;

/// Show what a .torrent file says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless info ubuntu.torrent
  peerless info --json ubuntu.torrent | jq -r .magnet")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
}

impl Args {
    pub(crate) fn run(self, output: Output) -> Result<(), Failure> {
        let torrent = super::read_torrent(&self.torrent)?;
        if output.json {
            output.value(&document(&torrent));
        } else {
            text(&torrent, output);
        }
        Ok(())
    }
}

fn document(torrent: &Torrent) -> serde_json::Value {
    let (info, geometry) = (&torrent.info, torrent.info.geometry());
    let files = info.files().iter().map(|file| {
        let attributes = file.attributes;
        json!({
            "path": file.path.display(), "length": file.length, "offset": file.offset,
            "pad": attributes.pad, "executable": attributes.executable,
            "hidden": attributes.hidden, "symlink": attributes.symlink,
        })
    });
    json!({
        "name": info.name(),
        "info_hash": torrent.info_hash.to_string(),
        "total_length": geometry.total_length(),
        "piece_length": geometry.piece_length(),
        "piece_count": geometry.piece_count(),
        "private": info.is_private(),
        "single_file": info.is_single_file(),
        "files": files.collect::<Vec<_>>(),
        "trackers": torrent.trackers,
        "web_seeds": torrent.web_seeds,
        "comment": torrent.comment,
        "created_by": torrent.created_by,
        "creation_date": torrent.creation_date,
        "magnet": torrent.magnet(),
    })
}

fn text(torrent: &Torrent, output: Output) {
    let (info, geometry) = (&torrent.info, torrent.info.geometry());
    let row = |name: &str, value: String| output.line(format_args!("{name:<13}{value}"));
    let total = geometry.total_length();
    row("Name:", untrusted(&info.name()));
    row("Info hash:", torrent.info_hash.to_string());
    row("Size:", format!("{} ({total} bytes)", format::bytes(total)));
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
    let real: Vec<_> = info.files().iter().filter(|file| !file.attributes.pad).collect();
    output.line(format_args!("Files:       {}", real.len()));
    for file in real {
        let size = format::bytes(file.length);
        output.line(format_args!("  {size:>10}  {}", untrusted(&file.path.display())));
    }
}
