//! Files without a session: is the data good, and what .torrent describes it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metainfo::{CreateFile, CreateOptions, CreatePayload, PieceHashes, Torrent};
use storage::{
    CheckProgress, CheckReport, FileStore, HandleCache, HashTreeError, Payload, StorageError,
    StoreOptions, Symlinks,
};
use wire::Bitfield;

/// Why no .torrent was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The files can't be hashed.
    #[error(transparent)]
    Files(#[from] HashTreeError),
    /// The metainfo can't say it.
    #[error(transparent)]
    Metainfo(#[from] metainfo::TorrentError),
}

impl CreateError {
    /// Whether the caller ended it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Files(HashTreeError::Cancelled))
    }
}

/// Hashes the file or folder at `path` with all cores and returns the bytes of its .torrent. The
/// same files and options give the same bytes. Blocks; `cancel` ends it. `progress` is called from
/// several threads.
///
/// # Errors
/// [`CreateError`], naming the path.
pub fn create(
    path: &Path,
    options: &CreateOptions,
    progress: impl Fn(CheckProgress) + Sync,
    cancel: &AtomicBool,
) -> Result<Vec<u8>, CreateError> {
    let payload = Payload::walk(path, Symlinks::Skip)?;
    for skipped in &payload.skipped {
        tracing::warn!(path = %skipped.display(), "left out: not a file, or a link");
    }
    create_of(&payload, options, progress, cancel)
}

/// As [`create`], of files that were listed before; the list says what is left out.
///
/// # Errors
/// [`CreateError`], naming the path.
pub fn create_of(
    payload: &Payload,
    options: &CreateOptions,
    progress: impl Fn(CheckProgress) + Sync,
    cancel: &AtomicBool,
) -> Result<Vec<u8>, CreateError> {
    let piece_length = options.piece_length_for(payload.total_length());
    let hashes = payload.hash(options.format, piece_length, &progress, cancel)?;
    let hashes = PieceHashes { v1: &hashes.v1, v2: &hashes.v2 };
    Ok(metainfo::create(&payload.name, &describe(payload), hashes, options)?)
}

fn describe(payload: &Payload) -> CreatePayload {
    match payload.files.as_slice() {
        [file] if payload.is_single_file => {
            CreatePayload::File { length: file.length, executable: file.executable }
        }
        files => CreatePayload::Folder(
            files
                .iter()
                .map(|file| CreateFile {
                    path: file.components.clone(),
                    length: file.length,
                    executable: file.executable,
                    symlink_target: file.symlink_target.clone(),
                    ..CreateFile::default()
                })
                .collect(),
        ),
    }
}

/// Hashes all of a torrent's data under `root` with all cores. Blocks; `cancel` ends it. `progress`
/// is called from several threads.
///
/// # Errors
/// When `root` can't be looked at. What is wrong with files is in the report.
pub fn check(
    torrent: &Torrent,
    root: &Path,
    progress: impl Fn(CheckProgress) + Sync,
    cancel: &AtomicBool,
) -> Result<CheckReport, StorageError> {
    let handles = Arc::new(HandleCache::for_this_process());
    let store = FileStore::open(root, Arc::clone(&torrent.info), handles, StoreOptions::default())?;
    store.set_layers(Arc::new(torrent.piece_layers.clone()));
    store.observe(); // there may be a part store, with shares of files that are not there
    let all = Bitfield::full(torrent.info.geometry().piece_count());
    Ok(storage::check(&store, &all, &progress, cancel))
}
