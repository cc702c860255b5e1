//! Which blocks to ask of whom: window, picker and open pieces put together, and the end game.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use wire::{BlockRequest, Message};

use crate::peer::Peer;
use crate::pieces::BlockState;
use crate::{Action, BlockFate, BlockOutcome, Fault, PeerKey, Swarm};

/// Blocks that were never asked for, before a peer is an attacker and not just late.
const UNREQUESTED_MAX: u32 = 16;
/// A window is refilled when this share of it is used up, so that requests go out in batches.
const REFILL_BELOW: f64 = 0.8;
/// How often an idle peer looks for end-game work: a look costs a walk over the open blocks.
const END_GAME_EVERY: Duration = Duration::from_millis(50);
/// A block is asked of a second peer only when that peer would be this many times sooner.
const END_GAME_GAIN: f64 = 2.0;
/// And only when that saves at least this many seconds: less is within the noise of the guess.
const END_GAME_SAVES_SECONDS: f64 = 0.5;
/// What is taken of a peer that has not delivered yet: the middle of what is common.
const UNMEASURED_LATENCY: Duration = Duration::from_millis(500);
const UNMEASURED_RATE: f64 = 100_000.0;
/// The longest that a peer which rejects everything is left alone, and the first wait.
const PATIENCE_FIRST: Duration = Duration::from_millis(500);
const PATIENCE_DOUBLINGS_MAX: u32 = 7;

