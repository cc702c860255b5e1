//! Length-prefixed messages (BEP 3), the fast extension's (BEP 6), the extended one (BEP 10) and
//! those about hashes (BEP 52).

use metainfo::PieceIndex;

use crate::hashes::{HASHES_BYTES_MAX, HashRequest, REQUEST_BYTES};

/// A range of a piece, as `request`, `piece`, `cancel` and `reject` name it (BEP 3, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRequest {
    /// Piece index.
    pub piece: PieceIndex,
    /// Byte offset inside the piece.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}

/// One message other than a block. Blocks never pass through here on the way in: the decoder
/// hands out their head and the caller places the body (see [`Decoded::BlockHead`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Length zero: only keeps the connection open.
    KeepAlive,
    /// 0
    Choke,
    /// 1
    Unchoke,
    /// 2
    Interested,
    /// 3
    NotInterested,
    /// 4: the sender now has this piece.
    Have(PieceIndex),
    /// 5: wire order (most significant bit first); length and spare bits unchecked here.
    Bitfield(&'a [u8]),
    /// 6
    Request(BlockRequest),
    /// 8
    Cancel(BlockRequest),
    /// 9: the sender's DHT port (BEP 5).
    Port(u16),
    /// 13 (BEP 6)
    SuggestPiece(PieceIndex),
    /// 14 (BEP 6)
    HaveAll,
    /// 15 (BEP 6)
    HaveNone,
    /// 16 (BEP 6)
    RejectRequest(BlockRequest),
    /// 17 (BEP 6)
    AllowedFast(PieceIndex),
    /// 20 (BEP 10): `id` is from the receiver's own map; 0 is the extended handshake.
    Extended {
        /// The receiver's id for this extension.
        id: u8,
        /// What follows the id.
        payload: &'a [u8],
    },
    /// 21 (BEP 52)
    HashRequest(HashRequest),
    /// 22 (BEP 52)
    Hashes {
        /// What was asked for.
        request: HashRequest,
        /// The run, and behind it the uncles of the proof; their number is unchecked here.
        hashes: &'a [[u8; 32]],
    },
    /// 23 (BEP 52)
    HashReject(HashRequest),
    /// Any other id: to be skipped, never fatal.
    Unknown {
        /// The message id.
        id: u8,
    },
}

/// What the connection's owner allows, to be checked before anything is buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest `bitfield` body: `piece_count.div_ceil(8)`.
    pub bitfield_bytes: u32,
    /// Bytes of the largest block body accepted.
    pub block_bytes: u32,
    /// Bytes of the largest extended or unknown message body.
    pub extended_bytes: u32,
}

/// The outcome of looking at the front of a receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Call again once at least `need` bytes in total are there.
    Incomplete {
        /// Bytes, counted from the start of the buffer.
        need: usize,
    },
    /// A whole message that took `consumed` bytes.
    Message {
        /// The message.
        message: Message<'a>,
        /// Bytes of the buffer it took.
        consumed: usize,
    },
    /// The 13 bytes in front of a block; `block.length` body bytes follow in the stream.
    BlockHead {
        /// Which block follows.
        block: BlockRequest,
        /// Always 13.
        consumed: usize,
    },
}

/// Why the stream can't be followed any further: the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A body longer than its kind may have.
    #[error("message {id} with a body of {length} bytes; at most {limit} allowed")]
    TooLong {
        /// Message id, 255 while it is not known yet.
        id: u8,
        /// Body bytes announced.
        length: u32,
        /// The limit that it broke.
        limit: u32,
    },
    /// A body length that its kind can't have.
    #[error("message {id} with a body of {length} bytes, which is not its size")]
    WrongLength {
        /// Message id.
        id: u8,
        /// Body bytes announced.
        length: u32,
    },
}

/// Bytes in front of a block's body: length prefix, id, piece, begin.
pub const BLOCK_HEAD_LENGTH: usize = 13;

mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const PORT: u8 = 9;
    pub(super) const SUGGEST_PIECE: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT_REQUEST: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    pub(super) const EXTENDED: u8 = 20;
    pub(super) const HASH_REQUEST: u8 = 21;
    pub(super) const HASHES: u8 = 22;
    pub(super) const HASH_REJECT: u8 = 23;
}

/// How long a message's body (without its id) may be.
enum BodyLength {
    Exactly(u32),
    AtMost(u32),
}

