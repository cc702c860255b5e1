//! Hashes of v2 torrents (BEP 52): which are known, what is asked of whom, and what became of it.
//!
//! A block is proved by its leaf, as soon as it is there. So when a piece is opened its leaves are
//! asked of a peer that has it; the hash above them, which the piece layer has, says whether they
//! are true. Blocks that came sooner are proved when the leaves come, and a piece whose leaves
//! nobody gives is judged as a whole by that hash. A torrent that came without piece layers, by a
//! magnet link, fetches them part by part, and opens no piece before it knows the piece's own hash.
//!
//! Every answer is proved before anything of it is kept, so who lies is known for certain.

mod allowance;
mod asking;
mod judging;
mod serving;
mod tree;
mod upper;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metainfo::merkle::{self, HashRun, MerkleHash};
use metainfo::{BLOCK_LENGTH, PieceIndex, PieceTree};
use wire::{Bitfield, BlockRequest, HASHES_MAX, HashRequest};

use crate::{Action, BlockOutcome, Fault, PeerKey, Swarm};
use serving::Serving;
use tree::Parts;
pub use tree::Tree;
pub use upper::{Upper, UpperWork};

/// Hashes of a piece layer asked for at once: what BEP 52 allows for sure.
const LAYER_PART: u32 = 512;
/// Answers that nobody asked for, before a peer is an attacker and not just late.
const UNASKED_MAX: u32 = 16;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// A part of the piece layer of the tree with this number.
    Layer { tree: u32, part: u32 },
    /// A part of a piece's leaves.
    Leaves { piece: PieceIndex, part: u32 },
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Asked {
    peer: PeerKey,
    subject: Subject,
    request: HashRequest,
    until: Duration,
}

/// All that a v2 torrent knows of its hashes.
pub(crate) struct Hashes {
    piece_length: u32,
    /// By their first piece.
    trees: Vec<Tree>,
    /// Their numbers, by their roots.
    by_root: Vec<u32>,
    /// Pieces have v1 hashes too, so none has to wait for its layer.
    is_hybrid: bool,
    /// Piece layers that are not known whole, by their tree's number.
    lacking: BTreeMap<u32, Parts>,
    /// Pieces that may not be opened before their layer is known, and were to be.
    held: BTreeSet<PieceIndex>,
    /// Pieces that are on the disk, and can't be judged before their layer is known.
    unjudged: Option<Bitfield>,
    /// Leaves of open pieces, as far as they came.
    leaves: BTreeMap<PieceIndex, Parts>,
    asked: Vec<Asked>,
    /// Who would not, or did not in time, and when that is forgotten.
    refused: BTreeMap<(PeerKey, Subject), Duration>,
    unasked: BTreeMap<PeerKey, u32>,
    /// Something may be asked for that was not asked for yet.
    is_due: bool,
    serving: Serving,
}

impl Hashes {
    fn new(piece_length: u32, mut trees: Vec<Tree>, is_hybrid: bool) -> Self {
        trees.retain(|tree| tree.length > 0);
        trees.sort_by_key(|tree| tree.first_piece);
        let mut lacking = BTreeMap::new();
        for (number, tree) in (0..).zip(&mut trees) {
            let pieces = tree.piece_count(piece_length);
            if tree.layer.as_ref().is_some_and(|layer| layer.len() != pieces as usize) {
                tree.layer = None;
            }
            if pieces > 1 && tree.layer.is_none() {
                let each = pieces.next_power_of_two().min(LAYER_PART);
                lacking.insert(number, Parts::new(each, pieces));
            }
        }
        let serving = Serving::new(&trees, piece_length);
        let root = |number: &u32| trees.get(*number as usize).map(|tree| tree.root);
        let mut by_root: Vec<u32> = (0..trees.len() as u32).collect();
        by_root.sort_by_key(root);
        Self {
            piece_length,
            by_root,
            is_hybrid,
            trees,
            is_due: !lacking.is_empty(),
            lacking,
            held: BTreeSet::new(),
            unjudged: None,
            leaves: BTreeMap::new(),
            asked: Vec::new(),
            refused: BTreeMap::new(),
            unasked: BTreeMap::new(),
            serving,
        }
    }

