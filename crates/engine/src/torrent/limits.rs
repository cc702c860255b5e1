//! Keeping to the rate limits: the brain is told how much it may ask for, and uploads that there is
//! no room for wait their turn.

use std::time::Duration;

use swarm::PeerKey;

use super::{State, Torrent, touch};
use crate::limits::Way;

impl Torrent {
    /// Lets the brain ask for what the download limit has room for.
    pub(super) fn settle_limit(&self, state: &mut State, now: Duration) {
        let bounds = &self.shared.bounds;
        if !bounds.bind(Way::Down) {
            if std::mem::take(&mut state.limited) {
                state.swarm.allow(now, None);
            }
            return;
        }
        let requested = state.swarm.take_requested();
        if requested > 0 {
            bounds.spend(Way::Down, now, requested);
        }
        if !state.limited {
            state.limited = true;
            state.swarm.allow(now, Some(0)); // until somebody wants something
        }
        if state.swarm.is_throttled() {
            match bounds.room(Way::Down, now) {
                Ok(room) => state.swarm.allow(now, Some(room)),
                Err(wait) => self.room_in(state, now, wait),
            }
        }
    }

    /// Bytes that may be sent to a peer now; it is held back if there are none.
    pub(super) fn upload_room(&self, state: &mut State, now: Duration, peer: PeerKey) -> u64 {
        match self.shared.bounds.room(Way::Up, now) {
            Ok(room) => room,
            Err(wait) => {
                if !state.held.contains(&peer) {
                    state.held.push(peer);
                }
                self.room_in(state, now, wait);
                0
            }
        }
    }

    fn room_in(&self, state: &mut State, now: Duration, wait: Duration) {
        let at = now + wait.max(Duration::from_millis(1));
        if state.room_at.is_none_or(|known| known <= now || known > at) {
            state.room_at = Some(at);
            self.due(at);
        }
    }
}

impl State {
    /// When a limit has room again, those that were held back are looked at, in turn.
    pub(super) fn let_go_of_held(&mut self, now: Duration) {
        if self.room_at.is_some_and(|at| at <= now) {
            self.room_at = None;
            for peer in std::mem::take(&mut self.held).into_iter().rev() {
                touch(self, peer, |_| {}); // the last touched is the first served
            }
        }
    }
}
