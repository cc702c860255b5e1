//! How long a torrent's pieces kept the pools' threads busy: what tells a slow disk from slow hashing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::FileStore;

/// Time that threads spent on a torrent's complete pieces, of all threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Hashing them.
    pub hashing: Duration,
    /// Writing them.
    pub writing: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Spent {
    hashing_nanos: AtomicU64,
    writing_nanos: AtomicU64,
}

fn add(nanos: &AtomicU64, time: Duration) {
    nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl FileStore {
    /// What its pieces took since it was opened.
    pub fn effort(&self) -> Effort {
        let read = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        let spent = &self.spent;
        Effort { hashing: read(&spent.hashing_nanos), writing: read(&spent.writing_nanos) }
    }

    pub(crate) fn hashed_for(&self, time: Duration) {
        add(&self.spent.hashing_nanos, time);
    }

    pub(crate) fn wrote_for(&self, time: Duration) {
        add(&self.spent.writing_nanos, time);
    }
}
