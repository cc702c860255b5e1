//! In which way an address is dialled: what worked last, and uTP where TCP leads to no peer.
//!
//! A middlebox may take a TCP connection and close it, or let it wait, without a peer behind it; so does
//! a client that is full. The next dial of such an address goes by uTP, sooner than it would have gone
//! by TCP. It takes the place of that one: who refuses us is not dialled more often for it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Candidate, Candidates, State};

/// Wait before an address whose TCP led to nobody is dialled by uTP. A client that hung up for being
/// full is not asked again at once.
const FALLBACK_AFTER: Duration = Duration::from_secs(2);

/// How to reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Whether the last connection was encrypted, if there was one.
    pub encrypted: Option<bool>,
    /// By uTP alone: TCP leads to no peer there.
    pub utp: bool,
}

/// What is known of uTP to an address whose TCP led to no peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fallback {
    /// There was no need.
    #[default]
    Untried,
    /// It is the next to be tried.
    Due,
    /// It leads nowhere either, and is not tried again.
    Failed,
    /// It led to the peer.
    Works,
}

impl Candidate {
    /// It was dialled in vain, in the way that it was to be.
    pub(super) fn way_failed(&mut self) {
        self.fallback = match self.fallback {
            Fallback::Due => Fallback::Failed,
            Fallback::Works => Fallback::Untried, // that may have changed
            other => other,
        };
    }
}

impl Candidates {
    pub(crate) fn way_to(&self, addr: SocketAddr) -> Way {
        let Some(candidate) = self.known.get(&addr) else { return Way::default() };
        let utp = matches!(candidate.fallback, Fallback::Due | Fallback::Works);
        Way { encrypted: candidate.encrypted, utp }
    }

    /// A connection was made in this way.
    pub(crate) fn opened(&mut self, addr: SocketAddr, way: Way) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.encrypted = way.encrypted;
        if candidate.fallback == Fallback::Due && way.utp {
            candidate.fallback = Fallback::Works;
        }
    }

    /// TCP was taken there, and nothing came before it was closed or given up. `jitter` is 0 to 1.
    pub(crate) fn hung_up(&mut self, now: Duration, addr: SocketAddr, jitter: f64) {
        self.unreached(now, addr, jitter);
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        let waits = matches!(candidate.state, State::Idle { .. });
        if waits && candidate.fallback == Fallback::Untried {
            candidate.fallback = Fallback::Due;
            self.enter(
                addr,
                State::Idle { from: now + FALLBACK_AFTER.mul_f64(1.0 + jitter / 4.0) },
            );
        }
    }
}

#[cfg(test)]
mod tests;