    /// A piece's tree, its number, and the piece's number within it. `None` for a piece of padding.
    fn find(&self, piece: PieceIndex) -> Option<(u32, &Tree, u32)> {
        let after = self.trees.partition_point(|tree| tree.first_piece <= piece);
        let number = after.checked_sub(1)?;
        let tree = self.trees.get(number)?;
        let within = piece.checked_sub(tree.first_piece)?;
        (within < tree.piece_count(self.piece_length)).then_some((number as u32, tree, within))
    }

    /// What a piece's blocks lead up to; `None` while that is not known.
    fn piece_tree(&self, piece: PieceIndex) -> Option<PieceTree> {
        let (number, tree, within) = self.find(piece)?;
        let root = if tree.piece_count(self.piece_length) == 1 {
            tree.root
        } else if let Some(layer) = &tree.layer {
            *layer.get(within as usize)?
        } else {
            self.lacking.get(&number)?.get(within)?
        };
        let bytes = tree.piece_bytes(within, self.piece_length);
        Some(PieceTree { root, top: tree.piece_top(self.piece_length), bytes })
    }

    /// A block's leaf, and over how many of its bytes.
    fn leaf(&self, block: BlockRequest) -> Option<(MerkleHash, u32)> {
        let number = block.begin / BLOCK_LENGTH;
        let leaf = self.leaves.get(&block.piece)?.get(number)?;
        Some((leaf, self.piece_tree(block.piece)?.leaf_bytes(number)))
    }

    /// The request for a subject, and the layer of the node that proves the answer.
    fn request(&self, subject: Subject) -> Option<(HashRequest, u32)> {
        let (tree, base_layer, part, length, before, top) = match subject {
            Subject::Layer { tree, part } => {
                let each = self.lacking.get(&tree)?.each;
                let tree = self.trees.get(tree as usize)?;
                (tree, tree.piece_top(self.piece_length), part, each, 0, tree.height())
            }
            Subject::Leaves { piece, part } => {
                let (_, tree, within) = self.find(piece)?;
                let top = tree.piece_top(self.piece_length);
                let each = self.leaves.get(&piece)?.each;
                (tree, 0, part, each, within.checked_shl(top)?, top)
            }
        };
        let index = part.checked_mul(length)?.checked_add(before)?;
        let proof_layers = top.checked_sub(base_layer)?.checked_sub(1)?;
        let request = HashRequest { root: tree.root, base_layer, index, length, proof_layers };
        Some((request, top))
    }

    /// Whether the answer is true.
    fn proves(&self, subject: Subject, hashes: &[MerkleHash]) -> bool {
        let known = match subject {
            Subject::Layer { tree, .. } => self.trees.get(tree as usize).map(|tree| tree.root),
            Subject::Leaves { piece, .. } => self.piece_tree(piece).map(|tree| tree.root),
        };
        let Some(((request, top), known)) = self.request(subject).zip(known) else { return false };
        let run = HashRun {
            layer: request.base_layer,
            index: u64::from(request.index),
            length: u64::from(request.length),
        };
        let Some((hashes, uncles)) = hashes.split_at_checked(request.length as usize) else {
            return false;
        };
        let reached = run.top().saturating_add(uncles.len() as u32);
        reached == top && merkle::climb(run, hashes, uncles) == Some(known)
    }

    /// The request that an answer or rejection is about.
    fn answered(&mut self, peer: PeerKey, request: HashRequest) -> Option<Asked> {
        let same = |asked: &Asked| asked.peer == peer && asked.request == request;
        let at = self.asked.iter().position(same)?;
        Some(self.asked.swap_remove(at))
    }

