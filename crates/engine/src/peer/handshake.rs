//! The first 68 bytes on the wire (BEP 3), in the open or within MSE, both ways, within a time limit.

use std::io;
use std::time::Duration;

use metainfo::InfoHash;
use tokio::time::timeout;
use wire::mse::MseError;
use wire::{HANDSHAKE_LENGTH, Handshake, PeerId, Reserved};

use super::encrypt;
use super::line::Line;
use crate::encryption::{Encryption, Opening};
use crate::stream::Stream;

/// A live peer answers a handshake within a round trip.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// Bytes up to and including the info hash: all that routing an inbound peer needs. The rest may
/// only come once we have answered.
pub(crate) const ROUTING_BYTES: usize = 48;

/// Bytes that tell BEP 3 from all else.
const PREFIX_BYTES: usize = 20;

/// Why no connection came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The name has no address.
    #[error("can't find an address for {0}")]
    Resolve(String),
    /// The connection was not made.
    #[error("can't connect to {peer}: {error}")]
    Connect {
        /// Whom, by address or name.
        peer: String,
        /// Why.
        error: io::Error,
    },
    /// The connection was not even tried: what we are bound to is not there, or the proxy lets nothing
    /// through.
    #[error("can't connect to {peer}: {error}")]
    NoWay {
        /// Whom, by address or name.
        peer: String,
        /// Why.
        error: io::Error,
    },
    /// The connection was not made in time.
    #[error("{peer} did not accept the connection within {} s", limit.as_secs_f32())]
    ConnectTimeout {
        /// Whom, by address or name.
        peer: String,
        /// How long it had.
        limit: Duration,
    },
    /// The peer's handshake did not arrive in time.
    #[error("the peer sent {received} of 68 handshake bytes within {} s", limit.as_secs_f32())]
    Timeout {
        /// Bytes that came.
        received: usize,
        /// How long it had.
        limit: Duration,
    },
    /// The peer closed first. Most clients answer an info hash they don't serve like this.
    #[error("the peer closed the connection after {received} of 68 handshake bytes")]
    ClosedEarly {
        /// Bytes that came.
        received: usize,
    },
    /// What came is not a BitTorrent handshake.
    #[error("the peer does not speak BitTorrent")]
    NotBitTorrent,
    /// The peer began to encrypt, and not as MSE wants it.
    #[error("the peer failed to agree on encryption: {0}")]
    Encryption(#[from] MseError),
    /// Encryption is required, and the peer came without.
    #[error("the peer came without encryption")]
    Unencrypted,
    /// The peer answered for another torrent.
    #[error("the peer answered with the info hash {got}")]
    WrongInfoHash {
        /// The hash it named.
        got: InfoHash,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
}

impl HandshakeFailure {
    /// Whether it may be for the way in which the peer was addressed: another may do better.
    pub(crate) fn may_be_for(&self, opening: Opening) -> bool {
        use HandshakeFailure::{ClosedEarly, Encryption, NotBitTorrent, Timeout};
        match opening {
            // Who requires encryption hangs up without a word. So do many that lack the torrent.
            Opening::Plain => matches!(self, ClosedEarly { received: 0 }),
            Opening::Encrypted => {
                matches!(self, ClosedEarly { .. } | Encryption(_) | NotBitTorrent | Timeout { .. })
            }
        }
    }

    /// Whether a connection was made and not a byte of a handshake came: there may be no peer behind it.
    pub(crate) fn is_silence(&self) -> bool {
        use HandshakeFailure::{ClosedEarly, Timeout};
        matches!(self, ClosedEarly { received: 0 } | Timeout { received: 0, .. })
    }
}

/// What we say of ourselves.
#[derive(Clone, Copy)]
pub(crate) struct Ours {
    /// The name by which we ask, or were asked, for the torrent.
    pub(crate) info_hash: InfoHash,
    /// Its v2 name, if it has one (BEP 52).
    pub(crate) v2: Option<InfoHash>,
    pub(crate) peer_id: PeerId,
    /// We have a DHT node, and the torrent may be known to it (BEP 5, 27).
    pub(crate) dht: bool,
}

impl Ours {
    pub(super) fn encode(self) -> [u8; HANDSHAKE_LENGTH] {
        let reserved = Reserved::ours();
        let reserved = if self.dht { reserved.with_dht() } else { reserved };
        let reserved = if self.v2.is_some() { reserved.with_v2() } else { reserved };
        Handshake { reserved, info_hash: self.info_hash, peer_id: self.peer_id }.encode()
    }
}

/// Sends our handshake, in this way, and reads the peer's, which must name our info hash, or upgrade to
/// the v2 one.
pub(crate) async fn outgoing(
    stream: Stream,
    opening: Opening,
    ours: Ours,
    limit: Duration,
) -> Result<(Handshake, Line), HandshakeFailure> {
    let mut reply = [0; HANDSHAKE_LENGTH];
    let mut received = 0;
    let exchange = async {
        let mut line = match opening {
            Opening::Encrypted => encrypt::initiate(stream, ours).await?,
            Opening::Plain => {
                let mut line = Line::new(stream);
                line.write_all(&ours.encode()).await.map_err(broken(0))?;
                line
            }
        };
        read_checked(&mut line, &mut reply, &mut received).await?;
        Ok::<_, HandshakeFailure>(line)
    };
    let line = match timeout(limit, exchange).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    };
    let mut theirs = read_handshake(&reply)?;
    // To a v1 name, its v2 name is an answer too: the peer upgrades to that.
    if theirs.info_hash != ours.info_hash && Some(theirs.info_hash) != ours.v2 {
        return Err(HandshakeFailure::WrongInfoHash { got: theirs.info_hash });
    }
    theirs.reserved = theirs.reserved.with_v2_if(Some(theirs.info_hash) == ours.v2);
    Ok((theirs, line))
}

