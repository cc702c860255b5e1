//! The UDP tracker protocol (BEP 15) and its `URLData` option (BEP 41), as one exchange without
//! a socket: connect when no live connection id is at hand, then announce or scrape, each packet
//! sent again after 15·2ⁿ seconds.
//!
//! The driver owns a socket and one resolved address. It must hand over only datagrams whose
//! source is that very address and port: the 32-bit transaction id is the second guard, not the
//! first. For a host with both IPv4 and IPv6 addresses it runs two exchanges with the same `key`,
//! each with its own connection id.
//!
//! ```text
//! loop {
//!     match exchange.poll(now) {
//!         Step::Send(packet) => send(packet),
//!         Step::Wait(until) => receive until then; exchange.handle(now, datagram)
//!         Step::Failed(error) => return error,
//!     }
//! }
//! ```

use std::time::Duration;

use metainfo::InfoHash;

use crate::announce::{
    AnnounceReply, AnnounceRequest, Event, ReplyError, Retry, ScrapeCounts, ScrapeReply, count,
};

/// Info hashes in one scrape: what fits a datagram that is never fragmented (BEP 15).
pub const SCRAPE_HASHES_MAX: usize = 74;

/// Marks a connect request as BEP 15's.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// A client may use a connection id this long after receiving it (BEP 15).
const CONNECTION_LIFETIME: Duration = Duration::from_mins(1);

/// The first wait for an answer; doubled each time (BEP 15).
const RETRY_FIRST: Duration = Duration::from_secs(15);

/// BEP 15 stops doubling here: 3,840 seconds.
const RETRIES_MAX: u32 = 8;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;

/// BEP 41 option: a piece of the URL's path and query.
const OPTION_URL_DATA: u8 = 2;

/// A tracker's proof that we receive at our address; good for [`Exchange`]s with the same tracker
/// address from the same socket until it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    /// The tracker's number.
    pub id: u64,
    /// From this time on it must not be used.
    pub expires: Duration,
}

/// The address family of the datagrams, which decides the size of a peer record (BEP 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// 6-byte peers.
    V4,
    /// 18-byte peers.
    V6,
}

/// What to ask the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Announce one torrent.
    Announce(AnnounceRequest),
    /// Ask for counts; only the first [`SCRAPE_HASHES_MAX`] torrents are asked for.
    Scrape(Vec<InfoHash>),
}

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Retransmissions before giving up, at most 8 (BEP 15's n).
    pub retries_max: u32,
    /// Give up this long after the start whatever n says; `None`: only n counts.
    pub deadline: Option<Duration>,
}

impl Default for Patience {
    /// BEP 15 to the letter: more than two hours in all.
    fn default() -> Self {
        Self { retries_max: RETRIES_MAX, deadline: None }
    }
}

/// What an [`Exchange`] starts from.
#[derive(Debug, Clone)]
pub struct ExchangeConfig {
    /// What to ask.
    pub query: Query,
    /// Family of the tracker's address.
    pub family: Family,
    /// Path and query of the tracker's URL ([`crate::UdpTarget::url_data`]); may be empty.
    pub url_data: String,
    /// From an earlier exchange with this address; a stale one is replaced.
    pub connection: Option<ConnectionId>,
    /// How long to try.
    pub patience: Patience,
    /// For the transaction ids, which must not be guessable: from the system's randomness.
    pub seed: u64,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this datagram to the tracker, then poll again.
    Send(Vec<u8>),
    /// Wait for a datagram, until this time; then poll again.
    Wait(Duration),
    /// It is over.
    Failed(UdpError),
    /// [`Exchange::handle`] gave the result already.
    Finished,
}

/// What the tracker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To [`Query::Announce`].
    Announce(AnnounceReply),
    /// To [`Query::Scrape`].
    Scrape(ScrapeReply),
}

/// Why an exchange gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// No usable answer to `sent` datagrams.
    #[error("the tracker did not answer ({sent} packets sent)")]
    TimedOut {
        /// Datagrams sent.
        sent: u32,
    },
    /// It answered with an error.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

