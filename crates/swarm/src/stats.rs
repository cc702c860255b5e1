//! Numbers for people and programs.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::Geometry;
use wire::{Bitfield, PeerId};

use crate::rate::Rate;
use crate::{Spent, Swarm};

/// A snapshot of the swarm. Bytes are payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Bytes of the pieces that are there.
    pub verified_bytes: u64,
    /// Bytes of the wanted pieces that are not.
    pub wanted_left: u64,
    /// Bytes received, all of them.
    pub downloaded: u64,
    /// Bytes sent.
    pub uploaded: u64,
    /// Bytes received that were not wanted, or not any more.
    pub wasted: u64,
    /// Bytes of pieces that failed their hash.
    pub failed: u64,
    /// Bytes per second.
    pub download_rate: u64,
    /// Bytes per second.
    pub upload_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Web seeds in use.
    pub web_seeds: u32,
    /// Connected peers that want something we have.
    pub interested: u32,
    /// Peers that may ask us for blocks.
    pub unchoked: u32,
    /// Addresses known.
    pub candidates: u32,
    /// How often an address was named that the IP filter refuses.
    pub filtered: u64,
    /// Addresses being dialled.
    pub half_open: u32,
    /// Copies of the rarest piece among connected peers.
    pub availability: u32,
    /// The share of pieces with more copies than the rarest: 0 to 1.
    pub availability_fraction: f64,
    /// Pieces begun.
    pub open_pieces: u32,
}

/// A snapshot of one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStats {
    /// Its address.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// Its client by its own word: not to be shown unescaped.
    pub client: Option<String>,
    /// Whether it is a web seed, and no peer.
    pub web_seed: bool,
    /// Whether we connected to it.
    pub outgoing: bool,
    /// 0 to 1.
    pub progress: f64,
    /// Payload bytes per second from it.
    pub download_rate: u64,
    /// Payload bytes per second to it.
    pub upload_rate: u64,
    /// Payload bytes from it.
    pub downloaded: u64,
    /// Payload bytes to it.
    pub uploaded: u64,
    /// It lets us ask.
    pub unchokes_us: bool,
    /// We let it ask.
    pub unchoked: bool,
    /// It has something we want.
    pub interesting: bool,
    /// It wants something we have.
    pub interested: bool,
    /// It does not deliver what it was asked for.
    pub snubbed: bool,
    /// Bytes that may be asked of it at once.
    pub window_bytes: u64,
    /// Bytes asked of it that have not arrived.
    pub outstanding_bytes: u64,
    /// Requests that it queues at most, by its own word.
    pub requests_max: u32,
    /// The shortest time from request to block, once there was one.
    pub latency: Option<Duration>,
    /// What its time goes to.
    pub spent: Spent,
}

/// What a swarm counts over its life.
pub(crate) struct Totals {
    pub(crate) verified: u64,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) wasted: u64,
    pub(crate) failed: u64,
    download_rate: Rate,
    upload_rate: Rate,
}

impl Totals {
    pub(crate) fn new(now: Duration, have: &Bitfield, geometry: &Geometry) -> Self {
        Self {
            verified: have.iter().map(|piece| u64::from(geometry.piece_size(piece))).sum(),
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            failed: 0,
            download_rate: Rate::new(now),
            upload_rate: Rate::new(now),
        }
    }

    /// Whether nothing was ever sent or received.
    pub(crate) fn is_blank(&self) -> bool {
        [self.downloaded, self.uploaded, self.wasted, self.failed] == [0; 4]
    }

    pub(crate) fn download(&mut self, now: Duration, bytes: u32) {
        self.downloaded += u64::from(bytes);
        self.download_rate.add(now, bytes);
    }

    pub(crate) fn upload(&mut self, now: Duration, bytes: u32) {
        self.uploaded += u64::from(bytes);
        self.upload_rate.add(now, bytes);
    }
}

impl Swarm {
    /// A snapshot. `availability` and `wanted_left` cost a walk over the pieces.
    pub fn stats(&self, now: Duration) -> Stats {
        let wanted_left = match &self.wanted {
            None => self.geometry.total_length() - self.totals.verified,
            Some(wanted) => {
                let left = wanted.iter().filter(|piece| !self.have.has(*piece));
                left.map(|piece| u64::from(self.geometry.piece_size(piece))).sum()
            }
        };
        // Who has no peer comes to rest, and its last numbers stay: they are not to say that it moves.
        let rate = |rate: &Rate| if self.peers.len() == 0 { 0 } else { rate.get(now) };
        Stats {
            verified_bytes: self.totals.verified,
            wanted_left,
            downloaded: self.totals.downloaded,
            uploaded: self.totals.uploaded,
            wasted: self.totals.wasted,
            failed: self.totals.failed,
            download_rate: rate(&self.totals.download_rate),
            upload_rate: rate(&self.totals.upload_rate),
            peers: self.peers.places() as u32,
            seeds: self.peers.iter().filter(|peer| peer.is_seed() && !peer.web_seed).count() as u32,
            web_seeds: (self.peers.len() - self.peers.places()) as u32,
            interested: self.peers.iter().filter(|peer| peer.is_interested).count() as u32,
            unchoked: self.peers.iter().filter(|peer| !peer.am_choking).count() as u32,
            candidates: self.candidates.len(),
            filtered: self.candidates.filtered(),
            half_open: self.candidates.dialling(),
            availability: self.picker.fewest_copies(),
            availability_fraction: self.picker.commoner_share(),
            open_pieces: self.pieces.open_count(),
        }
    }

    /// A snapshot of every connected peer.
    pub fn peers(&self, now: Duration) -> Vec<PeerStats> {
        let pieces = self.geometry.piece_count();
        let snapshot = |peer: &crate::peer::Peer| PeerStats {
            addr: peer.hello.addr,
            peer_id: peer.hello.peer_id,
            client: peer.client.clone(),
            web_seed: peer.web_seed,
            outgoing: peer.hello.outgoing,
            progress: f64::from(peer.count(pieces)) / f64::from(pieces.max(1)),
            download_rate: peer.download.get(now),
            upload_rate: peer.upload.get(now),
            downloaded: peer.downloaded,
            uploaded: peer.uploaded,
            unchokes_us: !peer.is_choking,
            unchoked: !peer.am_choking,
            interesting: peer.am_interested,
            interested: peer.is_interested,
            snubbed: peer.window.is_snubbed(),
            window_bytes: peer.window.bytes(),
            outstanding_bytes: peer.live_bytes,
            requests_max: peer.window.requests_max(),
            latency: peer.window.latency_min(),
            spent: peer.spent,
        };
        self.peers.iter().map(snapshot).collect()
    }
}
