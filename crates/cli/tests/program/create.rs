//! `create`: the same input gives the same bytes, and nothing is replaced unasked.

use std::fs;

use crate::world::{World, noise};

fn folder(world: &World) {
    world.write("data/tree/b/two.bin", &noise(70_000));
    world.write("data/tree/a.bin", &noise(33_333));
    world.write("data/tree/empty", b"");
}

#[test]
fn same_input_same_bytes() {
    let world = World::new();
    folder(&world);
    let make = |output: &str| {
        let options = ["--tracker", "http://t.example/announce", "--piece-length", "32K"];
        let arguments = [&["create", "data/tree", "-o", output][..], &options].concat();
        world.run(&arguments).expect(0);
        world.read(output)
    };
    let first = make("first.torrent");
    // Another order of making, other times.
    fs::remove_dir_all(world.path("data")).expect("it is there");
    world.write("data/tree/empty", b"");
    world.write("data/tree/a.bin", &noise(33_333));
    world.write("data/tree/b/two.bin", &noise(70_000));
    assert_eq!(make("second.torrent"), first);
}

#[test]
fn info_reads_what_create_was_told() {
    let world = World::new();
    folder(&world);
    let told = [
        "create",
        "data/tree",
        "-o",
        "made.torrent",
        "--tracker",
        "http://one.example/announce",
        "--tracker",
        "udp://two.example:69",
        "--piece-length",
        "1M",
        "--private",
        "--web-seed",
        "http://seed.example/",
        "--comment",
        "a comment",
        "--date",
        "86400",
        "--json",
    ];
    let made = world.run(&told).expect(0).json();
    let info = world.run(&["info", "made.torrent", "--json"]).expect(0).json();
    assert_eq!(made["info_hash"], info["info_hash"]);
    assert_eq!(made["output"], "made.torrent");
    assert_eq!(info["name"], "tree");
    assert_eq!(info["piece_length"], 1 << 20);
    assert_eq!(info["private"], true);
    assert_eq!(info["comment"], "a comment");
    assert_eq!(info["creation_date"], 86_400);
    assert_eq!(info["web_seeds"], serde_json::json!(["http://seed.example/"]));
    let trackers = serde_json::json!([["http://one.example/announce"], ["udp://two.example:69"]]);
    assert_eq!(info["trackers"], trackers);
    let paths: Vec<&str> = info["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file["path"].as_str().expect("a path"))
        .collect();
    assert_eq!(paths, ["tree/a.bin", "tree/b/two.bin", "tree/empty"]);
}

#[test]
fn every_format_is_made_and_shown() {
    let world = World::new();
    folder(&world);
    std::os::unix::fs::symlink("a.bin", world.path("data/tree/link")).expect("a link");
    for (format, v1, v2) in [("v1", true, false), ("v2", false, true), ("hybrid", true, true)] {
        let file = format!("{format}.torrent");
        let told = ["create", "data/tree", "-o", &file, "--format", format, "--symlinks", "--json"];
        let made = world.run(&told).expect(0).json();
        let info = world.run(&["info", &file, "--json"]).expect(0).json();
        assert_eq!(info["version"], format);
        for (hash, there) in [("info_hash_v1", v1), ("info_hash_v2", v2)] {
            assert_eq!((made[hash].is_string(), &made[hash]), (there, &info[hash]), "{format}");
        }
        let link = info["magnet"].as_str().expect("a link");
        assert_eq!((link.contains("urn:btih:"), link.contains("urn:btmh:1220")), (v1, v2));
        let files = info["files"].as_array().expect("files");
        assert_eq!(
            files.iter().filter(|file| file["root"].is_string()).count(),
            2 * usize::from(v2)
        );
        assert!(files.iter().any(|file| file["symlink"] == true), "{format}");
        let text = world.run(&["info", &file]).expect(0).text();
        let hash = info["info_hash"].as_str().expect("a hash");
        assert!(text.contains(&format!("Version:     {format}")) && text.contains(hash), "{text}");
        assert_eq!(text.matches("root ").count(), 2 * usize::from(v2), "{text}");
    }
    let odd = ["create", "data/tree", "-o", "odd", "--format", "v2", "--piece-length", "24K"];
    world.run(&odd).expect(2);
}

#[test]
fn no_date_and_no_program_unasked() {
    let world = World::new();
    world.torrent("plain.bin", 1000, "16K");
    let info = world.run(&["info", "plain.bin.torrent", "--json"]).expect(0).json();
    assert!(info["creation_date"].is_null() && info["created_by"].is_null(), "{info}");
}

#[test]
fn an_output_is_replaced_only_by_force() {
    let world = World::new();
    world.write("data/new.bin", &noise(100));
    world.write("there.torrent", b"precious");
    let arguments = ["create", "data/new.bin", "-o", "there.torrent"];
    let done = world.run(&arguments);
    assert_ne!(done.code, Some(0));
    assert!(done.err.contains("there.torrent") && done.err.contains("--force"), "{}", done.err);
    assert_eq!(world.read("there.torrent"), b"precious");

    world.run(&[&arguments[..], &["--force"]].concat()).expect(0);
    world.run(&["info", "there.torrent"]).expect(0);
    let left: Vec<String> = world.names_in(".");
    assert!(!left.iter().any(|name| name.contains("part")), "{left:?}");
}

#[test]
fn the_default_output_is_here_under_the_payloads_name() {
    let world = World::new();
    world.write("data/named.bin", &noise(100));
    world.run(&["create", "data/named.bin"]).expect(0);
    world.run(&["info", "named.bin.torrent"]).expect(0);
}

#[test]
fn impossible_requests() {
    let world = World::new();
    world.write("data/some.bin", &noise(100));
    for bad in ["3M", "1K", "32M", "much", "-1", ""] {
        world.run(&["create", "data/some.bin", &format!("--piece-length={bad}")]).expect(2);
    }
    let done = world.run(&["create", "data/absent.bin"]).expect(5);
    assert!(done.err.contains("absent.bin"), "{}", done.err);
    assert_eq!(world.names_in("."), ["data", "home", "state", "tmp"]);
}
