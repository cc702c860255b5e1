//! The end game: when nothing is left to ask for, an idle peer takes over a block from one that
//! would be much later with it. Two copies at most, and the slower is cancelled at once.

use std::time::Duration;

use metainfo::BLOCK_LENGTH;
use wire::BlockRequest;

use crate::peer::Peer;
use crate::pieces::BlockState;
use crate::{PeerKey, Swarm};

/// How often an idle peer looks for work here: a look costs a walk over the peers.
const EVERY: Duration = Duration::from_millis(50);
/// How often an idle peer looks when nothing else happens: the others' delays grow by themselves.
pub(crate) const RECHECK: Duration = Duration::from_millis(250);
/// A block is asked of a second peer only when that peer would be this many times sooner.
const GAIN: f64 = 2.0;
/// And only when that saves at least this many seconds: less is within the noise of the guess.
const SAVES_SECONDS: f64 = 0.5;
/// What is taken of a peer that has not delivered yet: the middle of what is common.
pub(crate) const UNMEASURED_LATENCY: Duration = Duration::from_millis(500);
pub(crate) const UNMEASURED_RATE: f64 = 100_000.0;

impl Swarm {
    /// A block for an idle peer that somebody else was asked for, if it would come much sooner.
    pub(crate) fn end_game(&mut self, key: PeerKey) -> Option<BlockRequest> {
        let now = self.now;
        let peer = self.peers.get(key)?;
        let idle =
            peer.outstanding.is_empty() && now >= peer.end_game_at && !peer.window.is_snubbed();
        if !idle || !self.is_end_game() {
            return None;
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.end_game_at = now + EVERY;
        }
        let peer = self.peers.get(key)?;
        let ours = expected(now, peer, 1);
        let late = self.peers.iter().filter(|owner| owner.key != key);
        let late = late.filter_map(|owner| self.latest(owner, peer));
        let sooner =
            late.filter(|(theirs, _)| *theirs > ours * GAIN && *theirs > ours + SAVES_SECONDS);
        let (_, block) = sooner.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
        self.pieces.ask_twice(block, key.index).then_some(block)
    }

    /// Whether nothing can be asked for a first time: all pieces that a peer has are begun, or the
    /// reserve limit allows no more.
    fn is_end_game(&mut self) -> bool {
        let blocks = self.geometry.piece_length().div_ceil(BLOCK_LENGTH);
        !self.picker.is_any_available(&mut self.rng) || !self.fits(blocks)
    }

    /// The last block that `owner` will deliver of those that only it was asked for and that
    /// `asking` could deliver too, and in how many seconds.
    fn latest(&self, owner: &Peer, asking: &Peer) -> Option<(f64, BlockRequest)> {
        let mut ahead = owner.outstanding.len();
        for request in owner.outstanding.iter().rev() {
            let block = request.block;
            let open = self.pieces.get(block.piece);
            let state = open.and_then(|open| open.state(block.begin / BLOCK_LENGTH));
            if state == Some(BlockState::Requested(owner.key.index))
                && asking.may_request(block.piece)
            {
                return Some((expected(self.now, owner, ahead), block));
            }
            ahead = ahead.saturating_sub(1);
        }
        None
    }
}

/// Seconds until a peer delivers the last of `blocks` blocks.
fn expected(now: Duration, peer: &Peer, blocks: usize) -> f64 {
    let rate = Some(peer.window.best_rate()).filter(|rate| *rate > 0.0);
    let bytes = blocks as f64 * f64::from(BLOCK_LENGTH);
    let waiting = now.saturating_sub(peer.last_block).as_secs_f64();
    let stalled = if peer.outstanding.is_empty() { 0.0 } else { waiting };
    let latency = peer.window.latency_min().unwrap_or(UNMEASURED_LATENCY);
    latency.as_secs_f64() + bytes / rate.unwrap_or(UNMEASURED_RATE) + stalled
}
