//! One peer's connection on its shard: waits for the socket, moves bytes, and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use storage::ReadBuffer;
use swarm::PeerKey;
use tokio::io::Interest;
use tokio::sync::Notify;
use wire::{BlockRequest, Limits, Message};

use super::calls::{self, Call};
use super::out::OutQueue;
use super::receive::{ReceiveError, Receiver};
use crate::stream::Stream;
use crate::torrent::Torrent;

/// Upload bytes kept ready for a peer: half a second's worth, within these bounds. Less starves a
/// fast peer between two disk reads; more delays a cancel or a choke to a slow one.
const AHEAD_BYTES_MIN: usize = 64 * 1024;
const AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// Before a rate is known.
const AHEAD_BYTES_START: usize = 256 * 1024;
/// How often the amount kept ready is set anew.
const AHEAD_WINDOW: Duration = Duration::from_millis(250);

/// A run of blocks on its way from the disk to this peer. Runs leave in the order they were asked
/// for, so that the peer can place them by its own queue.
struct Run {
    id: u64,
    begin: u32,
    /// How many blocks it has of [`Reading::blocks`].
    blocks: usize,
    bytes: usize,
    data: Option<ReadBuffer>,
}

/// Runs that are being read, in order.
#[derive(Default)]
struct Reading {
    runs: VecDeque<Run>,
    /// The blocks of all of them.
    blocks: VecDeque<BlockRequest>,
    next_id: u64,
}

/// Bytes of small messages that may wait for the socket before the peer is no longer read from.
const MESSAGES_MAX: usize = 256 * 1024;

/// How much upload to keep ready, from what the socket took lately.
struct Ahead {
    bytes: usize,
    window_start: Duration,
    window_sent: usize,
}

/// One established connection. Lives on one shard; shared by its task and its torrent.
pub(crate) struct Connection {
    pub(crate) key: PeerKey,
    stream: Stream,
    out: RefCell<OutQueue>,
    reading: RefCell<Reading>,
    ahead: RefCell<Ahead>,
    /// The last run was in memory: there is no need to read ahead of the socket.
    cached: Cell<bool>,
    /// Its torrent is about to write to it.
    touched: Cell<bool>,
    closing: RefCell<Option<String>>,
    changed: Notify,
}

