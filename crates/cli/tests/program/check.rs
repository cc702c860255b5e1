//! `check`: good data ends with 0, what can't be read with 5, anything else with 6 and the names of
//! what is wrong.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use crate::world::{World, noise};

#[test]
fn good_data() {
    let world = World::new();
    world.torrent("good.bin", 100_000, "16K");
    let done = world.run(&["check", "good.bin.torrent", "data"]).expect(0);
    assert!(done.text().contains('7'), "no piece count in {}", done.text());
    let report = world.run(&["check", "good.bin.torrent", "data", "--json"]).expect(0).json();
    assert_eq!(report["complete"], true);
    assert_eq!(report["good"], 7);
    assert_eq!(report["damaged"], serde_json::json!([]));
}

#[test]
fn a_damaged_byte_names_its_file_and_piece() {
    let world = World::new();
    world.torrent("hurt.bin", 100_000, "16K");
    let mut file = OpenOptions::new().write(true).open(world.path("data/hurt.bin")).expect("it is");
    file.seek(SeekFrom::Start(3 * 16_384 + 5)).expect("within");
    file.write_all(b"\x00\x01").expect("it is writable");
    drop(file);

    let done = world.run(&["check", "hurt.bin.torrent", "data"]).expect(6);
    assert!(done.text().contains("hurt.bin") && done.text().contains("piece 3"), "{}", done.text());
    let documents =
        world.run(&["check", "hurt.bin.torrent", "data", "--json"]).expect(6).documents();
    assert_eq!(documents[0]["damaged"], serde_json::json!([3]));
    assert_eq!(documents[0]["good"], 6);
    assert_eq!(documents[0]["complete"], false);
    assert_eq!(documents.last().expect("some")["exit_code"], 6);
}

#[test]
fn missing_and_short_files_are_named() {
    let world = World::new();
    for name in ["kept", "gone", "cut"] {
        world.write(&format!("data/tree/{name}"), &noise(16_384 * 2));
    }
    world.run(&["create", "data/tree", "-o", "t.torrent", "--piece-length", "16K"]).expect(0);
    fs::remove_file(world.path("data/tree/gone")).expect("it was there");
    let cut =
        OpenOptions::new().write(true).open(world.path("data/tree/cut")).expect("it is there");
    cut.set_len(20_000).expect("it can be cut");

    let done = world.run(&["check", "t.torrent", "data"]).expect(6);
    let text = done.text();
    assert!(text.contains("tree/gone") && text.contains("tree/cut"), "{text}");
    assert!(!text.contains("tree/kept"), "{text}");
    let report =
        world.run(&["check", "t.torrent", "data", "--json"]).expect(6).documents().remove(0);
    // In the torrent's order: cut, gone, kept.
    assert_eq!(report["missing"], serde_json::json!([1, 2, 3]));
    assert_eq!(report["damaged"], serde_json::json!([]));
}

#[test]
fn a_folder_that_is_not_there() {
    let world = World::new();
    world.torrent("x.bin", 1000, "16K");
    world.run(&["check", "x.bin.torrent", "nowhere"]).expect(5);
    assert!(!world.path("nowhere").exists(), "check must not make anything");
}

#[test]
fn what_can_not_be_read_is_told_apart_from_damage() {
    let world = World::new();
    world.torrent("x.bin", 40_000, "16K");
    fs::remove_file(world.path("data/x.bin")).expect("it is there");
    fs::create_dir(world.path("data/x.bin")).expect("the name is free");
    let done = world.run(&["check", "x.bin.torrent", "data"]).expect(5);
    assert!(done.text().contains("x.bin"), "{}", done.text());
}
