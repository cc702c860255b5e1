//! Open pieces: which of their blocks are free, asked for, or there, and who sent what.

mod free;
mod proofs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metainfo::{BLOCK_LENGTH, Geometry, PieceIndex};
use wire::BlockRequest;

use crate::steps;

/// Memory of so many pieces is kept for others.
const SPARE_MAX: usize = 32;

/// One block of an open piece. Peers are named by their index in the swarm's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockState {
    Free,
    Requested(u32),
    /// End game: asked of two.
    Twice(u32, u32),
    /// Sent by the address at this index of `sources`.
    Received(u16),
    /// The same, and its hash is being compared with its leaf (BEP 52).
    Checking(u16),
    /// The same, and its hash is its leaf.
    Proved(u16),
    /// Known zeros.
    Pad,
}

impl BlockState {
    pub(crate) fn is_received(self) -> bool {
        self.source().is_some()
    }

    /// Nothing is left to ask for.
    pub(crate) fn is_there(self) -> bool {
        self.is_received() || self == Self::Pad
    }

    fn source(self) -> Option<u16> {
        match self {
            Self::Received(source) | Self::Checking(source) | Self::Proved(source) => Some(source),
            Self::Free | Self::Requested(_) | Self::Twice(..) | Self::Pad => None,
        }
    }
}

/// A piece of which some blocks were asked for.
#[derive(Debug, Default)]
pub(crate) struct OpenPiece {
    pub(crate) blocks: Vec<BlockState>,
    /// Blocks nobody was asked for.
    pub(crate) free: u32,
    /// Blocks that have not arrived.
    pub(crate) missing: u32,
    /// Blocks whose hashes are being compared with their leaves.
    checking: u32,
    /// Tells this opening of the piece from earlier ones.
    opened: u32,
    /// Who is asking for its blocks in order.
    pub(crate) worker: Option<u32>,
    /// An earlier copy was bad: only one peer at a time fills it, so that the blame is clear.
    pub(crate) parole: bool,
    /// No block before this one is free.
    first_free: usize,
    sources: Vec<IpAddr>,
}

impl OpenPiece {
    /// A piece in place of this one, in the same memory.
    fn renew(&mut self, blocks: u32, pads: impl Iterator<Item = u32>, parole: bool) {
        self.blocks.clear();
        self.blocks.resize(blocks as usize, BlockState::Free);
        for pad in pads {
            self.set(pad, BlockState::Pad);
        }
        let free = self.blocks.iter().filter(|state| **state == BlockState::Free).count() as u32;
        (self.free, self.missing, self.first_free) = (free, free, 0);
        self.checking = 0;
        self.worker = None;
        self.parole = parole;
        self.sources.clear();
    }

    /// Whether anybody was asked for a block that has not arrived.
    pub(crate) fn is_requested(&self) -> bool {
        self.missing > self.free
    }

    pub(crate) fn state(&self, block: u32) -> Option<BlockState> {
        self.blocks.get(block as usize).copied()
    }

    pub(crate) fn set(&mut self, block: u32, state: BlockState) {
        if let Some(slot) = self.blocks.get_mut(block as usize) {
            *slot = state;
        }
    }

    /// The peer will not deliver the block: nobody, or only the other one, is asked for it.
    pub(crate) fn release(&mut self, block: u32, peer: u32) {
        match self.state(block) {
            Some(BlockState::Requested(who)) if who == peer => {
                self.set(block, BlockState::Free);
                self.free += 1;
                self.first_free = self.first_free.min(block as usize);
            }
            Some(BlockState::Twice(a, b)) if a == peer => self.set(block, BlockState::Requested(b)),
            Some(BlockState::Twice(a, b)) if b == peer => self.set(block, BlockState::Requested(a)),
            _ => {}
        }
        if self.worker == Some(peer) {
            self.worker = None;
        }
    }

    /// A block arrived. Returns who else was asked for it; `None` when it was there already.
    pub(crate) fn receive(&mut self, block: u32, peer: u32, from: IpAddr) -> Option<Others> {
        let others = match self.state(block)? {
            BlockState::Free => {
                self.free -= 1;
                [None, None]
            }
            BlockState::Requested(who) => [Some(who), None],
            BlockState::Twice(a, b) => [Some(a), Some(b)],
            _ => return None, // there
        };
        let source = self.sources.iter().position(|source| *source == from);
        let source = source.unwrap_or_else(|| {
            self.sources.push(from);
            self.sources.len() - 1
        });
        self.set(block, BlockState::Received(u16::try_from(source).unwrap_or(u16::MAX)));
        self.missing -= 1;
        Some(others.map(|other| other.filter(|other| *other != peer)))
    }

