//! `peerless piece`: one piece, verified.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use engine::AddTorrent;
use serde_json::json;

use super::session::{self, Options, Patience};
use crate::exit::Failure;
use crate::format::hex;
use crate::interrupt::Interrupt;
use crate::output::{self, Output};
use crate::result_file;

/// Download and verify one piece.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless piece ubuntu.torrent 7 -o piece.bin
  peerless piece ubuntu.torrent 0 --peer 192.0.2.7:6881 | sha1sum")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
    /// The piece, counted from 0.
    index: u32,
    /// Where to write it; default: stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing output file.
    #[arg(long)]
    force: bool,
    /// Give up after this long without any peer; 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait_peers: u64,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let torrent = super::read_torrent(&self.torrent)?;
        if self.output.is_none() && output.json {
            return Err(Failure::usage("with --json the piece can't go to stdout as well")
                .advise("give -o FILE"));
        }
        let to_terminal = self.output.is_none() && io::stdout().is_terminal();
        if to_terminal {
            return Err(Failure::usage("a piece is binary data: not written to a terminal")
                .advise("give -o FILE, or a pipe"));
        }
        if let Some(target) = &self.output {
            result_file::refuse_existing(target, self.force)?;
        }
        let interrupt = Interrupt::listen();
        let network = self.options.network()?;
        let peers = self.options.peers(&network).await?;
        // The piece goes through files like any other; they live in a folder of their own.
        let dir =
            tempfile::tempdir().map_err(|error| Failure::file(&std::env::temp_dir(), &error))?;
        let session = self
            .options
            .builder(&network, output)?
            .state(engine::StateLocation::Memory)
            .needs_network(true)
            .start()
            .await?;
        let request = AddTorrent::new(torrent, dir.path())
            .peers(peers)
            .use_trackers(!self.options.no_tracker)
            .wanted(vec![self.index]);
        let handle = session.add(request).await?;
        let patience = Patience::of(self.wait_peers);
        let fetched = async {
            session::complete(&handle, &patience).await?;
            Ok(handle.read_piece(self.index).await?)
        };
        let bytes = tokio::select! {
            bytes = fetched => bytes,
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        session.shutdown().await;
        let bytes = bytes?;
        if let Some(path) = &self.output {
            result_file::write(path, &bytes, self.force)?;
        } else {
            output::print(&bytes);
        }
        let hash = handle.torrent().info.piece_hash(self.index).map(|hash| hex(&hash));
        let written = self.output.as_ref().map(|path| path.display().to_string());
        output.value(&json!({
            "piece": self.index, "length": bytes.len(), "sha1": hash, "output": written,
        }));
        // A v2 torrent has none.
        let hash = hash.map_or(String::new(), |hash| format!(", SHA-1 {hash}"));
        output.note(format_args!("piece {}: {} bytes{hash}", self.index, bytes.len()));
        Ok(())
    }
}
