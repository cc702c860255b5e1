//! Finds the longest datagram that a path carries, while it carries data.
//!
//! Nothing is ever fragmented, and the bytes of a packet can't be cut anew once it was sent: the
//! peer may have it. So a probe is a packet of a length that is known to pass, made longer by
//! extensions that every client skips. When it is lost, the same bytes leave without them.

use crate::seq::{Micros, SECOND, Seq};

/// What every path of 1,280 bytes carries, IPv6 header and UDP header apart.
const FLOOR: usize = 1_232;
/// Closer than this is found.
const CLOSE: usize = 16;
/// A probe is lost as easily as any packet: one that is lost twice was too long.
const TRIES: u8 = 2;
/// Routes change.
const AGAIN_AFTER: Micros = 600 * SECOND;

#[derive(Debug)]
pub(crate) struct Mtu {
    floor: usize,
    ceiling: usize,
    ceiling_start: usize,
    probe: Option<(Seq, usize)>,
    /// How often a probe of the length that is next was lost.
    lost: u8,
    /// The first probe has the most that there may be: it usually passes.
    tried: bool,
    found_at: Option<Micros>,
}

impl Mtu {
    /// Looks for lengths up to `ceiling`.
    pub(crate) fn new(ceiling: usize) -> Self {
        let floor = FLOOR.min(ceiling);
        Self {
            floor,
            ceiling,
            ceiling_start: ceiling,
            probe: None,
            lost: 0,
            tried: false,
            found_at: None,
        }
    }

    /// The length of a datagram that passes.
    pub(crate) fn packet(&self) -> usize {
        self.floor
    }

    /// The length to probe for, when it is time.
    pub(crate) fn due(&mut self, now: Micros) -> Option<usize> {
        if self.probe.is_some() {
            return None;
        }
        if self.ceiling.saturating_sub(self.floor) < CLOSE {
            let found_at = *self.found_at.get_or_insert(now);
            let again = now.saturating_sub(found_at) >= AGAIN_AFTER;
            if !again || self.ceiling_start.saturating_sub(self.floor) < CLOSE {
                return None;
            }
            (self.ceiling, self.tried, self.found_at) = (self.ceiling_start, false, None);
        }
        Some(if self.tried { self.floor.midpoint(self.ceiling) } else { self.ceiling })
    }

    pub(crate) fn sent(&mut self, seq: Seq, length: usize) {
        self.probe = Some((seq, length));
    }

    /// The packet that is a probe.
    pub(crate) fn probing(&self) -> Option<Seq> {
        self.probe.map(|(seq, _)| seq)
    }

    /// A packet arrived; true when longer ones may be sent from now on.
    pub(crate) fn arrived(&mut self, seq: Seq) -> bool {
        let Some((_, length)) = self.probe.take_if(|(probe, _)| *probe == seq) else {
            return false;
        };
        (self.floor, self.lost, self.tried) = (length, 0, true);
        true
    }

    /// A packet was lost; true when it may have been for its length alone.
    pub(crate) fn lost(&mut self, seq: Seq) -> bool {
        let Some((_, length)) = self.probe.take_if(|(probe, _)| *probe == seq) else {
            return false;
        };
        self.lost = self.lost.saturating_add(1);
        if self.lost >= TRIES {
            (self.lost, self.tried) = (0, true);
            self.ceiling = length.saturating_sub(1).max(self.floor);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes on a path that carries `most` bytes.
    fn search(mtu: &mut Mtu, now: Micros, most: usize) -> usize {
        let mut probes = 0;
        while let Some(length) = mtu.due(now) {
            let seq = Seq(probes);
            mtu.sent(seq, length);
            assert_eq!(mtu.due(now), None, "one at a time");
            assert!(!mtu.arrived(seq.plus(1)) && !mtu.lost(seq.plus(1)));
            if length <= most {
                assert!(mtu.arrived(seq));
            } else {
                assert!(mtu.lost(seq));
            }
            probes += 1;
        }
        assert!(probes < 30);
        mtu.packet()
    }

    #[test]
    fn it_finds_what_a_path_carries() {
        for most in [1_232, 1_300, 1_400, 1_452, 1_464, 1_472] {
            let found = search(&mut Mtu::new(1_472), 0, most);
            assert!(found <= most && found + CLOSE > most, "{found} of {most}");
        }
    }

    #[test]
    fn one_lost_probe_proves_nothing() {
        let mut mtu = Mtu::new(1_472);
        let length = mtu.due(0).unwrap();
        mtu.sent(Seq(9), length);
        mtu.lost(Seq(9));
        assert_eq!(search(&mut mtu, 0, 1_472), 1_472);
    }

    #[test]
    fn it_looks_again_after_a_while() {
        let mut mtu = Mtu::new(1_472);
        assert!(search(&mut mtu, 0, 1_300) <= 1_300);
        assert!(search(&mut mtu, AGAIN_AFTER - 1, 1_472) <= 1_300);
        assert_eq!(search(&mut mtu, AGAIN_AFTER, 1_472), 1_472);
    }
}
