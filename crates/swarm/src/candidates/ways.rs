//! In which way an address is dialled: first by what led to the peer last, and by uTP where TCP leads to no
//! peer, or where the peer is to see the hole in our NAT.
//!
//! A middlebox may take a TCP connection and close it, or let it wait, without a peer behind it; so does
//! a client that is full. The next dial of such an address goes by uTP, sooner than it would have gone
//! by TCP. It takes the place of that one: who refuses us is not dialled more often for it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Candidate, Candidates, State};
use crate::{OpenTo, Reach, Transports};

/// Wait before an address whose TCP led to nobody is dialled by uTP. A client that hung up for being
/// full is not asked again at once.
const FALLBACK_AFTER: Duration = Duration::from_secs(2);

/// How to reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Whether the last connection was encrypted, if there was one.
    pub encrypted: Option<bool>,
    /// By TCP or uTP.
    pub transports: Transports,
}

/// How a peer was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Encrypted.
    pub encrypted: bool,
    /// By uTP.
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
        self.utp_won = false;
    }
}

impl Candidates {
    pub(crate) fn way_to(&self, addr: SocketAddr) -> Way {
        let Some(candidate) = self.known.get(&addr) else { return Way::default() };
        let transports = match candidate.fallback {
            Fallback::Due | Fallback::Works => Transports::UtpAlone,
            _ if candidate.utp_won || self.wants_hole_seen_by(addr, candidate) => {
                Transports::UtpFirst
            }
            _ => Transports::TcpFirst,
        };
        Way { encrypted: candidate.encrypted, transports }
    }

    /// Whether a peer may bring us together with others (BEP 55), and has to see the hole in our NAT for
    /// that: many know their peers by where their packets come from alone, and only those of uTP come
    /// out of the hole. Who comes to us by TCP needs nobody's help; that is no news of those farther away, nor
    /// of those of the other address family.
    fn wants_hole_seen_by(&self, addr: SocketAddr, candidate: &Candidate) -> bool {
        candidate.introduces && Reach::of(addr.ip()) > self.open_to.over(addr.ip())
    }

    /// Others come to us by TCP from so far, as far as is known.
    pub(crate) fn set_open_to(&mut self, open_to: OpenTo) {
        self.open_to = open_to;
    }

    /// Its owner speaks the extension that brings peers together.
    pub(crate) fn introduces(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.introduces = true;
        }
    }

    /// A peer was reached there.
    pub(crate) fn opened(&mut self, addr: SocketAddr, reached: Reached) {
        let first = self.way_to(addr).transports;
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.encrypted = Some(reached.encrypted);
        if candidate.fallback == Fallback::Due && reached.utp {
            candidate.fallback = Fallback::Works;
        }
        // It did although TCP was first, or it did before.
        let won = first == Transports::TcpFirst || candidate.utp_won;
        candidate.utp_won = reached.utp && won;
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
