//! uTP (BEP 29) over the session's datagrams: `utp` decides, this sends, waits and wakes.
//!
//! The endpoint is behind one lock. Whoever changes it, a shard that writes or the control runtime
//! that receives, also sends what follows from that; so nothing waits for a thread to wake.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::utp::{Blocked, Closed, Config, ConnectionId, Endpoint, Event, Transmit};
use tokio::sync::{Notify, mpsc};

use crate::clock::Clock;
use crate::datagrams::{Datagrams, Handler, Kind, Path, RelayState};
use crate::utp_stream::{UtpStream, Wake};

/// Datagrams of one burst: as many as fit into what a system call takes.
const BURST: usize = 44;

/// All uTP of a session.
pub(crate) struct Utp {
    hub: Arc<Datagrams>,
    clock: Clock,
    state: Mutex<State>,
    /// The timer is to be set anew, or there is something that the socket had no room for.
    changed: Notify,
    incoming: mpsc::UnboundedSender<UtpStream>,
    this: Weak<Self>,
}

struct State {
    endpoint: Endpoint,
    wakes: HashMap<ConnectionId, Arc<Wake>>,
    /// What is being sent.
    burst: Vec<u8>,
    /// It waits for the socket.
    unsent: Option<Transmit>,
    /// Connections that were opened by others, and that nobody was told of.
    incoming: Vec<ConnectionId>,
    armed: Option<Duration>,
}

impl Utp {
    /// Starts it in this runtime. Who connects to us comes out of the channel, if `config` lets them.
    pub(crate) fn start(
        hub: Arc<Datagrams>,
        clock: Clock,
        config: Config,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<UtpStream>) {
        let (sender, incoming) = mpsc::unbounded_channel();
        let state = State {
            endpoint: Endpoint::new(config),
            wakes: HashMap::new(),
            burst: Vec::new(),
            unsent: None,
            incoming: Vec::new(),
            armed: None,
        };
        let this = Arc::new_cyclic(|this| Self {
            hub,
            clock,
            state: Mutex::new(state),
            changed: Notify::new(),
            incoming: sender,
            this: Weak::clone(this),
        });
        this.hub.register(Kind::Utp, &this);
        // It ends with the sockets.
        this.hub.spawn(Arc::clone(&this).keep_time());
        (this, incoming)
    }

    /// Opens a connection. It takes up to seven seconds to see that nobody answers, from when the proxy
    /// relays, if there is one.
    pub(crate) async fn connect(self: &Arc<Self>, remote: SocketAddr) -> io::Result<UtpStream> {
        self.hub.ready().await?;
        let stream = {
            let mut state = self.lock();
            let now = self.clock.now();
            let too_many = || io::Error::other("too many uTP connections");
            let id = state
                .endpoint
                .connect(now, remote, self.hub.local_addr(remote))
                .ok_or_else(too_many)?;
            let wake = Arc::new(Wake::default());
            state.wakes.insert(id, Arc::clone(&wake));
            self.go_on(state, now);
            UtpStream::new(Arc::clone(self), id, remote, wake)
        };
        stream.connected().await?;
        Ok(stream)
    }

    /// Whether what it sends leaves: without a proxy, or by one that relays datagrams.
    pub(crate) fn can_send(&self) -> bool {
        self.hub.relay_state().is_none_or(|state| *state.borrow() == RelayState::Ready)
    }

