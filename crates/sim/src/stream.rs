//! What travels: bytes, and the bodies of blocks, which are a number and a length. And what a
//! receiver makes of it, through the real codec (BEP 3), however the stream is cut.

use std::collections::VecDeque;

use wire::{
    BlockRequest, Decoded, FrameError, HANDSHAKE_LENGTH, Handshake, HandshakeError, Limits, Message,
};

use crate::content::{Content, scramble};

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// As they are.
    Bytes(Vec<u8>),
    /// So many bytes of a block's data.
    Body {
        /// The whole block's content.
        content: Content,
        /// Bytes.
        bytes: u32,
    },
}

impl Chunk {
    /// Bytes on the wire.
    pub fn len(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u32,
            Self::Body { bytes, .. } => *bytes,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts it after `at` bytes; `at` is less than its length.
    fn split(self, at: u32) -> (Self, Self) {
        match self {
            Self::Bytes(mut bytes) => {
                let rest = bytes.split_off(at as usize);
                (Self::Bytes(bytes), Self::Bytes(rest))
            }
            Self::Body { content, bytes } => {
                (Self::Body { content, bytes: at }, Self::Body { content, bytes: bytes - at })
            }
        }
    }
}

/// Cuts a run of chunks after `at` bytes.
pub fn split(chunks: Vec<Chunk>, at: u32) -> (Vec<Chunk>, Vec<Chunk>) {
    let (mut head, mut tail, mut left) = (Vec::new(), Vec::new(), at);
    for chunk in chunks {
        let length = chunk.len();
        if left == 0 {
            tail.push(chunk);
        } else if length <= left {
            left -= length;
            head.push(chunk);
        } else {
            let (first, second) = chunk.split(left);
            left = 0;
            head.push(first);
            tail.push(second);
        }
    }
    (head, tail)
}

/// Something whole that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The first thing on a connection.
    Handshake(Handshake),
    /// A message other than a block.
    Message(Message<'a>),
    /// A block begins.
    Head(BlockRequest),
    /// A block's data is there.
    Body(BlockRequest, Content),
}

/// Why a stream can't be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamError {
    /// Not a handshake.
    Handshake(HandshakeError),
    /// Not messages.
    Frame(FrameError),
}

#[derive(Debug)]
struct Body {
    block: BlockRequest,
    left: u32,
    content: Content,
}

/// The receiving end of a connection.
#[derive(Debug, Default)]
pub struct Receiver {
    shook_hands: bool,
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were used up by the last item.
    used: usize,
    body: Option<Body>,
    chunks: VecDeque<Chunk>,
}

impl Receiver {
    /// More arrived.
    pub fn push(&mut self, chunk: Chunk) {
        self.chunks.push_back(chunk);
    }

    /// Bytes of a message that is not whole yet.
    pub fn buffered(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// The next whole thing, if there is one.
    ///
    /// # Errors
    /// When what follows can't be understood.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Item<'_>>, StreamError> {
        self.bytes.drain(..self.used);
        self.used = 0;
        loop {
            if let Some(body) = &mut self.body {
                if !fill(body, &mut self.bytes, &mut self.chunks) {
                    return Ok(None);
                }
                let whole = self.body.take().map(|body| Item::Body(body.block, body.content));
                return Ok(whole);
            }
            if !self.shook_hands {
                Handshake::check_prefix(&self.bytes).map_err(StreamError::Handshake)?;
                if let Some(first) = self.bytes.first_chunk::<HANDSHAKE_LENGTH>() {
                    let handshake = Handshake::decode(first).map_err(StreamError::Handshake)?;
                    self.shook_hands = true;
                    self.used = HANDSHAKE_LENGTH;
                    return Ok(Some(Item::Handshake(handshake)));
                }
            } else if !self.is_incomplete(limits)? {
                return self.message(limits);
            }
            match self.chunks.pop_front() {
                None => return Ok(None),
                Some(Chunk::Bytes(bytes)) => self.bytes.extend(bytes),
                // Data where a message belongs: a sender that lied about a length.
                Some(Chunk::Body { content, bytes }) => {
                    let noise = content.to_be_bytes();
                    self.bytes.extend(noise.iter().cycle().take(bytes as usize));
                }
            }
        }
    }

    fn is_incomplete(&self, limits: &Limits) -> Result<bool, StreamError> {
        let decoded = wire::decode(&self.bytes, limits).map_err(StreamError::Frame)?;
        Ok(matches!(decoded, Decoded::Incomplete { .. }))
    }

