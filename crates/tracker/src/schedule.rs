//! Which of a torrent's trackers to announce to, when, and with which event (BEP 3, 12, 31).
//!
//! The driver asks [`Schedule::next`] until it gives nothing, performs each [`Due`] announce and
//! reports it with [`Schedule::succeeded`] or [`Schedule::failed`], then sleeps until
//! [`Schedule::next_timeout`]. Every [`Due`] is reported exactly once, except that those still
//! open at [`Schedule::stop`] and [`Schedule::restart`] are dropped by the driver.
//!
//! Trackers are asked in groups ([`Policy`]). A group has rounds: a round tries its trackers in
//! order, one at a time and passing over those that failed a short while ago, until one answers;
//! that one's interval sets the beginning of the next round.

mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::announce::{AnnounceReply, Event, ReplyError, Retry};
use crate::udp::UdpError;
use tracker::Tracker;

/// Trackers kept per torrent. Torrents that collect every public tracker have about 100; a
/// hostile file or magnet may name millions.
pub const TRACKERS_MAX: usize = 200;

/// Peers asked for when peers are wanted: more than enough for one round of dialling.
pub const NUMWANT: u32 = 200;

/// Which trackers of a torrent are in use at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// One working tracker of every tier. Torrents in the wild put unrelated trackers in a tier
    /// each; with BEP 12's order most of them, and their peers, would never be asked.
    #[default]
    AllTiers,
    /// One working tracker in all: a tier is tried when every tracker of the tiers before it has
    /// failed (BEP 12).
    FirstWorking,
}

/// Names a tracker of one [`Schedule`]; never reused, so a late report about a removed tracker is
/// harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerIndex(u32);

/// An announce to perform now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// To report the result with.
    pub tracker: TrackerIndex,
    /// The tracker's URL: `http`, `https` or `udp`.
    pub url: Arc<str>,
    /// Why.
    pub event: Event,
    /// Peers to ask for.
    pub numwant: u32,
    /// What this tracker wants back.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why an announce failed, as far as the schedule cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the user.
    pub message: String,
    /// When to try again.
    pub retry: Retry,
}

impl Failure {
    /// A failure that says nothing about when to try again: no route, no name, no TLS.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Default }
    }
}

impl From<&ReplyError> for Failure {
    fn from(error: &ReplyError) -> Self {
        Self { message: error.to_string(), retry: error.retry() }
    }
}

impl From<&UdpError> for Failure {
    fn from(error: &UdpError) -> Self {
        match error {
            UdpError::Reply(error) => error.into(),
            UdpError::TimedOut { .. } => Self::new(error.to_string()),
        }
    }
}

/// Who asks for an announce before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// The user: trackers that failed are tried again too.
    User,
    /// The torrent has too few peers (BEP 3 allows this): trackers that failed keep their wait.
    FewPeers,
    /// We are at another port or address than was told: as [`Self::User`], and who was told is told
    /// anew before its `min interval` is over, once and at once, but at most once a minute.
    Moved,
}

/// What a tracker is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackerState {
    /// Not asked yet: a backup, or its turn is still to come.
    NotContacted,
    /// An announce is on its way.
    Announcing,
    /// Its last answer was good.
    Working,
    /// Its last answer was an error or missing; it will be tried again.
    Failing,
    /// Not tried again: it said so (BEP 31) or its URL cannot be used.
    GivenUp,
}

/// One tracker, for display. Times have the origin of `now`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Which.
    pub tracker: TrackerIndex,
    /// Its tier, from zero.
    pub tier: usize,
    /// Its URL, passkey included.
    pub url: Arc<str>,
    /// What it is up to.
    pub state: TrackerState,
    /// What went wrong last, while not working.
    pub last_error: Option<String>,
    /// The warning in its last good answer.
    pub warning: Option<String>,
    /// When it answered well last.
    pub last_answer: Option<Duration>,
    /// When it is asked next; `None` for a backup and when announcing or stopped.
    pub next_announce: Option<Duration>,
    /// What it wants between announces.
    pub interval: Option<Duration>,
    /// What it insists on between announces.
    pub min_interval: Option<Duration>,
    /// Peers with all pieces.
    pub seeders: Option<u32>,
    /// Peers without all pieces.
    pub leechers: Option<u32>,
    /// Peers in its last good answer.
    pub peers: usize,
}

/// What a [`Schedule`] starts from.
#[derive(Debug, Clone)]
pub struct ScheduleConfig {
    /// The torrent's tiers (BEP 12). Of a URL given twice the first counts; `TRACKERS_MAX` in all.
    pub tiers: Vec<Vec<String>>,
    /// Which of them to use.
    pub policy: Policy,
    /// Whether every wanted piece is there already: then no `completed` is ever sent.
    pub complete: bool,
    /// For shuffling, jitter and [`Schedule::key`].
    pub seed: u64,
}

/// The trackers that are tried one after the other.
#[derive(Debug)]
struct Group {
    tiers: Vec<Vec<TrackerIndex>>,
    round_at: Duration,
}

