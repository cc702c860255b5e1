//! The queues and threads of one device.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use digest::Algorithm;

use super::PoolSettings;
use super::piece::{self, PieceJob};
use super::proof::{self, ProofJob};

/// Pieces one thread takes at a time: enough to fill the lanes of a hash kernel and to merge
/// neighbours into one write.
const BATCH_MAX: usize = 16;

/// The longest that jobs wait for others to share a batch with.
const PATIENCE: Duration = Duration::from_millis(25);

/// Work that needs no batching.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// Queues of their own, so that a long write, sync or check never delays a read, nor a proof.
pub(super) struct Lane {
    pub(super) pieces: Arc<Queue<PieceJob>>,
    pub(super) proofs: Arc<Queue<ProofJob>>,
    pub(super) disk: Arc<Queue<Task>>,
    pub(super) syncs: Arc<Queue<Task>>,
    pub(super) checks: Arc<Queue<Task>>,
}

impl Lane {
    pub(super) fn start(settings: PoolSettings) -> io::Result<Arc<Self>> {
        let lane = Self {
            pieces: Queue::new(settings.hash_threads.max(1), digest::lanes(Algorithm::Sha1)),
            proofs: Queue::new(settings.hash_threads.max(1), 1), // a job is a batch already
            disk: Queue::new(settings.disk_threads.max(1), 1),
            syncs: Queue::new(1, 1),  // the disk does one at a time anyway
            checks: Queue::new(1, 1), // one stream for each spindle; a check brings its threads
        };
        let started = lane.start_threads();
        if started.is_err() {
            lane.close();
        }
        started.map(|()| Arc::new(lane))
    }

    fn start_threads(&self) -> io::Result<()> {
        serve(&self.pieces, "pieces", BATCH_MAX, piece::run)?;
        serve(&self.proofs, "proofs", BATCH_MAX, proof::run)?;
        let run = |tasks: Vec<Task>| tasks.into_iter().for_each(|task| task());
        serve(&self.disk, "disk", 1, run)?;
        serve(&self.syncs, "sync", 1, run)?;
        serve(&self.checks, "check", 1, run)
    }

    /// Lets the threads end when their queues are empty.
    pub(super) fn close(&self) {
        self.pieces.close();
        self.proofs.close();
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
    /// For the thread that collects a batch.
    filled: Condvar,
    workers: usize,
    /// Jobs that cost less together than one by one.
    batch: usize,
}

struct State<T> {
    jobs: VecDeque<T>,
    closed: bool,
    /// A thread waits for the batch to fill.
    collecting: bool,
    last_push: Option<Instant>,
    /// Between two jobs, of late.
    interval: Duration,
}

impl<T> Queue<T> {
    fn new(workers: usize, batch: usize) -> Arc<Self> {
        let state = Mutex::new(State {
            jobs: VecDeque::new(),
            closed: false,
            collecting: false,
            last_push: None,
            interval: Duration::MAX,
        });
        Arc::new(Self { state, changed: Condvar::new(), filled: Condvar::new(), workers, batch })
    }

    pub(super) fn push(&self, job: T) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        if self.batch > 1 {
            state.count_interval(Instant::now());
        }
        let (collecting, filled) = (state.collecting, state.jobs.len() >= self.batch);
        drop(state);
        match (collecting, filled) {
            (true, false) => {} // it has a thread already, which waits for more
            (true, true) => self.filled.notify_one(),
            (false, _) => self.changed.notify_one(),
        }
    }

