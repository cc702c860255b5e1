//! Data of a v2 torrent that was on the disk before anybody could tell whether it is good (BEP 52): once a
//! file's layer came from peers, it is compared with it before anything of the file is fetched.

use std::ops::Range;
use std::sync::Arc;

use metainfo::PieceIndex;
use storage::{CheckReport, StorageError};
use wire::Bitfield;

use super::Torrent;
use crate::handle::{TorrentError, TorrentShared};
use crate::resume::Findings;
use crate::shard::ShardMessage;

/// What nobody could judge yet.
pub(crate) struct Unjudged {
    pub(crate) pieces: Bitfield,
    /// The files whose data may be somebody's own.
    strange: Vec<usize>,
}

impl Unjudged {
    /// `None` for most torrents.
    pub(crate) fn find(shared: &TorrentShared, findings: &Findings) -> Option<Box<Self>> {
        let info = &shared.torrent.info;
        if !info.has_v2() || info.has_v1() {
            return None;
        }
        let pieces = findings.unjudged(&shared.store);
        if pieces.count() == 0 {
            return None;
        }
        let seen = findings.strange(info).filter(|_| !shared.seed_only);
        let seen = seen.iter().flat_map(|observed| observed.files.iter().enumerate());
        let strange = seen.filter(|(_, seen)| seen.is_some()).map(|(file, _)| file).collect();
        Some(Box::new(Self { pieces, strange }))
    }
}

/// What a comparison found.
pub(crate) struct Judgement {
    report: CheckReport,
    /// It is somebody's own.
    stranger: Option<StorageError>,
}

impl Torrent {
    pub(crate) fn expect_unjudged(&self, unjudged: Option<Box<Unjudged>>) {
        *self.unjudged.borrow_mut() = unjudged;
    }

    /// A file's layer is known.
    pub(super) fn judge(&self, pieces: Range<PieceIndex>) {
        let unjudged = self.unjudged.borrow();
        let Some(unjudged) = unjudged.as_ref() else { return };
        let mut asked = Bitfield::new(unjudged.pieces.len());
        for piece in pieces.filter(|piece| unjudged.pieces.has(*piece)) {
            asked.insert(piece);
        }
        let (shard, info_hash) = (self.context.sender.clone(), self.shared.info_hash());
        let (shared, pieces) = (Arc::clone(&self.shared), asked.clone());
        let info = &shared.torrent.info;
        let is_asked = |file: &usize| info.pieces_of_file(*file).any(|piece| asked.has(piece));
        let strange: Vec<usize> = unjudged.strange.iter().copied().filter(is_asked).collect();
        let cancel = Arc::clone(&self.shared.cancelled);
        self.context.pools.check(
            &self.shared.store,
            asked,
            |_| {},
            cancel,
            move |report| {
                let stranger = stranger(&shared, &strange, &report);
                let report = Box::new(Judgement { report, stranger });
                // The shard is gone only when the session is: nobody is left to tell.
                let _ = shard.send(ShardMessage::Judged { info_hash, pieces, report });
            },
        );
    }

    /// The comparison is over.
    pub(crate) fn judged(&self, pieces: &Bitfield, judgement: Judgement) {
        if self.stopped.get() || judgement.report.cancelled {
            return;
        }
        if let Some(error) = judgement.stranger {
            return self.end(TorrentError::Storage(error));
        }
        let good = judgement.report.good;
        if let Some(record) = self.shared.record.get() {
            record.found(&good);
        }
        let geometry = self.shared.torrent.info.geometry();
        let bytes = good.iter().map(|piece| u64::from(geometry.piece_size(piece))).sum();
        self.shared.resumed(bytes);
        tracing::info!(torrent = %self.shared.info_hash(), bytes, "was there already");
        self.change(|state, now| {
            for piece in pieces.iter() {
                state.swarm.judged(now, piece, good.has(piece));
                if good.has(piece) {
                    state.readers.proved(piece);
                }
            }
        });
        self.wake();
    }
}

/// Why one of these files is to be left alone, if it is. Nothing of them was fetched yet.
fn stranger(shared: &TorrentShared, files: &[usize], report: &CheckReport) -> Option<StorageError> {
    let mut observed = shared.store.observe();
    for (file, seen) in observed.files.iter_mut().enumerate() {
        *seen = seen.filter(|_| files.contains(&file));
    }
    shared.store.refuse_strangers(&report.good, &observed).err()
}
