//! Which address makes room for another: lies are without end, and displace nothing that is better known.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Candidates, RECONNECT, State, is_hearsay};
use crate::{Reach, Source, steps};

/// Ports of one address that others than a person name: behind one there may be a few peers, and nobody
/// is to have us knock at all the doors of somebody's house.
pub(super) const OF_ONE_ADDRESS_MAX: usize = 8;

impl Candidates {
    /// Whether enough is known of an address. Those of our own network are named by who is there.
    pub(super) fn is_crowded(&self, ip: IpAddr) -> bool {
        let known = self.known.range(ports_of(ip)).count();
        Reach::of(ip) == Reach::World && known >= OF_ONE_ADDRESS_MAX
    }

    /// Forgets an idle port of this address for one that comes from `source`: one that only peers told of,
    /// or else one where nobody was. False when there is none, or the new one is hearsay itself.
    pub(super) fn make_room_at(&mut self, ip: IpAddr, source: Source) -> bool {
        if is_hearsay(source) {
            return false;
        }
        let of_less = self.known.range(ports_of(ip)).filter(|(_, candidate)| {
            let is_less = is_hearsay(candidate.source) || candidate.failures > 0;
            is_less && candidate.source != Source::User && candidate.is_idle()
        });
        let least = of_less.max_by_key(|(_, it)| (is_hearsay(it.source), it.failures));
        least.map(|(addr, _)| *addr).is_some_and(|addr| self.forget(addr))
    }

    /// Forgets the idle address that failed most, of those `from` somewhere; false when none failed.
    pub(super) fn make_room(&mut self, from: impl Fn(Source) -> bool) -> bool {
        let failed = self.known.iter().filter(|(_, candidate)| {
            candidate.failures > 0 && candidate.is_idle() && from(candidate.source)
        });
        let worst = failed.max_by_key(|(_, candidate)| candidate.failures).map(|(addr, _)| *addr);
        worst.is_some_and(|addr| self.forget(addr))
    }

    /// There was no place for who was reached there, which is no failure.
    pub(crate) fn has_no_place(&mut self, now: Duration, addr: SocketAddr) {
        self.punched(addr);
        if self.known.get(&addr).is_some_and(|it| it.state == State::Dialling) {
            self.enter(addr, State::Idle { from: now + RECONNECT });
        }
    }

    /// Who might be dialled now and would have no place is looked at again later.
    pub(crate) fn put_off(&mut self, now: Duration, has_no_place: impl Fn(IpAddr) -> bool) {
        let ready = self.idle.iter().take_while(|(from, _)| *from <= now);
        let ready = ready.inspect(|_| steps::count()).filter(|(_, addr)| has_no_place(addr.ip()));
        for addr in ready.map(|(_, addr)| *addr).collect::<Vec<_>>() {
            self.enter(addr, State::Idle { from: now + RECONNECT });
        }
    }
}

fn ports_of(ip: IpAddr) -> std::ops::RangeInclusive<SocketAddr> {
    SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX)
}

impl super::Candidate {
    fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle { .. })
    }
}