impl Swarm {
    /// A block's head arrived; its body follows.
    ///
    /// # Errors
    /// [`Fault::Unrequested`] from a peer that keeps sending what nobody asked for.
    pub fn block_head(
        &mut self,
        now: Duration,
        key: PeerKey,
        block: BlockRequest,
    ) -> Result<BlockFate, Fault> {
        self.now = now;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(BlockFate::Discard) };
        peer.last_received = now;
        if !peer.was_asked(block) {
            peer.unrequested += 1;
            if peer.unrequested > UNREQUESTED_MAX {
                return Err(Fault::Unrequested);
            }
            return Ok(BlockFate::Discard);
        }
        let open = self.pieces.open.get(&block.piece);
        let state = open.and_then(|open| open.state(block.begin / BLOCK_LENGTH));
        Ok(match state {
            None | Some(BlockState::Received(_) | BlockState::Pad) => BlockFate::Discard,
            Some(_) => BlockFate::Keep,
        })
    }

    /// A block's body arrived whole.
    pub fn block(&mut self, now: Duration, key: PeerKey, block: BlockRequest) -> BlockOutcome {
        self.now = now;
        self.totals.download(now, block.length);
        let Some(peer) = self.peers.get_mut(key) else { return self.unwanted(block) };
        let Some(request) = peer.answered(block) else { return self.unwanted(block) };
        peer.last_received = now;
        peer.last_block = now;
        peer.rejections = 0;
        peer.downloaded += u64::from(block.length);
        peer.download.add(now, block.length);
        peer.window.received(now, block.length, now.saturating_sub(request.sent_at));
        let from = peer.hello.addr.ip();
        self.wants_more(key);

        let number = block.begin / BLOCK_LENGTH;
        let Some(open) = self.pieces.open.get_mut(&block.piece) else {
            return self.unwanted(block);
        };
        let Some(others) = open.receive(number, key.index, from) else {
            return self.unwanted(block);
        };
        if open.missing == 0 {
            self.pieces.completed(block.piece);
            self.actions.push_back(Action::Verify { piece: block.piece });
        }
        for other in others {
            self.cancel(other, block);
        }
        BlockOutcome::Stored
    }

    fn unwanted(&mut self, block: BlockRequest) -> BlockOutcome {
        self.totals.wasted += u64::from(block.length);
        BlockOutcome::Unwanted
    }

    fn cancel(&mut self, index: u32, block: BlockRequest) {
        let Some(peer) = self.peers.at(index) else { return };
        let key = peer.key;
        if !peer.take_back(|request| request.block == block).is_empty() {
            self.send(key, Message::Cancel(block));
            self.wants_more(key);
        }
    }

    /// The peer refuses a request (BEP 6).
    pub(crate) fn rejected(&mut self, key: PeerKey, block: BlockRequest) -> Result<(), Fault> {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let request = peer.answered(block).ok_or(Fault::RejectedNothing)?;
        if peer.is_choking {
            // Its allowed pieces turned out not to be.
            peer.allowed_in.retain(|piece| *piece != block.piece);
        } else if request.live {
            let doublings = peer.rejections.min(PATIENCE_DOUBLINGS_MAX);
            peer.patient_until = now + PATIENCE_FIRST * 2u32.pow(doublings);
            peer.rejections += 1;
        }
        if request.live {
            self.release(key.index, vec![block]);
            self.refill_everybody();
        }
        Ok(())
    }

    /// Blocks that a peer will not deliver go back to the free ones.
    pub(crate) fn release(&mut self, index: u32, blocks: Vec<BlockRequest>) {
        for block in blocks {
            if let Some(open) = self.pieces.open.get_mut(&block.piece) {
                open.release(block.begin / BLOCK_LENGTH, index);
            }
        }
    }

    /// The peer no longer works on its piece: somebody else may go on with it.
    pub(crate) fn free_work(&mut self, index: u32, piece: Option<PieceIndex>) {
        let open = piece.and_then(|piece| self.pieces.open.get_mut(&piece));
        if let Some(open) = open.filter(|open| open.worker == Some(index)) {
            open.worker = None;
        }
    }

    /// Marks a peer as having room in its window.
    pub(crate) fn wants_more(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.refill) {
            peer.refill = true;
            self.refill.push(key);
        }
    }

    pub(crate) fn refill_everybody(&mut self) {
        for key in self.peers.keys() {
            self.wants_more(key);
        }
    }

    /// Fills the windows that were marked.
    pub(crate) fn refill_windows(&mut self) {
        for key in std::mem::take(&mut self.refill) {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.refill = false;
            }
            self.fill_window(key);
        }
    }

    fn fill_window(&mut self, key: PeerKey) {
        if self.paused || self.missing == 0 {
            return;
        }
        let now = self.now;
        let Some(peer) = self.peers.get(key).filter(|peer| peer.may_request_any(now)) else {
            return;
        };
        let window = peer.window.bytes();
        if peer.live_bytes as f64 >= window as f64 * REFILL_BELOW {
            return;
        }
        loop {
            let Some(peer) = self.peers.get(key) else { return };
            let block_bytes = u64::from(BLOCK_LENGTH);
            if peer.live_bytes > 0 && peer.live_bytes + block_bytes > window {
                return;
            }
            let Some(block) = self.next_block(key) else { return };
            if let Some(peer) = self.peers.get_mut(key) {
                peer.asked(now, block);
            }
            self.send(key, Message::Request(block));
        }
    }

    /// The next block for a peer: of the piece it works on, of one that nobody works on, of a new
    /// one, of anybody's, and last a copy of one that somebody slow was asked for.
    fn next_block(&mut self, key: PeerKey) -> Option<BlockRequest> {
        let peer = self.peers.get(key)?;
        let index = key.index;
        let working = peer.working.filter(|piece| peer.may_request(*piece));
        let piece = working
            .filter(|piece| self.pieces.open.get(piece).is_some_and(|open| open.free > 0))
            .or_else(|| self.orphan(key))
            .or_else(|| self.open_new(key))
            .or_else(|| self.anybodys(key));
        let Some(piece) = piece else { return self.end_game(key) };
        let open = self.pieces.open.get_mut(&piece)?;
        let block = open.take_free(index)?;
        if open.worker.is_none() {
            open.worker = Some(index);
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.working = Some(piece);
        }
        Some(self.pieces.request(piece, block))
    }

    fn orphan(&self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(key)?;
        let mut open = self.pieces.open.iter();
        open.find(|(piece, open)| {
            open.free > 0 && open.worker.is_none() && peer.may_request(**piece)
        })
        .map(|(piece, _)| *piece)
    }

    fn anybodys(&self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(key)?;
        let mut open = self.pieces.open.iter();
        open.find(|(piece, open)| open.free > 0 && !open.parole && peer.may_request(**piece))
            .map(|(piece, _)| *piece)
    }

    /// Opens a piece for the peer, within the reserve limit: what it suggested first, then the
    /// rarest.
    fn open_new(&mut self, key: PeerKey) -> Option<PieceIndex> {
        while !self.picker.is_empty() {
            let peer = self.peers.get(key)?;
            let picker = &mut self.picker;
            let suggested = peer.suggested.iter().copied();
            let mut suggested =
                suggested.filter(|piece| picker.is_pickable(*piece) && peer.may_request(*piece));
            let next = suggested.next();
            let piece = match next {
                Some(piece) => piece,
                None => picker.pick(&mut self.rng, |piece| peer.may_request(piece))?,
            };
            let reserved = self.pieces.reserved_blocks();
            let blocks = self.geometry.block_count(piece);
            if reserved > 0 && reserved.saturating_add(blocks) > self.reserve_limit {
                return None;
            }
            self.picker.remove(piece);
            let parole = self.blame.suspects(piece);
            if !self.pieces.open(piece, key.index, parole) {
                return Some(piece);
            }
            self.actions.push_back(Action::Verify { piece }); // only pads: nothing to ask for
        }
        None
    }

    /// Nothing is free: an idle peer takes over a block from one that would be much later with it.
    fn end_game(&mut self, key: PeerKey) -> Option<BlockRequest> {
        let now = self.now;
        let peer = self.peers.get_mut(key)?;
        let idle = peer.live_bytes == 0;
        if !idle || now < peer.end_game_at || peer.window.is_snubbed() {
            return None;
        }
        peer.end_game_at = now + END_GAME_EVERY;
        let ours = expected(now, peer, 0);
        let peer = self.peers.get(key)?;
        let mut best: Option<(f64, BlockRequest, u32)> = None;
        for (piece, open) in &self.pieces.open {
            if open.parole || !peer.may_request(*piece) {
                continue;
            }
            for (block, state) in (0..).zip(&open.blocks) {
                let BlockState::Requested(owner) = *state else { continue };
                let request = self.pieces.request(*piece, block);
                let Some(theirs) = self.expected_from(owner, key, request) else { continue };
                let better = best.is_none_or(|(worst, ..)| theirs > worst);
                let sooner =
                    theirs > ours * END_GAME_GAIN && theirs > ours + END_GAME_SAVES_SECONDS;
                if sooner && better {
                    best = Some((theirs, request, owner));
                }
            }
        }
        let (_, request, owner) = best?;
        let open = self.pieces.open.get_mut(&request.piece)?;
        open.set(request.begin / BLOCK_LENGTH, BlockState::Twice(owner, key.index));
        Some(request)
    }

    /// Seconds until `owner` delivers the request; `None` when it is the asking peer itself.
    fn expected_from(&self, owner: u32, asking: PeerKey, request: BlockRequest) -> Option<f64> {
        if owner == asking.index {
            return None;
        }
        let owner = self.peers.iter().find(|peer| peer.key.index == owner)?;
        let ahead = owner.outstanding.iter().take_while(|other| other.block != request);
        Some(expected(self.now, owner, ahead.filter(|other| other.live).count()))
    }
}

/// Seconds until a peer delivers a block with `ahead` blocks before it.
fn expected(now: Duration, peer: &Peer, ahead: usize) -> f64 {
    let rate = Some(peer.window.best_rate()).filter(|rate| *rate > 0.0);
    let bytes = (ahead + 1) as f64 * f64::from(BLOCK_LENGTH);
    let waiting = now.saturating_sub(peer.last_block).as_secs_f64();
    let stalled = if peer.live_bytes > 0 { waiting } else { 0.0 };
    let latency = peer.window.latency_min().unwrap_or(UNMEASURED_LATENCY);
    latency.as_secs_f64() + bytes / rate.unwrap_or(UNMEASURED_RATE) + stalled
}
