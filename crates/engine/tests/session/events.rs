//! The stream of events has an end, which whoever reads it in a loop waits for.

use engine::{AddTorrent, Event};

use crate::support::{payload, session, single_file, within};

#[tokio::test]
async fn a_stream_ends_behind_the_last_event_when_the_session_is_shut_down() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "one.bin", &payload(100_000, 1), 32 * 1024);
    let session = session().await;
    let (mut read, unread) = (session.events(), session.events());
    let reader = tokio::spawn(async move {
        let mut checked = 0;
        while let Some(event) = read.next().await {
            checked += usize::from(matches!(event, Event::Checked { .. }));
        }
        checked
    });
    let request = AddTorrent::new(torrent, dir.path()).seed_only(true).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    within(handle.wait()).await.unwrap();
    // With a handle of the session, one of a torrent, and a clone of it still there.
    let clone = session.clone();
    session.shutdown().await;
    assert_eq!(within(reader).await.unwrap(), 1, "it was asleep, and woke for the end");
    let mut unread = unread;
    let mut heard = false;
    while let Some(event) = within(unread.next()).await {
        heard |= matches!(event, Event::Checked { .. });
    }
    assert!(heard, "what happened before is there to be read");
    assert!(within(unread.next()).await.is_none(), "and it stays ended");
    assert!(within(clone.events().next()).await.is_none(), "as does one that is asked for later");
    clone.shutdown().await; // a second time changes nothing
    drop(handle);
}

#[tokio::test]
async fn a_stream_ends_when_the_last_handle_is_dropped() {
    let session = session().await;
    let mut events = session.events();
    drop(session);
    within(async { while events.next().await.is_some() {} }).await;
}
