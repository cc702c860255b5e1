//! One torrent's files under a folder.
//!
//! Files and folders are made when the first piece for them is written, at their final length but
//! without occupying space (sparse). Pad files (BEP 47) are never made and read as zeros. What was
//! there before is respected: no file is cut, written through a hard link or replaced without
//! consent, links below the folder are never followed, and a file or folder that disappears while
//! the torrent runs is not silently made again.

mod cached;
mod effort;
mod extents;
mod intact;
mod layout;
mod moving;
mod open;
mod parts;
mod read;
mod root;
mod strangers;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod testing_v2;
#[cfg(test)]
mod tests;
mod write;
mod write_back;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use metainfo::merkle::MerkleHash;
use metainfo::{FileEntry, Info, PieceIndex, PieceLayers, PieceTree, SafePath};

use crate::error::StorageError;
use crate::handles::{HandleCache, HandleKey};
use crate::mount::Mount;
use crate::record::FileSeen;

pub use effort::Effort;
pub use moving::{MoveProgress, Moved};
pub(crate) use read::Extent;
pub use root::Root;
pub(crate) use write::{PieceBlocks, slices};
#[cfg(test)]
pub(crate) use write_back::FRESH_BYTES;

/// What the owner of a torrent consents to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Cut existing files that are longer than the torrent's, and write through hard links.
    pub overwrite: bool,
}

/// Room on the file system a torrent goes to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free for this user.
    pub free: u64,
    /// What the torrent's files will still take, beyond what they occupy.
    pub needed: u64,
}

/// One torrent's files on a local disk. Usable from any thread; every method but the getters may
/// wait for the disk.
#[derive(Debug)]
pub struct FileStore {
    id: u64,
    root: Arc<Path>,
    info: Arc<Info>,
    /// The hashes of a v2 torrent's pieces, as far as they are known.
    layers: RwLock<Arc<PieceLayers>>,
    handles: Arc<HandleCache>,
    options: StoreOptions,
    device: u64,
    mount: Mount,
    /// Device and inode of the root, once there is one: another volume in its place is noticed.
    root_identity: OnceLock<(u64, u64)>,
    /// One for each file, and one for the part store.
    marks: Vec<AtomicU8>,
    parts: OnceLock<Box<parts::Parts>>,
    /// It is known which files were there before this store was opened.
    looked: AtomicBool,
    /// A file is marked as apart.
    any_apart: AtomicBool,
    /// Held for writing while a file's bytes change places.
    placing: RwLock<()>,
    names: RwLock<BTreeMap<usize, SafePath>>,
    /// There is one in `names`.
    any_renamed: AtomicBool,
    /// Most seeds have none.
    changes: OnceLock<Box<Mutex<Changes>>>,
    /// A file in `changes` has enough new data for [`FileStore::begin_write_back`].
    write_back_is_due: AtomicBool,
    /// Held during a sync: a second one must not return while the first, which took all there was
    /// to do, is still at it.
    syncing: Mutex<()>,
    /// Held while writing to a file, by its index: the kernel lets one in at a time anyway, and
    /// whoever waits there spins instead of leaving the core to somebody else. Most seeds never write.
    writing: OnceLock<Box<[Mutex<()>; WRITE_TURNS]>>,
    spent: effort::Spent,
}

/// Files of a torrent that are written at once. More than there are threads that write.
const WRITE_TURNS: usize = 16;

/// Numbers stores, whichever cache and pools they use.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The file was there at some time while this store was open.
const SEEN: u8 = 1;
/// The file was made by this store.
const OURS: u8 = 2;
/// Its shares of pieces that it has in common with others are in the part store.
const APART: u8 = 4;
/// Its owner does not want it.
const UNWANTED: u8 = 8;

/// It had its full length.
const WHOLE: u8 = 16;
/// What was written to it has no name any more.
const LOST: u8 = 32;

/// What happened since somebody last asked.
#[derive(Debug, Default)]
struct Changes {
    /// Files written since the last sync.
    unsynced: BTreeSet<usize>,
    /// Bytes written to files since their last sync or [`FileStore::begin_write_back`].
    fresh: BTreeMap<usize, u64>,
    /// Folders with new entries since the last sync.
    unsynced_folders: BTreeSet<PathBuf>,
    /// Files whose sync or write-back failed, and how; see [`FileStore::sync`].
    not_durable: BTreeMap<usize, String>,
    /// Files as they were right after our last write to them, since [`FileStore::take_seen`].
    seen: BTreeMap<usize, FileSeen>,
    /// Bytes that a file had, of those that never had all.
    lengths: BTreeMap<usize, u64>,
    /// The files that were opened to be written, by the numbers that the file system has for them.
    inodes: BTreeMap<u64, usize>,
    /// Pieces with bytes that went to the part store while this store was open.
    in_parts: BTreeSet<PieceIndex>,
}

