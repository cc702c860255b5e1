//! One torrent's brain (BEP 3, 6, 10, 11, 21, 40, 52, 54, 55): peers, picker, request windows, end game,
//! choker, blame and candidates. Pure: no bytes of payload, no socket, no clock pass through it.
//!
//! A driver tells it what happened and carries out what it decides:
//!
//! ```text
//! swarm.handle(now, peer, &message)?;          // or block_head, block, piece_written, tick …
//! while let Some(action) = swarm.poll_action() {
//!     // send, verify a piece, close a connection …
//! }
//! sleep until swarm.next_timeout(), then swarm.tick(now)
//! ```
//!
//! Whatever one read from a socket brought is handled before the first `poll_action`, so requests
//! go out in batches. The files follow the nouns: [`picker`](Swarm) which piece, `wishes` and `levels`
//! which come first, `urgent` what readers wait for, `pieces` which block, `window` how many, `requests`
//! puts them together, `endgame` ends it, `choker` whom to serve, `blame` whom to ban, `candidates` whom
//! to dial, `race` by what, `ledger` what the peers' time goes to, `rest` what stays of it all when nobody is there.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod api;
mod blame;
mod candidates;
mod choker;
#[cfg(test)]
mod costs;
mod crowd;
mod endgame;
mod external;
mod hashes;
mod holepunch;
mod ip_filter;
mod ledger;
mod levels;
mod messages;
mod metadata;
mod own_ports;
mod peer;
mod peers;
mod pex;
mod picker;
mod pieces;
mod race;
mod rate;
mod reach;
mod requests;
mod rest;
mod seeding;
mod stand_in;
mod stats;
mod steps;
mod superseed;
mod throttle;
mod timers;
mod uploads;
mod urgent;
mod verdicts;
mod web_seeds;
mod window;
mod wishes;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metainfo::{Geometry, InfoHash, PieceIndex};
use wire::{Bitfield, Extension, Message, PeerId};

pub use api::{
    Action, BlockFate, BlockOutcome, Config, Fault, Hello, PeerKey, Refusal, Settings, Source,
    Without,
};
use blame::Blame;
use candidates::Candidates;
pub use candidates::{Reached, Way};
use choker::Choker;
pub use external::{ExternalVotes, Voter};
use hashes::Hashes;
pub use hashes::{Tree, Upper, UpperWork};
pub use ip_filter::{BadLine, IpFilter, IpFilterBuilder, LINE_BYTES_MAX, ListError, ListReport};
use ledger::Ledger;
pub use ledger::{Spending, Spent};
use levels::Levels;
pub use metadata::{
    Acquainted, Metadata, MetadataAction, MetadataConfig, MetadataFault, MetadataStats,
};
pub use own_ports::OwnPorts;
use peers::Peers;
use pieces::Pieces;
pub use race::{AFTER_REFUSAL, HEAD_START, Leg, Race, Transports};
pub use reach::{OpenTo, Reach};
pub use rest::Resting;
use seeding::Seeding;
pub use seeding::{SeedLimit, SeedLimits, Seeded};
pub use stand_in::{is_named_peer, is_stand_in, named_peer_ip, web_seed_ip};
use stats::Totals;
pub use stats::{PeerStats, Stats};
use superseed::SuperSeed;
use throttle::Throttle;
pub use urgent::ReaderId;
use urgent::Urgent;
pub use wishes::{Rank, Wishes};

/// The brain of one torrent.
pub struct Swarm {
    geometry: Geometry,
    info_hash: InfoHash,
    own_peer_id: PeerId,
    metadata_size: Option<u32>,
    listen_ports: OwnPorts,
    client_version: String,
    settings: Settings,
    rng: fastrand::Rng,
    now: Duration,
    have: Bitfield,
    wanted: Option<Bitfield>,
    /// Wanted pieces that are not there.
    missing: u32,
    picker: Levels,
    pieces: Pieces,
    urgent: Urgent,
    super_seed: SuperSeed,
    seeding: Seeding,
    peers: Peers,
    blame: Blame,
    candidates: Candidates,
    choker: Choker,
    totals: Totals,
    ledger: Ledger,
    reserve_limit: u32,
    throttle: Throttle,
    paused: bool,
    actions: VecDeque<Action>,
    /// Peers with room in their window.
    refill: Vec<PeerKey>,
    /// All of them are to be looked at.
    refill_all: bool,
    /// Peers that may be asked and found nothing to ask for.
    waiting: Vec<PeerKey>,
    /// When to look at each peer next: at its time-outs or, as most of them only move on, before.
    checks: BTreeSet<(Duration, PeerKey)>,
    /// When peers are told of peers next, if there is anything to tell.
    exchange_at: Option<Duration>,
    /// Whom to dial for having been brought together.
    punches: VecDeque<SocketAddr>,
    /// Only of v2 torrents and hybrids.
    hashes: Option<Box<Hashes>>,
}