impl Limits {
    fn body_of(&self, id: u8) -> BodyLength {
        match id {
            id::CHOKE
            | id::UNCHOKE
            | id::INTERESTED
            | id::NOT_INTERESTED
            | id::HAVE_ALL
            | id::HAVE_NONE => BodyLength::Exactly(0),
            id::PORT => BodyLength::Exactly(2),
            id::HAVE | id::SUGGEST_PIECE | id::ALLOWED_FAST => BodyLength::Exactly(4),
            id::REQUEST | id::CANCEL | id::REJECT_REQUEST => BodyLength::Exactly(12),
            id::BITFIELD => BodyLength::AtMost(self.bitfield_bytes),
            id::PIECE => BodyLength::AtMost(self.block_bytes.saturating_add(8)),
            id::HASH_REQUEST | id::HASH_REJECT => BodyLength::Exactly(REQUEST_BYTES),
            id::HASHES => BodyLength::AtMost(HASHES_BYTES_MAX),
            _ => BodyLength::AtMost(self.extended_bytes),
        }
    }

    /// The longest body of any message: a longer one is refused from its length prefix alone.
    fn longest(&self) -> u32 {
        let block = self.block_bytes.saturating_add(8);
        self.bitfield_bytes.max(block).max(self.extended_bytes).max(HASHES_BYTES_MAX)
    }

    fn check(&self, id: u8, length: u32) -> Result<(), FrameError> {
        match self.body_of(id) {
            BodyLength::Exactly(right) if length != right => {
                Err(FrameError::WrongLength { id, length })
            }
            BodyLength::AtMost(limit) if length > limit => {
                Err(FrameError::TooLong { id, length, limit })
            }
            _ if id == id::HASHES && !are_hashes(length) => {
                Err(FrameError::WrongLength { id, length })
            }
            // A block of no bytes answers no request; an extended message has an id of its own.
            _ if id == id::PIECE && length < 9 || id == id::EXTENDED && length < 1 => {
                Err(FrameError::WrongLength { id, length })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a `hashes` body is a request and whole hashes, at least one.
fn are_hashes(length: u32) -> bool {
    let hashes = length.checked_sub(REQUEST_BYTES);
    hashes.is_some_and(|bytes| bytes > 0 && bytes.is_multiple_of(32))
}

/// Looks at the front of a receive buffer. Every length is checked as soon as its message's kind
/// is known, before the caller waits for, or makes room for, a body.
///
/// # Errors
/// [`FrameError`]: what follows can't be understood any more.
pub fn decode<'a>(buffer: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, FrameError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(Decoded::Incomplete { need: 4 });
    };
    let length = u32::from_be_bytes(*prefix);
    let Some(body_length) = length.checked_sub(1) else {
        return Ok(Decoded::Message { message: Message::KeepAlive, consumed: 4 });
    };
    let limit = limits.longest();
    if body_length > limit {
        return Err(FrameError::TooLong { id: u8::MAX, length: body_length, limit });
    }
    let Some((&id, rest)) = rest.split_first() else {
        return Ok(Decoded::Incomplete { need: 5 });
    };
    limits.check(id, body_length)?;
    if id == id::PIECE {
        let Some((piece, rest)) = rest.split_first_chunk() else {
            return Ok(Decoded::Incomplete { need: BLOCK_HEAD_LENGTH });
        };
        let Some((begin, _)) = rest.split_first_chunk() else {
            return Ok(Decoded::Incomplete { need: BLOCK_HEAD_LENGTH });
        };
        let block = BlockRequest {
            piece: u32::from_be_bytes(*piece),
            begin: u32::from_be_bytes(*begin),
            length: body_length.saturating_sub(8),
        };
        return Ok(Decoded::BlockHead { block, consumed: BLOCK_HEAD_LENGTH });
    }
    let consumed = (body_length as usize).saturating_add(5);
    let Some(body) = rest.get(..body_length as usize) else {
        return Ok(Decoded::Incomplete { need: consumed });
    };
    Ok(Decoded::Message { message: message(id, body), consumed })
}

/// `body` has the length that [`Limits::check`] wants for `id`.
fn message(id: u8, body: &[u8]) -> Message<'_> {
    match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(word(body, 0)),
        id::BITFIELD => Message::Bitfield(body),
        id::REQUEST => Message::Request(block(body)),
        id::CANCEL => Message::Cancel(block(body)),
        id::PORT => Message::Port(body.first_chunk().map_or(0, |port| u16::from_be_bytes(*port))),
        id::SUGGEST_PIECE => Message::SuggestPiece(word(body, 0)),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT_REQUEST => Message::RejectRequest(block(body)),
        id::ALLOWED_FAST => Message::AllowedFast(word(body, 0)),
        id::EXTENDED => match body.split_first() {
            Some((&id, payload)) => Message::Extended { id, payload },
            None => Message::Unknown { id },
        },
        id::HASH_REQUEST | id::HASHES | id::HASH_REJECT => hashes(id, body),
        id => Message::Unknown { id },
    }
}

