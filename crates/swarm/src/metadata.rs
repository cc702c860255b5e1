//! The brain of a torrent that is known by its hash alone (BEP 9, 10): whom to dial, whom to ask for
//! the metadata, and when it is there. Driven like [`crate::Swarm`], which takes over once it is.
//!
//! The metadata is fetched whole from one peer at a time, so what does not fit the hash has one
//! author, and one peer's claim of the size is nobody else's. Most metadata comes within a round
//! trip or two; if it does not, a second and a third peer are asked as well, and whoever has sent all
//! of it first ends the search. No peer's silence, rejection or lie can end it.

mod copy;
mod dial;
mod filter;
mod handover;
mod places;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::InfoHashes;
use wire::{ExtendedHandshake, Extension, Message, MetadataMessage, PeerExtensions, PeerId};

use crate::candidates::Candidates;
use crate::reach::owner;
use crate::{Hello, OwnPorts, PeerKey, Refusal, Source, is_stand_in};
use copy::Copy;
pub use handover::Acquainted;

/// Bytes of the largest metadata fetched: as of a .torrent file.
const BYTES_MAX: u32 = metainfo::TORRENT_BYTES_MAX as u32;
/// Bytes that all copies under way may grow to, when there is more than one.
const COPIES_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Peers asked at one time.
const COPIES_MAX: usize = 3;
/// How long the peers that are asked have before one more is.
const PATIENCE: Duration = Duration::from_secs(1);
/// A peer that sends nothing of what it was asked for within this is asked no more, for now.
const STALLED: Duration = Duration::from_secs(15);
/// Wait before a peer that stalled or rejected is asked again; doubles with each more.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRIES_MAX: u32 = 5;
/// Connected peers. Most have the metadata, and one is enough.
const PEERS_MAX: usize = 50;
/// A peer that offers no metadata makes room for another after this.
const USELESS_AFTER: Duration = Duration::from_secs(30);
/// Nothing heard for this long: gone.
const SILENT: Duration = Duration::from_mins(3);
/// Something is said at least this often, so that the peer does not think us gone.
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// Addresses that lied and are not let in again.
const LIARS_MAX: usize = 10_000;

/// What it is started with.
#[derive(Debug, Clone)]
pub struct MetadataConfig {
    /// What the torrent is known by.
    pub hashes: InfoHashes,
    /// Where peers can connect to us (BEP 10 `p`).
    pub listen_ports: OwnPorts,
    /// Our name and version (BEP 10 `v`).
    pub client_version: String,
    /// Our own peer id.
    pub own_peer_id: PeerId,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataAction {
    /// Send a small message.
    Send {
        /// To whom.
        peer: PeerKey,
        /// Never one that borrows.
        message: Message<'static>,
    },
    /// Send an extended message (BEP 10).
    SendExtended {
        /// To whom.
        peer: PeerKey,
        /// The receiver's id for it; 0 is the handshake.
        id: u8,
        /// What follows the id.
        payload: Vec<u8>,
    },
    /// Close the connection and call [`Metadata::remove_peer`].
    Disconnect {
        /// Whose.
        peer: PeerKey,
        /// Why.
        reason: MetadataFault,
    },
    /// The `info` value, and it fits the hash. Nothing follows.
    Found(Vec<u8>),
}

/// Why a connection must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataFault {
    /// The user's filter has its address since.
    #[error("the IP filter refuses its address")]
    Filtered,
    /// It did not give the metadata, or its address has many connections, and somebody else came.
    #[error("it made room for another peer")]
    MadeRoom,
    /// It can't have the metadata, and others wait.
    #[error("it offers no metadata")]
    OffersNone,
    /// Nothing was heard for minutes.
    #[error("nothing was heard for minutes")]
    Silent,
    /// What it sent is not what the hash stands for, or not what it said itself.
    #[error("it sent bad metadata")]
    SentBadMetadata,
}

