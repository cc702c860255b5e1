//! From a magnet link to its torrent, telling on the way why it is not there yet.

use std::time::{Duration, Instant};

use engine::{FollowMagnet, Found, MagnetSearch, MagnetStats, Session};
use serde_json::json;

use super::session::{Patience, named};
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::output::Output;
use crate::progress::Progress;

/// How often progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// How often it is told in JSON.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Waits for the metadata; fails when no peer was seen for as long as `patience` has.
pub(crate) async fn find(
    session: &Session,
    request: FollowMagnet,
    patience: Patience,
    output: Output,
) -> Result<Found, Failure> {
    let search = session.follow(request)?;
    let found = tokio::select! {
        found = search.found() => found?,
        failure = watch(session, &search, &patience, output) => return Err(failure),
    };
    let (name, bytes) = (found.torrent.info.name(), found.torrent.info_bytes.len());
    let metadata = json!({ "event": "metadata", "name": name, "bytes": bytes });
    output.value(&named(metadata, &found.torrent.info_hashes));
    Ok(found)
}

/// Draws until it runs out of patience.
async fn watch(
    session: &Session,
    search: &MagnetSearch,
    patience: &Patience,
    output: Output,
) -> Failure {
    let info_hash = search.hashes().on_the_wire().to_string();
    let progress = Progress::new(output, &info_hash);
    let (mut last_company, mut told) = (Instant::now(), Instant::now());
    let mut every = tokio::time::interval(DRAW_EVERY);
    loop {
        every.tick().await;
        let stats = search.stats();
        let metadata = stats.metadata;
        let size = metadata.size.unwrap_or(0);
        let absence = session.network().absence();
        let why = sentence(&stats, absence.clone());
        progress.set(metadata.received.into(), size.into(), &why);
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            output.value(&json!({
                "event": "metadata_wanted", "info_hash": info_hash,
                "peers": metadata.peers, "offering": metadata.offering,
                "peers_known": metadata.peers_known, "filtered": metadata.filtered,
                 "half_open": metadata.half_open,
                "failed": metadata.failed, "received": metadata.received, "size": metadata.size,
                "dht_nodes": stats.dht_nodes, "tracker_error": stats.tracker_error,
                "network_absence": absence,
            }));
        }
        if metadata.peers > 0 || patience.rests() {
            last_company = Instant::now();
        } else if patience.is_over(last_company) {
            let seconds = patience.seconds();
            let message =
                format!("{info_hash}: no metadata, as no peers within {seconds} s ({why})");
            return Failure::new(Code::NoPeers, message)
                .advise("name one with --peer, or wait longer with --wait-peers");
        }
    }
}

/// Why there is no metadata yet.
fn sentence(stats: &MagnetStats, absence: Option<String>) -> String {
    let metadata = stats.metadata;
    if let Some(absence) = absence {
        return absence;
    }
    let mut why = vec![match metadata.size {
        Some(size) => {
            let (received, size) = (metadata.received.into(), size.into());
            format!("metadata: {} of {}", format::bytes(received), format::bytes(size))
        }
        None if metadata.peers > 0 => {
            format!("{} peers, {} offer the metadata", metadata.peers, metadata.offering)
        }
        None => {
            format!("{} addresses, {} being tried", metadata.peers_known, metadata.half_open)
        }
    }];
    if metadata.failed > 0 {
        why.push(format!("{} sent a wrong one", metadata.failed));
    }
    if let Some(nodes) = stats.dht_nodes {
        why.push(format!("{nodes} DHT nodes answered"));
    }
    why.extend(stats.tracker_error.as_deref().map(untrusted));
    why.join("; ")
}
