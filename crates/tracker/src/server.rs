//! A small HTTP tracker without the HTTP server: for sharing a torrent from one machine, and for
//! tests (BEP 3, 7, 23, 24, 48).
//!
//! The driver accepts connections, reads a request line, gives its target to
//! [`Registry::handle_http`] and writes back status and body as `text/plain`. Memory is bounded
//! by [`ServerLimits`]; a peer is the address its announce came from, never what it claims
//! (`ip=` is ignored), so nobody can enter or remove somebody else.

mod query;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::InfoHash;
use metainfo::bencode::Encoder;

use query::{Announce, QueryError};

/// How often expired peers and torrents are looked for: a walk over everything.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// Allowance for a late announce, beyond the two intervals after which a peer is gone.
const EXPIRY_SLACK: Duration = Duration::from_mins(1);

/// Torrents answered in one scrape: more fit no request line that common servers accept.
const SCRAPE_MAX: usize = 100;

/// Longest request target read. A scrape of `SCRAPE_MAX` torrents has 7,100 bytes.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// What a [`Registry`] holds and says at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Whether any info hash is served; otherwise only those given to [`Registry::allow`].
    pub open: bool,
    /// Torrents; those allowed by name do not count.
    pub torrents_max: usize,
    /// Peers of one torrent; more are answered but not listed.
    pub peers_per_torrent_max: usize,
    /// Peers of one torrent from one IP address, which could otherwise fill it by port number.
    pub peers_per_address_max: usize,
    /// Peers in one answer.
    pub peers_per_reply_max: usize,
    /// `interval` of the answers. Short suits a small tracker: newcomers are found soon.
    pub interval: Duration,
    /// `min interval` of the answers.
    pub min_interval: Duration,
}

impl Default for ServerLimits {
    /// Closed, for one machine's own torrents; about 20 MB when everything is full.
    fn default() -> Self {
        Self {
            open: false,
            torrents_max: 100,
            peers_per_torrent_max: 2_000,
            peers_per_address_max: 100,
            peers_per_reply_max: 200,
            interval: Duration::from_mins(2),
            min_interval: Duration::from_secs(30),
        }
    }
}

/// The torrents and peers of a small tracker.
#[derive(Debug)]
pub struct Registry {
    limits: ServerLimits,
    torrents: BTreeMap<InfoHash, Torrent>,
    /// Documents by path.
    documents: BTreeMap<String, Vec<u8>>,
    sweep_at: Duration,
    rng: fastrand::Rng,
}

#[derive(Debug, Default)]
struct Torrent {
    allowed: bool,
    downloaded: u32,
    peers: BTreeMap<SocketAddr, Peer>,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    id: [u8; 20],
    complete: bool,
    expires: Duration,
}

/// Why a request gets no peers; the client reads it as `failure reason`.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("this tracker does not serve that torrent")]
    NotServed,
    #[error("this tracker is full")]
    Full,
}

