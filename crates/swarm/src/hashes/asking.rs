//! Of whom hashes are asked, how many at a time, and what follows when none come.

use std::time::Duration;

use metainfo::PieceIndex;
use wire::{HashRequest, Message};

use super::{Asked, Hashes, Subject};
use crate::peer::Peer;
use crate::{PeerKey, Swarm};

/// Requests that one peer has not answered, at most: pieces that it may have begun to send.
const ASKED_OF_ONE_MAX: usize = 32;
/// And all peers together.
const ASKED_MAX: usize = 128;
/// A peer that does not answer within this is passed over: the blocks may be there by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// And is asked for the same again after this, as after a rejection.
pub(super) const RETRY: Duration = Duration::from_secs(20);

impl Hashes {
    /// What is not there, nor asked for. What somebody waits for comes first.
    fn wanted(&self, waited_for: impl Fn(PieceIndex) -> bool + Copy) -> Vec<Subject> {
        let layers = self.lacking.iter().flat_map(|(tree, parts)| {
            parts.missing().map(|part| Subject::Layer { tree: *tree, part })
        });
        let leaves_of = |first: bool| {
            let pieces = self.leaves.iter().filter(move |(piece, _)| waited_for(**piece) == first);
            pieces.flat_map(|(piece, parts)| {
                parts.missing().map(|part| Subject::Leaves { piece: *piece, part })
            })
        };
        let new = |subject: &Subject| !self.asked.iter().any(|asked| asked.subject == *subject);
        leaves_of(true).chain(layers).chain(leaves_of(false)).filter(new).take(ASKED_MAX).collect()
    }

    fn asked_of(&self, peer: PeerKey) -> usize {
        self.asked.iter().filter(|asked| asked.peer == peer).count()
    }
}

impl Swarm {
    /// Peers may have what could not be asked for before.
    pub(crate) fn hashes_due(&mut self) {
        if let Some(hashes) = &mut self.hashes {
            hashes.is_due = true;
        }
    }

    /// Asks for what is wanted, of who can have it and has the fewest requests to answer.
    pub(crate) fn ask_for_hashes(&mut self) {
        let Some(hashes) = &mut self.hashes else { return };
        if !std::mem::take(&mut hashes.is_due) || !self.peers.iter().any(Peer::speaks_v2) {
            return; // who joins makes it due again
        }
        for subject in hashes.wanted(|piece| self.urgent.has_reader_in(piece)) {
            let Some(hashes) = &self.hashes else { return };
            if hashes.asked.len() >= ASKED_MAX {
                return;
            }
            let Some((request, _)) = hashes.request(subject) else { continue };
            let Some(peer) = self.whom_to_ask(hashes, subject) else { continue };
            let until = self.now + PATIENCE;
            if let Some(hashes) = &mut self.hashes {
                hashes.asked.push(Asked { peer, subject, request, until });
            }
            self.send(peer, Message::HashRequest(request));
        }
    }

    fn whom_to_ask(&self, hashes: &Hashes, subject: Subject) -> Option<PeerKey> {
        let has = |peer: &Peer| match subject {
            Subject::Layer { .. } => true,
            Subject::Leaves { piece, .. } => peer.has(piece),
        };
        let may = |peer: &&Peer| {
            peer.speaks_v2()
                && !peer.closing
                && has(peer)
                && !hashes.refused.contains_key(&(peer.key, subject))
                && hashes.asked_of(peer.key) < ASKED_OF_ONE_MAX
        };
        let worker = match subject {
            Subject::Leaves { piece, .. } => self.pieces.get(piece).and_then(|open| open.worker),
            Subject::Layer { .. } => None,
        };
        let rank = |peer: &&Peer| {
            let works = worker == Some(peer.key.index);
            (!works, hashes.asked_of(peer.key), !peer.is_seed())
        };
        self.peers.iter().filter(may).min_by_key(rank).map(|peer| peer.key)
    }

    /// The peer does not give hashes that it was asked for.
    pub(crate) fn hashes_refused(&mut self, key: PeerKey, request: HashRequest) {
        let until = self.now + RETRY;
        let Some(hashes) = &mut self.hashes else { return };
        // One that was passed over may say so late.
        let Some(asked) = hashes.answered(key, request) else { return };
        hashes.refused.insert((key, asked.subject), until);
        hashes.is_due = true;
    }

    /// Passes over who did not answer in time, and forgets who once refused.
    pub(crate) fn hash_round(&mut self) {
        let now = self.now;
        let Some(hashes) = &mut self.hashes else { return };
        let late: Vec<Asked> = hashes.asked.extract_if(.., |asked| asked.until <= now).collect();
        hashes.refused.retain(|_, until| *until > now);
        hashes.serving.forget_paid(now);
        for asked in late {
            hashes.refused.insert((asked.peer, asked.subject), now + RETRY);
        }
        hashes.is_due = true;
    }

    /// The peer left: what it was asked for is asked of others.
    pub(crate) fn forget_hashes_of(&mut self, key: PeerKey) {
        let Some(hashes) = &mut self.hashes else { return };
        hashes.asked.retain(|asked| asked.peer != key);
        hashes.refused.retain(|(peer, _), _| *peer != key);
        hashes.unasked.remove(&key);
        hashes.serving.forget(key);
        hashes.is_due = true;
    }
}
