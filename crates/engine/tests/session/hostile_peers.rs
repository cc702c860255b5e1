//! Peers that lie, stall and break the protocol. Each gets its error; the torrent completes from
//! the honest peer, byte for byte.

use std::net::SocketAddr;

use crate::script::Peer;
use crate::support::{leecher, payload, seeder, single_file, told, within};
use engine::{Event, EventStream};

const PIECE: u32 = 64 * 1024;
const PIECES: u32 = 24;

/// Downloads from an honest seeder and one scripted peer. Returns why the scripted peer's
/// connection ended, when `expect_end` says that it must.
async fn meets(
    expect_end: bool,
    script: impl Fn(Peer) -> std::io::Result<()> + Send + Sync + 'static,
) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let data = payload((PIECE * PIECES - 1000) as usize, 1);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let bad = crate::script::peer(script);
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, [bad]).await;
    let mut events = session.events();
    let reason = if expect_end { Some(within(end_of(&mut events, bad)).await) } else { None };
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    handle.add_peers([addr]);
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data, "the copy differs");
    session.shutdown().await;
    honest.shutdown().await;
    reason
}

async fn end_of(events: &mut EventStream, addr: SocketAddr) -> String {
    loop {
        match events.next().await.expect("the session lives") {
            Event::PeerDisconnected { addr: who, reason, .. } if who == addr => return reason,
            _ => {}
        }
    }
}

fn says(reason: Option<String>, part: &str) {
    let reason = reason.expect("the connection ended");
    assert!(reason.contains(part), "expected {part:?} in {reason:?}");
}

#[tokio::test]
async fn a_length_of_four_gigabytes_is_refused_before_anything_is_buffered() {
    let reason = meets(true, |mut peer| {
        peer.shake_hands(false)?;
        peer.send(&u32::MAX.to_be_bytes())?;
        peer.send(&[20])?;
        peer.drain()
    });
    says(reason.await, "broke the protocol");
}

#[tokio::test]
async fn a_bitfield_of_the_wrong_size_ends_the_connection() {
    let reason = meets(true, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(5, &[0xff])?;
        peer.drain()
    });
    says(reason.await, "broke the protocol");
}

#[tokio::test]
async fn a_bitfield_with_spare_bits_ends_the_connection() {
    const ODD: u32 = PIECES + 1;
    let dir = tempfile::tempdir().unwrap();
    let data = payload((PIECE * ODD) as usize, 2);
    let torrent = single_file(dir.path(), "file.bin", &data, PIECE);
    let bad = crate::script::peer(|mut peer| {
        peer.shake_hands(false)?;
        peer.message(5, &[0xff; 4])?;
        peer.drain()
    });
    let (session, _handle) = leecher(&torrent, &dir.path().join("out"), [bad]).await;
    let mut events = session.events();
    let reason = within(end_of(&mut events, bad)).await;
    assert!(reason.contains("spare bits"), "{reason}");
    session.shutdown().await;
}

#[tokio::test]
async fn a_have_past_the_last_piece_ends_the_connection() {
    let reason = meets(true, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(4, &PIECES.to_be_bytes())?;
        peer.drain()
    });
    says(reason.await, "broke the protocol");
}

#[tokio::test]
async fn fast_messages_that_were_not_negotiated_end_the_connection() {
    let reason = meets(true, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(14, &[])?;
        peer.drain()
    });
    says(reason.await, "broke the protocol");
}

#[tokio::test]
async fn blocks_that_nobody_asked_for_are_not_stored() {
    let reason = meets(true, |mut peer| {
        peer.shake_hands(false)?;
        peer.message(5, &[0; PIECES as usize / 8])?; // it has nothing, so nothing is asked of it
        for begin in (0..).step_by(16 * 1024).cycle().take(4096) {
            peer.block(0, begin % PIECE, &[0; 16 * 1024])?;
        }
        peer.drain()
    });
    reason.await.expect("a peer that only sends what nobody wants is cut off");
}

