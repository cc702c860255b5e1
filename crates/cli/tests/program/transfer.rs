//! `get`, `seed` and `piece` among themselves over loopback, and every way to be stopped.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::handshake::info_hash;
use crate::peer::partial_seed;
use crate::process::{LIMIT, Running};
use crate::world::{World, noise};

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

/// Seeds `data` and gives the address it listens on.
fn seed(world: &World, torrent: &str) -> (Running, String) {
    let mut seed = world.start(&[&["seed", torrent, "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    (seed, addr)
}

fn get<'a>(torrent: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["get", torrent, "-o", "out", "--json"][..], &LOCAL, extra].concat()
}

#[test]
fn a_file_from_a_seed() {
    let world = World::new();
    let data = world.torrent("file.bin", 5_000_001, "64K");
    let (_seed, addr) = seed(&world, "file.bin.torrent");
    let done = world.run(&get("file.bin.torrent", &["--peer", &addr])).expect(0);
    assert!(world.read("out/file.bin") == data, "the bytes differ");
    let summary = done.event("summary");
    assert_eq!(summary["name"], "file.bin");
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["downloaded"], 5_000_001);
    assert_eq!(summary["wasted"], 0);
    assert_eq!(summary["failed"], 0);

    // Complete already: no peer is needed.
    let again = world.run(&get("file.bin.torrent", &[])).expect(0).event("summary");
    assert_eq!(again["downloaded"], 0);
    assert_eq!(again["complete"], true);
}

#[test]
fn of_several_torrents_those_that_can_go_on() {
    let world = World::new();
    let data = world.torrent("file.bin", 300_000, "64K");
    world.torrent("blocked.bin", 300_000, "32K");
    fs::create_dir_all(world.path("out/blocked.bin")).expect("a folder where a file belongs");
    let (_seed, addr) = seed(&world, "file.bin.torrent");
    let torrents = ["blocked.bin.torrent", "none.torrent", "file.bin.torrent"];
    let arguments = [&["get"], &torrents[..], &["-o", "out", "--json", "--peer", &addr], &LOCAL];
    let done = world.run(&arguments.concat()).expect(3); // as the first failure
    assert!(world.read("out/file.bin") == data, "the bytes differ");
    let errors = done.documents().into_iter().filter(|document| document["event"] == "error");
    let codes: Vec<_> = errors.map(|error| error["exit_code"].clone()).collect();
    assert_eq!(codes, [3, 5], "each is told once");
    assert_eq!(done.event("summary")["complete"], true);
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_does_not_end_a_download() {
    let world = World::new();
    let data = world.torrent("file.bin", 3_000_000, "64K");
    let (_seed, addr) = seed(&world, "file.bin.torrent");
    let line = get("file.bin.torrent", &["--peer", &addr]).join(" ");
    world.shell(&format!("(peerless {line}; echo $? >code) | head -n 1")).expect(0);
    assert_eq!(world.read("code"), b"0\n");
    assert!(world.read("out/file.bin") == data, "the bytes differ");
    // Its state was saved too: nothing is hashed or fetched again.
    let again = world.run(&get("file.bin.torrent", &[])).expect(0).event("summary");
    assert_eq!((&again["resumed"], &again["downloaded"]), (&3_000_000.into(), &0.into()));
}

#[test]
#[cfg(unix)]
fn a_disk_that_takes_no_output_is_an_error() {
    let world = World::new();
    world.torrent("file.bin", 100_000, "64K");
    let done = world.shell("peerless info file.bin.torrent >/dev/full").expect(5);
    assert!(done.err.contains("stdout"), "{}", done.err);
    let (_seed, addr) = seed(&world, "file.bin.torrent");
    let piece = format!("peerless piece file.bin.torrent 1 --peer {addr} {}", LOCAL.join(" "));
    world.shell(&format!("{piece} >/dev/full")).expect(5);
    world.shell(&format!("{piece} | head -c 1")).expect(0);

    let rest = &noise(100_000)[65_536..];
    world.shell(&format!("{piece} -o piece.bin")).expect(0);
    assert!(world.read("piece.bin") == rest);
    world.write("piece.bin", b"mine");
    world.shell(&format!("{piece} -o piece.bin")).expect(5);
    assert_eq!(world.read("piece.bin"), b"mine");
    world.shell(&format!("{piece} -o piece.bin --force")).expect(0);
    assert!(world.read("piece.bin") == rest);
}

#[test]
fn a_tree_from_a_seed() {
    let world = World::new();
    let files = [("a.bin", 100_000), ("b/c.bin", 65_537), ("b/empty", 0), ("ü.txt", 1)];
    for (name, size) in files {
        world.write(&format!("data/tree/{name}"), &noise(size));
    }
    world.run(&["create", "data/tree", "-o", "t.torrent", "--piece-length", "32K"]).expect(0);
    let (_seed, addr) = seed(&world, "t.torrent");
    world.run(&get("t.torrent", &["--peer", &addr])).expect(0);
    for (name, size) in files {
        assert!(world.read(&format!("out/tree/{name}")) == noise(size), "{name} differs");
    }
}

#[test]
fn one_piece_to_stdout_and_to_a_file() {
    let world = World::new();
    let data = world.torrent("file.bin", 100_000, "16K");
    let (_seed, addr) = seed(&world, "file.bin.torrent");
    let last = |extra: &[&str]| {
        let arguments = ["piece", "file.bin.torrent", "6", "--peer", &addr];
        world.run(&[&arguments[..], &LOCAL, extra].concat()).expect(0)
    };
    assert_eq!(last(&[]).out, data[6 * 16_384..]);
    let report = last(&["-o", "six.bin", "--json"]).json();
    assert_eq!(world.read("six.bin"), data[6 * 16_384..]);
    assert_eq!(report["length"], 100_000 - 6 * 16_384);

    let beyond = ["piece", "file.bin.torrent", "7", "--peer", &addr];
    world.run(&[&beyond[..], &LOCAL].concat()).expect(2);
    // The JSON and the piece can't both have stdout.
    let both = ["piece", "file.bin.torrent", "6", "--peer", &addr, "--json"];
    world.run(&[&both[..], &LOCAL].concat()).expect(2);
}

#[test]
fn no_peers_is_4() {
    let world = World::new();
    world.torrent("lonely.bin", 1000, "16K");
    let done = world.run(&get("lonely.bin.torrent", &["--wait-peers", "1"])).expect(4);
    assert!(done.err.starts_with("error: ") && done.err.contains("lonely.bin"), "{}", done.err);
    assert_eq!(done.event("summary")["complete"], false);
    assert_eq!(done.event("error")["exit_code"], 4);
}

#[test]
fn nothing_to_seed_is_6() {
    let world = World::new();
    world.torrent("moved.bin", 100_000, "16K");
    fs::create_dir(world.path("elsewhere")).expect("it is new");
    let arguments = [&["seed", "moved.bin.torrent", "elsewhere"][..], &LOCAL].concat();
    let done = world.run(&arguments).expect(6);
    assert!(done.err.contains("moved.bin") || done.err.contains("piece"), "{}", done.err);
}

#[cfg(unix)]
#[test]
fn a_seed_ends_on_sigterm() {
    let world = World::new();
    world.torrent("file.bin", 100_000, "16K");
    let (mut seed, _) = seed(&world, "file.bin.torrent");
    seed.signal("TERM");
    let done = seed.finish(Duration::from_secs(10)).expect(130);
    assert_eq!(done.event("summary")["name"], "file.bin");
}

const PIECE: usize = 16_384 * 4;
const PIECES: usize = 40;
const SERVED: usize = 25;

/// Starts a `get` that has exactly the first 25 pieces on disk and waits for more.
fn interrupted_half_way(world: &World) -> (Vec<u8>, Running) {
    let data = world.torrent("half.bin", PIECES * PIECE, "64K");
    let hash = info_hash(world, "half.bin.torrent");
    let (addr, _) = partial_seed(hash, data.clone(), PIECE, SERVED * PIECE);
    let addr = addr.to_string();
    let running = world.start(&get("half.bin.torrent", &["--peer", &addr]));
    let here = world.path("out/half.bin");
    crate::process::until("25 pieces on disk", || {
        fs::read(&here).is_ok_and(|bytes| bytes.get(..SERVED * PIECE) == data.get(..SERVED * PIECE))
    });
    (data, running)
}

/// The rest comes from a real seed: what was there is not fetched again.
fn goes_on(world: &World, data: &[u8]) {
    let (_seed, addr) = seed(world, "half.bin.torrent");
    let summary =
        world.run(&get("half.bin.torrent", &["--peer", &addr])).expect(0).event("summary");
    assert!(world.read("out/half.bin") == data, "the bytes differ");
    assert_eq!(summary["downloaded"], (PIECES - SERVED) * PIECE, "{summary}");
}

#[cfg(unix)]
#[test]
fn sigint_saves_and_the_next_run_goes_on() {
    let world = World::new();
    let (data, mut running) = interrupted_half_way(&world);
    running.signal("INT");
    let done = running.finish(Duration::from_secs(10)).expect(130);
    let summary = done.event("summary");
    assert_eq!(summary["complete"], false);
    assert_eq!(summary["verified"], SERVED * PIECE);
    goes_on(&world, &data);
}

#[cfg(unix)]
#[test]
fn kill_9_loses_nothing_that_was_on_disk() {
    let world = World::new();
    let (data, mut running) = interrupted_half_way(&world);
    running.signal("KILL");
    assert_eq!(running.finish(LIMIT).code, None, "it was killed");
    goes_on(&world, &data);
}

#[test]
fn a_folder_that_cannot_be_written_is_5() {
    let world = World::new();
    world.torrent("file.bin", 100_000, "16K");
    let mut blocked = fs::File::create(world.path("out")).expect("it is new");
    blocked.write_all(b"not a folder").expect("it is open");
    let done = world.run(&get("file.bin.torrent", &["--wait-peers", "5"])).expect(5);
    assert!(done.err.contains("out"), "{}", done.err);
}

#[test]
fn seeding_ends_by_ratio_and_by_time() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "32K");
    let arguments = ["seed", "file.bin.torrent", "data", "--json", "--ratio", "1.0"];
    let mut seed = world.start(&[&arguments[..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    let enough = ["--peer", &addr, "--seed", "--seed-time", "1s"];
    let done = world.run(&get("file.bin.torrent", &enough)).expect(0);
    assert_eq!(done.event("seeded_enough")["limit"], "time");
    assert_eq!(done.event("summary")["complete"], true);
    let ended = seed.finish(LIMIT).expect(0);
    assert_eq!(ended.event("seeded_enough")["limit"], "ratio");
    assert_eq!(ended.event("summary")["uploaded"], 300_000);
    let without = world.run(&get("file.bin.torrent", &["--ratio", "2"])).expect(2);
    assert!(without.err.contains("--seed"), "{}", without.err);
}
