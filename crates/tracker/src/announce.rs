//! What is asked of a tracker and what it answers, whichever protocol carries it (BEP 3, 15).
//!
//! [`crate::http`] and [`crate::udp`] turn these into bytes and back; [`crate::Schedule`] decides
//! when one is due. Everything in a reply has already been bounded here, so that callers may
//! store and show it as it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::InfoHash;
use metainfo::bencode;

use crate::text::printable;

/// Shortest interval we obey: a tracker that answers 0 must not make us loop.
pub const INTERVAL_MIN: Duration = Duration::from_mins(1);

/// Longest interval we obey: one silly number must not silence a torrent for years.
pub const INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Used when a reply names no interval; half an hour is what most trackers ask for.
pub const INTERVAL_DEFAULT: Duration = Duration::from_mins(30);

/// Peers kept from one reply. Trackers hand out 50 to 200; a full UDP datagram holds 10,900.
pub(crate) const PEERS_MAX: usize = 5_000;

/// Host names kept from one reply: each costs a DNS look-up, and almost no tracker sends any.
pub(crate) const NAMED_PEERS_MAX: usize = 50;

/// Longest `tracker id` echoed back. It travels in a URL, tripled by percent-encoding.
pub(crate) const TRACKER_ID_BYTES_MAX: usize = 512;

/// Largest swarm count believed: above this a number tells about the tracker, not the swarm.
const COUNT_MAX: u32 = 1_000_000_000;

/// Why we announce (BEP 3 `event`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Event {
    /// A regular announce: no `event` at all.
    #[default]
    None,
    /// The first announce to a tracker.
    Started,
    /// The download has just finished; never sent by who began with all pieces.
    Completed,
    /// We leave; sent once, as best effort.
    Stopped,
    /// A regular announce of a partial seed, which wants nothing more and has not all (BEP 21). The
    /// schedule never asks for it: who announces says so in place of [`Self::None`].
    Paused,
}

impl Event {
    /// The value of the HTTP `event` key; `None` for a regular announce.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Started => Some("started"),
            Self::Completed => Some("completed"),
            Self::Stopped => Some("stopped"),
            Self::Paused => Some("paused"),
        }
    }
}

/// One announce (BEP 3). Byte counts are of this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Our peer id in this torrent.
    pub peer_id: [u8; 20],
    /// The TCP port where we accept peers.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Wanted bytes not yet verified; zero for a seed.
    pub left: u64,
    /// Why we announce.
    pub event: Event,
    /// Random, stable for the session, the same on every address family (BEP 7): lets a tracker
    /// know us again when our address changes.
    pub key: u32,
    /// Peers wanted; 0 when none are.
    pub numwant: u32,
    /// What this tracker gave as `tracker id` before (BEP 3; HTTP only).
    pub tracker_id: Option<Vec<u8>>,
}

/// A tracker's answer to an announce, bounded and cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Time until the next regular announce, within [`INTERVAL_MIN`]`..=`[`INTERVAL_MAX`].
    pub interval: Duration,
    /// No regular announce sooner than this; at most [`INTERVAL_MAX`].
    pub min_interval: Option<Duration>,
    /// Peers with all pieces.
    pub seeders: Option<u32>,
    /// Peers without all pieces.
    pub leechers: Option<u32>,
    /// Peers by address, IPv4 and IPv6 together; none with port 0 or an address nobody can have.
    pub peers: Vec<SocketAddr>,
    /// Peers given by host name, which only the dictionary form can do.
    pub named_peers: Vec<(String, u16)>,
    /// Our address as the tracker sees it (BEP 24): a vote, not a truth.
    pub external_ip: Option<IpAddr>,
    /// To be sent back in later announces to this tracker.
    pub tracker_id: Option<Vec<u8>>,
    /// A message for the user although the announce worked; printable, short.
    pub warning: Option<String>,
}

impl AnnounceReply {
    /// A reply of `interval` (clamped) and nothing else yet.
    pub(crate) fn with_interval(interval: Duration) -> Self {
        Self {
            interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
            min_interval: None,
            seeders: None,
            leechers: None,
            peers: Vec::new(),
            named_peers: Vec::new(),
            external_ip: None,
            tracker_id: None,
            warning: None,
        }
    }

    /// Adds the `<address, port>` records of `bytes`, 6 bytes each (BEP 23), `PEERS_MAX` in all.
    /// Bytes left over at the end are ignored.
    pub(crate) fn add_compact_v4(&mut self, bytes: &[u8]) {
        let (records, _) = bytes.as_chunks::<6>();
        for &[a, b, c, d, high, low] in records {
            self.add_peer([a, b, c, d].into(), u16::from_be_bytes([high, low]));
        }
    }

    /// Adds the `<address, port>` records of `bytes`, 18 bytes each (BEP 7), as above.
    pub(crate) fn add_compact_v6(&mut self, bytes: &[u8]) {
        let (records, _) = bytes.as_chunks::<18>();
        for record in records {
            if let (Some(address), [.., high, low]) = (record.first_chunk::<16>(), record) {
                self.add_peer((*address).into(), u16::from_be_bytes([*high, *low]));
            }
        }
    }

    /// Adds one peer unless it cannot be dialled or the reply is full.
    pub(crate) fn add_peer(&mut self, ip: IpAddr, port: u16) {
        let ip = ip.to_canonical(); // an IPv4 peer in IPv6 clothes is the same peer
        if port != 0 && self.peers.len() < PEERS_MAX && is_a_host(ip) {
            self.peers.push(SocketAddr::new(ip, port));
        }
    }
}

