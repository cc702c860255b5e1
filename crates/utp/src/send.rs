//! What leaves: bytes of the application cut into packets, kept until the peer has them, and which
//! of them were lost.
//!
//! A packet is lost when one that left later arrived and it did not within a little more than a
//! round trip (RACK, RFC 8985): that finds retransmissions that are lost too, and bears packets that
//! overtake each other.

use std::collections::VecDeque;

use crate::packet::HEADER_BYTES;
use crate::seq::{Micros, Seq};

/// Packets that are not acknowledged. Peers keep no more than this out of order.
const PACKETS_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    InFlight,
    Arrived,
    Lost,
}

/// A packet that has left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Where its bytes begin in the stream.
    offset: u64,
    pub(crate) length: u16,
    pub(crate) is_fin: bool,
    left_at: Micros,
    again: bool,
    state: State,
}

impl Sent {
    /// Bytes that it takes on the way, padding apart.
    pub(crate) fn size(&self) -> usize {
        HEADER_BYTES.saturating_add(usize::from(self.length))
    }
}

/// What an ack told.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Bytes that are known to be there now, and were not before.
    pub(crate) bytes: usize,
    /// Of a packet that left once.
    pub(crate) rtt: Option<Micros>,
    /// The peer has everything up to a later packet than before.
    pub(crate) advanced: bool,
    /// The packet that was asked about is there now.
    pub(crate) probe: bool,
}

#[derive(Debug)]
pub(crate) struct Send {
    /// The stream, from the first byte that the peer may not have.
    data: VecDeque<u8>,
    /// Where `data` begins in the stream.
    base: u64,
    /// Where the bytes begin that never left.
    fresh: u64,
    /// The first is the one after `acked`.
    sent: VecDeque<Sent>,
    acked: Seq,
    in_flight: usize,
    lost: VecDeque<Seq>,
    /// When the packet left that left last of those that arrived, and how long that took.
    latest: Option<(Micros, Seq)>,
    latest_rtt: Micros,
    /// When a packet will be taken for lost unless it arrives.
    reorder_at: Option<Micros>,
    fin: bool,
    fin_sent: bool,
}

impl Send {
    /// The next packet is the one after `acked`.
    pub(crate) fn new(acked: Seq) -> Self {
        Self {
            data: VecDeque::new(),
            base: 0,
            fresh: 0,
            sent: VecDeque::new(),
            acked,
            in_flight: 0,
            lost: VecDeque::new(),
            latest: None,
            latest_rtt: 0,
            reorder_at: None,
            fin: false,
            fin_sent: false,
        }
    }

    pub(crate) fn next(&self) -> Seq {
        self.acked.plus(self.sent.len() as u16).plus(1)
    }

    pub(crate) fn acked(&self) -> Seq {
        self.acked
    }

    /// Whether the peer may say that it has everything up to this.
    pub(crate) fn is_plausible(&self, ack: Seq) -> bool {
        usize::try_from(ack.since(self.acked)).is_ok_and(|ahead| ahead <= self.sent.len())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn buffered(&self) -> usize {
        self.data.len()
    }

    /// Whether the peer lacks anything that has left.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.data.extend(bytes);
    }

    /// The stream ends after what was written.
    pub(crate) fn finish(&mut self) {
        self.fin = true;
    }

