//! `peerless network`, `--bind` and `--dns`: what is shown, and what is refused.

use crate::world::World;

#[cfg(target_os = "linux")]
#[test]
fn every_socket_is_shown_with_its_binding() {
    let world = World::new();
    let arguments = ["network", "--bind", "lo", "--dns", "127.0.0.1", "--local-discovery"];
    let text = world.run(&arguments).expect(0).text();
    for expected in ["Bound to: lo", "asked of 127.0.0.1:53", "tcp listener 0.0.0.0:", "lo (up): "]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let sockets = text.lines().filter(|line| line.contains(": peers,") || line.contains(": utp"));
    let sockets: Vec<_> = sockets.collect();
    assert!(
        sockets.len() >= 2 && sockets.iter().all(|line| line.ends_with("bound to lo")),
        "{text}"
    );

    let json = world.run(&["network", "--bind", "127.0.0.1", "--json"]).expect(0).json();
    assert_eq!(json["address"], "127.0.0.1");
    assert!(json["name_servers"].is_array(), "{json}");
    let sockets = json["sockets"].as_array().unwrap();
    let bound =
        |socket: &serde_json::Value| socket["local"].as_str().unwrap().starts_with("127.0.0.1:");
    assert!(sockets.len() >= 2 && sockets.iter().all(bound), "{json}");
    let json = world.run(&["network", "--json"]).expect(0).json();
    assert!(json["name_servers"].is_null(), "the system's resolver: {json}");
}

#[test]
fn what_is_not_there_is_named_and_never_replaced() {
    let world = World::new();
    world.torrent("a.bin", 1000, "16K");
    let torrent = "a.bin.torrent";
    let commands: [(&[&str], i32); 4] = [
        (&["network"], 0),
        (&["piece", torrent, "0", "--no-tracker"], 1),
        (&["dht", "status"], 1),
        (&["handshake", torrent, "127.0.0.1:9"], 14),
    ];
    for (command, code) in commands {
        let done = world.run(&[command, &["--bind", "nowhere0"]].concat()).expect(code);
        let said = String::from_utf8_lossy(&done.out) + &*done.err;
        assert!(said.contains("nowhere0") && said.contains("bring it up"), "{command:?}: {said}");
    }
    for wrong in [["--bind", ""], ["--bind", "sixteen-letters0"], ["--dns", "resolver.test"]] {
        world.run(&[&["network"], &wrong[..]].concat()).expect(2);
    }
}
