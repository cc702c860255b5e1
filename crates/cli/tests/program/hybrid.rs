//! The commands with hybrids (BEP 52): both names are shown, either leads to the same download, and
//! padding is no file.

use std::fs;

use serde_json::Value;

use crate::process::Running;
use crate::world::{World, noise};

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];
const NAMES: [&str; 3] = ["a.mkv", "b.txt", "sub/c.mkv"];

/// `tree.torrent`, a hybrid of three files with padding between them, and what `info` says of it.
fn tree(world: &World) -> Value {
    for (name, size) in NAMES.iter().zip([70_000, 1000, 90_000]) {
        world.write(&format!("data/tree/{name}"), &noise(size));
    }
    let create = ["create", "data/tree", "-o", "tree.torrent", "--piece-length", "32K"];
    world.run(&[&create[..], &["--format", "hybrid"]].concat()).expect(0);
    world.run(&["info", "tree.torrent", "--json"]).expect(0).json()
}

fn seed(world: &World) -> (Running, String) {
    let mut seed = world.start(&[&["seed", "tree.torrent", "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    (seed, addr)
}

fn get<'a>(sources: &[&'a str], extra: &[&'a str]) -> Vec<&'a str> {
    [&["get"][..], sources, &["-o", "out", "--json"], &LOCAL, extra].concat()
}

/// A link that has the hash of one version alone.
fn link(info: &Value, v2: bool) -> String {
    let hash = |name: &str| info[name].as_str().expect("a hash").to_owned();
    if v2 {
        return format!("magnet:?xt=urn:btmh:1220{}", hash("info_hash_v2"));
    }
    format!("magnet:?xt=urn:btih:{}", hash("info_hash_v1"))
}

#[track_caller]
fn names_both(said: &Value, info: &Value) {
    for name in ["info_hash", "info_hash_v1", "info_hash_v2"] {
        assert!(said[name].is_string() && said[name] == info[name], "{name}: {said}");
    }
}

fn is_whole(world: &World) -> bool {
    let same = |name: &str| {
        world.read(&format!("out/tree/{name}")) == world.read(&format!("data/tree/{name}"))
    };
    NAMES.iter().all(|name| same(name)) && world.names_in("out/tree") == ["a.mkv", "b.txt", "sub"]
}

#[test]
fn every_command_shows_both_names() {
    let world = World::new();
    let info = tree(&world);
    let told = ["seed", "tree.torrent", "data", "--json"];
    let mut seed = world.start(&[&told[..], &LOCAL].concat());
    let seeding = seed.event("seeding");
    names_both(&seeding, &info);
    let addr = seeding["addresses"][0].as_str().expect("an address");
    let done = world.run(&get(&["tree.torrent"], &["--peer", addr])).expect(0);
    names_both(&done.event("summary"), &info);
    names_both(&world.run(&["check", "tree.torrent", "out", "--json"]).expect(0).json(), &info);
    let whole = world.read("data/tree/b.txt");
    let stream = ["stream", "tree.torrent", "--file", "b.txt", "--peer", addr];
    let streamed = world.run(&[&stream[..], &LOCAL].concat()).expect(0);
    assert_eq!(streamed.out, whole);
    // A byte that both descriptions know.
    let mut bytes = world.read("out/tree/b.txt");
    bytes[500] ^= 1;
    fs::write(world.path("out/tree/b.txt"), bytes).expect("it is there");
    let damaged = world.run(&["check", "tree.torrent", "out", "--json"]).expect(6);
    names_both(&damaged.documents()[0], &info);
}

#[test]
fn a_link_by_either_hash_goes_on_with_what_the_file_began() {
    let world = World::new();
    let info = tree(&world);
    let (seed, addr) = seed(&world);
    let (v1, v2) = (link(&info, false), link(&info, true));
    let first = get(&["tree.torrent"], &["--peer", &addr, "--files", "a.mkv"]);
    let first = world.run(&first).expect(0).event("summary");
    assert!(first["downloaded"].as_u64() >= Some(70_000), "{first}");
    let rest = world.run(&get(&[&v2], &["--peer", &addr, "--files", "*"])).expect(0);
    let rest = rest.event("summary");
    names_both(&rest, &info);
    assert!(rest["resumed"].as_u64() >= Some(70_000), "{rest}");
    assert!(is_whole(&world));
    drop(seed);
    // Nobody is left, and nobody is needed: neither for pieces nor for metadata or layers.
    for source in [&v1, &v2] {
        let again = world.run(&get(&[source], &["--wait-peers", "5"])).expect(0).event("summary");
        assert_eq!(
            (again["downloaded"].clone(), again["complete"].clone()),
            (0.into(), true.into())
        );
    }
}

#[test]
fn one_torrent_by_all_its_names_is_one_download() {
    let world = World::new();
    let info = tree(&world);
    let (_seed, addr) = seed(&world);
    let (v1, v2) = (link(&info, false), link(&info, true));
    let done = world.run(&get(&["tree.torrent", &v1, &v2], &["--peer", &addr])).expect(0);
    let summaries = done.documents().into_iter().filter(|said| said["event"] == "summary");
    assert_eq!(summaries.count(), 1);
    assert!(is_whole(&world));
}

#[test]
fn padding_is_no_file() {
    let world = World::new();
    let info = tree(&world);
    let (_seed, addr) = seed(&world);
    let pads = info["files"].as_array().expect("files");
    let pads: Vec<_> = pads.iter().filter(|file| file["pad"] == true).collect();
    assert_eq!(pads.len(), 3, "{info}");
    // Nothing that is chosen by a pattern is padding, nor may its number be named.
    let number = pads[0]["index"].to_string();
    for choice in [".pad/*", "*.pad*", &number] {
        world.run(&get(&["tree.torrent"], &["--peer", &addr, "--files", choice])).expect(2);
    }
    let done = world.run(&get(&["tree.torrent"], &["--peer", &addr, "--files", "*.mkv"])).expect(0);
    let done = done.event("summary");
    assert_eq!(done["left"], 0, "{done}");
    assert_eq!(world.names_in("out/tree"), ["a.mkv", "sub"]);
    world.run(&get(&["tree.torrent"], &["--peer", &addr, "--files", "*"])).expect(0);
    assert!(is_whole(&world));
}