    fn put(&mut self, subject: Subject, hashes: &[MerkleHash]) -> Option<Whole> {
        match subject {
            Subject::Layer { tree, part } => {
                let parts = self.lacking.get_mut(&tree)?;
                parts.put(part, hashes.get(..parts.each as usize)?);
                let of = self.trees.get(tree as usize)?;
                let first = part.saturating_mul(parts.each);
                let last = first.saturating_add(parts.each).min(parts.count);
                let pieces =
                    of.first_piece.checked_add(first)?..of.first_piece.checked_add(last)?;
                let whole = parts.is_whole();
                let layer = whole.then(|| self.lacking.remove(&tree)).flatten();
                let layer: Option<Arc<[MerkleHash]>> = layer.map(|parts| parts.join().into());
                let of = self.trees.get_mut(tree as usize)?;
                of.layer.clone_from(&layer);
                Some(Whole::Pieces { pieces, layer: layer.map(|layer| (of.root, layer)) })
            }
            Subject::Leaves { piece, part } => {
                let parts = self.leaves.get_mut(&piece)?;
                parts.put(part, hashes.get(..parts.each as usize)?);
                Some(Whole::Leaves(piece)) // blocks are proved part by part
            }
        }
    }

    /// When something of it is due.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        let asked = self.asked.iter().map(|asked| asked.until).min();
        let wants = !self.lacking.is_empty() || !self.leaves.is_empty();
        let again = self.refused.values().min().copied().filter(|_| wants);
        asked.into_iter().chain(again).min()
    }
}

/// What an answer completed.
enum Whole {
    /// These pieces' own hashes are known, and perhaps the layer of the file with this root.
    Pieces { pieces: std::ops::Range<PieceIndex>, layer: Option<(MerkleHash, Arc<[MerkleHash]>)> },
    /// Leaves of the piece are.
    Leaves(PieceIndex),
}

impl Swarm {
    /// Says that the torrent is of the second version, or a hybrid, and what its files' trees are.
    /// To be called before the first peer is added. Peers speak v2 whose [`crate::Hello::reserved`] has
    /// that bit.
    pub fn set_trees(&mut self, trees: Vec<Tree>, is_hybrid: bool) {
        let piece_length = self.geometry.piece_length();
        self.hashes = Some(Box::new(Hashes::new(piece_length, trees, is_hybrid)));
    }

    /// What the blocks of a piece lead up to: for who verifies it as a whole. `None` for v1
    /// torrents, pieces of padding, and while it is not known.
    pub fn piece_tree(&self, piece: PieceIndex) -> Option<PieceTree> {
        self.hashes.as_ref()?.piece_tree(piece)
    }

    /// Whether every piece layer is known, or the torrent has none.
    pub fn has_layers(&self) -> bool {
        self.hashes.as_ref().is_none_or(|hashes| hashes.lacking.is_empty())
    }

    /// Whether a block of a piece that is not complete is there and proved by its leaf. Its bytes
    /// may be read before the rest of the piece came.
    pub fn is_block_proved(&self, piece: PieceIndex, block: u32) -> bool {
        self.pieces.is_block_proved(piece, block)
    }

    /// Whether all blocks of a piece that [`Action::Verify`] named were proved by their leaves:
    /// there is no need to hash them for v2 again.
    pub fn is_proved(&self, piece: PieceIndex) -> bool {
        self.pieces.is_proved(piece)
    }

    /// Whether the piece can be verified once it is there. One that can't be is put aside until it
    /// can.
    pub(crate) fn may_open(&mut self, piece: PieceIndex) -> bool {
        let Some(hashes) = &mut self.hashes else { return true };
        let known =
            hashes.is_hybrid || hashes.piece_tree(piece).is_some() && !hashes.is_unjudged(piece);
        if !known {
            hashes.held.insert(piece);
        }
        known
    }