    /// Whether a connection goes by this port of ours.
    pub(crate) fn uses(&self, local_port: u16) -> bool {
        self.lock().endpoint.uses(local_port)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the endpoint do something for a stream, and sends what follows from that.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Endpoint) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.endpoint);
        self.go_on(state, self.clock.now());
        result
    }

    /// A stream was dropped: what was written to it is still sent.
    pub(crate) fn close(&self, id: ConnectionId) {
        let mut state = self.lock();
        state.wakes.remove(&id);
        state.endpoint.close(id);
        self.go_on(state, self.clock.now());
    }

    /// Sends and tells what there is to send and tell.
    fn go_on(&self, mut state: MutexGuard<'_, State>, now: Duration) {
        self.send(&mut state, now);
        state.tell();
        let due = state.endpoint.due();
        let sooner = due.is_some_and(|due| state.armed.is_none_or(|armed| due < armed));
        if sooner || state.unsent.is_some() {
            state.armed = due;
            self.changed.notify_one();
        }
        for id in std::mem::take(&mut state.incoming) {
            let Some(remote) = state.endpoint.remote(id) else { continue };
            let wake = Arc::new(Wake::default());
            wake.readable();
            state.wakes.insert(id, Arc::clone(&wake));
            let Some(this) = self.this.upgrade() else { return };
            let stream = UtpStream::new(this, id, remote, wake);
            if let Err(unwanted) = self.incoming.send(stream) {
                state.wakes.remove(&id);
                state.endpoint.close(id);
                unwanted.0.forget(); // its drop would want the lock that is held here
            }
        }
    }

    fn send(&self, state: &mut State, now: Duration) {
        loop {
            if let Some(burst) = state.unsent {
                match self.hub.try_send(path_of(burst), &state.burst, burst.segment) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    // What can't be sent is as good as lost: it is sent again, or given up in time.
                    Err(error) => tracing::trace!(%error, remote = %burst.remote, "uTP not sent"),
                    Ok(()) => {}
                }
            }
            let State { endpoint, burst, .. } = state;
            state.unsent = endpoint.transmit(now, BURST, burst);
            if state.unsent.is_none() {
                return;
            }
        }
    }

    /// Does what is due, and sends again what the socket had no room for.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let (due, blocked) = {
                let mut state = self.lock();
                state.armed = state.endpoint.due();
                (state.armed, state.unsent.map(path_of))
            };
            let time = async {
                match due {
                    Some(due) => {
                        tokio::time::sleep(due.saturating_sub(self.clock.now())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let room = async {
                match blocked {
                    Some(path) if self.hub.writable(path).await.is_ok() => {}
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = room => {}
                () = self.changed.notified() => continue,
            }
            let mut state = self.lock();
            let now = self.clock.now();
            state.endpoint.tick(now);
            self.go_on(state, now);
        }
    }
}

impl Handler for Utp {
    fn datagram(&self, from: Path, bytes: &[u8]) {
        let now = self.clock.now();
        self.lock().endpoint.handle(now, from.remote, from.local, bytes);
    }

    fn drained(&self) {
        self.go_on(self.lock(), self.clock.now());
    }
}

impl State {
    /// Wakes who waits for what happened.
    fn tell(&mut self) {
        while let Some(event) = self.endpoint.event() {
            let wake = |id: &ConnectionId| self.wakes.get(id);
            match event {
                Event::Incoming(id) => self.incoming.push(id),
                Event::Connected(id) => {
                    if let Some(wake) = wake(&id) {
                        wake.connected();
                    }
                }
                Event::Readable(id) => {
                    if let Some(wake) = wake(&id) {
                        wake.readable();
                    }
                }
                Event::Writable(id) => {
                    if let Some(wake) = wake(&id) {
                        wake.writable();
                    }
                }
                Event::Closed(id, reason) => {
                    if let Some(wake) = wake(&id) {
                        wake.closed(reason);
                    }
                }
            }
        }
    }
}

fn path_of(burst: Transmit) -> Path {
    Path { remote: burst.remote, local: burst.local }
}

/// What a stream's user hears of it.
pub(crate) fn error_of(blocked: Blocked) -> io::Error {
    match blocked {
        Blocked::Later => io::ErrorKind::WouldBlock.into(),
        Blocked::Closed(Closed::Refused) => io::ErrorKind::ConnectionRefused.into(),
        Blocked::Closed(Closed::Reset) => io::ErrorKind::ConnectionReset.into(),
        Blocked::Closed(Closed::TimedOut) => io::ErrorKind::TimedOut.into(),
    }
}

#[cfg(test)]
mod tests;
