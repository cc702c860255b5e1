//! One running torrent on its shard: carries the swarm's decisions out.
//!
//! The brain (`swarm`) never sees a byte and this file never makes a choice. Everything here runs
//! on the shard's one thread, so the state sits in a `RefCell` that is never held across an await.

mod account;
mod dial;
mod ending;
mod handover;
mod judging;
mod limits;
mod metadata;
mod network;
mod pieces;
mod proving;
pub(crate) mod readers;
mod rest;
mod seeding;
mod sink;
mod turns;
mod uploads;
mod web_seeds;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use metainfo::PieceIndex;
use storage::{Block, Unproved};
use swarm::{Action, Hello, PeerKey, Source, Swarm, Voter, Wishes};
use tokio::sync::oneshot;
use wire::{BlockRequest, Limits, Message};

use crate::events::Event;
use crate::handle::TorrentShared;
use crate::panics::{self, Panicked};
use crate::peer::{Connection, Line, ReceiveError, Receiver};
use crate::shard::ShardContext;
use crate::shard::timers::Turn;
use crate::stats::TorrentState;
pub(crate) use account::{Mishaps, Tally};
use rest::Rest;
pub(crate) use rest::prepare;
use sink::PeerSink;

/// Body bytes of the largest extended message taken: ours are small, but a peer may offer many.
const EXTENDED_BYTES_MAX: u32 = 128 * 1024;

/// Body bytes of the largest block taken. We ask for 16 KiB and get no more than we ask for.
const BLOCK_BYTES_MAX: u32 = metainfo::BLOCK_LENGTH;

pub(crate) use judging::{Judgement, Unjudged};

/// A torrent that passed its check and is downloading or seeding.
pub(crate) struct Torrent {
    me: Weak<Self>,
    pub(crate) shared: Arc<TorrentShared>,
    context: Rc<ShardContext>,
    rest: RefCell<Rest>,
    turn: Turn,
    stopped: Cell<bool>,
    /// The state is being changed: a panic now leaves it in pieces.
    changing: Cell<bool>,
    /// It did, and nobody looks at the state any more.
    failed: Cell<bool>,
    /// What was there before anybody could judge it.
    unjudged: RefCell<Option<Box<Unjudged>>>,
    /// Pieces that are being hashed and written.
    in_pool: Cell<u32>,
    /// Dropped when a stopped torrent has heard of all of them.
    drained: RefCell<Option<oneshot::Sender<()>>>,
}

struct State {
    swarm: Swarm,
    peers: HashMap<PeerKey, Rc<Connection>>,
    /// Blocks of open pieces; `None` is missing, or zeros where a pad file lies.
    pieces: HashMap<PieceIndex, Vec<Option<Block>>>,
    /// Blocks to be compared with their leaves, of this turn.
    unproved: Vec<Unproved>,
    /// Verified pieces that the disk refused, to be tried again.
    unwritten: Vec<(PieceIndex, Vec<Option<Block>>)>,
    retry_at: Option<Duration>,
    /// Who waits for bytes.
    readers: readers::Readers,
    /// Connections with something new in their queue.
    dirty: Vec<Rc<Connection>>,
    /// What a peer was about to be sent, when last looked at: memory for the next look.
    asked: Vec<BlockRequest>,
    /// Blocks charged to the session's budget.
    charged: u32,
    limit: u32,
    published_at: Duration,
    /// Something happened since.
    unpublished: bool,
    sought_at: Duration,
    storage_error: Option<String>,
    /// The torrent contradicts itself: no write that succeeds makes up for that.
    contradicts: bool,
    /// Peers whose requests the upload limit holds back, in the order in which they came to nothing.
    held: Vec<PeerKey>,
    /// Whether the brain has been told of a limit.
    limited: bool,
    /// When a limit has room again.
    room_at: Option<Duration>,
    /// What the last read for a peer failed with.
    read_error: Option<String>,
    /// What went wrong with its peers.
    mishaps: Mishaps,
    web: web_seeds::WebSeeds,
}

