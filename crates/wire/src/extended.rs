//! The extension protocol's handshake (BEP 10) and the extensions we speak (BEP 9, 11, 21, 54, 55).
//!
//! A message id belongs to its receiver: we send with the peer's ids and read with ours. A new
//! extension is a variant of [`Extension`], its name, and our id for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use metainfo::bencode::{self, Encoder, Limits, Node};

/// Names taken from one handshake: the busiest clients offer a dozen.
const NAMES_MAX: usize = 64;
/// Bytes of one extension's name or of the client's.
const NAME_BYTES_MAX: usize = 128;

/// An extension that this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// One byte: whether the sender downloads no more (BEP 21).
    UploadOnly,
    /// Four bytes: a piece the sender no longer has (BEP 54).
    DontHave,
    /// The torrent's `info` value (BEP 9), see [`crate::MetadataMessage`].
    Metadata,
    /// Whom the sender has met and lost (BEP 11), see [`crate::PexMessage`].
    PeerExchange,
    /// Two peers that a third one has dial each other (BEP 55), see [`crate::HolepunchMessage`].
    Holepunch,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::UploadOnly, Self::DontHave, Self::Metadata, Self::PeerExchange, Self::Holepunch];

    /// The name in the handshake's `m`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadOnly => "upload_only",
            Self::DontHave => "lt_donthave",
            Self::Metadata => "ut_metadata",
            Self::PeerExchange => "ut_pex",
            Self::Holepunch => "ut_holepunch",
        }
    }

    /// The id by which peers send it to us.
    pub fn our_id(self) -> u8 {
        match self {
            Self::UploadOnly => 1,
            Self::DontHave => 2,
            Self::Metadata => 3,
            Self::PeerExchange => 4,
            Self::Holepunch => 5,
        }
    }

    /// Which of ours a received id means; `None` for 0 (the handshake) and unknown ones.
    pub fn from_our_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.our_id() == id)
    }
}

/// What one side says of itself by message 20, id 0. Fields that are missing, or of a type that
/// they can't have, are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedHandshake {
    /// Names and the ids that the sender wants them by; 0 switches one off.
    pub extensions: Vec<(String, u8)>,
    /// Client name and version (`v`), not to be trusted or shown unescaped.
    pub client: Option<String>,
    /// The receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// Requests the sender queues before it drops some.
    pub reqq: Option<u32>,
    /// The sender's listening port (`p`).
    pub port: Option<u16>,
    /// The sender downloads nothing (BEP 21).
    pub upload_only: Option<bool>,
    /// Bytes of the torrent's `info` (BEP 9), by its word alone.
    pub metadata_size: Option<u32>,
}

impl ExtendedHandshake {
    /// From a message's payload. Unknown keys are skipped.
    ///
    /// # Errors
    /// When the payload is not one bencoded dictionary; what follows it is ignored.
    pub fn decode(payload: &[u8]) -> Result<Self, bencode::Error> {
        let (tape, _) = bencode::parse_prefix(payload, Limits::network())?;
        let root = tape.root();
        let names = root.get(b"m").and_then(|m| m.dict()).into_iter().flatten();
        Ok(Self {
            extensions: names.filter_map(|(name, id)| offered(name, id)).take(NAMES_MAX).collect(),
            client: root.get(b"v").and_then(|v| v.as_bytes()).map(client),
            yourip: root.get(b"yourip").and_then(|ip| ip.as_bytes()).and_then(address),
            reqq: number(root.get(b"reqq")),
            port: number(root.get(b"p")).filter(|port| *port != 0),
            upload_only: root.get(b"upload_only").and_then(|n| n.as_int()).map(|flag| flag != 0),
            metadata_size: number(root.get(b"metadata_size")),
        })
    }

    /// As it goes behind message id 20 and extended id 0.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict().key(b"m").begin_dict();
        let mut extensions = self.extensions.clone();
        extensions.sort();
        extensions.dedup_by(|a, b| a.0 == b.0);
        for (name, id) in &extensions {
            out.key(name.as_bytes()).int(i64::from(*id));
        }
        out.end();
        if let Some(size) = self.metadata_size {
            out.key(b"metadata_size").int(i64::from(size));
        }
        if let Some(port) = self.port {
            out.key(b"p").int(i64::from(port));
        }
        if let Some(reqq) = self.reqq {
            out.key(b"reqq").int(i64::from(reqq));
        }
        if let Some(upload_only) = self.upload_only {
            out.key(b"upload_only").int(i64::from(upload_only));
        }
        if let Some(client) = &self.client {
            out.key(b"v").bytes(client.as_bytes());
        }
        match self.yourip {
            Some(IpAddr::V4(ip)) => drop(out.key(b"yourip").bytes(&ip.octets())),
            Some(IpAddr::V6(ip)) => drop(out.key(b"yourip").bytes(&ip.octets())),
            None => {}
        }
        out.end().finish()
    }

    /// Every extension of ours with our ids, for a handshake of ours.
    pub fn our_extensions() -> Vec<(String, u8)> {
        Extension::ALL.into_iter().map(|e| (e.name().to_string(), e.our_id())).collect()
    }
}

