//! What peers ask of us: checked, queued, and really forgotten on cancel and choke.

use std::collections::VecDeque;
use std::time::Duration;

use metainfo::BLOCK_LENGTH;
use wire::{BlockRequest, Message};

use crate::{Action, Fault, PeerKey, Swarm};

/// Bytes of the largest block served: BEP 3 clients ask for 16 KiB, some for up to this.
const BLOCK_BYTES_MAX: u32 = 128 * 1024;

impl Swarm {
    /// The peer asks for a block.
    pub(crate) fn requested(&mut self, key: PeerKey, block: BlockRequest) -> Result<(), Fault> {
        let inside = self.geometry.contains(block.piece, block.begin, block.length);
        if !inside || block.length > BLOCK_BYTES_MAX {
            return Err(Fault::BadRequest(block));
        }
        let there = self.have.has(block.piece) && self.may_see(key, block.piece);
        let queue_max = self.settings.reqq as usize;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let blocks = block.length.div_ceil(BLOCK_LENGTH);
        let on_trust = peer.am_choking
            && peer.allowed_blocks_left >= blocks
            && peer.allowed_out.contains(&block.piece);
        let allowed = !peer.am_choking || on_trust;
        if there && allowed && peer.uploads.len() < queue_max {
            if on_trust {
                peer.allowed_blocks_left -= blocks;
            }
            peer.uploads.push_back(block);
            if peer.uploads.len() == 1 {
                self.actions.push_back(Action::UploadReady { peer: key });
            }
        } else if peer.is_fast() {
            self.send(key, Message::RejectRequest(block));
        }
        Ok(())
    }

    /// The peer wants a block no more. With the fast extension every request has an answer.
    pub(crate) fn cancelled(&mut self, key: PeerKey, block: BlockRequest) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let at = peer.uploads.iter().position(|queued| *queued == block);
        if let Some(at) = at {
            peer.uploads.remove(at);
            if peer.is_fast() {
                self.send(key, Message::RejectRequest(block));
            }
        }
    }

    /// Chokes a peer and forgets what it asked for, but for what it may have while choked.
    pub(crate) fn choke(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.am_choking) else { return };
        peer.am_choking = true;
        peer.choke_changed = now;
        let fast = peer.is_fast();
        let allowed = std::mem::take(&mut peer.allowed_out);
        let queued = std::mem::take(&mut peer.uploads);
        let (kept, dropped): (VecDeque<_>, VecDeque<_>) =
            queued.into_iter().partition(|block| allowed.contains(&block.piece));
        peer.uploads = kept;
        peer.allowed_out = allowed;
        self.send(key, Message::Choke);
        if fast {
            for block in dropped {
                self.send(key, Message::RejectRequest(block));
            }
        }
        self.account(key);
    }

    pub(crate) fn unchoke(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.am_choking) else { return };
        peer.am_choking = false;
        peer.choke_changed = now;
        self.send(key, Message::Unchoke);
        self.account(key);
    }

    /// Whether the peer waits for something that it asked for.
    pub fn has_uploads(&self, peer: PeerKey) -> bool {
        self.peers.get(peer).is_some_and(|peer| !peer.uploads.is_empty())
    }

    /// Hands out queued requests in order, up to `bytes_max` bytes but at least one, into `out`.
    pub fn take_uploads(
        &mut self,
        now: Duration,
        peer: PeerKey,
        bytes_max: u32,
        out: &mut Vec<BlockRequest>,
    ) {
        self.now = now;
        let Some(peer) = self.peers.get_mut(peer) else { return };
        let mut left = bytes_max;
        while let Some(next) = peer.uploads.front() {
            if next.length > left && !out.is_empty() {
                return;
            }
            left = left.saturating_sub(next.length);
            out.extend(peer.uploads.pop_front());
        }
    }

    /// Payload left for the peer.
    pub fn uploaded(&mut self, now: Duration, key: PeerKey, bytes: u32) {
        self.now = now;
        self.totals.upload(now, bytes);
        self.seeded();
        if let Some(peer) = self.peers.get_mut(key) {
            peer.uploaded += u64::from(bytes);
            peer.upload.add(now, bytes);
            peer.last_sent = now;
        }
        self.earned_hashes(key, bytes);
    }

    /// Whether the fast extension (BEP 6) is agreed with the peer.
    pub fn is_fast(&self, peer: PeerKey) -> bool {
        self.peers.get(peer).is_some_and(crate::peer::Peer::is_fast)
    }
}