impl Registry {
    /// An empty tracker. `seed` decides which peers are picked from a large swarm.
    pub fn new(limits: ServerLimits, seed: u64) -> Self {
        Self {
            limits,
            torrents: BTreeMap::new(),
            documents: BTreeMap::new(),
            sweep_at: Duration::ZERO,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Serves `info_hash` from now on, with or without peers.
    pub fn allow(&mut self, info_hash: InfoHash) {
        self.torrents.entry(info_hash).or_default().allowed = true;
    }

    /// Serves `info_hash` and lists `addr` as a peer that never expires: the machine that runs
    /// this tracker, which knows its own addresses better than an announce to itself would tell.
    pub fn list_own(
        &mut self,
        info_hash: InfoHash,
        peer_id: [u8; 20],
        addr: SocketAddr,
        complete: bool,
    ) {
        self.allow(info_hash);
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            let expires = Duration::MAX;
            torrent.peers.insert(addr, Peer { id: peer_id, complete, expires });
        }
    }

    /// Answers a GET of exactly `path` with `document`: the .torrent that names this tracker.
    pub fn publish(&mut self, path: String, document: Vec<u8>) {
        self.documents.insert(path, document);
    }

    /// Serves `info_hash` no longer and drops its peers.
    pub fn forget(&mut self, info_hash: &InfoHash) {
        self.torrents.remove(info_hash);
    }

    /// Peers of `info_hash`, ours included, without those expired at `now`.
    pub fn peers(&self, now: Duration, info_hash: &InfoHash) -> Vec<SocketAddr> {
        let torrent = self.torrents.get(info_hash).into_iter();
        let peers = torrent.flat_map(|torrent| &torrent.peers);
        peers.filter(|(_, peer)| now < peer.expires).map(|(addr, _)| *addr).collect()
    }

    /// Answers a GET of `target` (path and query) from `remote`: HTTP status and body.
    pub fn handle_http(
        &mut self,
        now: Duration,
        remote: SocketAddr,
        target: &str,
    ) -> (u16, Vec<u8>) {
        if target.len() > TARGET_BYTES_MAX {
            return (414, b"request too long\n".to_vec());
        }
        self.sweep(now);
        if let Some(document) = self.documents.get(target) {
            return (200, document.clone());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let answer = match path {
            "/announce" => self.announce(now, remote, query),
            "/scrape" => self.scrape(now, query),
            _ => {
                return (404, b"this is a BitTorrent tracker: /announce, /scrape\n".to_vec());
            }
        };
        // A refusal is an answer too: many clients do not read the body of another status.
        (200, answer.unwrap_or_else(|failure| failure_reason(&failure)))
    }

    fn announce(
        &mut self,
        now: Duration,
        remote: SocketAddr,
        query: &str,
    ) -> Result<Vec<u8>, Failure> {
        let request = query::announce(query)?;
        let ip = remote.ip().to_canonical();
        let addr = SocketAddr::new(ip, request.port);
        if !self.torrents.contains_key(&request.info_hash) {
            if !self.limits.open {
                return Err(Failure::NotServed);
            }
            let strangers = self.torrents.values().filter(|torrent| !torrent.allowed);
            if strangers.count() >= self.limits.torrents_max {
                return Err(Failure::Full);
            }
        }
        let torrent = self.torrents.entry(request.info_hash).or_default();
        torrent.update(now, addr, &request, &self.limits);
        Ok(torrent.answer(now, addr, &request, &self.limits, &mut self.rng))
    }

    fn scrape(&self, now: Duration, query: &str) -> Result<Vec<u8>, Failure> {
        let mut hashes = query::scrape(query)?;
        hashes.sort_unstable(); // bencode wants sorted keys
        hashes.dedup();
        hashes.truncate(SCRAPE_MAX);
        let mut out = Encoder::new();
        out.begin_dict().key(b"files").begin_dict();
        for hash in hashes {
            if let Some(torrent) = self.torrents.get(&hash) {
                let (complete, incomplete) = torrent.counts(now);
                out.key(hash.as_bytes()).begin_dict();
                out.key(b"complete").int(complete);
                out.key(b"downloaded").int(torrent.downloaded.into());
                out.key(b"incomplete").int(incomplete).end();
            }
        }
        out.end().end();
        Ok(out.finish())
    }

    fn sweep(&mut self, now: Duration) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now.saturating_add(SWEEP_EVERY);
        self.torrents.retain(|_, torrent| {
            torrent.peers.retain(|_, peer| now < peer.expires);
            torrent.allowed || !torrent.peers.is_empty()
        });
    }
}

impl Torrent {
    /// Enters, refreshes or removes the announcing peer.
    fn update(
        &mut self,
        now: Duration,
        addr: SocketAddr,
        request: &Announce,
        limits: &ServerLimits,
    ) {
        let before = self.peers.get(&addr).copied();
        if before.is_some_and(|peer| peer.expires == Duration::MAX) {
            return; // our own
        }
        if request.stopped {
            self.peers.remove(&addr);
            return;
        }
        if request.completed && before.is_some_and(|peer| !peer.complete) {
            self.downloaded = self.downloaded.saturating_add(1);
        }
        let has_room = || {
            let at_port = |port| SocketAddr::new(addr.ip(), port);
            let same_ip = self.peers.range(at_port(0)..=at_port(u16::MAX));
            self.peers.len() < limits.peers_per_torrent_max
                && same_ip.count() < limits.peers_per_address_max
        };
        if before.is_some() || has_room() {
            let life = limits.interval.saturating_mul(2).saturating_add(EXPIRY_SLACK);
            let peer = Peer {
                id: request.peer_id,
                complete: request.complete,
                expires: now.saturating_add(life),
            };
            self.peers.insert(addr, peer);
        }
    }

    fn answer(
        &self,
        now: Duration,
        addr: SocketAddr,
        request: &Announce,
        limits: &ServerLimits,
        rng: &mut fastrand::Rng,
    ) -> Vec<u8> {
        let wanted = if request.stopped { 0 } else { request.numwant };
        let useful = self.peers.iter().filter(|(other, peer)| {
            // Seeds have nothing to give each other.
            **other != addr && now < peer.expires && !(request.complete && peer.complete)
        });
        let peers = rng.choose_multiple(useful, wanted.min(limits.peers_per_reply_max));
        let (complete, incomplete) = self.counts(now);
        let mut out = Encoder::new();
        out.begin_dict();
        out.key(b"complete").int(complete);
        out.key(b"downloaded").int(self.downloaded.into());
        out.key(b"external ip").bytes(&ip_bytes(addr.ip()));
        out.key(b"incomplete").int(incomplete);
        out.key(b"interval").int(seconds(limits.interval));
        out.key(b"min interval").int(seconds(limits.min_interval));
        out.key(b"peers");
        if request.compact {
            let of_family = |v4: bool| -> Vec<u8> {
                let addrs = peers.iter().filter(|(addr, _)| addr.is_ipv4() == v4);
                addrs.flat_map(|(addr, _)| compact(addr)).collect()
            };
            out.bytes(&of_family(true));
            let v6 = of_family(false);
            if !v6.is_empty() {
                out.key(b"peers6").bytes(&v6);
            }
        } else {
            out.begin_list();
            for (addr, peer) in peers {
                out.begin_dict().key(b"ip").bytes(addr.ip().to_string().as_bytes());
                if !request.no_peer_id {
                    out.key(b"peer id").bytes(&peer.id);
                }
                out.key(b"port").int(addr.port().into()).end();
            }
            out.end();
        }
        out.end();
        out.finish()
    }

    /// Complete and incomplete peers.
    fn counts(&self, now: Duration) -> (i64, i64) {
        let alive = || self.peers.values().filter(|peer| now < peer.expires);
        let count = |complete: bool| alive().filter(|peer| peer.complete == complete).count();
        let as_int = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        (as_int(count(true)), as_int(count(false)))
    }
}

fn failure_reason(failure: &Failure) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_dict().key(b"failure reason").bytes(failure.to_string().as_bytes()).end();
    out.finish()
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// 6 or 18 bytes (BEP 7, 23).
fn compact(addr: &SocketAddr) -> Vec<u8> {
    let mut bytes = ip_bytes(addr.ip());
    bytes.extend_from_slice(&addr.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests;
