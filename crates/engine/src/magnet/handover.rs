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
    /// Addresses that were dialled in vain, or whose connection is not kept.
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
            None if state.is_late => state.let_go(&handed),
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
        for handed in std::mem::take(&mut state.waiting) {
            state.let_go(&handed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The torrent dials it anew. Of the others it knows the addresses already.
    fn let_go(&mut self, handed: &Handed) {
        if let Standing::New(Some(source)) = handed.standing {
            self.addresses.push((source, handed.hello.addr));
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{Semaphore, mpsc};
    use wire::{PeerId, Reserved};

    use super::*;
    use crate::net::Held;
    use crate::stream::Stream;

    async fn handed(addr: SocketAddr, standing: Standing) -> Handed {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::Tcp(Held::unlisted(stream)).detach().unwrap();
        let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (peer_id, reserved) = (PeerId([1; 20]), Reserved::default());
        let hello = Hello { addr, peer_id, outgoing: true, reserved };
        Handed { hello, standing, line: Line::agreed(stream, None), slot }
    }

    #[tokio::test]
    async fn who_waited_for_too_long_is_dialled_anew_if_nobody_else_knows_where() {
        let addr = |last| SocketAddr::from(([192, 0, 2, last], 6881));
        let handover = Handover::default();
        let new = || Standing::New(Some(Source::Tracker));
        handover.push(handed(addr(1), new()).await);
        handover.push(handed(addr(2), Standing::Greeted(None)).await);
        handover.push_address(Source::Dht, addr(3));
        handover.end();
        handover.push(handed(addr(4), new()).await);
        handover.push(handed(addr(5), Standing::New(None)).await);
        let (shard, _shard) = mpsc::unbounded_channel();
        let (mut addresses, waiting) = handover.take(InfoHash([7; 20]), shard.downgrade());
        addresses.sort_by_key(|(_, addr)| *addr);
        let known = [(Source::Tracker, 1), (Source::Dht, 3), (Source::Tracker, 4)];
        assert_eq!(addresses, known.map(|(source, last)| (source, addr(last))));
        assert!(waiting.is_empty());
    }
}
