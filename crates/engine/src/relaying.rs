//! What a session says of a proxy that is to relay its datagrams: uTP and the DHT are off while it does
//! not.

use std::sync::{Arc, Weak};

use crate::datagrams::RelayState;
use crate::events::Event;
use crate::session::{Session, SessionShared};

/// Tells of each change, for as long as the session lives.
pub(crate) async fn tell(session: Arc<SessionShared>) {
    let Some(mut state) = session.datagrams.relay_state() else { return };
    let weak: Weak<_> = Arc::downgrade(&session);
    drop(session);
    let mut told = false;
    loop {
        let event = match &*state.borrow_and_update() {
            RelayState::Failing(message) | RelayState::Off(message) => {
                told = true;
                Some(Event::RelayLost { message: message.clone() })
            }
            RelayState::Ready if std::mem::take(&mut told) => Some(Event::RelayBack),
            RelayState::Ready | RelayState::Asking => None,
        };
        if let Some(event) = event {
            let Some(session) = weak.upgrade() else { return };
            session.events.send(event);
        }
        if state.changed().await.is_err() {
            return; // the session's datagrams are gone
        }
    }
}

impl Session {
    /// Why the proxy relays no datagrams, so that uTP and the DHT are off; `None` when it does, has not
    /// answered yet, or there is none that could.
    pub fn relay_trouble(&self) -> Option<String> {
        match &*self.inner.shared.datagrams.relay_state()?.borrow() {
            RelayState::Failing(message) | RelayState::Off(message) => Some(message.clone()),
            RelayState::Ready | RelayState::Asking => None,
        }
    }
}
