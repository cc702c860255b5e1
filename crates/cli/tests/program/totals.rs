//! A share ratio over several runs, one of which is killed.

use engine::storage::{RecordKey, SqliteState, StateStore};

use crate::process::until;
use crate::world::World;

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

#[test]
fn a_killed_seed_remembers_what_it_sent() {
    let world = World::new();
    let bytes = world.torrent("file", 300_000, "32K");
    let seed = [&["seed", "file.torrent", "data", "--json"][..], &LOCAL].concat();
    let mut running = world.start(&seed);
    let seeding = running.event("seeding");
    let addr = seeding["addresses"][0].as_str().expect("an address").to_owned();
    let get = ["get", "file.torrent", "-o", "out", "--json", "--peer", &addr];
    let got = world.run(&[&get[..], &LOCAL].concat()).expect(0).event("summary");
    assert_eq!(got["all_time"]["downloaded"], bytes.len());
    assert!(got["all_time"]["completed_at"].is_number(), "{got}");

    let state = SqliteState::open(world.path("state/peerless")).expect("its state");
    let hash = seeding["info_hash"].as_str().expect("a hash").parse().expect("40 digits");
    let root = world.path("data").canonicalize().expect("it is there");
    let key = RecordKey { info_hash: hash, root: root.into() };
    let sent = || state.load(&key).expect("readable").map_or(0, |record| record.totals.uploaded);
    until("it is saved", || sent() == bytes.len() as u64);
    drop(running); // killed

    // The ratio was reached before the kill, so this ends by itself.
    let again = world.run(&[&seed[..], &["--ratio", "1"]].concat()).expect(0);
    assert_eq!(again.event("seeded_enough")["limit"], "ratio");
    let summary = again.event("summary");
    assert_eq!(summary["uploaded"], 0, "in this run");
    let all = &summary["all_time"];
    assert_eq!((&all["uploaded"], &all["ratio"]), (&bytes.len().into(), &1.0.into()), "{all}");
    assert!(all["seeding_seconds"].as_f64() > Some(0.0), "{all}");

    // `explain` shows both too.
    let explain = ["explain", "file.torrent", "-o", "out", "--for", "1"];
    let shown = world.run(&[&explain[..], &LOCAL].concat());
    assert!(
        shown.text().contains("in all: 293.0 KiB received, 0 B sent (ratio 0.00)"),
        "{}",
        shown.text()
    );
}
