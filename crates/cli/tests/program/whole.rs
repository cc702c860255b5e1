//! `share` and `demo`: everything together, with no peer or tracker named by hand.

use std::time::Duration;

use crate::process::until;
use crate::world::{World, noise};

#[test]
fn the_url_that_share_prints_fetches_everything() {
    let world = World::new();
    let files = [("a.bin", 300_000), ("b c/ü.bin", 20_000), ("empty", 0)];
    for (name, size) in files {
        world.write(&format!("data/our tree/{name}"), &noise(size));
    }
    let mut share = world.start(&["share", "data/our tree", "--bind", "127.0.0.1", "--json"]);
    let url = share.event("sharing")["url"].as_str().expect("a URL").to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    // No space and nothing else that a shell would take apart.
    assert!(!url.contains([' ', '\'', '"', '&', ';']), "{url}");

    world.run(&["get", &url, "-o", "out", "--bind", "127.0.0.1"]).expect(0);
    for (name, size) in files {
        assert!(world.read(&format!("out/our tree/{name}")) == noise(size), "{name} differs");
    }
    #[cfg(unix)]
    {
        share.signal("INT");
        let summary = share.finish(Duration::from_secs(10)).expect(130).event("summary");
        assert!(summary["uploaded"].as_u64().is_some_and(|sent| sent >= 320_000), "{summary}");
    }
}

#[test]
fn demo_measures_and_leaves_nothing() {
    let world = World::new();
    let report = world.run(&["demo", "--size", "8M", "--json"]).expect(0).event("demo");
    assert_eq!(report["bytes"], 8 << 20);
    assert_eq!(report["identical"], true);
    assert!(report["bytes_per_second"].as_u64().is_some_and(|speed| speed > 0), "{report}");
    assert_eq!(world.names_in("tmp"), [""; 0]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_leaves_nothing_either() {
    let world = World::new();
    let mut demo = world.start(&["demo", "--size", "4G", "--json"]);
    until("the demo's folder", || !world.names_in("tmp").is_empty());
    demo.signal("INT");
    demo.finish(Duration::from_secs(10)).expect(130);
    assert_eq!(world.names_in("tmp"), [""; 0]);
}
