//! What a user asks for: one or more walks, over one socket of each family, or, to announce, over
//! all of them one after the other (BEP 45).

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Contact, Family, may_tell};
use crate::bloom::Bloom;
use crate::dht::{Dht, Event, InterfaceId, Sent};
use crate::id::Id;
use crate::item::{self, Item, ItemError, SALT_BYTES_MAX, SecretKey};
use crate::krpc::{Fields, Reply};
use crate::table::K;
use crate::tasks::{Goal, NewItem, Task};
use crate::transactions::Purpose;

/// Peers kept apart in one lookup; a popular torrent's closest nodes know about a thousand.
const PEERS_MAX: usize = 5_000;

/// Torrents of one sampling.
const SAMPLES_MAX: usize = 10_000;

/// Names an operation in [`Event`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(u64);

/// How we announce ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// Where we take peers' connections; not zero.
    pub port: u16,
    /// The same over IPv6, where it is another: a gateway maps ports over IPv4.
    pub port_v6: Option<u16>,
    /// Nodes are to take the port our packet comes from instead: right when peers are taken on
    /// the same socket, since it is also what a router made of it. Not with `port_v6`.
    pub is_port_implied: bool,
    /// We have everything (BEP 33).
    pub is_seed: bool,
}

impl Announce {
    /// The port that a node is told, and whether it is to take our packet's instead.
    pub(crate) fn over(self, node: SocketAddr) -> (u16, bool) {
        match self.port_v6.filter(|_| node.is_ipv6()) {
            Some(port) => (port, false),
            None => (self.port, self.is_port_implied),
        }
    }
}

/// What to look for beside peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeersQuery {
    /// Announce to the closest nodes, once they are found.
    pub announce: Option<Announce>,
    /// Seeds are of no use to us (BEP 33).
    pub no_seeds: bool,
    /// Count the swarm (BEP 33).
    pub scrape: bool,
}

/// About how many are in a swarm (BEP 33).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwarmSize {
    /// With everything.
    pub seeds: f64,
    /// Without.
    pub peers: f64,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of [`Dht::ping`]; `None`: no answer, or an error.
    Pong(Option<Pong>),
    /// Of [`Dht::find_node`].
    Nodes {
        /// The closest, closest first.
        nodes: Vec<Contact>,
        /// Nodes that answered on the way.
        answers: usize,
    },
    /// Of [`Dht::get_peers`]; the peers themselves came as [`Event::Peers`].
    Peers {
        /// Different ones.
        count: usize,
        /// Nodes that answered on the way.
        answers: usize,
        /// Nodes asked one after the other until the first peer was found.
        hops: Option<u8>,
        /// Nodes that keep our announce now.
        announced: usize,
        /// When asked for, and known to anybody.
        size: Option<SwarmSize>,
    },
    /// Of [`Dht::get_item`] and [`Dht::get_mutable_item`].
    Item {
        /// The newest there is.
        item: Option<Item>,
        /// Nodes that answered on the way.
        answers: usize,
    },
    /// Of [`Dht::put_item`] and [`Dht::put_mutable_item`].
    Stored {
        /// Where it is.
        target: Id,
        /// Nodes that have it.
        count: usize,
        /// Codes and words of those that refused it.
        refused: Vec<(i64, String)>,
        /// Nodes that answered on the way.
        answers: usize,
    },
    /// Of [`Dht::sample`].
    Samples {
        /// Different ones.
        torrents: Vec<Id>,
        /// How many all those who were asked have, copies included.
        kept: u64,
        /// Nodes that answered on the way.
        answers: usize,
    },
}

/// A node's answer to a ping.
#[derive(Debug, Clone, PartialEq)]
pub struct Pong {
    /// Its id.
    pub id: Id,
    /// Until it came.
    pub took: Duration,
    /// Its client: two letters, two bytes of version.
    pub client: Option<[u8; 4]>,
    /// Where it sees us.
    pub seen_as: Option<SocketAddr>,
}

#[derive(Debug, Default)]
pub(crate) struct Sum {
    peers: BTreeSet<SocketAddr>,
    hops: Option<u8>,
    nodes: Vec<Contact>,
    answers: usize,
    pub(crate) stored: usize,
    pub(crate) refused: Vec<(i64, String)>,
    filters: Option<(Bloom, Bloom)>,
    item: Option<Item>,
    samples: BTreeSet<Id>,
    kept: u64,
}

#[derive(Debug)]
pub(crate) struct Operation {
    goal: Option<Goal>,
    target: Id,
    /// Sockets still to walk over; those of one lane one after the other.
    lanes: Vec<VecDeque<InterfaceId>>,
    parts: usize,
    /// Who answered over one socket, for the next to begin with.
    pub(crate) known: Vec<Contact>,
    pub(crate) sum: Sum,
}

impl Dht {
    /// Looks for the nodes closest to a target.
    pub fn find_node(&mut self, now: Duration, target: Id) -> OperationId {
        self.begin(now, Goal::Find, target)
    }

