//! A torrent's trackers, wired to it: peers they give become candidates, their news events.

use std::sync::{Arc, Mutex, PoisonError};

use metainfo::InfoHash;
use swarm::Voter;
use tracker::{Policy, ScheduleConfig};

use crate::announce::{Announcer, AnnouncerConfig, AnnouncerHandle, AskOptions, News, Numbers};
use crate::events::Event;
use crate::handle::TorrentShared;
use crate::session::SessionShared;
use crate::stats::TorrentStats;

/// Trackers count who has everything, not who has all that is wanted (BEP 21).
pub(crate) fn is_complete(stats: &TorrentStats) -> bool {
    stats.pieces_have == stats.pieces_total
}

/// What trackers hear. A partial seed is incomplete to them, which they read from what is left, and
/// says beside that it downloads no more (BEP 21).
fn numbers_of(stats: &TorrentStats) -> Numbers {
    let partial = stats.wanted_left == 0 && !is_complete(stats);
    let missing = stats.total_bytes.saturating_sub(stats.verified_bytes);
    Numbers {
        uploaded: stats.uploaded,
        downloaded: stats.downloaded,
        left: if partial { missing } else { stats.wanted_left },
        partial,
    }
}

/// Begins to announce, if there is a tracker: a hybrid by both of its names (BEP 52). Must be called on
/// the control runtime.
pub(crate) fn start(session: &Arc<SessionShared>, shared: &Arc<TorrentShared>) {
    if shared.torrent.trackers.is_empty() {
        return;
    }
    for (name, slot) in shared.names().zip([&shared.announcer, &shared.other_announcer]) {
        // One that announces already goes on; the handle dropped then ends the new one.
        let _ = slot.set(announcer(session, shared, name));
    }
}

/// A private torrent has one tracker at a time (BEP 27).
fn policy(private: bool) -> Policy {
    if private { Policy::FirstWorking } else { Policy::AllTiers }
}

/// Which tracker gave a private torrent its peers.
#[derive(Default)]
struct Serving(Mutex<Option<String>>);

impl Serving {
    /// Whether it was another before.
    fn changes_to(&self, tracker: String) -> bool {
        let mut serving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = serving.replace(tracker);
        before.is_some() && before != *serving
    }
}

fn announcer(
    session: &Arc<SessionShared>,
    shared: &Arc<TorrentShared>,
    name: InfoHash,
) -> AnnouncerHandle {
    let info_hash = shared.info_hash();
    let config = AnnouncerConfig {
        info_hash: name,
        peer_id: session.peer_id.0,
        ports: Arc::clone(&session.told_ports),
        ask: AskOptions {
            private_addresses: session.settings.private_policy(),
            ..AskOptions::default()
        },
    };
    let schedule = ScheduleConfig {
        tiers: shared.torrent.trackers.clone(),
        policy: policy(shared.torrent.info.is_private()),
        complete: is_complete(&shared.stats()),
        seed: fastrand::u64(..),
    };
    let torrent = Arc::downgrade(shared);
    let numbers = move || {
        let stats = torrent.upgrade().map(|shared| shared.stats());
        stats.map_or(Numbers::default(), |stats| numbers_of(&stats))
    };
    let session_of = Arc::clone(session);
    let serving = shared.torrent.info.is_private().then(Serving::default);
    let news = move |news| match news {
        News::Peers { tracker, addrs } => {
            if serving.as_ref().is_some_and(|serving| serving.changes_to(tracker)) {
                session_of.tracker_changed(info_hash);
            }
            session_of.candidates(info_hash, swarm::Source::Tracker, addrs);
        }
        News::ExternalIp { tracker, ip } => session_of.seen_at(Voter::Tracker(tracker), ip),
        News::Reply { tracker, peers } => {
            session_of.events.send(Event::TrackerReply { info_hash, tracker, peers });
        }
        News::Failure { tracker, message } => {
            session_of.events.send(Event::TrackerError { info_hash, tracker, message });
        }
    };
    Announcer::spawn(session.trackers.clone(), config, schedule, numbers, news)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TorrentState;

    #[test]
    fn a_private_torrent_has_one_tracker_at_a_time_and_a_change_is_noticed() {
        assert_eq!(policy(true), Policy::FirstWorking);
        assert_eq!(policy(false), Policy::AllTiers);
        let serving = Serving::default();
        let changes = ["a", "a", "b", "b", "a"].map(|host| serving.changes_to(host.into()));
        assert_eq!(changes, [false, false, true, false, true]);
    }

    #[test]
    fn what_is_left_is_what_is_wanted_and_of_a_partial_seed_what_it_lacks() {
        let mut stats = TorrentStats {
            state: TorrentState::Downloading,
            total_bytes: 100,
            verified_bytes: 20,
            wanted_left: 30,
            pieces_have: 2,
            pieces_total: 10,
            check_progress: (0, 0),
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            failed: 0,
            filtered: 0,
            web_seeds: 0,
            download_rate: 0,
            upload_rate: 0,
            peers: 0,
            seeds: 0,
            peers_known: 0,
            half_open: 0,
            eta: None,
            resumed_bytes: 0,
            tracker_error: None,
        };
        let told = |stats: &TorrentStats| {
            let numbers = numbers_of(stats);
            (numbers.left, numbers.partial)
        };
        assert_eq!(told(&stats), (30, false));
        (stats.wanted_left, stats.verified_bytes, stats.pieces_have) = (0, 50, 5);
        assert_eq!(told(&stats), (50, true), "zero would make it a seed to the tracker");
        (stats.verified_bytes, stats.pieces_have) = (100, 10);
        assert_eq!(told(&stats), (0, false));
    }
}
