//! The 68 bytes that open a connection (BEP 3) and the reserved bits in them (BEP 4).

use std::fmt;

use metainfo::InfoHash;

use crate::PeerId;

/// Bytes of a handshake.
pub const HANDSHAKE_LENGTH: usize = 68;

const PREFIX: &[u8; 20] = b"\x13BitTorrent protocol";

/// Eight bytes of capability bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved(pub [u8; 8]);

/// Byte, bit and name of a capability.
type Bit = (usize, u8, &'static str);

const EXTENDED: Bit = (5, 0x10, "extension protocol");
const FAST: Bit = (7, 0x04, "fast");
const DHT: Bit = (7, 0x01, "DHT");
const V2: Bit = (7, 0x10, "v2");

impl Reserved {
    /// What this client can do: extension protocol and fast extension.
    pub fn ours() -> Self {
        Self([0, 0, 0, 0, 0, EXTENDED.1, 0, FAST.1])
    }

    /// The same, and that we have a DHT node (BEP 5).
    #[must_use]
    pub fn with_dht(mut self) -> Self {
        if let Some(byte) = self.0.get_mut(DHT.0) {
            *byte |= DHT.1;
        }
        self
    }

    /// The same, and that the torrent has a v2 side too, to which the peer may upgrade (BEP 52).
    #[must_use]
    pub fn with_v2(mut self) -> Self {
        if let Some(byte) = self.0.get_mut(V2.0) {
            *byte |= V2.1;
        }
        self
    }

    /// The same with the v2 bit as said: for what two peers agreed on, which is not what each offered.
    #[must_use]
    pub fn with_v2_if(mut self, agreed: bool) -> Self {
        if let Some(byte) = self.0.get_mut(V2.0) {
            *byte = if agreed { *byte | V2.1 } else { *byte & !V2.1 };
        }
        self
    }

    fn bit(self, (byte, bit, _): Bit) -> bool {
        self.0.get(byte).is_some_and(|byte| byte & bit != 0)
    }

    /// Extension protocol (BEP 10).
    pub fn extended(self) -> bool {
        self.bit(EXTENDED)
    }

    /// Fast extension (BEP 6).
    pub fn fast(self) -> bool {
        self.bit(FAST)
    }

    /// DHT (BEP 5).
    pub fn dht(self) -> bool {
        self.bit(DHT)
    }

    /// The second version of the protocol (BEP 52).
    pub fn v2(self) -> bool {
        self.bit(V2)
    }

    /// The names of the bits that are set and have one.
    pub fn names(self) -> Vec<&'static str> {
        [EXTENDED, FAST, DHT, V2]
            .into_iter()
            .filter(|bit| self.bit(*bit))
            .map(|(_, _, name)| name)
            .collect()
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x}: {:?})", u64::from_be_bytes(self.0), self.names())
    }
}

/// Why bytes are not a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// They don't begin with the protocol's name.
    #[error("not the BitTorrent protocol")]
    NotBitTorrent,
}

/// The first thing each side says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// Capability bits.
    pub reserved: Reserved,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The sender.
    pub peer_id: PeerId,
}

impl Handshake {
    /// As it goes on the wire.
    pub fn encode(&self) -> [u8; HANDSHAKE_LENGTH] {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        let parts =
            PREFIX.iter().chain(&self.reserved.0).chain(&self.info_hash.0).chain(&self.peer_id.0);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`HandshakeError::NotBitTorrent`].
    pub fn decode(bytes: &[u8; HANDSHAKE_LENGTH]) -> Result<Self, HandshakeError> {
        let not = HandshakeError::NotBitTorrent;
        let (prefix, rest) = bytes.split_first_chunk::<20>().ok_or(not)?;
        let (reserved, rest) = rest.split_first_chunk::<8>().ok_or(not)?;
        let (info_hash, rest) = rest.split_first_chunk::<20>().ok_or(not)?;
        let (peer_id, _) = rest.split_first_chunk::<20>().ok_or(not)?;
        Self::check_prefix(prefix)?;
        Ok(Self {
            reserved: Reserved(*reserved),
            info_hash: InfoHash(*info_hash),
            peer_id: PeerId(*peer_id),
        })
    }

    /// Whether the first bytes, however few, can still become a handshake: garbage is refused
    /// without waiting for 68 bytes of it. Only the first 20 are looked at.
    ///
    /// # Errors
    /// [`HandshakeError::NotBitTorrent`].
    pub fn check_prefix(bytes: &[u8]) -> Result<(), HandshakeError> {
        let same = bytes.iter().zip(PREFIX).all(|(got, right)| got == right);
        if same { Ok(()) } else { Err(HandshakeError::NotBitTorrent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::ours(),
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId(*b"-PL0001-abcdefghijkl"),
        }
    }

    #[test]
    fn round_trip() {
        let bytes = sample().encode();
        assert_eq!(&bytes[..20], PREFIX);
        assert_eq!(&bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 4]);
        assert_eq!(Handshake::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn garbage_is_refused_from_its_first_wrong_byte() {
        let mut bytes = sample().encode();
        for end in 0..=HANDSHAKE_LENGTH {
            assert_eq!(Handshake::check_prefix(&bytes[..end]), Ok(()));
        }
        assert!(Handshake::check_prefix(b"HTTP/1.1 400").is_err());
        bytes[19] = b'L';
        assert_eq!(Handshake::check_prefix(&bytes[..19]), Ok(()));
        assert!(Handshake::check_prefix(&bytes[..20]).is_err());
        assert!(Handshake::decode(&bytes).is_err());
    }

    #[test]
    fn bits_have_names() {
        // What Transmission 3.00 and aria2 1.36 send.
        let both = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(both.names(), ["extension protocol", "fast"]);
        let all = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        assert_eq!(all.names(), ["extension protocol", "fast", "DHT", "v2"]);
        assert!(Reserved::default().names().is_empty());
        assert!(all.extended() && all.fast() && all.dht() && all.v2());
        assert_eq!(Reserved::ours().with_dht().with_v2(), all);
        assert_eq!(all.with_v2_if(false), Reserved::ours().with_dht());
        assert_eq!(all.with_v2_if(true), all);
    }
}
