//! To a peer by TCP or uTP (BEP 29), whichever is there first: `swarm::Race` says which begins when.
//! Encryption and the handshake come on top, in `peer/outgoing.rs`.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Leg, Race, Transports, is_stand_in};
use tokio::time::{Instant, sleep_until, timeout};

use crate::ip_filter::Gate;
use crate::net::{Network, Purpose};
use crate::peer::HandshakeFailure;
use crate::session::SessionShared;
use crate::settings::Transport;
use crate::stream::Stream;
use crate::utp_driver::Utp;

/// What connections to peers are made with.
pub(crate) struct Dialler<'a> {
    pub(crate) network: &'a Network,
    pub(crate) gate: &'a Gate,
    pub(crate) utp: &'a Arc<Utp>,
    pub(crate) transport: Transport,
}

impl SessionShared {
    pub(crate) fn dialler(&self) -> Dialler<'_> {
        let (gate, transport) = (&*self.gate, self.settings.transport);
        Dialler { network: &self.network, gate, utp: &self.utp, transport }
    }
}

impl Dialler<'_> {
    /// Connects within a time limit, by what the settings allow, in this order, or by uTP alone: to who
    /// dials us at the same time (BEP 55), and where TCP leads to no peer.
    pub(crate) async fn connect(
        &self,
        addr: SocketAddr,
        transports: Transports,
        limit: Duration,
    ) -> Result<Stream, HandshakeFailure> {
        let peer = || self.network.peer_name(addr);
        match timeout(limit, self.connect_any(addr, transports)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let is_ours = error.kind() == io::ErrorKind::NetworkDown;
                let peer = peer();
                Err(if is_ours || self.network.proxy_trouble().is_some() {
                    HandshakeFailure::NoWay { peer, error }
                } else {
                    HandshakeFailure::Connect { peer, error }
                })
            }
            Err(_) => {
                // Silent is the one or the other, which nobody can tell here.
                let through = |proxy| format!("{}, through the proxy {proxy},", peer());
                let peer = self.network.proxy().map_or_else(peer, through);
                Err(HandshakeFailure::ConnectTimeout { peer, limit })
            }
        }
    }

    /// Whether uTP is another way to an address that TCP led to, and may lead there now.
    pub(crate) fn has_utp_beside(&self, addr: SocketAddr) -> bool {
        self.transport == Transport::Both && !is_stand_in(addr.ip()) && self.utp.can_send()
    }

    async fn connect_any(&self, addr: SocketAddr, transports: Transports) -> io::Result<Stream> {
        if self.gate.refuses(addr.ip()) {
            return Err(Gate::error(addr.ip()));
        }
        let tcp = async { self.network.connect(addr, Purpose::Peers).await.map(Stream::Tcp) };
        let utp = async { self.utp.connect(addr).await.map(Stream::Utp) };
        // Whose datagrams would be the peer's, only the proxy knows.
        let by_name = is_stand_in(addr.ip());
        let (may_tcp, may_utp) = match self.transport {
            Transport::Both => (true, !by_name),
            Transport::Tcp => (true, false),
            Transport::Utp => (false, true),
        };
        let legs = transports.legs(may_tcp, may_utp);
        if by_name && legs.contains(&Leg::Utp) {
            let text = "by its name a peer is reached through the proxy by TCP alone";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        run(Race::new(Duration::ZERO, legs), tcp, utp).await
    }
}

/// Runs the two as the race has them begin, and takes who arrives. What TCP says counts as the reason when
/// nobody does.
async fn run(
    mut race: Race,
    tcp: impl Future<Output = io::Result<Stream>>,
    utp: impl Future<Output = io::Result<Stream>>,
) -> io::Result<Stream> {
    let (mut tcp, mut utp) = (pin!(tcp), pin!(utp));
    let (mut tcp_runs, mut utp_runs) = (false, false);
    let (began, mut reason) = (Instant::now(), None);
    loop {
        let now = began.elapsed();
        while let Some(leg) = race.begin(now) {
            match leg {
                Leg::Tcp => tcp_runs = true,
                Leg::Utp => utp_runs = true,
            }
        }
        if race.is_over(now) {
            return Err(reason.unwrap_or_else(|| io::ErrorKind::TimedOut.into()));
        }
        let next = race.next_at();
        let turn = async {
            match next {
                Some(at) => sleep_until(began + at).await,
                None => pending().await,
            }
        };
        let done = tokio::select! {
            done = &mut tcp, if tcp_runs => {
                tcp_runs = false;
                done.map_err(|error| (error, true))
            }
            done = &mut utp, if utp_runs => {
                utp_runs = false;
                done.map_err(|error| (error, false))
            }
            () = turn => continue,
        };
        match done {
            Ok(stream) => return Ok(stream),
            Err((error, is_tcp)) => {
                race.failed(began.elapsed());
                if is_tcp || reason.is_none() {
                    reason = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
