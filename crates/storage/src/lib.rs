//! From verified blocks to files and back: everything of the engine that touches a disk.
//!
//! Received blocks live in an [`Arena`]. A complete piece goes to the [`Pools`], which hash it
//! where it lies and, if it is good, write it into the torrent's [`FileStore`]; bad data never
//! reaches a disk. [`Pools::check`] reads back what is there, [`StateWriter`] remembers it, and
//! [`resume`] decides how much of that memory to believe after a restart. [`Payload`] is the other
//! direction: from files to the piece hashes of a new .torrent.
//!
//! Nothing here knows of peers, and nothing waits on a network.
//!
//! Three sets of pieces are never confused: *verified* (the hash was good), *written* (the kernel
//! has the bytes) and *durable* (the disk has them).

mod arena;
mod arrangement;
mod beneath;
mod buffer;
mod check;
mod error;
mod file_layer;
mod handles;
mod hash_tree;
mod keepsake;
mod last_use;
mod memory;
mod mount;
mod pools;
mod record;
pub mod resume;
mod reuse;
mod shelf;
mod sqlite;
mod state;
mod store;
mod totals;
mod writer;

pub use arena::{Arena, Block};
pub use arrangement::Arrangement;
pub use check::{CheckProgress, CheckReport, FileReport, FileTrouble, check, hash_kernel};
pub use error::{Obstacle, StorageError};
pub use handles::{HandleCache, raise_file_limit};
pub use hash_tree::{HashTreeError, Payload, PayloadFile, PayloadHashes, Symlinks};
pub use keepsake::{load_keepsake, save_keepsake};
pub use memory::memory_total;
pub use pools::{
    PieceOutcome, PoolSettings, Pools, READ_BYTES_MAX, ReadBuffer, TreeCheck, Unproved,
};
pub use record::{FileSeen, Observed, Progress, RecordKey, ResumeRecord};
pub use reuse::{Reused, Search, reuse};
pub use shelf::{SHELF_FILES_MAX, Shelf, ShelfFile, Source, Wanted};
pub use sqlite::SqliteState;
pub use state::{MemoryState, Save, StateError, StateStore};
pub use store::{Effort, FileStore, MoveProgress, Moved, Root, Space, StoreOptions};
pub use sys::trim;
pub use totals::Totals;
pub use writer::{RecordHandle, StateWriter};
