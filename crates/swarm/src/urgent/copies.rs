//! Blocks that readers wait for and that will be late: each is asked of a second peer.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use wire::BlockRequest;

use super::{Urgent, guess};
use crate::peer::Peer;
use crate::pieces::{BlockState, OpenPiece};
use crate::{PeerKey, Swarm, steps};

/// How often a peer looks for a block to ask for a second time.
const COPY_EVERY: Duration = Duration::from_millis(50);
/// And how long before a reader gets to the piece.
const COPY_BEFORE: Duration = Duration::from_millis(500);
/// A block is asked of a second peer only when that peer would be this many times sooner.
const GAIN: f64 = 1.5;
/// And only when that saves at least this many seconds.
const SAVES_SECONDS: f64 = 0.2;
/// Blocks that a reader waits for next, looked at for one that is late.
const AWAITED_MAX: usize = 16;

impl Urgent {
    /// What readers wait for now, of which every block was asked for.
    fn awaited(&self, now: Duration) -> Vec<(Duration, PieceIndex)> {
        let mut awaited = Vec::new();
        for reader in self.readers.values() {
            let first = reader.due.keys().find_map(|piece| self.due.get_key_value(piece));
            let Some((piece, due)) = first else { continue };
            if *due <= now + COPY_BEFORE && self.asked.contains(&(*due, *piece)) {
                awaited.push((*due, *piece));
            }
        }
        awaited
    }
}

impl Swarm {
    /// A block that will be late, and that this peer would deliver much sooner.
    pub(super) fn copy_urgent(&mut self, key: PeerKey) -> Option<BlockRequest> {
        let now = self.now;
        let peer = self.peers.get_mut(key)?;
        if now < peer.copy_at || peer.window.is_snubbed() {
            return None;
        }
        peer.copy_at = now + COPY_EVERY;
        let peer = self.peers.get(key)?;
        let ours = guess(now, peer, peer.outstanding.len() + 1);
        let mut latest: Option<(f64, BlockRequest)> = None;
        if self.goes_by_blocks()
            && let Some(block) = self.copy_awaited(key, ours)
        {
            return self.pieces.ask_twice(block, key.index).then_some(block);
        }
        for (due, piece) in self.urgent.awaited(now) {
            let shared = self.pieces.get(piece).is_some_and(|open| !open.parole);
            if !shared || !peer.may_request(piece) {
                continue;
            }
            let in_time = due.saturating_sub(now).as_secs_f64();
            for owner in self.peers.iter().filter(|owner| owner.key != key) {
                let Some((theirs, block)) = self.last_of(owner, piece) else { continue };
                let gains = theirs > ours * GAIN && theirs > ours + SAVES_SECONDS;
                if gains && theirs > in_time && latest.is_none_or(|(late, _)| theirs > late) {
                    latest = Some((theirs, block));
                }
            }
        }
        let (_, block) = latest?;
        self.pieces.ask_twice(block, key.index).then_some(block)
    }

    /// The last block of a piece that only this peer was asked for, and in how many seconds it comes.
    fn last_of(&self, owner: &Peer, piece: PieceIndex) -> Option<(f64, BlockRequest)> {
        let open = self.pieces.get(piece)?;
        let mine = BlockState::Requested(owner.key.index);
        let numbered = (1..).zip(&owner.outstanding).map(|(place, request)| (place, request.block));
        let of_piece =
            numbered.inspect(|_| steps::count()).filter(|(_, block)| block.piece == piece);
        let alone =
            of_piece.filter(|(_, block)| open.state(block.begin / BLOCK_LENGTH) == Some(mine));
        let (place, block) = alone.last()?;
        Some((guess(self.now, owner, place), block))
    }

    /// A block that a reader waits for, that will be late, and that this peer would deliver much sooner
    /// than within `ours`.
    fn copy_awaited(&self, key: PeerKey, ours: f64) -> Option<BlockRequest> {
        let length = u64::from(self.geometry.piece_length().max(1));
        let peer = self.peers.get(key)?;
        for reader in self.urgent.readers.values() {
            let piece = (reader.at / length) as PieceIndex;
            let due = reader.due.get(&piece).is_some_and(|due| *due <= self.now + COPY_BEFORE);
            let open = self.pieces.get(piece).filter(|open| due && !open.parole);
            let (Some(open), true) = (open, peer.may_request(piece)) else { continue };
            let Some(first) = reader.first_block(piece, length) else { continue };
            for number in open.awaited(first) {
                let Some(BlockState::Requested(index)) = open.state(number) else { continue };
                let mut others = self.peers.iter().filter(|owner| owner.key != key);
                let Some(owner) = others.find(|owner| owner.key.index == index) else { continue };
                let begin = number * BLOCK_LENGTH;
                let is_it = |block: BlockRequest| block.piece == piece && block.begin == begin;
                let place = owner.outstanding.iter().position(|request| is_it(request.block));
                let Some(place) = place else { continue };
                let theirs = guess(self.now, owner, place + 1);
                if theirs > ours * GAIN && theirs > ours + SAVES_SECONDS {
                    let length = self.geometry.block_size(piece, number);
                    return Some(BlockRequest { piece, begin, length });
                }
            }
        }
        None
    }
}

impl OpenPiece {
    /// The next blocks that are not there.
    fn awaited(&self, first: u32) -> impl Iterator<Item = u32> {
        let blocks = (0..).zip(&self.blocks).skip(first as usize);
        let missing = blocks.filter(|(_, state)| !state.is_there());
        missing.map(|(number, _)| number).take(AWAITED_MAX)
    }
}
