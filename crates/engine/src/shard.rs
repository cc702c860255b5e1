//! A shard: one thread, one tokio current-thread runtime, and the torrents that live on it.
//!
//! One task does what messages and the clock ask for, for all of its torrents; peers have one each.
//! A torrent and all its peers stay on one shard, so their state needs no lock. Everything from
//! other threads (the accept loop, the disk pool, handles, announcers) arrives as a
//! [`ShardMessage`].

pub(crate) mod timers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use metainfo::merkle::MerkleHash;
use metainfo::{InfoHash, PieceIndex};
use storage::{Arena, PieceOutcome, Pools, ReadBuffer, StorageError, Unproved};
use swarm::{IpFilter, OwnPorts, PeerKey, ReaderId, SeedLimits, Source, Swarm, Wishes};
use tokio::sync::{mpsc, oneshot};
use wire::Bitfield;

use crate::accept::Stranger;
use crate::clock::Clock;
use crate::explain::Account;
use crate::handle::{TorrentError, TorrentShared};
use crate::magnet::{Handed, Handover};
use crate::panics;
use crate::peer::handshake::ROUTING_BYTES;
use crate::peer::{Landing, Line};
use crate::session::SessionShared;
use crate::stats::TorrentState;
use crate::stream::Detached;
use crate::torrent::readers::Reply;
use crate::torrent::{self, Judgement, Torrent, Unjudged};
use timers::Timers;

/// Messages handled, and torrents given a turn, before peers have theirs.
const AT_ONCE: usize = 64;

/// What other threads tell a shard.
pub(crate) enum ShardMessage {
    /// A torrent passed its check: run it.
    Start {
        shared: Arc<TorrentShared>,
        swarm: Box<swarm::Config>,
        wishes: Option<Wishes>,
        unjudged: Option<Box<Unjudged>>,
        /// Connections that it begins with.
        handover: Option<Arc<Handover>>,
    },
    /// A peer came in and named this torrent.
    Incoming {
        info_hash: InfoHash,
        line: Line<Detached>,
        addr: SocketAddr,
        first: [u8; ROUTING_BYTES],
        stranger: Stranger,
    },
    /// A peer shook hands with the search that found this torrent, and late.
    HandedOver { info_hash: InfoHash, handed: Box<Handed> },
    /// Addresses to try.
    Candidates { info_hash: InfoHash, source: Source, addrs: Vec<SocketAddr> },
    /// The user's IP filter is another one now.
    IpFilter(Arc<IpFilter>),
    /// Peers are to be told these ports.
    OwnPorts { info_hash: InfoHash, ports: OwnPorts, dht: Option<OwnPorts> },
    /// A tracker told us our address.
    ExternalIp { info_hash: InfoHash, ip: IpAddr },
    /// A torrent's owner wants other files, or in another order; `done` hears when the brain knows.
    Wishes { info_hash: InfoHash, wishes: Wishes, done: oneshot::Sender<()> },
    /// The hash and disk pool is done with a piece.
    Piece { info_hash: InfoHash, piece: PieceIndex, outcome: PieceOutcome },
    /// The pool compared blocks with their leaves.
    Proved { info_hash: InfoHash, blocks: Vec<Unproved> },
    /// The disk pool hashed a piece block by block, or could not.
    Leaves { info_hash: InfoHash, piece: PieceIndex, result: Result<Vec<MerkleHash>, StorageError> },
    /// What is above a file's piece layer was made, or could not be.
    Upper { info_hash: InfoHash, tree: u32, upper: Option<swarm::Upper> },
    /// Pieces that were there before their layer were compared with it.
    Judged { info_hash: InfoHash, pieces: Bitfield, report: Box<Judgement> },
    /// The disk pool read a run for a peer, or could not.
    Read { info_hash: InfoHash, peer: PeerKey, run: u64, result: Result<ReadBuffer, StorageError> },
    /// A reader is there, and waits; dropped unanswered when the torrent does not run.
    Reader { info_hash: InfoHash, reader: ReaderId, at: u64, end: u64, reply: Reply },
    /// A reader was dropped.
    ReaderGone { info_hash: InfoHash, reader: ReaderId },
    /// Another tracker serves a private torrent.
    TrackerChanged { info_hash: InfoHash },
    /// What the session is bound to is gone, for this reason.
    NetworkLost { message: String },
    /// It is back.
    NetworkBack,
    /// When its seeding ends.
    SeedLimits { info_hash: InfoHash, limits: SeedLimits },
    /// Super-seed it to who comes, or not.
    SuperSeed { info_hash: InfoHash, on: bool },
    /// Tell what a torrent's time went to; dropped unanswered when it does not run.
    Explain { info_hash: InfoHash, reply: oneshot::Sender<Account> },
    /// Stop one torrent; `done` is dropped when its peers are gone and its last piece is written.
    Stop { info_hash: InfoHash, done: oneshot::Sender<()> },
}

