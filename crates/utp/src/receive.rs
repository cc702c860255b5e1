//! What arrives: in order for the application, out of order until the gap is filled, and what to
//! acknowledge of it.

use std::collections::VecDeque;

use crate::packet::SACK_BYTES_MAX;
use crate::seq::{MILLISECOND, Micros, Seq};

/// How far ahead of a gap packets are kept. More than two thousand can't be told of in an ack.
pub(crate) const AHEAD_PACKETS_MAX: usize = 4_096;
/// So many packets in order are acknowledged at once, together with all that came by then.
const ACK_PACKETS: u32 = 2;
/// And a single one after this, unless something else is said before.
const ACK_DELAY: Micros = 20 * MILLISECOND;

/// What one connection may hold whatever the others do, so that each goes on.
const HELD_BYTES_MIN: usize = 32 * 1024;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was there, or there is no room: only worth an ack.
    Nothing,
    /// It waits for one before it.
    Ahead,
    /// The application can go on.
    InOrder,
}

#[derive(Debug)]
pub(crate) struct Receive {
    /// The last number up to which everything came.
    ack: Seq,
    ready: VecDeque<u8>,
    /// Index 0 is what comes right after `ack`, which is never there.
    ahead: VecDeque<Option<Box<[u8]>>>,
    ahead_bytes: usize,
    capacity: usize,
    /// Bytes more that all connections together may hold.
    room: usize,
    /// The number of the last packet, once it is known.
    last: Option<Seq>,
    /// Packets not acknowledged yet.
    pending: u32,
    ack_now: bool,
    ack_at: Option<Micros>,
    /// The room that the peer was told of.
    told: usize,
}

