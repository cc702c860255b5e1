//! Message stream encryption between sessions, and with scripted peers that insist on RC4.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use engine::metainfo::{InfoHash, Torrent};
use engine::wire::mse::{Agreed, Initiator, Method, Methods, Responder, torrent_mark};
use engine::wire::{Handshake, PeerId, Reserved};
use engine::{
    AddTorrent, Encryption, HandshakeFailure, HandshakeReport, HandshakeRequest, Network, Session,
    TorrentHandle, Transport,
};

use crate::support::{DEADLINE, payload, single_file, within};

const PIECE: u32 = 64 * 1024;
const BLOCK: u32 = 16 * 1024;
const MODES: [Encryption; 4] =
    [Encryption::Off, Encryption::Allow, Encryption::Prefer, Encryption::Require];

async fn session(mode: Encryption) -> Session {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Session::builder().bind(loopback).encryption(mode).start().await.unwrap()
}

async fn seeder(torrent: &Torrent, dir: &Path, mode: Encryption) -> (Session, SocketAddr) {
    let session = session(mode).await;
    let request = AddTorrent::new(torrent.clone(), dir).seed_only(true).use_trackers(false);
    within(session.add(request).await.unwrap().wait()).await.unwrap();
    let addr = session.listen_addresses()[0];
    (session, addr)
}

async fn leecher(
    torrent: &Torrent,
    out: &Path,
    peer: SocketAddr,
    mode: Encryption,
) -> (Session, TorrentHandle) {
    let session = session(mode).await;
    let request = AddTorrent::new(torrent.clone(), out).use_trackers(false).peers([peer]);
    let handle = session.add(request).await.unwrap();
    (session, handle)
}

async fn asks(
    torrent: &Torrent,
    addr: SocketAddr,
    encryption: Encryption,
) -> Result<HandshakeReport, HandshakeFailure> {
    let request = HandshakeRequest {
        addr: addr.to_string(),
        info_hash: torrent.info_hash,
        v2: None,
        peer_id: PeerId([b'x'; 20]),
        connect_timeout: DEADLINE,
        timeout: DEADLINE,
        network: Network::default(),
        transport: Transport::Both,
        ip_filter: std::sync::Arc::default(),
        encryption,
    };
    within(engine::handshake(request)).await
}

#[tokio::test]
async fn each_mode_meets_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file.bin", &payload(100_000, 1), PIECE);
    let plaintext = Some(Method::Plaintext);
    for listens in MODES {
        let (session, addr) = seeder(&torrent, dir.path(), listens).await;
        for dials in MODES {
            let outcome = asks(&torrent, addr, dials).await.map(|report| report.encryption).ok();
            let expected = match (listens, dials) {
                (Encryption::Off, Encryption::Require) | (Encryption::Require, Encryption::Off) => {
                    None
                }
                (Encryption::Require, _) | (_, Encryption::Require) => Some(plaintext),
                (Encryption::Off, _) | (_, Encryption::Off | Encryption::Allow) => Some(None),
                (_, Encryption::Prefer) => Some(plaintext),
            };
            assert_eq!(outcome, expected, "{dials:?} dials {listens:?}");
        }
        session.shutdown().await;
    }
}

/// Whom we dial has to encrypt, and who dials us can't: each way has a mode of its own.
#[tokio::test]
async fn each_way_has_its_own_mode() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(100_000, 1);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let (seeding, addr) = seeder(&torrent, &dir.path().join("seed"), Encryption::Require).await;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let builder = Session::builder().bind(loopback);
    let builder = builder.encryption_in(Encryption::Off).encryption_out(Encryption::Require);
    let session = builder.start().await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir.path().join("out")).use_trackers(false);
    let handle = session.add(request.peers([addr])).await.unwrap();
    within(handle.wait()).await.unwrap();
    let own = session.listen_addresses()[0];
    assert!(asks(&torrent, own, Encryption::Require).await.is_err());
    assert_eq!(asks(&torrent, own, Encryption::Off).await.unwrap().encryption, None);
    session.shutdown().await;
    seeding.shutdown().await;
}

#[tokio::test]
async fn a_download_goes_through_whoever_requires_it() {
    for (seeds, fetches) in [
        (Encryption::Require, Encryption::Require),
        (Encryption::Require, Encryption::Allow), // hung up on, and dialled again
        (Encryption::Off, Encryption::Prefer),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data = payload(3_000_000, 2);
        let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
        let (seeding, addr) = seeder(&torrent, &dir.path().join("seed"), seeds).await;
        let out = dir.path().join("out");
        let (session, handle) = leecher(&torrent, &out, addr, fetches).await;
        within(handle.wait()).await.unwrap();
        assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
        session.shutdown().await;
        seeding.shutdown().await;
    }
}

/// One side of a connection through RC4.
struct Scripted {
    stream: TcpStream,
    agreed: Agreed,
}