/// What everything on a shard shares.
pub(crate) struct ShardContext {
    pub(crate) session: Arc<SessionShared>,
    pub(crate) clock: Clock,
    pub(crate) arena: Arena,
    pub(crate) pools: Pools,
    pub(crate) sender: mpsc::UnboundedSender<ShardMessage>,
    pub(crate) timers: Timers,
    /// The receive memory of all connections: used only within one read.
    pub(crate) landing: RefCell<Landing>,
}

/// The other threads' end of a shard.
#[derive(Clone)]
pub(crate) struct ShardSender(mpsc::UnboundedSender<ShardMessage>);

impl ShardSender {
    /// Queues a message. The queue needs no bound of its own: inbound peers have a place
    /// among strangers, pool results a budget block or an upload's room, and the rest comes from the user.
    pub(crate) fn send(&self, message: ShardMessage) {
        // The shard is gone only while the session shuts down: then nothing is left to do.
        let _ = self.0.send(message);
    }
}

/// Starts a shard's thread. It ends when the last sender outside is dropped and its torrents were
/// stopped.
pub(crate) fn start(
    index: usize,
    session: Arc<SessionShared>,
    arena: Arena,
    pools: Pools,
) -> std::io::Result<ShardSender> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let ours = sender.clone();
    session.on_shutdown(stop);
    thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let shard = Shard::new(session, arena, pools, ours);
            tokio::select! {
                () = shard.run(receiver) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(ShardSender(sender))
}

struct Shard {
    context: Rc<ShardContext>,
    torrents: HashMap<InfoHash, Rc<Torrent>>,
}

