//! To a peer by TCP or uTP (BEP 29), whichever is there first. Encryption and the handshake come on top,
//! in `peer/outgoing.rs`.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use swarm::is_stand_in;
use tokio::time::timeout;

use crate::ip_filter::Gate;
use crate::net::{Network, Purpose};
use crate::peer::HandshakeFailure;
use crate::session::SessionShared;
use crate::settings::Transport;
use crate::stream::Stream;
use crate::utp_driver::Utp;

/// What TCP has before uTP is tried beside it: most peers that take TCP at all have answered.
const HEAD_START: Duration = Duration::from_millis(400);
/// How long uTP is tried where TCP was refused: a router may have let one of the two through. Most
/// such peers are gone, and others wait to be dialled.
const AFTER_REFUSAL: Duration = Duration::from_secs(3);

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
    /// Connects within a time limit, by what the settings allow, or by uTP alone: to who dials us at the
    /// same time (BEP 55), and where TCP leads to no peer.
    pub(crate) async fn connect(
        &self,
        addr: SocketAddr,
        utp_alone: bool,
        limit: Duration,
    ) -> Result<Stream, HandshakeFailure> {
        let peer = || self.network.peer_name(addr);
        match timeout(limit, self.connect_any(addr, utp_alone)).await {
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

    async fn connect_any(&self, addr: SocketAddr, utp_alone: bool) -> io::Result<Stream> {
        if self.gate.refuses(addr.ip()) {
            return Err(Gate::error(addr.ip()));
        }
        let tcp = async { self.network.connect(addr, Purpose::Peers).await.map(Stream::Tcp) };
        let utp = async { self.utp.connect(addr).await.map(Stream::Utp) };
        let transport = if utp_alone { Transport::Utp } else { self.transport };
        match transport {
            // Whose datagrams would be the peer's, only the proxy knows.
            Transport::Utp if is_stand_in(addr.ip()) => {
                let text = "by its name a peer is reached through the proxy by TCP alone";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
            Transport::Both if is_stand_in(addr.ip()) => tcp.await,
            Transport::Tcp => tcp.await,
            Transport::Utp => utp.await,
            Transport::Both => race(tcp, utp).await,
        }
    }
}

/// Lets the second start later than the first, and takes who arrives.
async fn race(
    first: impl Future<Output = io::Result<Stream>>,
    second: impl Future<Output = io::Result<Stream>>,
) -> io::Result<Stream> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    match timeout(HEAD_START, &mut first).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => {
            return timeout(AFTER_REFUSAL, second).await.ok().and_then(Result::ok).ok_or(error);
        }
        Err(_) => {}
    }
    tokio::select! {
        done = &mut first => match done {
            Ok(stream) => Ok(stream),
            Err(error) => second.await.map_err(|_| error),
        },
        done = &mut second => match done {
            Ok(stream) => Ok(stream),
            Err(_) => first.await,
        },
    }
}

#[cfg(test)]
mod tests;
