//! `edit`: what stands around a torrent changes, the torrent does not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::world::{World, noise};

fn made(world: &World) {
    world.write("data/tree/a.bin", &noise(70_000));
    world.write("data/tree/b.bin", &noise(10));
    let told = [
        "create",
        "data/tree",
        "-o",
        "t.torrent",
        "--format",
        "hybrid",
        "--tracker",
        "http://one.example/announce",
        "--tracker",
        "udp://two.example:69",
        "--web-seed",
        "http://seed.example/",
        "--comment",
        "old",
        "--date",
        "5",
    ];
    world.run(&told).expect(0);
}

fn info(world: &World, path: &str) -> serde_json::Value {
    world.run(&["info", path, "--json"]).expect(0).json()
}

#[test]
fn trackers_seeds_and_words_change_and_the_hash_does_not() {
    let world = World::new();
    made(&world);
    let before = info(&world, "t.torrent");
    let told = [
        "edit",
        "t.torrent",
        "--add-tracker",
        "1=https://beside.example/announce",
        "--add-tracker",
        "https://last.example/announce",
        "--replace-tracker",
        "udp://two.example:69",
        "udp://new.example:69",
        "--remove-tracker",
        "http://one.example/announce",
        "--add-web-seed",
        "http://more.example/",
        "--remove-web-seed",
        "http://seed.example/",
        "--comment",
        "new",
        "--created-by",
        "me",
        "--no-date",
        "--json",
    ];
    let edited = world.run(&told).expect(0).json();
    let after = info(&world, "t.torrent");
    let tiers = serde_json::json!([
        ["https://beside.example/announce"],
        ["udp://new.example:69"],
        ["https://last.example/announce"],
    ]);
    for said in [&edited, &after] {
        assert_eq!(said["trackers"], tiers);
        assert_eq!(said["web_seeds"], serde_json::json!(["http://more.example/"]));
        assert_eq!((&said["comment"], &said["created_by"]), (&"new".into(), &"me".into()));
        assert!(said["creation_date"].is_null());
        assert_eq!(said["info_hash_v1"], before["info_hash_v1"]);
        assert_eq!(said["info_hash_v2"], before["info_hash_v2"]);
    }
    assert_eq!((&after["files"], &after["lacks_piece_layers"]), (&before["files"], &false.into()));
}

#[test]
fn everything_goes_and_another_file_is_written() {
    let world = World::new();
    made(&world);
    let before = world.read("t.torrent");
    let told = [
        "edit",
        "t.torrent",
        "-o",
        "bare.torrent",
        "--no-trackers",
        "--no-web-seeds",
        "--no-comment",
    ];
    let said = world.run(&told).expect(0);
    assert!(said.text().contains("as before"), "{}", said.text());
    assert_eq!(world.read("t.torrent"), before, "left alone");
    let bare = info(&world, "bare.torrent");
    assert_eq!(bare["trackers"], serde_json::json!([]));
    assert_eq!(bare["info_hash"], info(&world, "t.torrent")["info_hash"]);
    world.run(&told).expect(5); // it is there
    let all = [
        "edit",
        "bare.torrent",
        "--tracker",
        "http://x.example/",
        "--web-seed",
        "http://y.example/",
    ];
    world.run(&all).expect(0);
    assert_eq!(
        info(&world, "bare.torrent")["trackers"],
        serde_json::json!([["http://x.example/"]])
    );
}

#[test]
fn what_can_not_be_done_changes_nothing() {
    let world = World::new();
    made(&world);
    let before = world.read("t.torrent");
    let cases: [(&[&str], i32); 9] = [
        (&[], 2),
        (&["--remove-tracker", "http://nobody.example/"], 2),
        (&["--replace-tracker", "http://nobody.example/", "http://new.example/"], 2),
        (&["--replace-tracker", "udp://two.example:69", "nonsense"], 2),
        (&["--add-tracker", "3=http://new.example/"], 2),
        (&["--add-tracker", "udp://two.example:69"], 2),
        (&["--add-tracker", "nonsense"], 2),
        (&["--remove-web-seed", "http://nobody.example/"], 2),
        (&["--no-comment", "--comment", "x"], 2),
    ];
    for (arguments, code) in cases {
        world.run(&[&["edit", "t.torrent"], arguments].concat()).expect(code);
        assert!(world.read("t.torrent") == before, "{arguments:?}");
    }
    world.write("page.torrent", b"<html>");
    world.run(&["edit", "page.torrent", "--no-comment"]).expect(3);
    world.run(&["edit", "missing.torrent", "--no-comment"]).expect(3);
}

#[test]
fn a_link_and_permissions_stay() {
    let world = World::new();
    made(&world);
    fs::set_permissions(world.path("t.torrent"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("t.torrent", world.path("link.torrent")).unwrap();
    world.run(&["edit", "link.torrent", "--comment", "new"]).expect(0);
    assert!(world.path("link.torrent").is_symlink());
    assert_eq!(fs::metadata(world.path("t.torrent")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(info(&world, "t.torrent")["comment"], "new");
}
