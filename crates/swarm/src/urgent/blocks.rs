//! Readers of torrents whose blocks are proved one by one (BEP 52): what is urgent is a block, and not a
//! piece.
//!
//! A piece may be as large as a film's minute. So its blocks are asked for from where a reader is, what
//! lies before that last, and a peer that would be late with the next one is asked for one that the
//! reader gets to later.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, PieceIndex};
use wire::BlockRequest;

use super::{LOOKS_MAX, RATE_MIN, Reader, SLACK_SECONDS, guess, rate};
use crate::{PeerKey, Swarm};

/// How far ahead of a reader what peers were asked for stands when it goes elsewhere.
const NEAR_BYTES: u64 = 16 * BLOCK_LENGTH as u64;
/// Within so many bytes of a piece what a reader needs is not put together anew.
const PLAN_BYTES: u64 = 1024 * 1024;

impl Reader {
    /// The block of a piece that it needs first; `None` when it needs none.
    pub(super) fn first_block(&self, piece: PieceIndex, piece_length: u64) -> Option<u32> {
        self.due.get(&piece)?;
        let begins = u64::from(piece) * piece_length;
        Some((self.at.saturating_sub(begins) / u64::from(BLOCK_LENGTH)) as u32)
    }

    /// Moves on within a piece, so little that what it needs stays the same. False if that is not so.
    pub(super) fn goes_on(&mut self, now: Duration, at: u64, geometry: &Geometry) -> bool {
        let length = u64::from(geometry.piece_length().max(1));
        let same = at / length == self.at / length && !self.due.is_empty();
        let little = at >= self.at && at - self.planned_at.min(at) < PLAN_BYTES;
        if same && little && at > self.at {
            self.rate.add(now, u32::try_from(at - self.at).unwrap_or(u32::MAX));
            self.at = at;
            return true;
        }
        false
    }
}

impl Swarm {
    /// Whether blocks may be read before their piece is complete.
    pub(super) fn goes_by_blocks(&self) -> bool {
        self.hashes.is_some()
    }

    /// Whether a reader that says it is at `at` left out bytes between there and where it was.
    pub(super) fn skips(&self, from: u64, at: u64) -> bool {
        let length = u64::from(self.geometry.piece_length().max(1));
        let mut from = from;
        while from < at {
            let piece = (from / length) as PieceIndex;
            let block = ((from % length) / u64::from(BLOCK_LENGTH)) as u32;
            from = if self.have.has(piece) {
                (u64::from(piece) + 1) * length
            } else if self.is_block_proved(piece, block) {
                u64::from(piece) * length + (u64::from(block) + 1) * u64::from(BLOCK_LENGTH)
            } else {
                return true;
            };
        }
        false
    }

    /// Whether a reader needs the block at once.
    pub(super) fn is_near_reader(&self, block: BlockRequest) -> bool {
        let begins = u64::from(block.piece) * u64::from(self.geometry.piece_length());
        let begins = begins + u64::from(block.begin);
        let near = |reader: &Reader| {
            begins + u64::from(block.length) > reader.at && begins < reader.at + NEAR_BYTES
        };
        self.urgent.readers.values().any(near)
    }

    /// What makes room for a piece that a reader is in: a begun one that readers left and nobody
    /// delivers, of several the one with the least received. Where pieces are large, a few seeks fill
    /// the memory with such.
    pub(super) fn left_behind(&self, piece: PieceIndex) -> Option<PieceIndex> {
        if !self.urgent.has_reader_in(piece) {
            return None;
        }
        let partial = self.pieces.partial();
        let left = partial.filter(|(other, open)| !self.urgent.has(*other) && !open.is_requested());
        left.max_by_key(|(_, open)| open.missing).map(|(other, _)| other)
    }

    /// Where readers begin in a piece.
    fn first_blocks(&self, piece: PieceIndex) -> Vec<u32> {
        let length = u64::from(self.geometry.piece_length());
        let readers = self.urgent.readers.values();
        readers.filter_map(|reader| reader.first_block(piece, length)).collect()
    }

