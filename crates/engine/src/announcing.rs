//! A torrent's trackers, wired to it: peers they give become candidates, their news events.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracker::{Policy, ScheduleConfig};

use crate::announce::{Announcer, AnnouncerConfig, AnnouncerHandle, AskOptions, News, Numbers};
use crate::events::Event;
use crate::handle::TorrentShared;
use crate::session::SessionShared;
use crate::stats::TorrentStats;

/// Batches of addresses from trackers that wait for the torrent's shard.
const BATCHES_MAX: usize = 8;

/// Trackers count who has everything, not who has all that is wanted (BEP 21).
pub(crate) fn is_complete(stats: &TorrentStats) -> bool {
    stats.pieces_have == stats.pieces_total
}

/// Begins to announce. Must be called on the control runtime.
pub(crate) fn start(session: &Arc<SessionShared>, shared: &Arc<TorrentShared>) {
    let info_hash = shared.info_hash();
    let config = AnnouncerConfig {
        info_hash,
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
    let events = Arc::clone(session);
    let news = move |news| {
        events.events.send(match news {
            News::Reply { tracker, peers } => Event::TrackerReply { info_hash, tracker, peers },
            News::Failure { tracker, message } => {
                Event::TrackerError { info_hash, tracker, message }
            }
        });
    };
    let (sender, mut peers) = mpsc::channel(BATCHES_MAX);
    let handle = Announcer::spawn(session.trackers.clone(), config, numbers, news, sender);
    if shared.announcer.set(handle).is_err() {
        return; // the torrent announces already; the handle just dropped ends this one
    }
    let (session, torrent) = (Arc::clone(session), Arc::downgrade(shared));
    tokio::spawn(async move {
        while let Some(addrs) = peers.recv().await {
            session.candidates(info_hash, swarm::Source::Tracker, addrs);
            let Some(shared) = torrent.upgrade() else { return };
            let votes = shared.announcer.get().map(AnnouncerHandle::external_ip_votes);
            if let Some((ip, _)) = votes.into_iter().flatten().next() {
                session.external_ip(info_hash, ip);
            }
        }
    });
}
