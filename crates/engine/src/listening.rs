//! Where peers can reach us: the listening port and what follows from it, which may be another one while
//! the session runs. The new sockets are there before the old ones go.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracker::Prompt;

use crate::accept::{self, WaitingRooms};
use crate::handle::TorrentShared;
use crate::net::{Listener, Purpose};
use crate::session::{Session, SessionShared};
use crate::shard::ShardMessage;

/// How often is looked whether the last uTP connection of a port that was left is over.
const EVERY: Duration = Duration::from_secs(1);

/// How often any port is asked for that is free for TCP and UDP.
const TRIES: u32 = 8;

/// Why a session goes on listening where it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenPortError {
    /// It does not listen.
    #[error("this session does not listen; start it with a port")]
    NotListening,
    /// The port can't be had.
    #[error("can't listen on port {port}: {error}; choose another port, or 0 for any")]
    Taken {
        /// The port asked for.
        port: u16,
        /// Why.
        error: io::Error,
    },
    /// It was shut down.
    #[error("the session has ended")]
    Ended,
}

/// The listeners of a session.
pub(crate) struct Listening {
    state: Mutex<State>,
    /// One change after the other.
    changing: Mutex<()>,
    rooms: WaitingRooms,
}

#[derive(Default)]
struct State {
    addrs: Vec<SocketAddr>,
    /// Ends the loops.
    until: CancellationToken,
    loops: Vec<JoinHandle<()>>,
}

impl Listening {
    pub(crate) fn new(addrs: Vec<SocketAddr>) -> Self {
        let state = Mutex::new(State { addrs, ..State::default() });
        Self { state, changing: Mutex::default(), rooms: WaitingRooms::new() }
    }

    /// Where; empty when we don't listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        lock(&self.state).addrs.clone()
    }

    pub(crate) fn rooms(&self) -> &WaitingRooms {
        &self.rooms
    }

    /// Accepts peers by these listeners from now on. Gives the loops that end for it. Must be called on
    /// the control runtime.
    pub(crate) fn accept(
        &self,
        session: &Arc<SessionShared>,
        listeners: Vec<Listener>,
    ) -> Vec<JoinHandle<()>> {
        let addrs = listeners.iter().map(Listener::local_addr).collect();
        let mut new = State { addrs, ..State::default() };
        for listener in listeners {
            let accepting = accept::accept_loop(Arc::clone(session), listener, self.rooms.clone());
            let until = new.until.clone();
            new.loops.push(tokio::spawn(async move {
                until.run_until_cancelled_owned(accepting).await;
            }));
        }
        let old = std::mem::replace(&mut *lock(&self.state), new);
        old.until.cancel();
        old.loops
    }
}

impl SessionShared {
    /// Where peers can reach us; 0 when we don't listen.
    pub(crate) fn listen_port(&self) -> u16 {
        lock(&self.listening.state).addrs.first().map_or(0, SocketAddr::port)
    }

    /// Where peers from elsewhere can reach us, as far as we know: the gateway's port, or ours.
    pub(crate) fn announced_port(&self) -> u16 {
        self.announced_port.load(Ordering::Relaxed)
    }

    /// Where the DHT node is, for a torrent's peers.
    pub(crate) fn dht_port(&self, shared: &TorrentShared) -> Option<u16> {
        self.dht_for(shared).and_then(|_| self.datagrams.port())
    }

    /// Another port leads to us, as far as we know.
    pub(crate) fn announced_port_changed(&self) {
        let port = self.port_to_announce();
        if self.announced_port.swap(port, Ordering::Relaxed) != port {
            self.tell_port(port);
        }
    }

    fn port_to_announce(&self) -> u16 {
        self.mapping.external_port().unwrap_or_else(|| self.listen_port())
    }

    /// Whoever was told of a port of ours is told the new one.
    fn tell_port(&self, port: u16) {
        for shared in self.all() {
            shared.announce_now(Prompt::User);
            let (info_hash, dht_port) = (shared.info_hash(), self.dht_port(&shared));
            if let Some(shard) = self.shard_of(&info_hash) {
                shard.send(ShardMessage::ListenPort { info_hash, port, dht_port });
            }
        }
        self.searches.all().iter().for_each(|search| search.port_changed(port));
        if let Some(dht) = &self.dht {
            dht.port_changed();
        }
    }

    /// Opens the sockets of another port, of which none has come in yet.
    fn open_port(&self, port: u16) -> io::Result<Vec<Listener>> {
        let mut tries = if port == 0 { TRIES } else { 1 };
        loop {
            let listeners = self.network.listen(port, Purpose::Peers)?;
            let addrs: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
            tries -= 1;
            match self.datagrams.move_to(&addrs) {
                Ok(()) => return Ok(listeners),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {} // another program has that port's UDP side
            }
        }
    }
}

/// Listens on another port instead. Gives what ends with the old one.
fn change(session: &Arc<SessionShared>, port: u16) -> Result<Vec<JoinHandle<()>>, ListenPortError> {
    let _one = lock(&session.listening.changing);
    let old = match session.listen_port() {
        0 => return Err(ListenPortError::NotListening),
        old if old == port => return Ok(Vec::new()),
        old => old,
    };
    let listeners =
        session.open_port(port).map_err(|error| ListenPortError::Taken { port, error })?;
    let ending = session.listening.accept(session, listeners);
    tokio::spawn(let_go(Arc::downgrade(session), old));
    session.mapping.port_changed(session);
    let port = session.port_to_announce();
    session.announced_port.store(port, Ordering::Relaxed);
    session.tell_port(port);
    Ok(ending)
}

/// Gives the datagrams' old port back when no connection goes by it any more.
async fn let_go(session: Weak<SessionShared>, port: u16) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let Some(session) = session.upgrade() else { return };
        if !session.utp.uses(port) {
            return session.datagrams.let_go(port);
        }
    }
}

impl Session {
    /// Listens on another port, 0 for any, by TCP and UDP; trackers, the DHT, peers and the gateway
    /// are told. Connections stay as they are. When this returns, nobody gets in by the old port.
    ///
    /// # Errors
    /// [`ListenPortError`]: it goes on where it did.
    pub async fn set_listen_port(&self, port: u16) -> Result<(), ListenPortError> {
        let control = self.inner.control().ok_or(ListenPortError::Ended)?;
        let session = Arc::clone(&self.inner.shared);
        // A task of its own: who asks may stop waiting, but nothing is left half done.
        let changing = control.spawn(async move {
            for ending in change(&session, port)? {
                let _ = ending.await; // a panic was logged
            }
            Ok(())
        });
        changing.await.unwrap_or(Err(ListenPortError::Ended))
    }
}

/// Plain data: one left by a panicking thread is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
