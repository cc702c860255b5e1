//! Opening a connection to a peer: the transport, encryption or none, and the handshake.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Hello, Reached, Transports, Way};

use super::Line;
use super::handshake::{self, HandshakeFailure, Ours};
use crate::encryption::Opening;
use crate::session::SessionShared;

/// A peer that does not accept within this is behind a NAT or gone.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a peer has for an encrypted handshake when there is another way to try: clients that don't
/// know it may wait for more.
const ENCRYPTED_LIMIT: Duration = Duration::from_secs(5);

/// A peer that shook hands.
pub(crate) struct Opened {
    pub(crate) hello: Hello,
    pub(crate) line: Line,
    pub(crate) reached: Reached,
}

/// Why nobody did.
pub(crate) struct Unopened {
    pub(crate) failure: HandshakeFailure,
    /// TCP was taken and led to no peer, as far as can be seen: uTP may.
    pub(crate) tcp_is_silent: bool,
}

impl Unopened {
    pub(crate) fn new(failure: HandshakeFailure) -> Self {
        Self { failure, tcp_is_silent: false }
    }
}

/// Connects in the way that worked last time, or is preferred, and if that fails for what the peer
/// thinks of it, once more in the other. By TCP or uTP, as `way` says.
pub(crate) async fn open(
    session: &SessionShared,
    ours: Ours,
    addr: SocketAddr,
    way: Way,
) -> Result<Opened, Unopened> {
    let worked = way.encrypted.map(|was| if was { Opening::Encrypted } else { Opening::Plain });
    let (first, other) = session.settings.encryption_out.openings(worked);
    let limit = session.settings.handshake_limit;
    let patience = match (first, other) {
        (Opening::Encrypted, Some(_)) => ENCRYPTED_LIMIT.min(limit),
        _ => limit,
    };
    let by = |opening| (opening, way.transports);
    let opened = open_by(session, addr, by(first), ours, patience).await;
    let opened = match (opened, other) {
        (Err(Unopened { failure, .. }), Some(other)) if failure.may_be_for(first) => {
            tracing::debug!(%addr, error = %failure, "dialled again, {other:?}");
            open_by(session, addr, by(other), ours, limit).await
        }
        (opened, _) => opened,
    };
    match (opened, ours.v2) {
        // Who only knows a hybrid by its v2 name hangs up on the other.
        (
            Err(Unopened { failure: HandshakeFailure::ClosedEarly { received: 0 }, .. }),
            Some(name),
        ) if name != ours.info_hash => {
            let ours = Ours { info_hash: name, ..ours };
            open_by(session, addr, by(first), ours, limit).await
        }
        (opened, _) => opened,
    }
}

async fn open_by(
    session: &SessionShared,
    addr: SocketAddr,
    (opening, transports): (Opening, Transports),
    ours: Ours,
    limit: Duration,
) -> Result<Opened, Unopened> {
    let connected = session.dialler().connect(addr, transports, CONNECT_LIMIT).await;
    let stream = connected.map_err(Unopened::new)?;
    let utp = stream.is_utp();
    let (theirs, line) = handshake::outgoing(stream, opening, ours, limit)
        .await
        .map_err(|failure| Unopened { tcp_is_silent: !utp && failure.is_silence(), failure })?;
    let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
    let hello = Hello { addr, peer_id, outgoing: true, reserved };
    let reached = Reached { encrypted: opening == Opening::Encrypted, utp };
    Ok(Opened { hello, line, reached })
}
