//! Peer exchange over real sockets (BEP 11), and that private torrents have none of it (BEP 27).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use engine::metainfo::{CreateOptions, Torrent};
use engine::wire::{ExtendedHandshake, Extension, PexFlags, PexMessage};

use crate::script::Peer;
use crate::support::{leecher, payload, within};

/// What the scripted peer saw.
struct Seen {
    /// The extensions that we were offered.
    offered: Vec<String>,
}

fn torrent(dir: &Path, private: bool) -> Torrent {
    let path = dir.join("file.bin");
    std::fs::write(&path, payload(100_000, 1)).unwrap();
    let piece_length = Some(16 * 1024);
    let options = CreateOptions { private, piece_length, ..CreateOptions::default() };
    let bytes = engine::create(&path, &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Tells of `others`, and returns once that was heard: we are interested in what came behind it.
fn tells(peer: &mut Peer, others: &[SocketAddr]) -> std::io::Result<Seen> {
    peer.shake_hands_with([0, 0, 0, 0, 0, 0x10, 0, 0])?;
    let added = others.iter().map(|addr| (*addr, PexFlags::REACHABLE)).collect();
    let told = PexMessage { added, dropped: Vec::new() }.encode();
    peer.message(20, &[&[Extension::PeerExchange.our_id()][..], &told].concat())?;
    peer.message(5, &[0xfe])?; // all seven pieces
    let mut offered = Vec::new();
    loop {
        match peer.next_message()? {
            (2, _) => return Ok(Seen { offered }),
            (20, body) if body.first() == Some(&0) => {
                let ours = ExtendedHandshake::decode(&body[1..]).unwrap();
                offered = ours.extensions.into_iter().map(|(name, _)| name).collect();
            }
            _ => {}
        }
    }
}

/// Runs a download that a scripted peer tells of an address; returns what the peer saw and whether the
/// address was dialled by the time that one which a person named was.
async fn told(private: bool) -> (Seen, bool) {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(dir.path(), private);
    assert_eq!(torrent.info.is_private(), private);
    assert_eq!(torrent.info.geometry().piece_count(), 7);
    let (stranger, strange_addr) = listener();
    let (heard, seen) = std::sync::mpsc::channel();
    let teller = crate::script::peer(move |mut peer| {
        let _ = heard.send(tells(&mut peer, &[strange_addr])?);
        peer.drain()
    });
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [teller]).await;
    let seen = within(tokio::task::spawn_blocking(move || seen.recv().unwrap())).await.unwrap();
    let (named, named_addr) = listener();
    handle.add_peers([named_addr]);
    within(tokio::task::spawn_blocking(move || named.accept().unwrap())).await.unwrap();
    // Both were dialled at once, if they were: one connection may take a moment longer to be seen.
    let dialled = if private {
        stranger.set_nonblocking(true).unwrap();
        stranger.accept().is_ok()
    } else {
        let accepted = tokio::task::spawn_blocking(move || stranger.accept().is_ok());
        within(accepted).await.unwrap()
    };
    session.shutdown().await;
    (seen, dialled)
}

#[tokio::test]
async fn who_a_peer_tells_of_is_dialled() {
    let (seen, dialled) = told(false).await;
    assert!(seen.offered.iter().any(|name| name == "ut_pex"), "{:?}", seen.offered);
    assert!(dialled);
}

#[tokio::test]
async fn but_not_for_private_torrents() {
    let (seen, dialled) = told(true).await;
    assert!(!seen.offered.is_empty() && !seen.offered.iter().any(|name| name == "ut_pex"));
    assert!(!dialled);
}
