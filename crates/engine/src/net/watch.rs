//! Sees what we are bound to go and come back.
//!
//! That nothing leaves by another interface does not hang on this: the system refuses it for every
//! socket that is bound to one. This is how a session hears of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::link::{self, Absence, Link};
use super::{Network, State};

/// How often is looked. Nothing is sent meanwhile that must not be.
const EVERY: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing can be sent.
    Lost(Absence),
    /// It can again.
    Back,
}

impl Network {
    /// Looks for as long as it is polled. Ends at once when we are bound to nothing.
    pub(crate) async fn watch(self, mut tell: impl FnMut(Change)) {
        if self.binding().is_none() {
            return;
        }
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            for change in self.saw(link::look(self.binding())) {
                tell(change);
            }
        }
    }

    /// What is different from before.
    fn saw(&self, now: Result<Link, Absence>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.inner.state.send_if_modified(|state| {
            let before = state.clone();
            match now {
                Err(absence) => state.absence = Some(absence),
                Ok(link) => {
                    state.absence = None;
                    if state.index != link.index {
                        (state.index, state.generation) = (link.index, state.generation + 1);
                    }
                }
            }
            match (&before.absence, &state.absence) {
                (None, Some(absence)) => changes.push(Change::Lost(absence.clone())),
                (Some(_), None) => changes.push(Change::Back),
                // It went and came back under our eyes.
                (None, None) if before.generation != state.generation => {
                    changes.push(Change::Lost(Absence::Gone(self.binding().to_string())));
                    changes.push(Change::Back);
                }
                _ => {}
            }
            *state != before
        });
        self.inner.lost.store(self.inner.state.borrow().absence.is_some(), Ordering::Release);
        changes
    }

    /// Whether what we are bound to was gone when last looked at. Costs next to nothing.
    pub(crate) fn is_lost(&self) -> bool {
        self.inner.lost.load(Ordering::Acquire)
    }

    /// Why nothing is sent, in words.
    pub(crate) fn absence(&self) -> Option<String> {
        self.inner.state.borrow().absence.as_ref().map(ToString::to_string)
    }

    /// Waits until the interface that we are bound to is another.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + use<> {
        let mut state = self.state();
        let generation = state.borrow_and_update().generation;
        async move {
            let other = state.wait_for(|state| state.generation != generation).await;
            drop(other); // an error when nobody is left to tell
        }
    }

    /// One more with each new interface that sockets have to be bound to anew. Those that are bound to
    /// an address alone are good again when it is back.
    pub(crate) fn generation(&self) -> u64 {
        if self.binding().is_address() { 0 } else { self.inner.state.borrow().generation }
    }

    /// Hears of changes.
    pub(super) fn state(&self) -> tokio::sync::watch::Receiver<State> {
        self.inner.state.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Binding, NetworkOptions};

    #[test]
    fn each_loss_and_each_return_is_told_once() {
        let network =
            Network::new(NetworkOptions::default().bind(Binding::to_interface("lo").unwrap()));
        let there = |index| Ok(Link { index: Some(index), v4: true, v6: false });
        let gone = Absence::Gone("lo".into());
        let start = network.inner.state.borrow().index;
        let index = start.expect("there is a loopback interface");
        assert_eq!(network.saw(there(index)), []);
        assert_eq!(network.saw(Err(gone.clone())), [Change::Lost(gone.clone())]);
        assert!(network.is_lost());
        assert!(network.absence().unwrap().contains("interface lo"));
        assert_eq!(network.saw(Err(Absence::Bare("lo".into()))), [], "still");
        let generation = network.inner.state.borrow().generation;
        assert_eq!(network.saw(there(index)), [Change::Back]);
        assert!(!network.is_lost());
        assert_eq!(network.inner.state.borrow().generation, generation, "sockets are still good");
        assert_eq!(network.saw(there(index + 1)), [Change::Lost(gone), Change::Back]);
        assert_eq!(network.inner.state.borrow().generation, generation + 1);
        assert_eq!(network.saw(there(index + 1)), []);
    }
}
