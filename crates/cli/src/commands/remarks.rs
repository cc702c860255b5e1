//! What to know of a .torrent that was just made of files: which of them it lacks, and where it calls them
//! something else than their owner does.

use std::path::{Path, PathBuf};

use engine::metainfo::{FileEntry, PathRules, SafePath, Torrent};
use engine::storage::Payload;
use serde_json::{Value, json};

use crate::format::untrusted;
use crate::output::Output;

/// Names shown of each kind.
const SHOWN_MAX: usize = 5;

/// Of one .torrent and the files that it was made of.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    /// What is no file, and links that were not kept.
    left_out: Vec<PathBuf>,
    /// Names that no client uses, this one included, and what becomes of them.
    changed: Vec<(String, String)>,
    /// Names that Windows can't have.
    not_on_windows: Vec<String>,
    /// A v2 torrent that has one file has no folder around it.
    lost_folder: bool,
}

impl Remarks {
    pub(super) fn of(payload: &Payload, torrent: &Torrent) -> Self {
        let info = &torrent.info;
        let mut remarks = Self {
            left_out: payload.skipped.clone(),
            lost_folder: info.is_single_file() && !payload.is_single_file,
            ..Self::default()
        };
        let of_files = |entry: &&FileEntry| !entry.attributes.pad;
        // Both are sorted by path.
        for (entry, file) in info.files().iter().filter(of_files).zip(&payload.files) {
            let folder = Some(&payload.name).filter(|_| !remarks.lost_folder);
            let names: Vec<&Vec<u8>> = folder.into_iter().chain(&file.components).collect();
            let shown = || String::from_utf8_lossy(&names_joined(&names)).into_owned();
            if !entry.path.components().eq(names.iter().copied()) {
                remarks.changed.push((shown(), entry.path.display()));
            }
            if SafePath::new(&names, PathRules::Windows).as_ref() != Some(&entry.path) {
                remarks.not_on_windows.push(shown());
            }
        }
        remarks
    }

    /// Files that can't be seeded from where they are.
    pub(super) fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(|(name, _)| name.as_str())
    }

    /// The folder that `seed` and `check` are to be given for files that are at `path`.
    pub(super) fn folder(&self, path: &Path) -> Option<PathBuf> {
        let whole = path.canonicalize().ok()?;
        if self.lost_folder { Some(whole) } else { whole.parent().map(Path::to_path_buf) }
    }

    pub(super) fn add_to(&self, document: &mut Value, path: &Path) {
        let changed =
            self.changed.iter().map(|(name, becomes)| json!({ "path": name, "becomes": becomes }));
        // As they are shown: JSON has no words for a path that is not UTF-8.
        let shown = |path: &PathBuf| path.display().to_string();
        document["folder"] = json!(self.folder(path).as_ref().map(shown));
        document["left_out"] = self.left_out.iter().map(shown).collect();
        document["changed_names"] = changed.collect();
        document["not_on_windows"] = json!(self.not_on_windows);
    }

    pub(super) fn tell(&self, path: &Path, output: Output) {
        if !self.left_out.is_empty() {
            let names = list(self.left_out.iter().map(|path| path.display().to_string()));
            output.note(format_args!(
                "left out: {names}; torrents have files and, with --symlinks, links that stay in their folder"
            ));
        }
        if !self.changed.is_empty() {
            let change = |(name, becomes): &(String, String)| format!("{name} as {becomes}");
            let names = list(self.changed.iter().map(change));
            output.note(format_args!(
                "names that no client uses: {names}; rename them and make the torrent again, or it \
                 can't be seeded from here"
            ));
        }
        if !self.not_on_windows.is_empty() {
            let names = list(self.not_on_windows.iter().cloned());
            output.note(format_args!(
                "names that Windows can't have, and that are changed there: {names}"
            ));
        }
        if let Some(folder) = self.folder(path).filter(|_| self.lost_folder) {
            let folder = untrusted(&folder.display().to_string());
            output.note(format_args!(
                "a v2 torrent of one file has no folder around it: `check` and `seed` need {folder}"
            ));
        }
    }
}

fn names_joined(names: &[&Vec<u8>]) -> Vec<u8> {
    names.iter().map(|name| name.as_slice()).collect::<Vec<_>>().join(&b'/')
}

/// A few of them, and how many there are besides.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(SHOWN_MAX);
    let shown: Vec<String> = names.take(SHOWN_MAX).map(|name| untrusted(&name)).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.join(", ") + &more
}
