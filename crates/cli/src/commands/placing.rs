//! What a download may do with the files that are there: options of the commands that download.

use engine::AddTorrent;

/// How files that are there are met.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Files that are there")]
pub(crate) struct Placing {
    /// Hash what is there instead of trusting what an earlier run remembered.
    #[arg(long)]
    recheck: bool,
    /// Don't look for missing files among those of other torrents.
    #[arg(long)]
    no_search: bool,
    /// Cut longer files in the way, and write through hard links.
    #[arg(long)]
    overwrite: bool,
}

impl Placing {
    /// The request with it.
    pub(crate) fn apply(self, request: AddTorrent) -> AddTorrent {
        request.recheck(self.recheck).search(!self.no_search).overwrite(self.overwrite)
    }
}
