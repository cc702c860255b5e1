//! Where a torrent comes from: a file, standard input, a URL. And what is said when it does not.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread::JoinHandle;

use crate::handshake::info_hash;
use crate::peer::{greeting, once};
use crate::world::{World, noise};

/// Serves one request over HTTP.
fn server(status: &'static str, body: Vec<u8>) -> (String, JoinHandle<()>) {
    let (addr, served) = once(move |stream| {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).expect("it is read");
    });
    (format!("http://{addr}/some.torrent"), served)
}

#[test]
fn standard_input_is_a_torrent_too() {
    let world = World::new();
    world.torrent("some.bin", 100_000, "16K");
    let from_file = world.run(&["info", "some.bin.torrent"]).expect(0).text();
    let piped = world.shell("peerless info - < some.bin.torrent").expect(0).text();
    assert_eq!(piped, from_file);
    world.shell("peerless check - data < some.bin.torrent").expect(0);
    // There is nothing to put the changed one back into.
    let edit = "peerless edit - --comment so < some.bin.torrent";
    assert!(world.shell(edit).expect(2).err.contains("-o FILE"));
    world.shell(&format!("{edit} -o edited.torrent")).expect(0);
    assert_eq!(world.run(&["info", "edited.torrent", "--json"]).expect(0).json()["comment"], "so");
    let closed = world.shell("peerless info - <&-").expect(3);
    assert!(closed.err.starts_with("error: "), "{}", closed.err);
}

#[cfg(target_os = "linux")]
#[test]
fn input_without_an_end_is_no_torrent() {
    let world = World::new();
    for input in ["/dev/zero", "- < /dev/zero"] {
        let done = world.shell(&format!("peerless info {input}")).expect(3);
        assert!(done.err.contains("no .torrent file"), "{}", done.err);
    }
}

#[test]
fn a_url_is_fetched_by_all_that_ask_the_network() {
    let world = World::new();
    world.torrent("some.bin", 100_000, "16K");
    let bytes = world.read("some.bin.torrent");

    let (url, served) = server("200 OK", bytes.clone());
    let info = world.run(&["info", &url]).expect(0).text();
    assert_eq!(info, world.run(&["info", "some.bin.torrent"]).expect(0).text());
    served.join().expect("it was served");

    let (url, served) = server("200 OK", bytes.clone());
    let done = world.run(&["peers", &url.replace("http", "HTTP")]).expect(4);
    assert!(done.err.contains("no trackers"), "{}", done.err);
    served.join().expect("it was served");

    let hash = info_hash(&world, "some.bin.torrent");
    let (peer, shaken): (SocketAddr, _) = once(move |stream| {
        stream.write_all(&greeting(hash)).expect("it is read");
        let _ = stream.read_to_end(&mut Vec::new()); // until it goes
    });
    let (url, served) = server("200 OK", bytes);
    let shake = ["handshake", &url, &peer.to_string(), "--transport", "tcp"];
    world.run(&shake).expect(0);
    served.join().expect("it was served");
    shaken.join().expect("it was greeted");
}

#[test]
fn what_can_not_be_read_says_whose_fault_and_what_next() {
    let world = World::new();
    let (url, served) = server("404 Not Found", b"gone".to_vec());
    let done = world.run(&["get", &url]).expect(3);
    served.join().expect("it was served");
    let host = url.split('/').nth(2).expect("a host");
    assert!(done.err.contains(host) && done.err.contains("404"), "{}", done.err);

    let cases = [
        ("ftp://example.test/a.torrent", "http(s)"),
        ("3ae647fb153d183667664de3055284fdfc9d2520", "magnet:?xt=urn:btih:"),
        ("absent.torrent", "check the path"),
    ];
    for (name, next_step) in cases {
        let done = world.run(&["get", name]).expect(3);
        assert!(done.err.contains(name) && done.err.contains(next_step), "{}", done.err);
    }
    // Commands that need no network fetch nothing.
    let done = world.run(&["check", "http://127.0.0.1:9/a.torrent", "."]).expect(3);
    assert!(done.err.contains("fetch it first"), "{}", done.err);
}

#[test]
fn the_payload_itself_is_not_its_folder() {
    let world = World::new();
    world.write("data/tree/a.bin", &noise(40_000));
    world.run(&["create", "data/tree", "-o", "t.torrent"]).expect(0);
    let local = ["--bind", "127.0.0.1"];
    let seed = [&["seed", "t.torrent", "data/tree"], &local[..]].concat();
    let check = ["check", "t.torrent", "data/tree"];
    for arguments in [&seed[..], &check] {
        let done = world.run(arguments).expect(6);
        assert!(done.err.contains("not the payload itself"), "{}", done.err);
    }
    let done = world.run(&["check", "t.torrent", "nowhere"]).expect(5);
    assert!(done.err.contains("nowhere") && done.err.contains("give the folder"), "{}", done.err);
}