impl Torrent {
    pub(crate) fn new(
        context: Rc<ShardContext>,
        shared: Arc<TorrentShared>,
        swarm: Swarm,
    ) -> Rc<Self> {
        let now = context.clock.now();
        let state = State::new(swarm, web_seeds::WebSeeds::new(&shared), now);
        Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            shared,
            context,
            rest: RefCell::new(Rest::awake(state)),
            turn: Turn::default(),
            stopped: Cell::new(false),
            changing: Cell::new(false),
            failed: Cell::new(false),
            unjudged: RefCell::default(),
            in_pool: Cell::new(0),
            drained: RefCell::default(),
        })
    }

    /// The first that its brain and its owner hear.
    pub(crate) fn begin(&self, early: Vec<(Source, SocketAddr)>) {
        self.change(|state, now| {
            if self.shared.seed_only {
                state.swarm.set_paused(now, true);
            }
            state.swarm.set_seeded_before(self.shared.seeded_before());
            let limits = self.shared.seeding.limits();
            state.swarm.set_seed_limits(now, limits, self.shared.seed_only);
            for (source, addr) in early {
                state.swarm.add_candidates(now, source, &[addr]);
            }
            let network = &self.context.session.network;
            state.web.join(&mut state.swarm, now, &self.shared, network);
        });
        // After all of it, so that a seed has nothing left to tell and rests at once.
        self.publish(&mut self.state(), self.context.clock.now());
    }

    /// Changes the state and carries out what the brain decides.
    fn change<T>(&self, call: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.context.clock.now();
        let rested = self.is_resting();
        let mut state = self.state();
        self.changing.set(true);
        let result = call(&mut state, now);
        self.settle(&mut state, now);
        self.changing.set(false);
        drop(state);
        if rested {
            self.queue_or_rest(now); // it had no turn
        }
        result
    }

    /// The same, for who needs nothing but the brain.
    pub(crate) fn with_swarm(&self, call: impl FnOnce(&mut Swarm, Duration)) {
        if !self.failed.get() {
            self.change(|state, now| call(&mut state.swarm, now));
        }
    }

    /// Wants other pieces from now on, or in another order.
    pub(crate) fn set_wishes(&self, wishes: &Wishes) {
        if self.stopped.get() {
            return;
        }
        self.change(|state, now| {
            state.swarm.set_wishes(now, wishes);
            state.unpublished = true;
        });
        self.change(|state, now| self.publish(state, now));
        self.wake();
    }

    /// Does something about the torrent that may panic, which is the end of it.
    pub(crate) fn guarded(&self, call: impl FnOnce()) {
        if let Err(panicked) = self.context.session.panics.catch(self.whom(), call) {
            self.fail(&panicked);
        }
    }

    /// The same for what one peer's task does: the peer's own bytes cost only the peer, unless the
    /// torrent's state was being changed.
    async fn guarded_peer<T>(
        &self,
        addr: SocketAddr,
        task: impl Future<Output = T>,
    ) -> Result<T, Panicked> {
        let whom = format!("peer {addr} of {}", self.whom());
        let done = self.context.session.panics.catch_async(whom, task).await;
        if let Err(panicked) = &done
            && self.changing.get()
        {
            self.fail(panicked);
        }
        done
    }

    fn whom(&self) -> impl Display {
        panics::torrent(self.shared.info_hash())
    }

    /// Lets a peer that shook hands in, and serves it until the connection ends.
    pub(crate) async fn serve(&self, hello: Hello, line: Line) {
        let addr = hello.addr;
        match self.join(line, |swarm, now| swarm.add_peer(now, hello)) {
            Ok(joined) => self.attend(addr, joined).await,
            Err(refusal) => tracing::debug!(%addr, %refusal, "peer refused"),
        }
    }

    /// Serves a peer that is in until the connection ends.
    async fn attend(&self, addr: SocketAddr, (connection, limits): (Rc<Connection>, Limits)) {
        self.context
            .session
            .events
            .send(Event::PeerConnected { info_hash: self.shared.info_hash(), addr });
        self.wake(); // the timers have a peer more to look after
        let ended = self.guarded_peer(addr, connection.run(self, limits)).await;
        let reason = ended.unwrap_or_else(|panicked| panicked.to_string());
        self.leave(connection.key, addr, &reason);
        tracing::debug!(%addr, %reason, "peer left");
        self.context.session.events.send(Event::PeerDisconnected {
            info_hash: self.shared.info_hash(),
            addr,
            reason,
        });
    }

    /// Lets a peer in as the brain does.
    fn join(
        &self,
        line: Line,
        add: impl FnOnce(&mut Swarm, Duration) -> Result<PeerKey, swarm::Refusal>,
    ) -> Result<(Rc<Connection>, Limits), swarm::Refusal> {
        if self.stopped.get() {
            return Err(swarm::Refusal::Full); // its torrent was stopped during the handshake
        }
        self.change(|state, now| {
            let key = add(&mut state.swarm, now)?;
            if line.is_utp() {
                state.swarm.came_by_utp(key);
            }
            let connection = Rc::new(Connection::new(key, line));
            state.peers.insert(key, Rc::clone(&connection));
            let limits = Limits {
                bitfield_bytes: state.swarm.have().len().div_ceil(8),
                block_bytes: BLOCK_BYTES_MAX,
                extended_bytes: EXTENDED_BYTES_MAX,
            };
            Ok((connection, limits))
        })
    }

    fn leave(&self, key: PeerKey, addr: SocketAddr, reason: &str) {
        if self.stopped.get() {
            return; // it let go of all
        }
        let peer = self.context.session.network.peer_name(addr);
        self.change(|state, now| {
            state.mishaps.left(&peer, reason);
            if state.peers.remove(&key).is_some() {
                state.swarm.remove_peer(now, key);
            }
        });
        self.wake();
    }

    /// One read from a peer's socket, and everything that follows from it.
    pub(crate) fn receive(
        &self,
        connection: &Connection,
        receiver: &mut Receiver,
    ) -> Result<(), ReceiveError> {
        if self.stopped.get() {
            return Err(ReceiveError::Closed); // its task hears of it next
        }
        self.change(|state, now| {
            let mut landing = self.context.landing.borrow_mut();
            let mut sink = PeerSink { torrent: self, state, connection, now };
            // Until the sink is called it is all about the peer's bytes.
            self.changing.set(false);
            #[cfg(test)]
            self.shared.spot(crate::panics::Spot::Bytes);
            let got = receiver.read(&mut landing, &mut sink, |slices| connection.try_read(slices));
            self.changing.set(true);
            got.map(drop)
        })
    }

    /// The socket takes bytes again.
    pub(crate) fn writable(&self, connection: &Rc<Connection>) {
        if !self.stopped.get() {
            self.change(|state, _| touch(state, connection.key, |_| {}));
        }
    }

    /// Carries out what the brain decided, then writes each touched socket once.
    fn settle(&self, state: &mut State, now: Duration) {
        if self.stopped.get() {
            while state.swarm.poll_action().is_some() {} // nobody is left to act for
            return;
        }
        loop {
            self.settle_budget(state, now);
            self.settle_limit(state, now);
            while let Some(action) = state.swarm.poll_action() {
                self.act(state, now, action);
            }
            self.prove_gathered(state);
            if state.dirty.is_empty() {
                break;
            }
            while let Some(connection) = state.dirty.pop() {
                connection.set_touched(false);
                loop {
                    let sent = connection.flush(now);
                    if sent > 0 {
                        state.swarm.uploaded(now, connection.key, sent);
                    }
                    if !self.start_uploads(state, now, &connection) {
                        break;
                    }
                }
            }
        }
        self.serve_web_seeds(state);
        state.unpublished = true;
        self.publish_if_due(state, now);
    }

    fn settle_budget(&self, state: &mut State, now: Duration) {
        let budget = &self.context.session.budget;
        let reserved = state.swarm.reserved_blocks();
        if reserved != state.charged {
            budget.moved(state.charged, reserved);
            state.charged = reserved;
        }
        let limit = if self.disk_is_behind(state) { reserved } else { budget.limit_for(reserved) };
        if limit != state.limit {
            state.limit = limit;
            state.swarm.set_reserve_limit(now, limit);
        }
    }

    fn act(&self, state: &mut State, now: Duration, action: Action) {
        match action {
            Action::Send { peer, message } if state.web.told(peer, &message) => {}
            Action::Send { peer, message } => {
                touch(state, peer, |connection| connection.push(&message));
            }
            Action::SendBitfield { peer } => {
                let bits = state.swarm.have().to_wire();
                touch(state, peer, |connection| connection.push(&Message::Bitfield(&bits)));
            }
            Action::SendExtended { peer, id, payload } => {
                let message = Message::Extended { id, payload: &payload };
                touch(state, peer, |connection| connection.push(&message));
            }
            Action::SendMetadata { peer, id, piece } => {
                touch(state, peer, |connection| self.send_metadata(connection, id, piece));
            }
            Action::UploadReady { peer } => touch(state, peer, |_| {}),
            Action::Verify { piece } => self.verify(state, piece),
            Action::Prove { block, leaf, length, opened } => {
                Self::prove(state, block, leaf, length, opened);
            }
            Action::HashLeaves { piece } => self.hash_leaves(state, now, piece),
            Action::HashUpper { tree, work } => self.hash_upper(tree, work),
            Action::SendHashes { peer, request } => Self::send_hashes(state, peer, request),
            Action::Judge { pieces } => self.judge(pieces),
            Action::LayerKnown { root, layer } => self.layer_known(state, root, &layer),
            Action::Contradiction { piece } => {
                let message = format!(
                    "piece {piece} fits its v2 hash and not its v1 hash: the torrent contradicts itself; get a sound .torrent"
                );
                tracing::error!(torrent = %self.shared.info_hash(), "{message}");
                state.swarm.set_paused(now, true);
                state.contradicts = true;
                state.storage_error = Some(message);
            }
            Action::Abandon { piece } => drop(state.pieces.remove(&piece)),
            Action::Disconnect { peer, reason } => {
                if let Some(connection) = state.peers.remove(&peer) {
                    connection.flush(now);
                    connection.close(reason.to_string());
                    state.swarm.remove_peer(now, peer);
                } else if state.web.leave(peer) {
                    state.swarm.remove_peer(now, peer);
                }
            }
            Action::Banned { addr } => {
                if let Some(number) = state.web.number_of(addr) {
                    let failure = webseed::Failure::SentBadData;
                    return self.web_seed_failed(state, now, number, failure);
                }
                let host = self.context.session.network.host_name(addr);
                tracing::warn!(%host, torrent = %self.shared.info_hash(), "peer banned: it sent bad data");
                state.mishaps.banned(host);
                let info_hash = self.shared.info_hash();
                self.context.session.events.send(Event::PeerBanned { info_hash, addr });
            }
            Action::Impossible { piece } => {
                let message = format!(
                    "piece {piece} is all padding and its hash is wrong; get a sound .torrent"
                );
                tracing::error!(torrent = %self.shared.info_hash(), "{message}");
                state.storage_error = Some(message);
            }
            Action::DhtNode { addr } => {
                if let Some(dht) = self.context.session.dht_for(&self.shared) {
                    dht.candidate(addr);
                }
            }
            Action::Dial => self.wake(),
            Action::SeenAt { peer, ip } => {
                self.context.session.seen_at(Voter::Peer(peer), ip);
            }
            Action::Complete => self.completed(state, now),
            Action::SeededEnough { limit } => self.seeded_enough(limit),
            // A kind of action that this driver does not know yet asks for nothing.
            _ => {}
        }
    }

    fn publish(&self, state: &mut State, now: Duration) {
        state.published_at = now;
        state.unpublished = false;
        let status = match &state.storage_error {
            Some(reason) => TorrentState::Paused { reason: reason.clone() },
            None if state.swarm.is_complete() => TorrentState::Seeding,
            None => TorrentState::Downloading,
        };
        if let Some(record) = self.shared.record.get() {
            record.runs(state.swarm.is_complete() || self.shared.seed_only);
        }
        let stats = state.swarm.stats(now);
        let (web, peers): (Vec<_>, Vec<_>) =
            state.swarm.peers(now).into_iter().partition(|peer| peer.web_seed);
        let rate_of = |ip| {
            let same = web.iter().find(|peer| peer.addr.ip() == ip);
            same.map_or(0, |peer| peer.download_rate)
        };
        self.shared.publish_web_seeds(state.web.statuses(now, rate_of));
        self.shared.publish(status, &stats, state.swarm.have(), peers);
    }
}

/// Adds to a peer's queue and remembers to write it.
fn touch(state: &mut State, peer: PeerKey, add: impl FnOnce(&Connection)) {
    if let Some(connection) = state.peers.get(&peer) {
        add(connection);
        if !connection.set_touched(true) {
            state.dirty.push(Rc::clone(connection));
        }
    }
}

#[cfg(test)]
mod tests;
