//! One peer's connection on its shard: waits for the socket, moves bytes, and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use storage::ReadBuffer;
use swarm::PeerKey;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use wire::{BlockRequest, Limits, Message};

use super::out::OutQueue;
use super::receive::{ReceiveError, Receiver};
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
    blocks: Vec<BlockRequest>,
    bytes: usize,
    data: Option<Rc<ReadBuffer>>,
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
    stream: TcpStream,
    out: RefCell<OutQueue>,
    runs: RefCell<VecDeque<Run>>,
    next_run: Cell<u64>,
    ahead: RefCell<Ahead>,
    /// The last run was in memory: there is no need to read ahead of the socket.
    cached: Cell<bool>,
    closing: RefCell<Option<String>>,
    changed: Notify,
}

impl Connection {
    pub(crate) fn new(key: PeerKey, stream: TcpStream) -> Self {
        Self {
            key,
            stream,
            out: RefCell::default(),
            runs: RefCell::default(),
            next_run: Cell::new(0),
            ahead: RefCell::new(Ahead {
                bytes: AHEAD_BYTES_START,
                window_start: Duration::ZERO,
                window_sent: 0,
            }),
            cached: Cell::new(false),
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
        self.stream.try_read_vectored(slices)
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
        let reading: usize = self.runs.borrow().iter().map(|run| run.bytes).sum();
        let queued = self.out.borrow().len() + reading;
        u32::try_from(self.ahead.borrow().bytes.saturating_sub(queued)).unwrap_or(u32::MAX)
    }

    /// Notes a contiguous run that is being read; the id names it in [`Self::run_read`].
    pub(crate) fn run_started(&self, begin: u32, blocks: Vec<BlockRequest>) -> u64 {
        let id = self.next_run.get();
        self.next_run.set(id + 1);
        let bytes = blocks.iter().map(|block| block.length as usize).sum();
        self.runs.borrow_mut().push_back(Run { id, begin, blocks, bytes, data: None });
        id
    }

    /// A run was read: queues it, and those behind it that were ready before.
    pub(crate) fn run_read(&self, id: u64, data: ReadBuffer) {
        if let Some(run) = self.runs.borrow_mut().iter_mut().find(|run| run.id == id) {
            run.data = Some(Rc::new(data));
        }
        self.queue_ready();
    }

    fn queue_ready(&self) {
        let mut runs = self.runs.borrow_mut();
        let mut out = self.out.borrow_mut();
        while let Some(Run { data: Some(data), .. }) = runs.front() {
            let data = Rc::clone(data);
            let Some(run) = runs.pop_front() else { return };
            for block in run.blocks {
                out.push_block(block, Rc::clone(&data), (block.begin - run.begin) as usize);
            }
        }
    }

    /// A run can't be read: its blocks, which the peer will not get.
    pub(crate) fn run_failed(&self, id: u64) -> Vec<BlockRequest> {
        let mut runs = self.runs.borrow_mut();
        let at = runs.iter().position(|run| run.id == id);
        let failed = at.and_then(|at| runs.remove(at)).map_or_else(Vec::new, |run| run.blocks);
        drop(runs);
        self.queue_ready(); // those behind it may have waited for it
        failed
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
