//! The way of a piece to the disk and of a block from it, and what of it is recorded when.

use std::collections::BTreeSet;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, PieceIndex};
use wire::{Bitfield, BlockRequest, Message};

use crate::content::{Content, scramble};
use crate::disk::DiskError;
use crate::hashing::Judged;
use crate::invariants::Invariant;
use crate::node::{LinkId, Node};
use crate::plan::{Behaviour, Broken};
use crate::stream::Chunk;
use crate::world::{Event, World};

/// As in the engine: how long after a failed write the disk is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(3);
/// As in the engine: the longest that a change waits to be saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// A sync takes this long, and what the disk takes longer.
const SYNC: Duration = Duration::from_millis(50);
/// Data on an uplink before more is read for it.
const UPLINK_QUEUE: Duration = Duration::from_millis(150);

impl World {
    /// A piece was hashed; a good one is written.
    pub(crate) fn hashed(&mut self, node: usize, piece: PieceIndex) {
        let (now, broken) = (self.now, self.plan.broken);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let Some(blocks) = brain.in_pool.remove(&piece) else { return };
        let verdict = match broken {
            Some(Broken::SkipsTheHash) => Judged::Good,
            Some(Broken::BlamesTheInnocent) => Judged::Bad,
            _ => self.judges(node, piece, &blocks),
        };
        if verdict == Judged::Good {
            self.write(node, piece, blocks);
        } else if let Some(brain) = &mut self.nodes[node].brain {
            brain.held_blocks -= self.data.fetched_blocks(piece);
            match verdict {
                Judged::Contradicts => brain.swarm.piece_contradicts(now, piece),
                _ => brain.swarm.piece_failed(now, piece, &blocks),
            }
        }
        self.settle(node);
    }

    fn write(&mut self, node: usize, piece: PieceIndex, blocks: Vec<Content>) {
        let now = self.now;
        let first = self.data.block_number(piece, 0);
        let Node { disk, brain, .. } = &mut self.nodes[node];
        let Some(brain) = brain else { return };
        let written = disk.write(now, first, &blocks, &mut self.rng);
        self.trace.number(u64::from(piece) << 1 | u64::from(written.is_ok()));
        match written {
            Ok(()) => {
                if brain.swarm.wants_digests(piece) {
                    brain.swarm.piece_good_digests(now, piece, &blocks);
                }
                brain.held_blocks -= self.data.fetched_blocks(piece);
                brain.record.progress.add_written(piece);
                brain.swarm.piece_written(now, piece);
                if brain.unwritten.is_empty() && brain.retry_at.is_none() {
                    brain.swarm.set_paused(now, false);
                }
                self.changed(node, false);
            }
            Err(DiskError::Full | DiskError::Broken | DiskError::Missing) => {
                brain.swarm.set_paused(now, true);
                brain.unwritten.push((piece, blocks));
                brain.retry_at.get_or_insert(now + RETRY_EVERY);
                self.wake(node);
            }
        }
    }

    pub(crate) fn retry_writes(&mut self, node: usize) {
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        if brain.retry_at.is_none_or(|at| now < at) {
            return;
        }
        brain.retry_at = None;
        for (piece, blocks) in std::mem::take(&mut brain.unwritten) {
            self.write(node, piece, blocks);
        }
    }

    /// The record changed: it is saved soon.
    fn changed(&mut self, node: usize, through: bool) {
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        // The first change makes the record one of a torrent that runs, even after a power cut.
        brain.save_through |= through | std::mem::take(&mut brain.record.progress.clean);
        if !std::mem::replace(&mut brain.save_due, true) {
            self.queue.push(now + SAVE_EVERY, Event::Save { node, epoch });
        }
    }

