//! Opening a connection to a peer: the transport, encryption or none, and the handshake.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::Hello;

use super::Line;
use super::handshake::{self, HANDSHAKE_LIMIT, HandshakeFailure, Ours};
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
    /// Whether the way that worked was the encrypted one.
    pub(crate) encrypted: bool,
}

/// Connects in the way that worked last time, or is preferred, and if that fails for what the peer
/// thinks of it, once more in the other. With `punch` the peer dials us at the same time (BEP 55).
pub(crate) async fn open(
    session: &SessionShared,
    ours: Ours,
    addr: SocketAddr,
    was_encrypted: Option<bool>,
    punch: bool,
) -> Result<Opened, HandshakeFailure> {
    let worked = was_encrypted.map(|was| if was { Opening::Encrypted } else { Opening::Plain });
    let (first, other) = session.settings.encryption_out.openings(worked);
    let patience = match (first, other) {
        (Opening::Encrypted, Some(_)) => ENCRYPTED_LIMIT,
        _ => HANDSHAKE_LIMIT,
    };
    let way = |opening| Way { opening, punch };
    let opened = open_by(session, addr, way(first), ours, patience).await;
    let opened = match (opened, other) {
        (Err(error), Some(other)) if error.may_be_for(first) => {
            tracing::debug!(%addr, %error, "dialled again, {other:?}");
            open_by(session, addr, way(other), ours, HANDSHAKE_LIMIT).await
        }
        (opened, _) => opened,
    };
    match (opened, ours.v2) {
        // Who only knows a hybrid by its v2 name hangs up on the other.
        (Err(HandshakeFailure::ClosedEarly { received: 0 }), Some(name))
            if name != ours.info_hash =>
        {
            let ours = Ours { info_hash: name, ..ours };
            open_by(session, addr, way(first), ours, HANDSHAKE_LIMIT).await
        }
        (opened, _) => opened,
    }
}

/// How a connection is made.
struct Way {
    opening: Opening,
    punch: bool,
}

async fn open_by(
    session: &SessionShared,
    addr: SocketAddr,
    Way { opening, punch }: Way,
    ours: Ours,
    limit: Duration,
) -> Result<Opened, HandshakeFailure> {
    let stream = session.dialler().connect(addr, punch, CONNECT_LIMIT).await?;
    let (theirs, line) = handshake::outgoing(stream, opening, ours, limit).await?;
    let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
    let hello = Hello { addr, peer_id, outgoing: true, reserved };
    Ok(Opened { hello, line, encrypted: opening == Opening::Encrypted })
}