impl Swarm {
    /// A swarm without peers.
    pub fn new(now: Duration, config: Config) -> Self {
        let count = config.geometry.piece_count();
        let wants = |piece: &PieceIndex| {
            !config.have.has(*piece) && config.wanted.as_ref().is_none_or(|set| set.has(*piece))
        };
        let missing: Vec<PieceIndex> = (0..count).filter(wants).collect();
        let mut swarm = Self {
            geometry: config.geometry.clone(),
            info_hash: config.info_hash,
            own_peer_id: config.own_peer_id,
            metadata_size: config.metadata_size,
            listen_ports: (config.settings.listen_ports)
                .unwrap_or_else(|| config.listen_port.unwrap_or_default().into()),
            client_version: config.client_version,
            settings: config.settings,
            rng: fastrand::Rng::with_seed(config.seed),
            now,
            missing: missing.len() as u32,
            picker: Levels::new(count, missing.into_iter()),
            pieces: Pieces::new(config.geometry.clone(), config.pad_blocks),
            urgent: Urgent::default(),
            super_seed: SuperSeed::default(),
            seeding: Seeding::default(),
            peers: Peers::default(),
            blame: Blame::default(),
            candidates: Candidates::new(),
            choker: Choker::new(now),
            totals: Totals::new(now, &config.have, &config.geometry),
            ledger: Ledger::new(now),
            reserve_limit: u32::MAX,
            throttle: Throttle::default(),
            paused: false,
            actions: VecDeque::new(),
            refill: Vec::new(),
            refill_all: false,
            waiting: Vec::new(),
            checks: BTreeSet::new(),
            exchange_at: None,
            punches: VecDeque::new(),
            hashes: None,
            have: config.have,
            wanted: config.wanted,
        };
        swarm.account_alone();
        swarm
    }

