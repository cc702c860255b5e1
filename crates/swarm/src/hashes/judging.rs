//! Pieces that are on the disk and could not be judged, for want of their file's layer (BEP 52): a link or a
//! .torrent came without it, and the data was there already, not whole or damaged. They are not fetched
//! before the layer came and the data was compared with it.

use std::ops::Range;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::Bitfield;

use super::{Hashes, MerkleHash};
use crate::{Action, Swarm};

impl Hashes {
    pub(super) fn is_unjudged(&self, piece: PieceIndex) -> bool {
        self.unjudged.as_ref().is_some_and(|unjudged| unjudged.has(piece))
    }

    /// Those of a file whose layer has just become known.
    pub(super) fn to_judge(
        &self,
        root: MerkleHash,
        within: PieceIndex,
    ) -> Option<Range<PieceIndex>> {
        let (_, tree, _) = self.find(within).filter(|(_, tree, _)| tree.root == root)?;
        let end = tree.first_piece.saturating_add(tree.piece_count(self.piece_length));
        let pieces = tree.first_piece..end;
        pieces.clone().any(|piece| self.is_unjudged(piece)).then_some(pieces)
    }
}

impl Swarm {
    /// These pieces may be on the disk, and nobody can say whether they are good before their file's layer
    /// is known: then [`Action::Judge`] asks for it. To be called after [`Self::set_trees`] and before the
    /// first peer is added.
    pub fn set_unjudged(&mut self, pieces: Bitfield) {
        if let Some(hashes) = &mut self.hashes {
            hashes.unjudged = Some(pieces).filter(|pieces| pieces.count() > 0);
        }
    }

    /// What came of [`Action::Judge`]: a piece is ours, or is to be fetched.
    pub fn judged(&mut self, now: Duration, piece: PieceIndex, good: bool) {
        self.now = now;
        let Some(hashes) = &mut self.hashes else { return };
        let Some(unjudged) = &mut hashes.unjudged else { return };
        if !unjudged.remove(piece) {
            return;
        }
        if unjudged.count() == 0 {
            hashes.unjudged = None;
        }
        hashes.held.remove(&piece);
        if good {
            self.picker.remove(piece);
            return self.piece_written(now, piece);
        }
        self.pickable_again(piece);
        self.refill_everybody();
    }

    /// A file's layer is known.
    pub(super) fn judge(&mut self, root: MerkleHash, within: PieceIndex) {
        let pieces = self.hashes.as_ref().and_then(|hashes| hashes.to_judge(root, within));
        if let Some(pieces) = pieces {
            self.actions.push_back(Action::Judge { pieces });
        }
    }
}
