//! What happens when nothing happens: time-outs, keep-alives, silence.

use std::time::Duration;

use wire::Message;

use crate::peer::Peer;
use crate::{Fault, PeerKey, Swarm, endgame, steps};

/// Silence after which we say that we are still here; clients drop a peer after two minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// Silence after which a peer is gone.
const SILENCE_MAX: Duration = Duration::from_mins(4);

impl Swarm {
    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        let mut due = Vec::new();
        while self.checks.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.checks.pop_first() else { break };
            steps::count();
            due.push(key);
        }
        for key in due {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.check_at = Duration::MAX;
            }
            self.check_peer(key);
            self.schedule_check(key);
        }
        self.exchange_round();
        self.hash_round();
        self.wake_waiting();
        self.choke_round();
        self.check_seed_limits();
    }

    /// When [`Self::tick`] or [`Self::next_dial`] has something to do next.
    pub fn next_timeout(&self) -> Option<Duration> {
        let check = self.checks.first().map(|(at, _)| *at);
        let round = (self.peers.len() > 0).then(|| self.choker.next_round());
        let exchange = self.exchange_at.filter(|_| self.peers.len() > 0);
        let end_game = self.is_waiting().then(|| self.now + endgame::RECHECK);
        let ends = self.seed_limit_at();
        let hashes = self.hashes.as_ref().and_then(|hashes| match self.peers.len() {
            0 => hashes.all_paid_at(self.now), // it may rest then
            _ => hashes.next_timeout(),
        });
        let times = [check, round, end_game, exchange, ends, hashes, self.next_dial_at()];
        times.into_iter().flatten().min()
    }

    /// Looks at a peer in time for what comes next. It may have been put off by then: a time-out
    /// moves on with each block, and is not moved here as often.
    pub(crate) fn schedule_check(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else { return };
        let due = peer.due(now);
        if due < peer.check_at {
            self.checks.remove(&(peer.check_at, key));
            self.checks.insert((due, key));
            peer.check_at = due;
        }
    }

    /// Whether a peer has nothing to do while another is busy: it may take over a block by and by.
    fn is_waiting(&self) -> bool {
        if self.paused || self.is_complete() {
            return false;
        }
        let waits = |peer: &Peer| peer.is_idle(self.now) && !peer.window.is_snubbed();
        let mut waiting = self.waiting.iter().inspect(|_| steps::count());
        waiting.any(|key| self.peers.get(*key).is_some_and(waits))
            && (self.urgent.has_todo() || self.pieces.any_requested())
    }

    /// The end game may have work by now for those who found none.
    fn wake_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for key in waiting.drain(..) {
            steps::count();
            let Some(peer) = self.peers.get_mut(key) else { continue };
            peer.waits = false;
            if peer.is_idle(self.now) {
                self.wants_more(key);
            }
        }
        self.waiting = waiting;
    }

    fn check_peer(&mut self, key: PeerKey) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else { return };
        let silent = now.saturating_sub(peer.last_received);
        if silent >= SILENCE_MAX && !peer.web_seed {
            self.disconnect(key, Fault::Silent(silent.as_secs()));
            return;
        }
        let quiet = now.saturating_sub(peer.last_sent) >= KEEP_ALIVE;
        let forgotten = peer.take_back_forgotten(now);
        peer.forget_old(now);
        if !forgotten.is_empty() {
            // It delivers, only not these: others may have them.
            peer.lets_down();
            self.release(key.index, forgotten);
            self.refill_everybody();
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let idle = peer.is_idle(now);
        let timed_out = peer.times_out_at().is_some_and(|at| at <= now);
        if timed_out {
            // Others may have its blocks; if they come after all, they are still welcome.
            peer.window.snub();
            peer.lets_down();
            let taken = peer.take_back(|_| true);
            let working = peer.working.take();
            let last_block = peer.last_block;
            self.account_from(key, last_block);
            self.release(key.index, taken);
            self.free_work(key.index, working);
            self.refill_everybody();
        }
        if idle {
            self.wants_more(key); // its patience is over
        }
        if quiet {
            self.send(key, Message::KeepAlive);
        }
    }
}

impl Peer {
    /// When something is due for it next.
    fn due(&self, now: Duration) -> Duration {
        let heard = if self.web_seed {
            Duration::MAX // silence between answers is how HTTP is
        } else {
            (self.last_sent + KEEP_ALIVE).min(self.last_received + SILENCE_MAX)
        };
        let patient = Some(self.patient_until).filter(|until| *until > now);
        patient.into_iter().chain(self.times_out_at()).fold(heard, Duration::min)
    }

    /// Whether it could be asked for something and is not.
    fn is_idle(&self, now: Duration) -> bool {
        self.outstanding.is_empty() && self.may_request_any(now)
    }
}
