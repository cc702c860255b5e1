//! Which files of a torrent are fetched, and in which order: chosen when it is added or while it runs.
//!
//! A change goes through four hands in this order: the store (shares of files that are wanted now
//! move out of the part store), the record, the brain, and last the part store, which goes when
//! nothing needs it. A crash on the way leaves each byte where the record says.

use std::path::PathBuf;
use std::sync::Arc;

use metainfo::{FilePriority, Info};
use storage::{Arrangement, StorageError};
use swarm::{Rank, Wishes};
use tokio::sync::oneshot;
use wire::Bitfield;

use crate::handle::{TorrentError, TorrentHandle, TorrentShared};
use crate::session::SessionShared;
use crate::shard::ShardMessage;

/// A file of a torrent as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    /// Its number in the torrent, as magnet links name it (BEP 53).
    pub index: usize,
    /// Where it is, or will be.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Bytes of it in pieces that are verified and written.
    pub verified_bytes: u64,
    /// How much it is wanted.
    pub priority: FilePriority,
}

/// In which order the pieces of equally wanted files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PieceOrder {
    /// In the order of the torrent, not the rarest first.
    pub sequential: bool,
    /// The first and the last piece of each file before all others.
    pub first_last: bool,
}

/// What the brain is to want.
pub(crate) fn wishes(info: &Info, arrangement: &Arrangement) -> Wishes {
    let is_plain = arrangement.priorities.iter().all(|it| *it == FilePriority::Normal);
    if is_plain && !arrangement.first_last {
        return Wishes { ranks: Vec::new(), sequential: arrangement.sequential };
    }
    // What lies in no file at all is padding, which costs nothing and completes the torrent.
    let skips = arrangement.priorities.contains(&FilePriority::Skip);
    let lowest = if skips { Rank::Skip } else { Rank::Low };
    let mut ranks = vec![lowest; info.geometry().piece_count() as usize];
    for (file, entry) in info.files().iter().enumerate().filter(|(_, it)| !it.attributes.pad) {
        let rank = match arrangement.priority(file) {
            FilePriority::Skip => continue,
            FilePriority::Low => Rank::Low,
            FilePriority::Normal => Rank::Normal,
            FilePriority::High => Rank::High,
        };
        let pieces = info.pieces_of_file(file);
        let ends = [pieces.start, pieces.end.saturating_sub(1)];
        for piece in pieces {
            let rank = if arrangement.first_last && ends.contains(&piece) && entry.length > 0 {
                Rank::First
            } else {
                rank
            };
            if let Some(slot) = ranks.get_mut(piece as usize) {
                *slot = rank.max(*slot);
            }
        }
    }
    Wishes { ranks, sequential: arrangement.sequential }
}

/// Copies what the part store has of wanted files to where they are, tells the record, and lets the
/// part store go when nothing needs it. May wait for the disk.
pub(crate) fn settle(
    session: &SessionShared,
    shared: &TorrentShared,
    arrangement: &Arrangement,
    have: &Bitfield,
) -> Result<(), StorageError> {
    let store = &shared.store;
    let wanted = store.apart().into_iter().filter(|file| arrangement.is_wanted(*file));
    let moved = wanted.map(|file| store.move_out(file, have)).collect::<Result<Vec<()>, _>>();
    // Whatever became of the others, what moved is elsewhere now.
    let now = Arrangement { apart: store.apart(), ..arrangement.clone() };
    let Some(record) = shared.record.get() else { return moved.map(drop) };
    let (had_parts, before) = (!moved.as_ref().is_ok_and(Vec::is_empty), record.arrangement());
    if before == now && !had_parts {
        return Ok(());
    }
    record.arrange(now);
    match session.state.flush() {
        Ok(()) => store.drop_parts()?,
        Err(error) => tracing::error!(%error, "the state can't be saved; the part store stays"),
    }
    moved.map(drop)
}

