//! One walk towards a target (BEP 5): ask the closest nodes we know for closer ones, a few at a
//! time, until the closest eight have all answered.
//!
//! What nodes tell is a hint and no more. The list is bounded, one address has one place in it,
//! and an id only counts once the node itself has confirmed it: a wrong id in somebody's mouth
//! costs a query, never the node that has the address. Nodes whose id does not follow from their
//! address (BEP 42) are asked, but the walk does not end with them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::address::{Contact, Origin, origin};
use crate::id::{Distance, Id};
use crate::secure::is_secure;
use crate::table::K;

/// Queries on their way at once.
const PARALLEL: usize = 4;

/// Of those, to nodes that break BEP 42's rule: liars must not take all the places.
const PARALLEL_INSECURE: usize = 3;

/// Candidates kept; the furthest that were not asked go first, those with
/// improper ids before others.
const CANDIDATES_MAX: usize = 160;

/// Queries of one walk. An honest one needs about thirty.
const QUERIES_MAX: usize = 120;

/// Nodes believed from one answer.
const TOLD_MAX: usize = K;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// Asked, and late: another may be asked meanwhile.
    Slow,
    Answered,
}

#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// `None`: an address and no more, as bootstrap nodes are.
    pub(crate) id: Option<Id>,
    pub(crate) addr: SocketAddr,
    pub(crate) token: Option<Vec<u8>>,
    /// Number of the item it has, of a mutable one.
    pub(crate) seq: Option<i64>,
    /// Nodes asked on the way to it, itself included.
    pub(crate) hops: u8,
    distance: Distance,
    is_secure: bool,
    state: State,
}

impl Candidate {
    pub(crate) fn contact(&self) -> Option<Contact> {
        Some(Contact { id: self.id?, addr: self.addr })
    }
}

#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) target: Id,
    own: Id,
    /// By distance.
    candidates: Vec<Candidate>,
    /// Everybody who ever was in it.
    seen: BTreeSet<Origin>,
    queries: usize,
    /// Who answered.
    pub(crate) answers: usize,
}

impl Lookup {
    pub(crate) fn new(target: Id, own: Id) -> Self {
        let (candidates, seen) = (Vec::new(), BTreeSet::new());
        Self { target, own, candidates, seen, queries: 0, answers: 0 }
    }

    /// Whom to begin with.
    pub(crate) fn begin_with(&mut self, id: Option<Id>, addr: SocketAddr) {
        self.add(id, addr, 1);
    }

    fn add(&mut self, id: Option<Id>, addr: SocketAddr, hops: u8) {
        if id == Some(self.own) || !self.seen.insert(origin(addr)) {
            return;
        }
        self.place(Candidate {
            id,
            addr,
            token: None,
            seq: None,
            hops,
            distance: Distance::FURTHEST,
            is_secure: true, // until it has an id to judge
            state: State::New,
        });
        if self.candidates.len() > CANDIDATES_MAX {
            let new = |c: &Candidate| c.state == State::New;
            let furthest = self.candidates.iter().rposition(|c| new(c) && !c.is_secure);
            let furthest = furthest.or_else(|| self.candidates.iter().rposition(new));
            if let Some(gone) = furthest.map(|at| self.candidates.remove(at)) {
                self.seen.remove(&origin(gone.addr)); // it may be told of again
            }
        }
    }

    /// Puts a candidate where its id belongs.
    fn place(&mut self, mut candidate: Candidate) {
        if let Some(id) = candidate.id {
            candidate.distance = id.distance(self.target);
            candidate.is_secure = is_secure(id, candidate.addr.ip());
        }
        let at = self.candidates.partition_point(|other| other.distance <= candidate.distance);
        self.candidates.insert(at, candidate);
    }

