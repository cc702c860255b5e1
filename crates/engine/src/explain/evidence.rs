//! What shows a cause: numbers and messages, by name.

use std::time::Duration;

use swarm::{Spending, Spent};

use super::{Account, Cause};
use crate::handle::TorrentShared;
use crate::session::SessionShared;
use crate::stats::TorrentStats;
use crate::torrent::Tally;
use crate::web_seed::{WebSeedState, WebSeedStatus};

/// Trackers whose errors are told: torrents name dozens.
const TRACKERS_MAX: usize = 3;

/// One thing that was counted or said.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is of; words with spaces, without a unit.
    pub name: &'static str,
    /// How much, or what was said.
    pub amount: Amount,
}

/// A number with its unit, or words.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Amount {
    /// So many.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// Bytes a second.
    Rate(u64),
    /// A time.
    Time(Duration),
    /// Words, perhaps a stranger's.
    Text(String),
}

/// Collects facts.
#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, name: &'static str, amount: Amount) -> &mut Self {
        self.0.push(Fact { name, amount });
        self
    }

    fn count(&mut self, name: &'static str, count: impl Into<u64>) -> &mut Self {
        self.add(name, Amount::Count(count.into()))
    }

    fn text(&mut self, name: &'static str, text: impl Into<String>) -> &mut Self {
        self.add(name, Amount::Text(text.into()))
    }

    /// How often something happened, and what was said of it last.
    fn tally(&mut self, name: &'static str, tally: &Tally) -> &mut Self {
        self.count(name, tally.count);
        if let Some(last) = &tally.last {
            self.text("last", last.clone());
        }
        self
    }

    /// What went wrong with web seeds, and what to do about it.
    fn web_seeds(&mut self, seeds: &[WebSeedStatus]) -> &mut Self {
        let active = seeds.iter().filter(|seed| seed.state == WebSeedState::Active);
        if !seeds.is_empty() {
            self.count("web seeds", seeds.len() as u64)
                .count("of them asked", active.count() as u64);
        }
        for seed in seeds.iter().filter(|seed| seed.error.is_some()).take(TRACKERS_MAX) {
            let (error, next_step) = (seed.error.as_deref(), seed.next_step);
            let said = [error.unwrap_or_default(), next_step.unwrap_or_default()].join("; ");
            self.text("web seed", format!("{}: {said}", seed.url));
        }
        self
    }

    fn trackers(&mut self, shared: &TorrentShared) -> &mut Self {
        let trackers = shared.trackers();
        self.count("trackers", trackers.len() as u64);
        let errors = trackers.iter().filter_map(|tracker| Some((tracker, tracker.error.as_ref()?)));
        for (tracker, error) in errors.take(TRACKERS_MAX) {
            self.text("tracker", format!("{}: {error}", tracker.host));
        }
        if let Some(next) = trackers.iter().filter_map(|tracker| tracker.next_in).min() {
            self.add("asked again in", Amount::Time(next));
        }
        self
    }
}

pub(super) fn failure(shared: &TorrentShared) -> Vec<Fact> {
    let mut facts = Facts::default();
    if let Some(message) = shared.failure_message() {
        facts.text("message", message);
    }
    facts.0
}

pub(super) fn check(stats: &TorrentStats) -> Vec<Fact> {
    let (done, total) = stats.check_progress;
    let mut facts = Facts::default();
    facts.add("checked", Amount::Bytes(done)).add("to check", Amount::Bytes(total));
    facts.0
}