impl TorrentHandle {
    /// All files but padding, with how much of each is there.
    pub fn files(&self) -> Vec<FileStatus> {
        let info = &self.shared.torrent.info;
        let (geometry, have) = (info.geometry(), self.shared.have());
        let arrangement = self.shared.arrangement();
        let files = info.files().iter().enumerate().filter(|(_, entry)| !entry.attributes.pad);
        let files = files.map(|(index, entry)| {
            let pieces = info.pieces_of_file(index).filter(|piece| have.has(*piece));
            let verified = pieces.map(|piece| {
                let start = geometry.piece_offset(piece);
                let end = start + u64::from(geometry.piece_size(piece));
                end.min(entry.end()).saturating_sub(start.max(entry.offset))
            });
            FileStatus {
                index,
                path: self.shared.store.file_path(index),
                length: entry.length,
                verified_bytes: verified.sum(),
                priority: arrangement.priority(index),
            }
        });
        files.collect()
    }

    /// Wants files more, less, or not at all; what is not named stays as it is. Waits until the check
    /// at the start is over and the disk and the torrent have followed. It is remembered.
    ///
    /// A file that is not wanted and not on the disk is not made; one that is there stays.
    ///
    /// # Errors
    /// [`TorrentError::NoSuchFile`], or what the disk said: then nothing has changed.
    pub async fn set_file_priorities(
        &self,
        changes: impl IntoIterator<Item = (usize, FilePriority)>,
    ) -> Result<(), TorrentError> {
        self.checked().await?;
        let _alone = self.shared.arranging.lock().await;
        let mut next = self.shared.arrangement();
        let count = self.torrent().info.files().len();
        next.priorities.resize(count, FilePriority::default());
        for (file, priority) in changes {
            let missing = TorrentError::NoSuchFile { file, count };
            *next.priorities.get_mut(file).ok_or(missing)? = priority;
        }
        self.arrange(next).await
    }

    /// Changes the order in which pieces are fetched. It is remembered.
    ///
    /// # Errors
    /// [`TorrentError::Stopped`] when it does not run.
    pub async fn set_piece_order(&self, order: PieceOrder) -> Result<(), TorrentError> {
        self.checked().await?;
        let _alone = self.shared.arranging.lock().await;
        let PieceOrder { sequential, first_last } = order;
        let before = self.shared.arrangement();
        self.arrange(Arrangement { sequential, first_last, ..before }).await
    }

    /// For who holds `arranging`.
    async fn arrange(&self, next: Arrangement) -> Result<(), TorrentError> {
        let (session, shared) = (Arc::clone(&self.session), Arc::clone(&self.shared));
        let arranged = tokio::task::spawn_blocking(move || rearrange(&session, &shared, next));
        arranged.await.map_err(|_| TorrentError::Stopped)??;
        let info_hash = self.info_hash();
        let wishes = wishes(&self.torrent().info, &self.shared.arrangement());
        let (done, heard) = oneshot::channel();
        let shard = self.session.shard_of(&info_hash).ok_or(TorrentError::Stopped)?;
        shard.send(ShardMessage::Wishes { info_hash, wishes, done });
        heard.await.map_err(|_| TorrentError::Stopped)
    }
}

/// What of a change waits for the disk.
fn rearrange(
    session: &SessionShared,
    shared: &TorrentShared,
    next: Arrangement,
) -> Result<(), StorageError> {
    let before = shared.arrangement();
    let Some(record) = shared.record.get() else { return Ok(()) };
    let have = record.progress().written;
    let follow = |arrangement: &Arrangement| {
        shared.store.choose(arrangement)?;
        if shared.seed_only {
            return Ok(());
        }
        settle(session, shared, arrangement, &have)?;
        shared.store.prepare(&have)
    };
    if let Err(error) = follow(&next) {
        // What moved stays where it is, and the record knows; the rest is as it was.
        let _ = shared.store.choose(&before);
        record.arrange(Arrangement { apart: shared.store.apart(), ..before });
        return Err(error);
    }
    record.arrange(Arrangement { apart: shared.store.apart(), ..next.clone() });
    shared.set_arrangement(next);
    Ok(())
}
