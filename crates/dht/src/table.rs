//! The routing table of one address of ours (BEP 5): buckets that split around our own id.
//!
//! Only who answered a query of ours gets in; who is merely mentioned, or asks us something, may
//! be pinged for it. A full bucket keeps whom it has for as long as they answer: the newcomer
//! waits in reserve, and the one not heard of for longest is pinged before it is replaced. One
//! address has one place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Contact, Origin, origin};
use crate::id::{BITS, Id};
use crate::secure::is_secure;

/// Nodes of a bucket, and of the closest to anything (BEP 5's K).
pub(crate) const K: usize = 8;

/// Newcomers in reserve for each bucket.
const SPARES_MAX: usize = 8;

/// A node not heard of for this long is questionable, and a bucket that did not change is
/// refreshed (BEP 5).
pub(crate) const QUIET: Duration = Duration::from_mins(15);

/// Unanswered queries in a row that make a node bad.
const FAILURES_BAD: u8 = 2;

/// And that have it forgotten though nobody takes its place.
const FAILURES_MAX: u8 = 4;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) addr: SocketAddr,
    /// When it last answered us.
    answered: Duration,
    /// When it last sent anything.
    heard: Duration,
    failures: u8,
}

impl Entry {
    fn is_bad(&self) -> bool {
        self.failures >= FAILURES_BAD
    }

    fn is_questionable(&self, now: Duration) -> bool {
        self.failures > 0 || now.saturating_sub(self.heard) >= QUIET
    }

    fn contact(&self) -> Contact {
        Contact { id: self.id, addr: self.addr }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    spares: Vec<Entry>,
    /// `None`: it is to be refreshed.
    changed: Option<Duration>,
}

/// What became of a node that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in the table.
    In,
    /// It is in reserve; this one should be pinged, if any.
    Spare(Option<Contact>),
    /// There is another with its id or at its address.
    Not,
}

#[derive(Debug)]
pub(crate) struct Table {
    own: Id,
    /// By leading bits in common with our id; the last has all from there on.
    buckets: Vec<Bucket>,
    /// Everybody, spares too.
    places: BTreeMap<Origin, Contact>,
}

impl Table {
    pub(crate) fn new(own: Id, now: Duration) -> Self {
        let home = Bucket { changed: Some(now), ..Bucket::default() };
        Self { own, buckets: vec![home], places: BTreeMap::new() }
    }

