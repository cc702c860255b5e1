//! The session's datagrams behind a proxy: all of them go by one association of SOCKS5, which is made
//! anew when the proxy ends it. Without one nothing is sent.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use wire::proxy::{ProxyTarget, datagram_head};

use super::receive::Pending;
use super::{Datagrams, Path};
use crate::net::{Association, Network, Proxy, Purpose};

/// The longest datagram, with its head.
const BUFFER_BYTES: usize = 64 * 1024;
/// Datagrams taken before others have their turn.
const DATAGRAMS_A_TURN: usize = 64;

/// After a failure the proxy has this long, and twice as long after each further one.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Whether datagrams are relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RelayState {
    /// The proxy was asked and has not answered yet.
    Asking,
    /// They are.
    Ready,
    /// They are not, for this reason, and the proxy is asked again.
    Failing(String),
    /// The proxy does not do that at all.
    Off(String),
}

/// The way through the proxy.
pub(super) struct Relayed {
    proxy: Proxy,
    association: RwLock<Option<Arc<Association>>>,
    state: watch::Sender<RelayState>,
    /// The association is of an interface that may be another by now.
    anew: Notify,
}

impl Relayed {
    pub(super) fn new(proxy: Proxy) -> Self {
        let state = watch::Sender::new(RelayState::Asking);
        Self { proxy, association: RwLock::default(), state, anew: Notify::new() }
    }

    pub(super) fn state(&self) -> watch::Receiver<RelayState> {
        self.state.subscribe()
    }

    /// Makes the association anew, now.
    pub(super) fn reopen(&self) {
        self.anew.notify_one();
    }

    fn association(&self) -> io::Result<Arc<Association>> {
        let association = self.association.read().unwrap_or_else(PoisonError::into_inner);
        let none = || io::Error::new(io::ErrorKind::NotConnected, "the proxy relays no datagrams");
        association.clone().ok_or_else(none)
    }

    fn set(&self, association: Option<Arc<Association>>, state: RelayState) {
        *self.association.write().unwrap_or_else(PoisonError::into_inner) = association;
        self.state.send_if_modified(|before| {
            let is_new = *before != state;
            *before = state;
            is_new
        });
    }

    /// Ends it, and forgets what it was about.
    pub(super) fn close(&self) {
        self.association.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// See [`Datagrams::try_send`].
    pub(super) fn try_send(
        &self,
        target: &ProxyTarget,
        bytes: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let association = self.association()?;
        let mut datagram = datagram_head(target);
        let head = datagram.len();
        for (index, part) in bytes.chunks(segment.max(1)).enumerate() {
            datagram.truncate(head);
            datagram.extend_from_slice(part);
            match association.try_send(&datagram) {
                // The rest of a burst that has begun is lost, as the network might lose it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && index > 0 => break,
                // One before found nobody; whether the proxy is there its connection tells.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.association()?.writable().await
    }

    /// Waits until datagrams are relayed.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let mut state = self.state.subscribe();
        let known = |state: &RelayState| matches!(state, RelayState::Ready | RelayState::Off(_));
        match &*state.wait_for(known).await.map_err(io::Error::other)? {
            RelayState::Off(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why.clone())),
            _ => Ok(()),
        }
    }
}

/// Keeps an association for as long as the hub lives, and receives by it.
pub(super) async fn run(hub: Weak<Datagrams>, relay: Arc<Relayed>, network: Network) {
    let mut wait = WAIT_MIN;
    loop {
        let error = match network.associate(&relay.proxy, Purpose::Datagrams).await {
            Ok(association) => {
                let (association, since) = (Arc::new(association), Instant::now());
                relay.set(Some(Arc::clone(&association)), RelayState::Ready);
                let ended = tokio::select! {
                    ended = receive(&hub, &association) => ended,
                    () = relay.anew.notified() => {
                        relay.set(None, RelayState::Asking);
                        continue;
                    }
                };
                // One that the proxy ends at once is a failure as well.
                if since.elapsed() > wait {
                    wait = WAIT_MIN;
                }
                ended
            }
            Err(error) => error,
        };
        if hub.strong_count() == 0 {
            return;
        }
        tracing::info!(%error, "no datagrams through the proxy");
        if error.kind() == io::ErrorKind::Unsupported {
            relay.set(None, RelayState::Off(format!("{error}; uTP and the DHT are off")));
            relay.anew.notified().await;
            continue;
        }
        let text = format!("{error}; uTP and the DHT are off meanwhile");
        relay.set(None, RelayState::Failing(text));
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(WAIT_MAX),
            () = relay.anew.notified() => wait = WAIT_MIN,
        }
    }
}

/// Receives until the association ends, or the hub.
async fn receive(hub: &Weak<Datagrams>, association: &Association) -> io::Error {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pending = Pending::default();
    loop {
        let mut next = association.recv(&mut buffer).await;
        let Some(hub) = hub.upgrade() else { return io::ErrorKind::NotConnected.into() };
        for _ in 0..DATAGRAMS_A_TURN {
            match next {
                Ok(Some((remote, inside))) => {
                    let inside = buffer.get(inside).unwrap_or_default();
                    pending.pass_on(&hub, Path { remote, local: None }, inside);
                }
                // A fragment, or junk.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Something we sent found nobody; see `try_send`.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    pending.drained();
                    return error;
                }
            }
            next = association.try_recv(&mut buffer);
        }
        pending.drained();
    }
}

#[cfg(test)]
mod tests;
