//! A magnet link's connections stay when the metadata is there (BEP 9): one a peer, whatever carries it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use engine::metainfo::{CreateOptions, Torrent};
use engine::{
    AddTorrent, Encryption, Event, FollowMagnet, Session, SessionBuilder, TorrentHandle, Transport,
};

use crate::script::{self, Peer};
use crate::support::{payload, seeder, session, single_file, within};

const PIECE: u32 = 16 * 1024;
const PIECES: u32 = 40;
/// The id by which a scripted peer wants metadata messages.
const THEIR_ID: u8 = 9;

fn torrent(dir: &Path, private: bool) -> (Torrent, Vec<u8>) {
    let data = payload((PIECE * PIECES) as usize, 3);
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("file.bin"), &data).unwrap();
    let piece_length = Some(PIECE);
    let options = CreateOptions { private, piece_length, ..CreateOptions::default() };
    let bytes = engine::create(&dir.join("file.bin"), &options, |_| {}, &false.into()).unwrap();
    (Torrent::parse(&bytes).unwrap(), data)
}

/// From a link that names peers to the running torrent.
async fn fetch(
    session: &Session,
    torrent: &Torrent,
    peers: &[SocketAddr],
    out: &Path,
) -> TorrentHandle {
    let peers: Vec<_> = peers.iter().map(|peer| format!("&x.pe={peer}")).collect();
    let link = format!("{}{}", torrent.magnet(), peers.concat());
    let search = session.follow(FollowMagnet::new(link.parse().unwrap())).unwrap();
    let found = within(search.found()).await.unwrap();
    drop(search);
    session.add(found.into_request(out)).await.unwrap()
}

fn builder() -> SessionBuilder {
    Session::builder().bind(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[tokio::test]
async fn one_connection_is_enough_whatever_carries_it() {
    let encrypted = |builder: SessionBuilder| builder.encryption(Encryption::Require);
    let utp = |builder: SessionBuilder| builder.transport(Transport::Utp);
    let plain = |builder: SessionBuilder| builder;
    let kinds: [&dyn Fn(SessionBuilder) -> SessionBuilder; 3] = [&plain, &encrypted, &utp];
    for kind in kinds {
        let dir = tempfile::tempdir().unwrap();
        let (torrent, data) = torrent(&dir.path().join("seed"), false);
        let seeding = kind(builder()).start().await.unwrap();
        let mut events = seeding.events();
        let request = AddTorrent::new(torrent.clone(), dir.path().join("seed"));
        let request = request.seed_only(true).use_trackers(false);
        within(seeding.add(request).await.unwrap().wait()).await.unwrap();
        let session = kind(builder()).start().await.unwrap();
        let out = dir.path().join("out");
        let handle = fetch(&session, &torrent, &seeding.listen_addresses(), &out).await;
        within(handle.wait()).await.unwrap();
        assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
        session.shutdown().await;
        // Whatever is told after this came later.
        let last = single_file(dir.path(), "last.bin", b"some bytes", PIECE);
        seeding.add(AddTorrent::new(last.clone(), dir.path())).await.unwrap();
        let mut connected = 0;
        loop {
            match within(events.next()).await.unwrap() {
                Event::PeerConnected { .. } => connected += 1,
                Event::Checked { info_hash, .. } if info_hash == last.info_hash => break,
                _ => {}
            }
        }
        assert_eq!(connected, 1);
        seeding.shutdown().await;
    }
}

/// A scripted peer that has the metadata.
struct Offers {
    info: Vec<u8>,
}

impl Offers {
    /// Shakes hands, says `first`, and gives the metadata once it is asked for it.
    fn metadata(
        &self,
        peer: &mut Peer,
        first: impl Fn(&mut Peer) -> io::Result<()>,
    ) -> io::Result<()> {
        peer.shake_hands_with([0, 0, 0, 0, 0, 0x10, 0, 4])?;
        first(peer)?;
        let size = self.info.len();
        let ours = format!("d1:md11:ut_metadatai{THEIR_ID}ee13:metadata_sizei{size}ee");
        peer.message(20, &[&[0], ours.as_bytes()].concat())?;
        loop {
            let (kind, body) = peer.next_message()?;
            if kind == 20 && body[0] == THEIR_ID {
                break;
            }
        }
        let head = format!("d8:msg_typei1e5:piecei0e10:total_sizei{size}ee");
        let mut body = vec![3]; // our id of it
        body.write_all(head.as_bytes())?;
        body.write_all(&self.info)?;
        peer.message(20, &body)
    }
}

fn offers(torrent: &Torrent) -> Offers {
    let info = torrent.info_bytes.to_vec();
    assert!(info.len() <= 16 * 1024, "one piece of metadata");
    Offers { info }
}

/// What was said before the metadata came is not said again, and not forgotten.
#[tokio::test]
async fn a_peer_says_what_it_has_once() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, data) = torrent(&dir.path().join("seed"), false);
    let met = Arc::new(AtomicU32::new(0));
    let (counted, offers, served) = (Arc::clone(&met), offers(&torrent), data.clone());
    let addr = script::peer(move |mut peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        offers.metadata(&mut peer, |peer| {
            let mut bits = vec![0xff; PIECES as usize / 8];
            bits[0] = 0x7f;
            peer.message(5, &bits)?;
            peer.message(4, &[0; 4])?; // piece 0, then
            peer.message(1, &[])
        })?;
        give(&mut peer, &served)
    });
    let session = session().await;
    let handle = fetch(&session, &torrent, &[addr], &dir.path().join("out")).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("out/file.bin")).unwrap(), data);
    assert_eq!(met.load(Ordering::SeqCst), 1);
    session.shutdown().await;
}

