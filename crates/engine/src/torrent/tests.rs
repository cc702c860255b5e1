//! A panic, put where a test wants it: it ends what it was about, and the rest of the session, on
//! the same shard, does not notice.

use std::path::Path;

use metainfo::{CreateOptions, Torrent as Metainfo};

use crate::panics::Spot;
use crate::{AddTorrent, Event, EventStream, Session, TorrentError, TorrentHandle};

const PIECE: u32 = 16 * 1024;
const PIECES: usize = 20;

/// One shard, so that there is no other to hide on.
async fn session() -> Session {
    let loopback = std::net::Ipv4Addr::LOCALHOST.into();
    Session::builder().bind(loopback).shards(1).start().await.unwrap()
}

fn data(seed: u64) -> Vec<u8> {
    let mut data = vec![0; PIECES * PIECE as usize];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    data
}

fn torrent(folder: &Path, name: &str, seed: u64) -> Metainfo {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), data(seed)).unwrap();
    let options = CreateOptions { piece_length: Some(PIECE), ..CreateOptions::default() };
    let bytes = crate::create(&folder.join(name), &options, |_| {}, &false.into()).unwrap();
    Metainfo::parse(&bytes).unwrap()
}

async fn add(session: &Session, torrent: &Metainfo, folder: &Path) -> TorrentHandle {
    let request = AddTorrent::new(torrent.clone(), folder).use_trackers(false);
    let handle = session.add(request).await.unwrap();
    handle.checked().await.unwrap();
    handle
}

/// Two sessions with two torrents each; one seeds both, in the other the first download panics at
/// `spot`.
struct World {
    dir: tempfile::TempDir,
    seeding: Session,
    session: Session,
    struck: TorrentHandle,
    other: TorrentHandle,
    events: EventStream,
}

async fn world(spot: Spot) -> World {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("seed");
    let torrents = [torrent(&home, "struck", 1), torrent(&home, "other", 2)];
    let (seeding, session) = (session().await, session().await);
    for torrent in &torrents {
        add(&seeding, torrent, &home).await.wait().await.unwrap();
    }
    let out = dir.path().join("out");
    let events = session.events();
    let struck = add(&session, &torrents[0], &out).await;
    let other = add(&session, &torrents[1], &out).await;
    *struck.shared.panics_at.lock().unwrap() = Some(spot);
    World { dir, seeding, session, struck, other, events }
}

impl World {
    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.events.next().await.expect("the session lives");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The other torrent completes on the shard on which the first has panicked.
    async fn the_rest_goes_on(self) {
        assert_eq!(self.session.stats().panics, 1);
        self.other.add_peers(self.seeding.listen_addresses());
        self.other.wait().await.unwrap();
        assert_eq!(std::fs::read(self.dir.path().join("out/other")).unwrap(), data(2));
        // Its memory came back, but for what the shard keeps at hand for its next read.
        assert!(self.session.stats().buffered_bytes <= 16 * u64::from(metainfo::BLOCK_LENGTH));
        self.session.shutdown().await;
        self.seeding.shutdown().await;
    }
}

async fn a_torrent_ends(spot: Spot) -> World {
    let mut world = world(spot).await;
    world.struck.add_peers(world.seeding.listen_addresses());
    let Err(TorrentError::Internal(words)) = world.struck.wait().await else {
        panic!("it goes on after {spot:?}")
    };
    assert!(words.contains("a test asked for it"), "{words}");
    let hash = world.struck.info_hash();
    let failed = |event: &Event| matches!(event, Event::TorrentFailed { info_hash, .. } if *info_hash == hash);
    world.until(failed).await;
    world
}

#[tokio::test]
async fn a_panic_over_a_message_ends_its_torrent_alone() {
    a_torrent_ends(Spot::Message).await.the_rest_goes_on().await;
}

#[tokio::test]
async fn a_panic_over_a_piece_ends_its_torrent_alone() {
    let world = a_torrent_ends(Spot::Piece).await;
    // What was written before it is remembered all the same.
    assert!(world.struck.shared.record.get().unwrap().progress().written.count() > 0);
    world.the_rest_goes_on().await;
}

#[tokio::test]
async fn a_panic_of_the_timers_ends_its_torrent_alone() {
    a_torrent_ends(Spot::Timers).await.the_rest_goes_on().await;
}

#[tokio::test]
async fn a_torrent_that_failed_can_be_stopped_and_added_again() {
    let world = a_torrent_ends(Spot::Message).await;
    world.struck.stop().await;
    let again = add(&world.session, world.struck.torrent(), &world.dir.path().join("out")).await;
    again.add_peers(world.seeding.listen_addresses());
    again.wait().await.unwrap();
    assert_eq!(std::fs::read(world.dir.path().join("out/struck")).unwrap(), data(1));
    world.the_rest_goes_on().await;
}

#[tokio::test]
async fn a_panic_over_a_peers_bytes_ends_that_peer_alone() {
    let mut world = world(Spot::Bytes).await;
    let seeders = world.seeding.listen_addresses();
    world.struck.add_peers(seeders.clone());
    let ended = world.until(|event| matches!(event, Event::PeerDisconnected { .. })).await;
    let Event::PeerDisconnected { addr, reason, .. } = ended else { unreachable!() };
    assert!(addr == seeders[0] && reason.contains("a test asked for it"), "{addr}: {reason}");
    // It is dialled again in its time; another gets the data from it meanwhile, and gives it on.
    let torrent = world.struck.torrent().clone();
    let third = session().await;
    let copy = add(&third, &torrent, &world.dir.path().join("third")).await;
    copy.add_peers(seeders);
    copy.wait().await.unwrap();
    world.struck.add_peers(third.listen_addresses());
    world.struck.wait().await.unwrap();
    assert_eq!(std::fs::read(world.dir.path().join("out/struck")).unwrap(), data(1));
    world.the_rest_goes_on().await;
    third.shutdown().await;
}

#[tokio::test]
async fn a_panic_in_a_handshake_ends_that_peer_alone() {
    let world = world(Spot::Handshake).await;
    let torrent = world.struck.torrent().clone();
    let third = session().await;
    let copy = add(&third, &torrent, &world.dir.path().join("seed")).await;
    copy.add_peers(world.session.listen_addresses());
    while world.session.stats().panics == 0 {
        tokio::task::yield_now().await;
    }
    world.struck.add_peers(world.seeding.listen_addresses());
    world.struck.wait().await.unwrap();
    world.the_rest_goes_on().await;
    third.shutdown().await;
}