    fn message(&mut self, limits: &Limits) -> Result<Option<Item<'_>>, StreamError> {
        match wire::decode(&self.bytes, limits).map_err(StreamError::Frame)? {
            Decoded::Incomplete { .. } => Ok(None),
            Decoded::Message { message, consumed } => {
                self.used = consumed;
                Ok(Some(Item::Message(message)))
            }
            Decoded::BlockHead { block, consumed } => {
                self.used = consumed;
                self.body = Some(Body { block, left: block.length, content: 0 });
                Ok(Some(Item::Head(block)))
            }
        }
    }
}

/// Takes what is there of a body; true when it is whole. Its content is its sender's when nothing
/// else was mixed in.
fn fill(body: &mut Body, bytes: &mut Vec<u8>, chunks: &mut VecDeque<Chunk>) -> bool {
    if !bytes.is_empty() && body.left > 0 {
        let taken = bytes.len().min(body.left as usize);
        let noise = bytes.drain(..taken).fold(1, |noise, byte| scramble(noise ^ u64::from(byte)));
        body.content = scramble(body.content ^ noise);
        body.left -= taken as u32;
    }
    while body.left > 0 {
        let Some(chunk) = chunks.pop_front() else { return false };
        let chunk = if chunk.len() > body.left {
            let (first, rest) = chunk.split(body.left);
            chunks.push_front(rest);
            first
        } else {
            chunk
        };
        body.left -= chunk.len();
        body.content = match chunk {
            Chunk::Body { content, .. } if body.content == 0 || body.content == content => content,
            Chunk::Body { content, .. } => scramble(body.content ^ content),
            Chunk::Bytes(bytes) => {
                bytes.iter().fold(body.content, |c, b| scramble(c ^ u64::from(*b)))
            }
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bitfield_bytes: 8, block_bytes: 16384, extended_bytes: 64 };

    fn conversation() -> Vec<Chunk> {
        let handshake = Handshake {
            reserved: wire::Reserved::ours(),
            info_hash: metainfo::InfoHash([7; 20]),
            peer_id: wire::PeerId([1; 20]),
        };
        let mut bytes = handshake.encode().to_vec();
        Message::Unchoke.encode(&mut bytes);
        let block = BlockRequest { piece: 1, begin: 0, length: 16384 };
        bytes.extend(wire::encode_block_head(block));
        let mut after = Vec::new();
        Message::Have(3).encode(&mut after);
        vec![Chunk::Bytes(bytes), Chunk::Body { content: 99, bytes: 16384 }, Chunk::Bytes(after)]
    }

    fn read(receiver: &mut Receiver, seen: &mut Vec<String>) {
        while let Some(item) = receiver.next(&LIMITS).unwrap() {
            seen.push(format!("{item:?}"));
        }
    }

    #[test]
    fn every_cut_gives_the_same_items() {
        let mut whole = Vec::new();
        let mut receiver = Receiver::default();
        conversation().into_iter().for_each(|chunk| receiver.push(chunk));
        read(&mut receiver, &mut whole);
        assert_eq!(whole.len(), 5, "handshake, unchoke, head, body, have");
        assert!(whole[3].ends_with("99)"), "{}", whole[3]);
        let total: u32 = conversation().iter().map(Chunk::len).sum();
        for at in (1..110).chain(total - 12..total) {
            let (first, second) = split(conversation(), at);
            let mut cut = Vec::new();
            let mut receiver = Receiver::default();
            for part in [first, second] {
                part.into_iter().for_each(|chunk| receiver.push(chunk));
                read(&mut receiver, &mut cut);
            }
            assert_eq!(cut, whole, "cut at {at}");
        }
    }

    #[test]
    fn data_that_is_mixed_is_nobodys_block() {
        let mut receiver = Receiver { shook_hands: true, ..Receiver::default() };
        let block = BlockRequest { piece: 0, begin: 0, length: 16384 };
        receiver.push(Chunk::Bytes(wire::encode_block_head(block).to_vec()));
        receiver.push(Chunk::Body { content: 5, bytes: 16000 });
        receiver.push(Chunk::Body { content: 6, bytes: 384 });
        assert!(matches!(receiver.next(&LIMITS), Ok(Some(Item::Head(_)))));
        let Ok(Some(Item::Body(_, content))) = receiver.next(&LIMITS) else { panic!("a body") };
        assert!(content != 5 && content != 6);
    }
}
