//! Sees what we are bound to go and come back.
//!
//! That nothing leaves by another interface does not hang on this: the system refuses it for every
//! socket that is bound to one. This is how a session hears of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::link::{self, Absence, Link};
use super::news::News;
use super::{Network, State};

/// How often is looked where the system tells of nothing. Nothing is sent meanwhile that must not be.
const OFTEN: Duration = Duration::from_secs(1);

/// The same where it tells of everything, to be sure.
const SELDOM: Duration = Duration::from_secs(10);

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
        let mut news = News::listen();
        let mut every = interval(&news);
        let mut state = self.state();
        let mut seen = state.borrow_and_update().clone();
        loop {
            // Sessions that share this network share what they see, and each tells all of it.
            tokio::select! {
                _ = every.tick() => {}
                () = news.next() => {
                    if !news.is_open() {
                        every = interval(&news);
                    }
                }
                _ = state.changed() => {}
            }
            self.saw(link::look(self.binding()));
            let now = state.borrow_and_update().clone();
            self.changes(&seen, &now).into_iter().for_each(&mut tell);
            seen = now;
        }
    }

    /// Takes note of what was found.
    fn saw(&self, now: Result<Link, Absence>) {
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
            self.inner.lost.store(state.absence.is_some(), Ordering::Release);
            *state != before
        });
    }

    /// What is different from before.
    fn changes(&self, before: &State, now: &State) -> Vec<Change> {
        match (&before.absence, &now.absence) {
            (None, Some(absence)) => vec![Change::Lost(absence.clone())],
            (Some(_), None) => vec![Change::Back],
            // It went and came back under our eyes.
            (None, None) if before.generation != now.generation => {
                let gone = Absence::Gone(self.binding().to_string(), Vec::new());
                vec![Change::Lost(gone), Change::Back]
            }
            _ => Vec::new(),
        }
    }

    /// Looks now, for who does not watch yet: nobody else is told of what it sees. Gives whether what we
    /// are bound to is there.
    pub(crate) fn look(&self) -> bool {
        self.saw(link::look(self.binding()));
        !self.is_lost()
    }

    /// Waits until what we are bound to is there, as far as somebody watches.
    pub(crate) async fn there(&self) {
        let mut state = self.state();
        let there = state.wait_for(|state| state.absence.is_none()).await;
        drop(there); // an error when nobody is left to tell
    }

    /// Whether what we are bound to was gone when last looked at. Costs next to nothing.
    pub(crate) fn is_lost(&self) -> bool {
        self.inner.lost.load(Ordering::Acquire)
    }

    /// Why nothing is sent, in words, when what we are bound to was not there as a session that runs
    /// looked last. It goes on by itself when that is there.
    pub fn absence(&self) -> Option<String> {
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

/// When is looked, news or not.
fn interval(news: &News) -> tokio::time::Interval {
    tokio::time::interval(if news.is_open() { SELDOM } else { OFTEN })
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
        let gone = Absence::Gone("lo".into(), Vec::new());
        let start = network.inner.state.borrow().index;
        let index = start.expect("there is a loopback interface");
        let told = |now| {
            let before = network.inner.state.borrow().clone();
            network.saw(now);
            network.changes(&before, &network.inner.state.borrow())
        };
        assert_eq!(told(there(index)), []);
        assert_eq!(told(Err(gone.clone())), [Change::Lost(gone.clone())]);
        assert!(network.is_lost());
        assert!(network.absence().unwrap().contains("interface lo"));
        assert_eq!(told(Err(Absence::Bare("lo".into()))), [], "still");
        let generation = network.inner.state.borrow().generation;
        assert_eq!(told(there(index)), [Change::Back]);
        assert!(!network.is_lost());
        assert_eq!(network.inner.state.borrow().generation, generation, "sockets are still good");
        assert_eq!(told(there(index + 1)), [Change::Lost(gone), Change::Back]);
        assert_eq!(network.inner.state.borrow().generation, generation + 1);
        assert_eq!(told(there(index + 1)), []);
    }
}