    /// A free block that a reader needs and this peer delivers in time, or about as soon as anybody;
    /// then one that lies before all readers in pieces that they are in.
    pub(super) fn free_urgent_block(
        &mut self,
        key: PeerKey,
        untried: bool,
    ) -> Option<BlockRequest> {
        self.free_ahead(key, untried).or_else(|| if untried { None } else { self.free_behind(key) })
    }

    fn free_ahead(&mut self, key: PeerKey, untried: bool) -> Option<BlockRequest> {
        let (mut before, mut ahead_bytes) = (None, 0);
        for _ in 0..LOOKS_MAX {
            let (due, piece) = self.urgent.next(before)?;
            before = Some((due, piece));
            let Some(free) = self.free_of_urgent(due, piece) else { continue };
            let bytes_before = ahead_bytes;
            ahead_bytes += u64::from(free) * u64::from(BLOCK_LENGTH);
            let peer = self.peers.get(key)?;
            if !self.may_fill(peer, piece) {
                continue;
            }
            let seconds = guess(self.now, peer, peer.outstanding.len() + 1);
            let late = seconds - due.saturating_sub(self.now).as_secs_f64();
            let mut skipped = 0;
            if late > 0.0 {
                // What it has to show first stands before all else.
                skipped = self.skipped(key, piece, seconds, late, bytes_before, untried)?;
            }
            if skipped >= self.geometry.block_count(piece) {
                continue;
            }
            if self.pieces.get(piece).is_none() && !self.open_urgent(key, piece)? {
                continue;
            }
            let firsts = self.first_blocks(piece);
            let firsts = firsts.into_iter().map(|first| first.saturating_add(skipped));
            if let Some(block) = self.take_urgent(key, piece, firsts) {
                return Some(block);
            }
        }
        None
    }

    fn free_behind(&mut self, key: PeerKey) -> Option<BlockRequest> {
        let mut before = None;
        for _ in 0..LOOKS_MAX {
            let (due, piece) = self.urgent.next(before)?;
            before = Some((due, piece));
            let Some(_) = self.free_of_urgent(due, piece) else { continue };
            let peer = self.peers.get(key)?;
            let read_from = self.first_blocks(piece).into_iter().min();
            let late = guess(self.now, peer, peer.outstanding.len() + 1)
                > due.saturating_sub(self.now).as_secs_f64();
            // One that is late for a piece which no reader is in yet is not to hold it up.
            if !self.may_fill(peer, piece) || read_from == Some(0) && late {
                continue;
            }
            if self.pieces.get(piece).is_none() && !self.open_urgent(key, piece)? {
                continue;
            }
            if let Some(block) = self.take_urgent(key, piece, [0].into_iter()) {
                return Some(block);
            }
        }
        None
    }

    /// Takes the first free block of an open piece behind any of `firsts`, the one that is nearest to it.
    fn take_urgent(
        &mut self,
        key: PeerKey,
        piece: PieceIndex,
        firsts: impl Iterator<Item = u32>,
    ) -> Option<BlockRequest> {
        let open = self.pieces.get(piece)?;
        let nearest = firsts.filter_map(|first| Some((open.free_from(first)? - first, first)));
        let (_, first) = nearest.min()?;
        let block = self.pieces.take_free_from(piece, first, key.index)?;
        self.works_on(key, piece);
        Some(block)
    }

    /// How many blocks from a reader on a peer that is late is to leave to others. `None` when one
    /// that has to show what it can is not needed.
    fn skipped(
        &mut self,
        key: PeerKey,
        piece: PieceIndex,
        seconds: f64,
        late: f64,
        bytes_before: u64,
        untried: bool,
    ) -> Option<u32> {
        let pace = self.pace_now(piece);
        if pace.is_alone(key) {
            return Some(0);
        }
        if untried {
            return None;
        }
        let own = rate(self.peers.get(key)?);
        let lags = seconds - SLACK_SECONDS - pace.of_others(key, own, bytes_before as f64);
        let by_others = lags.max(0.0) * (pace.rate - own).max(1.0);
        let rates = self.urgent.readers.values().map(|reader| reader.rate.get(self.now) as f64);
        let by_reader = late * rates.fold(RATE_MIN, f64::max);
        Some((by_others.min(by_reader) / f64::from(BLOCK_LENGTH)).ceil() as u32)
    }
}
