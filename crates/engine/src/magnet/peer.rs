//! The connections of a search: made, accepted, read and written. They carry a few messages each, so
//! they have none of the machinery of a torrent's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swarm::{Hello, PeerKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use wire::{Decoded, Limits};

use super::search::Search;
use crate::net;
use crate::peer::handshake::{self, Ours};
use crate::session::SessionShared;
use crate::stream::Stream;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// What a peer may send before anybody knows how many pieces there are. A block is never asked for.
const LIMITS: Limits =
    Limits { bitfield_bytes: 256 * 1024, block_bytes: 0, extended_bytes: 128 * 1024 };

/// Bytes made room for at each read.
const READ_BYTES: usize = 16 * 1024;

/// Dials as many candidates as the limits allow.
pub(super) fn dial(session: &Arc<SessionShared>, search: &Arc<Search>) {
    while !search.over.is_cancelled() {
        let Ok(half_open) = Arc::clone(&session.half_open).try_acquire_owned() else { return };
        let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else { return };
        let Some(addr) = search.next_dial() else { return };
        let (session, search) = (Arc::clone(session), Arc::clone(search));
        tokio::spawn(async move {
            let opened = open(&session, &search, addr).await;
            drop(half_open);
            match opened {
                Ok((hello, stream)) => converse(&search, hello, stream).await,
                Err(error) => {
                    tracing::debug!(%addr, %error, "dial failed");
                    search.dial_failed(addr);
                }
            }
            drop(slot);
            search.wake.notify_one();
        });
    }
}

fn ours(session: &SessionShared, search: &Search) -> Ours {
    Ours { info_hash: search.hashes().on_the_wire(), peer_id: session.peer_id }
}

async fn open(
    session: &SessionShared,
    search: &Search,
    addr: SocketAddr,
) -> io::Result<(Hello, Stream)> {
    let stream = timeout(CONNECT_LIMIT, net::connect(addr, session.bind)).await??;
    let mut stream = Stream::Tcp(stream);
    let shaken = handshake::outgoing(&mut stream, ours(session, search), HANDSHAKE_LIMIT).await;
    let theirs = shaken.map_err(io::Error::other)?;
    let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
    Ok((Hello { addr, peer_id, outgoing: true, reserved }, stream))
}

/// Answers a peer that came to us and asked for this torrent.
pub(crate) async fn accept(
    session: Arc<SessionShared>,
    search: Arc<Search>,
    mut stream: Stream,
    addr: SocketAddr,
    first: [u8; handshake::ROUTING_BYTES],
    slot: OwnedSemaphorePermit,
) {
    let ours = ours(&session, &search);
    match handshake::incoming(&mut stream, first, ours, HANDSHAKE_LIMIT).await {
        Ok(theirs) => {
            let (reserved, peer_id) = (theirs.reserved, theirs.peer_id);
            let hello = Hello { addr, peer_id, outgoing: false, reserved };
            converse(&search, hello, stream).await;
        }
        Err(error) => tracing::debug!(%addr, %error, "inbound peer refused"),
    }
    drop(slot);
}

async fn converse(search: &Search, hello: Hello, stream: impl AsyncRead + AsyncWrite) {
    let (key, queue) = match search.join(hello) {
        Ok(joined) => joined,
        Err(refusal) => return tracing::debug!(addr = %hello.addr, %refusal, "peer refused"),
    };
    let (reading, writing) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = read(search, key, reading) => ended,
        ended = write(queue, writing) => ended,
        () = search.over.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(addr = %hello.addr, %error, "metadata peer lost");
    }
    search.left(key);
}

async fn read(search: &Search, key: PeerKey, mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let mut done = 0;
        loop {
            match wire::decode(&buffer[done..], &LIMITS).map_err(io::Error::other)? {
                Decoded::Message { message, consumed } => {
                    search.heard(key, &message);
                    done += consumed;
                }
                Decoded::Incomplete { .. } => break,
                Decoded::BlockHead { .. } => {
                    return Err(io::Error::other("a block that nobody asked for"));
                }
            }
        }
        buffer.drain(..done);
        buffer.reserve(READ_BYTES); // a message is longer than the limits at no time
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Until the search has no more use for the peer.
async fn write(
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut stream: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        stream.write_all(&bytes).await?;
    }
    Ok(())
}
