//! The way of many torrents into a session: those that go to one folder are looked at together, so
//! that the folder is looked up once and the state is asked once for all of them.
//!
//! Each folder has its own queue and threads: one on a disk that hangs delays only what goes there,
//! until it has taken all of the control runtime's blocking threads.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use storage::{RecordKey, Root};
use tokio::runtime::Handle;

use crate::add::Entering;
use crate::panics;
use crate::resume;
use crate::session::SessionShared;

/// Torrents looked at together. With as many again waiting, another thread comes.
const TOGETHER: usize = 16;

/// A folder whose threads have all been busy for so long gets another: something is slow there.
const SLOW: Duration = Duration::from_millis(20);

/// Torrents that nobody looked at yet, by the folder they go to.
#[derive(Default)]
pub(crate) struct Intake(Mutex<HashMap<PathBuf, Queue>>);

struct Queue {
    waiting: VecDeque<Entering>,
    threads: usize,
    /// When a thread last came for more.
    taken_at: Instant,
}

/// A thread on its way to a folder, or there.
struct Visit {
    session: Arc<SessionShared>,
    folder: PathBuf,
    is_over: bool,
}

/// Queues a torrent and sees to it that somebody comes for it.
pub(crate) fn enter(session: &Arc<SessionShared>, control: &Handle, entering: Entering) {
    let folder = entering.request.root.clone();
    if !session.intake.queue(entering) {
        return;
    }
    let mut visit = Visit { session: Arc::clone(session), folder, is_over: false };
    let running = control.clone();
    control.spawn_blocking(move || {
        while let Some(together) = visit.take() {
            look(&visit.session, &running, &visit.folder, together);
        }
    });
}

/// Looks at torrents that go to one folder.
fn look(session: &Arc<SessionShared>, control: &Handle, folder: &Path, together: Vec<Entering>) {
    // Whoever waits for one that is dropped in a panic hears that it has ended.
    let _ = session.panics.catch("torrents that were added", || {
        let mut together = VecDeque::from(together);
        let root = loop {
            match Root::find(folder) {
                Ok(root) => break root,
                Err(error) => {
                    let Some(first) = together.pop_front() else { return };
                    let _ = first.done.send(Err(error.into())); // the caller may have gone
                }
            }
        };
        let keys = together.iter().map(|entering| RecordKey {
            info_hash: entering.request.torrent.info_hash,
            root: Arc::clone(root.path()),
        });
        let records = resume::remembered(session, &keys.collect::<Vec<_>>());
        for (entering, record) in together.into_iter().zip(records) {
            let whom = panics::torrent(entering.request.torrent.info_hash);
            let _ = session.panics.catch(whom, || entering.look(session, control, &root, record));
        }
    });
}

impl Intake {
    /// True when another thread is to come.
    fn queue(&self, entering: Entering) -> bool {
        let mut folders = self.folders();
        let folder = entering.request.root.as_path();
        let queue = match folders.get_mut(folder) {
            Some(queue) => queue,
            None => folders.entry(folder.to_path_buf()).or_insert_with(|| Queue {
                waiting: VecDeque::new(),
                threads: 0,
                taken_at: Instant::now(),
            }),
        };
        queue.waiting.push_back(entering);
        let wanted = queue.threads == 0
            || queue.waiting.len() % TOGETHER == 0
            || queue.taken_at.elapsed() > SLOW;
        queue.threads += usize::from(wanted);
        wanted
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<PathBuf, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// The next to be looked at. With none left, the visit is over.
    fn take(&mut self) -> Option<Vec<Entering>> {
        let mut folders = self.session.intake.folders();
        let queue = folders.get_mut(&self.folder)?;
        if queue.waiting.is_empty() {
            self.is_over = true;
            leave(&mut folders, &self.folder);
            return None;
        }
        queue.taken_at = Instant::now();
        let count = queue.waiting.len().min(TOGETHER);
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for Visit {
    /// One that did not come to its end is one that never began: the session has ended.
    fn drop(&mut self) {
        if !self.is_over {
            leave(&mut self.session.intake.folders(), &self.folder);
        }
    }
}

/// With the last thread gone, whoever still waits hears that nobody will come.
fn leave(folders: &mut HashMap<PathBuf, Queue>, folder: &Path) {
    if let Some(queue) = folders.get_mut(folder) {
        queue.threads = queue.threads.saturating_sub(1);
        if queue.threads == 0 {
            folders.remove(folder);
        }
    }
}

#[cfg(test)]
mod tests;
