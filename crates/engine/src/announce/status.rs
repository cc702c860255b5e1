//! How a torrent's tracker is doing, for display.

use std::sync::Arc;
use std::time::Duration;

use tracker::TrackerState;
use url::Url;

/// One tracker of a torrent. Times are relative to the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Host and port: what may be shown to anybody.
    pub host: String,
    /// The URL, passkey included: for its owner's eyes.
    pub url: Arc<str>,
    /// Its tier, from zero.
    pub tier: usize,
    /// What it is up to.
    pub state: TrackerState,
    /// What went wrong last, while not working.
    pub error: Option<String>,
    /// The warning in its last good answer.
    pub warning: Option<String>,
    /// How long ago it answered well.
    pub answered_ago: Option<Duration>,
    /// Time until it is asked again; `None` for a backup and when announcing or stopped.
    pub next_in: Option<Duration>,
    /// What it wants between announces.
    pub interval: Option<Duration>,
    /// Peers with all pieces.
    pub seeders: Option<u32>,
    /// Peers without all pieces.
    pub leechers: Option<u32>,
    /// Peers in its last good answer.
    pub peers: usize,
}

impl TrackerStatus {
    pub(super) fn new(status: tracker::TrackerStatus, now: Duration) -> Self {
        Self {
            host: host_of(&status.url),
            url: status.url,
            tier: status.tier,
            state: status.state,
            error: status.last_error,
            warning: status.warning,
            answered_ago: status.last_answer.map(|at| now.saturating_sub(at)),
            next_in: status.next_announce.map(|at| at.saturating_sub(now)),
            interval: status.interval,
            seeders: status.seeders,
            leechers: status.leechers,
            peers: status.peers,
        }
    }
}

/// Host and port of a tracker's URL, without anything secret.
pub(crate) fn host_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else {
        return "unusable url".to_owned();
    };
    let host = url.host_str().unwrap_or("unusable url");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_shown_without_secrets() {
        assert_eq!(host_of("https://user:pass@t.example/S3/announce?key=S3"), "t.example");
        assert_eq!(host_of("udp://[2001:db8::1]:1337/S3"), "[2001:db8::1]:1337");
        assert_eq!(host_of("S3"), "unusable url");
    }
}
