//! `stream`: to a pipe and over HTTP, and all that it refuses.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::{LIMIT, Running};
use crate::world::{World, noise};

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

fn seed(world: &World, torrent: &str) -> (Running, String) {
    let mut seed = world.start(&[&["seed", torrent, "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    (seed, addr)
}

fn stream<'a>(torrent: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["stream", torrent][..], &LOCAL, extra].concat()
}

/// One answer of a connection that is closed behind it: its head and its body.
fn ask(url: &str, headers: &str) -> (String, Vec<u8>) {
    let rest = url.strip_prefix("http://").expect("an HTTP URL");
    let (host, path) = rest.split_once('/').expect("it has a path");
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    (String::from_utf8_lossy(&answer).to_lowercase(), body)
}

#[test]
fn a_file_to_a_pipe_and_what_was_fetched_stays() {
    let world = World::new();
    let data = world.torrent("film.bin", 3_000_001, "64K");
    let (mut seed, addr) = seed(&world, "film.bin.torrent");
    let done = world.run(&stream("film.bin.torrent", &["-o", "out", "--peer", &addr])).expect(0);
    assert!(done.out == data, "{} bytes of {}", done.out.len(), data.len());
    assert!(done.err.contains("film.bin"), "{}", done.err);
    assert!(world.read("out/film.bin") == data, "the copy differs");
    seed.signal("TERM");
    seed.finish(LIMIT);
    // Nobody is needed for what is there.
    let again = world.run(&stream("film.bin.torrent", &["-o", "out", "-q"])).expect(0);
    assert!(again.out == data, "the second time it differs");
}

#[test]
fn one_of_several_files_and_no_more_than_its_pieces() {
    let world = World::new();
    let (film, other) = (noise(1_000_000), noise(3_000_000));
    world.write("data/show/one.mkv", &film);
    world.write("data/show/two.bin", &other);
    let create = ["create", "data/show", "-o", "show.torrent", "--piece-length", "64K"];
    world.run(&create).expect(0);
    let (_seed, addr) = seed(&world, "show.torrent");
    for file in ["*.mkv", "0", "one.mkv", "show/one.*"] {
        let arguments = ["--file", file, "--temporary", "--peer", &addr];
        let done = world.run(&stream("show.torrent", &arguments)).expect(0);
        assert!(done.out == film, "{file}: {} bytes", done.out.len());
    }
    let left: Vec<_> = world.names_in("tmp");
    assert_eq!(left, Vec::<String>::new(), "nothing temporary stays");
    let largest = ["--temporary", "--peer", &addr];
    assert!(world.run(&stream("show.torrent", &largest)).expect(0).out == other);
    for file in ["7", "*.avi"] {
        let arguments = ["--file", file, "--temporary", "--peer", &addr];
        let done = world.run(&stream("show.torrent", &arguments)).expect(2);
        assert!(done.err.contains("peerless info"), "{}", done.err);
    }
}

#[test]
#[cfg(unix)]
fn a_reader_that_has_enough_ends_it_well() {
    let world = World::new();
    let data = world.torrent("film.bin", 6_000_000, "64K");
    let (_seed, addr) = seed(&world, "film.bin.torrent");
    let line = stream("film.bin.torrent", &["-o", "out", "--peer", &addr]).join(" ");
    let done = world.shell(&format!("(peerless {line}; echo $? >code) | head -c 1000"));
    assert!(done.out == data[..1000]);
    assert_eq!(world.read("code"), b"0\n");
}

#[test]
fn over_http_with_ranges_until_it_is_stopped() {
    let world = World::new();
    let data = world.torrent("film.mp4", 3_000_001, "64K");
    let (_seed, addr) = seed(&world, "film.mp4.torrent");
    let arguments = ["--http", "--json", "-o", "out", "--peer", &addr];
    let mut server = world.start(&stream("film.mp4.torrent", &arguments));
    let url = server.event("streaming")["url"].as_str().expect("a URL").to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/film.mp4"), "{url}");
    let (head, body) = ask(&url, "Range: bytes=2999000-\r\n");
    assert!(head.starts_with("http/1.1 206") && head.contains("video/mp4"), "{head}");
    assert!(body == data[2_999_000..]);
    let (head, body) = ask(&url, "");
    assert!(head.starts_with("http/1.1 200") && body == data, "{head}");
    #[cfg(unix)]
    {
        server.signal("INT");
        let done = server.finish(LIMIT).expect(130);
        assert_eq!(done.event("summary")["complete"], true);
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_says_why() {
    let world = World::new();
    world.torrent("film.bin", 100_000, "32K");
    for (arguments, word) in [
        (vec!["--http=0.0.0.0:0"], "--allow-remote"),
        (vec!["--http=192.0.2.1:80"], "--allow-remote"),
        (vec!["--http=nonsense"], "ADDR:PORT"),
        (vec!["--json"], "--http"),
        (vec!["--allow-remote"], "--http"),
        (vec!["--temporary", "-o", "out"], "--output"),
    ] {
        let done = world.run(&stream("film.bin.torrent", &arguments)).expect(2);
        let said = done.text() + &done.err;
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    let lonely = ["--temporary", "--wait-peers", "1"];
    let done = world.run(&stream("film.bin.torrent", &lonely)).expect(4);
    assert_eq!((done.out.len(), done.err.contains("--wait-peers")), (0, true), "{}", done.err);
}