/// How far it is: what a person is told while there is nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataStats {
    /// Connected peers.
    pub peers: u32,
    /// Of them, those that offer the metadata.
    pub offering: u32,
    /// Addresses known.
    pub peers_known: u32,
    /// How often an address was named that the IP filter refuses.
    pub filtered: u64,
    /// Connections being made.
    pub half_open: u32,
    /// Copies that did not fit the hash.
    pub failed: u32,
    /// Bytes of the copy that is furthest.
    pub received: u32,
    /// Bytes that it should have, by its sender's word.
    pub size: Option<u32>,
}

struct Peer {
    hello: Hello,
    joined: Duration,
    last_received: Duration,
    last_sent: Duration,
    extensions: PeerExtensions,
    /// Bytes of the metadata, by its word.
    size: Option<u32>,
    copy: Option<Copy>,
    failures: u32,
    not_before: Duration,
    listens_at: Option<SocketAddr>,
    said: handover::Said,
    closing: bool,
}

impl Peer {
    /// What it could be asked for, and by which id.
    fn offer(&self) -> Option<(u8, u32)> {
        let id = self.extensions.id_of(Extension::Metadata)?;
        self.size.filter(|_| !self.closing).map(|size| (id, size))
    }
}

/// The brain of a torrent without metadata.
pub struct Metadata {
    config: MetadataConfig,
    rng: fastrand::Rng,
    now: Duration,
    peers: BTreeMap<PeerKey, Peer>,
    next_key: u32,
    candidates: Candidates,
    liars: HashSet<IpAddr>,
    /// When the peers that are asked are no longer enough.
    impatient_at: Duration,
    failed: u32,
    found: bool,
    actions: VecDeque<MetadataAction>,
}

