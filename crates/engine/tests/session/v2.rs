//! Torrents of the second version and hybrids (BEP 52), from one session to another and from peers that
//! send bad blocks.

use std::path::Path;
use std::sync::Arc;

use crate::script;
use crate::support::{leecher, payload, seeder, session, told, within};
use engine::metainfo::bencode::Encoder;
use engine::metainfo::merkle::{self, MerkleHash, MerkleTree};
use engine::metainfo::{BLOCK_LENGTH, CreateOptions, InfoHash, Torrent};
use engine::{AddError, AddTorrent, Event, FollowMagnet};

const PIECE: usize = 64 * 1024;
const PIECES: u32 = 9;
/// The last piece is short, and so is its last block.
pub(crate) const LENGTH: usize = PIECE * PIECES as usize - 20_000;

fn leaves(data: &[u8]) -> Vec<MerkleHash> {
    data.chunks(BLOCK_LENGTH as usize).map(merkle::leaf).collect()
}

/// Writes `data` as `dir/file.bin` and makes its torrent, v2 only or a hybrid.
pub(crate) fn torrent(dir: &Path, data: &[u8], hybrid: bool) -> Torrent {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join("file.bin");
    std::fs::write(&path, data).unwrap();
    let leaves = leaves(data);
    let top = merkle::piece_layer(PIECE as u32);
    let tree = MerkleTree::new(leaves.clone(), 0, merkle::height(leaves.len() as u64));
    let layer: Vec<u8> = leaves.chunks(1 << top).flat_map(|p| merkle::root(p, 0, top)).collect();
    let mut out = Encoder::new();
    out.begin_dict().key(b"info").begin_dict();
    out.key(b"file tree").begin_dict().key(b"file.bin").begin_dict().key(b"").begin_dict();
    out.key(b"length")
        .int(i64::try_from(data.len()).unwrap())
        .key(b"pieces root")
        .bytes(&tree.root());
    out.end().end().end();
    if hybrid {
        out.key(b"length").int(i64::try_from(data.len()).unwrap());
    }
    out.key(b"meta version").int(2).key(b"name").bytes(b"file.bin");
    out.key(b"piece length").int(i64::try_from(PIECE).unwrap());
    if hybrid {
        let options =
            CreateOptions { piece_length: Some(PIECE as u32), ..CreateOptions::default() };
        let v1 = engine::create(&path, &options, |_| {}, &false.into()).unwrap();
        let v1 = Torrent::parse(&v1).unwrap();
        let hashes: Vec<u8> =
            (0..PIECES).flat_map(|piece| v1.info.piece_hash(piece).unwrap()).collect();
        out.key(b"pieces").bytes(&hashes);
    }
    out.end().key(b"piece layers").begin_dict().key(&tree.root()).bytes(&layer).end().end();
    Torrent::parse(&out.finish()).unwrap()
}

