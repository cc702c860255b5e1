//! The connections of a search: made, accepted, read and written. They carry a few messages each, so
//! they have none of the machinery of a torrent's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Acquainted, Hello, PeerKey, Refusal};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use wire::{Decoded, Limits};

use super::handover::{Handed, Standing};
use super::search::Search;
use crate::accept::Stranger;
use crate::peer::handshake::{self, Ours};
use crate::peer::{Line, outgoing};
use crate::session::SessionShared;

/// Time to take what we say.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The same when the search is over, for what fits into any socket: somebody waits for it.
const LAST_LIMIT: Duration = Duration::from_secs(1);

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
                    search.opened(addr, opened.reached);
                    converse(&search, opened.hello, opened.line, slot).await;
                }
                Err(unopened) => {
                    tracing::debug!(%addr, error = %unopened.failure, "dial failed");
                    let falls_back = session.dialler().has_utp_beside(addr);
                    let source = search.dialled_from(addr).filter(|_| search.hands_over());
                    search.dial_failed(addr, falls_back && unopened.tcp_is_silent);
                    if let Some(source) = source {
                        search.handover.push_address(source, addr);
                    }
                }
            }
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
    stranger: Stranger,
) {
    let ours = ours(&session, &search);
    let limit = session.settings.handshake_limit;
    let shaken = tokio::select! {
        shaken = handshake::incoming(&mut line, first, ours, limit) => shaken,
        () = stranger.sent_away() => {
            return tracing::debug!(%addr, "inbound peer refused: slow, and others come");
        }
    };
    drop(stranger);
    let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else {
        return tracing::debug!(%addr, "inbound peer refused: no connection slot");
    };
    match shaken {
        Ok(theirs) => {
            let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
            let hello = Hello { addr, peer_id, outgoing: false, reserved };
            converse(&search, hello, line, slot).await;
        }
        Err(error) => tracing::debug!(%addr, %error, "inbound peer refused"),
    }
}

async fn converse(search: &Search, hello: Hello, mut line: Line, slot: OwnedSemaphorePermit) {
    let talking = search.talks();
    let source = search.dialled_from(hello.addr).filter(|_| hello.outgoing);
    let (key, mut queue) = match search.join(hello) {
        Ok(joined) => joined,
        Err(Refusal::Full) if search.hands_over() => {
            return hand_over(search, hello, Standing::New(source), line, slot);
        }
        Err(refusal) => return tracing::debug!(addr = %hello.addr, %refusal, "peer refused"),
    };
    let mut received = Vec::new();
    match talk(search, key, &mut line, &mut queue, &mut received).await {
        Ok(()) => {
            if let Some(acquainted) = search.hand_over(key) {
                let Acquainted { hello, listens_at, mut said } = acquainted;
                said.append(&mut received);
                line.put_back(said);
                return hand_over(search, hello, Standing::Greeted(listens_at), line, slot);
            }
        }
        Err(error) => tracing::debug!(addr = %hello.addr, %error, "metadata peer lost"),
    }
    search.left(key);
    drop((talking, slot));
}

fn hand_over(
    search: &Search,
    hello: Hello,
    standing: Standing,
    line: Line,
    slot: OwnedSemaphorePermit,
) {
    match line.detach() {
        Ok(line) => search.handover.push(Handed { hello, standing, line, slot }),
        Err(error) => {
            tracing::debug!(addr = %hello.addr, %error, "peer lost");
            if let Standing::New(Some(source)) = standing {
                search.handover.push_address(source, hello.addr);
            }
        }
    }
}

/// Until the search has no more use for the peer, or is over. Then everything that was to be said is
/// said, and what was received and not understood is the beginning of a message.
async fn talk(
    search: &Search,
    key: PeerKey,
    line: &mut Line,
    queue: &mut mpsc::Receiver<Vec<u8>>,
    received: &mut Vec<u8>,
) -> io::Result<()> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        tokio::select! {
            biased;
            () = search.over.cancelled() => break,
            message = queue.recv() => match message {
                Some(message) => say(search, line, &message).await?,
                None => return Ok(()),
            },
            got = line.read(&mut bytes) => match got? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => {
                    received.extend_from_slice(&bytes[..got]);
                    let done = hear(search, key, received)?;
                    received.drain(..done);
                }
            },
        }
    }
    while let Ok(message) = queue.try_recv() {
        timeout(LAST_LIMIT, line.write_all(&message)).await??;
    }
    Ok(())
}

/// Says something whole. A few hundred bytes: a peer that does not take them is gone, and one that has
/// not when the search is over is not waited for.
async fn say(search: &Search, line: &mut Line, message: &[u8]) -> io::Result<()> {
    tokio::select! {
        biased;
        said = timeout(WRITE_LIMIT, line.write_all(message)) => said?,
        () = search.over.cancelled() => Err(io::Error::other("it was in the middle of a message")),
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
