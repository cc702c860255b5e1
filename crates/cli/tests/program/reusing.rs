//! Files that other torrents have (BEP 38, 52), found by the commands, and hints in .torrent files.

use crate::world::{World, noise};

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];
const HASH: &str = "00112233445566778899aabbccddeeff00112233";

#[test]
fn hints_are_written_shown_and_changed() {
    let world = World::new();
    world.write("data/file", b"hello");
    let v2 = "ff".repeat(32);
    let hints = ["--similar", HASH, "--similar", &v2, "--collection", "series"];
    let create = ["create", "data/file", "-o", "a.torrent"];
    world.run(&[&create[..], &hints].concat()).expect(0);
    let info = |file: &str| world.run(&["info", file, "--json"]).expect(0).json();
    let made = info("a.torrent");
    assert_eq!(made["similar"], serde_json::json!([HASH, &v2[..40]]));
    assert_eq!(made["collections"], serde_json::json!(["series"]));
    let text = world.run(&["info", "a.torrent"]).expect(0).text();
    assert!(text.contains(&format!("Similar:     {HASH}")), "{text}");
    assert!(text.contains("Collection:  series"), "{text}");

    let edit = ["edit", "a.torrent", "-o", "b.torrent", "--collection", "films", "--json"];
    let edited = world.run(&edit).expect(0).json();
    assert_eq!(edited["collections"], serde_json::json!(["films", "series"]), "both count");
    let both = info("b.torrent");
    assert_eq!((&both["info_hash"], &both["similar"]), (&made["info_hash"], &made["similar"]));
    world.run(&["edit", "b.torrent", "--no-collections"]).expect(0);
    assert!(world.read("b.torrent") == world.read("a.torrent"));
    let bad = world.run(&["create", "data/file", "-o", "c.torrent", "--similar", "12"]).expect(2);
    assert!(bad.err.contains("40 or 64"), "{}", bad.err);
}

#[test]
fn a_file_of_an_earlier_torrent_is_not_fetched_again_unless_asked_to() {
    let world = World::new();
    let film = noise(200_000);
    for (film_is, other) in
        [("one/first/film", "one/first/a"), ("two/second/other-name", "two/second/b")]
    {
        world.write(film_is, &film);
        world.write(other, &film[..1000]); // a folder of one file would be a file
    }
    for (from, to) in [("one/first", "one.torrent"), ("two/second", "two.torrent")] {
        let create = ["create", from, "-o", to, "--piece-length", "32K", "--format", "v2"];
        world.run(&create).expect(0);
    }
    // The first is there already; it is remembered where.
    let here = ["get", "one.torrent", "-o", "one", "--json"];
    world.run(&[&here[..], &LOCAL].concat()).expect(0);
    let get = |out: &str, extra: &[&str]| {
        let start = ["get", "two.torrent", "-o", out, "--json", "--wait-peers", "1"];
        world.run(&[&start[..], &LOCAL, extra].concat())
    };
    let off = get("off", &["--no-search"]).expect(4);
    assert_eq!(off.event("summary")["verified"], 0, "nobody else has it");
    let explain = ["explain", "two.torrent", "-o", "off", "--json", "--for", "1", "--no-search"];
    let explained = world.run(&[&explain[..], &LOCAL].concat()).expect(0).json();
    assert_eq!(explained["verified"], 0);
    let stream = ["stream", "two.torrent", "-o", "off", "--file", "other-name"];
    let stream = [&stream[..], &["--wait-peers", "1", "--no-search"], &LOCAL].concat();
    world.run(&stream).expect(4);
    let done = get("out", &[]).expect(0);
    let taken = done.event("file_taken");
    assert!(taken["from"].as_str().is_some_and(|from| from.ends_with("one/first/film")), "{taken}");
    let summary = done.event("summary");
    assert_eq!((&summary["downloaded"], &summary["complete"]), (&0.into(), &true.into()));
    assert!(world.read("out/second/other-name") == film);
    assert!(world.read("one/first/film") == film);
}
