//! The state machine: packets and time in, packets and events out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::{Contact, Family, Origin, is_local, is_usable};
use crate::id::Id;
use crate::item_store::ItemStore;
use crate::krpc::{self, Body, Fields};
use crate::operations::{Operation, OperationId, Outcome};
use crate::peer_store::PeerStore;
use crate::rates::{Allowance, Sources};
use crate::saved::Saved;
use crate::secrets::Secrets;
use crate::secure::{is_secure, secure_id};
use crate::settings::Settings;
use crate::status::Counters;
use crate::table::Table;
use crate::tasks::{Task, TaskId};
use crate::tokens::Tokens;
use crate::transactions::{Late, Purpose, Transactions};
use crate::votes::Votes;

/// Bootstrap nodes kept; lists of clients have less than ten, each with a few addresses.
pub(crate) const BOOTSTRAP_MAX: usize = 64;

/// Events nobody fetched; more are dropped, the oldest first.
const EVENTS_MAX: usize = 4096;

/// One of our socket addresses: a node of its own, to all others (BEP 45).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub(crate) u32);

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Over which socket.
    pub interface: InterfaceId,
    /// To whom.
    pub to: SocketAddr,
    /// At most 1,400 bytes.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A lookup found peers that it had not found before.
    Peers {
        /// The lookup.
        operation: OperationId,
        /// The torrent.
        info_hash: Id,
        /// New ones; unproven, like everything that strangers tell.
        peers: Vec<SocketAddr>,
    },
    /// An operation is over.
    Finished {
        /// Which.
        operation: OperationId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A socket's node has found others: lookups can succeed now.
    Joined {
        /// The socket.
        interface: InterfaceId,
    },
    /// No node is known: bootstrap addresses are needed, now or again.
    NeedsBootstrap {
        /// The socket.
        interface: InterfaceId,
    },
    /// Most nodes see us at this address.
    ExternalAddress {
        /// The socket.
        interface: InterfaceId,
        /// The address.
        ip: IpAddr,
    },
}

#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) local: SocketAddr,
    pub(crate) id: Id,
    pub(crate) table: Table,
    pub(crate) votes: Votes,
    /// The walk to our own id that is under way.
    pub(crate) joining: Option<TaskId>,
    pub(crate) has_joined: bool,
    /// Our neighbours were looked for to the end, once.
    pub(crate) is_settled: bool,
    /// When to join (again) if we know too few.
    pub(crate) join_at: Duration,
    pub(crate) join_wait: Duration,
    /// Queries that were lost since anything was received.
    pub(crate) lost_in_row: u32,
}

impl Interface {
    pub(crate) fn family(&self) -> Family {
        Family::of(self.local)
    }
}

/// Whether a query left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// We ask enough for now.
    Later,
    /// Nobody can have that address.
    Never,
}

/// A node of the DHT, or one for each of several socket addresses. See the crate's loop.
#[derive(Debug)]
pub struct Dht {
    pub(crate) settings: Settings,
    pub(crate) rng: fastrand::Rng,
    pub(crate) secrets: Secrets,
    pub(crate) interfaces: BTreeMap<InterfaceId, Interface>,
    next_interface: u32,
    pub(crate) saved: Saved,
    pub(crate) bootstrap: BTreeSet<SocketAddr>,
    pub(crate) tokens: Tokens,
    pub(crate) peers: PeerStore,
    pub(crate) items: ItemStore,
    pub(crate) sampled: Option<(Duration, Vec<Id>)>,
    pub(crate) sources: Sources,
    pub(crate) answering: Allowance,
    asking: Allowance,
    pub(crate) transactions: Transactions,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) next_task: u64,
    /// Tasks that have more to ask than we may now.
    pub(crate) starved: BTreeSet<TaskId>,
    pub(crate) operations: BTreeMap<OperationId, Operation>,
    pub(crate) next_operation: u64,
    /// Whom we met of late, or tried to.
    pub(crate) met: BTreeMap<Origin, Duration>,
    pub(crate) next_tick: Duration,
    pub(crate) next_sweep: Duration,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    pub(crate) counters: Counters,
}