    /// Whom to ask next; it counts as asked.
    pub(crate) fn next(&mut self) -> Option<SocketAddr> {
        let asked = self.candidates.iter().filter(|c| c.state == State::Asked);
        let (mut all, mut insecure) = (0_usize, 0_usize);
        for candidate in asked {
            all = all.saturating_add(1);
            insecure = insecure.saturating_add(usize::from(!candidate.is_secure));
        }
        if all >= PARALLEL || self.queries >= QUERIES_MAX {
            return None;
        }
        // However close the liars claim to be, every fourth query goes to a node with a proper id.
        let only_secure = insecure >= PARALLEL_INSECURE;
        let rather_secure = self.queries % PARALLEL == PARALLEL.saturating_sub(1);
        let last = self.end_of_search();
        let within = self.candidates.get_mut(..last)?;
        let secure = within.iter().position(|c| c.state == State::New && c.is_secure);
        let any = within.iter().position(|c| c.state == State::New);
        let at = if only_secure || rather_secure { secure } else { None };
        let next = within.get_mut(at.or(any.filter(|_| !only_secure))?)?;
        next.state = State::Asked;
        self.queries = self.queries.saturating_add(1);
        Some(next.addr)
    }

    /// The query did not leave; the candidate is asked later.
    pub(crate) fn not_asked(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.addr == addr) {
            candidate.state = State::New;
            self.queries = self.queries.saturating_sub(1);
        }
    }

    /// Candidates behind this place need not be asked: enough closer ones have answered.
    fn end_of_search(&self) -> usize {
        let answered = |c: &Candidate| c.state == State::Answered && c.is_secure;
        let mut secure = self.candidates.iter().enumerate().filter(|(_, c)| answered(c));
        secure.nth(K.saturating_sub(1)).map_or(self.candidates.len(), |(at, _)| at)
    }

    /// Nobody closer can answer any more.
    pub(crate) fn is_over(&self) -> bool {
        let within = self.candidates.get(..self.end_of_search()).unwrap_or(&self.candidates);
        let spent = self.queries >= QUERIES_MAX;
        !within.iter().any(|c| match c.state {
            State::New => !spent,
            State::Asked | State::Slow => true,
            State::Answered => false,
        })
    }

    /// A candidate answered, under its own id and with what it knows. Gives its hops.
    pub(crate) fn answered(
        &mut self,
        from: Contact,
        told: &[Contact],
        token: Option<&[u8]>,
        seq: Option<i64>,
    ) -> Option<u8> {
        let at = self.candidates.iter().position(|c| c.addr == from.addr)?;
        let mut candidate = self.candidates.remove(at);
        if from.id == self.own {
            return None; // our own echo
        }
        self.answers = self.answers.saturating_add(1);
        let hops = candidate.hops;
        candidate.id = Some(from.id);
        candidate.state = State::Answered;
        candidate.token = token.map(<[u8]>::to_vec);
        candidate.seq = seq;
        self.place(candidate);
        for contact in told.iter().take(TOLD_MAX) {
            self.add(Some(contact.id), contact.addr, hops.saturating_add(1));
        }
        Some(hops)
    }

    /// No answer yet, but it may still come.
    pub(crate) fn slow(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.addr == addr)
            && candidate.state == State::Asked
        {
            candidate.state = State::Slow;
        }
    }

    /// No answer, or none that is worth anything. It is not asked again.
    pub(crate) fn failed(&mut self, addr: SocketAddr) {
        self.candidates.retain(|c| c.addr != addr || c.state == State::Answered);
    }

    /// Where something is to be kept: the eight closest with proper ids, and up to four without
    /// that are closer than the last of them, since others will ask those too.
    pub(crate) fn closest(&self) -> Vec<&Candidate> {
        let end = self.end_of_search().saturating_add(1);
        let mut insecure = 0_usize;
        let answered = self.candidates.iter().take(end).filter(|c| c.state == State::Answered);
        let few = answered.clone().filter(|c| c.is_secure).count() < K;
        answered
            .filter(|c| {
                insecure = insecure.saturating_add(usize::from(!c.is_secure));
                c.is_secure || insecure <= if few { K } else { K / 2 }
            })
            .take(K.saturating_add(K / 2))
            .collect()
    }

    /// Everybody who answered, to begin a walk from another address with (BEP 45).
    pub(crate) fn responders(&self) -> impl Iterator<Item = Contact> {
        self.candidates.iter().filter(|c| c.state == State::Answered).filter_map(Candidate::contact)
    }
}

#[cfg(test)]
#[path = "lookup/tests.rs"]
mod tests;
