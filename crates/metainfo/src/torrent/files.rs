//! The file list of an `info` dictionary, made safe and unique.

use crate::bencode::Kind;

use super::names::Names;
use super::{
    FILES_MAX, FileAttributes, FileEntry, Node, PATH_DEPTH_MAX, PathRules, SafePath, TorrentError,
};

/// All files in order, the sum of their lengths, and whether the torrent is a single file.
pub(super) fn read(
    info: Node<'_, '_>,
    name: &[u8],
) -> Result<(Vec<FileEntry>, u64, bool), TorrentError> {
    let rules = PathRules::NATIVE;
    let root = root(name, rules)?;
    match (info.get(b"length"), info.get(b"files")) {
        (Some(_), Some(_)) => Err(TorrentError::BothLengthAndFiles),
        (None, None) => Err(TorrentError::Missing("length` or `files")),
        (Some(_), None) => {
            let length = length(info)?;
            // The one file can't be padding for another, nor a link to one.
            let attributes =
                FileAttributes { pad: false, symlink: false, ..FileAttributes::read(info) };
            let file = FileEntry {
                path: root,
                length,
                offset: 0,
                attributes,
                symlink_target: None,
                root: None,
            };
            Ok((vec![file], length, true))
        }
        (None, Some(files)) => {
            let files = files.list().ok_or(TorrentError::Missing("files"))?;
            let mut entries: Vec<FileEntry> = Vec::new();
            let mut names = Names::new(rules);
            let mut total: u64 = 0;
            for file in files {
                if entries.len() >= FILES_MAX {
                    return Err(TorrentError::TooManyFiles);
                }
                let entry = entry(file, &root, total, rules, &mut names)?;
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

/// What a torrent's own name makes of itself: a name of only dots still needs a place of its own.
pub(super) fn root(name: &[u8], rules: PathRules) -> Result<SafePath, TorrentError> {
    let root = SafePath::new([name], rules).or_else(|| SafePath::new(["_"], rules));
    root.ok_or(TorrentError::Missing("name"))
}

fn entry(
    file: Node<'_, '_>,
    root: &SafePath,
    offset: u64,
    rules: PathRules,
    names: &mut Names,
) -> Result<FileEntry, TorrentError> {
    if file.kind() != Kind::Dict {
        return Err(TorrentError::Missing("files"));
    }
    let mut attributes = FileAttributes::read(file);
    let length = match file.get(b"length") {
        None if attributes.symlink => 0, // may be omitted (BEP 47)
        _ => length(file)?,
    };
    // Data can only be a file's, whatever the file says it is.
    attributes.symlink &= length == 0 && !attributes.pad;
    offset
        .checked_add(length)
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or(TorrentError::LengthOverflow)?;
    let path = match path(file, b"path.utf-8").or_else(|| path(file, b"path")) {
        Some(path) if path.len() > PATH_DEPTH_MAX => {
            return Err(TorrentError::PathTooDeep(path.len()));
        }
        Some(path) => path,
        None if attributes.pad => vec![&b".pad"[..]], // never written: needs no name (BEP 47)
        None => return Err(TorrentError::Missing("path")),
    };
    let path = below(root, &path, rules).or_else(|| below(root, &[b"_"], rules));
    let path = if attributes.pad { path } else { path.and_then(|path| names.unique(path)) };
    let path = path.ok_or(TorrentError::Missing("path"))?;
    let symlink_target = if attributes.symlink { target(file, root, rules) } else { None };
    Ok(FileEntry { path, length, offset, attributes, symlink_target, root: None })
}

/// Where a symlink leads. A target that would have to be made safe first leads out of the folder
/// or nowhere: it is dropped, not bent.
pub(super) fn target(file: Node<'_, '_>, root: &SafePath, rules: PathRules) -> Option<SafePath> {
    let target = path(file, b"symlink path").filter(|path| path.len() <= PATH_DEPTH_MAX)?;
    let safe = below(root, &target, rules)?;
    safe.components().skip(1).eq(target).then_some(safe)
}

pub(super) fn length(node: Node<'_, '_>) -> Result<u64, TorrentError> {
    let value = super::number(node, "length")?;
    u64::try_from(value).map_err(|_| TorrentError::BadNumber { key: "length", value })
}

fn path<'a>(file: Node<'_, 'a>, key: &[u8]) -> Option<Vec<&'a [u8]>> {
    let components: Option<Vec<&[u8]>> =
        file.get(key)?.list()?.map(|part| part.as_bytes()).collect();
    components.filter(|components| !components.is_empty())
}

/// The names of files as the torrent has them, root included, where those on a disk had to be others.
/// Names that no URL or path can have are left out.
pub(super) fn as_written(info: Node<'_, '_>, entries: &[FileEntry]) -> Vec<(usize, Vec<Vec<u8>>)> {
    let Some(root) = super::preferred(info, b"name.utf-8", b"name") else { return Vec::new() };
    let files = info.get(b"files").and_then(|files| files.list());
    let rest: Vec<Vec<&[u8]>> = match files {
        None => vec![Vec::new()],
        Some(files) => {
            let named = |file| path(file, b"path.utf-8").or_else(|| path(file, b"path"));
            files.map(|file| named(file).unwrap_or_default()).collect()
        }
    };
    let paths = rest.into_iter().map(|rest| std::iter::once(root).chain(rest).collect::<Vec<_>>());
    let usable = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..") && !name.contains(&0);
    let differing = paths.zip(entries).enumerate().filter(|(_, (path, entry))| {
        !entry.attributes.pad
            && path.iter().all(usable)
            && !entry.path.components().eq(path.iter().copied())
    });
    differing.map(|(at, (path, _))| (at, path.into_iter().map(<[u8]>::to_vec).collect())).collect()
}

/// `None` when nothing safe is left of the components.
pub(super) fn below(root: &SafePath, components: &[&[u8]], rules: PathRules) -> Option<SafePath> {
    let path = SafePath::new(root.components().chain(components.iter().copied()), rules)?;
    path.components().nth(1)?;
    Some(path)
}

impl FileAttributes {
    pub(super) fn read(node: Node<'_, '_>) -> Self {
        let attr = node.get(b"attr").and_then(|attr| attr.as_bytes()).unwrap_or_default();
        Self {
            pad: attr.contains(&b'p'),
            executable: attr.contains(&b'x'),
            hidden: attr.contains(&b'h'),
            symlink: attr.contains(&b'l'),
        }
    }
}