impl Dht {
    /// A node without sockets. `seed`: from the system's randomness, since transaction ids and
    /// tokens follow from it; in a simulation, what makes a run repeatable.
    pub fn new(settings: Settings, seed: [u8; 32], now: Duration) -> Self {
        let mut secrets = Secrets::new(seed);
        let choices = secrets.draw().first_chunk().copied().map_or(0, u64::from_be_bytes);
        let queries = f64::from(settings.queries_per_second.max(1));
        let reply_bytes = f64::from(settings.reply_bytes_per_second.max(1));
        Self {
            rng: fastrand::Rng::with_seed(choices),
            interfaces: BTreeMap::new(),
            next_interface: 0,
            saved: Saved::default(),
            bootstrap: BTreeSet::new(),
            tokens: Tokens::new(now, &mut secrets),
            peers: PeerStore::new(settings.peers),
            items: ItemStore::new(settings.items_max),
            sampled: None,
            sources: Sources::new(settings.source),
            answering: Allowance::new(now, reply_bytes, reply_bytes * 2.0),
            asking: Allowance::new(now, queries, queries * 2.0),
            transactions: Transactions::default(),
            tasks: BTreeMap::new(),
            next_task: 0,
            starved: BTreeSet::new(),
            operations: BTreeMap::new(),
            next_operation: 0,
            met: BTreeMap::new(),
            next_tick: now,
            next_sweep: now,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            secrets,
            settings,
        }
    }

    /// A socket to work with, bound to `local`. Its node has an id of its own (BEP 45): the saved
    /// one, one that follows from a public `local`, or a random one until the external address
    /// is known.
    pub fn add_interface(&mut self, now: Duration, local: SocketAddr) -> InterfaceId {
        let interface = InterfaceId(self.next_interface);
        self.next_interface = self.next_interface.saturating_add(1);
        let mut votes = Votes::default();
        let public = Some(local.ip()).filter(|ip| is_usable((*ip, 1).into()) && !is_local(*ip));
        let saved = self.saved.take_id(Family::of(local), public);
        let id = match (saved, public) {
            (Some(id), _) => id,
            (None, Some(ip)) => secure_id(ip, &mut self.rng),
            (None, None) => Id::random(&mut self.rng),
        };
        if let Some(ip) = public {
            votes.presume(ip);
        }
        let node = Interface {
            local,
            id,
            table: Table::new(id, now),
            votes,
            joining: None,
            has_joined: false,
            is_settled: false,
            join_at: now,
            join_wait: crate::upkeep::JOIN_WAIT_MIN,
            lost_in_row: 0,
        };
        self.interfaces.insert(interface, node);
        self.next_tick = now;
        interface
    }

    /// Addresses of nodes to begin with, whose ids are not known. They are asked while we know
    /// few others, and have no place in the table: they are for everybody.
    pub fn add_bootstrap(&mut self, now: Duration, addr: SocketAddr) {
        if is_usable(addr) && self.bootstrap.len() < BOOTSTRAP_MAX && self.bootstrap.insert(addr) {
            for interface in self.interfaces.values_mut() {
                if interface.family() == Family::of(addr) && interface.joining.is_none() {
                    interface.join_at = now;
                }
            }
            self.next_tick = now;
        }
    }

    /// Somebody may be a node: a peer's PORT message (BEP 5). It is pinged, if it is of use.
    pub fn add_candidate(&mut self, now: Duration, addr: SocketAddr) {
        let few = |interface: &Interface| interface.table.len() < 200;
        let over = self
            .interfaces
            .iter()
            .find(|(_, i)| i.family() == Family::of(addr) && few(i))
            .map(|(id, _)| *id);
        if let Some(interface) = over {
            self.meet(now, interface, addr);
        }
    }

    /// A datagram came in. Whatever it is, it is bounded work.
    pub fn handle_packet(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        self.counters.packets_in = self.counters.packets_in.saturating_add(1);
        node.lost_in_row = 0;
        let message =
            krpc::read(datagram).filter(|_| is_usable(from) && Family::of(from) == node.family());
        let Some(message) = message else {
            self.counters.junk = self.counters.junk.saturating_add(1);
            return;
        };
        match &message.body {
            Body::Query(query) => {
                self.answer(now, interface, from, &message, query.as_ref(), datagram.len());
            }
            Body::Reply(_) | Body::Error { .. } => self.hear(now, interface, from, &message),
        }
    }

