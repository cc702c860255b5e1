//! Queries on their way: an answer counts when it has the id of one, comes from the very address
//! it was sent to, over the same socket, and in time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::dht::InterfaceId;
use crate::operations::OperationId;
use crate::secrets::Secrets;
use crate::tasks::TaskId;

/// After this long another node is asked meanwhile.
const SLOW: Duration = Duration::from_secs(1);

/// After this long it is no answer any more: a walk must not wait for the dead.
const LOST: Duration = Duration::from_secs(3);

/// Queries on their way at once; each costs about 100 bytes.
const PENDING_MAX: usize = 1024;

pub(crate) type Transaction = [u8; 4];

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Whether a node of the table is still there.
    Check,
    /// Whether a node that asked us, or that a peer told us of, is one.
    Meet,
    /// A step of a walk.
    Walk(TaskId),
    /// Keeping something there.
    Store(TaskId),
    /// The user's ping.
    Ping(OperationId),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) interface: InterfaceId,
    pub(crate) to: SocketAddr,
    pub(crate) sent: Duration,
    pub(crate) purpose: Purpose,
    is_slow: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    pending: BTreeMap<Transaction, Pending>,
    deadlines: BTreeSet<(Duration, Transaction)>,
}

/// A deadline that passed.
pub(crate) enum Late {
    Slow(Pending),
    Lost(Pending),
}

impl Pending {
    fn deadline(&self) -> Duration {
        self.sent.saturating_add(if self.is_slow { LOST } else { SLOW })
    }
}

impl Transactions {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    pub(crate) fn meetings(&self) -> usize {
        self.pending.values().filter(|pending| pending.purpose == Purpose::Meet).count()
    }

    pub(crate) fn is_asking(&self, to: SocketAddr) -> bool {
        self.pending.values().any(|pending| pending.to == to)
    }

    /// A new query's id.
    pub(crate) fn begin(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        to: SocketAddr,
        purpose: Purpose,
        secrets: &mut Secrets,
    ) -> Transaction {
        let id = loop {
            let [a, b, c, d, ..] = secrets.draw();
            if !self.pending.contains_key(&[a, b, c, d]) {
                break [a, b, c, d];
            }
        };
        let pending = Pending { interface, to, sent: now, purpose, is_slow: false };
        self.deadlines.insert((pending.deadline(), id));
        self.pending.insert(id, pending);
        id
    }

    /// The query that this answers, if it does.
    pub(crate) fn end(
        &mut self,
        id: &[u8],
        interface: InterfaceId,
        from: SocketAddr,
    ) -> Option<Pending> {
        let id = Transaction::try_from(id).ok()?;
        let pending = self.pending.get(&id)?;
        if pending.to != from || pending.interface != interface {
            return None;
        }
        self.deadlines.remove(&(pending.deadline(), id));
        self.pending.remove(&id)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next query that is late at `now`.
    pub(crate) fn late(&mut self, now: Duration) -> Option<Late> {
        let (at, id) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.remove(&(at, id));
        let pending = self.pending.get_mut(&id)?;
        if pending.is_slow {
            return self.pending.remove(&id).map(Late::Lost);
        }
        pending.is_slow = true;
        self.deadlines.insert((pending.deadline(), id));
        Some(Late::Slow(*pending))
    }
}
