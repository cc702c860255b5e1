//! One torrent's announcing: asks [`Schedule`] whom to tell what and when, and does it.

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metainfo::InfoHash;
use tokio::sync::Notify;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracker::{
    AnnounceRequest, Due, Event, Failure, Prompt, Schedule, ScheduleConfig, TrackerState,
};

use super::client::{AskOptions, TrackerClient};
use super::families::FamilyReplies;
use super::status::{TrackerStatus, host_of};
use crate::own_ports::ToldPorts;

/// Addresses taken of one answer: more than anybody connects to.
const PEERS_MAX: usize = 10_000;

/// What a torrent tells trackers about itself, for good.
pub(crate) struct AnnouncerConfig {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: [u8; 20],
    /// Where we accept peers; it may change.
    pub(crate) ports: Arc<ToldPorts>,
    pub(crate) ask: AskOptions,
}

/// What it tells them at each announce, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    pub(crate) uploaded: u64,
    pub(crate) downloaded: u64,
    pub(crate) left: u64,
    /// It wants nothing more and has not all (BEP 21).
    pub(crate) partial: bool,
}

/// What announcing brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Addresses to try, as soon as one family's answer is there.
    Peers {
        /// The tracker's host, without anything secret.
        tracker: String,
        /// Where.
        addrs: Vec<SocketAddr>,
    },
    /// Our address as a tracker sees it: a vote, not a truth (BEP 24).
    ExternalIp {
        /// Its host, without anything secret.
        tracker: String,
        /// Us, there.
        ip: IpAddr,
    },
    /// A tracker answered.
    Reply {
        /// Its host, without anything secret.
        tracker: String,
        /// Addresses it gave.
        peers: usize,
    },
    /// A tracker did not answer, or refused.
    Failure {
        /// Its host, without anything secret.
        tracker: String,
        /// Why, in words.
        message: String,
    },
}

/// Runs until it is stopped through its [`AnnouncerHandle`].
pub(crate) struct Announcer<N, R> {
    client: TrackerClient,
    config: AnnouncerConfig,
    shared: Arc<Shared>,
    numbers: N,
    news: Arc<R>,
    asking: JoinSet<FamilyReplies>,
    /// Whom each task of `asking` asks, so that one that panics is missed by its tracker only.
    asked: HashMap<task::Id, Due>,
}

/// Controls one torrent's announcing. Dropping it ends that, without a word to the trackers.
pub(crate) struct AnnouncerHandle {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    schedule: Mutex<Schedule>,
    origin: Instant,
    /// Something above changed that the task should look at.
    changed: Notify,
    stop_until: Mutex<Option<Instant>>,
    stopping: CancellationToken,
    finished: CancellationToken,
}

