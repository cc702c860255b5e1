//! Walks under way: what each asks on its way, and what it leaves at its end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Contact, Family, may_tell};
use crate::dht::{Dht, Event, InterfaceId, Sent};
use crate::id::Id;
use crate::item::{Item, ItemSignature, SecretKey, immutable_target, is_signed, mutable_target};
use crate::krpc::{Fields, Reply};
use crate::lookup::Lookup;
use crate::operations::{Announce, OperationId};
use crate::table::K;
use crate::transactions::Purpose;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

/// What a walk is for.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    /// Our own neighbours.
    Join,
    /// Nodes.
    Find,
    Peers {
        announce: Option<Announce>,
        no_seeds: bool,
        scrape: bool,
    },
    Get {
        salt: Vec<u8>,
    },
    Put(NewItem),
    Sample,
}

/// What is to be put.
#[derive(Debug, Clone)]
pub(crate) enum NewItem {
    Immutable {
        value: Vec<u8>,
    },
    Mutable {
        key: SecretKey,
        salt: Vec<u8>,
        value: Vec<u8>,
        /// `None`: one more than the highest there is.
        seq: Option<i64>,
        cas: Option<i64>,
    },
}

impl NewItem {
    fn salt(&self) -> &[u8] {
        match self {
            Self::Immutable { .. } => &[],
            Self::Mutable { salt, .. } => salt,
        }
    }
}

#[derive(Debug)]
enum Stage {
    Walking,
    Storing { queue: VecDeque<(SocketAddr, Fields)>, in_flight: usize },
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) interface: InterfaceId,
    /// `None`: upkeep of our own.
    pub(crate) operation: Option<OperationId>,
    /// Which of the operation's queues of interfaces it is of.
    pub(crate) lane: usize,
    pub(crate) goal: Goal,
    pub(crate) lookup: Lookup,
    /// Highest number of the mutable item seen.
    newest: Option<i64>,
    stage: Stage,
}

/// What a node said about an item.
enum Told {
    Nothing,
    /// It has it; of a mutable one, this version, if it did not send it.
    Seq(i64),
    Item(Item),
    /// Something that is not what it claims to be.
    Forged,
}

impl Task {
    fn question(&self, both_families: bool) -> (&'static str, Fields) {
        let target = &self.lookup.target.0;
        let fields = Fields::default();
        let plain = |fields: Fields| fields.bytes(b"target", target);
        match &self.goal {
            Goal::Join if both_families => {
                ("find_node", plain(fields).list(b"want", &[b"n4", b"n6"]))
            }
            Goal::Join | Goal::Find => ("find_node", plain(fields)),
            Goal::Peers { no_seeds, scrape, .. } => {
                let mut fields = fields.bytes(b"info_hash", target);
                if *no_seeds {
                    fields = fields.int(b"noseed", 1);
                }
                if *scrape {
                    fields = fields.int(b"scrape", 1);
                }
                ("get_peers", fields)
            }
            Goal::Get { .. } | Goal::Put(_) => ("get", plain(fields)),
            Goal::Sample => ("sample_infohashes", plain(fields)),
        }
    }

