//! `piece`: what it says of a torrent that has no SHA-1 of its pieces.

use crate::world::World;

#[test]
fn a_piece_of_a_v2_torrent_has_no_sha1() {
    let world = World::new();
    let data = crate::world::noise(40_000);
    world.write("data/some.bin", &data);
    let create = ["create", "data/some.bin", "--format", "v2", "--piece-length", "32K"];
    world.run(&create).expect(0);
    let local = ["--bind", "127.0.0.1", "--no-tracker"];
    let seed = [&["seed", "some.bin.torrent", "data", "--json"], &local[..]].concat();
    let mut seed = world.start(&seed);
    let addr = seed.event("seeding")["addresses"][0].as_str().expect("an address").to_owned();
    let piece = [&["piece", "some.bin.torrent", "1", "--peer", &addr], &local[..]].concat();
    let done = world.run(&piece).expect(0);
    assert_eq!(done.out, data[32_768..]);
    assert!(done.err.contains("7232 bytes") && !done.err.contains("SHA-1"), "{}", done.err);
    let to_file = world.run(&[&piece[..], &["-o", "one.bin", "--json"]].concat()).expect(0);
    assert_eq!(to_file.json()["sha1"], serde_json::Value::Null);
}
