//! Counts the steps of walks, in unit tests alone: a pass of what must not grow with the torrent or
//! the swarm is then a number that a test compares, not a time.

/// One piece, peer or request was looked at or moved.
#[cfg(not(test))]
#[inline]
pub(crate) fn count() {}

#[cfg(test)]
pub(crate) use counted::{count, counted};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// The steps that a call takes.
    pub(crate) fn counted<T>(call: impl FnOnce() -> T) -> u64 {
        let before = STEPS.get();
        call();
        STEPS.get() - before
    }
}
