//! `peerless move`: a torrent's files to another folder, with all that is remembered of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{AddTorrent, Session, StateLocation, TorrentHandle};
use serde_json::json;

use super::session;
use crate::exit::Failure;
use crate::format;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// Move a torrent's files to another folder, on any disk; `get` and `seed` go on there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless move ubuntu.torrent /mnt/big --from ~/Downloads

The files are copied and read back, then the new place is remembered, then the old files go. Whatever \
happens on the way, one of the two places is whole, and nothing that exists is overwritten. End `get` \
and `seed` of this torrent first.")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
    /// The folder to move to; it is made if it is not there.
    to: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Where a torrent is now.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The folder that holds the payload now.
    #[arg(long, value_name = "DIR", default_value = ".")]
    from: PathBuf,
    /// Where resume state lives; default: the user's own state folder.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Place {
    /// The folder, as the engine names it.
    pub(crate) fn root(&self) -> PathBuf {
        self.from.canonicalize().unwrap_or_else(|_| self.from.clone())
    }

    /// A session that talks to nobody, with the torrent in it.
    pub(crate) async fn open(&self, torrent: &str) -> Result<(Session, TorrentHandle), Failure> {
        let torrent = super::read_torrent(torrent)?;
        super::payload_folder(&self.from)?;
        let state = session::state_directory(self.state_dir.as_ref())?;
        let builder = Session::builder().listen(false).state(StateLocation::Directory(state));
        let session = builder.start().await?;
        let request = AddTorrent::new(torrent, &self.from).seed_only(true).use_trackers(false);
        let handle = session.add(request).await?;
        handle.checked().await?;
        Ok((session, handle))
    }
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let (session, handle) = self.place.open(&self.torrent).await?;
        let bar = Progress::new(output, &session::name(&handle));
        let cancel = Arc::new(AtomicBool::new(false));
        let shown = move |now: engine::storage::MoveProgress| {
            bar.set(now.done_bytes, now.total_bytes, &format::bytes(now.done_bytes));
        };
        let moving = session.move_torrent(&handle, &self.to, shown, Arc::clone(&cancel));
        tokio::pin!(moving);
        let moved = tokio::select! {
            moved = &mut moving => moved,
            () = interrupt.wait() => {
                cancel.store(true, Ordering::Relaxed);
                moving.await
            }
        };
        let outcome = moved.map_err(Failure::other).map(|moved| moved.outcome);
        session.shutdown().await;
        if matches!(outcome, Ok(Err(engine::storage::StorageError::Cancelled))) {
            return Err(Failure::interrupted());
        }
        let left = outcome??;
        output.value(&json!({
            "event": "moved", "info_hash": handle.info_hash().to_string(), "to": self.to.display().to_string(),
            "left_behind": left,
        }));
        output.line(format_args!("moved to {}", self.to.display()));
        for path in left {
            output.note(format_args!("warning: {} could not be removed", path.display()));
        }
        Ok(())
    }
}
