//! `get` with files chosen, and the commands that must know of it.

use std::fs;

use crate::process::Running;
use crate::world::{World, noise};

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

/// `tree` with `a.mkv`, `b.txt` and `sub/c.mkv`, which share pieces of 32 KiB, and its seed.
fn tree(world: &World) -> (Running, String) {
    for (name, size) in [("a.mkv", 70_000), ("b.txt", 1000), ("sub/c.mkv", 90_000)] {
        world.write(&format!("data/tree/{name}"), &noise(size));
    }
    let create = ["create", "data/tree", "-o", "tree.torrent", "--piece-length", "32K"];
    world.run(&create).expect(0);
    let mut seed = world.start(&[&["seed", "tree.torrent", "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    (seed, addr)
}

fn get<'a>(addr: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let start = ["get", "tree.torrent", "-o", "out", "--json", "--peer", addr];
    [&start[..], &LOCAL, extra].concat()
}

fn chosen(world: &World) -> Vec<String> {
    let whole = |name: &&str| {
        let copy = fs::read(world.path(&format!("out/tree/{name}")));
        copy.is_ok_and(|copy| copy == world.read(&format!("data/tree/{name}")))
    };
    ["a.mkv", "b.txt", "sub/c.mkv"]
        .iter()
        .filter(|name| whole(name))
        .map(|it| (*it).into())
        .collect()
}

#[test]
fn by_number_by_pattern_and_then_the_rest() {
    let world = World::new();
    let (_seed, addr) = tree(&world);
    let info = world.run(&["info", "tree.torrent", "--json"]).expect(0).json();
    let number = |name: &str| {
        let files = info["files"].as_array().expect("files");
        let file = files.iter().find(|file| file["path"].as_str().unwrap().ends_with(name));
        file.expect("it is there")["index"].to_string()
    };
    let text = number("b.txt");
    let done = world.run(&get(&addr, &["--files", &text])).expect(0).event("summary");
    assert_eq!((done["complete"].clone(), done["left"].clone()), (true.into(), 0.into()));
    assert_eq!(chosen(&world), ["b.txt"]);
    assert_eq!(world.names_in("out/tree"), ["b.txt"], "no other, and no folder of another");
    let shown = world.run(&["info", "tree.torrent"]).expect(0).text();
    assert!(shown.contains(&format!("  {text}  ")), "the number is shown: {shown}");

    // What was chosen is remembered, and needs no peer.
    let again = ["get", "tree.torrent", "-o", "out", "--json"];
    let again = world.run(&[&again[..], &LOCAL].concat()).expect(0).event("summary");
    assert_eq!((again["downloaded"].clone(), again["complete"].clone()), (0.into(), true.into()));
    assert_eq!(world.names_in("out/tree"), ["b.txt"]);

    // `check` counts the pieces in the part store as there.
    let check = world.run(&["check", "tree.torrent", "out", "--json"]).expect(6);
    assert_eq!(check.documents()[0]["good"], 1);

    world.run(&get(&addr, &["--files", "*.mkv,*.txt", "--exclude", "sub/*"])).expect(0);
    assert_eq!(chosen(&world), ["a.mkv", "b.txt"]);
    let extra = ["--files", "*", "--sequential", "--first-last", "--high", "b.txt", "--low", "0"];
    let all = world.run(&get(&addr, &extra)).expect(0).event("summary");
    assert_eq!(chosen(&world), ["a.mkv", "b.txt", "sub/c.mkv"]);
    assert!(all["downloaded"].as_u64() < Some(100_000), "nothing twice: {all}");
    assert_eq!(world.names_in("out"), ["tree"], "the part store is gone");
}

#[test]
fn a_choice_of_nothing_is_an_error_that_names_it() {
    let world = World::new();
    let (_seed, addr) = tree(&world);
    for (extra, part) in [
        (&["--files", "9"][..], "`9`"),
        (&["--files", "*.avi"], "*.avi"),
        (&["--exclude", "*"], "no file is left"),
        (&["--files", "3-1"], "ends before it begins"),
    ] {
        let done = world.run(&get(&addr, extra)).expect(2);
        let told = done.text() + &done.err;
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!world.path("out").exists());
}

#[test]
fn what_is_in_another_folder_already_needs_no_peer() {
    let world = World::new();
    let (_seed, addr) = tree(&world);
    world.write("old/film", &world.read("data/tree/a.mkv"));
    world.write("old/deep/other", &world.read("data/tree/sub/c.mkv"));
    world.write("old/same-length", &noise(70_001));
    let done = world.run(&get(&addr, &["--reuse", "old"])).expect(0);
    assert_eq!(chosen(&world), ["a.mkv", "b.txt", "sub/c.mkv"]);
    let summary = done.event("summary");
    // The small file is of one piece, with the ends of its neighbours.
    assert!(summary["downloaded"].as_u64() <= Some(2 * 32 * 1024), "{summary}");
    assert_eq!(world.names_in("old"), ["deep", "film", "same-length"]);
    assert!(world.read("old/film") == world.read("data/tree/a.mkv"));
}
