//! `--limit-at`: limits for times of the week bind what really moves.

use std::time::{Duration, Instant};

use crate::world::World;

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

#[test]
fn what_a_schedule_says_of_now_binds() {
    let world = World::new();
    world.torrent("file.bin", 250_000, "32K");
    let seed = [&["seed", "file.bin.torrent", "data", "--json"][..], &LOCAL].concat();
    let mut seed = world.start(&seed);
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    let get = ["get", "file.bin.torrent", "-o", "out", "--peer", &addr];
    let at = ["--limit-at", "mon-sun 00:00-24:00 down=100K", "--download-limit", "1G"];
    let begun = Instant::now();
    world.run(&[&get[..], &LOCAL, &at].concat()).expect(0);
    // A quarter of a second's worth may have been saved up, and one block is owed at the end.
    let shortest = Duration::from_secs_f64((250_000.0 - 25_600.0 - 16_384.0) / 102_400.0);
    assert!(begun.elapsed() >= shortest, "{:?}", begun.elapsed());
}

#[test]
fn a_schedule_that_is_none_is_refused() {
    let world = World::new();
    world.torrent("file.bin", 1000, "16K");
    let get = ["get", "file.bin.torrent", "--limit-at", "someday 08:00-18:00 down=1M"];
    let done = world.run(&[&get[..], &LOCAL].concat()).expect(2);
    assert!(done.err.contains("`someday` is no day"), "{}", done.err);
}

#[test]
fn a_proxy_that_is_none_is_refused_without_its_password() {
    let world = World::new();
    world.torrent("file.bin", 1000, "16K");
    for url in ["socks4://user:secret@127.0.0.1:1", "user:secret@127.0.0.1"] {
        let get = ["get", "file.bin.torrent", "--proxy", url];
        let done = world.run(&[&get[..], &LOCAL].concat()).expect(2);
        assert!(done.err.contains("--proxy") && !done.err.contains("secret"), "{}", done.err);
    }
    let get = ["get", "file.bin.torrent", "--proxy", "http://127.0.0.1:1", "--transport", "utp"];
    let done = world.run(&[&get[..], &LOCAL].concat()).expect(2);
    assert!(done.err.contains("uTP can't go through the proxy"), "{}", done.err);
}

/// Where nobody sees it who lists processes.
#[cfg(unix)]
#[test]
fn a_proxy_may_be_named_in_the_environment() {
    let world = World::new();
    world.torrent("file.bin", 1000, "16K");
    let get = format!("peerless get file.bin.torrent {}", LOCAL.join(" "));
    let line =
        format!("export PEERLESS_PROXY=http://user:secret@127.0.0.1:1; {get} --transport utp");
    let done = world.shell(&line).expect(2);
    assert!(done.err.contains("uTP can't go through the proxy"), "{}", done.err);
    assert!(!done.err.contains("secret"), "{}", done.err);
}

/// Its whole point is that others come to it.
#[cfg(unix)]
#[test]
fn what_can_not_go_through_a_proxy_does_not_run_when_the_environment_names_one() {
    let world = World::new();
    world.write("data/file.bin", b"payload");
    let done =
        world.shell("export PEERLESS_PROXY=socks5://127.0.0.1:1; peerless share data").expect(2);
    assert!(done.err.contains("PEERLESS_PROXY is set"), "{}", done.err);
    let check = "export PEERLESS_PROXY=; peerless get absent.torrent --no-dht";
    let done = world.shell(check).expect(3);
    assert!(done.err.contains("absent.torrent"), "an empty one is none: {}", done.err);
}
