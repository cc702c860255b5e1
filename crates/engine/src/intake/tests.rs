//! Many torrents that come in together: one answer each.

use std::fs;

use metainfo::{CreateOptions, Torrent};

use super::*;
use crate::{AddError, AddTorrent, Session};

async fn session() -> Session {
    Session::builder().listen(false).start().await.unwrap()
}

/// Torrents of one file each, which is there.
fn torrents(folder: &Path, count: usize) -> Vec<Torrent> {
    let torrent = |number: usize| {
        let path = folder.join(number.to_string());
        fs::write(&path, format!("file {number}")).unwrap();
        let bytes = crate::create(&path, &CreateOptions::default(), |_| {}, &false.into()).unwrap();
        Torrent::parse(&bytes).unwrap()
    };
    (0..count).map(torrent).collect()
}

fn request(torrent: &Torrent, root: &Path) -> AddTorrent {
    AddTorrent::new(torrent.clone(), root).seed_only(true).use_trackers(false)
}

fn entering(torrent: &Torrent, root: &Path) -> Entering {
    Entering { request: request(torrent, root), done: tokio::sync::oneshot::channel().0 }
}

#[tokio::test]
async fn many_come_in_and_each_is_answered_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let torrents = torrents(dir.path(), 5 * TOGETHER);
    let session = session().await;
    let mut adding = tokio::task::JoinSet::new();
    for torrent in &torrents {
        for _ in 0..2 {
            let (session, request) = (session.clone(), request(torrent, dir.path()));
            adding.spawn(async move {
                match session.add(request).await {
                    Ok(handle) => handle.checked().await.map(|()| true).unwrap(),
                    Err(AddError::Duplicate(_)) => false,
                    Err(error) => panic!("{error}"),
                }
            });
        }
    }
    let came = adding.join_all().await;
    assert_eq!(came.iter().filter(|came| **came).count(), torrents.len(), "each once");
    let all_there = |handle: &crate::TorrentHandle| handle.stats().pieces_have == 1;
    assert!(session.torrents().len() == torrents.len() && session.torrents().iter().all(all_there));
    while !session.inner.shared.intake.folders().is_empty() {
        tokio::task::yield_now().await; // the last thread is about to go
    }
    session.shutdown().await;
}

#[tokio::test]
async fn a_folder_that_is_none_is_an_error_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let torrents = torrents(dir.path(), 3);
    let session = session().await;
    let file = dir.path().join("0");
    let adding = torrents.iter().map(|torrent| {
        let (session, request) = (session.clone(), request(torrent, &file));
        tokio::spawn(async move { session.add(request).await.err() })
    });
    for added in adding.collect::<Vec<_>>() {
        let error = added.await.unwrap();
        assert!(matches!(error, Some(AddError::Storage(_))), "{error:?}");
    }
    session.shutdown().await;
}

#[tokio::test]
async fn who_waits_when_the_session_ends_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrents(dir.path(), 1).remove(0);
    let session = session().await;
    let shared = Arc::clone(&session.inner.shared);
    let control = session.inner.control().unwrap();
    session.shutdown().await;
    let (done, added) = tokio::sync::oneshot::channel();
    // It was on its way when the runtime ended: its thread never comes.
    enter(&shared, &control, Entering { request: request(&torrent, dir.path()), done });
    assert!(added.await.is_err());
    assert!(shared.intake.folders().is_empty());
}

#[test]
fn another_thread_comes_for_many_and_for_what_is_slow() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = &torrents(dir.path(), 1)[0];
    let intake = Intake::default();
    let (here, there) = (Path::new("/here"), Path::new("/there"));
    assert!(intake.queue(entering(torrent, here)), "nobody is there");
    assert!(intake.queue(entering(torrent, there)), "nor there");
    // However slow this test is.
    let soon = Instant::now() + Duration::from_hours(1);
    intake.folders().get_mut(here).unwrap().taken_at = soon;
    for waiting in 2..=2 * TOGETHER {
        let comes = intake.queue(entering(torrent, here));
        assert_eq!(comes, waiting % TOGETHER == 0, "{waiting} wait");
    }
    let long_ago = Instant::now().checked_sub(2 * SLOW).unwrap();
    intake.folders().get_mut(here).unwrap().taken_at = long_ago;
    assert!(intake.queue(entering(torrent, here)), "the others do not get on");
    for _ in 0..4 {
        leave(&mut intake.folders(), here);
    }
    assert!(!intake.folders().contains_key(here), "all four have gone");
    assert!(intake.folders().contains_key(there));
}
