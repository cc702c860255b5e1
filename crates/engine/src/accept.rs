//! Inbound connections: reads the info hash and hands the socket to the torrent's shard.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};

use crate::magnet;
use crate::net::Listener;
use crate::peer::handshake::{self, Routed};
use crate::session::SessionShared;
use crate::settings::Transport;
use crate::shard::ShardMessage;
use crate::stream::Stream;
use crate::utp_stream::UtpStream;

/// Inbound connections that have not shaken hands yet, over all listeners. One more sends the one away
/// that has taken longest: a flood of them costs this many small tasks, and does not keep out who
/// shakes hands at once. They have none of the session's connections.
const STRANGERS_MAX: usize = 256;

/// How long an inbound peer has to name a torrent.
const ROUTING_LIMIT: Duration = Duration::from_secs(10);

/// Inbound peers of torrents that are being checked, over all listeners.
const EARLY_MAX: usize = 64;

/// How long they wait. Clients that are turned away come back after a minute or not at all; those
/// that wait for a handshake give up after some ten seconds.
const EARLY_LIMIT: Duration = Duration::from_secs(15);

/// How long to let file descriptors come back after the process ran out of them.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Accepts for as long as the session lives.
pub(crate) async fn accept_loop(
    session: Arc<SessionShared>,
    mut listener: Listener,
    rooms: WaitingRooms,
) {
    loop {
        match listener.accept().await {
            Ok((_, addr)) if session.gate.refuses(addr.ip()) => {
                tracing::debug!(%addr, "inbound peer refused: the IP filter has it");
            }
            Ok(_) if session.settings.transport == Transport::Utp => {} // and closed at once
            Ok((stream, addr)) => {
                session.listening.came_in(addr);
                tokio::spawn(route(Arc::clone(&session), Stream::Tcp(stream), addr, rooms.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// The same for those that come by uTP.
pub(crate) async fn accept_utp(
    session: Arc<SessionShared>,
    mut incoming: mpsc::UnboundedReceiver<UtpStream>,
    rooms: WaitingRooms,
) {
    while let Some(stream) = incoming.recv().await {
        let addr = stream.remote;
        tokio::spawn(route(Arc::clone(&session), Stream::Utp(stream), addr, rooms.clone()));
    }
}

/// Where inbound peers wait, over all listeners of a session.
#[derive(Clone)]
pub(crate) struct WaitingRooms {
    /// For those that have not shaken hands yet: how each is sent away, who came first in front.
    strangers: Arc<Mutex<VecDeque<Arc<Notify>>>>,
    /// For those whose torrent is being checked.
    early: Arc<Semaphore>,
}

/// A place among those that have not shaken hands yet, which dropping it gives back.
pub(crate) struct Stranger {
    rooms: WaitingRooms,
    sent_away: Arc<Notify>,
}

impl WaitingRooms {
    pub(crate) fn new() -> Self {
        Self { strangers: Arc::default(), early: Arc::new(Semaphore::new(EARLY_MAX)) }
    }

    /// Lets one more in, and tells who has been there for longest to go if that is one too many.
    pub(crate) fn enter(&self) -> Stranger {
        let sent_away = Arc::new(Notify::new());
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.push_back(Arc::clone(&sent_away));
        if strangers.len() > STRANGERS_MAX
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.notify_one();
        }
        Stranger { rooms: self.clone(), sent_away }
    }
}

impl Stranger {
    /// Waits until others need its place.
    pub(crate) async fn sent_away(&self) {
        self.sent_away.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let strangers = &self.rooms.strangers;
        let mut strangers = strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.retain(|other| !Arc::ptr_eq(&self.sent_away, other));
    }
}

async fn route(session: Arc<SessionShared>, stream: Stream, addr: SocketAddr, rooms: WaitingRooms) {
    let stranger = rooms.enter();
    let mode = session.settings.encryption_in;
    let find = |mark: &_| session.find_mark(mark);
    let routed = tokio::select! {
        routed = handshake::routing(stream, mode, find, ROUTING_LIMIT) => routed,
        () = stranger.sent_away() => {
            tracing::debug!(%addr, "inbound peer refused: silent, and others come");
            return;
        }
    };
    let Routed { line, first, info_hash } = match routed {
        Ok(routed) => routed,
        Err(error) => {
            tracing::debug!(%addr, %error, "inbound peer refused");
            return;
        }
    };
    let Some((torrent, shard)) = session.find(&info_hash) else {
        if let Some(search) = session.searches.find(&info_hash) {
            magnet::accept(session, search, line, addr, first, stranger).await;
        } else {
            tracing::debug!(%addr, %info_hash, "inbound peer asked for an unknown torrent");
        }
        return;
    };
    let mut stranger = Some(stranger);
    if torrent.is_checking() {
        stranger = None; // it waits for us, and by itself
        let room = rooms.early.try_acquire();
        let started = tokio::time::timeout(EARLY_LIMIT, torrent.checked());
        if room.is_err() || started.await != Ok(true) {
            tracing::debug!(%addr, %info_hash, "inbound peer refused: the torrent is being checked");
            return;
        }
    }
    let stranger = stranger.unwrap_or_else(|| rooms.enter());
    match line.detach() {
        Ok(line) => {
            let info_hash = torrent.info_hash(); // it may have come by the other name
            shard.send(ShardMessage::Incoming { info_hash, line, addr, first, stranger });
        }
        Err(error) => tracing::debug!(%addr, %error, "inbound peer lost"),
    }
}
