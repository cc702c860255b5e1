//! The `info` dictionary of a new torrent, key for key as libtorrent writes it, so that the same files
//! get the same info hash from both.

use crate::bencode::Encoder;
use crate::merkle::MerkleHash;
use crate::path::{PathRules, SafePath};
use crate::{CreateFile, CreateOptions, CreatePayload, TorrentError};

use super::{PieceHashes, padding_after};

/// All that goes into the dictionary.
pub(super) struct Description<'a> {
    pub(super) name: &'a [u8],
    pub(super) payload: &'a CreatePayload,
    pub(super) piece_length: u32,
    pub(super) hashes: PieceHashes<'a>,
    /// The root of each file's hash tree.
    pub(super) roots: &'a [Option<MerkleHash>],
    pub(super) options: &'a CreateOptions,
}

impl Description<'_> {
    pub(super) fn encode(&self) -> Result<Vec<u8>, TorrentError> {
        let format = self.options.format;
        let mut out = Encoder::new();
        out.begin_dict();
        match self.payload {
            CreatePayload::File { length, executable } => {
                let path = vec![self.name.to_vec()];
                let file = CreateFile {
                    path,
                    length: *length,
                    executable: *executable,
                    ..Default::default()
                };
                if format.has_v1() {
                    attributes(&file, &mut out);
                }
                self.collections(&mut out);
                if format.has_v2() {
                    self.tree(std::slice::from_ref(&file), &mut out)?;
                }
                if format.has_v1() {
                    out.key(b"length").int(int(*length));
                }
            }
            CreatePayload::Folder(files) => {
                self.collections(&mut out);
                if format.has_v2() {
                    self.tree(files, &mut out)?;
                }
                if format.has_v1() {
                    self.list(files, &mut out);
                }
            }
        }
        if format.has_v2() {
            out.key(b"meta version").int(2);
        }
        out.key(b"name").bytes(self.name);
        out.key(b"piece length").int(i64::from(self.piece_length));
        if format.has_v1() {
            out.key(b"pieces").bytes(self.hashes.v1);
        }
        if self.options.private {
            out.key(b"private").int(1);
        }
        if !self.options.similar.is_empty() {
            out.key(b"similar").begin_list();
            for hash in &self.options.similar {
                out.bytes(&hash.0);
            }
            out.end();
        }
        Ok(out.end().finish())
    }

    fn collections(&self, out: &mut Encoder) {
        if !self.options.collections.is_empty() {
            names(b"collections", &self.options.collections, out);
        }
    }

    /// `files`; a hybrid's have padding between them.
    fn list(&self, files: &[CreateFile], out: &mut Encoder) {
        out.key(b"files").begin_list();
        for file in files {
            out.begin_dict();
            attributes(file, out);
            out.key(b"length").int(int(file.length));
            names(b"path", &file.path, out);
            if let Some(target) = &file.symlink_target {
                names(b"symlink path", target, out);
            }
            out.end();
            let padding = padding_after(file.length, self.piece_length, files.len());
            if self.options.format.has_v2() && padding > 0 {
                out.begin_dict().key(b"attr").bytes(b"p").key(b"length").int(int(padding));
                names(b"path", &[&b".pad"[..], padding.to_string().as_bytes()], out);
                out.end();
            }
        }
        out.end();
    }

    /// `file tree`. The files are in its order, which is that of dictionaries, folder by folder.
    fn tree(&self, files: &[CreateFile], out: &mut Encoder) -> Result<(), TorrentError> {
        // A name twice, or one that is a file and a folder, can't be said; and another order would
        // give hashes to the wrong files.
        for pair in files.windows(2) {
            if let [before, file] = pair
                && (file.path <= before.path || file.path.starts_with(&before.path))
            {
                return Err(TorrentError::FileOrder(display(file)));
            }
        }
        out.key(b"file tree").begin_dict();
        let mut open: &[Vec<u8>] = &[];
        for (number, file) in files.iter().enumerate() {
            let Some((name, folders)) = file.path.split_last() else {
                return Err(TorrentError::Missing("path"));
            };
            let common = open.iter().zip(folders).take_while(|(a, b)| a == b).count();
            for _ in common..open.len() {
                out.end();
            }
            for folder in folders.iter().skip(common) {
                out.key(folder).begin_dict();
            }
            open = folders;
            out.key(name).begin_dict().key(b"").begin_dict();
            attributes(file, out);
            if file.symlink_target.is_none() {
                out.key(b"length").int(int(file.length));
            }
            if let Some(Some(root)) = self.roots.get(number) {
                out.key(b"pieces root").bytes(root);
            }
            if let Some(target) = &file.symlink_target {
                names(b"symlink path", target, out);
            }
            out.end().end();
        }
        for _ in open {
            out.end();
        }
        out.end();
        Ok(())
    }
}

fn attributes(file: &CreateFile, out: &mut Encoder) {
    let flags =
        [(file.hidden, b'h'), (file.executable, b'x'), (file.symlink_target.is_some(), b'l')];
    let attr: Vec<u8> = flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect();
    if !attr.is_empty() {
        out.key(b"attr").bytes(&attr);
    }
}

fn names(key: &[u8], names: &[impl AsRef<[u8]>], out: &mut Encoder) {
    out.key(key).begin_list();
    for name in names {
        out.bytes(name.as_ref());
    }
    out.end();
}

fn int(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn display(file: &CreateFile) -> String {
    SafePath::new(&file.path, PathRules::NATIVE).map_or_else(String::new, |path| path.display())
}
