//! The file list of an `info` dictionary, made safe and unique.

use std::collections::HashSet;

use crate::bencode::Kind;

use super::{
    FILES_MAX, FileAttributes, FileEntry, Node, PathRules, SafePath, TorrentError, preferred,
};

/// All files in order, the sum of their lengths, and whether the torrent is a single file.
pub(super) fn read(
    info: Node<'_, '_>,
    name: &[u8],
) -> Result<(Vec<FileEntry>, u64, bool), TorrentError> {
    let rules = PathRules::NATIVE;
    // A name of only dots or nothing still needs a place of its own.
    let root = SafePath::new([name], rules).or_else(|| SafePath::new(["_"], rules));
    let root = root.ok_or(TorrentError::Missing("name"))?;
    match (info.get(b"length"), info.get(b"files")) {
        (Some(_), Some(_)) => Err(TorrentError::BothLengthAndFiles),
        (None, None) => Err(TorrentError::Missing("length` or `files")),
        (Some(_), None) => {
            let length = length(info)?;
            let attributes = attributes(info);
            let file =
                FileEntry { path: root, length, offset: 0, attributes, symlink_target: None };
            Ok((vec![file], length, true))
        }
        (None, Some(files)) => {
            let files = files.list().ok_or(TorrentError::Missing("files"))?;
            let mut entries: Vec<FileEntry> = Vec::new();
            let mut names = Names { rules, files: HashSet::new(), folders: HashSet::new() };
            let mut total: u64 = 0;
            for file in files {
                if entries.len() >= FILES_MAX {
                    return Err(TorrentError::TooManyFiles);
                }
                let entry = entry(file, &root, total, &mut names)?;
                total = entry.end();
                entries.push(entry);
            }
            if entries.is_empty() {
                return Err(TorrentError::NoFiles);
            }
            Ok((entries, total, false))
        }
    }
}

fn entry(
    file: Node<'_, '_>,
    root: &SafePath,
    offset: u64,
    names: &mut Names,
) -> Result<FileEntry, TorrentError> {
    if file.kind() != Kind::Dict {
        return Err(TorrentError::Missing("files"));
    }
    let length = length(file)?;
    offset
        .checked_add(length)
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or(TorrentError::LengthOverflow)?;
    let attributes = attributes(file);
    let components = path(file, b"path.utf-8").or_else(|| path(file, b"path"));
    let path = match components {
        Some(components) => below(root, &components, names.rules)
            .or_else(|| below(root, &[b"_"], names.rules))
            .ok_or(TorrentError::Missing("path"))?,
        // A pad file is never written, so it needs no name (BEP 47).
        None if attributes.pad => {
            below(root, &[b".pad"], names.rules).ok_or(TorrentError::Missing("path"))?
        }
        None => return Err(TorrentError::Missing("path")),
    };
    let path = if attributes.pad { path } else { names.unique(&path) };
    let symlink_target = attributes
        .symlink
        .then(|| self::path(file, b"symlink path"))
        .flatten()
        .and_then(|target| below(root, &target, names.rules));
    Ok(FileEntry { path, length, offset, attributes, symlink_target })
}

fn length(node: Node<'_, '_>) -> Result<u64, TorrentError> {
    let value = super::number(node, "length")?;
    u64::try_from(value).map_err(|_| TorrentError::BadNumber { key: "length", value })
}

fn path<'a>(file: Node<'_, 'a>, key: &[u8]) -> Option<Vec<&'a [u8]>> {
    let components: Option<Vec<&[u8]>> =
        file.get(key)?.list()?.map(|part| part.as_bytes()).collect();
    components.filter(|components| !components.is_empty())
}

/// `None` when nothing safe is left of the components.
fn below(root: &SafePath, components: &[&[u8]], rules: PathRules) -> Option<SafePath> {
    SafePath::new(components, rules)?;
    SafePath::new(root.components().chain(components.iter().copied()), rules)
}

fn attributes(node: Node<'_, '_>) -> FileAttributes {
    let attr = preferred(node, b"attr", b"attr").unwrap_or_default();
    FileAttributes {
        pad: attr.contains(&b'p'),
        executable: attr.contains(&b'x'),
        hidden: attr.contains(&b'h'),
        symlink: attr.contains(&b'l'),
    }
}

/// Every name given out, so that two files are never one, and a file never a folder.
struct Names {
    rules: PathRules,
    files: HashSet<Vec<u8>>,
    folders: HashSet<Vec<u8>>,
}

impl Names {
    fn unique(&mut self, path: &SafePath) -> SafePath {
        let mut folder_safe = self.away_from_files(path);
        let mut number: u32 = 1;
        while self.is_taken(&folder_safe) {
            number = number.saturating_add(1);
            folder_safe = self.away_from_files(path).numbered(number);
        }
        let key = folder_safe.collision_key(self.rules);
        for (end, _) in key.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if let Some(folder) = key.get(..end)
                && !self.folders.contains(folder)
            {
                self.folders.insert(folder.to_vec());
            }
        }
        self.files.insert(key);
        folder_safe
    }

    fn is_taken(&self, path: &SafePath) -> bool {
        let key = path.collision_key(self.rules);
        self.files.contains(&key) || self.folders.contains(&key)
    }

    /// The same path with any folder that is already a file renamed.
    fn away_from_files(&self, path: &SafePath) -> SafePath {
        let mut key = path.collision_key(self.rules);
        let mut components: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        let folders = components.len().saturating_sub(1);
        let mut changed = false;
        for depth in 0..folders {
            let end =
                key.iter().enumerate().filter(|(_, b)| **b == b'/').nth(depth).map(|(at, _)| at);
            let is_file =
                end.and_then(|end| key.get(..end)).is_some_and(|f| self.files.contains(f));
            if is_file && let Some(folder) = components.get_mut(depth) {
                folder.extend_from_slice(b" (folder)");
                changed = true;
                if let Some(path) = SafePath::new(&components, self.rules) {
                    key = path.collision_key(self.rules);
                }
            }
        }
        let renamed = if changed { SafePath::new(&components, self.rules) } else { None };
        renamed.unwrap_or_else(|| path.clone())
    }
}