    /// Looks for peers of a torrent, and announces us if that is wanted.
    pub fn get_peers(&mut self, now: Duration, info_hash: Id, query: PeersQuery) -> OperationId {
        let PeersQuery { announce, no_seeds, scrape } = query;
        let announce = announce.filter(|announce| announce.port != 0);
        self.begin(now, Goal::Peers { announce, no_seeds, scrape }, info_hash)
    }

    /// Looks for an immutable item, or a mutable one without salt: who asks need not know which.
    pub fn get_item(&mut self, now: Duration, target: Id) -> OperationId {
        self.begin(now, Goal::Get { salt: Vec::new() }, target)
    }

    /// Looks for the newest version of a mutable item.
    pub fn get_mutable_item(&mut self, now: Duration, key: &[u8; 32], salt: &[u8]) -> OperationId {
        let goal = Goal::Get { salt: salt.to_vec() };
        self.begin(now, goal, item::mutable_target(key, salt))
    }

    /// Puts an immutable item.
    ///
    /// # Errors
    /// [`ItemError`], when no node would take it.
    pub fn put_item(&mut self, now: Duration, value: &[u8]) -> Result<OperationId, ItemError> {
        item::check_value(value)?;
        let new = NewItem::Immutable { value: value.to_vec() };
        Ok(self.begin(now, Goal::Put(new), item::immutable_target(value)))
    }

    /// Puts a version of a mutable item: number `seq`, or one more than the newest there is.
    /// `cas`: only where this is the current number.
    ///
    /// # Errors
    /// [`ItemError`], when no node would take it.
    pub fn put_mutable_item(
        &mut self,
        now: Duration,
        key: &SecretKey,
        salt: &[u8],
        value: &[u8],
        seq: Option<i64>,
        cas: Option<i64>,
    ) -> Result<OperationId, ItemError> {
        item::check_value(value)?;
        if salt.len() > SALT_BYTES_MAX {
            return Err(ItemError::SaltTooLong { bytes: salt.len() });
        }
        if seq.is_some_and(|seq| seq < 0) {
            return Err(ItemError::NegativeSeq);
        }
        let target = item::mutable_target(&key.public(), salt);
        let (key, salt, value) = (key.clone(), salt.to_vec(), value.to_vec());
        Ok(self.begin(now, Goal::Put(NewItem::Mutable { key, salt, value, seq, cas }), target))
    }

    /// Asks the nodes on the way to a target which torrents they have peers of (BEP 51).
    pub fn sample(&mut self, now: Duration, target: Id) -> OperationId {
        self.begin(now, Goal::Sample, target)
    }

    /// Asks one node whether it is there.
    pub fn ping(&mut self, now: Duration, addr: SocketAddr) -> OperationId {
        let id = self.add_operation(None, Id([0; 20]));
        let over = self.interfaces.iter().find(|(_, node)| node.family() == Family::of(addr));
        let sent = over.map(|(interface, _)| *interface).map(|interface| {
            self.ask(now, interface, addr, Purpose::Ping(id), ("ping", Fields::default()))
        });
        if sent != Some(Sent::Yes) {
            self.end_ping(id, None);
        }
        id
    }

    /// Stops an operation; no more events come from it.
    pub fn cancel(&mut self, now: Duration, operation: OperationId) {
        self.operations.remove(&operation);
        let its = self.tasks.iter().filter(|(_, task)| task.operation == Some(operation));
        let its: Vec<_> = its.map(|(id, _)| *id).collect();
        its.into_iter().for_each(|task| self.end_task(now, task));
    }