/// What shows a line of the brain's account.
pub(super) fn of(
    line: &Spending,
    cause: Cause,
    session: &SessionShared,
    shared: &TorrentShared,
    account: &Account,
) -> Vec<Fact> {
    let (stats, mishaps) = (&account.stats, &account.mishaps);
    let at_it = || account.peers.iter().filter(|peer| peer.spent == line.what);
    let mut facts = Facts::default();
    if has_peers(line.what) {
        facts.count("peers", line.peers).count("connected", stats.peers);
    }
    if let Some(message) = session.network.absence().filter(|_| cause == Cause::NetworkLost) {
        facts.text("message", message);
    }
    if let Some(message) = session.network.proxy_trouble().filter(|_| cause == Cause::ProxyFails) {
        facts.text("message", message);
        return facts.0; // all else says the same of everybody
    }
    match line.what {
        Spent::Sending => {
            facts.add("rate", Amount::Rate(stats.download_rate)).count("seeds", stats.seeds);
        }
        Spent::Window => {
            if let Some(least) = at_it().map(|peer| peer.requests_max).min() {
                facts.count("requests at once", least);
            }
            if let Some(longest) = at_it().filter_map(|peer| peer.latency).max() {
                facts.add("latency", Amount::Time(longest));
            }
            facts.add("rate", Amount::Rate(stats.download_rate));
        }
        Spent::Unanswered => {
            let asked = at_it().map(|peer| peer.outstanding_bytes).sum();
            facts.add("asked for", Amount::Bytes(asked));
        }
        Spent::Choked => {
            facts.add("sent to peers", Amount::Bytes(stats.uploaded));
        }
        Spent::NothingNew => {
            facts.add("missing", Amount::Bytes(stats.wanted_left));
            facts.count("copies of the rarest piece", stats.availability);
        }
        Spent::AllAsked => {
            facts.count("pieces begun", stats.open_pieces);
            facts.add("missing", Amount::Bytes(stats.wanted_left));
        }
        Spent::Memory => {
            facts.add("budget", Amount::Bytes(session.settings.memory_budget));
            facts.add("of it this torrent's", Amount::Bytes(account.reserved_bytes));
            facts.count("pieces begun", stats.open_pieces);
        }
        Spent::Disk => {
            let effort = shared.store.effort();
            facts.count("pieces waiting", account.in_pool);
            facts.add("hashing took", Amount::Time(effort.hashing));
            facts.add("writing took", Amount::Time(effort.writing));
        }
        Spent::Limited => {
            for (what, limits) in
                [("of the session", session.limits.get()), ("of the torrent", shared.bounds.own())]
            {
                if let Some(rate) = limits.download {
                    facts.add(what, Amount::Rate(rate));
                }
            }
        }
        Spent::Paused => {
            if let Some(message) = &account.storage_error {
                facts.text("message", message.clone());
            }
        }
        Spent::Connecting => {
            facts.count("addresses", stats.candidates).count("being tried", stats.half_open);
            if cause == Cause::ConnectionLimit {
                facts.count("connections allowed", session.settings.connections_max as u64);
            }
        }
        Spent::Unreached => {
            facts.count("addresses", stats.candidates);
            facts.tally("failed attempts", mishaps.of(cause)).trackers(shared);
        }
        Spent::Left => {
            facts
                .count("addresses", stats.candidates)
                .tally("peers that left", mishaps.of(Cause::PeersLeft));
        }
        Spent::Banned => {
            facts.tally("peers banned", mishaps.of(Cause::Banned));
            facts.add("bad data", Amount::Bytes(stats.failed));
        }
        Spent::NobodyKnown => {
            facts.trackers(shared);
        }
        Spent::Serving => {
            facts.add("rate", Amount::Rate(stats.upload_rate));
        }
        Spent::NoSlot => {
            facts.count("served", stats.unchoked);
        }
        Spent::Unvisited => {
            facts.count("port", session.listen_port()).trackers(shared);
        }
        Spent::Rejecting | Spent::Unwanted => {}
    }
    if line.what != Spent::Unvisited {
        facts.web_seeds(&account.web_seeds);
    }
    if !has_peers(line.what) && stats.filtered > 0 {
        facts.count("refused by the IP filter", stats.filtered);
    }
    facts.0
}

/// Whether it is about peers that are connected.
fn has_peers(spent: Spent) -> bool {
    match spent {
        Spent::Connecting
        | Spent::Unreached
        | Spent::Left
        | Spent::Banned
        | Spent::NobodyKnown
        | Spent::Unvisited => false,
        Spent::Sending
        | Spent::Window
        | Spent::Unanswered
        | Spent::Choked
        | Spent::Rejecting
        | Spent::NothingNew
        | Spent::AllAsked
        | Spent::Memory
        | Spent::Disk
        | Spent::Limited
        | Spent::Paused
        | Spent::Serving
        | Spent::NoSlot
        | Spent::Unwanted => true,
    }
}