impl Metadata {
    /// A search without peers.
    pub fn new(now: Duration, config: MetadataConfig) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(config.seed),
            config,
            now,
            peers: BTreeMap::new(),
            next_key: 0,
            candidates: Candidates::new(),
            liars: HashSet::new(),
            impatient_at: now,
            failed: 0,
            found: false,
            actions: VecDeque::new(),
        }
    }

    /// Addresses to try.
    pub fn add_candidates(&mut self, now: Duration, source: Source, addrs: &[SocketAddr]) {
        self.now = now;
        addrs.iter().for_each(|addr| self.candidates.add(now, source, *addr));
    }

    /// Every address known, for the swarm that takes over.
    pub fn candidates(&self) -> Vec<(Source, SocketAddr)> {
        self.candidates.all().collect()
    }

    /// The network was away and is back: every address may be dialled again, and none has failed.
    pub fn dial_again(&mut self, now: Duration) {
        self.now = now;
        self.candidates.forgive(now);
    }

    /// A peer shook hands.
    ///
    /// # Errors
    /// [`Refusal`]: close the connection.
    pub fn add_peer(&mut self, now: Duration, hello: Hello) -> Result<PeerKey, Refusal> {
        self.now = now;
        if let Err(refusal) = self.admit(&hello) {
            match refusal {
                Refusal::Ourselves if hello.outgoing => self.candidates.ourselves(hello.addr),
                _ if hello.outgoing => self.dial_failed(now, hello.addr),
                _ => {}
            }
            return Err(refusal);
        }
        let key = PeerKey { index: self.next_key, generation: 0 };
        self.next_key = self.next_key.wrapping_add(1);
        let peer = Peer {
            hello,
            joined: now,
            last_received: now,
            last_sent: now,
            extensions: PeerExtensions::default(),
            size: None,
            copy: None,
            failures: 0,
            not_before: now,
            listens_at: hello.outgoing.then_some(hello.addr),
            said: handover::Said::default(),
            closing: false,
        };
        self.peers.insert(key, peer);
        if hello.outgoing {
            self.candidates.connected(hello.addr);
        }
        self.greet(key, &hello);
        Ok(key)
    }

    /// Peers that come from now on are told the port of their family.
    pub fn set_listen_ports(&mut self, ports: OwnPorts) {
        self.config.listen_ports = ports;
    }

    /// Without pieces there is nothing to say but that, and what we are after.
    fn greet(&mut self, peer: PeerKey, hello: &Hello) {
        if hello.reserved.fast() {
            self.actions.push_back(MetadataAction::Send { peer, message: Message::HaveNone });
        }
        if hello.reserved.extended() {
            let metadata = Extension::Metadata;
            let ours = ExtendedHandshake {
                extensions: vec![(metadata.name().to_string(), metadata.our_id())],
                client: Some(self.config.client_version.clone()),
                yourip: Some(hello.addr.ip()).filter(|ip| !is_stand_in(*ip)),
                port: self.config.listen_ports.over(hello.addr.ip()),
                ..ExtendedHandshake::default()
            };
            let payload = ours.encode();
            self.actions.push_back(MetadataAction::SendExtended { peer, id: 0, payload });
        }
    }

    /// The connection ended, whatever the reason.
    pub fn remove_peer(&mut self, now: Duration, key: PeerKey) {
        self.now = now;
        let Some(gone) = self.peers.remove(&key) else { return };
        if let Some(addr) = gone.listens_at {
            let (lasted, jitter) = (now.saturating_sub(gone.joined), self.rng.f64());
            self.candidates.disconnected(now, addr, lasted, false, jitter);
        }
        self.ask();
    }

    /// A message arrived.
    pub fn handle(&mut self, now: Duration, key: PeerKey, message: &Message<'_>) {
        self.now = now;
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.closing) else { return };
        peer.last_received = now;
        peer.said.note(message);
        let Message::Extended { id, payload } = *message else { return };
        if id == 0 {
            if let Ok(theirs) = ExtendedHandshake::decode(payload) {
                self.introduced(key, &theirs);
            }
        } else if Extension::from_our_id(id) == Some(Extension::Metadata) {
            match MetadataMessage::decode(payload) {
                Some(MetadataMessage::Data { piece, total_size, bytes }) => {
                    self.arrived(key, piece, total_size, bytes);
                }
                Some(MetadataMessage::Reject { .. }) => self.give_up(key),
                Some(MetadataMessage::Request { piece }) => {
                    self.say(key, MetadataMessage::Reject { piece });
                }
                None => {}
            }
        }
        self.ask();
    }

    fn introduced(&mut self, key: PeerKey, theirs: &ExtendedHandshake) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.extensions.update(theirs);
        if let Some(size) = theirs.metadata_size {
            peer.size = Some(size).filter(|size| (1..=BYTES_MAX).contains(size));
        }
        if let (Some(port), None) = (theirs.port, peer.listens_at) {
            let addr = SocketAddr::new(peer.hello.addr.ip(), port);
            peer.listens_at = Some(addr);
            self.candidates.add(self.now, Source::Incoming, addr);
            self.candidates.connected(addr);
        }
    }

    fn arrived(&mut self, key: PeerKey, piece: u32, total_size: u32, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(copy) = &mut peer.copy else { return };
        let outcome = copy.add(self.now, piece, total_size, bytes);
        match outcome {
            copy::Outcome::Unasked => {}
            copy::Outcome::More => self.request(key),
            copy::Outcome::Contradicts => self.lied(key),
            copy::Outcome::Whole(info) => {
                if self.config.hashes.verify(&info) {
                    self.found = true;
                    self.actions.push_back(MetadataAction::Found(info));
                } else {
                    self.lied(key);
                }
            }
        }
    }

    /// One that lies once is not asked again, nor anybody else at its address.
    fn lied(&mut self, key: PeerKey) {
        self.failed = self.failed.saturating_add(1);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.copy = None;
            if self.liars.len() < LIARS_MAX {
                self.liars.insert(owner(peer.hello.addr.ip()));
            }
        }
        self.disconnect(key, MetadataFault::SentBadMetadata);
    }

    /// It does not want to, or can't, for now.
    fn give_up(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.copy.take().is_some() {
            let doublings = peer.failures.min(RETRIES_MAX);
            peer.failures = peer.failures.saturating_add(1);
            peer.not_before = self.now + RETRY_FIRST * 2u32.pow(doublings);
        }
    }

    fn disconnect(&mut self, peer: PeerKey, reason: MetadataFault) {
        if let Some(closing) = self.peers.get_mut(&peer).filter(|peer| !peer.closing) {
            closing.closing = true;
            closing.copy = None;
            self.actions.push_back(MetadataAction::Disconnect { peer, reason });
        }
    }

    /// Asks one more peer if nobody is asked, or those that are take long.
    fn ask(&mut self) {
        while !self.found {
            let sizes: Vec<u32> =
                self.peers.values().filter_map(|peer| Some(peer.copy.as_ref()?.size())).collect();
            let crowded = sizes.len() >= COPIES_MAX || self.now < self.impatient_at;
            if !sizes.is_empty() && crowded {
                return;
            }
            let room = if sizes.is_empty() {
                BYTES_MAX
            } else {
                COPIES_BYTES_MAX.saturating_sub(sizes.iter().sum())
            };
            let burdens = self.burdens();
            let ready = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.copy.is_none() && peer.not_before <= self.now);
            let fits = ready.filter_map(|(key, peer)| {
                let (_, size) = peer.offer()?;
                let burden = burdens.get(&owner(peer.hello.addr.ip())).copied().unwrap_or_default();
                let rank = (burden, peer.failures, self.rarity(size));
                (size <= room).then_some((rank, *key, size))
            });
            let Some((_, key, size)) = fits.min() else { return };
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.copy = Some(Copy::new(self.now, size));
            }
            self.impatient_at = self.now + PATIENCE;
            self.request(key);
        }
    }

    /// Peers that say another size than this.
    fn rarity(&self, size: u32) -> usize {
        self.peers.values().filter(|peer| peer.size.is_some_and(|said| said != size)).count()
    }

    /// Asks for the next pieces of a peer's copy.
    fn request(&mut self, key: PeerKey) {
        while let Some(piece) =
            self.peers.get_mut(&key).and_then(|peer| peer.copy.as_mut()).and_then(Copy::next)
        {
            self.say(key, MetadataMessage::Request { piece });
        }
    }

    fn say(&mut self, peer: PeerKey, message: MetadataMessage<'_>) {
        let Some(to) = self.peers.get_mut(&peer) else { return };
        let Some(id) = to.extensions.id_of(Extension::Metadata) else { return };
        to.last_sent = self.now;
        let payload = message.encode();
        self.actions.push_back(MetadataAction::SendExtended { peer, id, payload });
    }

    /// Does what is due by now.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        let crowded = self.is_full();
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.closing) else {
                continue;
            };
            if now.saturating_sub(peer.last_received) >= SILENT {
                self.disconnect(key, MetadataFault::Silent);
            } else if crowded
                && peer.offer().is_none()
                && now.saturating_sub(peer.joined) >= USELESS_AFTER
            {
                self.disconnect(key, MetadataFault::OffersNone);
            } else {
                if now.saturating_sub(peer.last_sent) >= KEEP_ALIVE {
                    peer.last_sent = now;
                    let message = Message::KeepAlive;
                    self.actions.push_back(MetadataAction::Send { peer: key, message });
                }
                let stalled = |copy: &Copy| now.saturating_sub(copy.progressed_at()) >= STALLED;
                if peer.copy.as_ref().is_some_and(stalled) {
                    self.give_up(key);
                }
            }
        }
        self.ask();
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<MetadataAction> {
        self.actions.pop_front()
    }

    /// How far it is.
    pub fn stats(&self) -> MetadataStats {
        let furthest = self.peers.values().filter_map(|peer| peer.copy.as_ref());
        let furthest = furthest.max_by_key(|copy| copy.received());
        MetadataStats {
            peers: self.peers.len() as u32,
            offering: self.peers.values().filter(|peer| peer.offer().is_some()).count() as u32,
            peers_known: self.candidates.len(),
            filtered: self.candidates.filtered(),
            half_open: self.candidates.dialling(),
            failed: self.failed,
            received: furthest.map_or(0, Copy::received),
            size: furthest.map(Copy::size),
        }
    }
}

#[cfg(test)]
mod tests;
