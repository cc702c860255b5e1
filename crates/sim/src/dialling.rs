//! Dials: a race between TCP and uTP, over networks that let through what they like, and what the brain
//! is told of it. The counterpart of the engine's `connect`, `peer/outgoing` and `torrent/dial`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use swarm::{Leg, OpenTo, Race, Transports, Way};

use crate::invariants::Invariant;
use crate::network::HANDSHAKE_LIMIT;
use crate::node::LinkId;
use crate::plan::{Behaviour, Broken, Nat, Speaks, TcpPath};
use crate::stream::Chunk;
use crate::world::{Event, World};

/// Who does not answer a dial.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
/// After which a uTP connection's first packet is sent again.
const RESEND: Duration = Duration::from_secs(1);
/// How long a packet that went out keeps a NAT open.
const HOLE_LASTS: Duration = Duration::from_secs(7);
/// A connection that lasted less counts as a dial in vain, and after some of them the brain forgets the
/// address and how it was reached.
const LASTING: Duration = Duration::from_mins(1);
/// What one address is dialled in a minute at most: at once, ten seconds later and after twenty more, or
/// by uTP after two, and once more when it was forgotten in between.
const DIALS_A_MINUTE_MAX: usize = 4;
/// The same of dials that a relay asked for: one in fifteen seconds.
const PUNCHES_A_MINUTE_MAX: usize = 4;

/// A dial under way.
pub(crate) struct Dial {
    addr: SocketAddr,
    /// Its owner dials us at the same time (BEP 55).
    punch: bool,
    race: Race,
    began: Duration,
    round_trip: Duration,
}

/// What came of one way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// A connection, if the other side is there.
    Connection,
    /// Nothing.
    Nothing,
}

/// A node's dials, and what it may be held to by them.
#[derive(Default)]
pub(crate) struct Dials {
    under_way: BTreeMap<u64, Dial>,
    next: u64,
    /// When each address was dialled in the last minute, punches apart.
    recent: BTreeMap<(SocketAddr, bool), Vec<Duration>>,
    /// By what the address led to a peer when it was last dialled, and when.
    reached: BTreeMap<SocketAddr, (Leg, Duration)>,
    /// In which order it was.
    orders: BTreeMap<SocketAddr, &'static [Leg]>,
    /// From how far others came by TCP.
    open_to: OpenTo,
    /// How many peers were reached by TCP, and by uTP.
    pub(crate) reached_by: [u32; 2],
}

impl Dials {
    /// The program is started again, and knows of nothing.
    pub(crate) fn begins_anew(&mut self) {
        *self = Self { reached_by: self.reached_by, ..Self::default() };
    }
}

impl World {
    /// From how far the peer is known to be reached.
    pub(crate) fn open_to(&self, node: usize) -> OpenTo {
        self.nodes[node].dials.open_to
    }

    /// Begins a dial; what comes of it are events.
    pub(crate) fn dial(&mut self, node: usize, addr: SocketAddr, way: Way, punch: bool) {
        let transports = if punch { Transports::UtpAlone } else { way.transports };
        let speaks = self.nodes[node].plan.speaks;
        let legs = transports.legs(speaks.tcp(), speaks.utp());
        self.check_dial(node, addr, legs, punch);
        let (now, round_trip) = (self.now, self.latency() * 2);
        let dials = &mut self.nodes[node].dials;
        dials.next += 1;
        let number = dials.next;
        let dial = Dial { addr, punch, race: Race::new(now, legs), began: now, round_trip };
        dials.under_way.insert(number, dial);
        self.race_on(node, number);
    }

    /// Begins what is due of a dial, and ends it when nothing is left.
    pub(crate) fn race_on(&mut self, node: usize, number: u64) {
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        loop {
            let Some(dial) = self.nodes[node].dials.under_way.get_mut(&number) else { return };
            let Some(leg) = dial.race.begin(now) else { break };
            let (addr, punch) = (dial.addr, dial.punch);
            let rest = (dial.began + DIAL_LIMIT).saturating_sub(now);
            let round_trip = dial.round_trip;
            let answer = if punch {
                self.opens_hole(node, addr);
                Some((RESEND + round_trip, Came::Connection))
            } else {
                self.answer(node, addr, leg).map(|came| (round_trip, came))
            };
            let (takes, came) = answer.unwrap_or((rest, Came::Nothing));
            self.queue.push(now + takes, Event::Answer { node, epoch, dial: number, leg, came });
        }
        let Some(dial) = self.nodes[node].dials.under_way.get(&number) else { return };
        if dial.race.is_over(now) {
            let Dial { addr, punch, .. } = *dial;
            self.nodes[node].dials.under_way.remove(&number);
            self.dial_ended(node, addr, punch, false);
        } else if let Some(at) = dial.race.next_at() {
            self.queue.push(at, Event::RaceOn { node, epoch, dial: number });
        }
    }