fn offered(name: &[u8], id: Node<'_, '_>) -> Option<(String, u8)> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_BYTES_MAX)?;
    Some((name.to_string(), u8::try_from(id.as_int()?).ok()?))
}

fn number<T: TryFrom<i64>>(node: Option<Node<'_, '_>>) -> Option<T> {
    node.and_then(|node| node.as_int()).and_then(|number| T::try_from(number).ok())
}

fn client(bytes: &[u8]) -> String {
    let bytes = bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// A peer's ids for our extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerExtensions {
    upload_only: Option<u8>,
    dont_have: Option<u8>,
    metadata: Option<u8>,
    peer_exchange: Option<u8>,
    holepunch: Option<u8>,
}

impl PeerExtensions {
    /// Merges a handshake of the peer's: a later one changes only what it names, and 0 switches
    /// an extension off.
    pub fn update(&mut self, handshake: &ExtendedHandshake) {
        for (name, id) in &handshake.extensions {
            if let Some(extension) = Extension::ALL.into_iter().find(|e| e.name() == name) {
                *self.slot(extension) = Some(*id).filter(|id| *id != 0);
            }
        }
    }

    /// The id to send `extension` with; `None` when the peer does not want it.
    pub fn id_of(&self, extension: Extension) -> Option<u8> {
        let mut ids = *self;
        *ids.slot(extension)
    }

    fn slot(&mut self, extension: Extension) -> &mut Option<u8> {
        match extension {
            Extension::UploadOnly => &mut self.upload_only,
            Extension::DontHave => &mut self.dont_have,
            Extension::Metadata => &mut self.metadata,
            Extension::PeerExchange => &mut self.peer_exchange,
            Extension::Holepunch => &mut self.holepunch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let handshake = ExtendedHandshake {
            extensions: ExtendedHandshake::our_extensions(),
            client: Some("peerless 0.1.0".into()),
            yourip: Some("192.0.2.7".parse().unwrap()),
            reqq: Some(2000),
            port: Some(6881),
            upload_only: Some(true),
            metadata_size: Some(31_235),
        };
        let mut decoded = ExtendedHandshake::decode(&handshake.encode()).unwrap();
        decoded.extensions.sort_by_key(|(_, id)| *id); // by name on the wire
        assert_eq!(decoded, handshake);
        let v6 = ExtendedHandshake { yourip: Some("2001:db8::1".parse().unwrap()), ..handshake };
        assert_eq!(ExtendedHandshake::decode(&v6.encode()).unwrap().yourip, v6.yourip);
    }

    #[test]
    fn wrong_types_are_ignored_and_garbage_is_not() {
        let odd = b"d1:md11:lt_donthavei300e11:upload_onlyi3ee1:pi0e4:reqqi-1e1:vi5e6:yourip3:abce";
        let decoded = ExtendedHandshake::decode(odd).unwrap();
        let expected = ExtendedHandshake {
            extensions: vec![("upload_only".into(), 3)],
            ..ExtendedHandshake::default()
        };
        assert_eq!(decoded, expected);
        assert!(ExtendedHandshake::decode(b"").is_err());
        assert!(ExtendedHandshake::decode(&[b'l'; 10_000]).is_err());
        assert_eq!(ExtendedHandshake::decode(b"le").unwrap(), ExtendedHandshake::default());
    }

    #[test]
    fn names_are_bounded() {
        let mut out = Encoder::new();
        out.begin_dict().key(b"m").begin_dict();
        for number in 0..1000 {
            out.key(format!("x{number:04}").as_bytes()).int(1);
        }
        let decoded = ExtendedHandshake::decode(&out.end().end().finish()).unwrap();
        assert_eq!(decoded.extensions.len(), NAMES_MAX);
    }

    #[test]
    fn a_later_handshake_merges_and_zero_switches_off() {
        let say = |extensions: &[(&str, u8)]| ExtendedHandshake {
            extensions: extensions.iter().map(|(name, id)| ((*name).into(), *id)).collect(),
            ..ExtendedHandshake::default()
        };
        let mut ids = PeerExtensions::default();
        ids.update(&say(&[("lt_donthave", 7), ("upload_only", 3), ("ut_pex", 1)]));
        ids.update(&say(&[("upload_only", 0)]));
        assert_eq!(ids.id_of(Extension::DontHave), Some(7));
        assert_eq!(ids.id_of(Extension::UploadOnly), None);
    }

    #[test]
    fn our_ids_are_distinct_and_never_the_handshakes() {
        assert_eq!(Extension::from_our_id(0), None);
        for extension in Extension::ALL {
            assert_eq!(Extension::from_our_id(extension.our_id()), Some(extension));
        }
    }
}