    fn add_operation(&mut self, goal: Option<Goal>, target: Id) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation = self.next_operation.saturating_add(1);
        let (known, sum) = (Vec::new(), Sum::default());
        let operation = Operation { goal, target, lanes: Vec::new(), parts: 0, known, sum };
        self.operations.insert(id, operation);
        id
    }

    fn begin(&mut self, now: Duration, goal: Goal, target: Id) -> OperationId {
        let over_all = matches!(goal, Goal::Peers { announce: Some(_), .. });
        let mut lanes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut of_family: Vec<(usize, InterfaceId)> = self
                .interfaces
                .iter()
                .filter(|(_, node)| node.family() == family)
                .map(|(id, node)| (node.table.len(), *id))
                .collect();
            of_family.sort_by_key(|(nodes, id)| (std::cmp::Reverse(*nodes), *id));
            let count = if over_all { of_family.len() } else { 1 };
            let lane: VecDeque<InterfaceId> =
                of_family.into_iter().take(count).map(|(_, id)| id).collect();
            if !lane.is_empty() {
                lanes.push(lane);
            }
        }
        let id = self.add_operation(Some(goal), target);
        let count = lanes.len();
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.lanes = lanes;
            operation.parts = count;
        }
        (0..count).for_each(|lane| self.next_part(now, id, lane));
        if count == 0 {
            self.finish(id);
        }
        id
    }

    /// Walks over a lane's next socket; after the last the lane is done.
    fn next_part(&mut self, now: Duration, id: OperationId, lane: usize) {
        loop {
            let Some(operation) = self.operations.get_mut(&id) else { return };
            let next = operation.lanes.get_mut(lane).and_then(VecDeque::pop_front);
            let (Some(interface), Some(goal)) = (next, operation.goal.clone()) else {
                operation.parts = operation.parts.saturating_sub(1);
                if operation.parts == 0 {
                    self.finish(id);
                }
                return;
            };
            let target = operation.target;
            if self.start_task(now, interface, Some((id, lane)), goal, target).is_some() {
                return;
            }
        }
    }

    /// A walk of an operation is over.
    pub(crate) fn end_part(&mut self, now: Duration, id: OperationId, task: &Task) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.sum.answers = operation.sum.answers.saturating_add(task.lookup.answers);
        let closest = task.lookup.closest();
        operation.sum.nodes.extend(closest.iter().filter_map(|node| node.contact()));
        operation.known = task.lookup.responders().collect();
        self.next_part(now, id, task.lane);
    }

    fn finish(&mut self, id: OperationId) {
        let Some(operation) = self.operations.remove(&id) else { return };
        let (target, sum) = (operation.target, operation.sum);
        let answers = sum.answers;
        let outcome = match operation.goal {
            None | Some(Goal::Join) => return,
            Some(Goal::Find) => {
                let mut nodes = sum.nodes;
                nodes.sort_by_key(|contact| (contact.id.distance(target), contact.addr));
                nodes.truncate(K.saturating_mul(2));
                Outcome::Nodes { nodes, answers }
            }
            Some(Goal::Peers { .. }) => Outcome::Peers {
                count: sum.peers.len(),
                answers,
                hops: sum.hops,
                announced: sum.stored,
                size: sum.filters.map(|(seeds, peers)| SwarmSize {
                    seeds: seeds.estimate(),
                    peers: peers.estimate(),
                }),
            },
            Some(Goal::Get { .. }) => Outcome::Item { item: sum.item, answers },
            Some(Goal::Put(_)) => {
                Outcome::Stored { target, count: sum.stored, refused: sum.refused, answers }
            }
            Some(Goal::Sample) => {
                let torrents = sum.samples.into_iter().collect();
                Outcome::Samples { torrents, kept: sum.kept, answers }
            }
        };
        self.tell(Event::Finished { operation: id, outcome });
    }

    pub(crate) fn end_ping(&mut self, id: OperationId, pong: Option<Pong>) {
        if self.operations.remove(&id).is_some() {
            self.tell(Event::Finished { operation: id, outcome: Outcome::Pong(pong) });
        }
    }

    /// Peers and filters that a node told of.
    pub(crate) fn note_peers(
        &mut self,
        id: OperationId,
        from: SocketAddr,
        hops: u8,
        reply: &Reply<'_>,
    ) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let Some(Goal::Peers { scrape, .. }) = operation.goal else { return };
        let sum = &mut operation.sum;
        let mut new = Vec::new();
        for peer in reply.values.iter().filter(|peer| may_tell(from.ip(), **peer)) {
            if sum.peers.len() < PEERS_MAX && sum.peers.insert(*peer) {
                new.push(*peer);
            }
        }
        if !reply.values.is_empty() {
            sum.hops = Some(sum.hops.map_or(hops, |known| known.min(hops)));
        }
        if scrape {
            let (seeds, peers) = sum.filters.get_or_insert_default();
            if let (Some(their_seeds), Some(their_peers)) = (&reply.seeds, &reply.peers) {
                seeds.join(their_seeds);
                peers.join(their_peers);
            } else {
                // Who knows no filters tells of peers, seeds or not.
                let ips = reply.values.iter().map(SocketAddr::ip);
                ips.filter(|ip| !seeds.contains(*ip)).for_each(|ip| peers.insert(ip));
            }
        }
        let info_hash = operation.target;
        if !new.is_empty() {
            self.tell(Event::Peers { operation: id, info_hash, peers: new });
        }
    }

    pub(crate) fn note_item(&mut self, id: OperationId, item: Item) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let seq = |item: &Item| item.signed.as_ref().map(|signed| signed.seq);
        let best = &mut operation.sum.item;
        if best.as_ref().is_none_or(|best| seq(best) < seq(&item)) {
            *best = Some(item);
        }
    }

    pub(crate) fn note_samples(&mut self, id: OperationId, samples: &[Id], kept: Option<i64>) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let sum = &mut operation.sum;
        let room = SAMPLES_MAX.saturating_sub(sum.samples.len());
        sum.samples.extend(samples.iter().take(room));
        let kept = kept.and_then(|kept| u64::try_from(kept).ok()).unwrap_or(samples.len() as u64);
        sum.kept = sum.kept.saturating_add(kept.min(100_000_000));
    }
}