    /// The pieces that are verified and written.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Sizes of pieces and blocks.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether every wanted piece is there.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The next thing to do; `None` when there is nothing until the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        loop {
            if self.actions.is_empty() {
                self.refill_windows();
                self.ask_for_hashes();
            }
            let action = self.actions.pop_front()?;
            // A peer that left since takes what was meant for it along.
            if action.peer().is_none_or(|peer| self.peers.get(peer).is_some()) {
                return Some(action);
            }
        }
    }

    /// How many blocks this torrent may hold: of open pieces and those being verified. One open
    /// piece is always allowed.
    pub fn set_reserve_limit(&mut self, now: Duration, blocks: u32) {
        self.now = now;
        let grew = blocks > self.reserve_limit;
        self.reserve_limit = blocks;
        if grew {
            self.refill_everybody();
        }
    }

    /// Blocks of all open pieces and those being verified.
    pub fn reserved_blocks(&self) -> u32 {
        self.pieces.reserved_blocks()
    }

    /// Stops asking for blocks (a full disk, a torrent that only seeds) and being interested, or
    /// goes on. Peers are served either way.
    pub fn set_paused(&mut self, now: Duration, paused: bool) {
        self.now = now;
        self.paused = paused;
        for peer in self.peers.keys() {
            self.changed_interest(peer);
        }
        self.account_alone();
        self.refill_everybody();
    }

    /// Addresses that may be peers.
    pub fn add_candidates(&mut self, now: Duration, source: Source, addrs: &[SocketAddr]) {
        self.now = now;
        for addr in addrs {
            self.candidates.add(now, source, *addr);
        }
        self.account_alone();
    }

    /// The best address to dial now. It counts as half open until [`Self::add_peer`] or
    /// [`Self::dial_failed`] is called with it.
    pub fn next_dial(&mut self, now: Duration) -> Option<SocketAddr> {
        self.now = now;
        if !self.may_dial() {
            return None;
        }
        if self.peers.places() >= self.settings.peers_max {
            let crowds = self.peers.crowds();
            self.candidates.put_off(now, |ip| !crowds.makes_room_for(ip));
        }
        let (blame, complete) = (&self.blame, self.is_complete());
        let addr = self.candidates.next(now, complete, |addr| blame.is_banned(addr.ip()))?;
        if self.candidates.needs_introduction(addr) {
            self.ask_for_introduction(addr);
        }
        Some(addr)
    }

    /// Whether there is room for one more, or a crowd makes some.
    pub(crate) fn may_dial(&self) -> bool {
        let under_way = self.peers.places() + self.candidates.dialling() as usize;
        under_way < self.settings.peers_max + self.peers.crowds().surplus()
    }

    /// When the next address may be dialled.
    fn next_dial_at(&self) -> Option<Duration> {
        let refused = |addr: SocketAddr| self.blame.is_banned(addr.ip());
        self.candidates.next_at(self.is_complete(), refused).filter(|_| self.may_dial())
    }

    /// The address was reached, and its owner shook hands.
    pub fn opened(&mut self, addr: SocketAddr, reached: Reached) {
        self.candidates.opened(addr, reached);
    }

    /// From how far others come to us by TCP, as far as is known. Unless it is from everywhere, who can
    /// bring us together with others (BEP 55) is dialled by uTP first.
    pub fn set_open_to(&mut self, open_to: impl Into<OpenTo>) {
        let open_to = if self.punches() { open_to.into() } else { Reach::World.into() };
        self.candidates.set_open_to(open_to);
    }

    /// How to dial the address: a [`Race`] between its transports.
    pub fn way_to(&self, addr: SocketAddr) -> Way {
        self.candidates.way_to(addr)
    }

    /// The address did not become a peer.
    pub fn dial_failed(&mut self, now: Duration, addr: SocketAddr) {
        self.now = now;
        let jitter = self.rng.f64();
        self.candidates.unreached(now, addr, jitter);
        self.ask_for_introduction(addr);
        self.account_alone();
    }

    /// The same of an address that took a TCP connection, and said nothing before it closed that or
    /// we gave up: it is dialled by uTP next, once.
    pub fn dial_hung_up(&mut self, now: Duration, addr: SocketAddr) {
        self.now = now;
        let jitter = self.rng.f64();
        self.candidates.hung_up(now, addr, jitter);
        self.account_alone();
    }

    /// Has nothing to do any more with whom `filter` has: peers are sent away, addresses forgotten.
    pub fn set_ip_filter(&mut self, now: Duration, filter: Arc<IpFilter>) {
        self.now = now;
        self.candidates.set_filter(filter);
        for key in self.peers.keys() {
            // A web seed's address is none.
            let refused =
                |peer: &peer::Peer| !peer.web_seed && self.candidates.refuses(peer.hello.addr.ip());
            if self.peers.get(key).is_some_and(refused) {
                self.disconnect(key, Fault::Filtered);
            }
        }
        self.account_alone();
    }

    /// Another tracker serves a private torrent from now on: who came by the one before is sent away,
    /// whoever a person named apart, and forgotten (BEP 27).
    pub fn tracker_changed(&mut self, now: Duration) {
        self.now = now;
        for key in self.peers.keys() {
            self.disconnect(key, Fault::TrackerChanged);
        }
        self.candidates.forget_heard();
        self.account_alone();
    }

    /// The network was away and is back: every address may be dialled again, and none has failed.
    pub fn dial_again(&mut self, now: Duration) {
        self.now = now;
        self.candidates.forgive(now);
        self.account_alone();
    }

    /// Our address as others see it, one of each family: orders candidates canonically (BEP 40), and is
    /// not dialled.
    pub fn set_external_ip(&mut self, ip: IpAddr) {
        let port = self.listen_ports.over(ip).unwrap_or_default();
        self.candidates.set_external(SocketAddr::new(ip, port));
    }

    /// Each peer is told the port of its family from now on (BEP 10 `p`).
    pub fn set_listen_ports(&mut self, ports: OwnPorts) {
        let before = std::mem::replace(&mut self.listen_ports, ports);
        self.candidates.set_external_ports(ports);
        self.introduce_again(|to| before.over(to) != ports.over(to));
    }

    /// Peers are told of our DHT node at these ports from now on (BEP 5); `None`: of none.
    pub fn set_dht_ports(&mut self, ports: Option<OwnPorts>) {
        let before = std::mem::replace(&mut self.settings.dht_ports, ports);
        let nodes = self.peers.iter().filter(|peer| peer.hello.reserved.dht());
        let news = nodes.filter_map(|peer| {
            let ip = peer.hello.addr.ip();
            let old = before.and_then(|ports| ports.over(ip));
            let port = ports?.over(ip).filter(|port| old != Some(*port))?;
            Some((peer.key, port))
        });
        let news: Vec<(PeerKey, u16)> = news.collect();
        news.into_iter().for_each(|(peer, port)| self.send(peer, Message::Port(port)));
    }

    /// Whether a piece is wanted and not there.
    pub fn is_missing(&self, piece: PieceIndex) -> bool {
        piece < self.geometry.piece_count()
            && !self.have.has(piece)
            && self.wanted.as_ref().is_none_or(|wanted| wanted.has(piece))
    }

    fn send(&mut self, peer: PeerKey, message: Message<'static>) {
        let now = self.now;
        if let Some(to) = self.peers.get_mut(peer).filter(|peer| !peer.closing) {
            if to.web_seed && !web_seeds::is_for_web_seeds(&message) {
                return;
            }
            to.last_sent = now;
            self.actions.push_back(Action::Send { peer, message });
        }
    }

    fn send_extended(&mut self, peer: PeerKey, extension: Extension, payload: Vec<u8>) {
        let now = self.now;
        let Some(to) = self.peers.get_mut(peer).filter(|peer| !peer.closing) else { return };
        if let Some(id) = to.extensions.id_of(extension) {
            to.last_sent = now;
            self.actions.push_back(Action::SendExtended { peer, id, payload });
        }
    }

    fn disconnect(&mut self, peer: PeerKey, reason: Fault) {
        if self.peers.close(peer) {
            self.actions.push_back(Action::Disconnect { peer, reason });
        }
    }
}