    /// The peer has all of it, the end included.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin_sent && self.sent.is_empty()
    }

    /// Bytes that have never left.
    pub(crate) fn fresh(&self) -> usize {
        let left = self.fresh.saturating_sub(self.base) as usize;
        self.data.len().saturating_sub(left)
    }

    pub(crate) fn fin_is_due(&self) -> bool {
        self.fin && !self.fin_sent && self.fresh() == 0
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Room for one more packet number.
    pub(crate) fn has_numbers(&self) -> bool {
        self.sent.len() < PACKETS_MAX
    }

    /// Gives memory back that nothing is in.
    pub(crate) fn rest(&mut self) {
        if self.data.is_empty() && self.sent.is_empty() {
            (self.data, self.sent, self.lost) = Default::default();
        }
    }

    fn place(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.since(self.acked)).ok()?.checked_sub(1)
    }

    /// The first packet that was lost.
    pub(crate) fn first_lost(&mut self) -> Option<(Seq, Sent)> {
        loop {
            let seq = *self.lost.front()?;
            match self.place(seq).and_then(|place| self.sent.get(place)) {
                Some(sent) if sent.state == State::Lost => return Some((seq, *sent)),
                _ => drop(self.lost.pop_front()), // it arrived after all
            }
        }
    }

    /// It leaves again.
    pub(crate) fn resent(&mut self, now: Micros, seq: Seq) {
        self.lost.pop_front();
        if let Some(sent) = self.place(seq).and_then(|place| self.sent.get_mut(place)) {
            (sent.state, sent.again, sent.left_at) = (State::InFlight, true, now);
            self.in_flight = self.in_flight.saturating_add(sent.size());
        }
    }

    /// Cuts a packet of at most `length` bytes that never left, or the end.
    pub(crate) fn cut(&mut self, now: Micros, length: usize) -> (Seq, Sent) {
        let seq = self.next();
        let length = length.min(self.fresh()).min(usize::from(u16::MAX)) as u16;
        let is_fin = length == 0;
        let sent = Sent {
            offset: self.fresh,
            length,
            is_fin,
            left_at: now,
            again: false,
            state: State::InFlight,
        };
        self.fin_sent |= is_fin;
        self.fresh = self.fresh.saturating_add(u64::from(length));
        self.in_flight = self.in_flight.saturating_add(sent.size());
        self.sent.push_back(sent);
        (seq, sent)
    }

    /// A packet without bytes that counts as one: a SYN.
    pub(crate) fn cut_syn(&mut self, now: Micros) {
        let (_, _) = self.cut(now, 0);
        self.fin_sent = false;
        if let Some(syn) = self.sent.back_mut() {
            syn.is_fin = false;
        }
    }

    /// Appends a packet's bytes.
    pub(crate) fn copy(&self, sent: &Sent, to: &mut Vec<u8>) {
        let mut from = sent.offset.saturating_sub(self.base) as usize;
        let mut left = usize::from(sent.length);
        let (first, second) = self.data.as_slices();
        for part in [first, second] {
            if let Some(part) = part.get(from..) {
                let now = part.get(..left.min(part.len())).unwrap_or_default();
                to.extend_from_slice(now);
                left = left.saturating_sub(now.len());
                from = 0;
            } else {
                from = from.saturating_sub(part.len());
            }
        }
    }

    /// The peer has everything up to `ack`, and what `sack` says. Was `probe` among it?
    pub(crate) fn acknowledged(
        &mut self,
        now: Micros,
        ack: Seq,
        sack: &[u8],
        probe: Option<Seq>,
    ) -> Arrived {
        let mut arrived = Arrived::default();
        while ack.since(self.acked) > 0 {
            let Some(sent) = self.sent.pop_front() else { break };
            self.acked = self.acked.plus(1);
            arrived.probe |= probe == Some(self.acked);
            self.arrive(now, self.acked, sent, &mut arrived);
            let end = sent.offset.saturating_add(u64::from(sent.length));
            let gone = (end.saturating_sub(self.base) as usize).min(self.data.len());
            self.data.drain(..gone);
            self.base = self.base.max(end);
            arrived.advanced = true;
        }
        // Bit 0 is the second packet that is left: the first is the gap.
        let bits = sack.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        for (place, is_there) in (1..).zip(bits) {
            let Some(sent) = self.sent.get_mut(place) else { break };
            if is_there && sent.state != State::Arrived {
                let before = *sent;
                sent.state = State::Arrived;
                let seq = self.acked.plus(1).plus(place as u16);
                arrived.probe |= probe == Some(seq);
                self.arrive(now, seq, before, &mut arrived);
            }
        }
        arrived
    }

    fn arrive(&mut self, now: Micros, seq: Seq, sent: Sent, arrived: &mut Arrived) {
        if sent.state == State::Arrived {
            return;
        }
        if sent.state == State::InFlight {
            self.in_flight = self.in_flight.saturating_sub(sent.size());
        }
        arrived.bytes = arrived.bytes.saturating_add(sent.size());
        let took = now.saturating_sub(sent.left_at);
        if !sent.again && sent.state == State::InFlight {
            arrived.rtt = Some(arrived.rtt.map_or(took, |least| least.min(took)));
        } else if sent.state == State::Lost || took < self.latest_rtt / 2 {
            return; // it is not known which of the two arrived, or it was late
        }
        if self.latest.is_none_or(|latest| is_later((sent.left_at, seq), latest)) {
            self.latest = Some((sent.left_at, seq));
            self.latest_rtt = took;
        }
    }

    /// Finds packets that are lost by now.
    pub(crate) fn find_lost(&mut self, now: Micros, reorder: Micros) -> Vec<(Seq, usize)> {
        self.reorder_at = None;
        let mut found = Vec::new();
        let Some(latest) = self.latest else { return found };
        let patience = self.latest_rtt.saturating_add(reorder);
        let mut seq = self.acked;
        for sent in &mut self.sent {
            seq = seq.plus(1);
            if !is_later(latest, (sent.left_at, seq)) {
                if sent.again {
                    continue;
                }
                break; // so did all that are behind it
            }
            if sent.state != State::InFlight {
                continue;
            }
            let due = sent.left_at.saturating_add(patience);
            if due <= now {
                sent.state = State::Lost;
                self.in_flight = self.in_flight.saturating_sub(sent.size());
                self.lost.push_back(seq);
                found.push((seq, sent.size()));
            } else {
                self.reorder_at = Some(self.reorder_at.map_or(due, |at| at.min(due)));
            }
        }
        found
    }

    pub(crate) fn reorder_at(&self) -> Option<Micros> {
        self.reorder_at
    }

    /// Nothing in flight arrived: all of it is taken for lost.
    pub(crate) fn lose_all(&mut self) -> Vec<Seq> {
        let mut found = Vec::new();
        (self.latest, self.reorder_at, self.in_flight) = (None, None, 0);
        self.lost.clear();
        let mut seq = self.acked;
        for sent in &mut self.sent {
            seq = seq.plus(1);
            if sent.state == State::InFlight {
                found.push(seq);
            }
            if sent.state != State::Arrived {
                sent.state = State::Lost;
                self.lost.push_back(seq);
            }
        }
        found
    }
}

