//! What became of pieces: written, bad, or gone.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{BlockRequest, Extension, Message};

use crate::reach::owner;
use crate::{Action, Fault, PeerKey, Swarm};

impl Swarm {
    /// Whether an earlier copy of the piece was bad: digests of the good one find the guilty.
    pub fn wants_digests(&self, piece: PieceIndex) -> bool {
        self.blame.suspects(piece)
    }

    /// The good copy of a piece that failed before: one digest for each block. Call it before
    /// [`Self::piece_written`].
    pub fn piece_good_digests(&mut self, now: Duration, piece: PieceIndex, digests: &[u64]) {
        self.now = now;
        for guilty in self.blame.good(piece, digests) {
            self.banned(guilty);
        }
    }

    /// A piece passed its hash and is on disk: it is ours now.
    pub fn piece_written(&mut self, now: Duration, piece: PieceIndex) {
        self.now = now;
        self.pieces.good(piece);
        self.urgent.done(piece);
        let missing = self.is_missing(piece);
        if !self.have.insert(piece) {
            return;
        }
        self.totals.verified += u64::from(self.geometry.piece_size(piece));
        if missing {
            self.missing -= 1;
        }
        for index in self.peers.indices() {
            let Some(peer) = self.peers.at(index) else { continue };
            let key = peer.key;
            let has_it = peer.has(piece);
            let super_seeds = peer.may_super_seed();
            if has_it && missing {
                peer.interesting = peer.interesting.saturating_sub(1);
            }
            // Who has it has no use for it, but for a super-seed: it shows the next to who has the last.
            if !has_it || super_seeds {
                self.send(key, Message::Have(piece));
            }
            if has_it && missing {
                self.changed_interest(key);
            }
        }
        self.refill_everybody();
        if missing && self.missing == 0 {
            self.account_alone();
            self.completed();
        }
    }

    pub(crate) fn completed(&mut self) {
        self.actions.push_back(Action::Complete);
        self.check_seed_limits();
        for key in self.peers.keys() {
            self.send_extended(key, Extension::UploadOnly, vec![1]);
            self.drop_if_both_upload(key);
        }
    }

    /// A piece failed its hash. `digests` holds one for each block.
    pub fn piece_failed(&mut self, now: Duration, piece: PieceIndex, digests: &[u64]) {
        self.now = now;
        let Some(senders) = self.pieces.bad(piece) else { return };
        self.totals.failed += u64::from(self.geometry.piece_size(piece));
        if senders.iter().all(Option::is_none) {
            // Padding alone: no peer can help, and trying again would never end.
            self.actions.push_back(Action::Impossible { piece });
            return;
        }
        self.pickable_again(piece);
        if let Some(guilty) = self.blame.failed(piece, &senders, digests) {
            self.banned(guilty);
        }
        self.refill_everybody();
    }

    /// A piece fits its v2 hashes and not its v1 hash (BEP 52). Nobody who sent a block of it is to blame.
    pub fn piece_contradicts(&mut self, now: Duration, piece: PieceIndex) {
        self.now = now;
        if self.pieces.bad(piece).is_some() {
            self.totals.failed += u64::from(self.geometry.piece_size(piece));
            self.actions.push_back(Action::Contradiction { piece });
        }
    }

    pub(crate) fn banned(&mut self, addr: IpAddr) {
        self.actions.push_back(Action::Banned { addr });
        let guilty = |peer: &&crate::peer::Peer| owner(peer.hello.addr.ip()) == owner(addr);
        let keys: Vec<PeerKey> = self.peers.iter().filter(guilty).map(|peer| peer.key).collect();
        for key in keys {
            self.disconnect(key, Fault::SentBadData);
        }
    }

    /// A piece that we had can't be read any more: withdraw it (BEP 54) and fetch it again if it is
    /// wanted.
    pub fn piece_lost(&mut self, now: Duration, piece: PieceIndex) {
        self.now = now;
        if !self.have.remove(piece) {
            return;
        }
        self.totals.verified -= u64::from(self.geometry.piece_size(piece));
        let missing = self.is_missing(piece);
        let was_complete = self.is_complete();
        if missing {
            self.missing += 1;
            self.picker.insert(piece);
        }
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let queued = std::mem::take(&mut peer.uploads);
            let (lost, kept): (VecDeque<BlockRequest>, _) =
                queued.into_iter().partition(|block| block.piece == piece);
            peer.uploads = kept;
            peer.allowed_out.retain(|allowed| *allowed != piece);
            if missing && peer.has(piece) {
                peer.interesting += 1;
            }
            if peer.is_fast() {
                for block in lost {
                    self.send(key, Message::RejectRequest(block));
                }
            }
            self.send_extended(key, Extension::DontHave, piece.to_be_bytes().to_vec());
            if missing && was_complete {
                self.send_extended(key, Extension::UploadOnly, vec![0]);
            }
            self.changed_interest(key);
        }
        self.account_alone();
        self.refill_everybody();
    }
}
