//! Addresses that might be peers, and which to try next.

mod room;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wire::PexFlags;

use crate::{IpFilter, OpenTo, OwnPorts, PeerKey, Reach, Source, steps};
pub use ways::{Reached, Way};

/// Addresses known at one time. A tracker gives 200; trackers may lie, so there is an end.
const CANDIDATES_MAX: usize = 2000;
/// Of them, those that only peers told of: they may lie without end, and leave room for the others.
const HEARSAY_MAX: usize = 1000;
/// Attempts that may fail in a row before an address is forgotten.
const FAILURES_MAX: u32 = 6;
/// Wait after the first failure; doubles with each more.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_mins(30);
/// Wait before an address that was connected is dialled again.
const RECONNECT: Duration = Duration::from_secs(20);
/// How often an address is dialled because relays say so (BEP 55): there may be many of them, and each is
/// asked after each dial in vain. Both ends hear of it at the same time, so both wait alike.
const PUNCH_EVERY: Duration = Duration::from_secs(15);
/// A connection that lasted less is as good as a failed attempt: the peer is full, or dislikes us.
const LASTING: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle {
        from: Duration,
    },
    Dialling,
    Connected,
    /// It leads back to us: never dialled.
    Ourselves,
}

/// What came of the last address that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// None was, or the last one is connected.
    Nothing,
    /// Nobody answered there, or not as a peer.
    Unreached,
    /// It was connected and has left.
    Left,
    /// The same, and it is banned.
    Banned,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: Source,
    failures: u32,
    /// It only uploaded when last seen: of no use to who is complete.
    uploads_only: bool,
    /// Whether the last connection to it was encrypted.
    encrypted: Option<bool>,
    fallback: ways::Fallback,
    /// uTP led to it, where TCP had a head start.
    utp_won: bool,
    /// It can bring us together with others (BEP 55), as it or somebody else said.
    introduces: bool,
    /// The peer that told of it last, and what it said: it may bring us together (BEP 55).
    told: Option<(PeerKey, PexFlags)>,
    /// Its owner and we dial each other at this moment.
    punching: bool,
    /// When that began last.
    punched_at: Option<Duration>,
    state: State,
}

pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// Those that are idle, by when they may be dialled.
    idle: BTreeSet<(Duration, SocketAddr)>,
    dialling: u32,
    /// How many only peers told of.
    hearsay: usize,
    tried: Tried,
    /// Our IPv4 and our IPv6 address as others see them, for the canonical order (BEP 40).
    external: [Option<SocketAddr>; 2],
    /// From how far others come to us by TCP.
    open_to: OpenTo,
    filter: Arc<IpFilter>,
    /// How often somebody named an address that the filter refuses.
    filtered: u64,
}

