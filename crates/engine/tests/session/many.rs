//! What a session does once, however many torrents it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::storage::{RecordKey, SqliteState, StateStore};
use engine::{AddTorrent, Session, StateLocation};

use crate::support::{payload, single_file, within};

const TORRENTS: u64 = 24;

#[test]
fn a_shutdown_waits_for_the_state_once_and_not_for_each_torrent() {
    let threads = Arc::new(AtomicUsize::new(0));
    let started = {
        let threads = Arc::clone(&threads);
        move || {
            threads.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_start(started).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    runtime.block_on(async {
        let builder = Session::builder().bind([127, 0, 0, 1].into());
        let builder = builder.state(StateLocation::Directory(state.clone()));
        let session = builder.start().await.unwrap();
        let mut handles = Vec::new();
        for number in 0..TORRENTS {
            let name = format!("{number}.bin");
            let torrent = single_file(dir.path(), &name, &payload(100, number), 16 * 1024);
            let request = AddTorrent::new(torrent, dir.path()).seed_only(true);
            let handle = session.add(request).await.unwrap();
            within(handle.wait()).await.unwrap();
            handles.push(handle);
        }
        let before = threads.load(Ordering::Relaxed);
        within(session.shutdown()).await;
        let new = threads.load(Ordering::Relaxed) - before;
        assert!(new <= 1, "{new} threads waited for the state");
        let kept = SqliteState::open(&state).unwrap();
        let root: Arc<_> = dir.path().canonicalize().unwrap().into();
        for handle in handles {
            let key = RecordKey { info_hash: handle.info_hash(), root: Arc::clone(&root) };
            let record = kept.load(&key).unwrap().expect("it was saved");
            assert!(record.progress.clean && record.progress.durable.count() == 1);
        }
    });
}
