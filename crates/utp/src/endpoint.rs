//! All connections of one UDP socket: which packet is whose, who may open one, and what leaves next.

mod memory;
mod status;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Change, Closed, Connection, Opening};
use crate::packet::{HEADER_BYTES, Header, Kind, Packet};
use crate::seq::{Micros, SECOND, Seq, stamp};

/// Connections that were answered and have not proved their address, over all sources.
const HALF_OPEN_MAX: usize = 256;
/// And of one address, behind which there may be several machines.
const HALF_OPEN_OF_ONE_MAX: usize = 16;
/// How long they have: as long as a SYN is tried for.
const HALF_OPEN_LIMIT: Micros = 10 * SECOND;
/// Resets that may leave in a second, so that a flood is not answered with one.
const RESETS_A_SECOND: u32 = 200;
/// Ids tried for a connection before the peer has too many.
const ID_TRIES: usize = 32;

/// How an endpoint is made.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bytes received that the application has not read, of one connection. The same again may wait
    /// for a packet that was lost.
    pub receive_bytes: usize,
    /// Bytes that wait for lost packets, over all connections.
    pub ahead_bytes_max: usize,
    /// Bytes received that the application has not read, over all connections. Each may have some
    /// whatever the others have.
    pub held_bytes_max: usize,
    /// Datagrams are never longer, for IPv4 and IPv6.
    pub datagram_bytes_max: [usize; 2],
    /// Whether others may open connections.
    pub accept: bool,
    /// More connections than this are refused.
    pub connections_max: usize,
    /// What the random numbers begin with. Strangers must not guess it.
    pub seed: u64,
}

impl Config {
    /// For the internet.
    pub fn new(seed: u64) -> Self {
        Self {
            receive_bytes: 4 * 1024 * 1024, // 100 Mbit/s over 300 ms
            ahead_bytes_max: 64 * 1024 * 1024,
            held_bytes_max: 128 * 1024 * 1024, // of who is not read from, the others need little
            datagram_bytes_max: [1_472, 1_452], // Ethernet
            accept: true,
            connections_max: 4_000,
            seed,
        }
    }
}

/// Names a connection of an endpoint. It is never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

/// What the application should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody opened a connection, and does live at that address.
    Incoming(ConnectionId),
    /// The peer took our connection.
    Connected(ConnectionId),
    /// There are bytes to read, or the end.
    Readable(ConnectionId),
    /// There is room to write, after there was none.
    Writable(ConnectionId),
    /// The connection is over. What came before can still be read.
    Closed(ConnectionId, Closed),
}

/// Why nothing was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Later: an [`Event`] tells when.
    Later,
    /// Never.
    Closed(Closed),
}

/// Datagrams to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub remote: SocketAddr,
    /// From which of our addresses, if that is known.
    pub local: Option<SocketAddr>,
    /// How long each is; the last may be shorter.
    pub segment: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// See the module. All of it is driven from outside: [`Self::handle`] what came, [`Self::tick`] when
/// [`Self::due`] is over, then [`Self::transmit`] and [`Self::event`] until they give nothing.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    rng: fastrand::Rng,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// By what packets to us are marked with.
    ids: HashMap<(SocketAddr, u16), u32>,
    half_open: VecDeque<(ConnectionId, Micros)>,
    /// Those that may have something to send.
    queue: VecDeque<u32>,
    timers: BTreeSet<(Micros, u32)>,
    events: VecDeque<Event>,
    resets: VecDeque<(SocketAddr, Option<SocketAddr>, Header)>,
    resets_left: u32,
    resets_since: Micros,
    ahead_bytes: usize,
    held_bytes: usize,
}

