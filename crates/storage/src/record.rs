//! What is remembered of a torrent between two runs, and what a look at its files finds.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use metainfo::{InfoHash, PieceIndex};
use wire::Bitfield;

use crate::arrangement::Arrangement;
use crate::totals::Totals;

/// Names a record: the same torrent in two folders has two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Its download folder, as [`crate::FileStore::root`] has it.
    pub root: Arc<Path>,
}

/// Few torrents are in two folders, and hashing a path takes as long as all else of a look-up.
impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.info_hash.hash(state);
    }
}

/// A file's length and time of last change, by which changes from outside are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSeen {
    /// Bytes.
    pub length: u64,
    /// Last modification, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// How a torrent's files look on the disk right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The device number of the download folder's file system; `None` when the folder is not there.
    pub root_device: Option<u64>,
    /// For each file of the torrent; `None` when it is not there, and for pads and links. One more
    /// is the part store, if there is one.
    pub files: Vec<Option<FileSeen>>,
    /// Files whose shares of pieces that others have parts of too are in the part store.
    pub apart: BTreeSet<usize>,
}

/// The part of a record that changes while a torrent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Verified pieces that the kernel has taken.
    pub written: Bitfield,
    /// Those of them that were synced to the disk.
    pub durable: Bitfield,
    /// Which boot of the system this was written in, and by which mount of the folder: its kernel still has
    /// it after a kill. Set by [`crate::StateWriter`]; empty, which is no boot, once the kernel lost some of it.
    pub boot_id: Arc<str>,
    /// Whether the torrent was stopped in good order, with everything synced.
    pub clean: bool,
    /// When this was last saved, in nanoseconds since 1970. Set by [`crate::StateWriter`].
    pub committed_ns: i64,
    /// Device number of the download folder's file system. Set by [`crate::StateWriter`].
    pub root_device: Option<u64>,
    /// When the torrent was added, in seconds since 1970.
    pub added_at: i64,
    /// When its last piece arrived, in seconds since 1970.
    pub completed_at: Option<i64>,
}

impl Progress {
    /// Of a torrent of `piece_count` pieces, none of which is there.
    pub fn new(piece_count: u32, added_at: i64) -> Self {
        Self {
            written: Bitfield::new(piece_count),
            durable: Bitfield::new(piece_count),
            boot_id: Arc::default(),
            clean: false,
            committed_ns: 0,
            root_device: None,
            added_at,
            completed_at: None,
        }
    }

    /// A piece is verified and the kernel has it. True when that is news.
    pub fn add_written(&mut self, piece: PieceIndex) -> bool {
        self.written.insert(piece)
    }

    /// These pieces, all that were written before a good sync began, are on the disk. What was lost
    /// since is not. True when one of them is news.
    pub fn add_durable(&mut self, pieces: &Bitfield) -> bool {
        let before = self.durable.count();
        for piece in pieces.iter().filter(|piece| self.written.has(*piece)) {
            self.durable.insert(piece);
        }
        self.durable.count() > before
    }

    /// What is written and not durable may not be in the kernel any more. True when that is news.
    pub(crate) fn doubt_kernel(&mut self) -> bool {
        !std::mem::take(&mut self.boot_id).is_empty()
    }

    /// A piece that was written is not there any more. True when that is news.
    pub fn take_lost(&mut self, piece: PieceIndex) -> bool {
        self.durable.remove(piece);
        self.written.remove(piece)
    }
}

/// All that is remembered of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRecord {
    /// What changes as it runs.
    pub progress: Progress,
    /// The files as they were at the last save; as many as the torrent has, and one more if it had a
    /// part store.
    pub files: Vec<Option<FileSeen>>,
    /// The .torrent file, when the owner wants it kept.
    pub torrent: Option<Arc<[u8]>>,
    /// What its owner arranged.
    pub arrangement: Arrangement,
    /// What it moved, and for how long it ran.
    pub totals: Totals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_is_a_part_of_written() {
        let mut progress = Progress::new(3, 0);
        assert!(progress.add_written(0) && progress.add_written(1) && !progress.add_written(1));
        let synced = progress.written.clone();
        assert!(progress.take_lost(1), "while the disk was syncing");
        assert!(progress.add_written(2), "after the sync began");
        assert!(progress.add_durable(&synced) && !progress.add_durable(&synced));
        assert_eq!(progress.durable.iter().collect::<Vec<_>>(), [0]);
        assert!(progress.take_lost(0) && !progress.take_lost(0));
        assert_eq!((progress.durable.count(), progress.written.count()), (0, 1));
    }
}
