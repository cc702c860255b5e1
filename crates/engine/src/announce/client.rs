//! One question to one tracker, over whichever protocol its URL names and both address families.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use metainfo::InfoHash;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracker::http::{announce_url, parse_announce, parse_scrape, refusal, scrape_url};
use tracker::udp::{Family, Outcome, Query, SCRAPE_HASHES_MAX};
use tracker::{AnnounceReply, AnnounceRequest, ReplyError, ScrapeReply, udp_target};
use url::Host;
use wire::proxy::ProxyTarget;

use super::error::AnnounceError;
use super::families::FamilyReplies;
use super::in_flight::InFlight;
use super::status::host_of;
use super::udp::Udp;
use crate::http::{AddressError, GetOptions, HttpClient, HttpReply, Lookup, PrivatePolicy};
use crate::net::Network;

/// Bytes of an answer. One with 5,000 peers as dictionaries has about 400 KiB.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Addresses of one family tried over UDP, where only silence tells that one is dead.
const UDP_ADDRESSES_MAX: usize = 3;

/// Once a tracker has answered over one family the other has this long: enough for one
/// retransmission over UDP (15 s), too short to keep the torrent waiting.
const OTHER_FAMILY_GRACE: Duration = Duration::from_secs(20);

/// Peers given by name that are looked up, and the time for all of them. Almost no tracker gives
/// any; more would make us a resolver's nuisance.
const NAMED_PEERS_MAX: usize = 16;
/// Addresses that one of them may have: each is dialled, and whose they are nobody asked.
const NAMED_ADDRESSES_MAX: usize = 8;
const NAMED_PEERS_TIME: Duration = Duration::from_secs(5);

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskOptions {
    /// Whether the tracker's URL may lead to private addresses.
    pub private_addresses: PrivatePolicy,
    /// What is told of our port over IPv6, where that is another than over IPv4 (BEP 7).
    pub port_v6: Option<u16>,
    /// Time for everything: names, redirects, retransmissions.
    pub deadline: Duration,
}

impl Default for AskOptions {
    /// No private addresses; 60 seconds, in which UDP packets are sent at 0, 15 and 45 s.
    fn default() -> Self {
        Self {
            private_addresses: PrivatePolicy::Refuse,
            port_v6: None,
            deadline: Duration::from_mins(1),
        }
    }
}

/// Asks trackers. Clones share everything, the limit on questions in flight (50) included.
#[derive(Clone)]
pub(crate) struct TrackerClient {
    http: HttpClient,
    network: Network,
    udp: Arc<Udp>,
    in_flight: Arc<InFlight>,
}

impl TrackerClient {
    /// A client whose UDP sockets come from `network`; those of `http` are its own affair.
    pub(crate) fn new(http: HttpClient, network: Network) -> Self {
        let udp = Arc::new(Udp::new(network.clone()));
        Self { http, network, udp, in_flight: Arc::new(InFlight::new()) }
    }

    /// What it asks HTTP trackers with.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Whom nobody heard of while the network was away is asked as if nothing were known of it.
    pub(crate) fn network_back(&self) {
        self.in_flight.network_back();
    }