/// Whether `ip` can be the address of one host that we could dial. Loopback and private
/// addresses can: swarms on one machine or network are normal.
fn is_a_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    // Without a scope, which no reply carries, an IPv6 link-local address leads nowhere.
    let scopeless = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast || scopeless)
}

/// A swarm count from a tracker: `None` when negative (unknown), capped when absurd.
pub(crate) fn count(value: i64) -> Option<u32> {
    if value < 0 {
        return None;
    }
    Some(u32::try_from(value).unwrap_or(COUNT_MAX).min(COUNT_MAX))
}

/// One torrent's counts in a scrape reply; `None` is "not told".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrapeCounts {
    /// Peers with all pieces.
    pub complete: Option<u32>,
    /// Downloads ever finished.
    pub downloaded: Option<u32>,
    /// Peers without all pieces.
    pub incomplete: Option<u32>,
}

/// A tracker's answer to a scrape (BEP 15, 48). May hold fewer torrents than were asked for,
/// and over HTTP others too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrapeReply {
    pub(crate) torrents: Vec<(InfoHash, ScrapeCounts)>,
}

impl ScrapeReply {
    /// The counts of `info_hash`, when the tracker told them.
    pub fn get(&self, info_hash: &InfoHash) -> Option<ScrapeCounts> {
        let found = self.torrents.iter().find(|(hash, _)| hash == info_hash);
        found.map(|(_, counts)| *counts)
    }

    /// All torrents in the reply.
    pub fn iter(&self) -> impl Iterator<Item = (InfoHash, ScrapeCounts)> + '_ {
        self.torrents.iter().copied()
    }
}

/// When a tracker that failed may be asked again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// It did not say: back off as [`crate::Schedule`] sees fit.
    #[default]
    Default,
    /// Not before this long from now.
    After(Duration),
    /// Not in this session.
    Never,
}

/// Why a tracker's answer gives no peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The tracker said no (`failure reason`, or action 3 over UDP).
    #[error("the tracker refused: {reason}")]
    Refused {
        /// Its words, printable, at most 500 characters.
        reason: String,
        /// When to ask again (BEP 31).
        retry: Retry,
    },
    /// An HTTP status that is not a success, with a body that explains nothing.
    #[error("the tracker answered with HTTP status {status}")]
    Status {
        /// The status code.
        status: u16,
    },
    /// Nothing in the body.
    #[error("the tracker's answer is empty")]
    Empty,
    /// A web page: usually a parked domain, a login portal or a wrong path.
    #[error("the tracker answered with a web page instead of a tracker reply")]
    Html,
    /// Not bencode, or past our limits.
    #[error("the tracker's answer is not bencode: {0}")]
    NotBencode(#[source] bencode::Error),
    /// Bencode, but no dictionary.
    #[error("the tracker's answer is not a dictionary")]
    NotDictionary,
    /// A compact peer list that is no whole number of records (BEP 7, 23).
    #[error("a `{key}` list of {length} bytes is no multiple of {record}")]
    WrongLength {
        /// `peers` or `peers6`.
        key: &'static str,
        /// Bytes received.
        length: usize,
        /// Bytes in a record: 6 or 18.
        record: usize,
    },
    /// A scrape reply without `files` (BEP 48).
    #[error("the tracker's scrape answer lists no torrents")]
    NoFiles,
}

impl ReplyError {
    /// A refusal in the tracker's own words.
    pub(crate) fn refused(reason: &[u8], retry: Retry) -> Self {
        Self::Refused { reason: printable(reason), retry }
    }

    /// When to ask again; [`Retry::Default`] unless the tracker said otherwise.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { retry, .. } => *retry,
            _ => Retry::Default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> AnnounceReply {
        AnnounceReply::with_interval(INTERVAL_DEFAULT)
    }

    #[test]
    fn intervals_are_clamped() {
        let of = |secs| AnnounceReply::with_interval(Duration::from_secs(secs)).interval;
        assert_eq!(of(0), INTERVAL_MIN);
        assert_eq!(of(1_803), Duration::from_secs(1_803));
        assert_eq!(of(1 << 31), INTERVAL_MAX);
    }

    #[test]
    fn peers_nobody_can_be_are_skipped() {
        let mut reply = empty();
        reply.add_compact_v4(&[0, 0, 0, 0, 0x1a, 0xe1]);
        reply.add_compact_v4(&[255, 255, 255, 255, 0x1a, 0xe1]);
        reply.add_compact_v4(&[224, 0, 0, 1, 0x1a, 0xe1]);
        reply.add_compact_v4(&[10, 0, 0, 1, 0, 0]);
        reply.add_peer("fe80::1".parse().unwrap(), 6881);
        assert_eq!(reply.peers, []);
        reply.add_compact_v4(&[10, 0, 0, 1, 0x1a, 0xe1]);
        assert_eq!(reply.peers, ["10.0.0.1:6881".parse().unwrap()]);
    }

    #[test]
    fn mapped_peers_become_v4() {
        let mut reply = empty();
        reply.add_peer("::ffff:192.0.2.7".parse().unwrap(), 80);
        assert_eq!(reply.peers, ["192.0.2.7:80".parse().unwrap()]);
    }

    #[test]
    fn peer_list_is_capped() {
        let mut reply = empty();
        reply.add_compact_v4(&[10, 0, 0, 1, 0x1a, 0xe1].repeat(PEERS_MAX + 7));
        assert_eq!(reply.peers.len(), PEERS_MAX);
    }

    #[test]
    fn counts_are_capped() {
        assert_eq!(count(-1), None);
        assert_eq!(count(0), Some(0));
        assert_eq!(count(i64::MAX), Some(COUNT_MAX));
    }
}
