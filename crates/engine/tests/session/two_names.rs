//! A hybrid by both of its names at once (BEP 52): that they are one torrent is known only when the metadata
//! is there.

use std::net::SocketAddr;
use std::path::Path;

use engine::metainfo::{Magnet, Torrent};
use engine::{AddError, AddTorrent, FollowMagnet, MagnetSearch, Session, TorrentHandle};

use crate::support::{payload, seeder, session, within};
use crate::v2::{self, LENGTH};

/// A link by each name, and by that alone.
fn links(torrent: &Torrent) -> [Magnet; 2] {
    let v2 = torrent.info_hashes.v2().unwrap();
    let links = [format!("urn:btih:{}", torrent.info_hash), format!("urn:btmh:1220{v2}")];
    links.map(|name| format!("magnet:?xt={name}").parse().unwrap())
}

fn follow(session: &Session, link: Magnet, peers: &[SocketAddr]) -> MagnetSearch {
    session.follow(FollowMagnet::new(link).peers(peers.iter().copied())).unwrap()
}

async fn add(
    session: &Session,
    search: &MagnetSearch,
    out: &Path,
) -> Result<TorrentHandle, AddError> {
    let found = within(search.found()).await.unwrap();
    session.add(found.into_request(out)).await
}

/// One is there, the other was refused by a sentence that names both; and all came once.
async fn check(
    session: &Session,
    torrent: &Torrent,
    out: &Path,
    added: [Result<TorrentHandle, AddError>; 2],
) {
    let (mut there, mut refused) = (Vec::new(), Vec::new());
    for one in added {
        match one {
            Ok(handle) => there.push(handle),
            Err(error) => refused.push(error),
        }
    }
    let ([handle], [error]) = (&there[..], &refused[..]) else { panic!("{refused:?}") };
    assert!(matches!(error, AddError::Duplicate(names) if *names == torrent.info_hashes));
    let v2 = torrent.info_hashes.v2().unwrap();
    for name in [torrent.info_hash.to_string(), v2.to_string()] {
        assert!(error.to_string().contains(&name), "{error}");
    }
    within(handle.wait()).await.unwrap();
    assert_eq!(session.torrents().len(), 1);
    for name in [torrent.info_hash, v2.truncated()] {
        assert_eq!(session.torrent(&name).unwrap().info_hash(), torrent.info_hash);
    }
    let stats = handle.stats();
    assert_eq!((stats.downloaded, stats.wasted, stats.failed), (LENGTH as u64, 0, 0));
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), payload(LENGTH, 9));
    let files = std::fs::read_dir(out).unwrap().count();
    assert_eq!(files, 1, "and nothing beside it");
}

#[tokio::test]
async fn two_links_that_are_followed_at_once_are_one_torrent() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = v2::torrent(&dir.path().join("seed"), &payload(LENGTH, 9), true);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, out) = (session().await, dir.path().join("out"));
    let [v1, v2] = links(&torrent).map(|link| follow(&session, link, &[addr]));
    let (one, two) = tokio::join!(add(&session, &v1, &out), add(&session, &v2, &out));
    check(&session, &torrent, &out, [one, two]).await;
    session.shutdown().await;
    seeding.shutdown().await;
}

/// Nobody is asked for metadata that the session has, whichever of the two comes first.
#[tokio::test]
async fn a_search_by_the_other_name_ends_with_what_the_first_found() {
    for first in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let torrent = v2::torrent(&dir.path().join("seed"), &payload(LENGTH, 9), true);
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
        let (session, out) = (session().await, dir.path().join("out"));
        let links = links(&torrent);
        let alone = follow(&session, links[1 - first].clone(), &[]);
        let search = follow(&session, links[first].clone(), &[addr]);
        let one = add(&session, &search, &out).await;
        let two = add(&session, &alone, &out).await;
        check(&session, &torrent, &out, [one, two]).await;
        session.shutdown().await;
        seeding.shutdown().await;
    }
}

#[tokio::test]
async fn who_is_named_with_the_second_helps_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = v2::torrent(&dir.path().join("seed"), &payload(LENGTH, 9), true);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed")).await;
    let (session, out) = (session().await, dir.path().join("out"));
    let request = || AddTorrent::new(torrent.clone(), &out).use_trackers(false);
    let one = session.add(request()).await;
    let two = session.add(request().peers([addr])).await;
    check(&session, &torrent, &out, [one, two]).await;
    session.shutdown().await;
    seeding.shutdown().await;
}
