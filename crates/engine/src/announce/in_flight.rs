//! How many questions may wait for an answer at the same time, over all torrents of a session, and how
//! many of them from one tracker. One that has been silent for a while is asked now and then only, so
//! that the torrents that name it turn to their next one (BEP 12).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::error::AnnounceError;

/// Questions asked at once. A session with thousands of torrents must not announce them all in
/// its first second: home routers break.
const PROMPT_MAX: usize = 50;

/// A question without an answer for this long has most likely gone to a dead tracker...
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// ...and makes room for the next, since waiting costs a socket and nothing else. So many wait
/// like this; beyond, they hold up the others.
const SLOW_MAX: usize = 100;

/// Questions that one tracker has to answer at once, unless its last answer came in time. A dead one that
/// thousands of torrents name takes so much of the room, and no more, from those that answer.
const TRACKER_MAX: usize = 20;

/// What one whose last answer came in time may have more than that: all of the room.
const WIDER_BY: usize = PROMPT_MAX - TRACKER_MAX;

/// After so many questions in a row without an answer in all their time, those who wait don't get to ask...
const SILENCES_MAX: u32 = 3;

/// ...but for one each time this has passed, in case it is back.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// The limits.
pub(super) struct InFlight {
    prompt: Semaphore,
    slow: Semaphore,
    /// Of those that somebody asks or waits to ask, by host.
    trackers: Mutex<HashMap<String, Entry>>,
}

/// A tracker, and how many ask it or wait to.
struct Entry {
    asking: usize,
    tracker: Arc<Tracker>,
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
    /// thousands may wait. `is_answer` tells whether anything came from the tracker. An error says that it
    /// was not asked, since it was silent for those before.
    pub(super) async fn run<Q: Future>(
        &self,
        host: String,
        question: impl FnOnce() -> Q,
        is_answer: impl Fn(&Q::Output) -> bool,
    ) -> Result<Q::Output, AnnounceError> {
        let room = Room::at(self, host);
        let _place = room.tracker.place().await?;
        let prompt = self.prompt.acquire().await; // never closed
        let mut question = Box::pin(question());
        if let Ok(answer) = timeout(SLOW_AFTER, &mut question).await {
            room.tracker.ended(is_answer(&answer));
            return Ok(answer);
        }
        room.tracker.is_slow();
        let slow = self.slow.try_acquire();
        if slow.is_ok() {
            drop(prompt);
        }
        let answer = question.await;
        room.tracker.ended_late(is_answer(&answer));
        Ok(answer)
    }

    /// It was our network that was silent: all may be asked again.
    pub(super) fn network_back(&self) {
        self.trackers().values().for_each(|entry| entry.tracker.known().silences = 0);
    }

    /// Every change is a single insertion, removal or count, so it is whole whoever panicked.
    fn trackers(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.trackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one tracker.
struct Tracker {
    places: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Its last answer came in time.
    wide: bool,
    /// Places that it should no longer have, but that are still taken.
    surplus: usize,
    /// Questions in a row without an answer.
    silences: u32,
    /// When somebody may ask a silent one again.
    probe: Option<Instant>,
}

impl Tracker {
    fn new() -> Self {
        Self { places: Semaphore::new(TRACKER_MAX), known: Mutex::default() }
    }

    /// Waits for a turn. Those behind are not kept waiting for a tracker that says nothing.
    async fn place(&self) -> Result<Place<'_>, AnnounceError> {
        let permit = self.places.acquire().await.ok(); // never closed
        let place = Place { tracker: self, permit };
        if self.known().may_ask(Instant::now()) { Ok(place) } else { Err(AnnounceError::Silent) }
    }

    /// It came to its end in good time.
    fn ended(&self, is_answer: bool) {
        let mut known = self.known();
        known.silences = 0; // a refused connection takes no time of anybody's
        if is_answer && !known.wide {
            known.wide = true;
            self.places.add_permits(WIDER_BY - std::mem::take(&mut known.surplus));
        } else if !is_answer {
            self.narrow(&mut known);
        }
    }

    fn is_slow(&self) {
        self.narrow(&mut self.known());
    }

    /// The same, when it was slow.
    fn ended_late(&self, is_answer: bool) {
        let mut known = self.known();
        if is_answer {
            known.silences = 0;
            return;
        }
        known.silences = known.silences.saturating_add(1);
        if known.silences == SILENCES_MAX {
            known.probe = Instant::now().checked_add(PROBE_EVERY);
        }
    }

    fn narrow(&self, known: &mut Known) {
        if std::mem::take(&mut known.wide) {
            known.surplus = WIDER_BY - self.places.forget_permits(WIDER_BY);
        }
    }

    /// Each change is whole, whoever panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn may_ask(&mut self, now: Instant) -> bool {
        if self.silences < SILENCES_MAX {
            return true;
        }
        let is_due = self.probe.is_none_or(|at| at <= now);
        if is_due {
            self.probe = now.checked_add(PROBE_EVERY);
        }
        is_due
    }
}

/// One of the places of a tracker.
struct Place<'a> {
    tracker: &'a Tracker,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut known = self.tracker.known();
        if known.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            known.surplus -= 1;
        }
    }
}