    /// Waits for jobs and takes a batch of them or a fair share, whichever is more, and at most
    /// `most`; `None` when there will be no more.
    fn next(&self, most: usize) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.jobs.is_empty() || state.collecting {
            if state.closed && state.jobs.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let patience = state.patience(self.batch);
        if !patience.is_zero() {
            state.collecting = true;
            let waiting = |state: &mut State<T>| state.jobs.len() < self.batch && !state.closed;
            let waited = self.filled.wait_timeout_while(state, patience, waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.collecting = false;
        }
        let share = state.jobs.len().div_ceil(self.workers).max(self.batch).min(most);
        let taken = state.jobs.len().min(share);
        let jobs = state.jobs.drain(..taken).collect();
        // Whoever was woken while these were collected went to sleep again.
        if state.closed {
            self.changed.notify_all();
        } else if !state.jobs.is_empty() {
            self.changed.notify_one();
        }
        Some(jobs)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// A running mean: it follows a change within a few jobs.
    fn count_interval(&mut self, now: Instant) {
        let since = self.last_push.replace(now).map_or(PATIENCE, |last| now - last).min(PATIENCE);
        self.interval = self.interval.min(PATIENCE) * 3 / 4 + since / 4;
    }

    /// How long to wait for a batch to fill: twice what it should take. Not at all when jobs come
    /// so rarely that it would not.
    fn patience(&self, batch: usize) -> Duration {
        let missing = batch.saturating_sub(self.jobs.len());
        if missing == 0 || self.closed || self.interval * 2 > PATIENCE {
            return Duration::ZERO;
        }
        (self.interval * 2 * u32::try_from(missing).unwrap_or(u32::MAX)).min(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_its_share_and_no_more() {
        let queue = Queue::new(4, 1);
        (0..10).for_each(|job| queue.push(job));
        assert_eq!(queue.next(16), Some(vec![0, 1, 2]), "a quarter, rounded up");
        assert_eq!(queue.next(1), Some(vec![3]));
        let crowded = Queue::new(1, 1);
        (0..40).for_each(|job| crowded.push(job));
        assert_eq!(crowded.next(16).unwrap().len(), 16);
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::new(1, 1);
        queue.push(1);
        queue.close();
        assert_eq!(queue.next(1), Some(vec![1]));
        assert_eq!(queue.next(1), None);
    }

    #[test]
    fn a_full_batch_goes_to_one_thread() {
        let queue = Queue::new(4, 8);
        (0..10).for_each(|job| queue.push(job));
        assert_eq!(queue.next(16).unwrap().len(), 8, "not a quarter");
        queue.close();
        assert_eq!(queue.next(16).unwrap().len(), 2, "nobody waits for more of them");
        assert_eq!(queue.next(16), None);
    }

    #[test]
    fn jobs_wait_for_others_only_while_these_come_quickly() {
        let mut state = State {
            jobs: VecDeque::from([0]),
            ..Arc::into_inner(Queue::new(1, 4)).unwrap().state.into_inner().unwrap()
        };
        let mut now = Instant::now();
        let mut push = |state: &mut State<i32>, after| {
            now += after;
            state.count_interval(now);
            state.patience(4)
        };
        assert_eq!(push(&mut state, Duration::ZERO), Duration::ZERO, "the first ever");
        let quick = (0..20).map(|_| push(&mut state, Duration::from_millis(1))).last().unwrap();
        assert!(quick > Duration::from_millis(5) && quick < Duration::from_millis(8), "{quick:?}");
        push(&mut state, Duration::from_secs(9));
        let rare = (0..9).map(|_| push(&mut state, Duration::from_millis(40))).last().unwrap();
        assert_eq!(rare, Duration::ZERO);
        state.jobs.extend(1..4);
        assert_eq!(push(&mut state, Duration::ZERO), Duration::ZERO, "full");
    }

    #[test]
    fn a_batch_is_collected_from_jobs_that_come_one_by_one() {
        let queue = Queue::new(2, 4);
        queue.lock().interval = Duration::from_millis(1);
        let done: Vec<usize> = thread::scope(|scope| {
            let worker = || {
                let mut sizes = Vec::new();
                while let Some(batch) = queue.next(16) {
                    sizes.push(batch.len());
                }
                sizes
            };
            let workers = [scope.spawn(worker), scope.spawn(worker)];
            (0..100).for_each(|job| queue.push(job));
            queue.close();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(done.iter().sum::<usize>(), 100, "every job was done: {done:?}");
    }
}
