//! The causes that a torrent's time can go to, and what to do about each.

use std::fmt;

/// Why a torrent is not faster. Each has a name for programs, words for people and a next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Peers send what they are asked for, as fast as they and the path do.
    PeersRate,
    /// Peers take too few requests at once for how far away they are.
    Window,
    /// Peers were asked and send nothing.
    Unanswered,
    /// Peers do not let us ask.
    Choked,
    /// Peers refuse what they are asked for.
    Rejected,
    /// Peers have nothing that is missing.
    NothingNew,
    /// What peers have is asked of others already.
    AllAsked,
    /// The session's memory budget is used up.
    Memory,
    /// Pieces wait to be written.
    Disk,
    /// Pieces wait to be hashed.
    HashQueue,
    /// A rate limit lets no more through.
    RateLimit,
    /// The disk refused to write.
    DiskRefuses,
    /// The torrent was added to seed only, and is not complete.
    SeedOnly,
    /// What the session is bound to is gone.
    NetworkLost,
    /// The proxy that everything goes through lets nothing through.
    ProxyFails,
    /// Known addresses are being tried.
    Connecting,
    /// The session has all the connections that it may have.
    ConnectionLimit,
    /// Known addresses do not answer.
    Unreachable,
    /// Known addresses answer, and not for this torrent.
    NotServed,
    /// Known addresses answer, and not as BitTorrent peers.
    NotBitTorrent,
    /// Peers came and left.
    PeersLeft,
    /// The peers that there were sent bad data.
    Banned,
    /// The IP filter refuses everybody who was named.
    Filtered,
    /// No tracker works.
    TrackerError,
    /// No tracker has answered yet.
    TrackerWaits,
    /// Trackers answer and name nobody.
    NobodyKnown,
    /// There is no tracker to ask.
    NoTrackers,
    /// No peer is known, and the web seeds fail.
    WebSeedsFail,
    /// Files are being checked.
    Checking,
    /// The torrent was stopped, or failed.
    Stopped,
    /// Complete: peers are served.
    Serving,
    /// Complete: more peers want something than are served at a time.
    NoUploadSlot,
    /// Complete: the connected peers want nothing.
    Unwanted,
    /// Complete: nobody is connected.
    Unvisited,
}

impl Cause {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// What to do about it, or why nothing is to be done.
    pub fn next_step(self) -> &'static str {
        self.texts().2
    }

    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::PeersRate => (
                "peers-rate",
                "the peers send as fast as they can",
                "nothing here holds it up; more peers would make it faster",
            ),
            Self::Window => (
                "window",
                "the peers take too few requests at once for their distance",
                "raise the request queue (reqq) at those peers, or find nearer ones",
            ),
            Self::Unanswered => (
                "unanswered",
                "the peers were asked and send nothing",
                "look at those peers: overloaded, stuck, or behind a path that loses packets; \
                 add others meanwhile",
            ),
            Self::Choked => (
                "choked",
                "the peers do not let us ask",
                "wait for a turn; they prefer who uploads to them, so see that peers can connect \
                 to you, or add a seed",
            ),
            Self::Rejected => (
                "rejected",
                "the peers refuse every request",
                "look at those peers: they offer what they will not send; add others",
            ),
            Self::NothingNew => (
                "nothing-new",
                "the peers have nothing that is missing here",
                "find a seed, or wait until the peers have more",
            ),
            Self::AllAsked => (
                "all-asked",
                "all that these peers have is asked of others already",
                "nothing is to be done: it is on its way",
            ),
            Self::Memory => (
                "memory",
                "the memory for unfinished pieces is used up",
                "raise the session's memory budget, or run fewer torrents at once",
            ),
            Self::Disk => (
                "disk",
                "the disk does not keep up",
                "see what else keeps the disk busy, or download to a faster one",
            ),
            Self::HashQueue => {
                ("hash-queue", "hashing does not keep up", "see what else keeps the processor busy")
            }
            Self::RateLimit => (
                "rate-limit",
                "a download limit lets no more through",
                "raise the limit of the session, or of this torrent",
            ),
            Self::DiskRefuses => (
                "disk-refuses",
                "the disk refuses to take data",
                "mend what the message says; the download goes on within seconds",
            ),
            Self::SeedOnly => (
                "seed-only",
                "the torrent was added to seed, and is not complete",
                "download it instead, or seed from the folder that has all of it",
            ),
            Self::NetworkLost => (
                "network-lost",
                "the network that the session is bound to is gone, and no other is used",
                "bring it up as the message says: the torrent goes on by itself",
            ),
            Self::ProxyFails => (
                "proxy-fails",
                "the proxy lets nothing through, and nothing is sent past it",
                "see that it runs, and that --proxy has its address, kind, user and password",
            ),
            Self::Connecting => (
                "connecting",
                "the first addresses are being tried",
                "wait: an address has 10 seconds to answer",
            ),
            Self::ConnectionLimit => (
                "connection-limit",
                "the session has as many connections as it may",
                "raise the session's limit on connections, or run fewer torrents at once",
            ),
            Self::Unreachable => (
                "unreachable",
                "none of the known addresses can be reached",
                "check the addresses, your network and firewalls; peers behind a NAT must be able \
                 to connect to you",
            ),
            Self::NotServed => (
                "not-served",
                "the known addresses do not serve this torrent",
                "check that they have exactly this torrent running (`peerless info` shows its hash)",
            ),
            Self::NotBitTorrent => (
                "not-bittorrent",
                "what answers at the known addresses is no BitTorrent peer that we understand",
                "check the ports; a peer that insists on encryption can't be used",
            ),
            Self::PeersLeft => (
                "peers-left",
                "the peers that were connected left again",
                "wait: they are tried again; who closes at once may be full",
            ),
            Self::Banned => (
                "banned",
                "the peers that there were sent bad data",
                "find other peers: what these have does not match the .torrent file",
            ),
            Self::Filtered => (
                "ip-filter",
                "the IP filter refuses every address that was named",
                "look at the lists of the IP filter, or find other peers",
            ),
            Self::TrackerError => (
                "tracker-error",
                "no tracker works, and no peer is known otherwise",
                "see what the tracker says; name a peer with its address meanwhile",
            ),
            Self::TrackerWaits => (
                "tracker-waits",
                "no tracker has answered yet",
                "wait, or name a peer with its address",
            ),
            Self::NobodyKnown => (
                "nobody-known",
                "the trackers know of no other peer",
                "wait for a seed, or name one with its address",
            ),
            Self::NoTrackers => (
                "no-trackers",
                "no peer is known, and no tracker is asked",
                "name a peer with its address, or get a .torrent file that names a tracker",
            ),
            Self::WebSeedsFail => (
                "web-seeds-fail",
                "no peer is known, and the web seeds fail",
                "do what is said beside each web seed, or name another source",
            ),
            Self::Checking => ("checking", "what is there is being checked", "wait for its end"),
            Self::Stopped => (
                "stopped",
                "the torrent does not run",
                "mend what the message says, if there is one, and add it again",
            ),
            Self::Serving => ("serving", "complete; peers are served", "nothing is to be done"),
            Self::NoUploadSlot => (
                "no-upload-slot",
                "complete; more peers wait than are served at a time",
                "nothing is to be done: they take turns",
            ),
            Self::Unwanted => {
                ("unwanted", "complete; the connected peers want nothing", "nothing is to be done")
            }
            Self::Unvisited => (
                "unvisited",
                "complete; nobody is connected",
                "see that trackers work, and that peers can connect to you",
            ),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.texts().1)
    }
}
