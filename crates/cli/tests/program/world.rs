//! One test's world: a directory with a home, payloads and torrents in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{self, Done, Running};

pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        for name in ["state", "home", "tmp"] {
            fs::create_dir(world.path(name)).expect("it is new");
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the world")).expect("folders are made");
        fs::write(&path, bytes).expect("it is written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerless"));
        command.args(arguments);
        self.inside(command)
    }

    fn inside(&self, mut command: Command) -> Command {
        command
            .current_dir(self.dir.path())
            .env("PEERLESS_NO_DHT", "1") // nothing leaves loopback
            .env("PEERLESS_NO_PORT_MAPPING", "1")
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("PEERLESS_PROXY")
            .env_remove("PEERLESS_LOG");
        command
    }

    /// Runs the program in the world's directory to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        process::run(self.command(arguments))
    }

    /// Runs a line of shell in which `peerless` is the program.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> Done {
        let mut command = Command::new("sh");
        let define = format!("peerless() {{ '{}' \"$@\"; }}; ", env!("CARGO_BIN_EXE_peerless"));
        command.args(["-c", &(define + line)]);
        process::run(self.inside(command))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Makes `data/<name>` of `size` bytes and `<name>.torrent`; gives the bytes.
    #[track_caller]
    pub(crate) fn torrent(&self, name: &str, size: usize, piece_length: &str) -> Vec<u8> {
        let bytes = noise(size);
        self.write(&format!("data/{name}"), &bytes);
        let (from, to) = (format!("data/{name}"), format!("{name}.torrent"));
        self.run(&["create", &from, "-o", &to, "--piece-length", piece_length]).expect(0);
        bytes
    }

    /// Files below a directory of the world.
    pub(crate) fn names_in(&self, name: &str) -> Vec<String> {
        names_in(&self.path(name))
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bytes without any repetition that a bug could hide in; the same ones every time.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