/// Whether one packet left after another; those of one burst are told apart by their numbers.
fn is_later(this: (Micros, Seq), other: (Micros, Seq)) -> bool {
    this.0 > other.0 || this.0 == other.0 && this.1.since(other.1) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(lost: &[(Seq, usize)]) -> Vec<u16> {
        lost.iter().map(|(seq, _)| seq.0).collect()
    }

    /// Five packets of two bytes, one each millisecond, across the end of the numbers.
    fn five() -> Send {
        let mut send = Send::new(Seq(0xfffd));
        send.write(b"aabbccddee");
        for at in 0..5 {
            send.cut(at * 1_000, 2);
        }
        send
    }

    fn bytes(send: &Send, sent: &Sent) -> Vec<u8> {
        let mut to = Vec::new();
        send.copy(sent, &mut to);
        to
    }

    #[test]
    fn what_was_acknowledged_is_forgotten() {
        let mut send = five();
        assert_eq!((send.next(), send.fresh(), send.in_flight()), (Seq(3), 0, 110));
        assert!(!send.is_plausible(Seq(3)) && !send.is_plausible(Seq(0xfffc)));
        let arrived = send.acknowledged(50_000, Seq(0), &[], None);
        assert_eq!((arrived.bytes, arrived.rtt, arrived.advanced), (66, Some(48_000), true));
        assert_eq!((send.buffered(), send.in_flight()), (4, 44));
        let (seq, sent) = {
            send.write(b"ff");
            send.cut(60_000, 9)
        };
        assert_eq!((seq, bytes(&send, &sent)), (Seq(3), b"ff".to_vec()));
        assert!(!send.acknowledged(60_000, Seq(0), &[], None).advanced);
    }

    #[test]
    fn a_gap_is_lost_after_a_round_trip_and_a_little() {
        let mut send = five();
        // The first and the third are missing.
        let arrived = send.acknowledged(50_000, Seq(0xfffd), &[0b101, 0, 0, 0], None);
        assert_eq!(arrived.bytes, 44);
        assert!(!arrived.advanced);
        assert_eq!(seqs(&send.find_lost(50_000, 2_500)), [0xfffe]);
        assert_eq!(send.reorder_at(), Some(2_000 + 47_000 + 2_500));
        assert_eq!(seqs(&send.find_lost(51_500, 2_500)), [0]);
        let (seq, sent) = send.first_lost().unwrap();
        assert_eq!((seq, bytes(&send, &sent)), (Seq(0xfffe), b"aa".to_vec()));
        send.resent(52_000, seq);
        assert_eq!(send.first_lost().unwrap().0, Seq(0));
        // It arrived after all, before it was sent again.
        send.acknowledged(52_100, Seq(0), &[], None);
        assert!(send.first_lost().is_none());
    }

    #[test]
    fn a_retransmission_that_is_lost_is_found() {
        let mut send = five();
        send.acknowledged(50_000, Seq(0xfffd), &[0b111, 0, 0, 0], None);
        assert_eq!(seqs(&send.find_lost(60_000, 0)), [0xfffe]);
        send.resent(60_000, Seq(0xfffe));
        send.write(b"ff");
        send.cut(61_000, 2);
        send.acknowledged(110_000, Seq(0xfffd), &[0b1_1111, 0, 0, 0], None);
        assert_eq!(seqs(&send.find_lost(110_000, 0)), [0xfffe]);
    }

    #[test]
    fn a_timeout_loses_what_did_not_arrive() {
        let mut send = five();
        send.acknowledged(50_000, Seq(0xfffe), &[0b10, 0, 0, 0], None);
        assert_eq!(send.lose_all(), [Seq(0xffff), Seq(0), Seq(2)]);
        assert_eq!(send.in_flight(), 0);
        assert_eq!(send.first_lost().unwrap().0, Seq(0xffff));
    }

    #[test]
    fn the_end_is_a_packet() {
        let mut send = five();
        send.finish();
        assert!(send.fin_is_due());
        let (seq, fin) = send.cut(6_000, 100);
        assert!(fin.is_fin && !send.fin_is_due() && !send.is_finished());
        send.acknowledged(50_000, seq, &[], None);
        assert!(send.is_finished());
    }
}