    /// Announces over IPv4 and IPv6 with the same `key` (BEP 7), where the tracker has such an
    /// address and this machine a route to it.
    pub(crate) async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
        options: AskOptions,
    ) -> FamilyReplies {
        self.announce_each(url, request, options, |_| ()).await
    }

    /// As [`TrackerClient::announce`]; `early` sees each good answer as it comes, so that the
    /// peers of one family need not wait for the other.
    pub(crate) async fn announce_each(
        &self,
        url: &str,
        request: &AnnounceRequest,
        options: AskOptions,
        early: impl Fn(&AnnounceReply),
    ) -> FamilyReplies {
        let both = || async {
            let ask = async |family| {
                let mut request = request.clone();
                if let (Family::V6, Some(port)) = (family, options.port_v6) {
                    request.port = port;
                }
                let reply = self.announce_over(family, url, &request, options).await;
                reply.inspect(&early)
            };
            let (mut v4, mut v6) = (pin!(ask(Family::V4)), pin!(ask(Family::V6)));
            tokio::select! {
                first = &mut v4 => {
                    let second = second(first.is_ok(), v6).await;
                    FamilyReplies::new(first, second)
                }
                first = &mut v6 => {
                    let second = second(first.is_ok(), v4).await;
                    FamilyReplies::new(second, first)
                }
            }
        };
        let asked = self.in_flight.run(host_of(url), both, FamilyReplies::is_answer).await;
        asked.unwrap_or_else(FamilyReplies::unasked)
    }

    /// Asks for the swarm counts of `info_hashes`, of the first 74 at most.
    pub(crate) async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
        options: AskOptions,
    ) -> Result<ScrapeReply, AnnounceError> {
        let hashes = info_hashes.get(..SCRAPE_HASHES_MAX).unwrap_or(info_hashes);
        let ask = || self.scrape_at_once(url, hashes, options);
        let is_answer = |reply: &Result<_, AnnounceError>| {
            reply.as_ref().map_or_else(AnnounceError::is_answer, |_| true)
        };
        self.in_flight.run(host_of(url), ask, is_answer).await?
    }

    async fn scrape_at_once(
        &self,
        url: &str,
        hashes: &[InfoHash],
        options: AskOptions,
    ) -> Result<ScrapeReply, AnnounceError> {
        if is_udp(url) {
            return match self.ask_udp(None, url, Query::Scrape(hashes.to_vec()), options).await? {
                Outcome::Scrape(reply) => Ok(reply),
                Outcome::Announce(_) => Err(ReplyError::NoFiles.into()),
            };
        }
        let scrape = scrape_url(url, hashes).ok_or(AnnounceError::NoScrape)?;
        let reply = self.get(None, url, &scrape, options).await?;
        Ok(parse_scrape(&body(reply)?)?)
    }

    /// Looks up peers that a tracker or a link gave by name: all addresses of each, up to
    /// [`NAMED_ADDRESSES_MAX`]. Behind a proxy nobody is asked.
    pub(crate) async fn resolve_named(&self, named: &[(String, u16)]) -> Vec<SocketAddr> {
        let mut lookups = JoinSet::new();
        for (name, port) in named.iter().take(NAMED_PEERS_MAX).cloned() {
            let network = self.network.clone();
            lookups.spawn(async move { network.resolve_peer(&name, port).await });
        }
        let mut peers = Vec::new();
        let all = async {
            while let Some(found) = lookups.join_next().await {
                peers.extend(found.into_iter().flatten().flatten().take(NAMED_ADDRESSES_MAX));
            }
        };
        let _ = timeout(NAMED_PEERS_TIME, all).await; // what came in time is kept
        peers
    }

    async fn announce_over(
        &self,
        family: Family,
        url: &str,
        request: &AnnounceRequest,
        options: AskOptions,
    ) -> Result<AnnounceReply, AnnounceError> {
        if is_udp(url) {
            let query = Query::Announce(request.clone());
            return match self.ask_udp(Some(family), url, query, options).await? {
                Outcome::Announce(reply) => Ok(reply),
                Outcome::Scrape(_) => Err(ReplyError::NotDictionary.into()),
            };
        }
        let announce = announce_url(url, request)?;
        let reply = self.get(Some(family), url, &announce, options).await?;
        Ok(parse_announce(&body(reply)?)?)
    }

    async fn get(
        &self,
        family: Option<Family>,
        url: &str,
        full_url: &str,
        options: AskOptions,
    ) -> Result<HttpReply, AnnounceError> {
        let get = GetOptions {
            family,
            private_addresses: options.private_addresses,
            judged_url: Some(url.to_owned()),
            body_max: REPLY_BYTES_MAX,
            timeout: options.deadline,
            ..GetOptions::default()
        };
        Ok(self.http.get(full_url, get).await?)
    }

    /// Asks the addresses of a UDP tracker, one after the other, until one answers.
    async fn ask_udp(
        &self,
        family: Option<Family>,
        url: &str,
        query: Query,
        options: AskOptions,
    ) -> Result<Outcome, AnnounceError> {
        let until = Instant::now() + options.deadline;
        let target = udp_target(url)?;
        let lookup = Lookup {
            // `udp` URLs have no address literals of their own: the parser takes them for names.
            host: match target.host.parse() {
                Ok(IpAddr::V4(ip)) => Host::Ipv4(ip),
                Ok(IpAddr::V6(ip)) => Host::Ipv6(ip),
                Err(_) => Host::Domain(&target.host),
            },
            port: target.port,
            family,
            judged_url: url,
            private_addresses: options.private_addresses,
        };
        let host = lookup.host.to_string();
        let named = match (&lookup.host, self.network.proxy()) {
            (Host::Domain(name), Some(_)) => {
                lookup.judge_name()?;
                ProxyTarget::new(name, target.port) // which the proxy looks up
            }
            _ => None,
        };
        let addrs = if let Some(named) = named {
            vec![named]
        } else {
            let addrs = timeout_at(until, lookup.addresses(&self.network)).await;
            let late = |_| AnnounceError::TimedOut { limit: options.deadline };
            addrs.map_err(late)??.into_iter().take(UDP_ADDRESSES_MAX).map(Into::into).collect()
        };
        let mut failure = None;
        for (tried, at) in addrs.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let patience = left / u32::try_from(addrs.len() - tried).unwrap_or(1);
            let asked = self.udp.ask(at, &host, &target.url_data, query.clone(), patience);
            match asked.await {
                Ok(outcome) => return Ok(outcome),
                Err(refused @ AnnounceError::Udp(tracker::udp::UdpError::Reply(_))) => {
                    return Err(refused);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            let source = std::io::ErrorKind::NotFound.into();
            AddressError::Resolve { host, source }.into()
        }))
    }
}

/// The answer over the family that is slower.
async fn second(
    first_is_good: bool,
    answer: impl Future<Output = Result<AnnounceReply, AnnounceError>>,
) -> Result<AnnounceReply, AnnounceError> {
    if !first_is_good {
        return answer.await;
    }
    let answer = timeout(OTHER_FAMILY_GRACE, answer).await;
    answer.unwrap_or(Err(AnnounceError::TimedOut { limit: OTHER_FAMILY_GRACE }))
}

/// The body of a reply that can hold an answer; the reason in it when its status is no success.
fn body(reply: HttpReply) -> Result<Vec<u8>, ReplyError> {
    if reply.is_success() { Ok(reply.body) } else { Err(refusal(reply.status, &reply.body)) }
}

fn is_udp(url: &str) -> bool {
    url.trim_start().get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("udp:"))
}