/// One torrent's announces.
#[derive(Debug)]
pub struct Schedule {
    groups: Vec<Group>,
    /// Boxed, since a node of the tree has room for eleven and most torrents have one or two.
    trackers: BTreeMap<TrackerIndex, Box<Tracker>>,
    policy: Policy,
    running: bool,
    complete: bool,
    peers_wanted: bool,
    next_index: u32,
    key: u32,
    rng: fastrand::Rng,
}

impl Schedule {
    /// A running schedule: the first announces are due at once.
    pub fn new(now: Duration, config: ScheduleConfig) -> Self {
        let ScheduleConfig { tiers, policy, complete, seed } = config;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut schedule = Self {
            groups: Vec::new(),
            trackers: BTreeMap::new(),
            policy,
            running: true,
            complete,
            peers_wanted: true,
            next_index: 0,
            key: rng.u32(..),
            rng,
        };
        schedule.set_trackers(now, &tiers);
        schedule
    }

    /// The `key` of every announce of this torrent, on every address family (BEP 7).
    pub fn key(&self) -> u32 {
        self.key
    }

    /// Replaces the trackers; those whose URL stays keep their state. Returns the `stopped`
    /// announces to trackers that are gone: send them once, reports about them are ignored.
    pub fn set_trackers(&mut self, now: Duration, tiers: &[Vec<String>]) -> Vec<Due> {
        let known = self.trackers.iter().map(|(index, t)| (t.url.clone(), *index));
        let mut before: BTreeMap<Arc<str>, TrackerIndex> = known.collect();
        let mut kept = BTreeSet::new();
        self.groups.clear();
        for urls in tiers {
            let mut tier = Vec::new();
            for url in urls.iter().map(|url| url.trim()) {
                if !url.is_empty() && kept.len() < TRACKERS_MAX && kept.insert(url) {
                    tier.push(before.remove(url).unwrap_or_else(|| self.insert(url)));
                }
            }
            self.rng.shuffle(&mut tier);
            tier.sort_by_key(|index| {
                !self.trackers.get(index).is_some_and(|tracker| tracker.is_working())
            });
            self.add_tier(now, tier);
        }
        let stopped = before.into_values().filter_map(|index| {
            let mut gone = self.trackers.remove(&index)?;
            gone.begin_stop().then(|| stop_due(index, &gone))
        });
        stopped.collect()
    }

    /// Adds a tracker in a tier of its own. False when it is known already or there are
    /// `TRACKERS_MAX`.
    pub fn add(&mut self, now: Duration, url: &str) -> bool {
        let url = url.trim();
        let known = self.trackers.values().any(|tracker| &*tracker.url == url);
        if url.is_empty() || known || self.trackers.len() >= TRACKERS_MAX {
            return false;
        }
        let index = self.insert(url);
        self.add_tier(now, vec![index]);
        true
    }

    /// The next announce that is due, now in flight; call until it gives `None`.
    pub fn next(&mut self, now: Duration) -> Option<Due> {
        if !self.running {
            return None;
        }
        let index = self.groups.iter().find_map(|group| self.due_in(group, now))?;
        let numwant = if self.peers_wanted { NUMWANT } else { 0 };
        let tracker = self.trackers.get_mut(&index)?;
        let event = tracker.begin(now, self.complete);
        Some(Due {
            tracker: index,
            url: tracker.url.clone(),
            event,
            numwant,
            tracker_id: tracker.given_id.clone(),
        })
    }

    /// When [`Schedule::next`] has something again, as far as is known; `None` while everything
    /// is in flight, given up or stopped.
    pub fn next_timeout(&self) -> Option<Duration> {
        let group_at = |group: &Group| self.turns(group).map(|(_, at)| at).min();
        self.groups.iter().filter(|_| self.running).filter_map(group_at).min()
    }

    /// The announce to `tracker` was answered.
    pub fn succeeded(&mut self, now: Duration, tracker: TrackerIndex, reply: &AnnounceReply) {
        let Some(state) = self.trackers.get_mut(&tracker) else {
            return;
        };
        let Some(next_at) = state.succeeded(now, reply, &mut self.rng) else {
            return;
        };
        for group in &mut self.groups {
            for tier in &mut group.tiers {
                if let Some(place) = tier.iter().position(|index| *index == tracker) {
                    if let Some(up_to_it) = tier.get_mut(..=place) {
                        up_to_it.rotate_right(1); // BEP 12: to the front, the others keep order
                    }
                    group.round_at = next_at;
                }
            }
        }
    }

    /// The announce to `tracker` was not answered, or with an error.
    pub fn failed(&mut self, now: Duration, tracker: TrackerIndex, failure: &Failure) {
        if let Some(state) = self.trackers.get_mut(&tracker) {
            state.failed(now, failure, &mut self.rng);
        }
    }