    /// A piece was opened: its leaves are wanted, and asked for before its blocks, so that they are there
    /// first.
    pub(crate) fn wants_leaves(&mut self, piece: PieceIndex) {
        let Some(hashes) = &mut self.hashes else { return };
        let Some(tree) = hashes.piece_tree(piece) else { return };
        let count = tree.leaf_count();
        let each = 1_u32.checked_shl(tree.top).unwrap_or(HASHES_MAX).min(HASHES_MAX);
        let mut parts = Parts::new(each, count);
        if tree.top == 0 {
            parts.put(0, &[tree.root]); // a leaf itself
        }
        hashes.leaves.insert(piece, parts);
        hashes.is_due = true;
        self.ask_for_hashes();
    }

    /// A piece is no longer open.
    pub(crate) fn forget_leaves(&mut self, piece: PieceIndex) {
        if let Some(hashes) = &mut self.hashes {
            hashes.leaves.remove(&piece);
        }
    }

    /// A block arrived: it is to be proved if its leaf is known.
    pub(crate) fn prove(&mut self, block: BlockRequest) -> bool {
        let leaf = self.hashes.as_ref().and_then(|hashes| hashes.leaf(block));
        let Some((leaf, length)) = leaf else { return false };
        let Some(opened) = self.pieces.checks(block) else { return false };
        self.actions.push_back(Action::Prove { block, leaf, length, opened });
        true
    }

    /// What came of [`Action::Prove`], with the number that it had. Stored: hold the block on.
    /// Unwanted: drop it, it is bad or its piece was given up.
    pub fn block_proved(
        &mut self,
        now: Duration,
        block: BlockRequest,
        opened: u32,
        good: bool,
    ) -> BlockOutcome {
        self.now = now;
        let Some(proof) = self.pieces.proved(block, opened, good) else {
            return BlockOutcome::Unwanted;
        };
        if good {
            self.complete(block.piece);
            return BlockOutcome::Stored;
        }
        self.totals.failed += u64::from(block.length);
        self.urgent.reopens(block.piece);
        if let Some(guilty) = proof.guilty.and_then(|guilty| self.blame.ban(guilty)) {
            self.banned(guilty);
        }
        self.refill_everybody();
        BlockOutcome::Unwanted
    }

    /// Hashes came.
    pub(crate) fn hashes_came(
        &mut self,
        key: PeerKey,
        request: HashRequest,
        all: &[MerkleHash],
    ) -> Result<(), Fault> {
        let Some(hashes) = &mut self.hashes else { return Ok(()) };
        let Some(asked) = hashes.answered(key, request) else {
            let count = hashes.unasked.entry(key).or_default();
            *count += 1;
            return if *count > UNASKED_MAX { Err(Fault::UnaskedHashes) } else { Ok(()) };
        };
        hashes.is_due = true;
        let subject = asked.subject;
        if hashes.request(subject).is_none() {
            return Ok(()); // its piece was given up meanwhile
        }
        if !hashes.proves(subject, all) {
            let addr = self.peers.get(key).map(|peer| peer.hello.addr.ip());
            if let Some(guilty) = addr.and_then(|addr| self.blame.ban(addr)) {
                self.banned(guilty);
            }
            return Err(Fault::FalseHashes);
        }
        match hashes.put(subject, all) {
            Some(Whole::Pieces { pieces, layer }) => {
                let within = pieces.start;
                let held = hashes.held.range(pieces).copied();
                let held: Vec<_> = held.filter(|piece| !hashes.is_unjudged(*piece)).collect();
                hashes.held.retain(|piece| !held.contains(piece));
                for piece in held {
                    self.pickable_again(piece);
                }
                if let Some((root, layer)) = layer {
                    self.actions.push_back(Action::LayerKnown { root, layer });
                    self.judge(root, within);
                }
                self.refill_everybody();
            }
            Some(Whole::Leaves(piece)) => {
                for block in self.pieces.unproved(piece) {
                    self.prove(block);
                }
            }
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
