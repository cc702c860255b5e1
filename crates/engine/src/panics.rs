//! A panic, which is always a bug, ends the peer or the torrent that it happened in and nothing
//! else. It is logged with whose it was, and counted.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use metainfo::InfoHash;

/// The panics of a session.
#[derive(Default)]
pub(crate) struct Panics(AtomicU64);

/// Whose a panic was, put into words only when there is one.
pub(crate) fn torrent(info_hash: InfoHash) -> impl Display {
    std::fmt::from_fn(move |out| write!(out, "torrent {info_hash}"))
}

/// A panic that was caught and counted, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an internal error: {0}")]
pub(crate) struct Panicked(String);

impl Panics {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Runs `call` on behalf of `whom`. What it had borrowed must be thrown away if it panics, or
    /// be whole after each of its steps.
    pub(crate) fn catch<T>(
        &self,
        whom: impl Display,
        call: impl FnOnce() -> T,
    ) -> Result<T, Panicked> {
        catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
            let words = words(&*payload);
            tracing::error!(%whom, panic = words, "a bug: please report it with the lines above");
            self.0.fetch_add(1, Ordering::Relaxed);
            Panicked(words.to_owned())
        })
    }

    /// The same for what waits in between. After a panic the future is not polled again.
    pub(crate) async fn catch_async<T>(
        &self,
        whom: impl Display,
        future: impl Future<Output = T>,
    ) -> Result<T, Panicked> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| match self.catch(&whom, || future.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        })
        .await
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// Where a test makes a running torrent panic.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In a peer's handshake.
    Handshake,
    /// Among the bytes that a peer sent.
    Bytes,
    /// In the brain, over a peer's message.
    Message,
    /// In what the torrent does by the clock.
    Timers,
    /// In what it does about a piece that was written.
    Piece,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_that_panics_after_a_wait_gives_its_words() {
        let panics = Panics::default();
        let future = async {
            tokio::task::yield_now().await;
            assert!(panics.count() > 0, "piece {} of {}", 3, 2);
        };
        let caught = panics.catch_async("a test", future).await;
        assert_eq!(caught, Err(Panicked("piece 3 of 2".into())));
        assert_eq!(panics.catch("a test", || 7), Ok(7));
        assert_eq!(panics.count(), 1);
    }
}
