//! The connections of a search: made, accepted, read and written. They carry a few messages each, so
//! they have none of the machinery of a torrent's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Hello, PeerKey};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use wire::{Decoded, Limits};

use super::search::Search;
use crate::peer::handshake::{self, HANDSHAKE_LIMIT, Ours};
use crate::peer::{Line, outgoing};
use crate::session::SessionShared;
use crate::settings::Transport;

/// Time to take what we say.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// What a peer may send before anybody knows how many pieces there are. A block is never asked for.
const LIMITS: Limits =
    Limits { bitfield_bytes: 256 * 1024, block_bytes: 0, extended_bytes: 128 * 1024 };

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Dials as many candidates as the limits allow.
pub(super) fn dial(session: &Arc<SessionShared>, search: &Arc<Search>) {
    while !search.over.is_cancelled() && !session.network.is_lost() {
        let Ok(half_open) = Arc::clone(&session.half_open).try_acquire_owned() else { return };
        let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else { return };
        let Some((addr, way)) = search.next_dial() else { return };
        let (session, search) = (Arc::clone(session), Arc::clone(search));
        tokio::spawn(async move {
            let opened = outgoing::open(&session, ours(&session, &search), addr, way).await;
            drop(half_open);
            match opened {
                Ok(opened) => {
                    search.opened(addr, opened.way);
                    converse(&search, opened.hello, opened.line).await;
                }
                Err(unopened) => {
                    tracing::debug!(%addr, error = %unopened.failure, "dial failed");
                    let falls_back = session.settings.transport == Transport::Both;
                    search.dial_failed(addr, falls_back && unopened.tcp_is_silent);
                }
            }
            drop(slot);
            search.wake.notify_one();
        });
    }
}

fn ours(session: &SessionShared, search: &Search) -> Ours {
    let hashes = search.hashes();
    let (info_hash, v2) = (hashes.on_the_wire(), hashes.v2().map(|hash| hash.truncated()));
    Ours { info_hash, v2, peer_id: session.peer_id, dht: session.dht.is_some() }
}

/// Answers a peer that came to us and asked for this torrent.
pub(crate) async fn accept(
    session: Arc<SessionShared>,
    search: Arc<Search>,
    mut line: Line,
    addr: SocketAddr,
    first: [u8; handshake::ROUTING_BYTES],
    slot: OwnedSemaphorePermit,
) {
    let ours = ours(&session, &search);
    match handshake::incoming(&mut line, first, ours, HANDSHAKE_LIMIT).await {
        Ok(theirs) => {
            let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
            let hello = Hello { addr, peer_id, outgoing: false, reserved };
            converse(&search, hello, line).await;
        }
        Err(error) => tracing::debug!(%addr, %error, "inbound peer refused"),
    }
    drop(slot);
}

async fn converse(search: &Search, hello: Hello, mut line: Line) {
    let (key, mut queue) = match search.join(hello) {
        Ok(joined) => joined,
        Err(refusal) => return tracing::debug!(addr = %hello.addr, %refusal, "peer refused"),
    };
    let ended = tokio::select! {
        ended = talk(search, key, &mut line, &mut queue) => ended,
        () = search.over.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(addr = %hello.addr, %error, "metadata peer lost");
    }
    search.left(key);
}

/// Until the search has no more use for the peer.
async fn talk(
    search: &Search,
    key: PeerKey,
    line: &mut Line,
    queue: &mut mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut received = Vec::new();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        tokio::select! {
            got = line.read(&mut bytes) => match got? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => {
                    received.extend_from_slice(&bytes[..got]);
                    let done = hear(search, key, &received)?;
                    received.drain(..done);
                }
            },
            message = queue.recv() => match message {
                // A few hundred bytes: one that does not take them is gone.
                Some(message) => timeout(WRITE_LIMIT, line.write_all(&message)).await??,
                None => return Ok(()),
            },
        }
    }
}

/// Hands on every whole message, and tells how many bytes they took. What is left is part of one that
/// the limits allow.
fn hear(search: &Search, key: PeerKey, received: &[u8]) -> io::Result<usize> {
    let mut done = 0;
    loop {
        match wire::decode(&received[done..], &LIMITS).map_err(io::Error::other)? {
            Decoded::Message { message, consumed } => {
                search.heard(key, &message);
                done += consumed;
            }
            Decoded::Incomplete { .. } => return Ok(done),
            Decoded::BlockHead { .. } => {
                return Err(io::Error::other("a block that nobody asked for"));
            }
        }
    }
}
