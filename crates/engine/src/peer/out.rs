//! What waits to be written to one peer: small messages and blocks, in order, one `writev` a batch.
//!
//! Nothing is allocated for a message or a block: the queues keep their size, and the memory of what
//! was sent serves what comes next.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use storage::ReadBuffer;
use wire::{BLOCK_HEAD_LENGTH, BlockRequest, Message};

use super::calls::{self, Call};
use crate::stream::Stream;

/// Slices handed to one `writev`; Linux takes 1,024, but 64 already moves about 512 KiB.
const SLICES_MAX: usize = 64;

/// Room for messages in one allocation; requests are 17 bytes each.
const MESSAGES_CAPACITY: usize = 1024;

/// Of what was sent, at most this much memory is kept for the next messages: all the requests of one
/// read. A bitfield's is given back.
const SPARE_BYTES_MAX: usize = 4 * MESSAGES_CAPACITY;

enum Chunk {
    Messages {
        bytes: Vec<u8>,
        sent: usize,
    },
    /// A block: its head, and where its body is in the run that it belongs to.
    Block {
        head: [u8; BLOCK_HEAD_LENGTH],
        head_sent: usize,
        at: usize,
        end: usize,
        /// The run's last one: what follows is in the next run.
        ends_run: bool,
    },
}

impl Chunk {
    /// How many bytes are left of it.
    fn left(&self) -> usize {
        match self {
            Self::Messages { bytes, sent } => bytes.len() - sent,
            Self::Block { head_sent, at, end, .. } => BLOCK_HEAD_LENGTH - head_sent + end - at,
        }
    }

    fn ends_run(&self) -> bool {
        matches!(self, Self::Block { ends_run: true, .. })
    }

    /// Counts bytes as sent, as many as it has left at most. Returns how many were of a body.
    fn advance(&mut self, written: usize) -> usize {
        match self {
            Self::Messages { sent, .. } => {
                *sent += written;
                0
            }
            Self::Block { head_sent, at, .. } => {
                let of_head = written.min(BLOCK_HEAD_LENGTH - *head_sent);
                *head_sent += of_head;
                *at += written - of_head;
                written - of_head
            }
        }
    }
}

/// The outbound queue of one connection.
#[derive(Default)]
pub(crate) struct OutQueue {
    chunks: VecDeque<Chunk>,
    /// The data of the blocks in `chunks`, a buffer for each run of them.
    runs: VecDeque<ReadBuffer>,
    /// Empty, for the next messages.
    spare: Vec<u8>,
    bytes: usize,
    /// Of them, those of blocks' bodies.
    payload: usize,
    payload_sent: usize,
}

impl OutQueue {
    /// Bytes not yet handed to the kernel.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Bytes of it that are not blocks' bodies.
    pub(crate) fn messages(&self) -> usize {
        self.bytes - self.payload
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn push(&mut self, message: &Message<'_>) {
        let tail = self.tail();
        let before = tail.len();
        message.encode(tail);
        let added = tail.len() - before;
        self.bytes += added;
    }

    /// Blocks whose bodies were read together into `data`, which begins at `begin` of their piece.
    pub(crate) fn push_run(
        &mut self,
        blocks: impl ExactSizeIterator<Item = BlockRequest>,
        begin: u32,
        data: ReadBuffer,
    ) {
        let count = blocks.len();
        for (index, block) in blocks.enumerate() {
            let (head, length) = (wire::encode_block_head(block), block.length as usize);
            let at = (block.begin - begin) as usize;
            let ends_run = index + 1 == count;
            self.bytes += head.len() + length;
            self.payload += length;
            self.chunks.push_back(Chunk::Block {
                head,
                head_sent: 0,
                at,
                end: at + length,
                ends_run,
            });
        }
        if count > 0 {
            self.runs.push_back(data);
        }
    }

    /// Writes until the queue is empty (`Ok(true)`) or the socket is full (`Ok(false)`).
    pub(crate) fn flush(&mut self, stream: &Stream) -> io::Result<bool> {
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, rest) in slices.iter_mut().zip(self.rest()) {
                *slice = IoSlice::new(rest);
                count += 1;
            }
            calls::count(Call::Send);
            match stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What is left, in order: heads and bodies apart.
    fn rest<'a>(&'a self) -> impl Iterator<Item = &'a [u8]> {
        let mut runs = self.runs.iter();
        let mut run = runs.next();
        let parts = move |chunk: &'a Chunk| match chunk {
            Chunk::Messages { bytes, sent } => [&bytes[*sent..], &[]],
            Chunk::Block { head, head_sent, at, end, ends_run } => {
                let body = run.map_or(&[][..], |data| &data[*at..*end]);
                if *ends_run {
                    run = runs.next();
                }
                [&head[*head_sent..], body]
            }
        };
        self.chunks.iter().flat_map(parts).filter(|part| !part.is_empty())
    }

    /// Bytes of blocks that the kernel took since the last call.
    pub(crate) fn take_payload_sent(&mut self) -> usize {
        std::mem::take(&mut self.payload_sent)
    }

    fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(chunk) = self.chunks.front_mut() {
            let left = chunk.left();
            let part = left.min(written);
            let payload = chunk.advance(part);
            self.payload_sent += payload;
            self.payload -= payload;
            if part < left {
                return;
            }
            written -= part;
            if chunk.ends_run() {
                self.runs.pop_front();
            }
            if let Some(Chunk::Messages { bytes, .. }) = self.chunks.pop_front() {
                self.keep(bytes);
            }
        }
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            self.spare = bytes;
        }
    }

    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Messages { .. })) {
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.reserve(MESSAGES_CAPACITY);
            self.chunks.push_back(Chunk::Messages { bytes, sent: 0 });
        }
        match self.chunks.back_mut() {
            Some(Chunk::Messages { bytes, .. }) => bytes,
            _ => unreachable!("a message chunk was pushed just above"),
        }
    }
}