    /// Who sent each block; `None` for pads.
    pub(crate) fn senders(&self) -> Vec<Option<IpAddr>> {
        let sender = |state: &BlockState| self.sources.get(usize::from(state.source()?)).copied();
        self.blocks.iter().map(sender).collect()
    }
}

/// Peers besides the sender that were asked for a block: two at most.
type Others = [Option<u32>; 2];

/// What a block that arrived did to its piece.
pub(crate) struct Arrival {
    /// Who else was asked for it.
    pub(crate) others: Others,
    /// It was the last one missing.
    pub(crate) is_last: bool,
}

/// All open pieces, and those that are being verified.
pub(crate) struct Pieces {
    geometry: Geometry,
    pads: BTreeMap<PieceIndex, Vec<u32>>,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// The open pieces with a block that nobody was asked for.
    partial: BTreeSet<PieceIndex>,
    /// Those of them that nobody works on.
    orphans: BTreeSet<PieceIndex>,
    /// The pieces that are being hashed and written.
    verifying: BTreeMap<PieceIndex, OpenPiece>,
    /// Memory of pieces that are done, for the next ones.
    spare: Vec<OpenPiece>,
    reserved_blocks: u32,
    /// Pieces opened so far.
    opened: u32,
}

impl Pieces {
    pub(crate) fn new(geometry: Geometry, pad_blocks: Vec<(PieceIndex, u32)>) -> Self {
        let mut pads: BTreeMap<PieceIndex, Vec<u32>> = BTreeMap::new();
        for (piece, block) in pad_blocks {
            pads.entry(piece).or_default().push(block);
        }
        Self {
            geometry,
            pads,
            open: BTreeMap::new(),
            partial: BTreeSet::new(),
            orphans: BTreeSet::new(),
            verifying: BTreeMap::new(),
            spare: Vec::new(),
            reserved_blocks: 0,
            opened: 0,
        }
    }

