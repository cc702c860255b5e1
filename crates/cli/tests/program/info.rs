//! `info`: what it says of torrents made here by hand, with an info hash computed elsewhere.

use crate::world::World;

/// Made by hand; SHA-1 of its `info` by another program: [`INFO_HASH`].
const INFO: &[u8] = b"d6:lengthi40000e4:name9:hello.bin12:piece lengthi16384e6:pieces60:\
    \x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\
    \x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\
    \x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\
    7:privatei1ee";
const INFO_HASH: &str = "3ae647fb153d183667664de3055284fdfc9d2520";

fn hello(world: &World) {
    let mut bytes = b"d8:announce27:http://tracker.example:80/a\
        7:comment12:made\x1b[2Jhere13:creation datei951782400e9:httpseedsl23:http://script.example/pe4:info"
        .to_vec();
    bytes.extend_from_slice(INFO);
    bytes.extend_from_slice(b"8:url-list19:http://seed.examplee");
    world.write("hello.torrent", &bytes);
}

#[test]
fn json_says_everything() {
    let world = World::new();
    hello(&world);
    let info = world.run(&["info", "hello.torrent", "--json"]).expect(0).json();
    assert_eq!(info["name"], "hello.bin");
    assert_eq!(info["info_hash"], INFO_HASH);
    assert_eq!(info["total_length"], 40_000);
    assert_eq!(info["piece_length"], 16_384);
    assert_eq!(info["piece_count"], 3);
    assert_eq!(info["private"], true);
    assert_eq!(info["trackers"], serde_json::json!([["http://tracker.example:80/a"]]));
    assert_eq!(info["web_seeds"], serde_json::json!(["http://seed.example"]));
    assert_eq!(info["http_seeds"], serde_json::json!(["http://script.example/p"]));
    assert_eq!(info["creation_date"], 951_782_400);
    assert_eq!(info["files"][0]["path"], "hello.bin");
    assert_eq!(info["files"][0]["length"], 40_000);
    let magnet = info["magnet"].as_str().expect("a magnet link");
    assert!(magnet.starts_with(&format!("magnet:?xt=urn:btih:{INFO_HASH}")), "{magnet}");
}

#[test]
fn text_says_it_too_and_drives_no_terminal() {
    let world = World::new();
    hello(&world);
    let text = world.run(&["info", "hello.torrent"]).expect(0).text();
    for part in [
        "hello.bin",
        INFO_HASH,
        "40000 bytes",
        "3 of 16.0 KiB",
        "http://tracker.example:80/a",
        "http://seed.example",
        "http://script.example/p",
        "2000-02-29 00:00:00 UTC",
        "magnet:?xt=urn:btih:",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("Private:") && line.ends_with("yes")));
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn bad_torrents_end_with_3() {
    let world = World::new();
    hello(&world);
    let good = world.read("hello.torrent");
    world.write("cut.torrent", &good[..good.len() - 1]);
    world.write("empty.torrent", b"");
    world.write("text.torrent", b"<html>404</html>");
    world.write("nothing-in-it.torrent", b"de");
    world.write("deep.torrent", &vec![b'l'; 100_000]);
    for name in ["cut", "empty", "text", "nothing-in-it", "deep", "absent"] {
        let path = format!("{name}.torrent");
        let done = world.run(&["info", &path]).expect(3);
        let mut lines = done.err.lines();
        let first = lines.next().expect("an error");
        assert!(first.starts_with("error: ") && first.contains(&path), "{first}");
        assert!(lines.next().is_some_and(|advice| !advice.trim().is_empty()), "{}", done.err);
        assert!(done.out.is_empty());

        let json = world.run(&["info", &path, "--json"]).expect(3).json();
        assert_eq!(json["exit_code"], 3);
        assert!(json["error"].as_str().is_some_and(|error| error.contains(&path)), "{json}");
    }
}
