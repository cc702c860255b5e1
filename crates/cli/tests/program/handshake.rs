//! `handshake` against scripted peers: what it prints, and an exit code for each way to fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::peer::{drain, greeting, once};
use crate::process::Done;
use crate::world::World;

/// A world with one torrent, and its info hash.
fn world() -> (World, [u8; 20]) {
    let world = World::new();
    world.torrent("some.bin", 1000, "16K");
    let hash = info_hash(&world, "some.bin.torrent");
    (world, hash)
}

pub(crate) fn info_hash(world: &World, torrent: &str) -> [u8; 20] {
    let info = world.run(&["info", torrent, "--json"]).expect(0).json();
    let text = info["info_hash"].as_str().expect("text").to_owned();
    let mut hash = [0; 20];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("40 hex digits");
    }
    hash
}

fn shake(world: &World, addr: SocketAddr, extra: &[&str]) -> Done {
    let addr = addr.to_string();
    world.run(&[&["handshake", "some.bin.torrent", &addr][..], extra].concat())
}

fn hello(stream: &mut TcpStream) -> [u8; 68] {
    let mut bytes = [0; 68];
    stream.read_exact(&mut bytes).expect("68 bytes");
    bytes
}

#[test]
fn a_good_peer() {
    let (world, hash) = world();
    let answer = move |stream: &mut TcpStream| {
        let ours = hello(stream);
        assert_eq!(ours[..20], *b"\x13BitTorrent protocol");
        assert_eq!(ours[28..48], hash);
        let mut bytes = greeting(hash);
        let extended = b"d1:md11:ut_metadatai3ee4:reqqi500e1:v12:Test\x1b[2J 9.ae";
        // 2 more than the dictionary: message id 20, extended id 0.
        bytes.extend((extended.len() as u32 + 2).to_be_bytes());
        bytes.extend([20, 0]);
        bytes.extend(extended);
        stream.write_all(&bytes).expect("it reads");
        drain(stream);
    };
    let (addr, peer) = once(answer);
    let done = shake(&world, addr, &[]).expect(0);
    peer.join().expect("our side is right");
    let text = done.text();
    let id = "2d5452333030302d6162636465666768696a6b6c";
    assert_eq!(text.lines().next(), Some(format!("Peer ID: {id}").as_str()));
    assert!(text.contains("Transmission 3.0"), "{text}");
    for part in ["extension protocol", "fast", "ut_metadata", "500"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");

    let (addr, peer) = once(answer);
    let json = shake(&world, addr, &["--json"]).expect(0).json();
    peer.join().expect("our side is right");
    assert_eq!(json["peer_id"], id);
    assert_eq!(json["extended"]["extensions"]["ut_metadata"], 3);
    assert_eq!(json["reserved"], "0000000000100004");
}

#[test]
fn one_byte_at_a_time_is_fine() {
    let (world, hash) = world();
    let (addr, peer) = once(move |stream| {
        hello(stream);
        stream.set_nodelay(true).expect("a TCP socket");
        let mut bytes = greeting(hash);
        bytes[25] = 0; // no extension protocol: nothing to wait for afterwards
        for byte in bytes {
            stream.write_all(&[byte]).expect("it reads on");
            std::thread::sleep(Duration::from_millis(2)); // each in a segment of its own
        }
        drain(stream);
    });
    shake(&world, addr, &[]).expect(0);
    peer.join().expect("our side is right");
}

/// The exit code, and one sentence that names the peer with one that says what to do.
fn fails(
    extra: &[&str],
    code: i32,
    script: impl FnOnce(&mut TcpStream, [u8; 20]) + Send + 'static,
) {
    let (world, hash) = world();
    let (addr, peer) = once(move |stream| script(stream, hash));
    let done = shake(&world, addr, extra).expect(code);
    peer.join().expect("our side is right");
    let mut lines = done.err.lines();
    let first = lines.next().expect("an error");
    assert!(first.starts_with("error: ") && first.contains(&addr.to_string()), "{first}");
    assert!(lines.next().is_some_and(|advice| !advice.trim().is_empty()), "{}", done.err);
    assert!(done.out.is_empty(), "{}", done.text());
}

#[test]
fn another_info_hash_is_10() {
    fails(&[], 10, |stream, mut hash| {
        hello(stream);
        hash[19] ^= 1;
        stream.write_all(&greeting(hash)).expect("it reads");
        drain(stream);
    });
}

#[test]
fn closing_at_byte_47_is_11() {
    fails(&[], 11, |stream, hash| {
        hello(stream);
        stream.write_all(&greeting(hash)[..47]).expect("it reads");
    });
}

#[test]
fn closing_at_once_is_11() {
    fails(&[], 11, |stream, _| {
        hello(stream);
    });
}

#[test]
fn a_web_server_is_12_at_once() {
    let start = Instant::now();
    fails(&["--timeout", "50"], 12, |stream, _| {
        hello(stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
        drain(stream);
    });
    assert!(start.elapsed() < Duration::from_secs(40), "it waited for 68 bytes");
}

#[test]
fn silence_is_13() {
    fails(&["--timeout", "0.3"], 13, |stream, _| {
        hello(stream);
        drain(stream);
    });
}

/// Bytes must not buy time: the limit is on the whole handshake.
#[test]
fn a_trickle_is_13_too() {
    fails(&["--timeout", "0.5"], 13, |stream, hash| {
        hello(stream);
        for byte in greeting(hash) {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(&[byte]).is_err() {
                return; // it gave up, as it should
            }
        }
    });
}

#[test]
fn nobody_there_is_14() {
    let (world, _) = world();
    // A port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback");
    let done = shake(&world, addr, &[]).expect(14);
    assert!(
        done.err.starts_with("error: ") && done.err.contains(&addr.to_string()),
        "{}",
        done.err
    );
    let json = shake(&world, addr, &["--json"]).expect(14).json();
    assert_eq!(json["exit_code"], 14);
}