    /// Does what is due at `now`: lost queries, upkeep, what waited for its turn.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(late) = self.transactions.late(now) {
            match late {
                Late::Slow(pending) => {
                    if let Purpose::Walk(task) = pending.purpose {
                        if let Some(task) = self.tasks.get_mut(&task) {
                            task.lookup.slow(pending.to);
                        }
                        self.pump(now, task);
                    }
                }
                Late::Lost(pending) => self.lost(now, pending),
            }
        }
        if now >= self.next_tick {
            self.upkeep(now);
        }
        if !self.starved.is_empty() && self.asking.ready_at(1.0) <= now {
            for task in std::mem::take(&mut self.starved) {
                self.pump(now, task);
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.interfaces.is_empty() && self.tasks.is_empty() {
            return None;
        }
        let starved = (!self.starved.is_empty()).then(|| self.asking.ready_at(1.0));
        [Some(self.next_tick), self.transactions.next_deadline(), starved]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn send(&mut self, interface: InterfaceId, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.packets_out = self.counters.packets_out.saturating_add(1);
        self.counters.bytes_out = self.counters.bytes_out.saturating_add(bytes.len() as u64);
        self.transmits.push_back(Transmit { interface, to, bytes });
    }

    /// Sends a query, our id added to its arguments.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        to: SocketAddr,
        purpose: Purpose,
        (name, args): (&str, Fields),
    ) -> Sent {
        let Some(node) = self.interfaces.get(&interface) else { return Sent::Never };
        if !is_usable(to) || Family::of(to) != node.family() {
            return Sent::Never;
        }
        if self.transactions.is_full() || !self.asking.take(now, 1.0) {
            return Sent::Later;
        }
        let args = args.bytes(b"id", &node.id.0);
        let id = self.transactions.begin(now, interface, to, purpose, &mut self.secrets);
        let read_only = self.settings.is_read_only;
        let query = krpc::write_query(&id, name, args, read_only, self.settings.client);
        self.counters.queries_out = self.counters.queries_out.saturating_add(1);
        self.send(interface, to, query);
        Sent::Yes
    }

    /// Another id, once the external address is known and ours does not follow from it.
    pub(crate) fn seen_at(&mut self, now: Duration, interface: InterfaceId, ip: IpAddr) {
        self.follow(now, interface, ip);
        self.tell(Event::ExternalAddress { interface, ip });
    }

    /// Where we are by the word of others than nodes: it holds until nodes agree on an address. Nobody
    /// is told of it, as whoever says so knows.
    pub fn told_external(&mut self, now: Duration, ip: IpAddr) {
        if !is_usable((ip, 1).into()) || is_local(ip) {
            return;
        }
        let of = |(id, node): (&InterfaceId, &mut Interface)| {
            let is_of = node.local.is_ipv4() == ip.is_ipv4();
            (is_of && node.votes.told(ip)).then_some(*id)
        };
        let told: Vec<InterfaceId> = self.interfaces.iter_mut().filter_map(of).collect();
        told.into_iter().for_each(|interface| self.follow(now, interface, ip));
    }

    fn follow(&mut self, now: Duration, interface: InterfaceId, ip: IpAddr) {
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        if !is_secure(node.id, ip) {
            node.id = secure_id(ip, &mut self.rng);
            node.table.move_to(now, node.id);
            (node.join_at, node.join_wait) = (now, crate::upkeep::JOIN_WAIT_MIN);
            node.is_settled = false;
            self.next_tick = now;
        }
    }

    /// Whether this node may be in tables and lists: bootstrap nodes are not.
    pub(crate) fn is_bootstrap(&self, addr: SocketAddr) -> bool {
        self.bootstrap.contains(&addr)
    }

    /// The socket is bound to another address of its family now: the node stays who it is.
    pub fn move_interface(&mut self, interface: InterfaceId, local: SocketAddr) {
        if let Some(node) = self.interfaces.get_mut(&interface)
            && node.local.is_ipv4() == local.is_ipv4()
        {
            node.local = local;
        }
    }

    pub(crate) fn own_id(&self, interface: InterfaceId) -> Option<Id> {
        self.interfaces.get(&interface).map(|node| node.id)
    }

    pub(crate) fn contact(id: Id, addr: SocketAddr) -> Contact {
        Contact { id, addr }
    }
}