impl Shard {
    /// `sender` leads to it.
    fn new(
        session: Arc<SessionShared>,
        arena: Arena,
        pools: Pools,
        sender: mpsc::UnboundedSender<ShardMessage>,
    ) -> Self {
        let (clock, landing) = (session.clock, RefCell::new(Landing::new()));
        let timers = Timers::new(clock);
        let context = ShardContext { session, clock, arena, pools, sender, timers, landing };
        Self { context: Rc::new(context), torrents: HashMap::new() }
    }

    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<ShardMessage>) {
        let context = Rc::clone(&self.context);
        let mut messages = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                count = receiver.recv_many(&mut messages, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    messages.drain(..).for_each(|message| self.handle(message));
                }
                () = context.timers.wait() => self.run_due(),
            }
        }
    }

    fn run_due(&self) {
        for _ in 0..AT_ONCE {
            let Some(info_hash) = self.context.timers.take_due() else { return };
            if let Some(torrent) = self.torrents.get(&info_hash) {
                torrent.run_timers();
            }
        }
    }

    fn handle(&mut self, message: ShardMessage) {
        match message {
            ShardMessage::Start { shared, swarm, wishes, unjudged, handover } => {
                let context = Rc::clone(&self.context);
                let whom = panics::torrent(shared.info_hash());
                let begun = || self.begin(Arc::clone(&shared), *swarm, wishes, unjudged, handover);
                if let Err(panicked) = context.session.panics.catch(whom, begun) {
                    shared.fail(
                        &context.session.events,
                        TorrentError::Internal(panicked.to_string()),
                    );
                }
            }
            ShardMessage::Incoming { info_hash, line, addr, first, stranger } => {
                let Some(torrent) = self.torrents.get(&info_hash).map(Rc::clone) else { return };
                match line.attach() {
                    Ok(line) => {
                        tokio::task::spawn_local(torrent.accept(line, addr, first, stranger));
                    }
                    Err(error) => tracing::warn!(%addr, %error, "inbound peer lost"),
                }
            }
            ShardMessage::HandedOver { info_hash, handed } => {
                self.with(&info_hash, |torrent| torrent.take_over(vec![*handed]));
            }
            ShardMessage::Candidates { info_hash, source, addrs } => {
                self.with(&info_hash, |torrent| {
                    torrent.with_swarm(|swarm, now| swarm.add_candidates(now, source, &addrs));
                    torrent.wake();
                });
            }
            ShardMessage::IpFilter(filter) => {
                for info_hash in self.torrents.keys() {
                    self.with(info_hash, |torrent| {
                        let filter = Arc::clone(&filter);
                        torrent.with_swarm(|swarm, now| swarm.set_ip_filter(now, filter));
                        torrent.wake();
                    });
                }
            }
            ShardMessage::OwnPorts { info_hash, ports, dht } => {
                self.with(&info_hash, |torrent| {
                    torrent.tell_if_awake(|swarm, _| {
                        swarm.set_listen_ports(ports);
                        swarm.set_dht_ports(dht);
                    });
                });
            }
            ShardMessage::ExternalIp { info_hash, ip } => {
                self.with(&info_hash, |torrent| {
                    torrent.tell_if_awake(|swarm, _| swarm.set_external_ip(ip));
                });
            }
            ShardMessage::Wishes { info_hash, wishes, done } => {
                self.with(&info_hash, |torrent| {
                    torrent.set_wishes(&wishes);
                    let _ = done.send(()); // who asked may have gone
                });
            }
            ShardMessage::Piece { info_hash, piece, outcome } => {
                self.with(&info_hash, |torrent| torrent.piece_outcome(piece, outcome));
                self.forget_drained(&info_hash);
            }
            ShardMessage::Proved { info_hash, blocks } => {
                self.with(&info_hash, |torrent| torrent.proved(blocks));
            }
            ShardMessage::Leaves { info_hash, piece, result } => {
                self.with(&info_hash, |torrent| torrent.leaves_hashed(piece, result));
            }
            ShardMessage::Upper { info_hash, tree, upper } => {
                self.with(&info_hash, |torrent| torrent.upper_hashed(tree, upper));
            }
            ShardMessage::Judged { info_hash, pieces, report } => {
                self.with(&info_hash, |torrent| torrent.judged(&pieces, *report));
            }
            ShardMessage::Read { info_hash, peer, run, result } => {
                self.with(&info_hash, |torrent| torrent.run_read(peer, run, result));
            }
            ShardMessage::Reader { info_hash, reader, at, end, reply } => {
                self.with(&info_hash, |torrent| torrent.reader_at(reader, at, end, reply));
            }
            ShardMessage::ReaderGone { info_hash, reader } => {
                self.with(&info_hash, |torrent| torrent.reader_gone(reader));
            }
            ShardMessage::TrackerChanged { info_hash } => self.with(&info_hash, |torrent| {
                torrent.with_swarm(Swarm::tracker_changed);
                torrent.wake();
            }),
            ShardMessage::NetworkLost { message } => {
                for torrent in self.torrents.values() {
                    torrent.guarded(|| torrent.network_lost(&message));
                }
            }
            ShardMessage::NetworkBack => {
                for torrent in self.torrents.values() {
                    torrent.guarded(|| torrent.network_back());
                }
            }
            ShardMessage::SeedLimits { info_hash, limits } => {
                self.with(&info_hash, |torrent| torrent.set_seed_limits(limits));
            }
            ShardMessage::SuperSeed { info_hash, on } => {
                self.with(&info_hash, |torrent| {
                    torrent.with_swarm(|swarm, now| swarm.set_super_seed(now, on));
                });
            }
            ShardMessage::Explain { info_hash, reply } => self.with(&info_hash, |torrent| {
                if let Some(account) = torrent.account() {
                    let _ = reply.send(account); // who asked may have gone
                }
            }),
            ShardMessage::Stop { info_hash, done } => {
                self.with(&info_hash, |torrent| torrent.stop(done));
                self.forget_drained(&info_hash);
            }
        }
    }

    fn with(&self, info_hash: &InfoHash, call: impl FnOnce(&Rc<Torrent>)) {
        if let Some(torrent) = self.torrents.get(info_hash) {
            torrent.guarded(|| call(torrent));
        }
    }

    /// A stopped torrent stays until the pool has answered for its last piece.
    fn forget_drained(&mut self, info_hash: &InfoHash) {
        if self.torrents.get(info_hash).is_some_and(|torrent| torrent.is_over()) {
            self.torrents.remove(info_hash);
        }
    }

    fn begin(
        &mut self,
        shared: Arc<TorrentShared>,
        config: swarm::Config,
        wishes: Option<Wishes>,
        unjudged: Option<Box<Unjudged>>,
        handover: Option<Arc<Handover>>,
    ) {
        if shared.is_stopping() {
            return shared.set_state(TorrentState::Stopped); // before it ran
        }
        let now = self.context.clock.now();
        let mut swarm = Swarm::new(now, config);
        torrent::prepare(&mut swarm, now, &self.context.session, &shared);
        if let Some(unjudged) = &unjudged {
            swarm.set_unjudged(unjudged.pieces.clone());
        }
        if let Some(wishes) = wishes.filter(|wishes| *wishes != Wishes::default()) {
            swarm.set_wishes(now, &wishes);
        }
        let early = shared.take_early();
        let info_hash = shared.info_hash();
        let torrent = Torrent::new(Rc::clone(&self.context), shared, swarm);
        torrent.begin(early);
        torrent.expect_unjudged(unjudged);
        self.torrents.insert(info_hash, Rc::clone(&torrent));
        if let Some(handover) = handover {
            let (addresses, handed) = handover.take(info_hash, self.context.sender.downgrade());
            torrent.with_swarm(|swarm, now| {
                for (source, addr) in addresses {
                    swarm.add_candidates(now, source, &[addr]);
                }
            });
            torrent.take_over(handed);
        }
        torrent.run_timers();
    }
}

#[cfg(test)]
mod costs;