impl Scripted {
    /// Connects, and takes nothing but RC4. Everything is sent in parts of `part` bytes.
    fn connect(addr: SocketAddr, torrent: InfoHash, part: usize) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let handshake = handshake(torrent).encode();
        let mut mse = Initiator::new(torrent, Methods::RC4, handshake, || 9);
        while mse.need() > 0 {
            for part in mse.take_output().chunks(part) {
                stream.write_all(part).unwrap();
            }
            let mut bytes = vec![0; mse.need()];
            let got = stream.read(&mut bytes).unwrap();
            assert!(got > 0, "closed within the handshake");
            mse.receive(&bytes[..got]).unwrap();
        }
        Self { stream, agreed: mse.finish().unwrap() }
    }

    /// Answers, and takes nothing but RC4.
    fn accept(listener: &TcpListener, torrent: InfoHash) -> Self {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut mse = Responder::new(Methods::RC4, || 9);
        while mse.need() > 0 {
            let mut bytes = vec![0; mse.need()];
            let got = stream.read(&mut bytes).unwrap();
            assert!(got > 0, "closed within the handshake");
            let find = |mark: &[u8; 20]| (*mark == torrent_mark(&torrent)).then_some(torrent);
            mse.receive(&bytes[..got], find).unwrap();
            stream.write_all(&mse.take_output()).unwrap();
        }
        let agreed = mse.finish().unwrap();
        let within = Handshake::decode(agreed.initial[..].try_into().unwrap()).unwrap();
        assert_eq!(within.info_hash, torrent);
        let mut scripted = Self { stream, agreed };
        scripted.says(&handshake(torrent).encode());
        scripted
    }

    fn says(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.agreed.ciphers.as_mut().unwrap().send.apply(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn hears(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        self.agreed.ciphers.as_mut().unwrap().receive.apply(&mut bytes);
        bytes
    }

    /// The body of the next message of this kind; others are skipped.
    fn next(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let length = self.hears(4);
            let body = self.hears(word(&length, 0) as usize);
            if body.first() == Some(&kind) {
                return body[1..].to_vec();
            }
        }
    }
}

fn handshake(info_hash: InfoHash) -> Handshake {
    let peer_id = PeerId(*b"-XX0001-scripted-one");
    Handshake { reserved: Reserved::default(), info_hash, peer_id }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[tokio::test]
async fn who_insists_on_rc4_is_served_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(10 * PIECE as usize, 3);
    let torrent = single_file(dir.path(), "file.bin", &data, PIECE);
    let (session, addr) = seeder(&torrent, dir.path(), Encryption::Allow).await;
    let info_hash = torrent.info_hash;
    let fetching = tokio::task::spawn_blocking(move || {
        let mut peer = Scripted::connect(addr, info_hash, 33);
        let theirs = peer.hears(68);
        assert_eq!(theirs[28..48], info_hash.0);
        peer.says(&[0, 0, 0, 1, 2]); // interested
        peer.next(1);
        let mut got: Vec<u8> = Vec::new();
        for block in 0..10 * PIECE / BLOCK {
            let (piece, begin) = (block * BLOCK / PIECE, block * BLOCK % PIECE);
            let words = [13, piece, begin, BLOCK].map(u32::to_be_bytes).concat();
            peer.says(&[&words[..4], &[6], &words[4..]].concat());
        }
        for _ in 0..10 * PIECE / BLOCK {
            got.extend(&peer.next(7)[8..]);
        }
        got
    });
    assert_eq!(within(fetching).await.unwrap(), data);
    session.shutdown().await;
}

#[tokio::test]
async fn a_download_goes_through_rc4_when_the_peer_insists() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(10 * PIECE as usize, 4);
    let torrent = single_file(&dir.path().join("seed"), "file.bin", &data, PIECE);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (info_hash, content) = (torrent.info_hash, data.clone());
    let serving = tokio::task::spawn_blocking(move || {
        let mut peer = Scripted::accept(&listener, info_hash);
        peer.says(&[0, 0, 0, 3, 5, 0xff, 0xc0]); // all ten pieces
        peer.says(&[0, 0, 0, 1, 1]); // unchoked
        for _ in 0..10 * PIECE / BLOCK {
            let asked = peer.next(6);
            let at = (word(&asked, 0) * PIECE + word(&asked, 4)) as usize;
            let length = word(&asked, 8);
            let mut block = (9 + length).to_be_bytes().to_vec();
            block.push(7);
            block.extend(&asked[..8]);
            block.extend(&content[at..at + length as usize]);
            peer.says(&block);
        }
        peer
    });
    let out = dir.path().join("out");
    let (session, handle) = leecher(&torrent, &out, addr, Encryption::Require).await;
    within(handle.wait()).await.unwrap();
    assert_eq!(std::fs::read(out.join("file.bin")).unwrap(), data);
    drop(within(serving).await.unwrap());
    session.shutdown().await;
}

#[tokio::test]
async fn who_comes_encrypted_for_a_strange_torrent_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file.bin", &payload(1000, 5), PIECE);
    let (session, addr) = seeder(&torrent, dir.path(), Encryption::Allow).await;
    let strange = Torrent { info_hash: InfoHash([9; 20]), ..torrent };
    let failure = asks(&strange, addr, Encryption::Require).await.unwrap_err();
    assert!(matches!(failure, HandshakeFailure::ClosedEarly { .. }), "{failure}");
    session.shutdown().await;
}

/// What is neither of both gets an end within the time that naming a torrent may take, however slowly
/// it comes.
#[tokio::test]
async fn noise_is_sent_away_once_it_can_be_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(dir.path(), "file.bin", &payload(1000, 6), PIECE);
    let (session, addr) = seeder(&torrent, dir.path(), Encryption::Allow).await;
    let closed = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap(); // less than that time
        stream.write_all(&[b'G'; 96 + 512 + 20]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| answer.len())
    });
    let answered = within(closed).await.unwrap();
    // A key and padding, and then the end; or a reset, as some of the noise was not read.
    let right = answered.as_ref().is_ok_and(|bytes| (96..=96 + 512).contains(bytes));
    let reset = answered.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(right || reset, "{answered:?}");
    session.shutdown().await;
}