#[tokio::test]
async fn both_kinds_travel_and_are_there_after_a_restart() {
    for hybrid in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let data = payload(LENGTH, 1);
        let torrent = torrent(&dir.path().join("seed"), &data, hybrid);
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
        let out = dir.path().join("out");
        let (session, handle) = leecher(&torrent, &out, [addr]).await;
        within(handle.wait()).await.unwrap();
        assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
        assert_eq!((handle.stats().failed, handle.stats().wasted), (0, 0));
        session.shutdown().await;
        let (again, handle) = leecher(&torrent, &out, []).await;
        within(handle.wait()).await.unwrap();
        assert_eq!(handle.stats().downloaded, 0);
        again.shutdown().await;
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn a_link_by_either_hash_leads_to_a_hybrid_and_layers_are_fetched() {
    for (hybrid, by_v2) in [(false, true), (true, true), (true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let torrent = torrent(&dir.path().join("seed"), &payload(LENGTH, 2), hybrid);
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
        let session = session().await;
        let link = match torrent.info_hashes.v2().filter(|_| by_v2) {
            Some(hash) => format!("magnet:?xt=urn:btmh:1220{hash}"),
            None => format!("magnet:?xt=urn:btih:{}", torrent.info_hash),
        };
        let follow = FollowMagnet::new(link.parse().unwrap()).peers([addr]);
        let search = session.follow(follow).unwrap();
        let found = within(search.found()).await.unwrap();
        assert!(found.torrent.lacks_layers(), "a link has none");
        drop(search);
        let handle = session.add(found.into_request(dir.path().join("out"))).await.unwrap();
        within(handle.wait()).await.unwrap();
        assert_eq!(handle.info_hash(), torrent.info_hash);
        session.shutdown().await;
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn a_hybrid_is_there_by_both_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = torrent(&dir.path().join("seed"), &payload(LENGTH, 3), true);
    let (seeding, _) = seeder(&torrent, &dir.path().join("seed")).await;
    let again = AddTorrent::new(torrent.clone(), dir.path().join("other"));
    let refused = seeding.add(again).await.err();
    assert!(matches!(refused, Some(AddError::Duplicate(names)) if names == torrent.info_hashes));
    let v2 = torrent.info_hashes.v2().unwrap();
    for link in [format!("urn:btmh:1220{v2}"), format!("urn:btih:{}", torrent.info_hash)] {
        let magnet = format!("magnet:?xt={link}").parse().unwrap();
        assert!(seeding.follow(FollowMagnet::new(magnet)).is_err(), "{link}");
    }
    seeding.shutdown().await;
}

/// A peer that answers by the torrent's v2 name, gives hashes as it should, and sends `bad` of the
/// blocks that it is asked for spoilt, the first ones.
fn spoiler(torrent: &Torrent, data: Arc<Vec<u8>>, bad: usize) -> std::net::SocketAddr {
    let name = torrent.info_hashes.v2().unwrap().truncated();
    script::peer(move |mut peer| {
        let mut hello = [0; 68];
        peer.read_exact(&mut hello)?;
        assert_eq!(hello[27] & 0x10, 0x10, "we offer v2");
        hello[28..48].copy_from_slice(&name.0);
        hello[48..].copy_from_slice(b"-XX0001-hostile-peer");
        peer.send(&hello)?;
        peer.offer_everything(PIECES)?;
        let mut left = bad;
        let mut waiting = Vec::new();
        let mut told = std::collections::HashSet::new();
        loop {
            let (kind, body) = peer.next_message()?;
            let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            match kind {
                21 => {
                    let (index, length) = (word(36) as usize, word(40) as usize);
                    let all = leaves(&data);
                    let hashes = (index..index + length).map(|at| all.get(at).copied());
                    let hashes: Vec<u8> = hashes.flat_map(Option::unwrap_or_default).collect();
                    peer.message(22, &[&body[..], &hashes].concat())?;
                    told.insert((index / (PIECE / BLOCK_LENGTH as usize)) as u32);
                }
                6 => waiting.push((word(0), word(4), word(8))),
                _ => {}
            }
            // The leaves first: what is shown here is that the block itself is known to be bad.
            let (answered, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(piece, ..)| told.contains(piece));
            waiting = later;
            for (piece, begin, length) in answered {
                let at = piece as usize * PIECE + begin as usize;
                let mut block = data[at..at + length as usize].to_vec();
                if left > 0 {
                    left -= 1;
                    block[99] ^= 1;
                }
                peer.block(piece, begin, &block)?;
            }
        }
    })
}

#[tokio::test]
async fn one_bad_block_names_its_sender_and_costs_no_more_than_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(payload(LENGTH, 4));
    let torrent = torrent(&dir.path().join("seed"), &data, false);
    let bad = spoiler(&torrent, Arc::clone(&data), 1);
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, [bad]).await;
    let mut events = session.events();
    let banned = told(&mut events, |event| match event {
        Event::PeerBanned { addr, .. } => Some(addr),
        _ => None,
    });
    assert_eq!(banned.await, bad.ip());
    let (honest, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    handle.add_peers([addr]);
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), **data);
    assert_eq!(handle.stats().failed, u64::from(BLOCK_LENGTH));
    session.shutdown().await;
    honest.shutdown().await;
}

#[tokio::test]
async fn a_torrent_that_contradicts_itself_stops_without_blame() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(payload(LENGTH, 5));
    let sound = torrent(&dir.path().join("seed"), &data, true);
    // The v1 hash of the first piece is another's.
    let mut bytes = sound.info_bytes.to_vec();
    let hash = sound.info.piece_hash(0).unwrap();
    let at = bytes.windows(20).position(|part| part == hash).unwrap();
    bytes[at] ^= 1;
    let mut out = Encoder::new();
    out.begin_dict().key(b"info").raw(&bytes).end();
    let info = Torrent::parse(&out.finish()).unwrap();
    let torn = Torrent::parse(&info.with_layers(&sound.piece_layers)).unwrap();
    let peer = spoiler(&torn, Arc::clone(&data), 0);
    let (session, handle) = leecher(&torn, &dir.path().join("out"), [peer]).await;
    let contradicts = || format!("{:?}", handle.stats().state).contains("contradicts itself");
    let stopped = async {
        while !contradicts() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within(stopped).await;
    assert_eq!(handle.peers().len(), 1, "nobody was banned");
    session.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_knows_only_one_name_is_reached_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(LENGTH, 6);
    let hybrid = torrent(&dir.path().join("seed"), &data, true);
    let v2 = hybrid.info_hashes.v2().unwrap().truncated();
    // It hangs up on every name but the v2 one.
    let asked = Arc::new(std::sync::Mutex::new(Vec::<InfoHash>::new()));
    let names = Arc::clone(&asked);
    let peer = script::peer(move |mut peer| {
        let mut theirs = [0; 68];
        peer.read_exact(&mut theirs)?;
        let name = InfoHash(theirs[28..48].try_into().unwrap());
        names.lock().unwrap().push(name);
        if name != v2 {
            return Ok(());
        }
        theirs[48..].copy_from_slice(b"-XX0001-v2-only-peer");
        peer.send(&theirs)?;
        peer.drain()
    });
    let (session, handle) = leecher(&hybrid, &dir.path().join("out"), [peer]).await;
    let joined = async {
        while handle.peers().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within(joined).await;
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.first(), Some(&hybrid.info_hash));
    assert_eq!(asked.last(), Some(&v2));
    session.shutdown().await;
}
