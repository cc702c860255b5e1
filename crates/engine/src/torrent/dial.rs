//! Outgoing connections: the swarm names whom, the session's limits say when.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use swarm::Hello;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracker::Prompt;

use super::Torrent;
use crate::connect;
use crate::peer::handshake::{self, Ours};
use crate::stream::Stream;

/// A peer that does not accept within this is behind a NAT or gone.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A live peer answers a handshake within a round trip.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// A download with fewer peers than this looks for more.
const FEW_PEERS: u32 = 10;
/// How often it looks whether it has. The trackers' own limits come on top.
pub(super) const SEEK_EVERY: Duration = Duration::from_mins(1);

impl Torrent {
    /// Dials as many candidates as the limits allow.
    pub(super) fn dial(self: &Rc<Self>) {
        let session = &self.context.session;
        while !self.stopped.get() {
            let Ok(half_open) = Arc::clone(&session.half_open).try_acquire_owned() else { return };
            let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else { return };
            let now = self.context.clock.now();
            let Some(addr) = self.state.borrow_mut().swarm.next_dial(now) else { return };
            tokio::task::spawn_local(Rc::clone(self).dial_one(addr, half_open, slot));
        }
    }

    /// Asks the trackers before their interval is over when a download has nearly nobody left.
    pub(super) fn seek_peers(&self, now: Duration) {
        let mut state = self.state.borrow_mut();
        if self.shared.seed_only || now.saturating_sub(state.sought_at) < SEEK_EVERY {
            return;
        }
        state.sought_at = now;
        let stats = state.swarm.stats(now);
        if stats.wanted_left > 0 && stats.peers + stats.half_open < FEW_PEERS {
            self.shared.announce_now(Prompt::FewPeers);
        }
    }

    async fn dial_one(
        self: Rc<Self>,
        addr: std::net::SocketAddr,
        half_open: OwnedSemaphorePermit,
        slot: OwnedSemaphorePermit,
    ) {
        let opened = self.guarded_peer(addr, self.open(addr)).await;
        match opened.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            Ok((hello, stream)) => {
                drop(half_open);
                self.serve(hello, stream).await;
            }
            Err(error) => {
                drop(half_open);
                tracing::debug!(%addr, %error, "dial failed");
                self.with_swarm(|swarm, now| swarm.dial_failed(now, addr));
            }
        }
        drop(slot);
        self.wake();
    }

    fn ours(&self) -> Ours {
        let session = &self.context.session;
        let dht = session.dht_for(&self.shared).is_some();
        Ours { info_hash: self.shared.info_hash(), peer_id: session.peer_id, dht }
    }

    async fn open(&self, addr: std::net::SocketAddr) -> std::io::Result<(Hello, Stream)> {
        let session = &self.context.session;
        let ours = self.ours();
        let mut stream = timeout(CONNECT_LIMIT, connect::connect(session, addr)).await??;
        let theirs = handshake::outgoing(&mut stream, ours, HANDSHAKE_LIMIT)
            .await
            .map_err(std::io::Error::other)?;
        let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
        Ok((Hello { addr, peer_id, outgoing: true, reserved }, stream))
    }

    /// Answers a peer that came to us and asked for this torrent.
    pub(crate) async fn accept(
        self: Rc<Self>,
        mut stream: Stream,
        addr: std::net::SocketAddr,
        first: [u8; handshake::ROUTING_BYTES],
        slot: OwnedSemaphorePermit,
    ) {
        let ours = self.ours();
        let shaken = self.guarded_peer(addr, async {
            #[cfg(test)]
            self.shared.spot(crate::panics::Spot::Handshake);
            handshake::incoming(&mut stream, first, ours, HANDSHAKE_LIMIT).await
        });
        match shaken.await {
            Ok(Ok(theirs)) => {
                let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
                let hello = Hello { addr, peer_id, outgoing: false, reserved };
                self.serve(hello, stream).await;
            }
            Ok(Err(error)) => tracing::debug!(%addr, %error, "inbound peer refused"),
            Err(_) => {} // it is logged
        }
        drop(slot);
    }
}