    fn store_name(&self) -> &'static str {
        if matches!(self.goal, Goal::Put(_)) { "put" } else { "announce_peer" }
    }

    /// Judges what a reply says about the item that is looked for.
    fn judge(&self, reply: &Reply<'_>) -> Told {
        let salt = match &self.goal {
            Goal::Get { salt } => salt.as_slice(),
            Goal::Put(item) => item.salt(),
            _ => return Told::Nothing,
        };
        let target = self.lookup.target;
        let (Some(value), key) = (reply.value, reply.key) else {
            return reply.seq.filter(|seq| *seq >= 0).map_or(Told::Nothing, Told::Seq);
        };
        if immutable_target(value) == target {
            return Told::Item(Item { value: value.to_vec(), signed: None });
        }
        let (Some(key), Some(signature), Some(seq)) = (key, reply.signature, reply.seq) else {
            return Told::Forged;
        };
        let is_good = seq >= 0
            && mutable_target(key, salt) == target
            && is_signed(key, signature, salt, seq, value);
        if !is_good {
            return Told::Forged;
        }
        let signed = ItemSignature { key: *key, signature: *signature, seq };
        Told::Item(Item { value: value.to_vec(), signed: Some(signed) })
    }

    /// What to leave with whom.
    fn stores(&self) -> VecDeque<(SocketAddr, Fields)> {
        let closest = self.lookup.closest();
        let mut stores = VecDeque::new();
        let signed = match &self.goal {
            Goal::Put(NewItem::Mutable { key, salt, value, seq, .. }) => {
                let next = self.newest.map_or(1, |newest| newest.saturating_add(1));
                Some(key.sign(salt, seq.unwrap_or(next), value))
            }
            _ => None,
        };
        for node in closest {
            let Some(token) = &node.token else { continue };
            let fields = Fields::default().bytes(b"token", token);
            let fields = match (&self.goal, &signed) {
                (Goal::Peers { announce: Some(announce), .. }, _) => fields
                    .bytes(b"info_hash", &self.lookup.target.0)
                    .int(b"implied_port", announce.over(node.addr).1.into())
                    .int(b"port", announce.over(node.addr).0.into())
                    .int(b"seed", announce.is_seed.into()),
                (Goal::Put(NewItem::Immutable { value }), _) => fields.raw(b"v", value),
                (Goal::Put(NewItem::Mutable { salt, value, cas, .. }), Some(signed)) => {
                    let mut fields = fields
                        .bytes(b"k", &signed.key)
                        .int(b"seq", signed.seq)
                        .bytes(b"sig", &signed.signature)
                        .raw(b"v", value);
                    if !salt.is_empty() {
                        fields = fields.bytes(b"salt", salt);
                    }
                    // Only who has a version can compare it (BEP 44).
                    match cas.filter(|_| node.seq.is_some()) {
                        Some(cas) => fields.int(b"cas", cas),
                        None => fields,
                    }
                }
                _ => return VecDeque::new(),
            };
            stores.push_back((node.addr, fields));
        }
        stores
    }
}

impl Dht {
    /// Begins a walk from what we know.
    pub(crate) fn start_task(
        &mut self,
        now: Duration,
        interface: InterfaceId,
        operation: Option<(OperationId, usize)>,
        goal: Goal,
        target: Id,
    ) -> Option<TaskId> {
        let node = self.interfaces.get(&interface)?;
        let family = node.family();
        let mut lookup = Lookup::new(target, node.id);
        let closest = node.table.closest(target, K.saturating_mul(2));
        closest.iter().for_each(|contact| lookup.begin_with(Some(contact.id), contact.addr));
        let mine = |addr: &SocketAddr| Family::of(*addr) == family;
        if closest.len() < K {
            self.bootstrap.iter().filter(|a| mine(a)).for_each(|a| lookup.begin_with(None, *a));
        }
        if closest.len() < K || matches!(goal, Goal::Join) {
            let saved = self.saved.contacts.iter().filter(|contact| mine(&contact.addr));
            saved.for_each(|contact| lookup.begin_with(Some(contact.id), contact.addr));
        }
        let known = operation.and_then(|(id, _)| self.operations.get(&id)).map(|op| &op.known);
        let known = known.into_iter().flatten().filter(|contact| mine(&contact.addr));
        known.for_each(|contact| lookup.begin_with(Some(contact.id), contact.addr));
        let id = TaskId(self.next_task);
        self.next_task = self.next_task.saturating_add(1);
        let (operation, lane) = operation.map_or((None, 0), |(id, lane)| (Some(id), lane));
        let stage = Stage::Walking;
        let task = Task { interface, operation, lane, goal, lookup, newest: None, stage };
        self.tasks.insert(id, task);
        self.pump(now, id);
        Some(id)
    }

    /// Sends what a task may send now, and ends it when it is over.
    pub(crate) fn pump(&mut self, now: Duration, id: TaskId) {
        let both = self.interfaces.values().any(|node| node.family() == Family::V4)
            && self.interfaces.values().any(|node| node.family() == Family::V6);
        while let Some(task) = self.tasks.get_mut(&id) {
            let interface = task.interface;
            match &mut task.stage {
                Stage::Walking => {
                    if let Some(to) = task.lookup.next() {
                        let question = task.question(both);
                        match self.ask(now, interface, to, Purpose::Walk(id), question) {
                            Sent::Yes => {}
                            Sent::Later => {
                                self.with_lookup(id, |lookup| lookup.not_asked(to));
                                self.starved.insert(id);
                                return;
                            }
                            Sent::Never => self.with_lookup(id, |lookup| lookup.failed(to)),
                        }
                    } else if task.lookup.is_over() {
                        let queue = task.stores();
                        task.stage = Stage::Storing { queue, in_flight: 0 };
                    } else {
                        return;
                    }
                }
                Stage::Storing { queue, in_flight } => {
                    let Some((to, fields)) = queue.pop_front() else {
                        if *in_flight == 0 {
                            self.end_task(now, id);
                        }
                        return;
                    };
                    let question = (task.store_name(), fields.clone());
                    let sent = self.ask(now, interface, to, Purpose::Store(id), question);
                    let Some(task) = self.tasks.get_mut(&id) else { return };
                    let Stage::Storing { queue, in_flight } = &mut task.stage else { return };
                    match sent {
                        Sent::Yes => *in_flight = in_flight.saturating_add(1),
                        Sent::Later => {
                            queue.push_front((to, fields));
                            self.starved.insert(id);
                            return;
                        }
                        Sent::Never => {}
                    }
                }
            }
        }
    }

