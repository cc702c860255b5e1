//! One handshake with one peer, and what it says of itself: no torrent, no session.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use metainfo::InfoHash;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use wire::{Decoded, ExtendedHandshake, Limits, Message, PeerId, Reserved};

use crate::net;
use crate::peer::HandshakeFailure;
use crate::peer::handshake::{self, Ours};
use crate::stream::Stream;

/// How long to wait for the extended handshake once the plain one is done. Clients send it at
/// once; one that does not is still a good answer.
const EXTENDED_LIMIT: Duration = Duration::from_secs(3);
/// Bytes read in search of it: a bitfield of two million pieces may come first.
const EXTENDED_SEARCH_BYTES: usize = 512 * 1024;

/// Whom to shake hands with.
#[derive(Debug, Clone)]
pub struct HandshakeRequest {
    /// `host:port` or `[v6]:port`.
    pub addr: String,
    /// The torrent to ask for.
    pub info_hash: InfoHash,
    /// Who we are.
    pub peer_id: PeerId,
    /// Limit for the TCP connection.
    pub connect_timeout: Duration,
    /// Limit for the peer's 68 bytes.
    pub timeout: Duration,
    /// The local address to connect from.
    pub bind: Option<IpAddr>,
}

/// What the peer said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandshakeReport {
    /// The peer's id, any 20 bytes.
    pub peer_id: PeerId,
    /// The reserved bits it set.
    pub reserved: Reserved,
    /// The address that answered.
    pub addr: SocketAddr,
    /// What it offers by BEP 10, if it does and said so in time.
    pub extended: Option<ExtendedHandshake>,
    /// From the start of the connection to the peer's handshake.
    pub elapsed: Duration,
}

/// Connects, shakes hands, reads the extended handshake if there is one, and closes.
///
/// # Errors
/// [`HandshakeFailure`] tells a wrong info hash, an early close, garbage and silence apart.
pub async fn handshake(request: HandshakeRequest) -> Result<HandshakeReport, HandshakeFailure> {
    let start = Instant::now();
    let (mut stream, addr) = connect(&request).await?;
    let ours = Ours { info_hash: request.info_hash, peer_id: request.peer_id, dht: false };
    let theirs = handshake::outgoing(&mut stream, ours, request.timeout).await?;
    let elapsed = start.elapsed();
    let extended = if theirs.reserved.extended() {
        timeout(EXTENDED_LIMIT, read_extended(&mut stream)).await.unwrap_or_default()
    } else {
        None
    };
    let (peer_id, reserved) = (theirs.peer_id, theirs.reserved);
    Ok(HandshakeReport { peer_id, reserved, addr, extended, elapsed })
}

/// Tries each of the name's addresses in turn.
async fn connect(request: &HandshakeRequest) -> Result<(Stream, SocketAddr), HandshakeFailure> {
    let resolve = || HandshakeFailure::Resolve(request.addr.clone());
    let addrs = tokio::net::lookup_host(&request.addr).await.map_err(|_| resolve())?;
    let mut failure = resolve();
    for addr in addrs {
        let limit = request.connect_timeout;
        failure = match timeout(limit, net::connect(addr, request.bind)).await {
            Ok(Ok(stream)) => return Ok((Stream::Tcp(stream), addr)),
            Ok(Err(error)) => HandshakeFailure::Connect { addr, error },
            Err(_) => HandshakeFailure::ConnectTimeout { addr, limit },
        };
    }
    Err(failure)
}

async fn read_extended(stream: &mut Stream) -> Option<ExtendedHandshake> {
    let bytes = EXTENDED_SEARCH_BYTES as u32;
    let limits = Limits { bitfield_bytes: bytes, block_bytes: 0, extended_bytes: bytes };
    let mut buffer = Vec::new();
    while buffer.len() < EXTENDED_SEARCH_BYTES {
        let mut at = 0;
        while let Decoded::Message { message, consumed } =
            wire::decode(&buffer[at..], &limits).ok()?
        {
            if let Message::Extended { id: 0, payload } = message {
                return ExtendedHandshake::decode(payload).ok();
            }
            at += consumed;
        }
        buffer.drain(..at);
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
    None
}
