//! `move` and `rename` on the saved state, and the commands that go on from it.

use crate::process::Running;
use crate::world::World;

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

/// `file.bin`, downloaded into `out`.
fn downloaded(world: &World) -> Vec<u8> {
    let data = world.torrent("file.bin", 700_001, "64K");
    let seed = ["seed", "file.bin.torrent", "data", "--json"];
    let mut seed: Running = world.start(&[&seed[..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    world.run(&get("out", &["--peer", &addr])).expect(0);
    data
}

fn get<'a>(root: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["get", "file.bin.torrent", "-o", root, "--json"][..], &LOCAL, extra].concat()
}

#[test]
fn what_was_moved_goes_on_at_its_new_place_without_hashing() {
    let world = World::new();
    let data = downloaded(&world);
    let words = ["move", "file.bin.torrent", "deep/new", "--from", "out", "--json"];
    let done = world.run(&words).expect(0);
    assert_eq!(done.event("moved")["left_behind"], serde_json::json!([]));
    assert!(world.read("deep/new/file.bin") == data);
    assert_eq!(world.names_in("out"), [""; 0]);
    let again = world.run(&get("deep/new", &[])).expect(0);
    let checked = again.event("checked");
    assert_eq!((checked["resumed"].as_u64(), checked["hashed"].as_u64()), (Some(700_001), Some(0)));
}

#[test]
fn a_name_in_the_way_is_told_and_nothing_moves() {
    let world = World::new();
    let data = downloaded(&world);
    world.write("new/file.bin", b"somebody's");
    let done = world.run(&["move", "file.bin.torrent", "new", "--from", "out"]).expect(5);
    assert!(done.err.contains("exists already"), "{}", done.err);
    assert_eq!(world.read("new/file.bin"), b"somebody's");
    assert!(world.read("out/file.bin") == data);
    assert_eq!(world.names_in("new"), ["file.bin"]);
    world.run(&get("out", &[])).expect(0);
}

#[test]
fn a_new_name_is_known_to_the_next_command() {
    let world = World::new();
    let data = downloaded(&world);
    let rename = |name| ["rename", "file.bin.torrent", "0", name, "--from", "out"];
    world.run(&rename("sub/other.bin")).expect(0);
    assert!(world.read("out/sub/other.bin") == data);
    let again = world.run(&get("out", &[])).expect(0).event("checked");
    assert_eq!(again["hashed"], 0);
    assert_eq!(world.names_in("out"), ["sub"]);
    world.run(&rename("plain.bin")).expect(0);
    assert_eq!(world.names_in("out/sub"), ["plain.bin"], "it stays in its folder");
    for outside in ["../plain.bin", "/plain.bin"] {
        let done = world.run(&rename(outside)).expect(2);
        assert!(done.err.contains("below the download folder"), "{}", done.err);
    }
    world.run(&["rename", "file.bin.torrent", "*.avi", "x", "--from", "out"]).expect(2);
}