    fn with_lookup(&mut self, id: TaskId, change: impl FnOnce(&mut Lookup)) {
        if let Some(task) = self.tasks.get_mut(&id) {
            change(&mut task.lookup);
        }
    }

    /// A node answered a step of a walk.
    pub(crate) fn walked(
        &mut self,
        now: Duration,
        id: TaskId,
        from: SocketAddr,
        reply: &Reply<'_>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let told_item = task.judge(reply);
        if matches!(told_item, Told::Forged) {
            task.lookup.failed(from);
            self.pump(now, id);
            return;
        }
        let seq = match &told_item {
            Told::Seq(seq) => Some(*seq),
            Told::Item(item) => item.signed.as_ref().map(|signed| signed.seq),
            _ => None,
        };
        task.newest = task.newest.max(seq);
        let interface = task.interface;
        let is_us = |addr: SocketAddr| {
            self.interfaces.values().any(|node| {
                let external =
                    node.votes.elected().map(|ip| SocketAddr::new(ip, node.local.port()));
                addr == node.local || Some(addr) == external
            })
        };
        let of_use = |c: &Contact| may_tell(from.ip(), c.addr) && !is_us(c.addr);
        let told: Vec<Contact> = reply.contacts.iter().copied().filter(of_use).collect();
        let (mine, others): (Vec<Contact>, Vec<Contact>) =
            told.into_iter().partition(|contact| contact.addr.is_ipv4() == from.is_ipv4());
        let contact = Self::contact(reply.id, from);
        let hops = task.lookup.answered(contact, &mine, reply.token, seq);
        let is_join = matches!(task.goal, Goal::Join);
        let is_get = matches!(task.goal, Goal::Get { .. });
        let operation = task.operation;
        if let (Some(hops), Some(operation)) = (hops, operation) {
            self.note_peers(operation, from, hops, reply);
            if let Some(samples) = &reply.samples {
                self.note_samples(operation, samples, reply.sampled_of);
            }
            if let Told::Item(item) = told_item {
                let is_final = item.signed.is_none() && is_get;
                self.note_item(operation, item);
                if is_final {
                    // Its hash proves it; nobody can have a better one.
                    self.end_task(now, id);
                    return;
                }
            }
        }
        if is_join {
            self.joined(interface);
            // The other network's nodes, told in passing (BEP 32).
            others.iter().for_each(|contact| self.add_candidate(now, contact.addr));
        }
        self.pump(now, id);
    }

    /// A step got no answer, or an error.
    pub(crate) fn not_walked(&mut self, now: Duration, id: TaskId, to: SocketAddr) {
        self.with_lookup(id, |lookup| lookup.failed(to));
        self.pump(now, id);
    }

    /// A node kept what we left with it, or did not.
    pub(crate) fn stored(&mut self, now: Duration, id: TaskId, result: Result<(), (i64, String)>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Stage::Storing { in_flight, .. } = &mut task.stage {
            *in_flight = in_flight.saturating_sub(1);
        }
        if let Some(operation) = task.operation.and_then(|id| self.operations.get_mut(&id)) {
            match result {
                Ok(()) => operation.sum.stored = operation.sum.stored.saturating_add(1),
                Err(refused) => operation.sum.refused.push(refused),
            }
        }
        self.pump(now, id);
    }

    /// Ends a task with what it has.
    pub(crate) fn end_task(&mut self, now: Duration, id: TaskId) {
        self.starved.remove(&id);
        let Some(task) = self.tasks.remove(&id) else { return };
        if let Some(operation) = task.operation {
            self.end_part(now, operation, &task);
            return;
        }
        let Some(node) = self.interfaces.get_mut(&task.interface) else { return };
        if node.joining == Some(id) {
            node.joining = None;
            node.join_later(now);
            if task.lookup.answers > 0 && !std::mem::replace(&mut node.is_settled, true) {
                node.table.refresh_all();
            }
        }
    }

    /// Somebody answered: whatever is looked for now has a beginning.
    fn joined(&mut self, interface: InterfaceId) {
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        if !std::mem::replace(&mut node.has_joined, true) {
            self.tell(Event::Joined { interface });
        }
    }
}