impl Candidates {
    pub(crate) fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            idle: BTreeSet::new(),
            dialling: 0,
            hearsay: 0,
            tried: Tried::Nothing,
            external: [None; 2],
            open_to: Reach::World.into(),
            filter: Arc::default(),
            filtered: 0,
        }
    }

    pub(crate) fn set_external(&mut self, addr: SocketAddr) {
        let [v4, v6] = &mut self.external;
        *if addr.is_ipv4() { v4 } else { v6 } = Some(addr);
    }

    pub(crate) fn set_external_ports(&mut self, ports: OwnPorts) {
        for external in self.external.iter_mut().flatten() {
            external.set_port(ports.over(external.ip()).unwrap_or_default());
        }
    }

    /// Whom it refuses is never dialled: who is known is forgotten, unless it is being dialled or
    /// connected, which its end sees to.
    pub(crate) fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.filter = filter;
        let refused = self.idle.iter().filter(|(_, addr)| self.filter.contains(addr.ip()));
        for addr in refused.map(|(_, addr)| *addr).collect::<Vec<_>>() {
            self.filtered = self.filtered.saturating_add(1);
            self.forget(addr);
        }
    }

    /// Forgets everybody but whom a person named and who is being dialled.
    pub(crate) fn forget_heard(&mut self) {
        let heard = self.known.iter().filter(|(_, candidate)| {
            let held = matches!(candidate.state, State::Dialling | State::Ourselves);
            candidate.source != Source::User && !held
        });
        for addr in heard.map(|(addr, _)| *addr).collect::<Vec<_>>() {
            self.forget(addr);
        }
    }

    /// Whether the filter refuses an address.
    pub(crate) fn refuses(&self, ip: IpAddr) -> bool {
        self.filter.contains(ip)
    }

    pub(crate) fn filtered(&self) -> u64 {
        self.filtered
    }

    pub(crate) fn add(&mut self, now: Duration, source: Source, addr: SocketAddr) {
        let addr = canonical(addr);
        let ip = addr.ip();
        if addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) {
            return;
        }
        if self.filter.contains(ip) {
            self.filtered = self.filtered.saturating_add(1);
            return;
        }
        if let Some(candidate) = self.known.get_mut(&addr) {
            let was_hearsay = is_hearsay(candidate.source);
            if source == Source::User || was_hearsay && !is_hearsay(source) {
                candidate.source = source;
                self.hearsay -= usize::from(was_hearsay);
            }
            return;
        }
        if source != Source::User && self.is_crowded(ip) && !self.make_room_at(ip, source) {
            return;
        }
        if is_hearsay(source) && self.hearsay >= HEARSAY_MAX {
            if !self.make_room(is_hearsay) {
                return;
            }
        } else if self.known.len() >= CANDIDATES_MAX && !self.make_room(|_| true) {
            return;
        }
        self.hearsay += usize::from(is_hearsay(source));
        let state = State::Idle { from: now };
        self.idle.insert((now, addr));
        let candidate = Candidate {
            source,
            failures: 0,
            uploads_only: false,
            encrypted: None,
            fallback: ways::Fallback::default(),
            utp_won: false,
            introduces: false,
            told: None,
            punching: false,
            punched_at: None,
            state,
        };
        self.known.insert(addr, candidate);
    }

    /// Moves an address to another state, if it is known.
    fn enter(&mut self, addr: SocketAddr, state: State) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        match std::mem::replace(&mut candidate.state, state) {
            State::Idle { from } => _ = self.idle.remove(&(from, addr)),
            State::Dialling => self.dialling -= 1,
            State::Connected | State::Ourselves => {}
        }
        match state {
            State::Idle { from } => _ = self.idle.insert((from, addr)),
            State::Dialling => self.dialling += 1,
            State::Connected | State::Ourselves => {}
        }
    }

    fn forget(&mut self, addr: SocketAddr) -> bool {
        self.enter(addr, State::Ourselves); // which no index lists
        let forgotten = self.known.remove(&addr);
        self.hearsay -= usize::from(forgotten.is_some_and(|one| is_hearsay(one.source)));
        forgotten.is_some()
    }

    /// The best address that may be dialled now: whom a person named, then who failed least, then those
    /// that are not hearsay, of which there may be a thousand lies, then the canonical order.
    pub(crate) fn next(
        &mut self,
        now: Duration,
        complete: bool,
        refused: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let [v4, v6] = self.external;
        let ready = self.of_use(complete, refused).take_while(|(from, ..)| *from <= now);
        let best = ready.min_by_key(|(_, addr, candidate)| {
            let external = if addr.is_ipv4() { v4 } else { v6 };
            let priority = external.map_or(0, |ours| wire::peer_priority(ours, *addr));
            let Candidate { source, failures, .. } = **candidate;
            (source != Source::User, failures, is_hearsay(source), u32::MAX - priority, *addr)
        });
        let (_, addr, _) = best?;
        self.enter(addr, State::Dialling);
        Some(addr)
    }

    /// The addresses worth dialling, by when they may be. Who is `complete` has no use for those
    /// that only upload.
    fn of_use(
        &self,
        complete: bool,
        refused: impl Fn(SocketAddr) -> bool,
    ) -> impl Iterator<Item = (Duration, SocketAddr, &Candidate)> {
        self.idle.iter().filter_map(move |(from, addr)| {
            steps::count();
            let candidate = self.known.get(addr)?;
            let useless = complete && candidate.uploads_only
                || refused(*addr)
                || self.external.contains(&Some(*addr));
            (!useless).then_some((*from, *addr, candidate))
        })
    }

    /// When the next one may be dialled.
    pub(crate) fn next_at(
        &self,
        complete: bool,
        refused: impl Fn(SocketAddr) -> bool,
    ) -> Option<Duration> {
        self.of_use(complete, refused).next().map(|(from, ..)| from)
    }

    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        self.punched(addr);
        self.enter(addr, State::Connected);
    }

    /// The peer that is connected listens elsewhere now: its address is dialled again if somebody else
    /// knows of it.
    pub(crate) fn moved_away(&mut self, now: Duration, addr: SocketAddr) {
        let Some(candidate) = self.known.get(&addr) else { return };
        if candidate.source == Source::Incoming {
            self.forget(addr);
        } else if candidate.state == State::Connected {
            self.enter(addr, State::Idle { from: now + RECONNECT });
        }
    }

    /// A peer told of it.
    pub(crate) fn told(&mut self, addr: SocketAddr, by: PeerKey, flags: PexFlags) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.told = Some((by, flags));
            candidate.introduces |= flags.has(PexFlags::HOLEPUNCH);
        }
    }

    /// The peer that told of it last.
    pub(crate) fn told_by(&self, addr: SocketAddr) -> Option<PeerKey> {
        self.known.get(&addr)?.told.map(|(by, _)| by)
    }

    /// Whether nobody was seen to reach it, and it can be brought together with others: who told of
    /// it does that while it is dialled, not after.
    pub(crate) fn needs_introduction(&self, addr: SocketAddr) -> bool {
        let told = self.known.get(&addr).and_then(|candidate| candidate.told);
        told.is_some_and(|(_, flags)| {
            flags.has(PexFlags::HOLEPUNCH) && !flags.has(PexFlags::REACHABLE)
        })
    }

    /// That peer can't bring us together, and is not asked again.
    pub(crate) fn not_introduced(&mut self, addr: SocketAddr, by: PeerKey) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.told.take_if(|(teller, _)| *teller == by);
        }
    }

    /// Begins to dial an address as its owner dials us, whether or not it is dialled in the usual way
    /// too; false where that makes no sense.
    pub(crate) fn punch(&mut self, now: Duration, addr: SocketAddr) -> bool {
        let Some(candidate) = self.known.get_mut(&addr) else { return false };
        let apart = matches!(candidate.state, State::Idle { .. } | State::Dialling);
        let may = candidate.punched_at.is_none_or(|at| now >= at + PUNCH_EVERY);
        if !apart || candidate.punching || !may {
            return false;
        }
        (candidate.punching, candidate.punched_at) = (true, Some(now));
        true
    }

    /// That led to nothing.
    pub(crate) fn punched(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.punching = false;
        }
    }

    /// Whether it leads back to us, as far as we know.
    pub(crate) fn is_ourselves(&self, addr: SocketAddr) -> bool {
        let is_own = |candidate: &Candidate| candidate.state == State::Ourselves;
        self.external.contains(&Some(addr)) || self.known.get(&addr).is_some_and(is_own)
    }

    /// A connection ended after `lasted`. `jitter` is 0 to 1.
    pub(crate) fn disconnected(
        &mut self,
        now: Duration,
        addr: SocketAddr,
        lasted: Duration,
        uploads_only: bool,
        jitter: f64,
    ) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.uploads_only = uploads_only;
        if self.filter.contains(addr.ip()) {
            self.forget(addr);
        } else if lasted < LASTING {
            self.failed(now, addr, jitter);
        } else {
            candidate.failures = 0;
            self.enter(addr, State::Idle { from: now + RECONNECT });
        }
    }

    /// Something is wanted again: who only uploads, and was left for that alone, may be dialled now.
    pub(crate) fn want_seeds(&mut self, now: Duration) {
        let seeds = self.known.iter_mut().filter(|(_, candidate)| candidate.uploads_only);
        let idle = seeds.filter(|(_, candidate)| matches!(candidate.state, State::Idle { .. }));
        let addrs: Vec<SocketAddr> = idle
            .map(|(addr, candidate)| {
                candidate.failures = 0;
                *addr
            })
            .collect();
        addrs.into_iter().for_each(|addr| self.enter(addr, State::Idle { from: now }));
    }

    /// Nobody answered, or not as a peer. `jitter` is 0 to 1.
    pub(crate) fn unreached(&mut self, now: Duration, addr: SocketAddr, jitter: f64) {
        self.tried = Tried::Unreached;
        self.punched(addr);
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.way_failed();
        // It may have come to us in the meantime.
        if candidate.state != State::Connected {
            self.failed(now, addr, jitter);
        }
    }

    fn failed(&mut self, now: Duration, addr: SocketAddr, jitter: f64) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.failures += 1;
        let hopeless = candidate.failures > FAILURES_MAX && candidate.source != Source::User;
        if hopeless || self.filter.contains(addr.ip()) {
            self.forget(addr);
            return;
        }
        let doubled = RETRY_FIRST * 2u32.pow((candidate.failures - 1).min(10));
        let wait = doubled.min(RETRY_MAX).mul_f64(1.0 + jitter / 4.0);
        self.enter(addr, State::Idle { from: now + wait });
    }

    /// What failed until now says nothing of the addresses: all may be dialled at once.
    pub(crate) fn forgive(&mut self, now: Duration) {
        let waiting: Vec<_> = self.idle.iter().map(|(_, addr)| *addr).collect();
        for addr in waiting {
            self.enter(addr, State::Idle { from: now });
        }
        for candidate in self.known.values_mut() {
            candidate.failures = 0;
            candidate.fallback = ways::Fallback::default();
            candidate.utp_won = false;
        }
    }

    /// The address is our own.
    pub(crate) fn ourselves(&mut self, addr: SocketAddr) {
        self.enter(addr, State::Ourselves);
    }

    /// Where an address is from, if it is being dialled.
    pub(crate) fn dialled_from(&self, addr: SocketAddr) -> Option<Source> {
        let candidate = self.known.get(&addr)?;
        (candidate.state == State::Dialling).then_some(candidate.source)
    }

    /// Every address but our own.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Source, SocketAddr)> {
        let others = self.known.iter().filter(|(_, it)| it.state != State::Ourselves);
        others.map(|(addr, candidate)| (candidate.source, *addr))
    }

    /// Somebody is connected, wherever from, or has gone.
    pub(crate) fn came_to(&mut self, tried: Tried) {
        self.tried = tried;
    }

    pub(crate) fn tried(&self) -> Tried {
        self.tried
    }

    /// Whether nobody is known, nor was.
    pub(crate) fn is_blank(&self) -> bool {
        self.known.is_empty() && self.tried == Tried::Nothing && self.filtered == 0
    }

    /// Whether no address is dialled or will be.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.dialling == 0
    }

    pub(crate) fn len(&self) -> u32 {
        self.known.len() as u32
    }

    pub(crate) fn dialling(&self) -> u32 {
        self.dialling
    }
}

fn is_hearsay(source: Source) -> bool {
    matches!(source, Source::PeerExchange | Source::LocalDiscovery)
}

/// An IPv4 address in the clothes of IPv6 leads where it leads without them.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => addr, // with its link
        ip => SocketAddr::new(ip, addr.port()),
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

#[cfg(test)]
mod tests;