impl Connection {
    pub(crate) fn new(key: PeerKey, stream: Stream) -> Self {
        Self {
            key,
            stream,
            out: RefCell::default(),
            reading: RefCell::default(),
            ahead: RefCell::new(Ahead {
                bytes: AHEAD_BYTES_START,
                window_start: Duration::ZERO,
                window_sent: 0,
            }),
            cached: Cell::new(false),
            touched: Cell::new(false),
            closing: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Serves the connection until it ends; the text says why.
    pub(crate) async fn run(self: &Rc<Self>, torrent: &Torrent, limits: Limits) -> String {
        let mut receiver = Receiver::new(limits);
        loop {
            if let Some(reason) = self.closing.borrow_mut().take() {
                return reason;
            }
            let interest = match self.out.borrow().messages() {
                // Who asks and never reads the answers is not listened to, and times out.
                MESSAGES_MAX.. => Interest::WRITABLE,
                _ if self.out.borrow().is_empty() => Interest::READABLE,
                _ => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = tokio::select! {
                ready = self.stream.ready(interest) => ready,
                () = self.changed.notified() => continue,
            };
            let ready = match ready {
                Ok(ready) => ready,
                Err(error) => return error.to_string(),
            };
            if ready.is_readable() || ready.is_read_closed() {
                match torrent.receive(self, &mut receiver) {
                    Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return error.to_string(),
                    Ok(()) => {}
                }
            }
            if ready.is_writable() {
                torrent.writable(self);
            }
        }
    }

    /// One non-blocking scattered read.
    pub(crate) fn try_read(&self, slices: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        let room: usize = slices.iter().map(|slice| slice.len()).sum();
        let got = self.stream.try_read_vectored(slices);
        match &got {
            Ok(got) if *got < room => {
                calls::count(Call::ReceiveAll);
                self.stream.await_more();
            }
            Ok(_) => calls::count(Call::Receive),
            Err(_) => calls::count(Call::ReceiveInVain),
        }
        got
    }

    /// Notes whether its torrent is about to write to it; returns what was noted before.
    pub(crate) fn set_touched(&self, touched: bool) -> bool {
        self.touched.replace(touched)
    }

    /// Ends the connection as soon as its task runs.
    pub(crate) fn close(&self, reason: String) {
        self.closing.borrow_mut().get_or_insert(reason);
        self.changed.notify_one();
    }

    pub(crate) fn push(&self, message: &Message<'_>) {
        self.out.borrow_mut().push(message);
    }

    /// Writes what it can and returns the payload bytes that left. Whatever stays waits for the
    /// socket in the connection's task.
    pub(crate) fn flush(&self, now: Duration) -> u32 {
        let mut out = self.out.borrow_mut();
        match out.flush(&self.stream) {
            Ok(true) => {}
            Ok(false) => self.changed.notify_one(),
            Err(error) => self.close(error.to_string()),
        }
        let sent = out.take_payload_sent();
        self.ahead.borrow_mut().sent(now, sent);
        u32::try_from(sent).unwrap_or(u32::MAX)
    }

    /// Whether anything waits for the socket.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.borrow().is_empty()
    }

    /// Notes whether a run could be read without waiting.
    pub(crate) fn reads_cached(&self, cached: bool) {
        self.cached.set(cached);
    }

    /// Upload bytes that may be taken on now.
    pub(crate) fn upload_room(&self) -> u32 {
        if self.cached.get() && self.has_output() {
            return 0; // read when it can be sent, it is sent out of the processor's cache
        }
        let reading: usize = self.reading.borrow().runs.iter().map(|run| run.bytes).sum();
        let queued = self.out.borrow().len() + reading;
        u32::try_from(self.ahead.borrow().bytes.saturating_sub(queued)).unwrap_or(u32::MAX)
    }

    /// Notes a contiguous run that is being read; the number names it in [`Self::run_read`].
    pub(crate) fn run_started(&self, begin: u32, blocks: &[BlockRequest]) -> u64 {
        let mut reading = self.reading.borrow_mut();
        let id = reading.next_id;
        reading.next_id += 1;
        let bytes = blocks.iter().map(|block| block.length as usize).sum();
        reading.blocks.extend(blocks);
        reading.runs.push_back(Run { id, begin, blocks: blocks.len(), bytes, data: None });
        id
    }

    /// A run was read: queues it, and those behind it that were ready before.
    pub(crate) fn run_read(&self, id: u64, data: ReadBuffer) {
        let mut reading = self.reading.borrow_mut();
        if let Some(run) = reading.runs.iter_mut().find(|run| run.id == id) {
            run.data = Some(data);
        }
        reading.queue_ready(&mut self.out.borrow_mut());
    }

    /// A run can't be read: its blocks, which the peer will not get.
    pub(crate) fn run_failed(&self, id: u64) -> Vec<BlockRequest> {
        let mut reading = self.reading.borrow_mut();
        let failed = reading.remove(id);
        reading.queue_ready(&mut self.out.borrow_mut()); // those behind it may have waited for it
        failed
    }
}

impl Reading {
    /// Moves the runs at the front that are there to where they wait for the socket.
    fn queue_ready(&mut self, out: &mut OutQueue) {
        while let Some(run) = self.runs.pop_front_if(|run| run.data.is_some()) {
            let blocks = self.blocks.drain(..run.blocks);
            if let Some(data) = run.data {
                out.push_run(blocks, run.begin, data);
            }
        }
    }

    /// Takes a run out. Returns its blocks.
    fn remove(&mut self, id: u64) -> Vec<BlockRequest> {
        let Some(at) = self.runs.iter().position(|run| run.id == id) else { return Vec::new() };
        let before: usize = self.runs.iter().take(at).map(|run| run.blocks).sum();
        let count = self.runs.remove(at).map_or(0, |run| run.blocks);
        self.blocks.drain(before..before + count).collect()
    }
}

impl Ahead {
    fn sent(&mut self, now: Duration, bytes: usize) {
        self.window_sent += bytes;
        let elapsed = now.saturating_sub(self.window_start);
        if elapsed < AHEAD_WINDOW {
            return;
        }
        if self.window_sent > 0 {
            let half_second = self.window_sent as f64 / elapsed.as_secs_f64() / 2.0;
            self.bytes = (half_second as usize).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX);
        }
        self.window_start = now;
        self.window_sent = 0;
    }
}
