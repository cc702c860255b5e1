//! What a torrent does when the session's network goes and comes back.

use super::Torrent;

impl Torrent {
    /// Nothing can be sent: its connections are of no use any more.
    pub(crate) fn network_lost(&self, message: &str) {
        if self.failed.get() || self.stopped.get() {
            return;
        }
        self.change(|state, now| {
            for (key, connection) in std::mem::take(&mut state.peers) {
                connection.close(message.to_owned());
                state.swarm.remove_peer(now, key);
            }
            for key in state.web.leave_all() {
                state.swarm.remove_peer(now, key);
            }
        });
        self.wake();
    }

    /// It can again: that an address or a web seed could not be reached meanwhile says nothing of it.
    pub(crate) fn network_back(&self) {
        if self.failed.get() || self.stopped.get() {
            return;
        }
        self.change(|state, now| {
            state.swarm.dial_again(now);
            state.web.network_back();
        });
        self.wake();
    }
}
