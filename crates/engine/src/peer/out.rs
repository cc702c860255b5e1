//! What waits to be written to one peer: small messages and blocks, in order, one `writev` a batch.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use storage::ReadBuffer;
use tokio::net::TcpStream;
use wire::{BLOCK_HEAD_LENGTH, BlockRequest, Message};

/// Slices handed to one `writev`; Linux takes 1,024, but 64 already moves about 512 KiB.
const SLICES_MAX: usize = 64;

/// Room for messages in one allocation; requests are 17 bytes each.
const MESSAGES_CAPACITY: usize = 1024;

enum Chunk {
    Messages {
        bytes: Vec<u8>,
        sent: usize,
    },
    /// A block: its head, and where its body is.
    Block {
        head: [u8; BLOCK_HEAD_LENGTH],
        head_sent: usize,
        data: Rc<ReadBuffer>,
        at: usize,
        end: usize,
    },
}

impl Chunk {
    /// What is left of it, a block's body apart.
    fn rest(&self) -> [&[u8]; 2] {
        match self {
            Self::Messages { bytes, sent } => [&bytes[*sent..], &[]],
            Self::Block { head, head_sent, data, at, end } => {
                [&head[*head_sent..], &data[*at..*end]]
            }
        }
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

    /// A block: its head, then `block.length` bytes of `data` from `at`.
    pub(crate) fn push_block(&mut self, block: BlockRequest, data: Rc<ReadBuffer>, at: usize) {
        let head = wire::encode_block_head(block);
        let length = block.length as usize;
        self.bytes += head.len() + length;
        self.payload += length;
        self.chunks.push_back(Chunk::Block { head, head_sent: 0, data, at, end: at + length });
    }

    /// Writes until the queue is empty (`Ok(true)`) or the socket is full (`Ok(false)`).
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            let rest = self.chunks.iter().flat_map(Chunk::rest).filter(|rest| !rest.is_empty());
            for (slice, rest) in slices.iter_mut().zip(rest) {
                *slice = IoSlice::new(rest);
                count += 1;
            }
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

    /// Bytes of blocks that the kernel took since the last call.
    pub(crate) fn take_payload_sent(&mut self) -> usize {
        std::mem::take(&mut self.payload_sent)
    }

    fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(chunk) = self.chunks.front_mut() {
            let rest: usize = chunk.rest().iter().map(|rest| rest.len()).sum();
            let part = rest.min(written);
            let payload = chunk.advance(part);
            self.payload_sent += payload;
            self.payload -= payload;
            if part < rest {
                return;
            }
            written -= part;
            self.chunks.pop_front();
        }
    }

    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Messages { .. })) {
            let bytes = Vec::with_capacity(MESSAGES_CAPACITY);
            self.chunks.push_back(Chunk::Messages { bytes, sent: 0 });
        }
        match self.chunks.back_mut() {
            Some(Chunk::Messages { bytes, .. }) => bytes,
            _ => unreachable!("a message chunk was pushed just above"),
        }
    }
}
