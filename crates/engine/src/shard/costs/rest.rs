//! What a torrent at rest costs its shard, and that nothing is lost when it rests and wakes.

use swarm::SeedLimit;

use super::*;
use crate::explain::Cause;

/// A seed that sent a block to its only peer, which left.
fn left_alone() -> Rig {
    let mut rig = Rig::new(1, true, false);
    rig.peer_says(&[0, 0, 0, 1, 2]); // interested
    rig.is_asked(0, 1);
    assert!(!rig.context.timers.is_empty(), "a peer has time-outs");
    assert!(!rig.torrent.is_resting());
    rig.peer.stream.shutdown(Shutdown::Write).unwrap();
    rig.comes_to_rest();
    rig
}

impl Rig {
    fn comes_to_rest(&mut self) {
        let start = Instant::now();
        while !self.context.timers.is_empty() {
            assert!(start.elapsed() < DEADLINE, "it still has turns");
            self.runtime.block_on(self.local.run_until(others_run()));
            self.time_passes();
        }
    }

    /// Tells the shard something, and lets it and the torrent do what follows.
    fn is_told(&mut self, message: ShardMessage) {
        self.context.sender.send(message).unwrap_or_else(|_| panic!("the shard runs"));
        let (reply, heard) = oneshot::channel();
        let info_hash = self.torrent.shared.info_hash();
        let last = ShardMessage::Explain { info_hash, reply };
        self.context.sender.send(last).unwrap_or_else(|_| panic!("the shard runs"));
        let heard = self.runtime.block_on(self.local.run_until(heard)).unwrap();
        assert_eq!(heard.stats.uploaded, u64::from(BLOCK_LENGTH), "it was sent in its time");
        self.comes_to_rest();
    }
}

#[test]
fn a_seed_whose_last_peer_left_has_no_turn_and_rests() {
    let mut rig = left_alone();
    assert!(rig.torrent.is_resting());
    assert_eq!(rig.torrent.shared.stats().uploaded, u64::from(BLOCK_LENGTH));
    // Who asks wakes it, for as long as the answer takes.
    let account = rig.torrent.account().unwrap();
    assert_eq!(account.stats.uploaded, u64::from(BLOCK_LENGTH));
    assert_eq!(account.mishaps.of(Cause::PeersLeft).count, 1);
    rig.comes_to_rest();
    assert!(rig.torrent.is_resting());
}

#[test]
fn what_it_is_told_at_rest_counts_and_it_rests_again() {
    let mut rig = left_alone();
    let info_hash = rig.torrent.shared.info_hash();
    let filter = Arc::clone(&rig.session.ip_filter());
    let addr = SocketAddr::from(([192, 0, 2, 1], 1));
    for message in [
        ShardMessage::IpFilter(filter),
        ShardMessage::OwnPorts { info_hash, ports: 1.into(), dht: Some(2.into()) },
        ShardMessage::ExternalIp { info_hash, ip: addr.ip() },
        ShardMessage::NetworkLost { message: "it is gone".into() },
        ShardMessage::NetworkBack,
        ShardMessage::SuperSeed { info_hash, on: true },
        ShardMessage::TrackerChanged { info_hash },
        ShardMessage::ReaderGone { info_hash, reader: ReaderId(1) },
    ] {
        rig.is_told(message);
        assert!(rig.torrent.is_resting());
    }
    // A limit that was reached before it was set: the torrent ends.
    let limits = SeedLimits { ratio: Some(0.001), ..SeedLimits::default() };
    let message = ShardMessage::SeedLimits { info_hash, limits };
    rig.context.sender.send(message).unwrap_or_else(|_| panic!("the shard runs"));
    let stopped = |rig: &Rig| rig.torrent.shared.seeding.ended();
    let start = Instant::now();
    while stopped(&rig).is_none() {
        assert!(start.elapsed() < DEADLINE, "its limit holds");
        rig.runtime.block_on(rig.local.run_until(others_run()));
    }
    assert_eq!(stopped(&rig), Some(SeedLimit::Ratio));
}

#[test]
fn a_torrent_at_rest_keeps_little_however_large_it_is() {
    const PIECES: u32 = 20;
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let session = Session::builder().listen(false).memory_budget(0);
    let session = runtime.block_on(session.start()).unwrap();
    let metainfo = torrent(folder.path(), &vec![0; PIECES as usize * PIECE_BYTES]);
    let (mut shard, _receiver) = shard(&session);
    let local = LocalSet::new();
    let (_runtime, _local) = (runtime.enter(), local.enter());
    shard.torrents.reserve(1);
    let mut shared = None;
    let known = measure(|| shared = Some(entering(&session, metainfo, folder.path(), true).0));
    let shared = shared.unwrap();
    let info_hash = shared.info_hash();
    let begun = measure(|| {
        let config = session.inner.shared.swarm_config(&shared, shared.have(), None);
        shard.begin(shared, config, None, None, None);
    });
    assert!(shard.torrents[&info_hash].is_resting());
    // Ten thousand of them are the measure (bench/idle.py): one of these is 10 KB.
    let bytes = begun.bytes_current;
    println!("{bytes} bytes, and {} that all threads see", known.bytes_current);
    assert!(bytes <= 256, "{bytes} bytes on its shard");
    // Its files and what its handles show, beside what the .torrent said.
    assert!(known.bytes_current <= 1450, "{} bytes that all threads see", known.bytes_current);
}
