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
        });
        self.wake();
    }

    /// It can again: that an address could not be reached meanwhile says nothing of it.
    pub(crate) fn network_back(&self) {
        self.with_swarm(swarm::Swarm::dial_again);
        self.wake();
    }
}
