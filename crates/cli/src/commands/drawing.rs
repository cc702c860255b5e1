//! A torrent's progress, drawn beside what a command does with it.

use std::time::Duration;

use engine::{Network, TorrentHandle};
use tokio::task::JoinHandle;

use super::{session, totals};
use crate::output::Output;
use crate::progress::Progress;

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(250);

/// Ends the drawing when it is dropped.
pub(crate) struct Drawing(JoinHandle<()>);

impl Drawing {
    /// Ends it, and waits until nothing is drawn any more.
    pub(crate) async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await; // it was aborted
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Draws a torrent's progress.
pub(crate) fn draw(handle: &TorrentHandle, network: &Network, output: Output) -> Drawing {
    let progress = Progress::new(output, &session::name(handle));
    let (handle, network) = (handle.clone(), network.clone());
    Drawing(tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            progress.torrent(&handle.stats(), totals::ratio(&handle), network.absence());
        }
    }))
}
