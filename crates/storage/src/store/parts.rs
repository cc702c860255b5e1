//! The part store: one hidden file beside the payload for what a torrent has of files that are not
//! wanted. A piece that lies in several files is downloaded whole, and the bytes of a file that
//! nobody asked for must not make that file appear.
//!
//! Only pieces that several files have in common can need it, and each has a fixed place: its rank
//! among them times the piece length. So there is no index that a crash could leave wrong, and
//! whether a piece is there is said by its record and its hash, as of any other file. It goes through
//! the same handles, syncs and looks as the files, under the index after the last of them.
//!
//! A file is *apart* while its shares of such pieces are here. It becomes so when it is not wanted
//! and not on the disk. When it is wanted its shares are copied out and synced, then the record
//! says so, and only then may the part store go: a crash on the way leaves the shares where the
//! record says they are.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use metainfo::{FileAttributes, FileEntry, PathRules, PieceIndex, SafePath, Segment};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use wire::Bitfield;

use super::open::errno;
use super::{APART, FileStore, UNWANTED, is_link};
use crate::arrangement::Arrangement;
use crate::beneath;
use crate::error::StorageError;

/// Bytes copied at once.
const COPY_BYTES: usize = 256 * 1024;

/// Where the shared pieces of a torrent lie in its part store.
#[derive(Debug)]
pub(super) struct Parts {
    /// The pieces that have bytes of several files, in order.
    shared: Vec<PieceIndex>,
    entry: FileEntry,
}

