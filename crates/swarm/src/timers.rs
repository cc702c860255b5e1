//! What happens when nothing happens: time-outs, keep-alives, silence.

use std::time::Duration;

use wire::Message;

use crate::peer::Peer;
use crate::{Fault, PeerKey, Swarm, endgame};

/// Silence after which we say that we are still here; clients drop a peer after two minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// Silence after which a peer is gone.
const SILENCE_MAX: Duration = Duration::from_mins(4);

impl Swarm {
    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        for key in self.peers.keys() {
            self.check_peer(key);
        }
        self.choke_round();
    }

    /// When [`Self::tick`] or [`Self::next_dial`] has something to do next.
    pub fn next_timeout(&self) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut at = |when: Duration| next = Some(next.map_or(when, |next| next.min(when)));
        for peer in self.peers.iter() {
            at(peer.last_sent + KEEP_ALIVE);
            at(peer.last_received + SILENCE_MAX);
            peer.times_out_at().into_iter().for_each(&mut at);
            if peer.patient_until > self.now {
                at(peer.patient_until);
            }
        }
        if self.peers.len() > 0 {
            at(self.choker.next_round());
        }
        if self.is_waiting() {
            at(self.now + endgame::RECHECK);
        }
        self.next_dial_at().into_iter().for_each(&mut at);
        next
    }

    /// Whether a peer has nothing to do while another is busy: it may take over a block by and by.
    fn is_waiting(&self) -> bool {
        if self.paused || self.is_complete() {
            return false;
        }
        let waits = |peer: &Peer| {
            peer.live_count == 0 && peer.may_request_any(self.now) && !peer.window.is_snubbed()
        };
        self.peers.iter().any(|peer| peer.live_count > 0) && self.peers.iter().any(waits)
    }

    fn check_peer(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else { return };
        let silent = now.saturating_sub(peer.last_received);
        if silent >= SILENCE_MAX {
            self.disconnect(key, Fault::Silent(silent.as_secs()));
            return;
        }
        let quiet = now.saturating_sub(peer.last_sent) >= KEEP_ALIVE;
        let forgotten = peer.take_back_forgotten(now);
        peer.forget_old(now);
        if !forgotten.is_empty() {
            // It delivers, only not these: others may have them.
            self.release(key.index, forgotten);
            self.refill_others_first(key);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let idle = peer.live_count == 0 && peer.may_request_any(now);
        let timed_out = peer.times_out_at().is_some_and(|at| at <= now);
        if timed_out {
            // Others may have its blocks; if they come after all, they are still welcome.
            peer.window.snub();
            let taken = peer.take_back(|_| true);
            let working = peer.working.take();
            self.release(key.index, taken);
            self.free_work(key.index, working);
            self.refill_others_first(key);
        }
        if idle {
            self.wants_more(key); // its patience is over, or the end game has work for it by now
        }
        if quiet {
            self.send(key, Message::KeepAlive);
        }
    }

    /// The blocks of a peer that stalls go to anybody else before they go back to it.
    fn refill_others_first(&mut self, stalled: PeerKey) {
        for key in self.peers.keys().into_iter().filter(|key| *key != stalled) {
            self.wants_more(key);
        }
        self.wants_more(stalled);
    }
}
