//! The command line itself: help, usage errors, completions, the manual.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::world::World;

const COMMANDS: [&str; 19] = [
    "get",
    "stream",
    "explain",
    "seed",
    "share",
    "create",
    "edit",
    "check",
    "info",
    "peers",
    "piece",
    "handshake",
    "dht",
    "network",
    "move",
    "rename",
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

/// What is written as one paragraph fills the lines of a terminal, whatever its width.
#[test]
fn help_fits_the_terminal() {
    const WIDTH: usize = 60;
    let world = World::new();
    for command in COMMANDS {
        let done = world.shell(&format!("export COLUMNS={WIDTH}; peerless {command} --help"));
        let text = done.expect(0).text();
        let notes = text.split_once("Examples:").expect("examples").1;
        let mut before = "";
        for line in notes.lines() {
            let begins = before.is_empty() || before.starts_with(' ') || line.starts_with(' ');
            let word = line.split(' ').next().expect("split gives one");
            let room = WIDTH.saturating_sub(before.chars().count() + 1);
            assert!(begins || word.is_empty() || word.chars().count() > room, "{before}\n{line}");
            before = line;
        }
    }
}

#[test]
fn help_names_the_group_that_an_option_belongs_to() {
    let world = World::new();
    let text = world.run(&["get", "--help"]).expect(0).text();
    let group = |option: &str| {
        let lines = text.lines().take_while(|line| !line.contains(&format!(" {option}")));
        lines.filter(|line| line.ends_with(':') && !line.starts_with(' ')).last()
    };
    assert_eq!(group("--files"), Some("Choosing files:"));
    assert_eq!(group("--peer"), Some("Peers and network:"));
    assert_eq!(group("--ratio"), Some("When seeding ends:"));
    assert_eq!(group("--overwrite"), Some("Files that are there:"));
    assert_eq!(group("--wait-peers"), Some("Options:"));
    assert_eq!(group("--json"), Some("Every command:"));
}

#[test]
fn the_manual_has_a_section_for_each_command() {
    let world = World::new();
    let manual = world.run(&["man"]).expect(0).text();
    for command in COMMANDS.into_iter().chain(["dht ping", "dht put"]) {
        let heading = format!(".SS \"peerless {command}");
        assert!(manual.contains(&heading), "no section for {command}");
    }
    assert_eq!(manual.matches("fB\\-\\-json\\fR\n").count(), 1, "said once, for every command");
    assert!(!manual.contains("peerless\\-get(1)"), "there is no such page");
}

/// As the README says it, and as people say no.
#[test]
fn variables_switch_off_by_any_yes() {
    let world = World::new();
    let magnet = "magnet:?xt=urn:btih:3ae647fb153d183667664de3055284fdfc9d2520";
    let dht = |value: &str| {
        let info = format!("peerless info '{magnet}' --bind 127.0.0.1 --wait-peers 1");
        let done = world.shell(&format!("export PEERLESS_NO_DHT={value}; {info}"));
        done.expect(4).err.contains("DHT nodes answered")
    };
    for (value, expected) in [("1", false), ("0", true)] {
        assert_eq!(dht(value), expected, "{value}");
    }
}

#[test]
fn mistakes_end_with_2() {
    let world = World::new();
    world.torrent("some.bin", 1000, "16K");
    let torrent = "some.bin.torrent";
    let cases: [&[&str]; 16] = [
        &[],
        &["fly"],
        &["info"],
        &["info", torrent, "--fly"],
        &["get"],
        &["handshake", torrent, "no-port-here"],
        &["handshake", torrent, "127.0.0.1:0"],
        &["handshake", torrent, "127.0.0.1:1", "--timeout", "-1"],
        &["get", torrent, "--ratio", "1"],
        &["get", torrent, "--peer", "no-port-here"],
        &["get", torrent, "--web-seed", "no-url"],
        &["get", torrent, "--dht-bootstrap", "no-port-here"],
        &["network", "--dns", "127.0.0.1"], // it would not be asked
        &["dht", "ping", "no-port-here"],
        &["create", "data", "--tracker", "no-url"],
        &["create", "data", "--web-seed", "no-url"],
    ];
    for arguments in cases {
        let done = world.run(arguments).expect(2);
        assert!(!done.err.is_empty(), "{arguments:?} is refused without a word");
    }
}

#[test]
fn a_folder_to_reuse_must_be_there() {
    let world = World::new();
    world.torrent("some.bin", 1000, "16K");
    let done = world.run(&["get", "some.bin.torrent", "--reuse", "nowhere"]).expect(5);
    assert!(done.err.contains("nowhere") && done.err.contains("--reuse"), "{}", done.err);
}

/// What is not a terminal gets no colours, from the log either.
#[test]
fn a_log_in_a_file_is_plain() {
    let done = World::new().run(&["network", "--bind", "nowhere0", "-v"]).expect(0);
    assert!(done.err.contains("WARN") && !done.err.contains('\x1b'), "{:?}", done.err);
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
        let status = child.wait().expect("our child");
        assert!(status.success() && err.is_empty(), "{arguments:?}: {status}: {err}");
    }
}
