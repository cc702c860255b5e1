//! `explain`, and what `get` says of a download that stands still or ends before it is complete.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::handshake::info_hash;
use crate::peer::{drain, greeting, once};
use crate::process::Running;
use crate::world::World;

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

fn explain<'a>(torrent: &'a str, peer: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["explain", torrent, "-o", "out", "--peer", peer][..], &LOCAL, extra].concat()
}

/// A peer that has everything and lets nobody ask.
fn choking(world: &World, torrent: &str) -> (SocketAddr, JoinHandle<()>) {
    let hash = info_hash(world, torrent);
    once(move |stream| {
        let _ = stream.write_all(&greeting(hash)); // who goes early hears less
        let _ = stream.write_all(&[0, 0, 0, 1, 14]); // it has all
        drain(stream);
    })
}

fn fact(finding: &Value, name: &str) -> Value {
    let facts = finding["evidence"].as_array().expect("evidence");
    let fact = facts.iter().find(|fact| fact["name"] == name);
    fact.unwrap_or_else(|| panic!("no {name:?} in {finding}"))["value"].clone()
}

#[test]
fn a_dead_address_is_named_first() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "64K");
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let peer = free.to_string();
    let report = world.run(&explain(
        "file.bin.torrent",
        &peer,
        &["--for", "2", "--transport", "tcp", "--json"],
    ));
    let report = report.expect(0).json();
    assert_eq!(report["complete"], false);
    let first = &report["causes"][0];
    assert_eq!(first["cause"], "unreachable");
    assert!(first["share"].as_f64().is_some_and(|share| share > 0.5), "{first}");
    assert_eq!(fact(first, "addresses"), 1);
    assert!(fact(first, "last").as_str().is_some_and(|last| last.contains(&peer)), "{first}");
    assert!(first["next_step"].as_str().is_some_and(|step| step.contains("firewall")), "{first}");
}

#[test]
fn people_read_the_cause_what_shows_it_and_the_next_step() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "64K");
    let (addr, _peer) = choking(&world, "file.bin.torrent");
    let done = world.run(&explain("file.bin.torrent", &addr.to_string(), &["--for", "2"]));
    let text = done.expect(0).text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("file.bin: 0 B of 293.0 KiB after 2s"), "{text}");
    assert!(lines[1].ends_with("%  the peers do not let us ask"), "{text}");
    assert!(lines[2].contains("peers: 1, connected: 1"), "{text}");
    assert!(lines[3].trim_start().starts_with("next: "), "{text}");
}

#[test]
fn a_download_that_completes_ends_it() {
    let world = World::new();
    let data = world.torrent("file.bin", 300_000, "64K");
    let mut seed =
        world.start(&[&["seed", "file.bin.torrent", "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    let long = ["--for", "3600", "--json"];
    let report = world.run(&explain("file.bin.torrent", &addr, &long)).expect(0).json();
    assert_eq!(report["complete"], true);
    assert!(world.read("out/file.bin") == data, "the bytes differ");
    let causes = report["causes"].as_array().expect("causes");
    let shares: f64 = causes.iter().filter_map(|cause| cause["share"].as_f64()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{report}");
}

#[test]
fn what_can_not_begin_fails_as_get_does() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "64K");
    world.run(&["explain", "none.torrent"]).expect(3);
    world.run(&["explain", "file.bin.torrent", "--for", "0"]).expect(2);
    std::fs::create_dir_all(world.path("out/file.bin")).expect("a folder where a file belongs");
    let done = world.run(&explain("file.bin.torrent", "127.0.0.1:9", &["--for", "2"])).expect(5);
    assert!(done.err.contains("file.bin"), "{}", done.err);
}

#[test]
fn a_get_that_gives_up_says_why() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "64K");
    let arguments = ["get", "file.bin.torrent", "-o", "out", "--wait-peers", "1"];
    let lonely = [&arguments[..], &LOCAL].concat();
    let text = world.run(&lonely).expect(4).text();
    assert!(text.contains("  why: no peer is known, and no tracker is asked"), "{text}");
    assert!(text.contains("next: name a peer"), "{text}");
    let json = world.run(&[&lonely[..], &["--json"]].concat()).expect(4);
    assert_eq!(json.event("summary")["why"]["cause"], "no-trackers");
}

#[cfg(unix)]
#[test]
fn a_get_that_stands_still_says_what_holds_it_up_once() {
    let world = World::new();
    world.torrent("file.bin", 300_000, "64K");
    let (addr, _peer) = choking(&world, "file.bin.torrent");
    let peer = addr.to_string();
    let arguments = ["get", "file.bin.torrent", "-o", "out", "--peer", &peer, "--json"];
    let mut get: Running = world.start(&[&arguments[..], &LOCAL].concat());
    assert_eq!(get.event("stalled")["why"]["cause"], "choked");
    get.signal("INT");
    let done = get.finish(Duration::from_secs(10)).expect(130);
    let told = done.documents().iter().filter(|document| document["event"] == "stalled").count();
    assert_eq!(told, 1);
    assert_eq!(done.event("summary")["why"]["cause"], "choked");
}
