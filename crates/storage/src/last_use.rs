//! Whether something is still being used, for memory that is worth keeping only while it is.

use std::sync::atomic::{AtomicU8, Ordering};

const AT_REST: u8 = 0;
/// Used, and not since the last look.
const OVER: u8 = 1;
const USED: u8 = 2;

/// Remembers use between two looks. A note of it costs a store.
#[derive(Debug, Default)]
pub(crate) struct LastUse(AtomicU8);

impl LastUse {
    pub(crate) fn note(&self) {
        self.0.store(USED, Ordering::Relaxed);
    }

    /// True once: at the first look before which there was no use since the look before it.
    pub(crate) fn is_over(&self) -> bool {
        let aged = |state| match state {
            USED => Some(OVER),
            OVER => Some(AT_REST),
            _ => None,
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, aged) == Ok(OVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_and_only_after_two_looks() {
        let last_use = LastUse::default();
        assert!(!last_use.is_over(), "never used");
        last_use.note();
        assert!(!last_use.is_over());
        last_use.note();
        assert!(!last_use.is_over(), "used again");
        assert!(last_use.is_over());
        assert!(!last_use.is_over());
    }
}
