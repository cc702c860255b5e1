//! One connection: how it opens, what it makes of a packet and of time, and how it ends.

mod transmit;

use std::net::SocketAddr;

use crate::delay::Delays;
use crate::ledbat::{Ledbat, Path};
use crate::mtu::Mtu;
use crate::pace::Pace;
use crate::packet::{Header, Kind, Packet};
use crate::receive::{AHEAD_PACKETS_MAX, Receive, Taken};
use crate::rtt::Rtt;
use crate::send::Send;
use crate::seq::{Micros, SECOND, Seq, stamp};

/// A SYN is tried so often: seven seconds.
const SYN_TRIES: u32 = 3;
/// Timeouts in a row after which the peer is gone: about a minute.
const TIMEOUTS_MAX: u32 = 7;
/// The same once the application has left.
const CLOSING_TIMEOUTS_MAX: u32 = 4;
/// Wrong numbers after which nobody is believed any more who was answered: who forges an address has to
/// guess one of 65,536, and is not to try them all.
const GUESSES_MAX: u8 = 8;
/// Routers forget UDP after 30 seconds.
const KEEP_ALIVE: Micros = 25 * SECOND;
/// What the application may hand over before the peer has it: four windows, as one lost packet holds
/// back what came after it for two round trips and more. Within these bounds.
const SEND_BYTES_MIN: usize = 128 * 1024;
const SEND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The peer wants no connection.
    Refused,
    /// The peer knows of no such connection any more.
    Reset,
    /// The peer does not answer.
    TimedOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// We asked.
    SynSent,
    /// We were asked, and don't know yet whether by who lives at that address.
    SynReceived,
    Connected,
    Closed(Closed),
}

/// What a packet changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// The connection is there.
    Connected,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    /// What the peer puts into its packets, and we into ours.
    pub(crate) receive_id: u16,
    pub(crate) send_id: u16,
    state: State,
    send: Send,
    receive: Receive,
    delays: Delays,
    rtt: Rtt,
    ledbat: Ledbat,
    mtu: Mtu,
    pace: Pace,
    /// How long the last packet took to us.
    reply_delay: u32,
    peer_window: usize,
    /// The window, and nothing else, keeps packets back.
    is_full: bool,
    is_paced: bool,
    timeout_at: Option<Micros>,
    timeouts: u32,
    /// Nobody has room: when to ask for it, and that it is time to.
    persist_at: Option<Micros>,
    asks_for_room: bool,
    sent_at: Micros,
    wants_room: bool,
    told_readable: bool,
    /// The application has left.
    is_left: bool,
    /// Wrong numbers since we answered.
    guesses: u8,
    /// The bytes that the endpoint has counted as held by it.
    pub(crate) counted: usize,
    /// It waits in the endpoint's queue.
    pub(crate) is_queued: bool,
    /// The timer that the endpoint holds for it.
    pub(crate) armed: Option<Micros>,
}

/// How to make one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    /// The number of our first packet.
    pub(crate) first: Seq,
    pub(crate) datagram_bytes_max: usize,
    pub(crate) receive_bytes: usize,
}

impl Connection {
    /// Asks for a connection.
    pub(crate) fn ask(now: Micros, opening: Opening, id: u16) -> Self {
        let mut this = Self::new(opening, id, id.wrapping_add(1), State::SynSent, Seq(0));
        this.sent_at = now;
        this
    }

    /// Answers a SYN.
    pub(crate) fn answer(now: Micros, opening: Opening, syn: &Header) -> Self {
        let id = syn.connection;
        let mut this = Self::new(opening, id.wrapping_add(1), id, State::SynReceived, syn.seq);
        this.reply_delay = stamp(now).wrapping_sub(syn.sent_at);
        this.receive.ack_soon();
        this.peer_window = syn.window as usize;
        this.sent_at = now;
        this
    }

    fn new(opening: Opening, receive_id: u16, send_id: u16, state: State, ack: Seq) -> Self {
        let mtu = Mtu::new(opening.datagram_bytes_max);
        Self {
            remote: opening.remote,
            local: opening.local,
            receive_id,
            send_id,
            state,
            send: Send::new(opening.first.before()),
            receive: Receive::new(ack, opening.receive_bytes),
            delays: Delays::default(),
            rtt: Rtt::default(),
            ledbat: Ledbat::new(mtu.packet()),
            mtu,
            pace: Pace::new(),
            reply_delay: 0,
            peer_window: 0,
            is_full: false,
            is_paced: false,
            timeout_at: None,
            timeouts: 0,
            persist_at: None,
            asks_for_room: false,
            sent_at: 0,
            wants_room: false,
            told_readable: false,
            is_left: false,
            guesses: 0,
            counted: 0,
            is_queued: false,
            armed: None,
        }
    }

