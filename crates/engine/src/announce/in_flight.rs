//! How many questions may wait for an answer at the same time, over all torrents of a session, and how
//! many of them from one tracker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions asked at once. A session with thousands of torrents must not announce them all in
/// its first second: home routers break.
const PROMPT_MAX: usize = 50;

/// A question without an answer for this long has most likely gone to a dead tracker...
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// ...and makes room for the next, since waiting costs a socket and nothing else. So many wait
/// like this; beyond, they hold up the others.
const SLOW_MAX: usize = 100;

/// Questions that one tracker has to answer at once. A dead one that thousands of torrents name takes
/// so much of the room, and no more, from those that answer.
const TRACKER_MAX: usize = 20;

/// The limits.
pub(super) struct InFlight {
    prompt: Semaphore,
    slow: Semaphore,
    /// Of those that somebody asks or waits to ask, by host.
    trackers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            prompt: Semaphore::new(PROMPT_MAX),
            slow: Semaphore::new(SLOW_MAX),
            trackers: Mutex::default(),
        }
    }

    /// Asks the tracker at `host` when its turn comes. The question, which has kilobytes, is made then:
    /// thousands may wait.
    pub(super) async fn run<Q: Future>(
        &self,
        host: String,
        question: impl FnOnce() -> Q,
    ) -> Q::Output {
        let room = Room::at(self, host);
        let _place = room.places.acquire().await; // never closed
        let prompt = self.prompt.acquire().await; // never closed
        let mut question = Box::pin(question());
        if let Ok(answer) = timeout(SLOW_AFTER, &mut question).await {
            return answer;
        }
        let slow = self.slow.try_acquire();
        if slow.is_ok() {
            drop(prompt);
        }
        question.await
    }

    /// Every change is a single insertion or removal, so it is whole whoever panicked.
    fn trackers(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.trackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one tracker has of the room, for as long as somebody asks or waits.
struct Room<'a> {
    all: &'a InFlight,
    host: String,
    places: Arc<Semaphore>,
}

impl<'a> Room<'a> {
    fn at(all: &'a InFlight, host: String) -> Self {
        let new = || Arc::new(Semaphore::new(TRACKER_MAX));
        let places = Arc::clone(all.trackers().entry(host.clone()).or_insert_with(new));
        Self { all, host, places }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut trackers = self.all.trackers();
        if Arc::strong_count(&self.places) == 2 {
            trackers.remove(&self.host); // besides us, only the list has it
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    use super::*;

    /// Many ask two trackers that never answer, then a few a third. Which questions were made?
    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_does_not_answer_leaves_room_for_others() {
        let (in_flight, made) = (InFlight::new(), RefCell::new(Vec::new()));
        let noted = &made;
        let ask = |host: &'static str| {
            let question = move || {
                noted.borrow_mut().push(host);
                pending::<()>()
            };
            Box::pin(in_flight.run(host.to_owned(), question))
        };
        let hosts = [("dead", 1000), ("gone", 1000), ("alive", 5)];
        let hosts = hosts.into_iter().flat_map(|(host, count)| std::iter::repeat_n(host, count));
        let mut asked: Vec<_> = hosts.map(ask).collect();
        for one in &mut asked {
            poll_fn(|context| Poll::Ready(one.as_mut().poll(context).is_pending())).await;
        }
        let count = |host| made.borrow().iter().filter(|made| **made == host).count();
        assert_eq!(["dead", "gone", "alive"].map(count), [TRACKER_MAX, TRACKER_MAX, 5]);
        asked.clear();
        assert!(in_flight.trackers().is_empty(), "nobody asks");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_takes_little_memory_and_no_more_than_the_limit_are_asked() {
        let (in_flight, made) = (InFlight::new(), RefCell::new(0));
        let ask = |number: usize| {
            let question = || {
                *made.borrow_mut() += 1;
                async {
                    let answer = [0_u8; 8 * 1024];
                    pending::<()>().await;
                    std::hint::black_box(answer);
                }
            };
            Box::pin(in_flight.run(number.to_string(), question))
        };
        let mut asked: Vec<_> = (0..2 * PROMPT_MAX).map(ask).collect();
        let bytes = size_of_val(&*asked[0]);
        assert!(bytes <= 512, "{bytes} bytes");
        for one in &mut asked {
            poll_fn(|context| Poll::Ready(one.as_mut().poll(context).is_pending())).await;
        }
        assert_eq!(*made.borrow(), PROMPT_MAX);
    }
}
