//! The first 68 bytes on the wire (BEP 3), both ways, within a time limit.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use metainfo::InfoHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::{HANDSHAKE_LENGTH, Handshake, PeerId, Reserved};

use crate::stream::Stream;

/// Bytes up to and including the info hash: all that routing an inbound peer needs. The rest may
/// only come once we have answered.
pub(crate) const ROUTING_BYTES: usize = 48;

/// Why no connection came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The name has no address.
    #[error("can't find an address for {0}")]
    Resolve(String),
    /// The TCP connection was not made.
    #[error("can't connect to {addr}: {error}")]
    Connect {
        /// Whom.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The TCP connection was not made in time.
    #[error("{addr} did not accept the connection within {} s", limit.as_secs_f32())]
    ConnectTimeout {
        /// Whom.
        addr: SocketAddr,
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

/// What we say of ourselves.
#[derive(Clone, Copy)]
pub(crate) struct Ours {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    /// We have a DHT node, and the torrent may be known to it (BEP 5, 27).
    pub(crate) dht: bool,
}

impl Ours {
    fn encode(self) -> [u8; HANDSHAKE_LENGTH] {
        let reserved = Reserved::ours();
        let reserved = if self.dht { reserved.with_dht() } else { reserved };
        Handshake { reserved, info_hash: self.info_hash, peer_id: self.peer_id }.encode()
    }
}

/// Sends our handshake and reads the peer's, which must name our info hash.
pub(crate) async fn outgoing(
    stream: &mut Stream,
    ours: Ours,
    limit: Duration,
) -> Result<Handshake, HandshakeFailure> {
    let mut reply = [0; HANDSHAKE_LENGTH];
    let mut received = 0;
    let exchange = async {
        stream.write_all(&ours.encode()).await.map_err(broken(0))?;
        read_checked(stream, &mut reply, &mut received).await
    };
    match timeout(limit, exchange).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    }
    accept_reply(&reply, ours)
}

/// Answers a peer whose first [`ROUTING_BYTES`] named our torrent, and reads its peer id.
pub(crate) async fn incoming(
    stream: &mut Stream,
    first: [u8; ROUTING_BYTES],
    ours: Ours,
    limit: Duration,
) -> Result<Handshake, HandshakeFailure> {
    let mut request = [0; HANDSHAKE_LENGTH];
    request[..ROUTING_BYTES].copy_from_slice(&first);
    let mut received = ROUTING_BYTES;
    let exchange = async {
        stream.write_all(&ours.encode()).await.map_err(broken(ROUTING_BYTES))?;
        read_checked(stream, &mut request, &mut received).await
    };
    match timeout(limit, exchange).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    }
    accept_reply(&request, ours)
}

/// Reads an inbound peer's [`ROUTING_BYTES`] and tells which torrent it wants.
pub(crate) async fn routing(
    stream: &mut Stream,
    limit: Duration,
) -> Result<([u8; ROUTING_BYTES], InfoHash), HandshakeFailure> {
    let mut first = [0; ROUTING_BYTES];
    let mut received = 0;
    match timeout(limit, read_checked(stream, &mut first, &mut received)).await {
        Ok(done) => done?,
        Err(_) => return Err(HandshakeFailure::Timeout { received, limit }),
    }
    let mut hash = [0; 20];
    hash.copy_from_slice(&first[28..]);
    Ok((first, InfoHash(hash)))
}

/// Fills `buffer` from `received` on, and refuses what can't become a handshake at once.
async fn read_checked(
    stream: &mut Stream,
    buffer: &mut [u8],
    received: &mut usize,
) -> Result<(), HandshakeFailure> {
    while *received < buffer.len() {
        match stream.read(&mut buffer[*received..]).await.map_err(broken(*received))? {
            0 => return Err(HandshakeFailure::ClosedEarly { received: *received }),
            got => *received += got,
        }
        let prefix = &buffer[..(*received).min(20)];
        Handshake::check_prefix(prefix).map_err(|_| HandshakeFailure::NotBitTorrent)?;
    }
    Ok(())
}

fn accept_reply(bytes: &[u8; HANDSHAKE_LENGTH], ours: Ours) -> Result<Handshake, HandshakeFailure> {
    let reply = Handshake::decode(bytes).map_err(|_| HandshakeFailure::NotBitTorrent)?;
    if reply.info_hash != ours.info_hash {
        return Err(HandshakeFailure::WrongInfoHash { got: reply.info_hash });
    }
    Ok(reply)
}

/// A reset is how many clients close on an info hash they don't serve.
fn broken(received: usize) -> impl Fn(io::Error) -> HandshakeFailure {
    move |error| match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            HandshakeFailure::ClosedEarly { received }
        }
        _ => HandshakeFailure::Io(error),
    }
}