    pub(crate) fn is_half_open(&self) -> bool {
        self.state == State::SynReceived
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.state {
            State::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Nobody needs it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_left && (self.state != State::Connected || self.send.is_finished())
    }

    pub(crate) fn ahead_bytes(&self) -> usize {
        self.receive.ahead_bytes()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.receive.held_bytes()
    }

    pub(crate) fn set_room(&mut self, room: usize) {
        self.receive.set_room(room);
    }

    /// What is known of the way to the peer, in microseconds.
    pub(crate) fn path(&self, now: Micros) -> Path {
        Path {
            now,
            rtt: self.rtt.smoothed().unwrap_or(SECOND),
            queue: self.delays.queue().unwrap_or(0),
        }
    }

    pub(crate) fn window(&self) -> usize {
        self.ledbat.window()
    }

    pub(crate) fn datagram_bytes(&self) -> usize {
        self.mtu.packet()
    }

    // What the application does.

    /// Moves bytes to the application; `None` when there are none now, 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let count = self.receive.read(buffer);
        if !self.receive.has_data() {
            self.told_readable = false;
        }
        if count > 0 || buffer.is_empty() || self.receive.is_whole() {
            return Some(count);
        }
        None
    }

    /// Takes bytes of the application; `None` when there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let count = bytes.len().min(self.room());
        self.send.write(bytes.get(..count).unwrap_or_default());
        self.wants_room |= count < bytes.len();
        (count > 0 || bytes.is_empty()).then_some(count)
    }

    fn room(&self) -> usize {
        let most = self.ledbat.window().saturating_mul(4).clamp(SEND_BYTES_MIN, SEND_BYTES_MAX);
        most.saturating_sub(self.send.buffered())
    }

    /// The application waits for room, and there is a good deal of it.
    pub(crate) fn takes_writable(&mut self) -> bool {
        let has = self.wants_room && self.room() >= SEND_BYTES_MIN / 4;
        self.wants_room &= !has;
        has
    }

    /// There is something to read that the application was not told of.
    pub(crate) fn takes_readable(&mut self) -> bool {
        let has = !self.told_readable
            && (self.receive.has_data() || self.receive.is_whole() || self.closed().is_some());
        self.told_readable |= has;
        has
    }

    /// The application leaves: what it wrote is sent, what comes is thrown away.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
        self.send.finish();
        self.throw_away();
    }

    fn throw_away(&mut self) {
        let mut scrap = [0; 4096];
        while self.receive.read(&mut scrap) > 0 {}
    }

    // What the peer does.

    /// A SYN that came twice is answered twice.
    pub(crate) fn syn_again(&mut self, syn: &Header) {
        if self.state == State::SynReceived && syn.seq == self.receive.ack() {
            self.receive.ack_soon();
        }
    }

    /// A reset, which anybody may have forged who does not know our numbers.
    pub(crate) fn reset(&mut self, packet: &Header) -> Change {
        let ahead = packet.ack.since(self.send.acked());
        let last = self.send.next().since(self.send.acked());
        if !(0..=last).contains(&ahead) || matches!(self.state, State::Closed(_)) {
            return Change::Nothing;
        }
        let refused = self.state == State::SynSent;
        self.close(if refused { Closed::Refused } else { Closed::Reset })
    }

    fn close(&mut self, reason: Closed) -> Change {
        self.state = State::Closed(reason);
        Change::Closed
    }

    /// Any other packet. `ahead_room` is how many bytes more may wait for others.
    pub(crate) fn packet(&mut self, now: Micros, packet: &Packet<'_>, ahead_room: usize) -> Change {
        let header = &packet.header;
        let behind = header.ack.since(self.send.acked());
        let is_old = behind < 0 && usize::from(behind.unsigned_abs()) <= AHEAD_PACKETS_MAX;
        let is_plausible = !is_old && self.send.is_plausible(header.ack);
        if self.is_half_open() {
            // Who knows our first number got our answer at that address.
            if !is_plausible || self.guesses >= GUESSES_MAX {
                self.guesses = self.guesses.saturating_add(1);
                return Change::Nothing;
            }
        } else if !is_old && !is_plausible {
            return Change::Nothing;
        }
        let mut change = Change::Nothing;
        match self.state {
            State::Closed(_) => return Change::Nothing,
            State::SynSent => {
                if header.kind != Kind::State || header.ack != self.send.next().before() {
                    return Change::Nothing;
                }
                self.receive = self.receive.again(header.seq.before());
                self.state = State::Connected;
                change = Change::Connected;
            }
            State::SynReceived => {
                self.state = State::Connected;
                change = Change::Connected;
            }
            State::Connected => {}
        }
        self.reply_delay = stamp(now).wrapping_sub(header.sent_at);
        self.delays.sample(now, header.delay, self.reply_delay);
        if !is_old {
            self.acknowledged(now, header.ack, packet.sack);
            self.peer_has_room(header.window as usize);
        }
        let is_fin = header.kind == Kind::Fin;
        if is_fin || header.kind == Kind::Data {
            let taken = self.receive.packet(now, header.seq, packet.payload, is_fin, ahead_room);
            if taken == Taken::InOrder && self.is_left {
                self.throw_away();
            }
        }
        change
    }

    fn acknowledged(&mut self, now: Micros, ack: Seq, sack: &[u8]) {
        let arrived = self.send.acknowledged(now, ack, sack, self.mtu.probing());
        if let Some(rtt) = arrived.rtt {
            self.rtt.sample(rtt);
        }
        if arrived.probe && self.mtu.probing().is_some_and(|seq| self.mtu.arrived(seq)) {
            self.ledbat.set_packet(self.mtu.packet());
        }
        if arrived.bytes > 0 {
            self.timeouts = 0;
            self.ledbat.acked(self.path(now), arrived.bytes, self.is_full);
        }
        if arrived.advanced || arrived.bytes > 0 {
            self.timeout_at = None;
            self.arm_timeout(now);
        }
        self.find_lost(now);
    }

    fn peer_has_room(&mut self, window: usize) {
        let packet = self.mtu.packet();
        let had_none = self.peer_window < packet;
        self.peer_window = window;
        if window < packet {
            self.timeouts = 0; // it answers, however full it is
            return;
        }
        self.persist_at = None;
        if had_none && self.send.in_flight() > 0 && self.send.in_flight() <= packet {
            // What asked for room found none. There is no need to wait for its timeout.
            self.send.lose_all();
            self.rtt.answered();
        }
    }

    fn find_lost(&mut self, now: Micros) {
        let mut lost: usize = 0;
        for (seq, bytes) in self.send.find_lost(now, self.rtt.reorder()) {
            if !self.mtu.lost(seq) {
                lost = lost.saturating_add(bytes);
            }
        }
        if lost > 0 {
            self.ledbat.lost(self.path(now), lost);
        }
    }

    fn arm_timeout(&mut self, now: Micros) {
        if self.send.is_waiting() {
            self.timeout_at.get_or_insert(now.saturating_add(self.rtt.timeout()));
        }
    }

    // What time does.

    /// When [`Self::tick`] or [`Self::transmit`] has something to do; `None` for never.
    pub(crate) fn due(&self) -> Option<Micros> {
        if self.closed().is_some() {
            return None;
        }
        let pace = self.is_paced.then(|| self.pace.due());
        let keep_alive = self.is_connected().then(|| self.sent_at.saturating_add(KEEP_ALIVE));
        [
            self.timeout_at,
            self.send.reorder_at(),
            self.receive.ack_due(),
            self.persist_at,
            pace,
            keep_alive,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn tick(&mut self, now: Micros) -> Change {
        if self.closed().is_some() {
            return Change::Nothing;
        }
        if self.send.reorder_at().is_some_and(|at| at <= now) {
            self.find_lost(now);
        }
        if self.persist_at.is_some_and(|at| at <= now) {
            self.persist_at = None;
            self.asks_for_room = true;
        }
        if self.is_connected() && now >= self.sent_at.saturating_add(KEEP_ALIVE) {
            self.receive.ack_soon();
            self.send.rest();
            self.receive.rest();
        }
        if self.timeout_at.is_some_and(|at| at <= now) {
            return self.timed_out(now);
        }
        Change::Nothing
    }

    fn timed_out(&mut self, now: Micros) -> Change {
        self.timeouts = self.timeouts.saturating_add(1);
        let most = match self.state {
            State::SynSent => SYN_TRIES,
            _ if self.is_left => CLOSING_TIMEOUTS_MAX,
            _ => TIMEOUTS_MAX,
        };
        if self.timeouts >= most {
            return self.close(Closed::TimedOut);
        }
        let lost = self.send.lose_all();
        let only_probes = lost.iter().filter(|seq| !self.mtu.lost(**seq)).count() == 0;
        if !only_probes {
            self.rtt.back_off();
            self.ledbat.timed_out(now);
        }
        self.timeout_at = None;
        self.arm_timeout(now);
        Change::Nothing
    }
}
