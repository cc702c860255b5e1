//! What is said of a .torrent that was just made: what it lacks, and where it calls files something else.

use std::fs;
use std::os::unix::fs::symlink;

use crate::world::{World, noise};

fn create(world: &World, folder: &str, more: &[&str]) -> (serde_json::Value, String) {
    let words = [&["create", folder, "-o", "made.torrent", "--force"][..], more].concat();
    let document = world.run(&[&words[..], &["--json"]].concat()).expect(0).json();
    (document, world.run(&words).expect(0).err)
}

#[test]
fn what_is_left_out_is_named() {
    let world = World::new();
    world.write("data/tree/file", &noise(100));
    world.shell("mkfifo data/tree/pipe").expect(0);
    for (name, target) in [("inside", "file"), ("outside", "/etc/hostname")] {
        symlink(target, world.path("data/tree").join(name)).expect("a link");
    }
    let (document, notes) = create(&world, "data/tree", &[]);
    let all = ["data/tree/inside", "data/tree/outside", "data/tree/pipe"];
    assert_eq!(document["left_out"], serde_json::json!(all));
    assert!(all.iter().all(|name| notes.contains(name)) && notes.contains("--symlinks"), "{notes}");
    let (document, notes) = create(&world, "data/tree", &["--symlinks"]);
    assert_eq!(document["left_out"], serde_json::json!(all[1..]));
    assert!(!notes.contains(all[0]), "{notes}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_unicode_is_shown_as_far_as_it_is() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let folder = world.path("data").join(std::ffi::OsStr::from_bytes(b"f\xff"));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("file"), noise(100)).expect("a file");
    symlink("file", folder.join(std::ffi::OsStr::from_bytes(b"l\xff"))).expect("a link");
    let line = "peerless create data/f* -o made.torrent --json --force";
    let document = world.shell(line).expect(0).json();
    assert_eq!(document["left_out"], serde_json::json!(["data/f\u{fffd}/l\u{fffd}"]));
}

#[test]
fn nothing_is_said_where_there_is_nothing_to_say() {
    let world = World::new();
    world.write("data/tree/a", &noise(100));
    world.write("data/tree/b/é", &noise(100));
    for format in ["v1", "v2", "hybrid"] {
        let (document, notes) = create(&world, "data/tree", &["--format", format]);
        for field in ["left_out", "changed_names", "not_on_windows"] {
            assert_eq!(document[field], serde_json::json!([]), "{field}");
        }
        assert_eq!(notes, "", "{format}");
    }
}

#[test]
fn names_that_others_will_not_see_are_named_and_not_shared() {
    let world = World::new();
    let bytes = noise(20_000);
    for name in ["odd\nname", "CON", "plain", "sub/b\\c"] {
        world.write(&format!("data/tree/{name}"), &bytes);
    }
    for format in ["v1", "v2", "hybrid"] {
        let (document, notes) = create(&world, "data/tree", &["--format", format]);
        let changed = serde_json::json!([
            { "path": "tree/odd\nname", "becomes": "tree/odd_name" },
            { "path": "tree/sub/b\\c", "becomes": "tree/sub/b_c" },
        ]);
        assert_eq!(document["changed_names"], changed, "{format}");
        assert_eq!(document["not_on_windows"][0], "tree/CON", "{format}");
        assert!(notes.contains("tree/odd_name") && notes.contains("tree/CON"), "{notes}");
    }
    let shared = world.run(&["share", "data/tree"]).expect(2);
    assert!(shared.err.contains("odd"), "{}", shared.err);
    assert!(!shared.err.contains("changed while"), "{}", shared.err);
}

/// The tree of such a torrent is that of the file alone, for libtorrent as for us.
#[test]
fn a_v2_torrent_of_one_file_says_where_its_folder_went() {
    let world = World::new();
    world.write("data/tree/only", &noise(20_000));
    for (format, folder) in [("v1", "data"), ("hybrid", "data"), ("v2", "data/tree")] {
        let (document, notes) = create(&world, "data/tree", &["--format", format]);
        let said = document["folder"].as_str().expect("a folder");
        let expected = world.path(folder).canonicalize().expect("it is there");
        assert_eq!(said, expected.to_str().expect("UTF-8"), "{format}");
        world.run(&["check", "made.torrent", said]).expect(0);
        assert_eq!(notes.contains("no folder"), format == "v2", "{notes}");
    }
}

#[test]
fn padding_is_not_counted_as_size() {
    let world = World::new();
    world.write("data/tree/a", &noise(20_000));
    world.write("data/tree/b", &noise(20_000));
    let options = ["--format", "hybrid", "--piece-length", "1M"];
    let (made, _) = create(&world, "data/tree", &options);
    let shown = world.run(&["info", "made.torrent", "--json"]).expect(0).json();
    for document in [made, shown] {
        assert_eq!(document["payload_length"], 40_000);
        assert_eq!(document["total_length"], 2 << 20);
    }
    let text = world.run(&["info", "made.torrent"]).expect(0).text();
    assert!(text.contains("(40000 bytes)") && text.contains("Padding:"), "{text}");
}

#[test]
fn a_link_to_nowhere_is_named_as_the_folder_and_an_error_is_told_once() {
    let world = World::new();
    world.torrent("file.bin", 1000, "16K");
    symlink("nowhere", world.path("out")).expect("a link");
    let words = ["get", "file.bin.torrent", "-o", "out", "--no-tracker", "--no-dht"];
    let done = world.run(&words).expect(5);
    assert!(done.err.contains("a symbolic link that leads nowhere"), "{}", done.err);
    assert_eq!(done.err.matches("out is").count(), 1, "{}", done.err);
    assert!(fs::symlink_metadata(world.path("nowhere")).is_err());
}

#[test]
fn good_data_behind_which_a_file_goes_on_is_not_sent_to_be_fetched() {
    let world = World::new();
    let mut bytes = world.torrent("file.bin", 40_000, "16K");
    bytes.extend(b"more");
    world.write("data/file.bin", &bytes);
    let done = world.run(&["check", "file.bin.torrent", "data"]).expect(6);
    assert!(done.err.contains("go on behind their ends"), "{}", done.err);
    assert!(!done.err.contains("peerless get"), "{}", done.err);
}
