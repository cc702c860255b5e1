//! The command line itself: help, usage errors, completions, the manual.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::world::World;

const COMMANDS: [&str; 15] = [
    "get",
    "explain",
    "seed",
    "share",
    "create",
    "check",
    "info",
    "peers",
    "piece",
    "handshake",
    "dht",
    "network",
    "demo",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_with_examples() {
    let world = World::new();
    let help = world.run(&["--help"]).expect(0).text();
    for command in COMMANDS {
        assert!(help.contains(command), "{command} is not in --help");
        let text = world.run(&[command, "--help"]).expect(0).text();
        assert!(
            text.contains("Example") && text.contains(&format!("peerless {command}")),
            "{text}"
        );
        assert!(text.contains("--json"), "{text}");
    }
}

#[test]
fn exit_codes_are_in_the_help_and_in_the_manual() {
    let world = World::new();
    let manual = world.run(&["man"]).expect(0).text();
    let help = world.run(&["--help"]).expect(0).text();
    for text in [&help, &manual] {
        for code in ["0", "1", "2", "3", "4", "5", "6", "10", "11", "12", "13", "14", "130"] {
            assert!(text.split_whitespace().any(|word| word == code), "{code} is not in\n{text}");
        }
    }
    assert!(manual.contains(".TH peerless"), "{manual}");
}

#[test]
fn mistakes_end_with_2() {
    let world = World::new();
    world.torrent("some.bin", 1000, "16K");
    let torrent = "some.bin.torrent";
    let cases: [&[&str]; 9] = [
        &[],
        &["fly"],
        &["info"],
        &["info", torrent, "--fly"],
        &["get"],
        &["handshake", torrent, "no-port-here"],
        &["handshake", torrent, "127.0.0.1:0"],
        &["handshake", torrent, "127.0.0.1:1", "--timeout", "-1"],
        &["get", torrent, "--ratio", "1"],
    ];
    for arguments in cases {
        let done = world.run(arguments).expect(2);
        assert!(!done.err.is_empty(), "{arguments:?} is refused without a word");
    }
}

#[test]
fn magnet_links_are_refused_where_they_say_too_little_or_are_cut() {
    let world = World::new();
    let magnet = "magnet:?xt=urn:btih:3ae647fb153d183667664de3055284fdfc9d2520";
    for arguments in [["seed", magnet, "."], ["check", magnet, "."], ["piece", magnet, "0"]] {
        let done = world.run(&arguments).expect(2);
        assert!(done.err.contains(".torrent"), "{}", done.err);
    }
    for command in ["get", "info", "peers", "explain"] {
        let done = world.run(&[command, "magnet:?xt=urn:btih:3ae647"]).expect(3);
        assert!(done.err.contains("quotes"), "{}", done.err);
    }
}

#[test]
fn completions_for_every_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = world.run(&["completions", shell]).expect(0).text();
        assert!(text.contains("peerless") && text.contains("handshake"), "{shell}");
    }
}

/// Whoever reads may go at any time: no panic, no message.
#[test]
fn a_closed_pipe_is_not_a_panic() {
    let world = World::new();
    world.torrent("some.bin", 200_000, "16K");
    for arguments in [&["info", "some.bin.torrent"][..], &["man"], &["completions", "bash"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_peerless"))
            .args(arguments)
            .current_dir(world.path("."))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
        child.wait().expect("our child");
        assert!(!err.contains("panicked"), "{arguments:?}: {err}");
    }
}
