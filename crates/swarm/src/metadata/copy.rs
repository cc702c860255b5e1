//! One peer's copy of the metadata, as it arrives.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::METADATA_PIECE_LENGTH;

/// Pieces asked for at one time: fills most paths, and no client takes it for a flood.
const ASKED_MAX: usize = 8;

pub(super) struct Copy {
    size: u32,
    /// Grows with what arrives: a claim alone costs no memory.
    pieces: Vec<Option<Box<[u8]>>>,
    asked: BTreeSet<u32>,
    next: u32,
    received: u32,
    progressed_at: Duration,
}

pub(super) enum Outcome {
    /// Nobody asked for that.
    Unasked,
    /// Some is missing.
    More,
    /// It is not as long as its sender said.
    Contradicts,
    /// All of it, unverified.
    Whole(Vec<u8>),
}

impl Copy {
    /// `size` is more than zero.
    pub(super) fn new(now: Duration, size: u32) -> Self {
        Self {
            size,
            pieces: Vec::new(),
            asked: BTreeSet::new(),
            next: 0,
            received: 0,
            progressed_at: now,
        }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn received(&self) -> u32 {
        self.received
    }

    pub(super) fn progressed_at(&self) -> Duration {
        self.progressed_at
    }

    fn count(&self) -> u32 {
        self.size.div_ceil(METADATA_PIECE_LENGTH)
    }

    /// The next piece to ask for now.
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.next >= self.count() || self.asked.len() >= ASKED_MAX {
            return None;
        }
        self.asked.insert(self.next);
        self.next += 1;
        Some(self.next - 1)
    }

    pub(super) fn add(
        &mut self,
        now: Duration,
        piece: u32,
        total_size: u32,
        bytes: &[u8],
    ) -> Outcome {
        if !self.asked.remove(&piece) {
            return Outcome::Unasked;
        }
        let begin = piece.saturating_mul(METADATA_PIECE_LENGTH);
        let length = self.size.saturating_sub(begin).min(METADATA_PIECE_LENGTH);
        if total_size != self.size || bytes.len() != length as usize {
            return Outcome::Contradicts;
        }
        self.progressed_at = now;
        self.received += length;
        let slot = piece as usize;
        if self.pieces.len() <= slot {
            self.pieces.resize_with(slot + 1, || None);
        }
        if let Some(slot) = self.pieces.get_mut(slot) {
            *slot = Some(bytes.into());
        }
        if self.received < self.size {
            return Outcome::More;
        }
        Outcome::Whole(self.pieces.drain(..).flatten().collect::<Vec<_>>().concat())
    }
}
