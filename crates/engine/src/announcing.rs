//! A torrent's trackers, wired to it: peers they give become candidates, their news events.

use std::sync::Arc;

use metainfo::InfoHash;
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

fn announcer(
    session: &Arc<SessionShared>,
    shared: &Arc<TorrentShared>,
    name: InfoHash,
) -> AnnouncerHandle {
    let info_hash = shared.info_hash();
    let config = AnnouncerConfig {
        info_hash: name,
        peer_id: session.peer_id.0,
        port: session.listen_port(),
        schedule: ScheduleConfig {
            tiers: shared.torrent.trackers.clone(),
            policy: Policy::default(),
            complete: is_complete(&shared.stats()),
            seed: fastrand::u64(..),
        },
        ask: AskOptions {
            private_addresses: session.settings.private_policy(),
            ..AskOptions::default()
        },
    };
    let torrent = Arc::downgrade(shared);
    let numbers = move || {
        let stats = torrent.upgrade().map(|shared| shared.stats());
        stats.map_or(Numbers { uploaded: 0, downloaded: 0, left: 0 }, |stats| Numbers {
            uploaded: stats.uploaded,
            downloaded: stats.downloaded,
            left: stats.total_bytes - stats.verified_bytes,
        })
    };
    let session_of = Arc::clone(session);
    let news = move |news| match news {
        News::Peers(addrs) => session_of.candidates(info_hash, swarm::Source::Tracker, addrs),
        News::ExternalIp(ip) => session_of.external_ip(info_hash, ip),
        News::Reply { tracker, peers } => {
            session_of.events.send(Event::TrackerReply { info_hash, tracker, peers });
        }
        News::Failure { tracker, message } => {
            session_of.events.send(Event::TrackerError { info_hash, tracker, message });
        }
    };
    Announcer::spawn(session.trackers.clone(), config, numbers, news)
}