    /// Whether none is open or being verified.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.open.is_empty() && self.verifying.is_empty()
    }

    /// Pieces opened so far.
    pub(crate) fn opened(&self) -> u32 {
        self.opened
    }

    /// So many were opened before.
    pub(crate) fn go_on_at(&mut self, opened: u32) {
        self.opened = opened;
    }

    /// Blocks of every open and verifying piece.
    pub(crate) fn reserved_blocks(&self) -> u32 {
        self.reserved_blocks
    }

    /// Pieces begun and not complete.
    pub(crate) fn open_count(&self) -> u32 {
        self.open.len() as u32
    }

    /// The pieces begun and not complete.
    pub(crate) fn open_pieces(&self) -> impl Iterator<Item = PieceIndex> {
        self.open.keys().copied()
    }

    /// Whether the piece is open or being verified.
    pub(crate) fn is_begun(&self, piece: PieceIndex) -> bool {
        self.open.contains_key(&piece) || self.verifying.contains_key(&piece)
    }

    pub(crate) fn get(&self, piece: PieceIndex) -> Option<&OpenPiece> {
        self.open.get(&piece)
    }

    /// Open pieces with a block that nobody was asked for.
    pub(crate) fn partial(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> {
        let partial = self.partial.iter().inspect(|_| steps::count());
        partial.filter_map(|piece| Some((*piece, self.open.get(piece)?)))
    }

    /// Open pieces with a block that nobody was asked for, and that nobody works on.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> {
        let orphans = self.orphans.iter().inspect(|_| steps::count());
        orphans.filter_map(|piece| Some((*piece, self.open.get(piece)?)))
    }

    /// Whether anybody was asked for any block that has not arrived.
    pub(crate) fn any_requested(&self) -> bool {
        self.open.values().inspect(|_| steps::count()).any(OpenPiece::is_requested)
    }

    /// How many have a block that nobody was asked for.
    pub(crate) fn partial_count(&self) -> usize {
        self.partial.len()
    }

    /// Opens a piece for a peer to work on. True when all its blocks are pads: it has nothing to
    /// download and goes straight to verification.
    pub(crate) fn open(&mut self, piece: PieceIndex, worker: u32, parole: bool) -> bool {
        let pads = self.pads.get(&piece).into_iter().flatten().copied();
        let mut open = self.spare.pop().unwrap_or_default();
        open.renew(self.geometry.block_count(piece), pads, parole);
        self.opened = self.opened.wrapping_add(1);
        open.opened = self.opened;
        self.reserved_blocks += self.geometry.block_count(piece);
        if open.missing == 0 {
            self.verifying.insert(piece, open);
            return true;
        }
        open.worker = Some(worker);
        self.open.insert(piece, open);
        self.partial.insert(piece);
        false
    }

    /// The peer will not deliver the block.
    pub(crate) fn release(&mut self, block: BlockRequest, peer: u32) {
        if let Some(open) = self.open.get_mut(&block.piece) {
            open.release(block.begin / BLOCK_LENGTH, peer);
            self.sort(block.piece);
        }
    }

    /// A block arrived; `None` when it was not wanted.
    pub(crate) fn receive(
        &mut self,
        block: BlockRequest,
        peer: u32,
        from: IpAddr,
    ) -> Option<Arrival> {
        let open = self.open.get_mut(&block.piece)?;
        let others = open.receive(block.begin / BLOCK_LENGTH, peer, from)?;
        let is_last = open.missing == 0;
        self.sort(block.piece);
        Some(Arrival { others, is_last })
    }

    /// Takes a piece of which nothing is missing or being proved to those that are being verified;
    /// false when it is none.
    pub(crate) fn completes(&mut self, piece: PieceIndex) -> bool {
        let whole = |open: &OpenPiece| open.missing == 0 && open.checking == 0;
        if !self.open.get(&piece).is_some_and(whole) {
            return false;
        }
        let open = self.open.remove(&piece);
        self.verifying.extend(open.map(|open| (piece, open)));
        true
    }

    /// The peer no longer works on the piece.
    pub(crate) fn leave(&mut self, piece: PieceIndex, peer: u32) {
        if let Some(open) = self.open.get_mut(&piece).filter(|open| open.worker == Some(peer)) {
            open.worker = None;
            self.sort(piece);
        }
    }

    fn sort(&mut self, piece: PieceIndex) {
        let open = self.open.get(&piece).filter(|open| open.free > 0);
        let (partial, orphan) = (open.is_some(), open.is_some_and(|open| open.worker.is_none()));
        for (set, belongs) in [(&mut self.partial, partial), (&mut self.orphans, orphan)] {
            if belongs {
                set.insert(piece);
            } else {
                set.remove(&piece);
            }
        }
    }

    /// Asks a second peer for a block; false when it is not one that exactly one other was asked
    /// for.
    pub(crate) fn ask_twice(&mut self, block: BlockRequest, peer: u32) -> bool {
        let number = block.begin / BLOCK_LENGTH;
        let Some(open) = self.open.get_mut(&block.piece) else { return false };
        match open.state(number) {
            Some(BlockState::Requested(owner)) if owner != peer => {
                open.set(number, BlockState::Twice(owner, peer));
                true
            }
            _ => false,
        }
    }

    /// Gives an open piece up, with what was received of it. Returns those bytes.
    pub(crate) fn abandon(&mut self, piece: PieceIndex) -> u64 {
        let Some(open) = self.open.remove(&piece) else { return 0 };
        self.sort(piece);
        self.reserved_blocks -= self.geometry.block_count(piece);
        let received = (0..).zip(&open.blocks).filter(|(_, state)| state.is_received());
        let received =
            received.map(|(block, _)| u64::from(self.geometry.block_size(piece, block))).sum();
        self.keep_spare(open);
        received
    }

    /// Verification ended well: the piece's reservation ends.
    pub(crate) fn good(&mut self, piece: PieceIndex) {
        if let Some(open) = self.verifying.remove(&piece) {
            self.reserved_blocks -= self.geometry.block_count(piece);
            self.keep_spare(open);
        }
    }

    /// Verification failed: the piece's reservation ends. Who sent its blocks.
    pub(crate) fn bad(&mut self, piece: PieceIndex) -> Option<Vec<Option<IpAddr>>> {
        let senders = self.verifying.get(&piece)?.senders();
        self.good(piece);
        Some(senders)
    }

    /// Whether the piece is complete and its verification has not ended.
    pub(crate) fn is_verifying(&self, piece: PieceIndex) -> bool {
        self.verifying.contains_key(&piece)
    }

    /// Complete pieces whose verification has not ended.
    pub(crate) fn verifying_count(&self) -> u32 {
        self.verifying.len() as u32
    }

    /// Gives memory back that was kept for the next pieces.
    pub(crate) fn rest(&mut self) {
        self.spare = Vec::new();
    }

    fn keep_spare(&mut self, open: OpenPiece) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(open);
        }
    }

    /// The request for block number `block` of `piece`.
    fn request(&self, piece: PieceIndex, block: u32) -> BlockRequest {
        let length = self.geometry.block_size(piece, block);
        BlockRequest { piece, begin: block * BLOCK_LENGTH, length }
    }

    /// What `reserved_blocks` and `partial` must be.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let pieces = self.open.keys().chain(self.verifying.keys());
        let reserved: u32 = pieces.map(|piece| self.geometry.block_count(*piece)).sum();
        assert_eq!(self.reserved_blocks, reserved);
        let partial = self.open.iter().filter(|(_, open)| open.free > 0);
        assert!(partial.map(|(piece, _)| piece).eq(&self.partial));
        let orphans = self.open.iter().filter(|(_, open)| open.free > 0 && open.worker.is_none());
        assert!(orphans.map(|(piece, _)| piece).eq(&self.orphans));
        for open in self.open.values() {
            let count = |which: fn(&BlockState) -> bool| {
                open.blocks.iter().filter(|state| which(state)).count() as u32
            };
            assert_eq!(open.free, count(|state| *state == BlockState::Free));
            let there = count(|state| state.is_there());
            assert_eq!(open.missing, open.blocks.len() as u32 - there);
            assert_eq!(open.checking, count(|state| matches!(state, BlockState::Checking(_))));
            assert!(open.missing > 0 || open.checking > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_block_goes_from_free_to_received_once() {
        let mut piece = OpenPiece::default();
        piece.renew(3, std::iter::once(2), false);
        assert_eq!((piece.free, piece.missing), (2, 2));
        assert_eq!(piece.take_free_from(0, 7), Some(0));
        assert_eq!(piece.take_free_from(0, 7), Some(1));
        assert_eq!(piece.take_free_from(0, 7), None, "the pad is never asked for");
        piece.release(1, 7);
        assert_eq!(piece.free, 1);
        assert_eq!(piece.receive(0, 7, A), Some([None, None]));
        assert_eq!(piece.receive(0, 7, A), None, "twice");
        assert_eq!(piece.receive(1, 8, B), Some([None, None]), "late data is welcome");
        assert_eq!((piece.free, piece.missing), (0, 0));
        assert_eq!(piece.senders(), [Some(A), Some(B), None]);
    }

    #[test]
    fn the_slower_of_two_is_named_for_a_cancel() {
        let mut piece = OpenPiece::default();
        piece.renew(1, std::iter::empty(), false);
        piece.take_free_from(0, 1);
        piece.set(0, BlockState::Twice(1, 2));
        assert_eq!(piece.receive(0, 2, A), Some([Some(1), None]));
    }

    #[test]
    fn a_piece_is_reserved_until_its_verification_ends() {
        let geometry = Geometry::new(5 * 16_384, 4 * 16_384).unwrap();
        let mut pieces = Pieces::new(geometry, vec![(1, 0)]);
        assert!(!pieces.open(0, 1, false));
        assert!(pieces.open(1, 1, false), "only pads");
        assert_eq!(pieces.reserved_blocks(), 5);
        for block in 0..4 {
            let request = pieces.take_free(0, 1).unwrap();
            assert_eq!(pieces.partial_count(), usize::from(block < 3));
            let arrival = pieces.receive(request, 1, A).unwrap();
            assert_eq!(arrival.is_last, block == 3);
            assert_eq!(pieces.completes(0), block == 3);
            pieces.assert_consistent();
        }
        pieces.good(0);
        assert!(pieces.bad(1).is_some());
        assert!(pieces.bad(1).is_none());
        assert_eq!(pieces.reserved_blocks(), 0);
    }

    #[test]
    fn what_is_abandoned_is_counted_and_frees_its_reservation() {
        let geometry = Geometry::new(5 * 16_384, 4 * 16_384).unwrap();
        let mut pieces = Pieces::new(geometry, Vec::new());
        pieces.open(0, 1, false);
        let request = pieces.take_free(0, 1).unwrap();
        pieces.receive(request, 1, A);
        pieces.take_free(0, 1);
        assert_eq!(pieces.abandon(0), 16_384);
        assert_eq!((pieces.reserved_blocks(), pieces.open_count()), (0, 0));
        assert_eq!(pieces.abandon(0), 0);
        pieces.assert_consistent();
    }
}
