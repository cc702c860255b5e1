//! Counts the system calls that move bytes, in unit tests alone: how many a mebibyte takes is then a
//! number that a test compares, not a time.

/// A call, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Reads from a socket that has more than there is room for.
    Receive,
    /// Reads all that a socket has.
    ReceiveAll,
    /// Reads from a socket that has nothing.
    ReceiveInVain,
    /// Writes to a socket.
    Send,
    /// Reads from a file that is in memory.
    ReadCached,
    /// Has a disk thread read from a file.
    ReadDisk,
}

#[cfg(not(test))]
#[inline]
pub(crate) fn count(_: Call) {}

#[cfg(test)]
pub(crate) use counted::{Calls, count};

#[cfg(test)]
mod counted {
    use std::cell::Cell;
    use std::ops::Sub;

    use super::Call;

    /// How many of each, on this thread.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Calls([u64; 6]);

    thread_local! {
        static CALLS: Cell<Calls> = const { Cell::new(Calls([0; 6])) };
    }

    pub(crate) fn count(call: Call) {
        let mut calls = CALLS.get();
        calls.0[call as usize] += 1;
        CALLS.set(calls);
    }

    impl Calls {
        /// Those so far.
        pub(crate) fn now() -> Self {
            CALLS.get()
        }

        pub(crate) fn of(self, call: Call) -> u64 {
            self.0[call as usize]
        }

        /// All of them, however many bytes each moved.
        pub(crate) fn all(self) -> u64 {
            self.0.iter().sum()
        }
    }

    impl Sub for Calls {
        type Output = Self;

        fn sub(self, before: Self) -> Self {
            Self(std::array::from_fn(|at| self.0[at] - before.0[at]))
        }
    }
}
