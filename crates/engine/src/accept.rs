//! Inbound connections: reads the info hash and hands the socket to the torrent's shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net;
use crate::peer::handshake;
use crate::session::SessionShared;
use crate::shard::ShardMessage;

/// Inbound connections that have not named a torrent yet, over all listeners. More wait in the
/// kernel's backlog: a flood of silent ones costs this many small tasks.
const UNROUTED_MAX: usize = 256;

/// How long an inbound peer has to name a torrent.
const ROUTING_LIMIT: Duration = Duration::from_secs(10);

/// How long to let file descriptors come back after the process ran out of them.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Accepts for as long as the session lives.
pub(crate) async fn accept_loop(
    session: Arc<SessionShared>,
    listener: TcpListener,
    unrouted: Arc<Semaphore>,
) {
    loop {
        let Ok(waiting) = Arc::clone(&unrouted).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, addr)) => {
                tokio::spawn(route(Arc::clone(&session), stream, addr, waiting));
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Room for inbound peers that have not named a torrent yet.
pub(crate) fn unrouted() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(UNROUTED_MAX))
}

async fn route(
    session: Arc<SessionShared>,
    mut stream: TcpStream,
    addr: SocketAddr,
    waiting: OwnedSemaphorePermit,
) {
    let routed = handshake::routing(&mut stream, ROUTING_LIMIT).await;
    drop(waiting);
    let (first, info_hash) = match routed {
        Ok(routed) => routed,
        Err(error) => {
            tracing::debug!(%addr, %error, "inbound peer refused");
            return;
        }
    };
    let Some(shard) = session.shard_of(&info_hash) else {
        tracing::debug!(%addr, %info_hash, "inbound peer asked for an unknown torrent");
        return;
    };
    let Ok(slot) = Arc::clone(&session.connections).try_acquire_owned() else {
        tracing::debug!(%addr, "inbound peer refused: no connection slot");
        return;
    };
    match net::tune(&stream).and_then(|()| stream.into_std()) {
        Ok(stream) => {
            shard.send(ShardMessage::Incoming { info_hash, stream, addr, first, slot });
        }
        Err(error) => tracing::debug!(%addr, %error, "inbound peer lost"),
    }
}