    pub(crate) fn save(&mut self, node: usize) {
        let now = self.now;
        let observed = self.nodes[node].disk.observe();
        let Some(brain) = &mut self.nodes[node].brain else { return };
        brain.save_due = false;
        brain.record.files = observed.files;
        brain.record.progress.committed_ns = now.as_nanos() as i64;
        let through = std::mem::take(&mut brain.save_through);
        let record = brain.record.clone();
        let (written, durable) = (record.progress.written.clone(), record.progress.durable.clone());
        self.nodes[node].saved.cached = Some(record.clone());
        if through {
            self.nodes[node].saved.durable = Some(record);
        }
        self.check_recorded(node, &written, &durable);
    }

    fn check_recorded(&mut self, node: usize, written: &Bitfield, durable: &Bitfield) {
        if !self.nodes[node].is_honest() {
            return;
        }
        for piece in written.iter() {
            let blocks = self.data.blocks_of(piece);
            if self.nodes[node].disk.is_tampered(blocks.clone()) {
                continue;
            }
            if !self.is_there(node, piece) {
                self.violated(Invariant::Recorded, node, format!("piece {piece} as written"));
            }
            let on_disk = (0..).zip(self.nodes[node].disk.durable(blocks));
            let is_durable =
                on_disk.into_iter().all(|(block, is)| *is == self.data.right(piece, block));
            if durable.has(piece) && !is_durable {
                self.violated(Invariant::Recorded, node, format!("piece {piece} as durable"));
            }
        }
    }

    /// Time for a sync, if there is something to sync.
    pub(crate) fn sync(&mut self, node: usize) {
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        self.queue.push(now + self.plan.sync_every, Event::SyncDue { node, epoch });
        let Node { disk, brain, .. } = &mut self.nodes[node];
        let Some(brain) = brain else { return };
        let progress = &brain.record.progress;
        if progress.durable.count() < progress.written.count() {
            let (written, blocks) = (progress.written.clone(), disk.dirty());
            let at = now + SYNC + disk.trouble.delay;
            self.queue.push(at, Event::Synced { node, epoch, written, blocks });
        }
    }

    pub(crate) fn synced(&mut self, node: usize, written: &Bitfield, blocks: &BTreeSet<u32>) {
        let lies = self.plan.broken == Some(Broken::RecordsWithoutSync);
        let Node { disk, brain, .. } = &mut self.nodes[node];
        let Some(brain) = brain else { return };
        if !lies && disk.synced(blocks).is_err() {
            return;
        }
        if brain.record.progress.add_durable(written) {
            self.changed(node, true);
        }
    }

    /// The peer asked for something, and is served in its turn.
    pub(crate) fn upload_ready(&mut self, node: usize, link: LinkId) {
        if self.nodes[node].plan.behaviour == Behaviour::Silent {
            return;
        }
        if !self.nodes[node].ring.contains(&link) {
            self.nodes[node].ring.push_back(link);
        }
        self.schedule_pump(node, self.now);
    }

    fn schedule_pump(&mut self, node: usize, at: Duration) {
        let epoch = self.nodes[node].epoch;
        if self.nodes[node].pump_at.is_none() {
            self.nodes[node].pump_at = Some(at);
            self.queue.push(at, Event::Pump { node, epoch });
        }
    }

    /// Sends what was asked for, a block to each in turn, as far as the uplink takes it.
    pub(crate) fn pump(&mut self, node: usize) {
        self.nodes[node].pump_at = None;
        while self.nodes[node].uplink_free <= self.now + UPLINK_QUEUE {
            let Some(link) = self.nodes[node].ring.pop_front() else { return };
            if self.upload_to(node, link) {
                self.nodes[node].ring.push_back(link);
            }
        }
        let at = self.nodes[node].uplink_free.saturating_sub(UPLINK_QUEUE).max(self.now);
        self.schedule_pump(node, at + Duration::from_nanos(1));
    }