fn micros(now: Duration) -> Micros {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl Endpoint {
    /// Without connections.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            rng: fastrand::Rng::with_seed(config.seed),
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            half_open: VecDeque::new(),
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            resets: VecDeque::new(),
            resets_left: RESETS_A_SECOND,
            resets_since: 0,
            ahead_bytes: 0,
            held_bytes: 0,
        }
    }

    /// Opens a connection; `None` when there are too many.
    pub fn connect(
        &mut self,
        now: Duration,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Option<ConnectionId> {
        if self.ids.len() >= self.config.connections_max {
            return None;
        }
        let mut ids = (0..ID_TRIES).map(|_| self.rng.u16(..)).collect::<Vec<_>>().into_iter();
        let id = ids.find(|id| !self.ids.contains_key(&(remote, *id)))?;
        let opening = self.opening(remote, local);
        let connection = Connection::ask(micros(now), opening, id);
        self.insert(connection)
    }

    fn opening(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Opening {
        let [v4, v6] = self.config.datagram_bytes_max;
        Opening {
            remote,
            local,
            first: Seq(self.rng.u16(..)),
            datagram_bytes_max: if remote.is_ipv4() { v4 } else { v6 },
            receive_bytes: self.config.receive_bytes,
        }
    }

    fn insert(&mut self, connection: Connection) -> Option<ConnectionId> {
        let index = if let Some(index) = self.free.pop() {
            index
        } else {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len()).ok()?.checked_sub(1)?
        };
        let slot = self.slots.get_mut(index as usize)?;
        self.ids.insert((connection.remote, connection.receive_id), index);
        slot.connection = Some(Box::new(connection));
        let id = ConnectionId { index, generation: slot.generation };
        self.touch(index);
        Some(id)
    }

    fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize)?;
        slot.connection.as_deref().filter(|_| slot.generation == id.generation)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.connection.as_deref_mut().filter(|_| slot.generation == id.generation)
    }

    fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_deref_mut()
    }

    fn id_of(&self, index: u32) -> ConnectionId {
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        ConnectionId { index, generation }
    }

    /// How long its datagrams are by now.
    pub fn datagram_bytes(&self, id: ConnectionId) -> Option<usize> {
        self.get(id).map(Connection::datagram_bytes)
    }

    /// Reads what came; 0 is the end of the stream.
    ///
    /// # Errors
    /// [`Blocked`] when there is nothing.
    pub fn read(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Result<usize, Blocked> {
        let Some(connection) = self.get_mut(id) else { return Err(Blocked::Closed(Closed::Reset)) };
        match connection.read(buffer) {
            Some(count) => {
                self.recount(id.index);
                self.touch(id.index);
                Ok(count)
            }
            None => Err(connection.closed().map_or(Blocked::Later, Blocked::Closed)),
        }
    }

    /// Takes as many bytes as there is room for.
    ///
    /// # Errors
    /// [`Blocked`] when there is no room.
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<usize, Blocked> {
        let Some(connection) = self.get_mut(id) else { return Err(Blocked::Closed(Closed::Reset)) };
        if let Some(closed) = connection.closed() {
            return Err(Blocked::Closed(closed));
        }
        let written = connection.write(bytes).ok_or(Blocked::Later);
        self.touch(id.index);
        written
    }

    /// The application needs the connection no more. What it wrote is still sent.
    pub fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.get_mut(id) else { return };
        connection.leave();
        self.recount(id.index);
        self.touch(id.index);
    }

    /// Has [`Self::transmit`] look at a connection.
    fn touch(&mut self, index: u32) {
        if let Some(connection) = self.at(index)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.queue.push_back(index);
        }
    }

    /// A datagram came from `remote`, to one of our addresses.
    pub fn handle(
        &mut self,
        now: Duration,
        remote: SocketAddr,
        local: Option<SocketAddr>,
        bytes: &[u8],
    ) {
        let (now, Some(packet)) = (micros(now), Packet::decode(bytes)) else { return };
        let header = packet.header;
        match header.kind {
            Kind::Syn => self.syn(now, remote, local, &header),
            Kind::Reset => {
                if let Some(index) = self.whose_reset(remote, header.connection)
                    && let Some(connection) = self.at(index)
                {
                    let change = connection.reset(&header);
                    self.changed(index, change);
                }
            }
            Kind::Data | Kind::Fin | Kind::State => {
                let Some(&index) = self.ids.get(&(remote, header.connection)) else {
                    return self.answer_reset(now, remote, local, &header);
                };
                self.recount(index); // others may have read, or taken the room
                let room = self.config.ahead_bytes_max.saturating_sub(self.ahead_bytes);
                let Some(connection) = self.at(index) else { return };
                let before = connection.ahead_bytes();
                let change = connection.packet(now, &packet, room);
                let after = connection.ahead_bytes();
                self.ahead_bytes = self.ahead_bytes.saturating_add(after).saturating_sub(before);
                self.recount(index);
                self.changed(index, change);
            }
        }
    }

    /// A reset names a connection as either side does.
    fn whose_reset(&mut self, remote: SocketAddr, id: u16) -> Option<u32> {
        if let Some(index) = self.ids.get(&(remote, id)) {
            return Some(*index);
        }
        [id.wrapping_sub(1), id.wrapping_add(1)].into_iter().find_map(|receive_id| {
            let index = *self.ids.get(&(remote, receive_id))?;
            (self.at(index)?.send_id == id).then_some(index)
        })
    }

    fn syn(&mut self, now: Micros, remote: SocketAddr, local: Option<SocketAddr>, syn: &Header) {
        let receive_id = syn.connection.wrapping_add(1);
        if let Some(&index) = self.ids.get(&(remote, receive_id)) {
            if let Some(connection) = self.at(index) {
                connection.syn_again(syn);
                self.touch(index);
            }
            return;
        }
        let same = |(id, _): &&(ConnectionId, Micros)| {
            self.get(*id).is_some_and(|other| other.remote.ip() == remote.ip())
        };
        let of_one = self.half_open.iter().filter(same).count();
        if !self.config.accept
            || of_one >= HALF_OPEN_OF_ONE_MAX
            || self.ids.len() >= self.config.connections_max
        {
            return self.answer_reset(now, remote, local, syn);
        }
        if self.half_open.len() >= HALF_OPEN_MAX
            && let Some((oldest, _)) = self.half_open.pop_front()
        {
            self.remove(oldest.index);
        }
        let opening = self.opening(remote, local);
        if let Some(id) = self.insert(Connection::answer(now, opening, syn)) {
            self.half_open.push_back((id, now.saturating_add(HALF_OPEN_LIMIT)));
        }
    }

    /// Tells who sent this that there is no such connection. Never longer than what it answers.
    fn answer_reset(
        &mut self,
        now: Micros,
        remote: SocketAddr,
        local: Option<SocketAddr>,
        to: &Header,
    ) {
        if now.saturating_sub(self.resets_since) >= SECOND {
            (self.resets_since, self.resets_left) = (now, RESETS_A_SECOND);
        }
        let Some(left) = self.resets_left.checked_sub(1) else { return };
        self.resets_left = left;
        let reset = Header {
            kind: Kind::Reset,
            connection: to.connection,
            sent_at: stamp(now),
            delay: stamp(now).wrapping_sub(to.sent_at),
            window: 0,
            seq: Seq(self.rng.u16(..)),
            ack: to.seq,
        };
        self.resets.push_back((remote, local, reset));
    }

    fn changed(&mut self, index: u32, change: Change) {
        let id = self.id_of(index);
        match change {
            Change::Nothing => {}
            Change::Connected => {
                let before = self.half_open.len();
                self.half_open.retain(|(half_open, _)| *half_open != id);
                let was_asked = self.half_open.len() < before;
                let event = if was_asked { Event::Incoming(id) } else { Event::Connected(id) };
                self.events.push_back(event);
            }
            Change::Closed => {
                if let Some(reason) = self.at(index).and_then(|connection| connection.closed()) {
                    self.half_open.retain(|(half_open, _)| *half_open != id);
                    self.events.push_back(Event::Closed(id, reason));
                }
            }
        }
        self.touch(index);
        let Some(connection) = self.at(index) else { return };
        if connection.is_connected() {
            let (readable, writable) = (connection.takes_readable(), connection.takes_writable());
            if readable {
                self.events.push_back(Event::Readable(id));
            }
            if writable {
                self.events.push_back(Event::Writable(id));
            }
        }
    }

    /// What the application should know next.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::tick`] has something to do; `None` for never.
    pub fn due(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let half_open = self.half_open.front().map(|(_, at)| *at);
        [timer, half_open].into_iter().flatten().min().map(Duration::from_micros)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        let now = micros(now);
        while let Some(&(at, index)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(connection) = self.at(index) else { continue };
            connection.armed = None;
            let change = connection.tick(now);
            self.changed(index, change);
        }
        while let Some((id, _)) = self.half_open.pop_front_if(|(_, until)| *until <= now) {
            self.remove(id.index);
        }
    }

    /// Puts a burst of at most `datagrams` datagrams into `to`, which it empties first. `None` when
    /// there is nothing to send now.
    pub fn transmit(
        &mut self,
        now: Duration,
        datagrams: usize,
        to: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let now = micros(now);
        to.clear();
        if let Some((remote, local, reset)) = self.resets.pop_front() {
            reset.encode(to);
            return Some(Transmit { remote, local, segment: HEADER_BYTES });
        }
        while let Some(index) = self.queue.pop_front() {
            let Some(connection) = self.at(index) else { continue };
            connection.is_queued = false;
            if connection.is_over() {
                self.remove(index);
                continue;
            }
            if let Some(segment) = connection.transmit(now, datagrams.max(1), to) {
                let (remote, local) = (connection.remote, connection.local);
                self.touch(index); // it may have more, after the others' turn
                return Some(Transmit { remote, local, segment });
            }
            self.arm(index);
        }
        None
    }

    /// Sets a connection's timer. One that is early enough stays: it is looked at again then.
    fn arm(&mut self, index: u32) {
        let Some(connection) = self.at(index) else { return };
        let Some(due) = connection.due() else { return };
        if connection.armed.is_some_and(|armed| armed <= due) {
            return;
        }
        let before = connection.armed.replace(due);
        if let Some(before) = before {
            self.timers.remove(&(before, index));
        }
        self.timers.insert((due, index));
    }

    fn remove(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(connection) = slot.connection.take() else { return };
        slot.generation = slot.generation.wrapping_add(1);
        self.ids.remove(&(connection.remote, connection.receive_id));
        if let Some(armed) = connection.armed {
            self.timers.remove(&(armed, index));
        }
        if connection.is_queued {
            self.queue.retain(|queued| *queued != index);
        }
        if connection.is_half_open() {
            self.half_open.retain(|(id, _)| id.index != index);
        }
        self.ahead_bytes = self.ahead_bytes.saturating_sub(connection.ahead_bytes());
        self.held_bytes = self.held_bytes.saturating_sub(connection.counted);
        self.free.push(index);
    }
}
