//! `ut_metadata` (BEP 9): a torrent's `info` value, in pieces of 16 KiB, from peer to peer.
//!
//! A message is a bencoded dictionary; behind that of a `data` message follow the piece's bytes.

use metainfo::bencode::{self, Encoder, Limits};

/// Bytes of every piece of metadata but the last.
pub const METADATA_PIECE_LENGTH: u32 = 16 * 1024;

/// A message of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// 0: send me this piece.
    Request {
        /// Its index.
        piece: u32,
    },
    /// 1: here it is.
    Data {
        /// Its index.
        piece: u32,
        /// Bytes of the whole metadata, by the sender's word.
        total_size: u32,
        /// The piece.
        bytes: &'a [u8],
    },
    /// 2: I don't have it, or not for you.
    Reject {
        /// Its index.
        piece: u32,
    },
}

impl<'a> MetadataMessage<'a> {
    /// From an extended message's payload; `None` for what has no meaning here, which BEP 9 says to
    /// ignore.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let (tape, length) = bencode::parse_prefix(payload, Limits::network()).ok()?;
        let root = tape.root();
        let number = |key: &[u8]| u32::try_from(root.get(key)?.as_int()?).ok();
        let piece = number(b"piece")?;
        match number(b"msg_type")? {
            0 => Some(Self::Request { piece }),
            1 => {
                let total_size = number(b"total_size")?;
                Some(Self::Data { piece, total_size, bytes: payload.get(length..)? })
            }
            2 => Some(Self::Reject { piece }),
            _ => None,
        }
    }

    /// As it goes behind message id 20 and the receiver's id for the extension.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, piece, data) = match *self {
            Self::Request { piece } => (0, piece, None),
            Self::Data { piece, total_size, bytes } => (1, piece, Some((total_size, bytes))),
            Self::Reject { piece } => (2, piece, None),
        };
        let mut out = Encoder::new();
        out.begin_dict().key(b"msg_type").int(kind).key(b"piece").int(i64::from(piece));
        let Some((total_size, bytes)) = data else { return out.end().finish() };
        out.key(b"total_size").int(i64::from(total_size));
        let mut message = out.end().finish();
        message.extend_from_slice(bytes);
        message
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of BEP 9.
    #[test]
    fn as_the_bep_writes_them() {
        let request = MetadataMessage::Request { piece: 0 };
        assert_eq!(request.encode(), b"d8:msg_typei0e5:piecei0ee");
        let reject = MetadataMessage::Reject { piece: 0 };
        assert_eq!(reject.encode(), b"d8:msg_typei2e5:piecei0ee");
        let data = MetadataMessage::Data { piece: 0, total_size: 3425, bytes: b"xxxxxxxx" };
        let bytes = b"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxxxxxx";
        assert_eq!(data.encode(), bytes);
        assert_eq!(MetadataMessage::decode(bytes), Some(data));
    }

    #[test]
    fn what_means_nothing_is_ignored() {
        let nonsense: [&[u8]; 7] = [
            b"",
            b"le",
            b"d8:msg_typei0ee",
            b"d8:msg_typei3e5:piecei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei1e5:piecei0eexxx",
            b"d8:msg_typei1e5:piecei0e10:total_sizei99999999999eexxx",
        ];
        for payload in nonsense {
            assert_eq!(MetadataMessage::decode(payload), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(piece: u32, total_size: u32, bytes: Vec<u8>, kind in 0..3) {
            let message = match kind {
                0 => MetadataMessage::Request { piece },
                1 => MetadataMessage::Data { piece, total_size, bytes: &bytes },
                _ => MetadataMessage::Reject { piece },
            };
            let encoded = message.encode();
            prop_assert_eq!(MetadataMessage::decode(&encoded), Some(message));
        }

        #[test]
        fn any_bytes(payload: Vec<u8>) {
            let _ = MetadataMessage::decode(&payload);
        }
    }
}
