//! Which blocks to ask of whom: window, picker and open pieces put together.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use wire::{BlockRequest, Message};

use crate::peer::Peer;
use crate::pieces::BlockState;
use crate::urgent::NextUrgent;
use crate::{Action, BlockFate, BlockOutcome, Fault, PeerKey, Swarm};

/// Blocks that were never asked for, before a peer is an attacker. Late ones are none of them.
const UNREQUESTED_MAX: u32 = 16;
/// A window is refilled when this share of it is used up, so that requests go out in batches.
const REFILL_BELOW: f64 = 0.8;
/// Pieces that are picked at random before the rarest come first.
const RANDOM_FIRST: u32 = 4;
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
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return Ok(BlockFate::Discard);
        };
        peer.last_received = now;
        peer.discarding = true;
        if !peer.was_asked(block) {
            if peer.answers_forgotten() {
                return Ok(BlockFate::Discard);
            }
            peer.unrequested += 1;
            if peer.unrequested > UNREQUESTED_MAX {
                return Err(Fault::Unrequested);
            }
            return Ok(BlockFate::Discard);
        }
        let open = self.pieces.get(block.piece);
        let state = open.and_then(|open| open.state(block.begin / BLOCK_LENGTH));
        if state.is_none_or(BlockState::is_there) {
            return Ok(BlockFate::Discard);
        }
        peer.discarding = false;
        Ok(BlockFate::Keep)
    }

    /// How many blocks a peer was asked for and did not send yet.
    pub fn expected(&self, key: PeerKey) -> usize {
        self.peers.get(key).map_or(0, |peer| peer.outstanding.len() + peer.taken_back.len())
    }

    /// A block's body arrived whole.
    pub fn block(&mut self, now: Duration, key: PeerKey, block: BlockRequest) -> BlockOutcome {
        self.now = now;
        self.totals.download(now, block.length);
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return self.unwanted(block);
        };
        let Some((request, _)) = peer.answered(block) else { return self.unwanted(block) };
        if !peer.web_seed {
            peer.answers_up_to(request.sent_at); // several connections answer in no order
        }
        peer.last_received = now;
        peer.last_block = now;
        peer.rejections = 0;
        peer.let_down = 0;
        peer.patient_until = Duration::ZERO;
        peer.downloaded += u64::from(block.length);
        peer.download.add(now, block.length);
        peer.window.received(now, block.length, now.saturating_sub(request.sent_at));
        let from = peer.hello.addr.ip();
        // The piece may have been opened anew since the head: there is no data to store all the same.
        let discarded = std::mem::take(&mut peer.discarding);
        self.wants_more(key);
        if discarded {
            self.release(key.index, [block]);
            return self.unwanted(block);
        }

        let Some(arrival) = self.pieces.receive(block, key.index, from) else {
            return self.unwanted(block);
        };
        if !self.prove(block) && arrival.is_last {
            self.complete(block.piece);
        }
        for other in arrival.others.into_iter().flatten() {
            self.cancel(other, block);
        }
        BlockOutcome::Stored
    }

    /// Every block of the piece came, and none is being proved any more.
    pub(crate) fn complete(&mut self, piece: PieceIndex) {
        if self.pieces.completes(piece) {
            self.forget_leaves(piece);
            self.actions.push_back(Action::Verify { piece });
        }
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
        let Some((_, live)) = peer.answered(block) else {
            return if peer.answers_forgotten() { Ok(()) } else { Err(Fault::RejectedNothing) };
        };
        if peer.is_choking {
            // Its allowed pieces turned out not to be.
            peer.allowed_in.retain(|piece| *piece != block.piece);
        } else if live && now >= peer.patient_until {
            // A burst of rejections is one reason to wait, not many.
            let doublings = peer.rejections.min(PATIENCE_DOUBLINGS_MAX);
            peer.patient_until = now + PATIENCE_FIRST * 2u32.pow(doublings);
            peer.rejections += 1;
        }
        if live {
            peer.lets_down();
            self.release(key.index, [block]);
            self.refill_everybody();
        }
        self.account(key);
        Ok(())
    }

    /// Blocks that a peer will not deliver go back to the free ones.
    pub(crate) fn release(&mut self, index: u32, blocks: impl IntoIterator<Item = BlockRequest>) {
        for block in blocks {
            self.pieces.release(block, index);
            self.urgent.reopens(block.piece);
        }
    }

    /// The peer no longer works on its piece: somebody else may go on with it.
    pub(crate) fn free_work(&mut self, index: u32, piece: Option<PieceIndex>) {
        if let Some(piece) = piece {
            self.pieces.leave(piece, index);
        }
    }

    /// Marks a peer as having room in its window.
    pub(crate) fn wants_more(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.refill) {
            peer.refill = true;
            self.refill.push(key);
        }
    }

    /// Looks at every window before the next action: blocks, pieces or budget became free. Those
    /// who let us down come last, so that they do not pass the only open piece to and fro.
    pub(crate) fn refill_everybody(&mut self) {
        self.refill_all = true;
    }

    /// Fills the windows that were marked.
    pub(crate) fn refill_windows(&mut self) {
        let everybody = std::mem::take(&mut self.refill_all);
        if everybody {
            for index in self.peers.indices() {
                self.peers.key_at(index).into_iter().for_each(|key| self.wants_more(key));
            }
        }
        let mut refill = std::mem::take(&mut self.refill);
        if everybody {
            refill.sort_by_key(|key| self.peers.get(*key).map_or(0, |peer| peer.let_down));
        }
        for key in refill.drain(..) {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.refill = false;
            }
            self.fill_window(key);
            self.account(key);
            self.schedule_check(key);
        }
        if self.refill.is_empty() {
            self.refill = refill; // its memory serves again
        }
    }

    fn fill_window(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.held_up = None;
        }
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
        let mut served = false;
        loop {
            let Some(peer) = self.peers.get(key) else { return };
            let block_bytes = u64::from(BLOCK_LENGTH);
            let full = peer.live_bytes + block_bytes > window
                || peer.live_count() >= peer.window.requests_max();
            if !peer.outstanding.is_empty() && full {
                return;
            }
            if self.throttle.is_used_up() {
                self.throttle.hold(key, served);
                return self.peers.get_mut(key).into_iter().for_each(Peer::is_limited);
            }
            let Some(block) = self.next_block(key) else { return self.waits(key) };
            self.throttle.asked(block.length);
            served = true;
            if let Some(peer) = self.peers.get_mut(key) {
                peer.asked(now, block);
            }
            self.send(key, Message::Request(block));
        }
    }

    /// Nothing is left to ask of the peer: if it has nothing to do at all, it waits.
    fn waits(&mut self, key: PeerKey) {
        let held_up = self.peers.get(key).and_then(|peer| self.holds_up(peer));
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.held_up = held_up;
        if peer.outstanding.is_empty() && !peer.waits {
            peer.waits = true;
            self.waiting.push(key);
        }
    }

    /// The next block for a peer: what a reader waits for, then of the piece it works on, of one that nobody works on, of a new
    /// one, of anybody's, and last a copy of one that somebody slow was asked for.
    fn next_block(&mut self, key: PeerKey) -> Option<BlockRequest> {
        match self.next_urgent(key) {
            NextUrgent::Block(block) => return Some(block),
            NextUrgent::Waits => return None,
            NextUrgent::Nothing => {}
        }
        let peer = self.peers.get(key)?;
        let working = peer.working.filter(|piece| peer.may_request(*piece));
        let working = working.filter(|piece| !self.urgent.has(*piece));
        let piece = working
            .filter(|piece| self.pieces.get(*piece).is_some_and(|open| open.free > 0))
            .or_else(|| self.orphan(key))
            .or_else(|| self.open_new(key))
            .or_else(|| self.anybodys(key));
        let Some(piece) = piece else { return self.end_game(key) };
        let block = self.pieces.take_free(piece, key.index)?;
        self.works_on(key, piece);
        Some(block)
    }

    pub(crate) fn works_on(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let before = peer.working.replace(piece);
        self.free_work(key.index, before.filter(|before| *before != piece));
    }

    /// A piece that nobody works on; of several the one that is nearest to its end.
    fn orphan(&self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(key)?;
        let orphans = self.pieces.orphans().filter(|(piece, _)| !self.urgent.has(*piece));
        let orphans = orphans.filter(|(piece, _)| peer.may_request(*piece));
        orphans.min_by_key(|(_, open)| open.missing).map(|(piece, _)| piece)
    }

    fn anybodys(&self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(key)?;
        let mut partial = self.pieces.partial();
        partial
            .find(|(piece, open)| {
                !open.parole && peer.may_request(*piece) && !self.urgent.has(*piece)
            })
            .map(|(piece, _)| piece)
    }

    /// Opens a piece for the peer, within the reserve limit: what it suggested last, then the
    /// rarest.
    fn open_new(&mut self, key: PeerKey) -> Option<PieceIndex> {
        loop {
            let peer = self.peers.get(key)?;
            let idle = peer.outstanding.is_empty();
            if peer.exhausted == Some(self.picker.version())
                || !idle && self.pieces.partial_count() >= self.partial_max()
            {
                return None;
            }
            let smallest = self.geometry.block_count(self.geometry.piece_count().saturating_sub(1));
            if !self.fits(smallest) && (!idle || self.hopeless().is_none()) {
                return None; // whichever it would be: no need to choose
            }
            let Some(piece) = self.choose(key) else {
                let version = self.picker.version();
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.exhausted = Some(version);
                }
                return None;
            };
            let blocks = self.geometry.block_count(piece);
            while !self.fits(blocks) {
                let hopeless = self.hopeless().filter(|_| idle)?;
                self.abandon(hopeless);
            }
            self.picker.remove(piece);
            if !self.may_open(piece) {
                continue;
            }
            let parole = self.blame.suspects(piece);
            if !self.pieces.open(piece, key.index, parole) {
                self.wants_leaves(piece);
                return Some(piece);
            }
            self.actions.push_back(Action::Verify { piece }); // only pads: nothing to ask for
        }
    }

    fn choose(&mut self, key: PeerKey) -> Option<PieceIndex> {
        let rarest_first = !self.settings.without.rarest_first;
        let peer = self.peers.get(key)?;
        if peer.web_seed {
            return self.web_seed_picks(key);
        }
        let (picker, rng) = (&mut self.picker, &mut self.rng);
        let mut suggested = peer.suggested.iter().rev().copied().filter(|_| !picker.has_order());
        let suggested =
            suggested.find(|piece| picker.is_pickable(*piece) && peer.may_request(*piece));
        suggested.or_else(|| match self.have.count() {
            _ if peer.is_choking => {
                let allowed = peer.allowed_in.iter().copied();
                picker.pick_of(allowed.filter(|piece| peer.has(*piece)))
            }
            _ if picker.is_sequential() => picker.pick(rng, peer.listed()),
            RANDOM_FIRST.. if rarest_first => picker.pick(rng, peer.listed()),
            _ => picker.pick_any(rng, peer.listed()),
        })
    }

    /// Pieces with free blocks before an occupied peer opens no more: half as many again as peers.
    fn partial_max(&self) -> usize {
        self.peers.len() * 3 / 2 + 1
    }

    /// Whether the reserve limit allows that many blocks more.
    pub(crate) fn fits(&self, blocks: u32) -> bool {
        let reserved = self.pieces.reserved_blocks();
        reserved == 0 || reserved.saturating_add(blocks) <= self.reserve_limit
    }

    /// An open piece that nobody is delivering and nobody may be asked for: of several the one
    /// with the least received.
    pub(crate) fn hopeless(&self) -> Option<PieceIndex> {
        let hopeless = self.pieces.partial().filter(|(piece, open)| {
            !open.is_requested() && !self.peers.iter().any(|peer| peer.may_request(*piece))
        });
        hopeless.max_by_key(|(_, open)| open.missing).map(|(piece, _)| piece)
    }

    pub(crate) fn abandon(&mut self, piece: PieceIndex) {
        self.totals.wasted += self.pieces.abandon(piece);
        self.forget_leaves(piece);
        self.pickable_again(piece);
        self.actions.push_back(Action::Abandon { piece });
    }
}