impl FileStore {
    /// The index that the part store goes by: the one after the last file's.
    pub(crate) fn parts_index(&self) -> usize {
        self.info.files().len()
    }

    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let mut shared: Vec<PieceIndex> = Vec::new();
            for (file, entry) in self.info.files().iter().enumerate() {
                let of_file = self.info.pieces_of_file(file);
                if entry.attributes.pad || of_file.is_empty() {
                    continue;
                }
                for piece in [of_file.start, of_file.end - 1] {
                    if shared.last().is_none_or(|last| *last < piece) && self.is_shared(piece) {
                        shared.push(piece);
                    }
                }
            }
            let name = format!(".peerless-{}.parts", self.info.info_hash());
            let path = SafePath::new([&name], PathRules::NATIVE);
            let piece_length = u64::from(self.info.geometry().piece_length());
            let entry = FileEntry {
                // A name of hexadecimal digits is safe; the other is never needed.
                path: path.unwrap_or_else(|| self.first_path()),
                length: (shared.len() as u64).saturating_mul(piece_length),
                offset: 0,
                attributes: FileAttributes::default(),
                symlink_target: None,
                root: None,
            };
            Box::new(Parts { shared, entry })
        })
    }

    #[allow(clippy::indexing_slicing)] // every torrent has a file
    fn first_path(&self) -> SafePath {
        self.info.files()[0].path.clone()
    }

    pub(super) fn parts_entry(&self) -> &FileEntry {
        &self.parts().entry
    }

    /// Whether several files have bytes of the piece, pad files not counted.
    fn is_shared(&self, piece: PieceIndex) -> bool {
        let files = self.info.files_of_piece(piece).filter_map(|file| self.info.files().get(file));
        files.filter(|entry| entry.length > 0 && !entry.attributes.pad).take(2).count() > 1
    }

    /// Where a shared piece begins in the part store.
    fn place(&self, piece: PieceIndex) -> Option<u64> {
        let rank = self.parts().shared.binary_search(&piece).ok()?;
        Some(rank as u64 * u64::from(self.info.geometry().piece_length()))
    }

    /// Where a run of a file's bytes is: in the file, in the part store, or a bit of both.
    pub(crate) fn places(&self, segment: Segment) -> impl Iterator<Item = Segment> + use<> {
        let in_file = [None, Some(segment), None];
        let places = if self.is_apart(segment.file) { self.split(segment) } else { in_file };
        places.into_iter().flatten().filter(|segment| segment.length > 0)
    }

    /// Whether a file's shares are in the part store.
    pub(crate) fn is_apart(&self, file: usize) -> bool {
        self.any_apart.load(Ordering::Acquire) && self.is_marked(file, APART)
    }

    fn split(&self, segment: Segment) -> [Option<Segment>; 3] {
        let Some(entry) = self.info.files().get(segment.file) else { return [None; 3] };
        let pieces = self.info.pieces_of_file(segment.file);
        if pieces.is_empty() {
            return [None; 3];
        }
        let geometry = self.info.geometry();
        let (first, last) = (pieces.start, pieces.end - 1);
        let (start, end) =
            (entry.offset + segment.offset, entry.offset + segment.offset + segment.length);
        let in_parts = |piece: PieceIndex, from: u64, to: u64| {
            let at = self.place(piece)? + from.checked_sub(geometry.piece_offset(piece))?;
            let length = to.checked_sub(from)?;
            Some(Segment { file: self.parts_index(), offset: at, length })
        };
        // Up to here it shares the first piece, and from there on the last.
        let mut head = entry.offset;
        if self.place(first).is_some() {
            head = geometry.piece_offset(first) + u64::from(geometry.piece_size(first));
        }
        let mut tail = entry.end();
        if self.place(last).is_some() {
            tail = geometry.piece_offset(last).max(head);
        }
        let between = (start.max(head), end.min(tail));
        let own = between.1.checked_sub(between.0).map(|length| Segment {
            file: segment.file,
            offset: between.0.saturating_sub(entry.offset),
            length,
        });
        [in_parts(first, start, end.min(head)), own, in_parts(last, start.max(tail), end)]
    }

    /// Takes over what was arranged before. Looks at nothing. Call it before [`Self::observe`].
    pub fn arrange(&self, arrangement: &Arrangement) {
        for file in 0..self.parts_index() {
            self.set_mark(file, UNWANTED, !arrangement.is_wanted(file));
            self.set_mark(file, APART, arrangement.apart.contains(&file) && self.has_shares(file));
        }
        self.note_apart();
        self.set_names(&arrangement.names);
    }

    /// Which files are apart, for the record.
    pub fn apart(&self) -> BTreeSet<usize> {
        (0..self.parts_index()).filter(|file| self.is_apart(*file)).collect()
    }

    /// Whether the file has a part of a piece that others have parts of too.
    fn has_shares(&self, file: usize) -> bool {
        let entry = self.info.files().get(file);
        entry.is_some_and(|entry| entry.length > 0 && !entry.attributes.pad)
            && self.shares(file).next().is_some()
    }

    /// The pieces that the file shares.
    fn shares(&self, file: usize) -> impl Iterator<Item = PieceIndex> + use<'_> {
        let pieces = self.info.pieces_of_file(file);
        let last = pieces.end.checked_sub(1).filter(|last| *last > pieces.start);
        let ends = (!pieces.is_empty()).then_some(pieces.start).into_iter().chain(last);
        ends.filter(|piece| self.is_shared(*piece))
    }

    fn note_apart(&self) {
        let any = (0..self.parts_index()).any(|file| self.is_marked(file, APART));
        self.any_apart.store(any, Ordering::Release);
    }

    /// At the look before a torrent runs: files that are not on the disk are apart when they are not
    /// wanted, or when there is a part store that may have them. Returns whether there is one.
    pub(super) fn find_apart(&self, missing: &[usize], has_parts: impl FnOnce() -> bool) -> bool {
        let shares: Vec<usize> =
            missing.iter().copied().filter(|file| self.has_shares(*file)).collect();
        if shares.is_empty() && !self.any_apart.load(Ordering::Acquire) {
            return false;
        }
        let has_parts = has_parts();
        for file in shares {
            if has_parts || self.is_marked(file, UNWANTED) {
                self.set_mark(file, APART, true);
            }
        }
        self.note_apart();
        has_parts
    }

    /// Wants these files from now on and no others. A file that is not wanted and not on the disk
    /// will not be made.
    ///
    /// # Errors
    /// When the disk does not say what is there.
    pub fn choose(&self, arrangement: &Arrangement) -> Result<(), StorageError> {
        let _alone = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        let root = self.existing_root()?;
        for file in 0..self.parts_index() {
            let unwanted = !arrangement.is_wanted(file);
            if unwanted && !self.is_marked(file, UNWANTED) && self.has_shares(file) {
                let found = match &root {
                    Some(root) => self.look(root, file)?,
                    None => None,
                };
                if found.is_none() {
                    self.set_mark(file, APART, true);
                }
            }
            self.set_mark(file, UNWANTED, unwanted);
        }
        self.note_apart();
        Ok(())
    }

    /// Copies what the part store has of a file to where the file is, and syncs it: the file is no
    /// longer apart. `have` are the pieces that are there. The part store keeps its copy until
    /// [`Self::drop_parts`], which is to be called once the record knows.
    ///
    /// # Errors
    /// When the disk refuses. Then the file's shares stay in the part store.
    pub fn move_out(&self, file: usize, have: &Bitfield) -> Result<(), StorageError> {
        let _alone = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_apart(file) {
            return Ok(());
        }
        let entry = self.entry(file)?;
        let mut moved = false;
        for piece in self.shares(file) {
            if have.has(piece) || self.changes().in_parts.contains(&piece) {
                let geometry = self.info.geometry();
                let start = geometry.piece_offset(piece).max(entry.offset);
                let piece_end =
                    geometry.piece_offset(piece) + u64::from(geometry.piece_size(piece));
                let length = piece_end.min(entry.end()) - start;
                self.copy_out(Segment { file, offset: start - entry.offset, length })?;
                moved = true;
            }
        }
        if moved {
            self.sync_file(file)?;
            self.sync_folders_of(file)?;
        }
        self.set_mark(file, APART, false); // whether any is left is counted once, by `drop_parts`
        Ok(())
    }

    fn copy_out(&self, segment: Segment) -> Result<(), StorageError> {
        let to = self.writable(segment.file)?;
        self.refuse_cut(segment.file, &to)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = segment.offset;
        for place in self.places(segment).filter(|place| place.file == self.parts_index()) {
            let from = self.readable(place.file)?;
            let mut done = 0;
            while done < place.length {
                let step = (place.length - done).min(COPY_BYTES as u64) as usize;
                let part = buffer.get_mut(..step).unwrap_or_default();
                self.read_place(&from, place.file, part, place.offset + done)?;
                let written = to.write_all_at(part, at);
                written.map_err(|error| {
                    StorageError::on_open_file(self.file_path(segment.file), errno(&error))
                })?;
                done += step as u64;
                at += step as u64;
            }
        }
        self.wrote(segment.file, &to)
    }

    /// Removes the part store when no file is apart. Call it once the record says so too.
    ///
    /// # Errors
    /// When it is there and can't be removed.
    pub fn drop_parts(&self) -> Result<(), StorageError> {
        // A sync that is under way may be about to open it, and would keep what has no name.
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.placing.write().unwrap_or_else(PoisonError::into_inner);
        self.note_apart();
        if self.any_apart.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(root) = self.existing_root()? else { return Ok(()) };
        let index = self.parts_index();
        self.handles.forget(self.key(index));
        let path = &self.parts_entry().path;
        let (folder, name) = match beneath::folder_of(root.as_fd(), path) {
            Ok(found) => found,
            Err(error) => return Err(self.open_error(path, error)),
        };
        let folder = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.open_error(path, error)),
        }
        self.forget_file(index);
        let mut changes = self.changes();
        changes.unsynced.remove(&index);
        changes.seen.remove(&index);
        changes.in_parts.clear();
        Ok(())
    }

    /// The pieces that the part store has data of, as the file system tells.
    pub(super) fn parts_with_data(
        &self,
        extents: impl Iterator<Item = std::ops::Range<u64>>,
        pieces: &mut Bitfield,
    ) {
        let piece_length = u64::from(self.info.geometry().piece_length());
        for data in extents {
            let (first, last) = (data.start / piece_length, (data.end - 1) / piece_length);
            let ranks = (first as usize)..=(last as usize);
            for piece in ranks.filter_map(|rank| self.parts().shared.get(rank)) {
                pieces.insert(*piece);
            }
        }
    }

    /// Whether the torrent keeps nothing of the file under its name: it is not wanted, and was not
    /// there.
    pub(crate) fn is_unwanted(&self, file: usize) -> bool {
        self.is_marked(file, UNWANTED)
    }

    /// Where a file is below the root: under the torrent's name for it, or another that it was given.
    pub(crate) fn safe_path(&self, file: usize) -> Result<Cow<'_, SafePath>, StorageError> {
        let entry = self.entry(file)?;
        if self.any_renamed.load(Ordering::Acquire) {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(name) = names.get(&file) {
                return Ok(Cow::Owned(name.clone()));
            }
        }
        Ok(Cow::Borrowed(&entry.path))
    }

    /// Takes over the names that files were given.
    pub(super) fn set_names(&self, given: &std::collections::BTreeMap<usize, SafePath>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.clone_from(given);
        names.retain(|file, _| self.info.files().get(*file).is_some_and(|entry| !is_link(entry)));
        self.any_renamed.store(!names.is_empty(), Ordering::Release);
    }

    fn sync_folders_of(&self, file: usize) -> Result<(), StorageError> {
        let path = self.safe_path(file)?;
        let depth = path.components().count();
        for folder in path.under(&self.root).ancestors().skip(1).take(depth) {
            self.sync_folder(Path::to_path_buf(folder))?;
        }
        Ok(())
    }
}