#[tokio::test]
async fn corrupt_blocks_are_found_and_their_sender_is_banned() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload((PIECE * PIECES) as usize, 3);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let bad = crate::script::peer(|mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(PIECES)?;
        loop {
            let (piece, begin, length) = peer.next_request()?;
            peer.block(piece, begin, &vec![0x55; length as usize])?;
        }
    });
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, [bad]).await;
    let mut events = session.events();
    let banned = told(&mut events, |event| match event {
        Event::PeerBanned { addr, .. } => Some(addr),
        _ => None,
    });
    assert_eq!(banned.await, bad.ip());
    assert_eq!(handle.stats().pieces_have, 0, "bad data was counted as good");

    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    handle.add_peers([addr]);
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
    session.shutdown().await;
    honest.shutdown().await;
}

#[tokio::test]
async fn short_blocks_are_not_taken_for_whole_ones() {
    meets(false, |mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(PIECES)?;
        loop {
            let (piece, begin, _) = peer.next_request()?;
            peer.block(piece, begin, &[0x55; 100])?;
        }
    })
    .await;
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_the_download_up() {
    meets(false, |mut peer| {
        peer.shake_hands(true)?;
        peer.message(14, &[])?;
        peer.message(1, &[])?;
        peer.drain()
    })
    .await;
}

#[tokio::test]
async fn a_slow_drip_peer_does_not_hold_the_download_up() {
    meets(false, |mut peer| {
        peer.shake_hands(false)?;
        peer.offer_everything(PIECES)?;
        let (piece, begin, length) = peer.next_request()?;
        let mut head = (9 + length).to_be_bytes().to_vec();
        head.push(7);
        head.extend_from_slice(&piece.to_be_bytes());
        head.extend_from_slice(&begin.to_be_bytes());
        for byte in head {
            peer.send(&[byte])?; // a byte a packet, and then never the body
        }
        peer.drain()
    })
    .await;
}

#[tokio::test]
async fn rejecting_everything_does_not_loop() {
    meets(false, |mut peer| {
        peer.shake_hands(true)?;
        peer.message(14, &[])?;
        peer.message(1, &[])?;
        loop {
            let (piece, begin, length) = peer.next_request()?;
            let words = [piece, begin, length];
            peer.message(16, &words.map(u32::to_be_bytes).concat())?;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_have_and_choke_changes_nothing() {
    meets(false, |mut peer| {
        peer.shake_hands(false)?;
        for round in 0u32..20_000 {
            peer.message(4, &(round % PIECES).to_be_bytes())?;
            peer.message(u8::from(round % 2 == 0), &[])?;
        }
        peer.drain()
    })
    .await;
}

/// Each of its requests, which it may not make while choked, is worth a rejection.
#[tokio::test]
async fn a_peer_that_never_reads_is_not_listened_to() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &payload(100_000, 2), PIECE);
    let (session, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let taken = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::connect_deaf(addr, torrent.info_hash.0).unwrap();
        let request = [&[0, 0, 0, 13, 6][..], &[0; 8], &[0, 0, 0x40, 0]].concat();
        let requests = request.repeat(1000);
        let mut taken = 0;
        while taken < 256 << 20 && peer.send(&requests).is_ok() {
            taken += requests.len();
        }
        taken
    });
    let taken = within(taken).await.unwrap();
    // What the kernel buffers on both sides, and a little.
    assert!(taken < 64 << 20, "{taken} bytes of requests were answered into memory");
    session.shutdown().await;
}

/// Bits of versions and extensions that nobody here has, or that do not fit the torrent (BEP 52).
#[tokio::test]
async fn a_peer_that_claims_every_capability_is_taken_at_its_word_and_no_more() {
    meets(false, |mut peer| {
        peer.shake_hands_with([0xff; 8])?;
        peer.message(14, &[])?;
        peer.message(9, &[0, 80])?; // a DHT port
        for id in 21..=23 {
            peer.message(id, &[0; 48])?; // hash request, hashes, hash reject (BEP 52)
        }
        peer.drain()
    })
    .await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_refused() {
    meets(false, |mut peer| {
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>")?;
        peer.drain()
    })
    .await;
}

#[tokio::test]
async fn an_answer_for_another_torrent_is_refused() {
    meets(false, |mut peer| {
        peer.send(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")?;
        peer.send(&[7; 20])?;
        peer.send(b"-XX0001-hostile-peer")?;
        peer.drain()
    })
    .await;
}

#[tokio::test]
async fn closing_in_the_middle_of_the_handshake_is_survived() {
    meets(false, |mut peer| peer.send(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")).await;
}