    /// Nodes that are not in reserve.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Nodes that answered of late.
    pub(crate) fn good(&self, now: Duration) -> usize {
        self.entries().filter(|entry| !entry.is_questionable(now)).count()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    fn index_of(&self, id: Id) -> usize {
        id.common_bits(self.own).min(self.buckets.len().saturating_sub(1))
    }

    fn find(&mut self, contact: &Contact) -> Option<&mut Entry> {
        let index = self.index_of(contact.id);
        let bucket = self.buckets.get_mut(index)?;
        let mut all = bucket.entries.iter_mut().chain(&mut bucket.spares);
        all.find(|entry| entry.id == contact.id && entry.addr == contact.addr)
    }

    /// A node answered a query of ours.
    pub(crate) fn answered(&mut self, now: Duration, contact: Contact) -> Taken {
        let place = origin(contact.addr);
        if contact.id == self.own {
            // Ourselves, or somebody who plays us.
            return Taken::Not;
        }
        if let Some(known) = self.places.get(&place).copied() {
            if known == contact {
                return self.refresh(now, contact);
            }
            // An id that changed at one address is another node there.
            let replaced = known.addr == contact.addr;
            if !replaced && self.find(&known).is_some_and(|entry| !entry.is_bad()) {
                return Taken::Not;
            }
            self.remove(&known);
        }
        let index = self.index_of(contact.id);
        let same_id = self.buckets.get(index).and_then(|bucket| {
            bucket.entries.iter().chain(&bucket.spares).find(|entry| entry.id == contact.id)
        });
        if let Some(other) = same_id {
            if other.failures == 0 {
                return Taken::Not;
            }
            let other = other.contact();
            self.remove(&other);
        }
        self.places.insert(place, contact);
        let Contact { id, addr } = contact;
        self.insert(now, Entry { id, addr, answered: now, heard: now, failures: 0 })
    }

    fn refresh(&mut self, now: Duration, contact: Contact) -> Taken {
        if let Some(entry) = self.find(&contact) {
            (entry.answered, entry.heard, entry.failures) = (now, now, 0);
        }
        let index = self.index_of(contact.id);
        let Some(bucket) = self.buckets.get_mut(index) else { return Taken::Not };
        if bucket.entries.iter().any(|entry| entry.id == contact.id) {
            bucket.changed = Some(now);
            return Taken::In;
        }
        Taken::Spare(oldest_questionable(bucket, now))
    }

    fn insert(&mut self, now: Duration, entry: Entry) -> Taken {
        loop {
            let index = self.index_of(entry.id);
            let depth = self.buckets.len();
            let is_home = index.saturating_add(1) == depth;
            let Some(bucket) = self.buckets.get_mut(index) else { return Taken::Not };
            if bucket.entries.len() < K {
                bucket.entries.push(entry);
                bucket.changed = Some(now);
                return Taken::In;
            }
            if is_home && depth < BITS {
                self.split(now);
                continue;
            }
            if let Some(bad) = bucket.entries.iter_mut().find(|entry| entry.is_bad()) {
                let gone = std::mem::replace(bad, entry);
                bucket.changed = Some(now);
                self.places.remove(&origin(gone.addr));
                return Taken::In;
            }
            if bucket.spares.len() >= SPARES_MAX {
                let gone = bucket.spares.remove(0);
                self.places.remove(&origin(gone.addr));
            }
            bucket.spares.push(entry);
            return Taken::Spare(oldest_questionable(bucket, now));
        }
    }

    fn split(&mut self, now: Duration) {
        let depth = self.buckets.len().saturating_sub(1);
        let Some(home) = self.buckets.last_mut() else { return };
        let own = self.own;
        let stays = |entry: &Entry| entry.id.common_bits(own) <= depth;
        let (stay, go) = home.entries.drain(..).partition(stays);
        let (spares_stay, spares_go) = home.spares.drain(..).partition(stays);
        (home.entries, home.spares) = (stay, spares_stay);
        let changed = home.changed;
        self.buckets.push(Bucket { entries: go, spares: spares_go, changed });
        for index in [depth, depth.saturating_add(1)] {
            self.promote(now, index);
        }
    }

    /// Fills free places of a bucket from its reserve, the latest to answer first, and among them
    /// those whose id follows from their address.
    fn promote(&mut self, now: Duration, index: usize) {
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        while bucket.entries.len() < K {
            let rank = |entry: &Entry| (is_secure(entry.id, entry.addr.ip()), entry.answered);
            let best = bucket.spares.iter().enumerate().max_by_key(|(_, entry)| rank(entry));
            let Some((best, _)) = best else { break };
            let best = bucket.spares.remove(best);
            bucket.entries.push(best);
            bucket.changed = Some(now);
        }
    }

    /// A node we know sent a query. Whether it is known.
    pub(crate) fn heard(&mut self, now: Duration, contact: &Contact) -> bool {
        let found = self.find(contact).map(|entry| entry.heard = now);
        found.is_some()
    }

    /// A query to this address was not answered in time.
    pub(crate) fn failed(&mut self, now: Duration, addr: SocketAddr) {
        let known = self.places.get(&origin(addr)).filter(|known| known.addr == addr).copied();
        let Some(contact) = known else { return };
        let contact = &contact;
        let Some(entry) = self.find(contact) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let (bad, hopeless) = (entry.is_bad(), entry.failures >= FAILURES_MAX);
        let index = self.index_of(contact.id);
        let has_spares = self.buckets.get(index).is_some_and(|bucket| !bucket.spares.is_empty());
        if hopeless || (bad && has_spares) {
            self.remove(contact);
            self.promote(now, index);
        }
    }

    fn remove(&mut self, contact: &Contact) {
        let index = self.index_of(contact.id);
        if let Some(bucket) = self.buckets.get_mut(index) {
            let is_other = |entry: &Entry| entry.id != contact.id || entry.addr != contact.addr;
            bucket.entries.retain(is_other);
            bucket.spares.retain(is_other);
        }
        self.places.remove(&origin(contact.addr));
    }

    /// Whether an unproven node is worth a ping: it could get a place, or its bucket needs reserves.
    pub(crate) fn wants(&self, contact: &Contact) -> bool {
        if contact.id == self.own || self.places.contains_key(&origin(contact.addr)) {
            return false;
        }
        let index = self.index_of(contact.id);
        let is_home = index.saturating_add(1) == self.buckets.len();
        self.buckets.get(index).is_some_and(|bucket| {
            bucket.entries.len() < K
                || (is_home && self.buckets.len() < BITS)
                || bucket.spares.len() < SPARES_MAX / 2
                || bucket.entries.iter().any(Entry::is_bad)
        })
    }

    /// The nodes closest to a target, the closest first, without those that are bad.
    pub(crate) fn closest(&self, target: Id, count: usize) -> Vec<Contact> {
        let mut nodes: Vec<&Entry> = self.entries().filter(|entry| !entry.is_bad()).collect();
        nodes.sort_by_cached_key(|entry| entry.id.distance(target));
        nodes.into_iter().take(count).map(Entry::contact).collect()
    }

    /// The node most in need of a ping: it failed, or was not heard of for long.
    pub(crate) fn to_check(&self, now: Duration) -> Option<Contact> {
        let questionable = self.entries().filter(|entry| entry.is_questionable(now));
        questionable.min_by_key(|entry| entry.heard).map(Entry::contact)
    }

    /// An id within a bucket that did not change for long, if there is one, which now counts as
    /// changed: looking it up is what refreshes it.
    pub(crate) fn take_quiet(&mut self, now: Duration, rng: &mut fastrand::Rng) -> Option<Id> {
        let home = self.buckets.len().saturating_sub(1);
        let quiet = |bucket: &Bucket| {
            bucket.changed.is_none_or(|changed| now.saturating_sub(changed) >= QUIET)
        };
        let (index, bucket) =
            self.buckets.iter_mut().enumerate().find(|(_, bucket)| quiet(bucket))?;
        bucket.changed = Some(now);
        Some(if index == home { self.own } else { self.own.random_at(index, rng) })
    }

    /// Has every bucket but our own refreshed next, as a newcomer does once.
    pub(crate) fn refresh_all(&mut self) {
        let home = self.buckets.len().saturating_sub(1);
        for bucket in self.buckets.iter_mut().take(home) {
            bucket.changed = None;
        }
    }

    /// Buckets, the unsplit one included.
    pub(crate) fn depth(&self) -> usize {
        self.buckets.len()
    }

    /// The same nodes around another id of ours.
    pub(crate) fn move_to(&mut self, now: Duration, own: Id) {
        let entries: Vec<Entry> = self
            .buckets
            .drain(..)
            .flat_map(|bucket| bucket.entries.into_iter().chain(bucket.spares))
            .collect();
        *self = Self::new(own, now);
        for entry in entries.into_iter().filter(|entry| entry.id != own) {
            self.places.insert(origin(entry.addr), entry.contact());
            self.insert(now, entry);
        }
    }

    /// Everybody who is not bad, for the next start.
    pub(crate) fn all(&self) -> impl Iterator<Item = Contact> {
        self.entries().filter(|entry| !entry.is_bad()).map(Entry::contact)
    }
}

fn oldest_questionable(bucket: &Bucket, now: Duration) -> Option<Contact> {
    let questionable = bucket.entries.iter().filter(|entry| entry.is_questionable(now));
    questionable.min_by_key(|entry| entry.heard).map(Entry::contact)
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
