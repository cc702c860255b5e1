//! One handshake with one peer, and what it says of itself: no torrent, no session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metainfo::InfoHash;
use swarm::{IpFilter, Transports};
use tokio::time::timeout;
use wire::mse::Method;
use wire::{Decoded, ExtendedHandshake, Handshake, Limits, Message, PeerId, Reserved};

use crate::clock::Clock;
use crate::connect::Dialler;
use crate::datagrams::Datagrams;
use crate::encryption::{Encryption, Opening};
use crate::net::Network;
use crate::peer::handshake::{self, Ours};
use crate::peer::{HandshakeFailure, Line};
use crate::settings::{Settings, Transport};
use crate::stream::Stream;
use crate::utp_driver::Utp;

/// How long to wait for the extended handshake once the plain one is done. Clients send it at
/// once; one that does not is still a good answer.
const EXTENDED_LIMIT: Duration = Duration::from_secs(3);
/// Bytes read in search of it: a bitfield of two million pieces may come first.
const EXTENDED_SEARCH_BYTES: usize = 512 * 1024;
/// Of them, at a time.
const READ_BYTES: usize = 4096;

/// Whom to shake hands with.
#[derive(Debug, Clone)]
pub struct HandshakeRequest {
    /// `host:port` or `[v6]:port`. Behind a proxy a name is the proxy's to look up.
    pub addr: String,
    /// The torrent to ask for.
    pub info_hash: InfoHash,
    /// The first 20 bytes of its v2 hash, if it has one: the peer may answer with it (BEP 52).
    pub v2: Option<InfoHash>,
    /// Who we are.
    pub peer_id: PeerId,
    /// Limit for the connection, by each address that the peer has.
    pub connect_timeout: Duration,
    /// Limit for the peer's 68 bytes.
    pub timeout: Duration,
    /// Where the sockets come from.
    pub network: Network,
    /// What carries the connection.
    pub transport: Transport,
    /// Addresses that are not connected to.
    pub ip_filter: Arc<IpFilter>,
    /// Whether to encrypt. [`Encryption::Allow`] and [`Encryption::Prefer`] try both ways.
    pub encryption: Encryption,
}

/// What the peer said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandshakeReport {
    /// The peer's id, any 20 bytes.
    pub peer_id: PeerId,
    /// The reserved bits it set; that for v2 if it answered by the v2 hash.
    pub reserved: Reserved,
    /// The address that answered; `None` of a peer by name that a proxy connected to.
    pub addr: Option<SocketAddr>,
    /// Whether uTP carried it; otherwise TCP did.
    pub by_utp: bool,
    /// What it offers by BEP 10, if it does and said so in time.
    pub extended: Option<ExtendedHandshake>,
    /// How the payload goes when the handshake was encrypted.
    pub encryption: Option<Method>,
    /// From the start of the connection to the peer's handshake.
    pub elapsed: Duration,
}

/// Connects, shakes hands, reads the extended handshake if there is one, and closes.
///
/// # Errors
/// [`HandshakeFailure`] tells a wrong info hash, an early close, garbage and silence apart.
pub async fn handshake(request: HandshakeRequest) -> Result<HandshakeReport, HandshakeFailure> {
    let start = Instant::now();
    let sockets = Sockets::open(&request)?;
    let (first, other) = request.encryption.openings(None);
    let mut shaken = shake_hands(&request, &sockets, first).await;
    if let (Err(failure), Some(other)) = (&shaken, other)
        && failure.may_be_for(first)
        && let Ok(better) = shake_hands(&request, &sockets, other).await
    {
        shaken = Ok(better);
    }
    let (theirs, mut line, addr) = shaken?;
    let elapsed = start.elapsed();
    let extended = if theirs.reserved.extended() {
        timeout(EXTENDED_LIMIT, read_extended(&mut line)).await.unwrap_or_default()
    } else {
        None
    };
    let (peer_id, reserved) = (theirs.peer_id, theirs.reserved);
    let (encryption, by_utp) = (line.method(), line.is_utp());
    let addr = Some(addr).filter(|addr| !swarm::is_stand_in(addr.ip()));
    Ok(HandshakeReport { peer_id, reserved, addr, by_utp, extended, encryption, elapsed })
}

/// What uTP is sent by, for as long as one handshake takes.
struct Sockets {
    datagrams: Arc<Datagrams>,
    utp: Arc<Utp>,
    transport: Transport,
}

impl Sockets {
    fn open(request: &HandshakeRequest) -> Result<Self, HandshakeFailure> {
        let (network, transport) = (request.network.clone(), request.transport);
        let settings = Settings { network, transport, listen: false, ..Settings::default() };
        // Behind a proxy it may be less.
        let settings = settings.behind_proxy().map_err(|error| {
            HandshakeFailure::Io(std::io::Error::new(std::io::ErrorKind::Unsupported, error))
        })?;
        let transport = settings.transport;
        let datagrams = match transport {
            Transport::Tcp => Datagrams::open(&settings.network, &[]),
            Transport::Utp | Transport::Both => settings.datagrams(&[]),
        };
        datagrams.gate().set(Arc::clone(&request.ip_filter));
        let seed = crate::session::starting::random().map_err(HandshakeFailure::Io)?;
        let (utp, _) = Utp::start(Arc::clone(&datagrams), Clock::start(), settings.utp(seed));
        Ok(Self { datagrams, utp, transport })
    }

    fn dialler<'a>(&'a self, network: &'a Network) -> Dialler<'a> {
        let (gate, utp) = (&**self.datagrams.gate(), &self.utp);
        Dialler { network, gate, utp, transport: self.transport }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.datagrams.close();
    }
}

async fn shake_hands(
    request: &HandshakeRequest,
    sockets: &Sockets,
    opening: Opening,
) -> Result<(Handshake, Line, SocketAddr), HandshakeFailure> {
    let (stream, addr) = connect(request, sockets).await?;
    let (info_hash, v2, peer_id) = (request.info_hash, request.v2, request.peer_id);
    let ours = Ours { info_hash, v2, peer_id, dht: false };
    let (theirs, line) = handshake::outgoing(stream, opening, ours, request.timeout).await?;
    Ok((theirs, line, addr))
}

/// Tries each of the name's addresses in turn.
async fn connect(
    request: &HandshakeRequest,
    sockets: &Sockets,
) -> Result<(Stream, SocketAddr), HandshakeFailure> {
    let resolve = || HandshakeFailure::Resolve(request.addr.clone());
    let addrs = request.network.peer_addresses(&request.addr).await.map_err(|_| resolve())?;
    let (mut failure, dialler) = (resolve(), sockets.dialler(&request.network));
    for addr in addrs {
        failure = match dialler.connect(addr, Transports::TcpFirst, request.connect_timeout).await {
            Ok(stream) => return Ok((stream, addr)),
            Err(failure) => failure,
        };
    }
    Err(failure)
}

async fn read_extended(line: &mut Line) -> Option<ExtendedHandshake> {
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
        let before = buffer.len();
        buffer.resize(before + READ_BYTES, 0);
        let got = line.read(&mut buffer[before..]).await.ok()?;
        buffer.truncate(before + got);
        if got == 0 {
            return None;
        }
    }
    None
}
