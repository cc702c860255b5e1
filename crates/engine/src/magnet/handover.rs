//! The connections of a search on their way to the torrent that it found: from the control runtime to
//! a shard, with all that was said on them.
//!
//! Nobody reads them meanwhile. A torrent takes them when it begins to run, after its files were looked
//! at; one that takes longer for that dials anew. What comes of dials that were under way then follows.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metainfo::InfoHash;
use swarm::{Hello, Source};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::WeakUnboundedSender;

use crate::peer::Line;
use crate::shard::ShardMessage;
use crate::stream::Detached;

/// How long they wait. Peers think us gone after two minutes of silence, and they are some of the
/// session's connections.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(15);

/// A connection of the search.
pub(crate) struct Handed {
    pub(crate) hello: Hello,
    /// How the torrent is to know the peer.
    pub(crate) standing: Standing,
    /// What the peer said comes out of it first.
    pub(crate) line: Line<Detached>,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// What is known of a peer besides its handshake.
#[derive(Clone, Copy)]
pub(crate) enum Standing {
    /// It was greeted, and perhaps said where it accepts connections.
    Greeted(Option<SocketAddr>),
    /// It shook hands when the search was over, at an address from there if we dialled it.
    New(Option<Source>),
}

/// Where they wait. Dropping it ends them.
#[derive(Default)]
pub(crate) struct Handover(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<Handed>,
    /// Addresses that were dialled in vain.
    addresses: Vec<(Source, SocketAddr)>,
    /// The torrent, and the shard that it is on.
    taken_by: Option<(InfoHash, WeakUnboundedSender<ShardMessage>)>,
    /// They waited for too long.
    is_late: bool,
}

impl Handover {
    pub(super) fn push(&self, handed: Handed) {
        let mut state = self.lock();
        match &state.taken_by {
            Some((info_hash, shard)) => {
                let (info_hash, handed) = (*info_hash, Box::new(handed));
                tell(shard, ShardMessage::HandedOver { info_hash, handed });
            }
            None if state.is_late => {}
            None => state.waiting.push(handed),
        }
    }

    /// An address led to nobody while it was the search's to dial.
    pub(super) fn push_address(&self, source: Source, addr: SocketAddr) {
        let mut state = self.lock();
        match &state.taken_by {
            Some((info_hash, shard)) => {
                let (info_hash, addrs) = (*info_hash, vec![addr]);
                tell(shard, ShardMessage::Candidates { info_hash, source, addrs });
            }
            None => state.addresses.push((source, addr)),
        }
    }

    /// All of them, for the torrent of this name. What comes later is sent after it.
    pub(crate) fn take(
        &self,
        info_hash: InfoHash,
        shard: WeakUnboundedSender<ShardMessage>,
    ) -> (Vec<(Source, SocketAddr)>, Vec<Handed>) {
        let mut state = self.lock();
        state.taken_by = Some((info_hash, shard));
        (std::mem::take(&mut state.addresses), std::mem::take(&mut state.waiting))
    }

    /// Nobody came for them.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_late = true;
        state.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without a shard the session has ended.
fn tell(shard: &WeakUnboundedSender<ShardMessage>, message: ShardMessage) {
    if let Some(shard) = shard.upgrade() {
        let _ = shard.send(message);
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} connections", self.lock().waiting.len())
    }
}
