//! `peerless rename`: another name for one file of a torrent, which is remembered.

use std::path::{Component, PathBuf};

use engine::metainfo::FileChoice;
use serde_json::json;

use super::move_torrent::Place;
use crate::exit::Failure;
use crate::output::Output;

/// Give a file of a torrent another name or folder; `get` and `seed` know it by that from then on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless rename series.torrent 3 'Season 1/03.mkv' --from ~/Downloads
  peerless rename series.torrent '*.nfo' readme.txt

A name without `/` stays in the folder that the file is in; any other is a path below the download \
folder. End `get` and `seed` of this torrent first. `check` goes by the torrent's own names.")]
pub(crate) struct Args {
    /// The .torrent file.
    torrent: String,
    /// The file: its number, as `peerless info` shows it, or a pattern that fits it alone.
    file: FileChoice,
    /// Its new name.
    name: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let leaves = |part| !matches!(part, Component::Normal(_) | Component::CurDir);
        if self.name.components().any(leaves) {
            let message = format!("{} is not below the download folder", self.name.display());
            return Err(Failure::usage(message)
                .advise("give a name or a path below it; `peerless move` goes to another folder"));
        }
        let (session, handle) = self.place.open(&self.torrent).await?;
        let info = &handle.torrent().info;
        let chosen =
            self.file.of_strict(info).map_err(|error| Failure::usage(error.to_string()))?;
        let mut files = (0..chosen.len()).filter(|file| chosen.get(*file) == Some(&true));
        let (Some(file), None) = (files.next(), files.next()) else {
            return Err(Failure::usage("more than one file is meant")
                .advise("name one; `peerless info` shows the numbers"));
        };
        let root = self.place.root();
        let now = handle.files().into_iter().find(|it| it.index == file).map(|it| it.path);
        let below = now.as_deref().and_then(|path| path.strip_prefix(&root).ok());
        let is_path = self.name.components().count() > 1;
        let path = match below.and_then(|below| below.parent()).filter(|_| !is_path) {
            Some(folder) => folder.join(&self.name),
            None => self.name.clone(),
        };
        let renamed = handle.rename_file(file, &path).await;
        session.shutdown().await;
        renamed?;
        output
            .value(&json!({"event": "renamed", "file": file, "path": path.display().to_string()}));
        output.line(format_args!("{} is {} now", file, path.display()));
        Ok(())
    }
}