    /// What answers a first packet; `None` when nothing does.
    fn answer(&mut self, node: usize, addr: SocketAddr, leg: Leg) -> Option<Came> {
        if leg == Leg::Utp && !self.nodes[node].plan.paths.no_utp {
            self.opens_hole(node, addr);
        }
        let target = self.at.get(&addr.ip()).copied()?;
        let (from, to) = (&self.nodes[node].plan, &self.nodes[target]);
        let is_there = to.addr == addr
            && to.plan.nat == Nat::Open
            && to.running
            && !self.is_separated(node, target);
        if !is_there {
            return None;
        }
        match (leg, from.paths.tcp.max(to.plan.paths.tcp)) {
            (Leg::Utp, _) if from.paths.no_utp || to.plan.paths.no_utp => None,
            (Leg::Utp, _) if !to.plan.speaks.utp() => Some(Came::Nothing),
            (Leg::Tcp, TcpPath::Vanishes) => None,
            (Leg::Tcp, TcpPath::Refused) => Some(Came::Nothing),
            _ => Some(Came::Connection),
        }
    }

    /// A NAT lets in what comes from where something was sent to.
    fn opens_hole(&mut self, node: usize, addr: SocketAddr) {
        let until = self.now + HOLE_LASTS;
        self.nodes[node].holes.insert(addr.ip(), until);
    }

    fn is_let_in(&self, node: usize, target: usize) -> bool {
        let holes = &self.nodes[target].holes;
        holes.get(&self.nodes[node].addr.ip()).is_some_and(|until| self.now < *until)
    }

    /// Something came of a way to an address, or its time is up.
    pub(crate) fn answered_dial(&mut self, node: usize, number: u64, leg: Leg, came: Came) {
        let Some(dial) = self.nodes[node].dials.under_way.get(&number) else { return };
        let Dial { addr, punch, round_trip, .. } = *dial;
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        if came == Came::Connection && leg == Leg::Tcp {
            let hollow = self.is_hollow(node, addr);
            if let Some(path) = hollow {
                self.nodes[node].dials.under_way.remove(&number);
                let silent = path == TcpPath::Silent;
                let after = if silent { HANDSHAKE_LIMIT } else { round_trip };
                return self.queue.push(now + after, Event::HungUp { node, epoch, addr });
            }
        }
        let target = (came == Came::Connection).then(|| self.lets_in(node, addr, leg, punch));
        if let Some(target) = target.flatten() {
            self.nodes[node].dials.under_way.remove(&number);
            let link = self.connect(node, target, addr, leg);
            return self.dialled(node, link);
        }
        let Some(dial) = self.nodes[node].dials.under_way.get_mut(&number) else { return };
        let gone = now.saturating_sub(dial.began);
        if punch && gone < DIAL_LIMIT {
            // Sent again, each time after twice as long.
            let at = (dial.began + gone * 2 + RESEND).min(dial.began + DIAL_LIMIT);
            self.opens_hole(node, addr);
            let again = Event::Answer { node, epoch, dial: number, leg, came };
            return self.queue.push(at, again);
        }
        dial.race.failed(now);
        self.race_on(node, number);
    }

    /// Whether a middlebox takes the TCP connection, or somebody who wants none: how.
    fn is_hollow(&self, node: usize, addr: SocketAddr) -> Option<TcpPath> {
        let target = &self.nodes[*self.at.get(&addr.ip())?];
        match self.nodes[node].plan.paths.tcp.max(target.plan.paths.tcp) {
            path @ (TcpPath::Closed | TcpPath::Silent) => Some(path),
            TcpPath::Through if !target.plan.speaks.tcp() => Some(TcpPath::Closed),
            _ => None,
        }
    }

    /// Who takes the connection now, if anybody does.
    fn lets_in(&self, node: usize, addr: SocketAddr, leg: Leg, punch: bool) -> Option<usize> {
        let target = self.at.get(&addr.ip()).copied()?;
        let (from, there) = (&self.nodes[node].plan, &self.nodes[target]);
        let passes = leg == Leg::Tcp
            || !from.paths.no_utp && !there.plan.paths.no_utp && there.plan.speaks.utp();
        let punched = punch && there.plan.nat == Nat::Outgoing && self.is_let_in(node, target);
        let lets_in = there.addr == addr
            && there.running
            && (there.plan.nat == Nat::Open || punched)
            && passes
            && target != node
            && !self.is_separated(node, target)
            && self.is_listening(target)
            && from.nat != Nat::Unreachable;
        lets_in.then_some(target)
    }

