//! Which torrents of a shard have something to do, and when: one queue for all of them. A torrent
//! with nothing to do is not in it, so thousands at rest cost nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use metainfo::InfoHash;
use tokio::sync::Notify;

use crate::clock::Clock;

/// The turns to come, by time.
pub(crate) struct Timers {
    clock: Clock,
    queue: RefCell<BTreeSet<(Duration, InfoHash)>>,
    /// The first turn is another.
    changed: Notify,
}

/// A torrent's place in the queue, which it keeps itself.
#[derive(Default)]
pub(crate) struct Turn(Cell<Option<Duration>>);

impl Turn {
    /// It was taken out of the queue.
    pub(crate) fn taken(&self) {
        self.0.set(None);
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.0.get().is_some()
    }
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, queue: RefCell::default(), changed: Notify::new() }
    }

    /// Moves a torrent's turn, or takes it out of the queue.
    pub(crate) fn set(&self, info_hash: InfoHash, turn: &Turn, at: Option<Duration>) {
        let before = turn.0.replace(at);
        if before == at {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        if let Some(before) = before {
            queue.remove(&(before, info_hash));
        }
        if let Some(at) = at {
            queue.insert((at, info_hash));
            if queue.first().is_some_and(|first| first.0 == at) {
                self.changed.notify_one();
            }
        }
    }

    /// Gives a torrent its turn at `at` at the latest.
    pub(crate) fn bring_forward(&self, info_hash: InfoHash, turn: &Turn, at: Duration) {
        if turn.0.get().is_none_or(|queued| queued > at) {
            self.set(info_hash, turn, Some(at));
        }
    }

    /// Gives a torrent its turn as soon as can be.
    pub(crate) fn wake(&self, info_hash: InfoHash, turn: &Turn) {
        self.bring_forward(info_hash, turn, self.clock.now());
    }

    /// Takes the torrent out of the queue whose turn came the longest ago. It is for that one to
    /// say so to its place ([`Turn::taken`]), and to queue again.
    pub(crate) fn take_due(&self) -> Option<InfoHash> {
        let mut queue = self.queue.borrow_mut();
        let now = self.clock.now();
        queue.first().filter(|(at, _)| *at <= now)?;
        queue.pop_first().map(|(_, info_hash)| info_hash)
    }

    /// Waits until one is due. Others have their turn in between in any case.
    pub(crate) async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            let next = self.queue.borrow().first().map(|(at, _)| *at);
            match next {
                None => changed.await,
                Some(at) if at <= self.clock.now() => return tokio::task::yield_now().await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.clock.instant(at)) => {}
                },
            }
        }
    }
}

#[cfg(test)]
impl Timers {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_turn_in_time_and_once() {
        let timers = Timers::new(Clock::start());
        let (early, late) = (Turn::default(), Turn::default());
        timers.set(hash(2), &late, Some(Duration::from_secs(2)));
        timers.set(hash(9), &early, Some(Duration::from_secs(5)));
        timers.set(hash(9), &early, Some(Duration::from_secs(1)));
        assert_eq!(timers.take_due(), None);
        for (number, turn, second) in [(9, &early, 1), (2, &late, 2)] {
            timers.wait().await;
            let due = timers.take_due();
            turn.taken();
            assert_eq!((due, timers.clock.now().as_secs()), (Some(hash(number)), second));
        }
        timers.set(hash(9), &early, Some(Duration::from_secs(3)));
        timers.set(hash(9), &early, None);
        assert!(timers.is_empty(), "who is at rest takes no place");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_woken_comes_before_what_was_waited_for() {
        let timers = Timers::new(Clock::start());
        let (slow, woken) = (Turn::default(), Turn::default());
        timers.set(hash(1), &slow, Some(Duration::from_secs(100)));
        tokio::join!(timers.wait(), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            timers.wake(hash(2), &woken);
            timers.wake(hash(2), &woken);
        });
        assert_eq!((timers.take_due(), timers.clock.now().as_secs()), (Some(hash(2)), 3));
        assert_eq!(timers.queue.borrow().len(), 1, "woken once");
    }
}
