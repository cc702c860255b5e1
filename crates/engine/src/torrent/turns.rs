//! What a torrent does by the clock, and when it next has something to do.

use std::rc::Rc;
use std::time::Duration;

use super::{State, Torrent, dial};

/// How often a busy torrent's numbers are published to its handles.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);

/// The longest a torrent with anything going on sleeps: rates decay and peers are dialled.
const BUSY_TICK: Duration = Duration::from_secs(1);

impl Torrent {
    /// Gives it a turn soon: new candidates, a changed deadline.
    pub(crate) fn wake(&self) {
        if !self.stopped.get() {
            self.context.timers.wake(self.shared.info_hash(), &self.turn);
        }
    }

    /// It has something to do then, if not before.
    pub(super) fn due(&self, at: Duration) {
        if !self.stopped.get() {
            self.context.timers.bring_forward(self.shared.info_hash(), &self.turn, at);
        }
    }

    /// Does what is due by the clock, and queues for the next time.
    pub(crate) fn run_timers(self: &Rc<Self>) {
        self.turn.taken();
        if self.is_resting() {
            return;
        }
        self.guarded(|| {
            #[cfg(test)]
            self.shared.spot(crate::panics::Spot::Timers);
            let now = self.context.clock.now();
            {
                let mut state = self.state();
                self.retry_writes(&mut state, now);
                state.let_go_of_held(now);
                // A tick is no news by itself, but rates age.
                let aged = now.saturating_sub(state.published_at) >= BUSY_TICK;
                let moves = !state.peers.is_empty() || state.web.is_active();
                let news = state.unpublished || aged && moves;
                state.swarm.tick(now);
                let State { web, swarm, .. } = &mut *state;
                web.join(swarm, now, &self.shared, &self.context.session.network);
                self.settle(&mut state, now);
                state.unpublished &= news;
            }
            self.dial();
            self.seek_peers(now);
            if !self.turn.is_queued() {
                self.queue_or_rest(now);
            }
        });
    }

    /// Queues for when it has something to do next. Who has nothing rests.
    pub(super) fn queue_or_rest(&self, now: Duration) {
        let next = self.deadline(&self.state(), now);
        self.queue(next);
        if next.is_none() && !self.stopped.get() {
            self.rest_if_idle();
        }
    }

    pub(super) fn queue(&self, at: Option<Duration>) {
        let at = at.filter(|_| !self.stopped.get());
        self.context.timers.set(self.shared.info_hash(), &self.turn, at);
    }

    /// When it has something to do. A seed that nobody talks to has nothing: whatever comes up wakes it.
    fn deadline(&self, state: &State, now: Duration) -> Option<Duration> {
        let timeout = state.swarm.next_timeout();
        // What is due and stays so is an address that no connection is free for: it waits its turn.
        let waits = timeout.is_some_and(|at| at <= now);
        let look = if waits || !state.peers.is_empty() || state.web.is_active() {
            Some(now + BUSY_TICK)
        } else if self.shared.seed_only || state.swarm.is_complete() {
            None
        } else {
            Some(now + dial::SEEK_EVERY)
        };
        let web = state.web.next_at().filter(|_| !state.swarm.is_complete());
        let next = timeout
            .into_iter()
            .chain(state.retry_at)
            .chain(state.room_at)
            .chain(web)
            .filter(|at| *at > now);
        let publish = state.unpublished.then_some(state.published_at + PUBLISH_EVERY);
        next.chain(publish).chain(look).min()
    }

    pub(super) fn publish_if_due(&self, state: &mut State, now: Duration) {
        if state.unpublished && now.saturating_sub(state.published_at) >= PUBLISH_EVERY {
            self.publish(state, now);
        }
    }
}