impl<N, R> Announcer<N, R>
where
    N: Fn() -> Numbers + Send + 'static,
    R: Fn(News) + Send + Sync + 'static,
{
    /// Begins announcing on the current tokio runtime. `numbers` is asked before each announce,
    /// `news` told what came of it.
    pub(crate) fn spawn(
        client: TrackerClient,
        config: AnnouncerConfig,
        schedule: ScheduleConfig,
        numbers: N,
        news: R,
    ) -> AnnouncerHandle {
        let schedule = Schedule::new(Duration::ZERO, schedule);
        let shared = Arc::new(Shared {
            schedule: Mutex::new(schedule),
            origin: Instant::now(),
            changed: Notify::new(),
            stop_until: Mutex::default(),
            stopping: CancellationToken::new(),
            finished: CancellationToken::new(),
        });
        let announcer = Self {
            client,
            config,
            shared: Arc::clone(&shared),
            numbers,
            news: Arc::new(news),
            asking: JoinSet::new(),
            asked: HashMap::new(),
        };
        let task = tokio::spawn(announcer.run()).abort_handle();
        AnnouncerHandle { shared, task }
    }

    async fn run(mut self) {
        let _finished = self.shared.finished.clone().drop_guard();
        let shared = Arc::clone(&self.shared);
        while !shared.stopping.is_cancelled() {
            self.start_due();
            let next = lock(&shared.schedule).next_timeout();
            let next = next.and_then(|at| shared.origin.checked_add(at));
            let done = tokio::select! {
                () = shared.stopping.cancelled() => None,
                () = shared.changed.notified() => None,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => None,
                Some(done) = self.asking.join_next_with_id() => Some(done),
            };
            if let Some(done) = done {
                self.report(done);
            }
        }
        self.say_goodbye().await;
    }

    fn start_due(&mut self) {
        loop {
            let due = lock(&self.shared.schedule).next(self.shared.now());
            let Some(due) = due else { return };
            let request = self.request(&due);
            let (client, news) = (self.client.clone(), Arc::clone(&self.news));
            let (url, options) = (Arc::clone(&due.url), self.options());
            let ask = async move {
                let found = |peers: &[SocketAddr]| {
                    if !peers.is_empty() {
                        let addrs = peers.iter().copied().take(PEERS_MAX).collect();
                        news(News::Peers { tracker: host_of(&url), addrs });
                    }
                };
                let early = |reply: &tracker::AnnounceReply| found(&reply.peers);
                let replies = client.announce_each(&url, &request, options, early).await;
                for reply in [&replies.v4, &replies.v6].into_iter().flatten().flatten() {
                    if !reply.named_peers.is_empty() {
                        found(&client.resolve_named(&reply.named_peers).await);
                    }
                }
                replies
            };
            let (shared, is_last_word) = (Arc::clone(&self.shared), due.event == Event::Completed);
            let unless_stopping = async move {
                tokio::select! {
                    biased; // at the end a place that others leave is not taken to leave it as well
                    () = shared.stopping.cancelled(), if !is_last_word => pending().await,
                    replies = ask => replies,
                }
            };
            let id = self.asking.spawn(unless_stopping).id();
            self.asked.insert(id, due);
        }
    }

    fn options(&self) -> AskOptions {
        AskOptions { port_v6: Some(self.config.ports.now().v6), ..self.config.ask }
    }

    fn request(&self, due: &Due) -> AnnounceRequest {
        let Numbers { uploaded, downloaded, left, partial } = (self.numbers)();
        AnnounceRequest {
            info_hash: self.config.info_hash,
            peer_id: self.config.peer_id,
            port: self.config.ports.now().v4,
            uploaded,
            downloaded,
            left,
            event: if partial && due.event == Event::None { Event::Paused } else { due.event },
            key: lock(&self.shared.schedule).key(),
            numwant: due.numwant,
            tracker_id: due.tracker_id.clone(),
        }
    }

    /// Takes what a task came back with.
    fn report(&mut self, done: Result<(task::Id, FamilyReplies), JoinError>) {
        let (id, replies) = match done {
            Ok((id, replies)) => (id, Ok(replies)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(due) = self.asked.remove(&id) else { return };
        if self.asked.is_empty() {
            self.asked = HashMap::new(); // there is nothing for most of the time, and no memory for it
        }
        let now = self.shared.now();
        let tracker = host_of(&due.url);
        if let Ok(replies) = &replies {
            for ip in replies.external_ips() {
                (self.news)(News::ExternalIp { tracker: tracker.clone(), ip });
            }
        }
        let failure = match replies.map(FamilyReplies::merged) {
            Ok(Ok(reply)) => {
                lock(&self.shared.schedule).succeeded(now, due.tracker, &reply);
                let peers = reply.peers.len() + reply.named_peers.len();
                return (self.news)(News::Reply { tracker, peers });
            }
            Ok(Err(error)) => Failure::from(&error),
            Err(panic) => Failure::new(format!("a fault of our own: {panic}")),
        };
        lock(&self.shared.schedule).failed(now, due.tracker, &failure);
        tracing::debug!(tracker, error = failure.message, "announce failed");
        (self.news)(News::Failure { tracker, message: failure.message });
    }

    /// A program that ends when its download does still has to say that it completed.
    async fn say_completed(&mut self) {
        self.start_due();
        while self.asked.values().any(|due| due.event == Event::Completed) {
            let Some(done) = self.asking.join_next_with_id().await else { return };
            self.report(done);
        }
    }

    /// Tells every tracker that knows us that we leave, as far as the time given suffices.
    async fn say_goodbye(&mut self) {
        let now = Instant::now();
        let until = lock(&self.shared.stop_until).unwrap_or(now);
        let half = now + until.saturating_duration_since(now) / 2;
        let _ = timeout_at(half, self.say_completed()).await;
        self.asking.abort_all();
        let dues = lock(&self.shared.schedule).stop();
        let mut farewells = JoinSet::new();
        for due in dues {
            let request = self.request(&due);
            let (client, options) = (self.client.clone(), self.options());
            farewells.spawn(async move {
                tokio::select! {
                    biased; // who has no time left does not begin
                    () = sleep_until(until) => {}
                    _ = client.announce(&due.url, &request, options) => {}
                }
            });
        }
        let _ = timeout_at(until, async { while farewells.join_next().await.is_some() {} }).await;
    }
}

impl AnnouncerHandle {
    /// Tells the trackers, once, that the last wanted piece arrived.
    pub(crate) fn completed(&self) {
        lock(&self.shared.schedule).completed();
        self.shared.changed.notify_one();
    }

    /// Announces as soon as the trackers' `min interval` allows. By the user's wish, those that
    /// failed are tried again too.
    pub(crate) fn announce_now(&self, prompt: Prompt) {
        lock(&self.shared.schedule).announce_now(self.shared.now(), prompt);
        self.shared.changed.notify_one();
    }

    /// Ends it: trackers that know us are told, as best effort, within `timeout`.
    pub(crate) async fn stop(&self, timeout: Duration) {
        self.leave(timeout);
        self.shared.finished.cancelled().await;
    }

    /// The same, without waiting for it.
    pub(crate) fn leave(&self, timeout: Duration) {
        lock(&self.shared.stop_until).get_or_insert(Instant::now() + timeout);
        self.shared.stopping.cancel();
    }

    /// Every tracker, tier by tier.
    pub(crate) fn statuses(&self) -> Vec<TrackerStatus> {
        let statuses = lock(&self.shared.schedule).statuses();
        let now = self.shared.now();
        statuses.into_iter().map(|status| TrackerStatus::new(status, now)).collect()
    }

    /// Why there are no peers from trackers: what went wrong with the first, when none works.
    pub(crate) fn error(&self) -> Option<String> {
        let statuses = lock(&self.shared.schedule).statuses();
        if statuses.iter().any(|status| status.state == TrackerState::Working) {
            return None;
        }
        statuses.into_iter().find_map(|status| status.last_error)
    }
}

impl Drop for AnnouncerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Each lock is held for one consistent change: what a panicking thread leaves is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
