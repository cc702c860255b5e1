//! Whether an answer comes fast enough to be of use: a server that gives a byte now and then would
//! hold a connection, and its blocks, for ever.

use std::time::Duration;

/// Time in which something has to come.
const WINDOW: Duration = Duration::from_secs(15);
/// And how much: less than a block's worth in a minute is no source.
const BYTES_MIN: u64 = 4096;

/// Watches one answer.
#[derive(Debug, Clone)]
pub struct Pace {
    window: Duration,
    began: Duration,
    bytes: u64,
}

impl Pace {
    /// From now on.
    pub fn new(now: Duration) -> Self {
        Self::with_window(now, WINDOW)
    }

    /// With another window than the usual one.
    pub fn with_window(now: Duration, window: Duration) -> Self {
        Self { window, began: now, bytes: 0 }
    }

    /// So many bytes came. False when too few did for too long.
    pub fn got(&mut self, now: Duration, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= BYTES_MIN {
            (self.began, self.bytes) = (now, 0);
        }
        now < self.due()
    }

    /// When it is too slow, unless something comes.
    pub fn due(&self) -> Duration {
        self.began.saturating_add(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_not_a_stream() {
        let mut pace = Pace::new(Duration::ZERO);
        let slow = (1..100).find(|at| !pace.got(Duration::from_secs(*at), 100));
        assert_eq!(slow, Some(15));
        let mut pace = Pace::new(Duration::ZERO);
        assert!((1..1000).all(|at| pace.got(Duration::from_secs(at), 400)));
        assert!(!pace.got(Duration::from_secs(2000), 0));
    }
}
