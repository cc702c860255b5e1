//! The engine's one clock: every core gets its `now` from here.

use std::time::Duration;

use tokio::time::Instant;

/// Time since the session began. Copied into every shard, so that all cores share one origin.
/// Tokio's time is the system's, but for tests that make it stand still.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the session began.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// The tokio instant of a core's absolute deadline.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.0 + at
    }
}