/// Answers a peer whose first [`ROUTING_BYTES`] named our torrent, and reads its peer id. One that came
/// by the v1 name and can have it is answered by the v2 name.
pub(crate) async fn incoming(
    line: &mut Line,
    first: [u8; ROUTING_BYTES],
    ours: Ours,
    limit: Duration,
) -> Result<Handshake, HandshakeFailure> {
    let mut request = [0; HANDSHAKE_LENGTH];
    request[..ROUTING_BYTES].copy_from_slice(&first);
    let asked = read_handshake(&request)?;
    let upgrades = asked.reserved.v2() && ours.v2.is_some();
    let is_v2 = upgrades || Some(asked.info_hash) == ours.v2;
    let ours = Ours { info_hash: ours.v2.filter(|_| is_v2).unwrap_or(asked.info_hash), ..ours };
    let mut received = ROUTING_BYTES;
    let exchange = async {
        line.write_all(&ours.encode()).await.map_err(broken(ROUTING_BYTES))?;
        read_checked(line, &mut request, &mut received).await
    };
    match timeout(limit, exchange).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    }
    let mut theirs = read_handshake(&request)?;
    theirs.reserved = theirs.reserved.with_v2_if(is_v2);
    Ok(theirs)
}

/// What an inbound peer has said so far.
pub(crate) struct Routed {
    pub(crate) line: Line,
    pub(crate) first: [u8; ROUTING_BYTES],
    /// The torrent it wants.
    pub(crate) info_hash: InfoHash,
}

/// Reads an inbound peer's [`ROUTING_BYTES`], in the open or encrypted as `mode` allows, and tells
/// which torrent it wants. `find` knows ours by their names within MSE.
pub(crate) async fn routing(
    stream: Stream,
    mode: Encryption,
    find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
    limit: Duration,
) -> Result<Routed, HandshakeFailure> {
    let mut first = [0; ROUTING_BYTES];
    let mut received = 0;
    let reading = async {
        let mut line = Line::new(stream);
        let prefix = &mut first[..PREFIX_BYTES];
        let mut meant = None;
        match read_checked(&mut line, prefix, &mut received).await {
            Ok(()) if mode.takes_plain() => {}
            Ok(()) => return Err(HandshakeFailure::Unencrypted),
            Err(HandshakeFailure::NotBitTorrent) if mode.takes_encrypted() => {
                let begun = &first[..std::mem::take(&mut received)];
                let (encrypted, torrent) = encrypt::respond(line.stream, begun, find).await?;
                (line, meant) = (encrypted, Some(torrent));
            }
            Err(error) => return Err(error),
        }
        read_checked(&mut line, &mut first, &mut received).await?;
        Ok((line, meant))
    };
    let (line, meant) = match timeout(limit, reading).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    };
    let mut hash = [0; 20];
    hash.copy_from_slice(&first[28..]);
    let info_hash = InfoHash(hash);
    if meant.is_some_and(|meant| meant != info_hash) {
        return Err(HandshakeFailure::WrongInfoHash { got: info_hash });
    }
    Ok(Routed { line, first, info_hash })
}

/// Fills `buffer` from `received` on, and refuses what can't become a handshake at once.
async fn read_checked(
    line: &mut Line,
    buffer: &mut [u8],
    received: &mut usize,
) -> Result<(), HandshakeFailure> {
    while *received < buffer.len() {
        match line.read(&mut buffer[*received..]).await.map_err(broken(*received))? {
            0 => return Err(HandshakeFailure::ClosedEarly { received: *received }),
            got => *received += got,
        }
        let prefix = &buffer[..(*received).min(PREFIX_BYTES)];
        Handshake::check_prefix(prefix).map_err(|_| HandshakeFailure::NotBitTorrent)?;
    }
    Ok(())
}

fn read_handshake(bytes: &[u8; HANDSHAKE_LENGTH]) -> Result<Handshake, HandshakeFailure> {
    Handshake::decode(bytes).map_err(|_| HandshakeFailure::NotBitTorrent)
}

/// A reset is how many clients close on an info hash they don't serve.
pub(super) fn broken(received: usize) -> impl Fn(io::Error) -> HandshakeFailure {
    move |error| match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            HandshakeFailure::ClosedEarly { received }
        }
        _ => HandshakeFailure::Io(error),
    }
}
