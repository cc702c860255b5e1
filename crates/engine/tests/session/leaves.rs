//! Readers of v2 torrents get a block once its leaf proves it (BEP 52), however large its piece is.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::metainfo::merkle;
use engine::metainfo::{BLOCK_LENGTH, CreateOptions, Format, Torrent};
use engine::{Event, RateLimits};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::script;
use crate::support::{leecher, payload, seeder, within};

fn torrent(dir: &Path, data: &[u8], piece_length: u32) -> Torrent {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join("film.mkv");
    std::fs::write(&path, data).unwrap();
    let format = Format::V2;
    let options =
        CreateOptions { format, piece_length: Some(piece_length), ..CreateOptions::default() };
    let bytes = engine::create(&path, &options, |_| {}, &false.into()).unwrap();
    Torrent::parse(&bytes).unwrap()
}

#[tokio::test]
async fn the_first_byte_comes_within_a_second_though_a_piece_takes_sixteen() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(40 << 20, 7);
    let torrent = torrent(&dir.path().join("seed"), &data, 16 << 20);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    seeding.set_limits(RateLimits { upload: Some(1_000_000), ..RateLimits::default() });
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [addr]).await;
    handle.checked().await.unwrap();
    let mut reader = handle.reader(0).unwrap();
    for at in [0, (8 << 20) + 100, 5 << 20, (33 << 20) - 3] {
        let asked = Instant::now();
        reader.seek(SeekFrom::Start(at as u64)).await.unwrap();
        let first = within(reader.read_u8()).await.unwrap();
        let waited = asked.elapsed();
        assert_eq!(first, data[at]);
        assert!(waited <= Duration::from_secs(1), "{waited:?} to the first byte at {at}");
        let mut more = vec![0; 150_000];
        within(reader.read_exact(&mut more)).await.unwrap();
        assert!(more == data[at + 1..at + 1 + more.len()], "what came from {at} on differs");
    }
    assert_eq!(handle.stats().pieces_have, 0, "no piece is complete");
    // The rest comes from the disk, and what was read before from there too.
    seeding.set_limits(RateLimits::default());
    reader.seek(SeekFrom::Start(0)).await.unwrap();
    let mut all = Vec::new();
    within(reader.read_to_end(&mut all)).await.unwrap();
    assert!(all == data, "the whole differs");
    session.shutdown().await;
    seeding.shutdown().await;
}

/// A peer that gives true hashes and the first block as it is, and all others spoilt; or no hashes,
/// and three spoilt blocks before it leaves.
fn spoiler(torrent: &Torrent, data: Arc<Vec<u8>>, hashes: bool) -> std::net::SocketAddr {
    let name = torrent.info_hashes.v2().unwrap().truncated();
    script::peer(move |mut peer| {
        let mut hello = [0; 68];
        peer.read_exact(&mut hello)?;
        hello[28..48].copy_from_slice(&name.0);
        hello[48..].copy_from_slice(b"-XX0001-hostile-peer");
        peer.send(&hello)?;
        peer.offer_everything(1)?;
        let leaves: Vec<_> = data.chunks(BLOCK_LENGTH as usize).map(merkle::leaf).collect();
        let mut given = 0;
        loop {
            let (kind, body) = peer.next_message()?;
            let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            if kind == 21 && !hashes {
                peer.message(23, &body)?;
            } else if kind == 21 {
                let hashes = leaves.iter().flatten().copied().collect::<Vec<u8>>();
                peer.message(22, &[&body[..], &hashes].concat())?;
            } else if kind == 6 {
                let (begin, length) = (word(4), word(8));
                let mut block = data[begin as usize..(begin + length) as usize].to_vec();
                block[99] ^= u8::from(begin > 0 || !hashes);
                peer.block(0, begin, &block)?;
                given += 1;
                if !hashes && given == 3 {
                    return Ok(());
                }
            }
        }
    })
}

#[tokio::test]
async fn a_corrupt_block_never_reaches_the_reader_and_the_good_one_before_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(payload(16 * BLOCK_LENGTH as usize, 8));
    let torrent = torrent(&dir.path().join("seed"), &data, 16 * BLOCK_LENGTH);
    let liar = spoiler(&torrent, Arc::clone(&data), true);
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), [liar]).await;
    let mut events = session.events();
    let mut reader = handle.reader(0).unwrap();
    let mut first = vec![0; BLOCK_LENGTH as usize];
    within(reader.read_exact(&mut first)).await.unwrap();
    assert!(first == data[..first.len()], "the good block differs");
    let banned = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::PeerBanned { .. }) {
                return;
            }
        }
    };
    let mut next = [0; 1];
    tokio::select! {
        read = reader.read(&mut next) => panic!("it gave what nobody proved: {read:?}"),
        () = within(banned) => {}
    }
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    handle.add_peers([addr]);
    let mut rest = Vec::new();
    within(reader.read_to_end(&mut rest)).await.unwrap();
    assert!(rest == data[first.len()..], "the reader got something else");
    session.shutdown().await;
    honest.shutdown().await;
}

#[tokio::test]
async fn a_block_that_no_leaf_proves_waits_for_its_piece() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(payload(16 * BLOCK_LENGTH as usize, 9));
    let torrent = torrent(&dir.path().join("seed"), &data, 16 * BLOCK_LENGTH);
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let liar = spoiler(&torrent, Arc::clone(&data), false);
    let (session, handle) = leecher(&torrent, &dir.path().join("out"), []).await;
    let mut events = session.events();
    handle.checked().await.unwrap();
    handle.add_peers([liar]);
    let left = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::PeerDisconnected { .. }) {
                return;
            }
        }
    };
    within(left).await;
    // Spoilt blocks lie in memory, and nobody gave the hashes that tell.
    let mut reader = handle.reader(0).unwrap();
    let mut all = vec![0; data.len()];
    let (read, ()) = within(async {
        tokio::join!(reader.read_exact(&mut all), async { handle.add_peers([addr]) })
    })
    .await;
    read.unwrap();
    assert!(all == **data, "the reader got something else");
    within(handle.wait()).await.unwrap();
    assert!(handle.stats().failed > 0, "nothing bad was there: the test proves nothing");
    session.shutdown().await;
    honest.shutdown().await;
}