/// One connect-and-ask with one tracker address. See the module's loop.
#[derive(Debug)]
pub struct Exchange {
    config: ExchangeConfig,
    connection: Option<ConnectionId>,
    connected_here: bool,
    pending: Option<Pending>,
    retries: u32,
    sent: u32,
    gives_up_at: Option<Duration>,
    over: Option<Step>,
    rng: fastrand::Rng,
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    action: u32,
    transaction: u32,
    again_at: Duration,
}

impl Exchange {
    /// Starts at `now`; nothing is sent before [`Exchange::poll`].
    pub fn new(now: Duration, mut config: ExchangeConfig) -> Self {
        if let Query::Scrape(hashes) = &mut config.query {
            hashes.truncate(SCRAPE_HASHES_MAX);
        }
        config.patience.retries_max = config.patience.retries_max.min(RETRIES_MAX);
        Self {
            connection: config.connection,
            connected_here: false,
            pending: None,
            retries: 0,
            sent: 0,
            gives_up_at: config.patience.deadline.map(|d| now.saturating_add(d)),
            over: None,
            rng: fastrand::Rng::with_seed(config.seed),
            config,
        }
    }

    /// The connection id in hand, for the next exchange with the same tracker address.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// What to do at `now`.
    pub fn poll(&mut self, now: Duration) -> Step {
        if let Some(over) = &self.over {
            return over.clone();
        }
        if self.gives_up_at.is_some_and(|at| now >= at) {
            return self.time_out();
        }
        match self.pending {
            Some(pending) if now < pending.again_at => {
                let until = self.gives_up_at.unwrap_or(Duration::MAX);
                return Step::Wait(pending.again_at.min(until));
            }
            Some(_) if self.retries >= self.config.patience.retries_max => {
                return self.time_out();
            }
            Some(_) => self.retries = self.retries.saturating_add(1),
            None => {}
        }
        self.send(now)
    }

    /// Takes a datagram from the tracker's address. `None`: not an answer to what was asked, or
    /// the connect half is done; poll on. `Some`: the exchange is over.
    pub fn handle(&mut self, now: Duration, datagram: &[u8]) -> Option<Result<Outcome, UdpError>> {
        let pending = self.pending.filter(|_| self.over.is_none())?;
        let mut reader = Reader(datagram);
        let action = reader.u32()?;
        if reader.u32()? != pending.transaction {
            return None;
        }
        let outcome = match action {
            ACTION_ERROR => return self.refused(pending, reader.0),
            ACTION_CONNECT if pending.action == ACTION_CONNECT => {
                let id = reader.u64()?;
                self.connected(now, id);
                return None;
            }
            action if action == pending.action => match &self.config.query {
                Query::Announce(_) => {
                    Outcome::Announce(read_announce(&mut reader, self.config.family)?)
                }
                Query::Scrape(hashes) => Outcome::Scrape(read_scrape(&mut reader, hashes)?),
            },
            _ => return None,
        };
        self.over = Some(Step::Finished);
        Some(Ok(outcome))
    }

    fn time_out(&mut self) -> Step {
        let step = Step::Failed(UdpError::TimedOut { sent: self.sent });
        self.over.insert(step).clone()
    }

    fn connected(&mut self, now: Duration, id: u64) {
        self.connection =
            Some(ConnectionId { id, expires: now.saturating_add(CONNECTION_LIFETIME) });
        // The first answer shows that packets get through: the waits begin anew. Only the first,
        // or a tracker that answers connects and nothing else would be asked for ever.
        if !self.connected_here {
            self.retries = 0;
        }
        self.connected_here = true;
        self.pending = None;
    }

    fn refused(&mut self, pending: Pending, text: &[u8]) -> Option<Result<Outcome, UdpError>> {
        if pending.action != ACTION_CONNECT && !self.connected_here {
            // The id is from an earlier exchange: the tracker may have restarted since. Ask for
            // a new one before believing that the refusal is about us.
            self.connection = None;
            self.pending = None;
            return None;
        }
        self.over = Some(Step::Finished);
        Some(Err(ReplyError::refused(text, Retry::Default).into()))
    }

