//! Web seeds (BEP 17, 19) are peers that have everything, never choke and want nothing. What they
//! are asked for leaves as `Request` and `Cancel` like any peer's; the driver fetches it by HTTP and
//! brings the blocks back. They take no peer's place, are told nothing and told of to nobody.
//!
//! A server is asked for runs, not for the rarest piece: a range costs a round trip however long it
//! is. So a web seed goes on behind the piece it had last, and when that is taken it begins at the
//! longest gap of a few that it looks at. What a pick costs grows with nothing.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{Message, PeerId, Reserved};

use crate::peer::Peer;
use crate::{Hello, PeerKey, Refusal, Swarm, web_seed_ip};

/// Gaps that are looked at when a run begins.
const GAPS: u32 = 8;
/// Pieces of a gap that are counted, each way: whichever is longer is long enough.
const GAP_MAX: u32 = 64;

impl Swarm {
    /// A web seed may be asked for pieces from now on. `number` tells the torrent's web seeds apart,
    /// and is what one that sent bad data is known by.
    ///
    /// # Errors
    /// [`Refusal::Banned`] when it did before, [`Refusal::Duplicate`] when it is there.
    pub fn add_web_seed(&mut self, now: Duration, number: u16) -> Result<PeerKey, Refusal> {
        self.now = now;
        let ip = web_seed_ip(number);
        if self.blame.is_banned(ip) {
            return Err(Refusal::Banned);
        }
        let known = |peer: &Peer| peer.web_seed && !peer.closing && peer.hello.addr.ip() == ip;
        if self.peers.iter().any(known) {
            return Err(Refusal::Duplicate);
        }
        let (addr, reserved) = (SocketAddr::new(ip, 0), Reserved::default());
        let hello = Hello { addr, peer_id: PeerId([0; 20]), outgoing: false, reserved };
        Ok(self.web_seed_joins(hello))
    }

    /// The web seed does not have these pieces after all.
    pub fn web_seed_lacks(
        &mut self,
        now: Duration,
        key: PeerKey,
        pieces: impl IntoIterator<Item = PieceIndex>,
    ) {
        self.now = now;
        if self.peers.get(key).is_some_and(|peer| peer.web_seed) {
            pieces.into_iter().for_each(|piece| self.peer_lost(key, piece));
        }
    }

    /// The piece that a web seed begins: the next of its run, or the first of a long gap.
    pub(crate) fn web_seed_picks(&mut self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get_mut(key)?;
        let next = peer
            .next_of_run
            .filter(|_| !self.picker.has_order())
            .filter(|next| self.picker.is_pickable(*next) && peer.may_request(*next));
        let piece =
            next.or_else(|| self.picker.pick_gap(&mut self.rng, peer.listed(), GAPS, GAP_MAX))?;
        peer.next_of_run = piece.checked_add(1);
        Some(piece)
    }
}

/// What a web seed is told: the rest is for peers.
pub(crate) fn is_for_web_seeds(message: &Message<'_>) -> bool {
    matches!(message, Message::Request(_) | Message::Cancel(_))
}