/// What one tracker has of the room, for as long as somebody asks or waits.
struct Room<'a> {
    all: &'a InFlight,
    host: String,
    tracker: Arc<Tracker>,
}

impl<'a> Room<'a> {
    fn at(all: &'a InFlight, host: String) -> Self {
        let mut trackers = all.trackers();
        let new = || Entry { asking: 0, tracker: Arc::new(Tracker::new()) };
        let entry = trackers.entry(host.clone()).or_insert_with(new);
        entry.asking += 1;
        Self { all, host, tracker: Arc::clone(&entry.tracker) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut trackers = self.all.trackers();
        if let Some(entry) = trackers.get_mut(&self.host) {
            entry.asking -= 1;
            if entry.asking == 0 {
                trackers.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use tokio::task::JoinSet;
    use tokio::time::sleep;

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
            Box::pin(in_flight.run(host.to_owned(), question, |()| false))
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
            Box::pin(in_flight.run(number.to_string(), question, |()| false))
        };
        let mut asked: Vec<_> = (0..2 * PROMPT_MAX).map(ask).collect();
        let bytes = size_of_val(&*asked[0]);
        assert!(bytes <= 512, "{bytes} bytes");
        for one in &mut asked {
            poll_fn(|context| Poll::Ready(one.as_mut().poll(context).is_pending())).await;
        }
        assert_eq!(*made.borrow(), PROMPT_MAX);
    }

    /// Many torrents that leave at once have a moment to tell it.
    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_answers_in_time_has_all_of_the_room_until_it_no_longer_does() {
        let (in_flight, made) = (Arc::new(InFlight::new()), Arc::new(AtomicUsize::new(0)));
        let answers = Arc::new(Semaphore::new(0));
        let mut asked = JoinSet::new();
        for _ in 0..1000 {
            let (in_flight, made) = (Arc::clone(&in_flight), Arc::clone(&made));
            let answers = Arc::clone(&answers);
            asked.spawn(async move {
                let question = || async {
                    made.fetch_add(1, Ordering::Relaxed);
                    answers.acquire().await.unwrap().forget();
                };
                in_flight.run("alive".to_owned(), question, |()| true).await.unwrap();
            });
        }
        let soon = Duration::from_millis(300);
        sleep(soon).await;
        assert_eq!(made.load(Ordering::Relaxed), TRACKER_MAX, "nobody knows it yet");
        answers.add_permits(1);
        sleep(soon).await;
        assert_eq!(made.load(Ordering::Relaxed), 1 + PROMPT_MAX);
        for answered in 2..5 {
            answers.add_permits(PROMPT_MAX);
            sleep(soon).await;
            assert_eq!(made.load(Ordering::Relaxed), 1 + answered * PROMPT_MAX);
        }
        // It has no more than what waits already as soon as it is slow, and less of it as that goes.
        sleep(SLOW_AFTER).await;
        assert_eq!(made.load(Ordering::Relaxed), 1 + 4 * PROMPT_MAX);
        answers.add_permits(WIDER_BY);
        sleep(soon).await;
        assert_eq!(made.load(Ordering::Relaxed), 1 + 4 * PROMPT_MAX);
        answers.add_permits(1);
        sleep(soon).await;
        assert_eq!(made.load(Ordering::Relaxed), 2 + 4 * PROMPT_MAX);
    }

    /// BEP 12: a torrent asks its next tracker when the first has failed. Thousands wait for that.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_silent_tracker_fails_with_the_first_and_hears_when_it_is_back() {
        let (in_flight, limit) = (Arc::new(InFlight::new()), Duration::from_mins(1));
        let ask = |is_there: bool| {
            let in_flight = Arc::clone(&in_flight);
            async move {
                let question = || async move {
                    if !is_there {
                        sleep(limit).await;
                    }
                    is_there
                };
                in_flight.run("it".to_owned(), question, |answered| *answered).await
            }
        };
        let began = Instant::now();
        let mut asked = JoinSet::new();
        (0..5000).for_each(|_| drop(asked.spawn(ask(false))));
        let refused = |one: &Result<_, _>| matches!(one, Err(AnnounceError::Silent));
        assert_eq!(asked.join_all().await.iter().filter(|one| refused(one)).count(), 4980);
        assert_eq!(began.elapsed(), limit);
        assert!(in_flight.trackers().is_empty(), "nobody asks");

        let mut asked = JoinSet::new();
        (0..10).for_each(|_| drop(asked.spawn(ask(false))));
        sleep(limit / 2).await;
        asked.spawn(ask(false)); // still waits for an answer while others come
        sleep(limit / 2 + Duration::from_millis(1)).await;
        assert!(refused(&ask(true).await));
        sleep(PROBE_EVERY).await;
        assert!(ask(true).await.is_ok_and(|answered| answered), "it was asked, and is there");
        assert!(ask(true).await.is_ok(), "so it is for others");

        (0..3).for_each(|_| drop(asked.spawn(ask(false))));
        sleep(limit / 2).await;
        asked.spawn(ask(false));
        sleep(limit / 2 + Duration::from_millis(1)).await;
        assert!(refused(&ask(true).await));
        in_flight.network_back();
        assert!(ask(true).await.is_ok(), "nobody knows whether it was the tracker");
    }
}