impl FileStore {
    /// The torrent under `root`, which need not exist yet. Looks at nothing but `root`.
    ///
    /// # Errors
    /// When `root` is not a folder or can't be looked at.
    pub fn open(
        root: &Path,
        info: Arc<Info>,
        handles: Arc<HandleCache>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, StorageError> {
        Ok(Self::open_in(&Root::find(root)?, info, handles, options))
    }

    /// The same in a folder that was looked up. Looks at nothing.
    pub fn open_in(
        root: &Root,
        info: Arc<Info>,
        handles: Arc<HandleCache>,
        options: StoreOptions,
    ) -> Arc<Self> {
        let marks = (0..=info.files().len()).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root: Arc::clone(root.path()),
            info,
            layers: RwLock::default(),
            handles,
            options,
            device: root.device,
            mount: root.mount,
            root_identity: root.identity().map_or_else(OnceLock::new, OnceLock::from),
            marks,
            parts: OnceLock::new(),
            looked: AtomicBool::new(false),
            any_apart: AtomicBool::new(false),
            placing: RwLock::default(),
            names: RwLock::default(),
            any_renamed: AtomicBool::new(false),
            changes: OnceLock::new(),
            write_back_is_due: AtomicBool::new(false),
            syncing: Mutex::default(),
            writing: OnceLock::new(),
            spent: effort::Spent::default(),
        })
    }

    /// The torrent.
    pub fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// The hashes of a v2 torrent's pieces, as far as they are known.
    pub fn layers(&self) -> Arc<PieceLayers> {
        Arc::clone(&self.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what the hashes of its pieces are. Without them a check finds no piece of a v2 torrent
    /// good that has more than one in its file.
    pub fn set_layers(&self, layers: Arc<PieceLayers>) {
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = layers;
    }

    /// One file's layer more, which its root proves.
    pub fn add_layer(&self, root: MerkleHash, layer: &[MerkleHash]) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut layers).add_proved(root, layer);
    }

    /// What a piece's blocks lead up to, if that is known.
    pub(crate) fn piece_tree(&self, piece: PieceIndex) -> Option<PieceTree> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).piece_tree(&self.info, piece)
    }

    /// The download folder: absolute, and with links on the way to it resolved where it exists.
    pub fn root(&self) -> &Arc<Path> {
        &self.root
    }

    /// Where a file of the torrent is or will be.
    pub fn file_path(&self, file: usize) -> PathBuf {
        self.safe_path(file).map_or_else(|_| self.root.to_path_buf(), |path| path.under(&self.root))
    }

    /// Names this boot of the system and this mount of the folder: as long as both are the same, the kernel
    /// has what it took. For [`crate::resume::plan`].
    pub fn boot_id(&self) -> Arc<str> {
        self.mount.boot_id()
    }

    /// Closes all files, for a torrent at rest. They are opened again when needed.
    pub fn close_files(&self) {
        self.handles.forget_store(self.id);
    }

    /// The files written since the last call, as they were right after the write.
    pub(crate) fn take_seen(&self) -> BTreeMap<usize, FileSeen> {
        let changes = self.changes.get().map(|_| self.changes());
        changes.map_or_else(BTreeMap::new, |mut changes| std::mem::take(&mut changes.seen))
    }

    /// Number of the device that the files are on, for queues that must not mix devices.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Distinguishes this store from all others of the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn key(&self, file: usize) -> HandleKey {
        HandleKey { store: self.id, file }
    }

    fn mark(&self, file: usize, mark: u8) {
        if let Some(marks) = self.marks.get(file) {
            marks.fetch_or(mark, Ordering::Relaxed);
        }
    }

    fn set_mark(&self, file: usize, mark: u8, set: bool) {
        match self.marks.get(file) {
            Some(marks) if set => _ = marks.fetch_or(mark, Ordering::Relaxed),
            Some(marks) => _ = marks.fetch_and(!mark, Ordering::Relaxed),
            None => {}
        }
    }

    fn is_marked(&self, file: usize, mark: u8) -> bool {
        self.marks.get(file).is_some_and(|marks| marks.load(Ordering::Relaxed) & mark != 0)
    }

    /// Every change under this lock is a single insertion, so it is whole whoever panicked.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        let changes = self.changes.get_or_init(Box::default);
        changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.close_files();
    }
}

/// Whether a file of the torrent is a link rather than bytes (BEP 47).
fn is_link(entry: &FileEntry) -> bool {
    entry.attributes.symlink && entry.length == 0
}
