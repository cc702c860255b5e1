//! What a session at rest gives back: memory for blocks, for reads and of the state, some seconds
//! after its last use, and with it what the allocator kept of everything else.

use std::sync::Weak;
use std::time::Duration;

use crate::session::SessionShared;
use crate::shelving;

/// Memory is kept through pauses of a transfer. After two looks without use it is given back.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// For as long as the session lives.
pub(crate) async fn now_and_then(session: Weak<SessionShared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(session) = session.upgrade() else { return };
        shelving::enter_running(&session).await;
        // Each of them, whatever the others say.
        if session.arena.rest() | session.pools.rest() | session.state.rest() {
            storage::trim();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Session;

    #[tokio::test(start_paused = true)]
    async fn blocks_are_given_back_after_seconds_without_use() {
        let session = Session::builder().listen(false).start().await.unwrap();
        let shared = &session.inner.shared;
        shared.shelving.note_resumed();
        let looks = tokio::spawn(now_and_then(Arc::downgrade(shared)));
        for _ in 0..5 {
            drop(shared.arena.take());
            tokio::time::sleep(LOOK_EVERY).await;
            assert!(shared.arena.idle() > 0, "used between the looks");
        }
        tokio::time::sleep(2 * LOOK_EVERY).await;
        assert_eq!(shared.arena.idle(), 0);
        assert!(!shared.shelving.is_due(), "what was resumed is in the index");
        looks.abort();
        session.shutdown().await;
    }
}