impl Receive {
    pub(crate) fn new(ack: Seq, capacity: usize) -> Self {
        Self {
            ack,
            ready: VecDeque::new(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            capacity,
            room: usize::MAX,
            last: None,
            pending: 0,
            ack_now: false,
            ack_at: None,
            told: capacity,
        }
    }

    /// An empty one with the same room, once it is known what was sent before.
    pub(crate) fn again(&self, ack: Seq) -> Self {
        Self { room: self.room, ..Self::new(ack, self.capacity) }
    }

    pub(crate) fn ack(&self) -> Seq {
        self.ack
    }

    /// Bytes there is room for.
    pub(crate) fn window(&self) -> usize {
        self.most().saturating_sub(self.held_bytes())
    }

    /// Bytes that may be held at one time.
    fn most(&self) -> usize {
        let shared = self.held_bytes().saturating_add(self.room);
        self.capacity.min(shared.max(HELD_BYTES_MIN))
    }

    /// Bytes that are here and the application has not read.
    pub(crate) fn held_bytes(&self) -> usize {
        self.ready.len().saturating_add(self.ahead_bytes)
    }

    /// All connections together may hold so many bytes more.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Bytes that wait for others.
    pub(crate) fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    pub(crate) fn has_data(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Packets are here that wait for others.
    pub(crate) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Everything came, up to the last packet.
    pub(crate) fn is_whole(&self) -> bool {
        self.last == Some(self.ack)
    }

    /// Takes a packet. `ahead_room` is how many more bytes may wait for others.
    pub(crate) fn packet(
        &mut self,
        now: Micros,
        seq: Seq,
        payload: &[u8],
        is_last: bool,
        ahead_room: usize,
    ) -> Taken {
        let distance = seq.since(self.ack);
        let Some(index) = usize::try_from(distance).ok().and_then(|far| far.checked_sub(1)) else {
            self.ack_now = true; // the peer has not heard that it is here
            return Taken::Nothing;
        };
        let beyond = self.last.is_some_and(|last| seq.since(last) > 0);
        let ends_early = is_last && self.last.is_some_and(|last| last != seq);
        if index >= AHEAD_PACKETS_MAX || beyond || ends_early {
            return Taken::Nothing;
        }
        if index == 0 {
            // What waits for it does not count: it must not be kept out by those.
            if self.ready.len().saturating_add(payload.len()) > self.most() {
                self.ack_now = true; // it asks for room
                return Taken::Nothing;
            }
            self.note_last(seq, is_last);
            self.take_in_order(now, payload);
            return Taken::InOrder;
        }
        self.ack_now = true; // there is a gap, or was
        if self.ahead.get(index).is_some_and(Option::is_some) {
            return Taken::Nothing;
        }
        if payload.len() > self.window().min(ahead_room) {
            return Taken::Nothing;
        }
        self.note_last(seq, is_last);
        if self.ahead.len() <= index {
            self.ahead.resize(index.saturating_add(1), None);
        }
        if let Some(place) = self.ahead.get_mut(index) {
            *place = Some(payload.into());
            self.ahead_bytes = self.ahead_bytes.saturating_add(payload.len());
        }
        Taken::Ahead
    }

    fn note_last(&mut self, seq: Seq, is_last: bool) {
        if is_last {
            self.last = Some(seq);
        }
    }

    fn take_in_order(&mut self, now: Micros, payload: &[u8]) {
        self.ready.extend(payload);
        self.ack = self.ack.plus(1);
        self.ahead.pop_front();
        while let Some(next) = self.ahead.pop_front_if(|next| next.is_some()).flatten() {
            self.ready.extend(&next[..]);
            self.ahead_bytes = self.ahead_bytes.saturating_sub(next.len());
            self.ack = self.ack.plus(1);
            self.ack_now = true;
        }
        if self.ahead.is_empty() {
            self.ahead = VecDeque::new();
        }
        self.pending = self.pending.saturating_add(1);
        if self.pending >= ACK_PACKETS || self.is_whole() {
            self.ack_now = true;
        }
        self.ack_at.get_or_insert(now.saturating_add(ACK_DELAY));
    }

    /// Moves bytes to the application.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let (first, second) = self.ready.as_slices();
        let mut copied: usize = 0;
        for part in [first, second] {
            let count = part.len().min(buffer.len().saturating_sub(copied));
            if let (Some(to), Some(from)) =
                (buffer.get_mut(copied..copied.saturating_add(count)), part.get(..count))
            {
                to.copy_from_slice(from);
                copied = copied.saturating_add(count);
            }
        }
        self.ready.drain(..copied);
        let window = self.window();
        // The peer waits, or soon will, for room that it does not know of.
        let most = self.most();
        if self.told < most / 2 && window.saturating_sub(self.told) >= most / 4 {
            self.ack_now = true;
        }
        copied
    }

    /// Gives memory back that nothing is in.
    pub(crate) fn rest(&mut self) {
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }

    /// When an ack must leave.
    pub(crate) fn ack_due(&self) -> Option<Micros> {
        if self.ack_now { Some(0) } else { self.ack_at }
    }

    /// Has the next ack leave at once.
    pub(crate) fn ack_soon(&mut self) {
        self.ack_now = true;
    }

    /// The peer will hear [`Self::ack`] and [`Self::window`].
    pub(crate) fn acked(&mut self) {
        (self.pending, self.ack_now, self.ack_at) = (0, false, None);
        self.told = self.window();
    }

    /// What is here behind a gap, as bits; empty when nothing is.
    pub(crate) fn sack(&self, bits: &mut [u8; SACK_BYTES_MAX]) -> usize {
        let mut length: usize = 0;
        // The first bit stands for what comes after the gap's first packet.
        for (index, packet) in self.ahead.iter().skip(1).enumerate() {
            if packet.is_some()
                && let Some(byte) = bits.get_mut(index / 8)
            {
                *byte |= 1 << (index % 8);
                length = (index / 8).saturating_add(1).next_multiple_of(4);
            }
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = usize::MAX;

    fn sack(receive: &Receive) -> Vec<u8> {
        let mut bits = [0; SACK_BYTES_MAX];
        let length = receive.sack(&mut bits);
        bits[..length].to_vec()
    }

    fn read(receive: &mut Receive) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let count = receive.read(&mut bytes);
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn packets_in_any_order_are_read_in_theirs() {
        let mut receive = Receive::new(Seq(0xfffd), 1000);
        assert_eq!(receive.packet(0, Seq(0), b"c", false, ROOM), Taken::Ahead);
        assert_eq!(sack(&receive), [0b10, 0, 0, 0], "bit 0 is two after the ack");
        assert_eq!(receive.packet(0, Seq(0xffff), b"b", false, ROOM), Taken::Ahead);
        assert_eq!(sack(&receive), [0b11, 0, 0, 0]);
        assert_eq!(receive.packet(0, Seq(0xffff), b"x", false, ROOM), Taken::Nothing);
        assert_eq!(receive.packet(0, Seq(0xfffe), b"a", false, ROOM), Taken::InOrder);
        assert_eq!((receive.ack(), read(&mut receive)), (Seq(0), b"abc".to_vec()));
        assert_eq!(receive.packet(0, Seq(0xfffe), b"a", false, ROOM), Taken::Nothing);
        assert!(sack(&receive).is_empty());
    }

    #[test]
    fn the_end_is_when_all_before_it_is_there() {
        let mut receive = Receive::new(Seq(9), 1000);
        assert_eq!(receive.packet(0, Seq(11), b"", true, ROOM), Taken::Ahead);
        assert!(!receive.is_whole());
        assert_eq!(receive.packet(0, Seq(12), b"late", false, ROOM), Taken::Nothing);
        assert_eq!(receive.packet(0, Seq(10), b"a", true, ROOM), Taken::Nothing, "a second end");
        assert_eq!(receive.packet(0, Seq(10), b"a", false, ROOM), Taken::InOrder);
        assert!(receive.is_whole());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut receive = Receive::new(Seq(0), 100);
        assert_eq!(receive.packet(0, Seq(2), &[2; 60], false, ROOM), Taken::Ahead);
        assert_eq!(receive.window(), 40);
        assert_eq!(receive.packet(0, Seq(3), &[3; 41], false, ROOM), Taken::Nothing);
        assert_eq!(receive.packet(0, Seq(3), &[3; 40], false, 39), Taken::Nothing);
        assert_eq!(receive.packet(0, Seq(1), &[1; 100], false, ROOM), Taken::InOrder);
        assert_eq!(receive.window(), 0);
        assert_eq!(receive.packet(0, Seq(3), b"x", false, ROOM), Taken::Nothing);
        let far = Seq(2).plus(AHEAD_PACKETS_MAX as u16 + 1);
        assert_eq!(receive.packet(0, far, b"", false, ROOM), Taken::Nothing);
        assert_eq!(read(&mut receive).len(), 100);
        assert_eq!(receive.window(), 40);
    }

    #[test]
    fn acks_wait_for_a_second_packet_but_not_long() {
        let mut receive = Receive::new(Seq(0), 1000);
        assert_eq!(receive.ack_due(), None);
        receive.packet(5, Seq(1), b"a", false, ROOM);
        assert_eq!(receive.ack_due(), Some(5 + ACK_DELAY));
        receive.packet(6, Seq(2), b"b", false, ROOM);
        assert_eq!(receive.ack_due(), Some(0));
        receive.acked();
        assert_eq!(receive.ack_due(), None);
        receive.packet(7, Seq(2), b"b", false, ROOM);
        assert_eq!(receive.ack_due(), Some(0), "the peer does not know that it is here");
    }

    #[test]
    fn where_others_hold_much_a_little_goes_on() {
        let mut receive = Receive::new(Seq(0), 1 << 20);
        receive.set_room(0);
        assert_eq!(receive.window(), HELD_BYTES_MIN);
        assert_eq!(receive.packet(0, Seq(2), &[2; 2000], false, ROOM), Taken::Ahead);
        let half = HELD_BYTES_MIN / 2;
        assert_eq!(receive.packet(0, Seq(1), &vec![1; half], false, ROOM), Taken::InOrder);
        assert_eq!(receive.packet(0, Seq(3), &vec![3; half], false, ROOM), Taken::Nothing);
        assert_eq!(receive.packet(0, Seq(4), &vec![3; half], false, ROOM), Taken::Nothing);
        receive.acked();
        let mut all = vec![0; HELD_BYTES_MIN];
        assert_eq!(receive.read(&mut all), half + 2000);
        assert_eq!(receive.ack_due(), Some(0), "the peer waits for room");
        assert_eq!(receive.packet(0, Seq(3), &vec![3; half], false, ROOM), Taken::InOrder);
        receive.set_room(usize::MAX);
        assert_eq!(receive.window(), (1 << 20) - half);
    }

    #[test]
    fn room_that_the_application_makes_is_told() {
        let mut receive = Receive::new(Seq(0), 100);
        receive.packet(0, Seq(1), &[0; 100], false, ROOM);
        receive.acked();
        let mut some = [0; 20];
        receive.read(&mut some);
        assert_eq!(receive.ack_due(), None, "too little to speak of");
        receive.read(&mut some);
        assert_eq!(receive.ack_due(), Some(0));
    }
}
