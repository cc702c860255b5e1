//! One file for each command.

pub(crate) mod check;
pub(crate) mod choosing;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod dht;
mod drawing;
pub(crate) mod edit;
pub(crate) mod explain;
mod gateway;
pub(crate) mod get;
pub(crate) mod handshake;
pub(crate) mod info;
pub(crate) mod ip_filter;
pub(crate) mod limits;
pub(crate) mod magnet;
pub(crate) mod move_torrent;
pub(crate) mod network;
pub(crate) mod peers;
pub(crate) mod piece;
mod placing;
pub(crate) mod port_file;
mod proxy;
mod reach;
mod remarks;
pub(crate) mod rename;
mod report;
pub(crate) mod seed;
pub(crate) mod seeding;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod shell;
pub(crate) mod source;
pub(crate) mod stalls;
pub(crate) mod stream;
pub(crate) mod totals;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use engine::metainfo::{TORRENT_BYTES_MAX, Torrent};

use crate::args::{Args, Command};
use crate::exit::{Code, Failure};
use crate::output::Output;

/// Runs the command that was asked for.
pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    let output = *output;
    match args.command {
        Command::Get(args) => args.run(output).await,
        Command::Stream(args) => args.run(output).await,
        Command::Explain(args) => args.run(output).await,
        Command::Seed(args) => args.run(output).await,
        Command::Share(args) => args.run(output).await,
        Command::Create(args) => args.run(output).await,
        Command::Edit(args) => args.run(output),
        Command::Check(args) => args.run(output).await,
        Command::Info(args) => args.run(output).await,
        Command::Peers(args) => args.run(output).await,
        Command::Piece(args) => args.run(output).await,
        Command::Handshake(args) => args.run(output).await,
        Command::Dht(args) => args.run(output).await,
        Command::Network(args) => args.run(output).await,
        Command::Move(args) => args.run(output).await,
        Command::Rename(args) => args.run(output).await,
        Command::Demo(args) => args.run(output).await,
        Command::Completions(args) => {
            args.run();
            Ok(())
        }
        Command::Man(_) => shell::Man::run(),
    }
}

/// What a folder of a payload is.
const PAYLOAD_FOLDER: &str =
    "give the folder that holds the payload under the torrent's own name, not the payload itself";

/// Insists on a folder where a payload is said to be.
pub(crate) fn payload_folder(dir: &Path) -> Result<(), Failure> {
    let failure = match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => Failure::new(Code::Disk, format!("{} is not a folder", dir.display())),
        Err(error) => Failure::file(dir, &error),
    };
    Err(failure.advise(PAYLOAD_FOLDER))
}

/// Reads and parses a .torrent file.
pub(crate) fn read_torrent(path: &str) -> Result<Torrent, Failure> {
    let bytes = read_torrent_file(path)?;
    Torrent::parse(&bytes).map_err(|error| Failure::torrent(path, &error))
}

/// Standard input, where a .torrent file is wanted.
pub(crate) const STDIN: &str = "-";

/// The bytes of a .torrent file, if they are not too many.
pub(crate) fn read_torrent_file(path: &str) -> Result<Vec<u8>, Failure> {
    if source::is_magnet(path) {
        let message = "a magnet link does not say enough for this";
        return Err(Failure::usage(message).advise("give a .torrent file"));
    }
    let (mut bytes, most) = (Vec::new(), TORRENT_BYTES_MAX as u64);
    let read = if path == STDIN {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > most {
        let message = format!("{path}: more than {most} bytes are no .torrent file");
        return Err(Failure::new(Code::BadTorrent, message).advise("check the path"));
    }
    Ok(bytes)
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    let is_hash = matches!(path.len(), 40 | 64) && path.bytes().all(|b| b.is_ascii_hexdigit());
    let advice = if is_hash {
        "an info hash goes into a link: 'magnet:?xt=urn:btih:…', or urn:btmh:1220… for v2"
    } else if path.contains("://") {
        "only http(s) URLs are fetched, and not by every command; fetch it first"
    } else {
        "check the path; it must be a .torrent file"
    };
    Failure::new(Code::BadTorrent, format!("can't read {path}: {error}")).advise(advice)
}
