//! What a connection sends, and in which order: acks of what came out of order, probes, what was
//! lost, what is new, other acks.

use super::{Connection, State};
use crate::packet::{HEADER_BYTES, Header, Kind, SACK_BYTES_MAX};
use crate::send::Sent;
use crate::seq::{Micros, Seq, stamp};

/// Packets in flight with which one that is not full waits for the rest of its bytes.
const BULK_PACKETS: usize = 4;

impl Connection {
    fn header(&self, now: Micros, kind: Kind, seq: Seq) -> Header {
        Header {
            kind,
            connection: if kind == Kind::Syn { self.receive_id } else { self.send_id },
            sent_at: stamp(now),
            delay: self.reply_delay,
            window: u32::try_from(self.receive.window()).unwrap_or(u32::MAX),
            seq,
            ack: self.receive.ack(),
        }
    }

    /// Appends a burst of datagrams of one length, the last of which may be shorter: at most
    /// `datagrams`. Returns the length.
    pub(crate) fn transmit(
        &mut self,
        now: Micros,
        datagrams: usize,
        to: &mut Vec<u8>,
    ) -> Option<usize> {
        let segment = match self.state {
            State::Closed(_) => None,
            State::SynSent => self.syn(now, to),
            State::SynReceived => self.ack(now, to),
            State::Connected => self
                .sack(now, to)
                .or_else(|| self.probe(now, to))
                .or_else(|| self.burst(now, datagrams, to))
                .or_else(|| self.ack(now, to)),
        }?;
        self.sent_at = now;
        Some(segment)
    }

    fn syn(&mut self, now: Micros, to: &mut Vec<u8>) -> Option<usize> {
        if self.send.is_waiting() {
            let (seq, _) = self.send.first_lost()?;
            self.send.resent(now, seq);
        } else {
            self.send.cut_syn(now);
        }
        self.header(now, Kind::Syn, self.send.next().before()).encode(to);
        self.arm_timeout(now);
        Some(HEADER_BYTES)
    }

    /// An ack that tells of packets behind a gap: no other packet can.
    fn sack(&mut self, now: Micros, to: &mut Vec<u8>) -> Option<usize> {
        if self.receive.has_gap() { self.ack(now, to) } else { None }
    }

    fn ack(&mut self, now: Micros, to: &mut Vec<u8>) -> Option<usize> {
        if self.receive.ack_due().is_none_or(|at| at > now) {
            return None;
        }
        let before = to.len();
        let mut bits = [0; SACK_BYTES_MAX];
        let length = self.receive.sack(&mut bits);
        let sack = bits.get(..length).unwrap_or_default();
        self.header(now, Kind::State, self.send.next()).encode_sack(sack, to);
        self.receive.acked();
        Some(to.len().saturating_sub(before))
    }

    /// Whether the window and the pace let so many bytes leave.
    fn may_send(&mut self, now: Micros, bytes: usize, is_new: bool) -> bool {
        let in_flight = self.send.in_flight();
        let after = in_flight.saturating_add(bytes);
        if in_flight > 0 && after > self.ledbat.window() {
            self.is_full = true;
            return false;
        }
        if is_new && after > self.peer_window.saturating_add(HEADER_BYTES) && !self.asks_for_room {
            if in_flight == 0 && self.persist_at.is_none() && !self.send.has_lost() {
                self.persist_at = Some(now.saturating_add(self.rtt.timeout()));
                self.rtt.back_off();
            }
            return false;
        }
        self.is_paced = !self.pace.allows(now);
        !self.is_paced
    }

    /// How long the next packet with new bytes is, its header included.
    fn fresh_size(&mut self) -> Option<usize> {
        let fresh = self.send.fresh();
        let most = self.mtu.packet();
        let bytes = fresh.saturating_add(HEADER_BYTES).min(most);
        let is_due = if fresh == 0 {
            self.send.fin_is_due()
        } else {
            // More will come before what is in flight has arrived: the packet may as well be full.
            let is_bulk = self.send.in_flight() > most.saturating_mul(BULK_PACKETS);
            bytes == most || !is_bulk || self.is_left
        };
        (is_due && self.send.has_numbers()).then_some(bytes)
    }

    fn probe(&mut self, now: Micros, to: &mut Vec<u8>) -> Option<usize> {
        let packet = self.mtu.packet();
        if self.send.has_lost() || self.fresh_size() != Some(packet) {
            return None;
        }
        let length = self.mtu.due(now)?;
        if !self.may_send(now, length, true) {
            return None;
        }
        let (seq, sent) = self.send.cut(now, packet.saturating_sub(HEADER_BYTES));
        self.header(now, Kind::Data, seq).encode_padded(length.saturating_sub(packet), to);
        self.send.copy(&sent, to);
        self.mtu.sent(seq, length);
        self.pace.sent(length);
        self.left(now);
        Some(length)
    }

    fn burst(&mut self, now: Micros, datagrams: usize, to: &mut Vec<u8>) -> Option<usize> {
        if !self.send.is_waiting() {
            self.ledbat.rested(now.saturating_sub(self.sent_at));
        }
        self.pace.set(now, self.ledbat.window(), self.rtt.smoothed(), self.ledbat.is_starting());
        self.is_paced = false;
        let mut segment = None;
        for _ in 0..datagrams {
            let again = self.send.first_lost();
            let size = match &again {
                Some((_, sent)) => Some(sent.size()),
                None => self.fresh_size(),
            };
            let Some(size) = size else {
                self.is_full = false; // there is nothing more to send
                break;
            };
            if segment.is_some_and(|segment| size > segment)
                || !self.may_send(now, size, again.is_none())
            {
                break;
            }
            let (seq, sent) = if let Some((seq, sent)) = again {
                self.send.resent(now, seq);
                (seq, sent)
            } else {
                self.send.cut(now, size.saturating_sub(HEADER_BYTES))
            };
            self.put(now, seq, &sent, to);
            self.pace.sent(size);
            self.asks_for_room = false;
            let segment = *segment.get_or_insert(size);
            if size < segment {
                break;
            }
        }
        if segment.is_some() {
            self.left(now);
        }
        segment
    }

    fn put(&self, now: Micros, seq: Seq, sent: &Sent, to: &mut Vec<u8>) {
        let kind = if sent.is_fin { Kind::Fin } else { Kind::Data };
        self.header(now, kind, seq).encode(to);
        self.send.copy(sent, to);
    }

    /// Packets left, and with them an ack.
    fn left(&mut self, now: Micros) {
        if !self.receive.has_gap() {
            self.receive.acked();
        }
        self.arm_timeout(now);
    }
}
