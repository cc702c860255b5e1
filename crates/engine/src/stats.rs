//! Numbers by value: what a torrent and a session are doing right now.

use std::time::Duration;

/// What a torrent is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TorrentState {
    /// Its files are being hashed.
    Checking,
    /// Pieces are missing.
    Downloading,
    /// All wanted pieces are there.
    Seeding,
    /// It waits for something outside, a full disk for example.
    Paused {
        /// What, in words.
        reason: String,
    },
    /// It was stopped and will not run again in this session.
    Stopped,
}

/// A snapshot of one torrent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TorrentStats {
    /// What it is doing.
    pub state: TorrentState,
    /// Bytes of the whole torrent, pad files included.
    pub total_bytes: u64,
    /// Bytes verified and on disk.
    pub verified_bytes: u64,
    /// Bytes of wanted pieces still missing.
    pub wanted_left: u64,
    /// Pieces verified and on disk.
    pub pieces_have: u32,
    /// Pieces of the torrent.
    pub pieces_total: u32,
    /// Bytes looked at and to be looked at by the check at the start.
    pub check_progress: (u64, u64),
    /// Payload bytes received in this session, all of them.
    pub downloaded: u64,
    /// Payload bytes sent in this session.
    pub uploaded: u64,
    /// Payload bytes received more than once.
    pub wasted: u64,
    /// Payload bytes of pieces that failed their hash.
    pub failed: u64,
    /// Payload bytes per second.
    pub download_rate: u64,
    /// Payload bytes per second.
    pub upload_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Web seeds in use.
    pub web_seeds: u32,
    /// Addresses known.
    pub peers_known: u32,
    /// How often an address was named that the IP filter refuses.
    pub filtered: u64,
    /// Connections being made.
    pub half_open: u32,
    /// At the present rate; `None` when nothing moves or nothing is left.
    pub eta: Option<Duration>,
    /// Bytes that needed no download because an earlier run left them.
    pub resumed_bytes: u64,
    /// The last thing a tracker complained of, while none answers.
    pub tracker_error: Option<String>,
}

/// A snapshot of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Torrents in it.
    pub torrents: usize,
    /// Peer connections, both ways.
    pub connections: usize,
    /// Arena blocks in use, in bytes.
    pub buffered_bytes: u64,
    /// Payload bytes per second, all torrents.
    pub download_rate: u64,
    /// Payload bytes per second, all torrents.
    pub upload_rate: u64,
    /// Connections that the IP filter refused, both ways, before a byte went over them.
    pub refused: u64,
    /// Bugs that each ended a peer or a torrent, and nothing else.
    pub panics: u64,
}
