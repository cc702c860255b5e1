//! Outgoing connections: the swarm names whom, the session's limits say when.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Hello, Transports};
use tokio::sync::OwnedSemaphorePermit;
use tracker::Prompt;

use super::Torrent;
use crate::accept::Stranger;
use crate::peer::Line;
use crate::peer::handshake::{self, HandshakeFailure, Ours};
use crate::peer::outgoing::{self, Unopened};

/// A download with fewer peers than this looks for more.
const FEW_PEERS: u32 = 10;
/// How often it looks whether it has. The trackers' own limits come on top.
pub(super) const SEEK_EVERY: Duration = Duration::from_mins(1);

impl Torrent {
    /// Dials as many candidates as the limits allow.
    pub(super) fn dial(self: &Rc<Self>) {
        let session = &self.context.session;
        self.state().swarm.set_open_to(session.open_to());
        // Whom we can't reach anyway is not worth a failure.
        while !self.stopped.get() && !session.network.is_lost() {
            let Ok(half_open) = Arc::clone(&session.half_open).try_acquire_owned() else { return };
            let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else { return };
            let now = self.context.clock.now();
            let punch = self.state().swarm.next_punch();
            let dial = || self.state().swarm.next_dial(now);
            let Some(addr) = punch.or_else(dial) else { return };
            let dialling = Rc::clone(self).dial_one(addr, punch.is_some(), half_open, slot);
            tokio::task::spawn_local(dialling);
        }
    }

    /// Asks the trackers before their interval is over when a download has nearly nobody left.
    pub(super) fn seek_peers(&self, now: Duration) {
        let mut state = self.state();
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
        addr: SocketAddr,
        punch: bool,
        half_open: OwnedSemaphorePermit,
        slot: OwnedSemaphorePermit,
    ) {
        let opened = self.guarded_peer(addr, self.open(addr, punch)).await;
        drop(half_open);
        let panicked = |panicked| {
            let error = std::io::Error::other(panicked);
            Err(Unopened::new(HandshakeFailure::Io(error)))
        };
        match opened.unwrap_or_else(panicked) {
            Ok((hello, line)) => self.serve(hello, line).await,
            Err(unopened) => {
                tracing::debug!(%addr, error = %unopened.failure, "dial failed");
                self.dial_failed(addr, punch, &unopened);
            }
        }
        drop(slot);
        self.wake();
    }

    fn dial_failed(&self, addr: SocketAddr, punch: bool, unopened: &Unopened) {
        let session = &self.context.session;
        let falls_back = session.dialler().has_utp_beside(addr);
        if !self.failed.get() {
            let peer = session.network.peer_name(addr);
            self.change(|state, now| {
                state.mishaps.dial_failed(&peer, &unopened.failure);
                if punch {
                    state.swarm.punch_failed(addr);
                } else if falls_back && unopened.tcp_is_silent {
                    state.swarm.dial_hung_up(now, addr);
                } else {
                    state.swarm.dial_failed(now, addr);
                }
            });
        }
    }

    fn ours(&self) -> Ours {
        let session = &self.context.session;
        let dht = session.dht_for(&self.shared).is_some();
        let (info_hash, v2) = (self.shared.info_hash(), self.shared.v2_name());
        Ours { info_hash, v2, peer_id: session.peer_id, dht }
    }

    async fn open(&self, addr: SocketAddr, punch: bool) -> Result<(Hello, Line), Unopened> {
        let mut way = self.state().swarm.way_to(addr);
        if punch {
            way.transports = Transports::UtpAlone;
        }
        let opened = outgoing::open(&self.context.session, self.ours(), addr, way).await?;
        self.with_swarm(|swarm, _| swarm.opened(addr, opened.reached));
        Ok((opened.hello, opened.line))
    }

    /// Answers a peer that came to us and asked for this torrent.
    pub(crate) async fn accept(
        self: Rc<Self>,
        mut line: Line,
        addr: SocketAddr,
        first: [u8; handshake::ROUTING_BYTES],
        stranger: Stranger,
    ) {
        let (ours, limit) = (self.ours(), self.context.session.settings.handshake_limit);
        let shaken = self.guarded_peer(addr, async {
            #[cfg(test)]
            self.shared.spot(crate::panics::Spot::Handshake);
            handshake::incoming(&mut line, first, ours, limit).await
        });
        let shaken = tokio::select! {
            shaken = shaken => shaken,
            () = stranger.sent_away() => {
                tracing::debug!(%addr, "inbound peer refused: slow, and others come");
                return;
            }
        };
        drop(stranger);
        let connections = Arc::clone(&self.context.session.connections);
        let Ok(slot) = connections.try_acquire_owned() else {
            tracing::debug!(%addr, "inbound peer refused: no connection slot");
            return;
        };
        match shaken {
            Ok(Ok(theirs)) => {
                let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
                let hello = Hello { addr, peer_id, outgoing: false, reserved };
                self.serve(hello, line).await;
            }
            Ok(Err(error)) => tracing::debug!(%addr, %error, "inbound peer refused"),
            Err(_) => {} // it is logged
        }
        drop(slot);
    }
}
