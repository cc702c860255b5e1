//! The connections of a search on their way to the torrent that it found: from the control runtime to
//! a shard, with all that was said on them.
//!
//! Nobody reads them meanwhile. A torrent takes them when it begins to run, after its files were looked
//! at; one that takes longer for that dials anew.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm::Hello;
use tokio::sync::OwnedSemaphorePermit;

use crate::peer::Line;
use crate::stream::Detached;

/// How long they wait. Peers think us gone after two minutes of silence, and they are some of the
/// session's connections.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(15);

/// A connection of the search.
pub(crate) struct Handed {
    pub(crate) hello: Hello,
    /// Where the peer accepts connections, if known.
    pub(crate) listens_at: Option<std::net::SocketAddr>,
    /// What the peer said comes out of it first.
    pub(crate) line: Line<Detached>,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Where they wait. Dropping it ends them.
#[derive(Default)]
pub(crate) struct Handover(Mutex<Vec<Handed>>);

impl Handover {
    pub(super) fn push(&self, handed: Handed) {
        self.lock().push(handed);
    }

    /// All of them, for who serves or ends them.
    pub(crate) fn take(&self) -> Vec<Handed> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Handed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} connections", self.lock().len())
    }
}
