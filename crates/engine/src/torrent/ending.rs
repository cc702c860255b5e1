//! How a torrent ends: stopped, or after a panic. What is on its way to the disk still arrives there.

use swarm::PeerKey;
use tokio::sync::oneshot;

use super::{State, Torrent};
use crate::handle::TorrentError;
use crate::panics::Panicked;
use crate::stats::TorrentState;

impl Torrent {
    /// Ends the torrent: closes its peers and frees its blocks. `done` is dropped once the pool has
    /// answered for every piece it still had.
    pub(crate) fn stop(&self, done: oneshot::Sender<()>) {
        self.stopped.set(true);
        if !self.is_drained() {
            *self.drained.borrow_mut() = Some(done);
        }
        if self.failed.get() {
            return; // it let go of all
        }
        let now = self.context.clock.now();
        let mut state = self.state.borrow_mut();
        for key in self.let_go(&mut state, "the torrent was stopped") {
            state.swarm.remove_peer(now, key);
        }
        self.publish(&mut state, now);
        self.shared.set_state(TorrentState::Stopped);
        self.queue(None);
    }

    /// Ends the torrent after a panic. Nothing is asked of its brain, whose state may be anything.
    /// Pieces that are on their way to the disk arrive there, and are recorded.
    pub(super) fn fail(&self, panicked: &Panicked) {
        self.failed.set(true);
        self.end(TorrentError::Internal(panicked.to_string()));
    }

    /// Ends the torrent, which can't go on.
    pub(super) fn end(&self, error: TorrentError) {
        if self.stopped.replace(true) {
            return self.release(); // it was being stopped
        }
        self.let_go(&mut self.state.borrow_mut(), "the torrent failed");
        if let Some(record) = self.shared.record.get() {
            record.rests();
        }
        self.shared.fail(&self.context.session.events, error);
        self.queue(None);
    }

    /// Closes its peers, which are returned, and frees its memory.
    fn let_go(&self, state: &mut State, why: &str) -> Vec<PeerKey> {
        let peers = std::mem::take(&mut state.peers);
        peers.values().for_each(|connection| connection.close(why.into()));
        state.pieces.clear();
        state.readers.clear();
        state.unproved.clear();
        state.unwritten.clear();
        self.context.session.budget.moved(state.charged, 0);
        state.charged = 0;
        peers.into_keys().chain(state.web.leave_all()).collect()
    }

    /// Lets who waits for its end know when that has come.
    pub(super) fn release(&self) {
        if self.is_over() {
            self.drained.borrow_mut().take();
        }
    }

    /// Stopped, and the pool has nothing of it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.stopped.get() && self.is_drained()
    }
}