    /// Sends one request's answer; false when nothing was asked for.
    fn upload_to(&mut self, node: usize, link: LinkId) -> bool {
        let now = self.now;
        let Node { links, brain, .. } = &mut self.nodes[node];
        let Some(brain) = brain else { return false };
        let Some(key) = links.get(&link).and_then(|session| session.key) else { return false };
        let mut blocks = Vec::new();
        brain.swarm.take_uploads(now, key, BLOCK_LENGTH, &mut blocks);
        for block in &blocks {
            match self.read(node, *block) {
                Ok(content) => {
                    self.check_served(node, *block, content);
                    self.send_block(node, link, *block, content);
                    if let Some(brain) = &mut self.nodes[node].brain {
                        brain.swarm.uploaded(now, key, block.length);
                    }
                }
                Err(error) => {
                    if error == DiskError::Missing {
                        self.lost(node, block.piece);
                    }
                    let fast =
                        self.nodes[node].brain.as_ref().is_some_and(|b| b.swarm.is_fast(key));
                    if fast {
                        let mut bytes = Vec::new();
                        Message::RejectRequest(*block).encode(&mut bytes);
                        self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
                    }
                }
            }
        }
        self.settle(node);
        !blocks.is_empty()
    }

    /// The piece's file is gone: it is not offered any more.
    pub(crate) fn lost(&mut self, node: usize, piece: PieceIndex) {
        let now = self.now;
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.record.progress.take_lost(piece);
            brain.swarm.piece_lost(now, piece);
        }
        self.changed(node, true);
    }

    fn read(&mut self, node: usize, block: BlockRequest) -> Result<Content, DiskError> {
        let first = self.data.block_number(block.piece, block.begin / BLOCK_LENGTH);
        let end = self
            .data
            .block_number(block.piece, (block.begin + block.length).div_ceil(BLOCK_LENGTH));
        let disk = &self.nodes[node].disk;
        if self.nodes[node].plan.behaviour == Behaviour::Lies {
            return Ok(scramble(u64::from(first)));
        }
        let whole = block.begin.is_multiple_of(BLOCK_LENGTH) && end == first + 1;
        if self.data.is_pad(block.piece, block.begin / BLOCK_LENGTH) {
            return Ok(0);
        }
        let mut content = 0;
        for number in first..end {
            let read = disk.read(number)?;
            content = if whole { read } else { scramble(content ^ read) };
        }
        if let Behaviour::Corrupts(percent) = self.nodes[node].plan.behaviour
            && self.rng.u32(0..100) < percent
        {
            content ^= 0xbad << 8;
        }
        Ok(content)
    }

    fn check_served(&mut self, node: usize, block: BlockRequest, content: Content) {
        let number = block.begin / BLOCK_LENGTH;
        let whole = block.begin.is_multiple_of(BLOCK_LENGTH) && block.length == BLOCK_LENGTH;
        if self.nodes[node].is_honest() && whole && content != self.data.right(block.piece, number)
        {
            let what = format!("block {number} of piece {}", block.piece);
            self.violated(Invariant::Served, node, what);
        }
    }

    fn send_block(&mut self, node: usize, link: LinkId, block: BlockRequest, content: Content) {
        let mut sent = block;
        let mut times = 1;
        let behaviour = match self.plan.broken {
            Some(Broken::SendsWrongLengths) => Behaviour::WrongLengths,
            _ => self.nodes[node].plan.behaviour,
        };
        match behaviour {
            Behaviour::Duplicates => times = 2,
            Behaviour::WrongLengths => match self.rng.u8(0..4) {
                0 => sent.length /= 2,
                1 => sent.begin = sent.begin.wrapping_add(1),
                2 => sent.piece = sent.piece.wrapping_add(1),
                _ => {}
            },
            _ => {}
        }
        for _ in 0..times {
            let head = wire::encode_block_head(sent).to_vec();
            let body = Chunk::Body { content, bytes: sent.length };
            self.transmit(node, link, vec![Chunk::Bytes(head), body]);
        }
    }
}
