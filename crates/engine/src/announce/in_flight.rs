//! How many questions may wait for an answer at the same time, over all torrents of a session.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions asked at once. A session with thousands of torrents must not announce them all in
/// its first second: home routers break.
const PROMPT_MAX: usize = 50;

/// A question without an answer for this long has most likely gone to a dead tracker...
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// ...and makes room for the next, since waiting costs a socket and nothing else. So many wait
/// like this; beyond, they hold up the others.
const SLOW_MAX: usize = 100;

/// The two limits.
pub(super) struct InFlight {
    prompt: Semaphore,
    slow: Semaphore,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self { prompt: Semaphore::new(PROMPT_MAX), slow: Semaphore::new(SLOW_MAX) }
    }

    /// Runs `question` when its turn comes.
    pub(super) async fn run<T>(&self, question: impl Future<Output = T>) -> T {
        let mut question = std::pin::pin!(question);
        let prompt = self.prompt.acquire().await; // never closed
        if let Ok(answer) = timeout(SLOW_AFTER, &mut question).await {
            return answer;
        }
        let slow = self.slow.try_acquire();
        if slow.is_ok() {
            drop(prompt);
        }
        question.await
    }
}
