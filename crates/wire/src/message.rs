//! Length-prefixed messages (BEP 3), the fast extension's (BEP 6) and the extended one (BEP 10).

use metainfo::PieceIndex;

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
