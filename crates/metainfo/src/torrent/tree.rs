//! The `file tree` of a v2 torrent (BEP 52), made safe and unique as v1 file lists are.

use crate::bencode::Kind;
use crate::merkle::MerkleHash;

use super::files::{below, length, root, target};
use super::names::Names;
use super::{
    FILES_MAX, FileAttributes, FileEntry, Node, PATH_DEPTH_MAX, PathRules, SafePath, TorrentError,
};

/// The key that says that the dictionary around it is a file.
const FILE: &[u8] = b"";

/// All files in order, each at the begin of a piece, where the last one ends, and whether the torrent
/// is a single file. A tree alone says that a lone file at its root is one; a v1 description beside it
/// knows better.
pub(super) fn read(
    info: Node<'_, '_>,
    name: &[u8],
    single_file: Option<bool>,
    piece_length: u32,
) -> Result<(Vec<FileEntry>, u64, bool), TorrentError> {
    let tree = info.get(b"file tree").filter(|tree| tree.kind() == Kind::Dict);
    let tree = tree.ok_or(TorrentError::Missing("file tree"))?;
    let rules = PathRules::NATIVE;
    let mut reader = Reader {
        root: root(name, rules)?,
        piece_length: u64::from(piece_length),
        rules,
        names: Names::new(rules),
        files: Vec::new(),
        end: 0,
    };
    let mut children = tree.dict().into_iter().flatten();
    let lone = children.next().filter(|_| children.next().is_none());
    let single = lone.filter(|(name, node)| {
        single_file.unwrap_or(true) && !name.is_empty() && node.get(FILE).is_some()
    });
    if let Some((name, node)) = single {
        reader.root = root(name, rules)?;
        reader.entry(&[], node)?;
    } else {
        reader.walk(tree)?;
    }
    if reader.files.is_empty() {
        return Err(TorrentError::NoFiles);
    }
    Ok((reader.files, reader.end, single.is_some()))
}

struct Reader {
    root: SafePath,
    piece_length: u64,
    rules: PathRules,
    names: Names,
    files: Vec<FileEntry>,
    /// Where the last file ends.
    end: u64,
}

impl Reader {
    /// Every file of the tree. The stack is no deeper than paths may be.
    fn walk(&mut self, tree: Node<'_, '_>) -> Result<(), TorrentError> {
        let mut path: Vec<&[u8]> = Vec::new();
        let mut open = vec![tree.dict()];
        while let Some(children) = open.last_mut() {
            let Some((name, node)) = children.as_mut().and_then(Iterator::next) else {
                open.pop();
                path.pop();
                continue;
            };
            if name == FILE {
                // Where a file may be, it was looked for before.
                return Err(TorrentError::RootIsFile);
            }
            if node.kind() != Kind::Dict {
                return Err(TorrentError::Missing("file tree"));
            }
            path.push(name);
            if path.len() > PATH_DEPTH_MAX {
                return Err(TorrentError::PathTooDeep(path.len()));
            }
            if self.entry(&path, node)? {
                path.pop();
            } else {
                open.push(node.dict());
            }
        }
        Ok(())
    }

    /// Takes a file; false when the dictionary is a folder.
    fn entry(&mut self, path: &[&[u8]], node: Node<'_, '_>) -> Result<bool, TorrentError> {
        let Some(file) = node.get(FILE) else {
            return Ok(false);
        };
        if node.dict().into_iter().flatten().nth(1).is_some() {
            return Err(TorrentError::FileWithSiblings(self.display(path)));
        }
        self.file(path, file)?;
        Ok(true)
    }

    fn display(&self, path: &[&[u8]]) -> String {
        let inside = if path.is_empty() { None } else { below(&self.root, path, self.rules) };
        inside.unwrap_or_else(|| self.root.clone()).display()
    }

    /// The file at `path`; the torrent's own, where that is empty.
    fn file(&mut self, path: &[&[u8]], node: Node<'_, '_>) -> Result<(), TorrentError> {
        if node.kind() != Kind::Dict {
            return Err(TorrentError::Missing("file tree"));
        }
        if self.files.len() >= FILES_MAX {
            return Err(TorrentError::TooManyFiles);
        }
        let mut attributes = FileAttributes::read(node);
        if attributes.pad {
            return Err(TorrentError::PadInTree(self.display(path)));
        }
        let length = match node.get(b"length") {
            None if attributes.symlink => 0, // may be omitted (BEP 47)
            _ => length(node)?,
        };
        attributes.symlink &= length == 0 && !path.is_empty();
        let root = node.get(b"pieces root").map(|root| root.as_bytes());
        let root: Option<MerkleHash> = match (root, length) {
            (None, 0) => None,
            (Some(Some(root)), 1..) => root.try_into().ok(),
            _ => return Err(TorrentError::PiecesRoot(self.display(path))),
        };
        if length > 0 && root.is_none() {
            return Err(TorrentError::PiecesRoot(self.display(path)));
        }
        let begin = self.end.div_ceil(self.piece_length).checked_mul(self.piece_length);
        let place = begin.and_then(|begin| Some((begin, begin.checked_add(length)?)));
        let (offset, end) = place
            .filter(|(_, end)| i64::try_from(*end).is_ok())
            .ok_or(TorrentError::LengthOverflow)?;
        let name = match path {
            [] => Some(self.root.clone()),
            path => below(&self.root, path, self.rules)
                .or_else(|| below(&self.root, &[b"_"], self.rules)),
        };
        let name = name.and_then(|name| self.names.unique(name));
        let path = name.ok_or(TorrentError::Missing("file tree"))?;
        let link = attributes.symlink.then(|| target(node, &self.root, self.rules));
        let symlink_target = link.flatten();
        self.files.push(FileEntry { path, length, offset, attributes, symlink_target, root });
        self.end = end;
        Ok(())
    }
}
