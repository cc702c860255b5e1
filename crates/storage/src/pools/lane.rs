//! The queues and threads of one device.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::PoolSettings;
use super::piece::{self, PieceJob};

/// Pieces one thread takes at a time: enough to fill the lanes of a hash kernel and to merge
/// neighbours into one write.
const BATCH_MAX: usize = 16;

/// Work that needs no batching.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// Four queues, so that a long write, sync or check never delays a read.
pub(super) struct Lane {
    pub(super) pieces: Arc<Queue<PieceJob>>,
    pub(super) disk: Arc<Queue<Task>>,
    pub(super) syncs: Arc<Queue<Task>>,
    pub(super) checks: Arc<Queue<Task>>,
}

impl Lane {
    pub(super) fn start(settings: PoolSettings) -> io::Result<Arc<Self>> {
        let lane = Self {
            pieces: Queue::new(settings.hash_threads.max(1)),
            disk: Queue::new(settings.disk_threads.max(1)),
            syncs: Queue::new(1),  // the disk does one at a time anyway
            checks: Queue::new(1), // one stream for each spindle; a check brings its own threads
        };
        let started = lane.start_threads();
        if started.is_err() {
            lane.close();
        }
        started.map(|()| Arc::new(lane))
    }

    fn start_threads(&self) -> io::Result<()> {
        serve(&self.pieces, "pieces", BATCH_MAX, piece::run)?;
        let run = |tasks: Vec<Task>| tasks.into_iter().for_each(|task| task());
        serve(&self.disk, "disk", 1, run)?;
        serve(&self.syncs, "sync", 1, run)?;
        serve(&self.checks, "check", 1, run)
    }

    /// Lets the threads end when their queues are empty.
    pub(super) fn close(&self) {
        self.pieces.close();
        for queue in [&self.disk, &self.syncs, &self.checks] {
            queue.close();
        }
    }
}

/// Starts a queue's threads. Each ends when the queue is closed and empty.
fn serve<T: Send + 'static>(
    queue: &Arc<Queue<T>>,
    name: &str,
    batch_max: usize,
    run: fn(Vec<T>),
) -> io::Result<()> {
    for _ in 0..queue.workers {
        let queue = Arc::clone(queue);
        thread::Builder::new().name(name.into()).spawn(move || {
            while let Some(batch) = queue.next(batch_max) {
                survive(move || run(batch));
            }
        })?;
    }
    Ok(())
}

/// Runs what may panic, a caller's callback above all; the thread goes on.
pub(super) fn survive(job: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a disk job panicked");
    }
}

/// Jobs for a fixed number of threads.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    workers: usize,
}

struct State<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    fn new(workers: usize) -> Arc<Self> {
        let state = Mutex::new(State { jobs: VecDeque::new(), closed: false });
        Arc::new(Self { state, changed: Condvar::new(), workers })
    }

    pub(super) fn push(&self, job: T) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Waits for jobs and takes a fair share of them, at most `most`; `None` when there will be no
    /// more.
    fn next(&self, most: usize) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let share = state.jobs.len().div_ceil(self.workers).min(most);
        Some(state.jobs.drain(..share).collect())
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_its_share_and_no_more() {
        let queue = Queue::new(4);
        (0..10).for_each(|job| queue.push(job));
        assert_eq!(queue.next(16), Some(vec![0, 1, 2]), "a quarter, rounded up");
        assert_eq!(queue.next(1), Some(vec![3]));
        let crowded = Queue::new(1);
        (0..40).for_each(|job| crowded.push(job));
        assert_eq!(crowded.next(16).unwrap().len(), 16);
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::new(1);
        queue.push(1);
        queue.close();
        assert_eq!(queue.next(1), Some(vec![1]));
        assert_eq!(queue.next(1), None);
    }
}
