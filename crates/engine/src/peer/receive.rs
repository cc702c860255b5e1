//! From a readable socket to messages and blocks (BEP 3), with one copy at most.
//!
//! A `readv` puts the rest of the block that is arriving, and the blocks that should follow it,
//! straight into arena blocks ([`Landing`]). Where the peer sends something else in between, it is
//! decoded from wherever it fell, and bodies in it are copied.
//!
//! Nothing here knows of sockets: the fuzz target `receive` builds this file and `landing.rs` alone.

use std::io::{self, IoSliceMut};

use metainfo::BLOCK_LENGTH;
use storage::Block;
use swarm::{BlockFate, Fault};
use wire::{BLOCK_HEAD_LENGTH, BlockRequest, Decoded, FrameError, Limits, Message};

use super::landing::{FORESEEN_MAX, Landing};

/// How much a message that comes in parts is given room for at a time.
const CARRY_STEP: usize = 16 * 1024;

/// Where received things go; the torrent's brain behind it decides.
pub(crate) trait Sink {
    /// A whole message other than a block.
    fn message(&mut self, message: &Message<'_>) -> Result<(), Fault>;
    /// How many blocks the peer still owes, the one that is arriving included.
    fn expected(&self) -> usize;
    /// Memory for a body.
    fn memory(&self) -> Block;
    /// A block's head: what to do with its body.
    fn block_head(&mut self, block: BlockRequest) -> Result<BlockFate, Fault>;
    /// The body arrived whole; without it if it was to be discarded.
    fn block(&mut self, block: BlockRequest, data: Option<Block>);
}

/// Why a connection's receive side ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer closed the connection")]
    Closed,
    #[error("the peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error("the peer broke the protocol: {0}")]
    Fault(#[from] Fault),
}

struct Body {
    block: BlockRequest,
    filled: usize,
    data: Option<Block>,
}

impl Body {
    fn left(&self) -> usize {
        self.block.length as usize - self.filled
    }
}

/// What one connection remembers between two reads.
pub(crate) struct Receiver {
    limits: Limits,
    body: Option<Body>,
    /// The front of a message whose end has not arrived. Empty between messages: a connection
    /// that is waiting holds no buffer.
    carry: Vec<u8>,
    /// How long `carry` must become before decoding can go on; bounded by the frame limits.
    need: usize,
    /// Blocks to foresee in the next read: a few for a slow peer, many for a fast one.
    foresight: usize,
}

impl Receiver {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, body: None, carry: Vec::new(), need: 0, foresight: 1 }
    }

    /// Reads once through `read` (a non-blocking `readv`) and passes on what arrived. Returns the
    /// number of bytes read.
    pub(crate) fn read(
        &mut self,
        landing: &mut Landing,
        sink: &mut impl Sink,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> Result<usize, ReceiveError> {
        let carried = self.carry.len();
        let mut foreseen = 0;
        if carried > 0 {
            // Grown as bytes come: a length alone buys no memory.
            self.carry.resize(self.need.min(carried + CARRY_STEP), 0);
        } else if self.body.as_ref().is_none_or(|body| body.data.is_some()) {
            let next = sink.expected().saturating_sub(usize::from(self.body.is_some()));
            foreseen = next.min(self.foresight);
        }
        landing.foresee(foreseen, || sink.memory());
        let direct: &mut [u8] = match &mut self.body {
            Some(Body { block, filled, data: Some(data) }) => {
                &mut data[*filled..block.length as usize]
            }
            _ if carried > 0 => &mut self.carry[carried..],
            _ => &mut [],
        };
        let direct_bytes = direct.len();
        let got = landing.read(direct, read);
        let placed = got.as_ref().map_or(0, |got| *got.min(&direct_bytes));
        if carried > 0 {
            self.carry.truncate(carried + placed);
        }
        let got = got?;
        if got == 0 {
            return Err(ReceiveError::Closed);
        }
        if placed > 0 && carried == 0 {
            self.place(placed, sink);
        }
        let left = self.take_foreseen(landing, got - placed, sink)?;
        // As much as came now, or a little less than came before: reads vary. When there was no room
        // for more, nobody knows how much more it would have been.
        let came = got / BLOCK_LENGTH as usize + 1;
        let came = if left == landing.rest_bytes() { 2 * came } else { came };
        self.foresight = came.max(self.foresight - 1).min(FORESEEN_MAX);
        self.feed(&landing.rest[..left], sink)?;
        Ok(got)
    }

    /// Goes through what landed where blocks were foreseen, `left` bytes at most. Returns how many
    /// of them went past it, into the rest.
    fn take_foreseen(
        &mut self,
        landing: &mut Landing,
        mut left: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, ReceiveError> {
        let mut as_foreseen = true;
        for index in 0..landing.foreseen() {
            if left == 0 {
                break;
            }
            let head_bytes = left.min(BLOCK_HEAD_LENGTH);
            let body_bytes = (left - head_bytes).min(BLOCK_LENGTH as usize);
            left -= head_bytes + body_bytes;
            let head = &landing.heads[index][..head_bytes];
            let block = match wire::decode(head, &self.limits) {
                Ok(Decoded::BlockHead { block, .. }) if block.length == BLOCK_LENGTH => Some(block),
                _ => None,
            };
            // What came instead, or the front of a head, is a stream that fell into these parts.
            as_foreseen &= block.is_some();
            let Some(block) = block.filter(|_| as_foreseen) else {
                self.feed(head, sink)?;
                self.feed(&landing.body(index)[..body_bytes], sink)?;
                continue;
            };
            let data = match sink.block_head(block)? {
                BlockFate::Keep => landing.take_body(index),
                BlockFate::Discard => None,
            };
            self.body = Some(Body { block, filled: 0, data });
            self.place(body_bytes, sink);
        }
        Ok(left)
    }

    /// Counts `placed` more body bytes as arrived and hands the block over when it is whole.
    fn place(&mut self, placed: usize, sink: &mut impl Sink) {
        if let Some(body) = &mut self.body {
            body.filled += placed;
        }
        if let Some(body) = self.body.take_if(|body| body.left() == 0) {
            sink.block(body.block, body.data);
        }
    }

    /// Decodes the carried bytes, when they have become enough, and then `bytes`.
    fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), ReceiveError> {
        loop {
            if let Some(body) = &mut self.body {
                let take = body.left().min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                if let Some(data) = &mut body.data {
                    data[body.filled..body.filled + take].copy_from_slice(now);
                }
                bytes = rest;
                self.place(take, sink);
                if self.body.is_some() {
                    return Ok(());
                }
            }
            if self.carry.is_empty() {
                if bytes.is_empty() {
                    return Ok(());
                }
                let consumed = self.decode(bytes, sink)?;
                bytes = &bytes[consumed..];
                if consumed == 0 {
                    self.carry.extend_from_slice(bytes);
                    return Ok(());
                }
            } else {
                let take = self.need.saturating_sub(self.carry.len()).min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                self.carry.extend_from_slice(now);
                bytes = rest;
                if self.carry.len() < self.need {
                    return Ok(());
                }
                let carry = std::mem::take(&mut self.carry);
                let consumed = self.decode(&carry, sink)?;
                if consumed == 0 {
                    self.carry = carry;
                } else {
                    debug_assert_eq!(consumed, carry.len(), "`need` is exactly one message");
                }
            }
        }
    }

    /// Decodes one message at the front of `bytes`; 0 when it is not all there, with `need` set.
    fn decode(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, ReceiveError> {
        match wire::decode(bytes, &self.limits)? {
            Decoded::Incomplete { need } => {
                self.need = need;
                Ok(0)
            }
            Decoded::Message { message, consumed } => {
                sink.message(&message)?;
                Ok(consumed)
            }
            Decoded::BlockHead { block, consumed } => {
                let data = match sink.block_head(block)? {
                    BlockFate::Keep => Some(sink.memory()),
                    BlockFate::Discard => None,
                };
                self.body = Some(Body { block, filled: 0, data });
                Ok(consumed)
            }
        }
    }
}

#[cfg(test)]
mod tests;
