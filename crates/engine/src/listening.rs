//! Where peers can reach us: the listening port and what follows from it, which may be another one while
//! the session runs. The new sockets are there before the old ones go.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use swarm::{OpenTo, Reach};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accept::{self, WaitingRooms};
use crate::events::Event;
use crate::mapping;
use crate::net::{Listener, Purpose};
use crate::session::{Session, SessionShared};

/// How often is looked whether the last uTP connection of a port that was left is over.
const EVERY: Duration = Duration::from_secs(1);

/// How long to wait before a port that can't be had yet is tried again.
const AGAIN: Duration = Duration::from_secs(1);

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
    /// Whether the sockets are there: not while a session that has begun waits for its network.
    is_open: watch::Sender<bool>,
    rooms: WaitingRooms,
}

#[derive(Default)]
struct State {
    addrs: Vec<SocketAddr>,
    /// Ends the loops.
    until: CancellationToken,
    loops: Vec<JoinHandle<()>>,
    /// From how far somebody came by TCP.
    open_to: OpenTo,
}

impl Listening {
    pub(crate) fn new(addrs: Vec<SocketAddr>, is_open: bool) -> Self {
        let state = Mutex::new(State { addrs, ..State::default() });
        let is_open = watch::Sender::new(is_open);
        Self { state, changing: Mutex::default(), is_open, rooms: WaitingRooms::new() }
    }

    /// Where; empty when we don't listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        lock(&self.state).addrs.clone()
    }

    /// Somebody came by TCP.
    pub(crate) fn came_in(&self, addr: SocketAddr) {
        lock(&self.state).open_to.came_from(addr.ip());
    }

    /// We may be in another network.
    pub(crate) fn nobody_came(&self) {
        lock(&self.state).open_to = OpenTo::default();
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
    /// From how far others come to us by TCP: as somebody did, or by the gateway's word.
    pub(crate) fn open_to(&self) -> OpenTo {
        let mut open_to = lock(&self.listening.state).open_to;
        // A gateway behind another one does not map: see `mapping`.
        if self.mapping.external_ports().is_some() {
            open_to.v4 = Reach::World;
        }
        if self.mapping.port_v6().is_some() {
            open_to.v6 = Reach::World;
        }
        open_to
    }

    /// Where peers can reach us; 0 when we don't listen.
    pub(crate) fn listen_port(&self) -> u16 {
        lock(&self.listening.state).addrs.first().map_or(0, SocketAddr::port)
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
    let taken = |error| ListenPortError::Taken { port, error };
    if !session.settings.listen {
        return Err(ListenPortError::NotListening);
    }
    if !*session.listening.is_open.borrow() {
        return open_on(session, port).map(|()| Vec::new()).map_err(taken);
    }
    let old = session.listen_port();
    if old == port {
        return Ok(Vec::new());
    }
    let listeners = session.open_port(port).map_err(taken)?;
    let ending = session.listening.accept(session, listeners);
    tokio::spawn(let_go(Arc::downgrade(session), old));
    let was_mapped = session.mapping.external_ports().is_some();
    session.mapping.port_changed(session);
    if was_mapped {
        session.tell_peers_meanwhile();
    } else {
        session.tell_own_ports();
    }
    Ok(ending)
}

/// Opens the sockets that a session began without, if it did, and tells whoever is to know its port.
/// Must be called on the control runtime.
///
/// # Errors
/// When they can't be had yet: nothing has changed then.
pub(crate) fn open(session: &Arc<SessionShared>) -> io::Result<()> {
    let _one = lock(&session.listening.changing);
    if *session.listening.is_open.borrow() {
        return Ok(());
    }
    open_on(session, session.settings.port)
}

/// The same on this port, when they are not open.
fn open_on(session: &Arc<SessionShared>, port: u16) -> io::Result<()> {
    if session.settings.listen {
        let listeners = session.open_port(port)?;
        session.listening.accept(session, listeners);
    } else {
        session.datagrams.open_at(&session.network.local_addresses(0))?;
    }
    session.listening.is_open.send_replace(true);
    mapping::start(session);
    session.tell_own_ports();
    Ok(())
}

/// Does so as soon as that can be had. [`open`] has mostly been called by then, as the network came up:
/// it may have been too early.
pub(crate) async fn open_when_there(session: Weak<SessionShared>) {
    let mut told = None;
    loop {
        let Some(network) = session.upgrade().map(|session| session.network.clone()) else {
            return;
        };
        network.there().await;
        let Some(now_session) = session.upgrade() else { return };
        match open(&now_session) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => {} // it went again
            Err(error) => {
                let port = now_session.settings.port;
                let message = ListenPortError::Taken { port, error }.to_string();
                if told.as_ref() != Some(&message) {
                    tracing::warn!(%message, "not listening yet");
                    now_session.events.send(Event::NotListening { message: message.clone() });
                    told = Some(message);
                }
            }
        }
        drop(now_session);
        tokio::time::sleep(AGAIN).await;
    }
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
    /// Waits until it has its sockets: at once, but when what it is bound to was not there as it began.
    pub async fn opened(&self) {
        let mut is_open = self.inner.shared.listening.is_open.subscribe();
        let opened = is_open.wait_for(|is_open| *is_open).await;
        drop(opened); // no error: who would tell is held by this session
    }

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
