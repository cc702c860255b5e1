//! Answers to our queries, and those that never came.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::origin;
use crate::dht::{Dht, InterfaceId, Sent};
use crate::krpc::{Body, Fields, Message};
use crate::operations::Pong;
use crate::table::Taken;
use crate::transactions::{Pending, Purpose};

/// After so many lost queries in a row, with nothing received meanwhile, it is our line that is
/// down, and no node is blamed any more.
const LOST_IN_ROW_MAX: u32 = 24;

/// Strangers being pinged at once.
const MEETINGS_MAX: usize = 8;

/// One stranger is not pinged again before this long: queries with a forged sender must not make
/// us knock at a victim's door.
const MEET_AGAIN: Duration = Duration::from_mins(5);

/// Strangers remembered.
const MET_MAX: usize = 2_000;

impl Dht {
    pub(crate) fn hear(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        from: SocketAddr,
        message: &Message<'_>,
    ) {
        let Some(pending) = self.transactions.end(message.transaction, interface, from) else {
            self.counters.stray = self.counters.stray.saturating_add(1);
            return;
        };
        let reply = match &message.body {
            Body::Reply(reply) if Some(reply.id) != self.own_id(interface) => reply,
            Body::Error { code, text } => {
                self.counters.errors_in = self.counters.errors_in.saturating_add(1);
                match pending.purpose {
                    Purpose::Walk(task) => self.not_walked(now, task, from),
                    Purpose::Store(task) => self.stored(now, task, Err((*code, text.clone()))),
                    Purpose::Ping(operation) => self.end_ping(operation, None),
                    Purpose::Check | Purpose::Meet => {}
                }
                return;
            }
            // Our own echo.
            _ => return self.lost(now, pending),
        };
        self.counters.replies_in = self.counters.replies_in.saturating_add(1);
        let contact = Self::contact(reply.id, from);
        let is_bootstrap = self.is_bootstrap(from);
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        if !is_bootstrap {
            match node.table.answered(now, contact) {
                Taken::Spare(Some(oldest)) => self.check(now, interface, oldest.addr),
                // Somebody came to us before we found anybody: a reason to look now.
                Taken::In if !node.is_settled && node.joining.is_none() => {
                    (node.join_at, self.next_tick) = (now, now);
                }
                _ => {}
            }
        }
        if let Some(seen) = message.seen_as
            && let Some(node) = self.interfaces.get_mut(&interface)
            && let Some(ip) = node.votes.cast(from, seen)
        {
            self.seen_at(now, interface, ip);
        }
        match pending.purpose {
            Purpose::Walk(task) => self.walked(now, task, from, reply),
            Purpose::Store(task) => self.stored(now, task, Ok(())),
            Purpose::Ping(operation) => {
                let pong = Pong {
                    id: reply.id,
                    took: now.saturating_sub(pending.sent),
                    client: message.client,
                    seen_as: message.seen_as,
                };
                self.end_ping(operation, Some(pong));
            }
            Purpose::Check | Purpose::Meet => {}
        }
    }

    /// A query is not going to be answered.
    pub(crate) fn lost(&mut self, now: Duration, pending: Pending) {
        self.counters.lost = self.counters.lost.saturating_add(1);
        if let Some(node) = self.interfaces.get_mut(&pending.interface) {
            node.lost_in_row = node.lost_in_row.saturating_add(1);
            if node.lost_in_row <= LOST_IN_ROW_MAX {
                node.table.failed(now, pending.to);
            }
        }
        match pending.purpose {
            Purpose::Walk(task) => self.not_walked(now, task, pending.to),
            Purpose::Store(task) => self.stored(now, task, Err((0, "no answer".into()))),
            Purpose::Ping(operation) => self.end_ping(operation, None),
            Purpose::Check | Purpose::Meet => {}
        }
    }

    /// Pings a node of the table, unless somebody does already.
    pub(crate) fn check(&mut self, now: Duration, interface: InterfaceId, addr: SocketAddr) {
        if !self.transactions.is_asking(addr) {
            self.ask(now, interface, addr, Purpose::Check, ("ping", Fields::default()));
        }
    }

    /// Pings a stranger that may be a node.
    pub(crate) fn meet(&mut self, now: Duration, interface: InterfaceId, addr: SocketAddr) {
        let who = origin(addr);
        let known = self.met.get(&who).is_some_and(|at| now.saturating_sub(*at) < MEET_AGAIN);
        let busy = self.transactions.meetings() >= MEETINGS_MAX || self.met.len() >= MET_MAX;
        if known || busy || self.is_bootstrap(addr) {
            return;
        }
        let ping = ("ping", Fields::default());
        if self.ask(now, interface, addr, Purpose::Meet, ping) == Sent::Yes {
            self.met.insert(who, now);
        }
    }

    pub(crate) fn forget_met(&mut self, now: Duration) {
        self.met.retain(|_, at| now.saturating_sub(*at) < MEET_AGAIN);
    }
}
