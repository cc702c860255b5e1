//! `--ip-filter`: what lists do to a download, and what is said of lists that are no good.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

use crate::world::World;

const LOCAL: [&str; 3] = ["--bind", "127.0.0.1", "--no-tracker"];

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[test]
fn nothing_comes_from_whom_a_list_names() {
    let world = World::new();
    world.torrent("file.bin", 200_000, "64K");
    world.write("good.txt", b"192.0.2.0/24\n");
    world.write("list.p2p.gz", &packed(b"our own:127.0.0.0-127.255.255.255\nnonsense\n"));
    let mut seed =
        world.start(&[&["seed", "file.bin.torrent", "data", "--json"][..], &LOCAL].concat());
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    let get = ["get", "file.bin.torrent", "-o", "out", "--peer", &addr, "--wait-peers", "1"];
    let get = [&get[..], &LOCAL, &["--ip-filter", "good.txt"]].concat();
    let refused = [&get[..], &["--ip-filter", "list.p2p.gz", "--json"]].concat();
    let done = world.run(&refused).expect(4);
    let read = done.event("ip_filter");
    assert_eq!((&read["ranges"], &read["bad"]), (&1.into(), &1.into()));
    assert_eq!(read["first_bad"][0]["line"], 2);
    let summary = done.event("summary");
    assert_eq!((&summary["downloaded"], &summary["filtered"]), (&0.into(), &1.into()));
    let shown = world.run(&[&get[..], &["--ip-filter", "list.p2p.gz"]].concat()).expect(4);
    assert!(shown.err.contains("list.p2p.gz: 1 lines are left out"), "{}", shown.err);

    world.run(&get).expect(0);

    let shake = ["handshake", "file.bin.torrent", &addr, "--ip-filter", "list.p2p.gz"];
    let shaken = world.run(&shake).expect(14);
    assert!(shaken.err.contains("the IP filter refuses 127.0.0.1"), "{}", shaken.err);
}

#[test]
fn what_is_no_list_stops_the_command() {
    let world = World::new();
    world.torrent("file.bin", 1000, "16K");
    world.write("page.html", b"<html>\n<p>not found\n");
    for (file, says) in [("page.html", "not a list"), ("missing.txt", "can't read")] {
        let get = ["get", "file.bin.torrent", "-o", "out", "--ip-filter", file];
        let done = world.run(&[&get[..], &LOCAL].concat()).expect(2);
        assert!(done.err.contains(file) && done.err.contains(says), "{}", done.err);
    }
}