fn hashes(id: u8, body: &[u8]) -> Message<'_> {
    match (id, HashRequest::from_wire(body)) {
        (id::HASH_REQUEST, Some((request, _))) => Message::HashRequest(request),
        (id::HASH_REJECT, Some((request, _))) => Message::HashReject(request),
        (_, Some((request, rest))) => Message::Hashes { request, hashes: rest.as_chunks().0 },
        (id, None) => Message::Unknown { id },
    }
}

/// The big-endian word at `index` words; zero past the end, which checked lengths rule out.
fn word(body: &[u8], index: usize) -> u32 {
    let (words, _) = body.as_chunks::<4>();
    words.get(index).map_or(0, |word| u32::from_be_bytes(*word))
}

fn block(body: &[u8]) -> BlockRequest {
    BlockRequest { piece: word(body, 0), begin: word(body, 1), length: word(body, 2) }
}

impl Message<'_> {
    /// Appends the message, length prefix included. [`Message::Unknown`] has nothing to say and
    /// appends nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => frame(out, id::CHOKE, &[]),
            Self::Unchoke => frame(out, id::UNCHOKE, &[]),
            Self::Interested => frame(out, id::INTERESTED, &[]),
            Self::NotInterested => frame(out, id::NOT_INTERESTED, &[]),
            Self::Have(piece) => frame(out, id::HAVE, &[&piece.to_be_bytes()]),
            Self::Bitfield(bits) => frame(out, id::BITFIELD, &[bits]),
            Self::Request(block) => frame_block(out, id::REQUEST, block),
            Self::Cancel(block) => frame_block(out, id::CANCEL, block),
            Self::Port(port) => frame(out, id::PORT, &[&port.to_be_bytes()]),
            Self::SuggestPiece(piece) => frame(out, id::SUGGEST_PIECE, &[&piece.to_be_bytes()]),
            Self::HaveAll => frame(out, id::HAVE_ALL, &[]),
            Self::HaveNone => frame(out, id::HAVE_NONE, &[]),
            Self::RejectRequest(block) => frame_block(out, id::REJECT_REQUEST, block),
            Self::AllowedFast(piece) => frame(out, id::ALLOWED_FAST, &[&piece.to_be_bytes()]),
            Self::Extended { id, payload } => frame(out, id::EXTENDED, &[&[id], payload]),
            Self::HashRequest(request) => frame(out, id::HASH_REQUEST, &[&request.to_wire()]),
            Self::Hashes { request, hashes } => {
                frame(out, id::HASHES, &[&request.to_wire(), hashes.as_flattened()]);
            }
            Self::HashReject(request) => frame(out, id::HASH_REJECT, &[&request.to_wire()]),
            Self::Unknown { .. } => {}
        }
    }
}

fn frame(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(body).unwrap_or(u32::MAX).saturating_add(1);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(id);
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn frame_block(out: &mut Vec<u8>, id: u8, block: BlockRequest) {
    let words = [block.piece, block.begin, block.length].map(u32::to_be_bytes);
    frame(out, id, &[words.as_flattened()]);
}

/// The 13 bytes that go in front of a block's body.
pub fn encode_block_head(block: BlockRequest) -> [u8; BLOCK_HEAD_LENGTH] {
    let [l0, l1, l2, l3] = block.length.saturating_add(9).to_be_bytes();
    let [p0, p1, p2, p3] = block.piece.to_be_bytes();
    let [b0, b1, b2, b3] = block.begin.to_be_bytes();
    [l0, l1, l2, l3, id::PIECE, p0, p1, p2, p3, b0, b1, b2, b3]
}