    fn send(&mut self, now: Duration) -> Step {
        let connection = self.connection.filter(|c| now < c.expires);
        let action = match (connection, &self.config.query) {
            (None, _) => ACTION_CONNECT,
            (Some(_), Query::Announce(_)) => ACTION_ANNOUNCE,
            (Some(_), Query::Scrape(_)) => ACTION_SCRAPE,
        };
        // The same request keeps its transaction id, so that a late answer to an earlier copy
        // still counts.
        let transaction = match self.pending {
            Some(pending) if pending.action == action => pending.transaction,
            _ => self.rng.u32(..),
        };
        let wait = RETRY_FIRST.saturating_mul(1 << self.retries.min(RETRIES_MAX));
        self.pending = Some(Pending { action, transaction, again_at: now.saturating_add(wait) });
        self.sent = self.sent.saturating_add(1);
        let mut packet = Vec::with_capacity(128);
        let id = connection.map_or(PROTOCOL_ID, |c| c.id);
        packet.extend_from_slice(&id.to_be_bytes());
        packet.extend_from_slice(&action.to_be_bytes());
        packet.extend_from_slice(&transaction.to_be_bytes());
        match &self.config.query {
            _ if connection.is_none() => {}
            Query::Announce(request) => {
                write_announce(&mut packet, request);
                write_url_data(&mut packet, &self.config.url_data);
            }
            Query::Scrape(hashes) => {
                packet.extend(hashes.iter().flat_map(InfoHash::as_bytes));
            }
        }
        Step::Send(packet)
    }
}

/// The announce request after its 16-byte head (BEP 15), 82 bytes.
fn write_announce(packet: &mut Vec<u8>, request: &AnnounceRequest) {
    let event: u32 = match request.event {
        Event::None | Event::Paused => 0, // BEP 15 has no number for it
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    let numwant = request.numwant.min(i32::MAX as u32); // signed on the wire
    packet.extend_from_slice(request.info_hash.as_bytes());
    packet.extend_from_slice(&request.peer_id);
    packet.extend_from_slice(&request.downloaded.to_be_bytes());
    packet.extend_from_slice(&request.left.to_be_bytes());
    packet.extend_from_slice(&request.uploaded.to_be_bytes());
    packet.extend_from_slice(&event.to_be_bytes());
    packet.extend_from_slice(&[0; 4]); // our address: the datagram's own, whatever the family
    packet.extend_from_slice(&request.key.to_be_bytes());
    packet.extend_from_slice(&numwant.to_be_bytes());
    packet.extend_from_slice(&request.port.to_be_bytes());
}

/// BEP 41 `URLData` options of at most 255 bytes each; the end of the packet ends them.
fn write_url_data(packet: &mut Vec<u8>, data: &str) {
    for chunk in data.as_bytes().chunks(usize::from(u8::MAX)) {
        packet.extend_from_slice(&[OPTION_URL_DATA, chunk.len() as u8]);
        packet.extend_from_slice(chunk);
    }
}

/// The announce answer after its 8-byte head; `None` when too short.
fn read_announce(reader: &mut Reader<'_>, family: Family) -> Option<AnnounceReply> {
    let interval = Duration::from_secs(reader.u32()?.into());
    let (leechers, seeders) = (reader.u32()?, reader.u32()?);
    let mut reply = AnnounceReply::with_interval(interval);
    reply.leechers = swarm_count(leechers);
    reply.seeders = swarm_count(seeders);
    match family {
        Family::V4 => reply.add_compact_v4(reader.0),
        Family::V6 => reply.add_compact_v6(reader.0),
    }
    Some(reply)
}

/// The scrape answer after its 8-byte head; `None` when not even one torrent is in it.
fn read_scrape(reader: &mut Reader<'_>, hashes: &[InfoHash]) -> Option<ScrapeReply> {
    let mut reply = ScrapeReply::default();
    for hash in hashes {
        let (Some(seeders), Some(downloaded), Some(leechers)) =
            (reader.u32(), reader.u32(), reader.u32())
        else {
            break;
        };
        let counts = ScrapeCounts {
            complete: swarm_count(seeders),
            downloaded: swarm_count(downloaded),
            incomplete: swarm_count(leechers),
        };
        reply.torrents.push((*hash, counts));
    }
    (hashes.is_empty() || !reply.torrents.is_empty()).then_some(reply)
}

/// Trackers that do not know send -1.
fn swarm_count(value: u32) -> Option<u32> {
    count(i64::from(value.cast_signed()))
}

/// Takes big-endian numbers off the front of a datagram; `None` at its end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