    /// The last wanted piece was verified. Trackers that met us before are told once: that is due
    /// at once, so a driver about to leave calls [`Schedule::next`] before [`Schedule::stop`].
    /// Calling this again changes nothing.
    pub fn completed(&mut self) {
        self.trackers.values_mut().for_each(|tracker| tracker.completed());
        self.complete = true;
    }

    /// Whether replies should bring peers (default: yes). A seed, or a torrent with enough, asks
    /// for none.
    pub fn set_peers_wanted(&mut self, wanted: bool) {
        self.peers_wanted = wanted;
    }

    /// Begins a round now. Still no tracker is asked before its `min interval` is over, but for
    /// [`Prompt::Moved`].
    pub fn announce_now(&mut self, now: Duration, prompt: Prompt) {
        for group in &mut self.groups {
            group.round_at = group.round_at.min(now);
        }
        if prompt == Prompt::FewPeers {
            return;
        }
        for tracker in self.trackers.values_mut() {
            tracker.hurry(now);
            if prompt == Prompt::Moved {
                tracker.moved();
            }
        }
    }

    /// Ends the session: the `stopped` announces to send, at once and as best effort, to the
    /// trackers that got a `started`. The driver drops announces still in flight. Nothing is due
    /// until [`Schedule::restart`].
    pub fn stop(&mut self) -> Vec<Due> {
        self.running = false;
        let trackers = self.trackers.iter_mut();
        let stopping = trackers
            .filter_map(|(index, tracker)| tracker.begin_stop().then(|| stop_due(*index, tracker)));
        stopping.collect()
    }

    /// Begins a new session after [`Schedule::stop`]: `started` is due everywhere. The driver
    /// drops `stopped` announces still in flight. `complete`: as in [`ScheduleConfig`].
    pub fn restart(&mut self, now: Duration, complete: bool) {
        self.running = true;
        self.complete = complete;
        self.trackers.values_mut().for_each(|tracker| tracker.restart());
        for group in &mut self.groups {
            group.round_at = now;
        }
    }

    /// Every tracker, tier by tier in the order of trial.
    pub fn statuses(&self) -> Vec<TrackerStatus> {
        let mut statuses = Vec::with_capacity(self.trackers.len());
        let mut tier_number = 0;
        for group in &self.groups {
            let turns: BTreeMap<_, _> = self.turns(group).filter(|_| self.running).collect();
            for tier in &group.tiers {
                let known = tier.iter().filter_map(|i| Some((*i, self.trackers.get(i)?)));
                statuses.extend(known.map(|(index, tracker)| {
                    tracker.status(index, tier_number, turns.get(&index).copied())
                }));
                tier_number = tier_number.saturating_add(1);
            }
        }
        statuses
    }

    fn insert(&mut self, url: &str) -> TrackerIndex {
        let index = TrackerIndex(self.next_index);
        self.next_index = self.next_index.saturating_add(1);
        self.trackers.insert(index, Box::new(Tracker::new(url)));
        index
    }

    fn add_tier(&mut self, now: Duration, tier: Vec<TrackerIndex>) {
        if tier.is_empty() {
            return;
        }
        // A group whose tracker stays goes on waiting for that tracker's time.
        let members = tier.iter().filter_map(|index| self.trackers.get(index));
        let next_at = members.filter_map(|tracker| tracker.next_at()).max();
        match self.groups.last_mut().filter(|_| self.policy == Policy::FirstWorking) {
            Some(group) => {
                group.tiers.push(tier);
                group.round_at = group.round_at.max(next_at.unwrap_or(now));
            }
            None => self.groups.push(Group { tiers: vec![tier], round_at: next_at.unwrap_or(now) }),
        }
    }

    /// The trackers of `group` that may be asked before the round is over, in order, each with
    /// its time: those that failed, up to and with the first that did not. Empty while one of
    /// the group is in flight.
    fn turns(&self, group: &Group) -> impl Iterator<Item = (TrackerIndex, Duration)> {
        let round_at = group.round_at;
        let members = || {
            let order = group.tiers.iter().flatten();
            order.filter_map(|index| Some((*index, self.trackers.get(index)?)))
        };
        let busy = members().any(|(_, tracker)| tracker.in_flight.is_some());
        let mut blocked = busy;
        members().filter(|(_, tracker)| tracker.is_usable()).map_while(move |(index, tracker)| {
            let turn = (!blocked).then(|| (index, tracker.ready_at(round_at)));
            blocked |= !tracker.is_failing();
            turn
        })
    }

    fn due_in(&self, group: &Group, now: Duration) -> Option<TrackerIndex> {
        let mut turns = self.turns(group);
        turns.find_map(|(index, at)| (at <= now).then_some(index))
    }
}

fn stop_due(index: TrackerIndex, tracker: &Tracker) -> Due {
    Due {
        tracker: index,
        url: tracker.url.clone(),
        event: Event::Stopped,
        numwant: 0,
        tracker_id: tracker.given_id.clone(),
    }
}

#[cfg(test)]
mod any_course;
#[cfg(test)]
mod tests;
