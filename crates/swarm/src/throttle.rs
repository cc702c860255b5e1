//! A limit on what is asked for: the driver says how many bytes, and hears how many it was.
//!
//! Only requests are held back, so what peers say is heard at once, whatever the limit.

use std::time::Duration;

use crate::{PeerKey, Swarm};

#[derive(Default)]
pub(crate) struct Throttle {
    /// Bytes that may still be asked for; `None` without a limit. The last block may pass it.
    allowance: Option<u64>,
    requested: u64,
    /// Peers with room in their window that came to nothing.
    held: Vec<PeerKey>,
    /// Those that came to something and want more: the others are before them.
    served: Vec<PeerKey>,
}

impl Throttle {
    pub(crate) fn is_used_up(&self) -> bool {
        self.allowance == Some(0)
    }

    pub(crate) fn hold(&mut self, peer: PeerKey, served: bool) {
        if !self.held.contains(&peer) && !self.served.contains(&peer) {
            if served { self.served.push(peer) } else { self.held.push(peer) }
        }
    }

    pub(crate) fn asked(&mut self, bytes: u32) {
        if let Some(allowance) = &mut self.allowance {
            *allowance = allowance.saturating_sub(u64::from(bytes));
            self.requested = self.requested.saturating_add(u64::from(bytes));
        }
    }
}

impl Swarm {
    /// From now on so many bytes may be asked for, beside what was asked for before; `None`: no limit.
    pub fn allow(&mut self, now: Duration, bytes: Option<u64>) {
        self.now = now;
        self.throttle.allowance = bytes;
        if bytes != Some(0) {
            let (mut held, mut served) = (
                std::mem::take(&mut self.throttle.held),
                std::mem::take(&mut self.throttle.served),
            );
            held.drain(..).chain(served.drain(..)).for_each(|key| self.wants_more(key));
            (self.throttle.held, self.throttle.served) = (held, served); // their memory serves again
        }
    }

    /// Whether more would have been asked for, had it been allowed.
    pub fn is_throttled(&self) -> bool {
        !self.throttle.held.is_empty() || !self.throttle.served.is_empty()
    }

    /// Bytes that were asked for under a limit since the last call.
    pub fn take_requested(&mut self) -> u64 {
        std::mem::take(&mut self.throttle.requested)
    }
}
