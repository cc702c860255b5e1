//! What a program may want without a session: ask a torrent's trackers once, fetch a .torrent.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, InfoHash, InfoHashes, Magnet, Torrent};
use tokio::task::JoinSet;
use tracker::{AnnounceRequest, Event, ScrapeCounts};
use wire::PeerId;

use crate::announce::{AnnounceError, AskOptions, FamilyReplies, TrackerClient, host_of};
use crate::http::{GetOptions, HttpClient, HttpError, HttpSettings, PrivatePolicy};
use crate::net::Network;

/// Time to fetch one.
const FETCH_TIME: Duration = Duration::from_mins(1);

/// The torrent that trackers are asked about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name on the network.
    pub info_hash: InfoHash,
    /// A hybrid's other name, the first 20 bytes of its v2 hash (BEP 52): trackers are asked by both.
    pub other: Option<InfoHash>,
    /// Announce URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Bytes that we say we lack.
    pub left: u64,
}

impl From<&Torrent> for Subject {
    fn from(torrent: &Torrent) -> Self {
        Self {
            info_hash: torrent.info_hash,
            other: other_name(&torrent.info_hashes),
            trackers: torrent.trackers.clone(),
            left: torrent.info.geometry().total_length(),
        }
    }
}

impl From<&Magnet> for Subject {
    fn from(magnet: &Magnet) -> Self {
        Self {
            info_hash: magnet.hashes.on_the_wire(),
            other: other_name(&magnet.hashes),
            trackers: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            // How much there is nobody knows; who lacks nothing is given no seeds.
            left: u64::from(BLOCK_LENGTH),
        }
    }
}

fn other_name(hashes: &InfoHashes) -> Option<InfoHash> {
    hashes.v1().and(hashes.v2()).map(|hash| hash.truncated())
}

/// How to ask a torrent's trackers.
#[derive(Debug, Clone)]
pub struct AnnounceOptions {
    /// Who we are.
    pub peer_id: PeerId,
    /// The port we could be reached on; trackers hand it to others.
    pub port: u16,
    /// Where sockets come from.
    pub network: Network,
    /// Whether any tracker may be on a loopback or private address.
    pub allow_private: bool,
    /// Time for each tracker.
    pub timeout: Duration,
}

impl AnnounceOptions {
    fn client(&self) -> (TrackerClient, AskOptions) {
        let http = HttpClient::new(HttpSettings::over(&self.network));
        let private_addresses =
            if self.allow_private { PrivatePolicy::Allow } else { PrivatePolicy::Refuse };
        let options = AskOptions { private_addresses, port_v6: None, deadline: self.timeout };
        (TrackerClient::new(http, self.network.clone()), options)
    }
}

/// What one tracker said, asked once.
#[derive(Debug)]
pub struct TrackerReport<T> {
    /// The name by which it was asked.
    pub info_hash: InfoHash,
    /// Its tier, from zero.
    pub tier: usize,
    /// Its URL, passkey included: for its owner's eyes.
    pub url: String,
    /// Host and port: what may be shown to anybody.
    pub host: String,
    /// What it said.
    pub answer: T,
}

/// Announces to every tracker of the torrent at once, as a peer that has nothing and has just
/// come, and leaves again (`stopped`) without waiting for answers to that.
pub async fn announce_all(
    torrent: &Subject,
    options: AnnounceOptions,
) -> Vec<TrackerReport<FamilyReplies>> {
    let request = AnnounceRequest {
        info_hash: torrent.info_hash,
        peer_id: options.peer_id.0,
        port: options.port,
        uploaded: 0,
        downloaded: 0,
        left: torrent.left,
        event: Event::Started,
        key: fastrand::u32(..),
        numwant: tracker::NUMWANT,
        tracker_id: None,
    };
    let (client, ask) = options.client();
    ask_all(torrent, move |url, info_hash| {
        let client = client.clone();
        let request = AnnounceRequest { info_hash, ..request.clone() };
        async move {
            let replies = client.announce(&url, &request, ask).await;
            let leave = AnnounceRequest { event: Event::Stopped, numwant: 0, ..request };
            let brief = AskOptions { deadline: LEAVE_TIME, ..ask };
            if matches!(replies.v4, Some(Ok(_))) || matches!(replies.v6, Some(Ok(_))) {
                client.announce(&url, &leave, brief).await;
            }
            replies
        }
    })
    .await
}

/// Time for a tracker to hear that we left.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Asks every tracker of the torrent for its counts (BEP 48); `None` from one that answers but
/// does not know the torrent.
pub async fn scrape_all(
    torrent: &Subject,
    options: AnnounceOptions,
) -> Vec<TrackerReport<Result<Option<ScrapeCounts>, AnnounceError>>> {
    let (client, ask) = options.client();
    ask_all(torrent, move |url, info_hash| {
        let client = client.clone();
        async move {
            let reply = client.scrape(&url, &[info_hash], ask).await?;
            Ok(reply.get(&info_hash))
        }
    })
    .await
}

async fn ask_all<T, F>(
    torrent: &Subject,
    ask: impl Fn(String, InfoHash) -> F,
) -> Vec<TrackerReport<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut asking = JoinSet::new();
    for info_hash in [Some(torrent.info_hash), torrent.other].into_iter().flatten() {
        for (tier, urls) in torrent.trackers.iter().enumerate() {
            for url in urls {
                let answer = ask(url.clone(), info_hash);
                let (url, host) = (url.clone(), host_of(url));
                let order = asking.len();
                asking.spawn(async move {
                    let answer = answer.await;
                    (order, TrackerReport { info_hash, tier, url, host, answer })
                });
            }
        }
    }
    let mut reports: Vec<_> = asking.join_all().await;
    reports.sort_by_key(|(order, _)| *order);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Why no .torrent came from a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server did not deliver.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server answered with something else.
    #[error("{host} answered with status {status}")]
    Status {
        /// The host of the URL.
        host: String,
        /// Such as 404.
        status: u16,
    },
}

/// Fetches a .torrent file over HTTP or HTTPS. A person named the URL, so it may lead to a private
/// address; where another host redirects to may not.
///
/// # Errors
/// [`FetchError`], naming the host.
pub async fn fetch_torrent(url: &str, network: &Network) -> Result<Vec<u8>, FetchError> {
    let client = HttpClient::new(HttpSettings::over(network));
    let options = GetOptions {
        private_addresses: PrivatePolicy::AllowAsWritten,
        body_max: metainfo::TORRENT_BYTES_MAX,
        timeout: FETCH_TIME,
        ..GetOptions::default()
    };
    let reply = client.get(url, options).await?;
    if !reply.is_success() {
        return Err(FetchError::Status { host: host_of(url), status: reply.status });
    }
    Ok(reply.body)
}