    /// A connection is there.
    fn dialled(&mut self, node: usize, link: LinkId) {
        if matches!(self.nodes[node].plan.behaviour, Behaviour::Script(_)) {
            return self.script_connected(node, link);
        }
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.half_open -= 1;
        }
        let bytes = self.handshake_of(node).encode().to_vec();
        self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
        self.wake(node);
    }

    /// TCP was taken, and nobody was behind it.
    pub(crate) fn hung_up(&mut self, node: usize, addr: SocketAddr) {
        self.dial_ended(node, addr, false, true);
    }

    /// No connection came of a dial.
    fn dial_ended(&mut self, node: usize, addr: SocketAddr, punch: bool, hung_up: bool) {
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.half_open -= 1;
            if punch {
                brain.swarm.punch_failed(addr);
            }
        }
        if !punch {
            self.dial_failed(node, addr, hung_up);
        }
        self.wake(node);
    }

    /// An address that was dialled did not become a peer.
    pub(crate) fn dial_failed(&mut self, node: usize, addr: SocketAddr, hung_up: bool) {
        let (now, both) = (self.now, self.nodes[node].plan.speaks == Speaks::Both);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        if hung_up && both {
            brain.swarm.dial_hung_up(now, addr);
        } else {
            brain.swarm.dial_failed(now, addr);
        }
        if self.plan.broken == Some(Broken::DialsAgain) {
            brain.swarm.dial_again(now);
        }
        self.nodes[node].dials.reached.remove(&addr);
    }

    /// A dial led to a peer, which shook hands.
    pub(crate) fn reached(&mut self, node: usize, addr: SocketAddr, leg: Leg) {
        let now = self.now;
        let dials = &mut self.nodes[node].dials;
        // uTP that had the head start says nothing against TCP.
        let by_wish = leg == Leg::Utp
            && dials.orders.get(&addr).is_some_and(|legs| legs.starts_with(&[Leg::Utp, Leg::Tcp]))
            && dials.reached.get(&addr).is_none_or(|(last, _)| *last == Leg::Tcp);
        if by_wish {
            dials.reached.remove(&addr);
        } else {
            dials.reached.insert(addr, (leg, now));
        }
        dials.reached_by[usize::from(leg == Leg::Utp)] += 1;
        let reached = swarm::Reached { encrypted: false, utp: leg == Leg::Utp };
        if let Some(brain) = &mut self.nodes[node].brain
            && self.plan.broken != Some(Broken::ForgetsTheWay)
        {
            brain.swarm.opened(addr, reached);
        }
    }

    /// It was not let in.
    pub(crate) fn refused(&mut self, node: usize, addr: SocketAddr) {
        self.nodes[node].dials.reached.remove(&addr);
    }

    /// The connection to an address that was dialled is over.
    pub(crate) fn left(&mut self, node: usize, addr: SocketAddr) {
        let now = self.now;
        let reached = &mut self.nodes[node].dials.reached;
        if reached.get(&addr).is_some_and(|(_, since)| now < *since + LASTING) {
            reached.remove(&addr);
        }
    }

    /// Somebody came by TCP.
    pub(crate) fn came_in(&mut self, node: usize, from: SocketAddr) {
        self.nodes[node].dials.open_to.came_from(from.ip());
    }
}

impl World {
    /// Nobody is dialled too often, and what led to a peer last is what is tried first.
    fn check_dial(&mut self, node: usize, addr: SocketAddr, legs: &'static [Leg], punch: bool) {
        if !self.nodes[node].is_honest() {
            return;
        }
        let now = self.now;
        let dials = &mut self.nodes[node].dials;
        let recent = dials.recent.entry((addr, punch)).or_default();
        recent.retain(|at| *at + Duration::from_mins(1) > now);
        recent.push(now);
        let (count, max) =
            (recent.len(), if punch { PUNCHES_A_MINUTE_MAX } else { DIALS_A_MINUTE_MAX });
        let last = dials.reached.get(&addr).map(|(leg, _)| *leg);
        if !punch {
            dials.orders.insert(addr, legs);
        }
        let falls_behind = last == Some(Leg::Utp) && legs.first() != Some(&Leg::Utp);
        if count > max {
            let what = format!("{addr} {count} times within a minute");
            self.violated(Invariant::Dialled, node, what);
        }
        if falls_behind && !punch {
            let what = format!("{addr} by {legs:?}, and uTP led there");
            self.violated(Invariant::Way, node, what);
        }
    }
}
