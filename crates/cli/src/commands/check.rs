//! `peerless check`: is the data on the disk what the torrent says?

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::metainfo::Torrent;
use engine::storage::{CheckReport, FileReport, FileTrouble};
use serde_json::json;

use super::session;
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// Verify every piece with all cores; name damaged files and pieces.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless check ubuntu.torrent ~/Downloads
  peerless check --json ubuntu.torrent ~/Downloads | jq .damaged

DIR is the folder that holds the payload under the torrent's own names. Files that `peerless rename` \
gave others are missing there; `peerless seed --recheck` knows them.")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
    /// The folder that holds the payload.
    dir: PathBuf,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let torrent = super::read_torrent(&self.torrent)?;
        super::payload_folder(&self.dir)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let progress = Progress::new(output, &torrent.info.name());
        let stop = Arc::clone(&cancel);
        let checking = {
            let (torrent, dir) = (torrent.clone(), self.dir.clone());
            tokio::task::spawn_blocking(move || {
                let shown = |now: engine::storage::CheckProgress| {
                    progress.set(now.done_bytes, now.total_bytes, &format::bytes(now.done_bytes));
                };
                engine::check(&torrent, &dir, shown, &stop)
            })
        };
        let interrupt = Interrupt::listen();
        let report = tokio::select! {
            report = checking => report.map_err(Failure::other)??,
            () = async {
                interrupt.wait().await;
                cancel.store(true, Ordering::Relaxed);
                std::future::pending::<()>().await;
            } => return Err(Failure::interrupted()),
        };
        if report.cancelled {
            return Err(Failure::interrupted());
        }
        show(&torrent, &report, output);
        if report.good.is_full() && report.files.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} of {} pieces are good",
            report.good.count(),
            torrent.info.geometry().piece_count()
        );
        let unreadable = |file: &FileReport| matches!(file.trouble, FileTrouble::Unreadable(_));
        if report.files.iter().any(unreadable) {
            return Err(Failure::new(Code::Disk, format!("{message}, and not all could be read"))
                .advise("see to the files that can't be read, and check again"));
        }
        let too_long = |file: &&FileReport| matches!(file.trouble, FileTrouble::Longer { .. });
        let too_long = report.files.iter().filter(too_long).count();
        if report.good.is_full() && too_long == report.files.len() {
            let message =
                format!("all pieces are good, but {too_long} files go on behind their ends");
            return Err(Failure::new(Code::Verification, message)
                .advise("cut them to the length that is named; seeding does not need it"));
        }
        let is_missing = |file: &FileReport| matches!(file.trouble, FileTrouble::Missing);
        let advice = if report.files.iter().all(is_missing) && report.good.count() == 0 {
            super::PAYLOAD_FOLDER
        } else {
            "`peerless get` into the same folder fetches what is missing"
        };
        Err(Failure::new(Code::Verification, message).advise(advice))
    }
}

fn show(torrent: &Torrent, report: &CheckReport, output: Output) {
    let pieces = torrent.info.geometry().piece_count();
    let files = report.files.iter();
    let found = json!({
        "pieces": pieces,
        "good": report.good.count(),
        "damaged": report.damaged,
        "missing": report.missing.iter().collect::<Vec<_>>(),
        "complete": report.good.is_full(),
        "files": files.map(|file| json!({
            "path": file.path.display().to_string(), "problem": problem(&file.trouble),
        })).collect::<Vec<_>>(),
    });
    output.value(&session::named(found, &torrent.info_hashes));
    for file in &report.files {
        let path = untrusted(&file.path.display().to_string());
        output.line(format_args!("{path}: {}", untrusted(&problem(&file.trouble))));
    }
    for piece in &report.damaged {
        output.line(format_args!("piece {piece} is damaged"));
    }
    if report.good.is_full() && report.files.is_empty() {
        output.line(format_args!("all {pieces} pieces are good"));
    }
}

fn problem(trouble: &FileTrouble) -> String {
    match trouble {
        FileTrouble::Missing => "missing".into(),
        FileTrouble::Short { length, expected } => {
            format!("too short: {length} of {expected} bytes")
        }
        FileTrouble::Longer { length, expected } => {
            format!("too long: {length} bytes where {expected} belong")
        }
        FileTrouble::Damaged { pieces } => format!("damaged in {} pieces", pieces.len()),
        FileTrouble::Incomplete { pieces } => format!("{pieces} pieces were never written"),
        FileTrouble::Unreadable(error) => format!("can't be read: {error}"),
        other => format!("{other:?}"),
    }
}