/// A peer that has the metadata and no piece.
fn poor(torrent: &Torrent) -> SocketAddr {
    let offers = offers(torrent);
    script::peer(move |mut peer| {
        offers.metadata(&mut peer, |peer| peer.message(15, &[]))?;
        peer.drain()
    })
}

/// Set when the torrent runs, and scripts may go on.
#[derive(Clone, Default)]
struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    fn set(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let (set, changed) = &*self.0;
        drop(changed.wait_while(set.lock().unwrap(), |set| !*set).unwrap());
    }
}

/// Gives what it is asked for.
fn give(peer: &mut Peer, data: &[u8]) -> io::Result<()> {
    loop {
        let (piece, begin, length) = peer.next_request()?;
        let at = (piece * PIECE + begin) as usize;
        peer.block(piece, begin, &data[at..at + length as usize])?;
    }
}

/// One that shakes hands when the torrent runs already was dialled by the search, and is not dialled
/// again; one that hangs up then is the torrent's to dial.
#[tokio::test]
async fn dials_that_were_under_way_are_the_torrents() {
    for hangs_up in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (torrent, data) = torrent(&dir.path().join("seed"), false);
        let met = Arc::new(AtomicU32::new(0));
        let runs = Signal::default();
        let (counted, served, waited) = (Arc::clone(&met), data.clone(), runs.clone());
        let slow = script::peer(move |mut peer| {
            let count = counted.fetch_add(1, Ordering::SeqCst);
            let mut theirs = [0; 68];
            peer.read_exact(&mut theirs)?;
            waited.wait();
            if theirs[0] != 19 || hangs_up && count == 0 {
                return Ok(()); // it may be tried with encryption then
            }
            theirs[20..28].fill(0);
            theirs[48..].copy_from_slice(b"-XX0001-slow-peer---");
            peer.send(&theirs)?;
            peer.offer_everything(PIECES)?;
            give(&mut peer, &served)
        });
        let session = session().await;
        let (poor, out) = (poor(&torrent), dir.path().join("out"));
        let handle = fetch(&session, &torrent, &[slow, poor], &out).await;
        runs.set();
        within(handle.wait()).await.unwrap();
        assert_eq!(std::fs::read(dir.path().join("out/file.bin")).unwrap(), data);
        let met = met.load(Ordering::SeqCst);
        assert!(if hangs_up { met > 1 } else { met == 1 }, "{met}");
        session.shutdown().await;
    }
}

/// A bitfield of a length that nobody can judge yet, and that is wrong.
#[tokio::test]
async fn who_said_nonsense_before_is_found_out_after() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, _) = torrent(&dir.path().join("seed"), false);
    let (honest, _) = seeder(&torrent, &dir.path().join("seed")).await;
    let offers = offers(&torrent);
    let (closed, hears) = std::sync::mpsc::channel();
    let addr = script::peer(move |mut peer| {
        offers.metadata(&mut peer, |peer| peer.message(5, &[0xff; 1000]))?;
        let end = peer.drain();
        let _ = closed.send(());
        end
    });
    let session = session().await;
    let handle = fetch(&session, &torrent, &[addr], &dir.path().join("out")).await;
    within(tokio::task::spawn_blocking(move || hears.recv().unwrap())).await.unwrap();
    handle.add_peers(honest.listen_addresses());
    within(handle.wait()).await.unwrap();
    session.shutdown().await;
    honest.shutdown().await;
}

/// BEP 27: peers of a link are none of a private torrent's, however they were connected.
#[tokio::test]
async fn a_private_torrents_connections_end_with_the_search() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, _) = torrent(&dir.path().join("seed"), true);
    let met = Arc::new(AtomicU32::new(0));
    let (counted, offers) = (Arc::clone(&met), offers(&torrent));
    let (closed, hears) = std::sync::mpsc::channel();
    let addr = script::peer(move |mut peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        offers.metadata(&mut peer, |peer| peer.message(14, &[]))?;
        let end = peer.drain();
        let _ = closed.send(());
        end
    });
    let session = session().await;
    let handle = fetch(&session, &torrent, &[addr], &dir.path().join("out")).await;
    within(tokio::task::spawn_blocking(move || hears.recv().unwrap())).await.unwrap();
    assert_eq!((handle.stats().peers_known, met.load(Ordering::SeqCst)), (0, 1));
    session.shutdown().await;
}

/// Nobody keeps them for a torrent that does not come.
#[tokio::test]
async fn what_is_found_and_not_added_lets_go_of_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (torrent, _) = torrent(&dir.path().join("seed"), false);
    let offers = offers(&torrent);
    let (closed, hears) = std::sync::mpsc::channel();
    let addr = script::peer(move |mut peer| {
        offers.metadata(&mut peer, |_| Ok(()))?;
        let end = peer.drain();
        let _ = closed.send(());
        end
    });
    let session = session().await;
    let follow = FollowMagnet::new(torrent.magnet().parse().unwrap()).peers([addr]);
    let search = session.follow(follow).unwrap();
    let found = within(search.found()).await.unwrap();
    assert!(hears.try_recv().is_err(), "it waits");
    drop((search, found));
    // Sooner than the search itself would let go of them.
    hears.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    session.shutdown().await;
}
