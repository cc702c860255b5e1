//! `peerless stream`: gives a file of a torrent out while it arrives, to a pipe or to players.

mod choice;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use engine::metainfo::Info;
use engine::{
    AddTorrent, FileReader, FileServer, FollowMagnet, Network, Session, StateLocation,
    TorrentError, TorrentHandle,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::drawing::draw;
use super::placing::Placing;
use super::session::{self, Options, Patience};
use super::source::Source;
use super::{magnet, report};
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;
use choice::FileChoice;

/// Bytes that go to standard output at a time.
const COPY_BYTES: usize = 64 * 1024;

/// Play a file of a torrent while it downloads: to standard output, or over HTTP.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless stream film.torrent | mpv -
  peerless stream film.torrent --http                  # prints the URL for a player
  peerless stream 'magnet:?xt=urn:btih:…' --file '*.mkv' --http=127.0.0.1:8080
  peerless stream songs.torrent --file 3 > song.flac
  peerless stream film.torrent --temporary | mpv -

Bytes are given out once they are verified, and what comes next is downloaded first. Only the pieces \
of this file are. They stay in the output folder, as `get` leaves them: `get` and `stream` go on from \
there. With --temporary nothing stays.

HTTP is for players on this machine: it answers GET and HEAD with ranges, and clients that name it by \
its address. Without --http the command ends with the file, or when the reader has had enough.")]
pub(crate) struct Args {
    /// A .torrent file, an http(s) URL of one, or a magnet link.
    #[arg(value_name = "TORRENT, URL or MAGNET")]
    torrent: String,
    /// Which file: its number, from 0, or a pattern with * and ?; of several the largest.
    #[arg(long, value_name = "N|GLOB")]
    file: Option<String>,
    /// Serve HTTP until stopped; default: any free port of 127.0.0.1.
    #[arg(
        long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true,
        default_missing_value = "127.0.0.1:0"
    )]
    http: Option<SocketAddr>,
    /// Let --http be on an address that other machines reach: all of them can read the file.
    #[arg(long, requires = "http")]
    allow_remote: bool,
    /// The folder to download into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Download into a temporary folder, and remove it at the end.
    #[arg(long, conflicts_with_all = ["output", "recheck", "overwrite"])]
    temporary: bool,
    /// Give up after this long without any peer; 0: never. While the interface or address of --bind is
    /// not there, time does not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait_peers: u64,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(crate) async fn run(mut self, output: Output) -> Result<(), Failure> {
        self.refuse_what_makes_no_sense(output)?;
        let interrupt = Interrupt::listen();
        let network = self.options.network()?;
        let peers = self.options.peers(&network).await?;
        let source = Source::of(&self.torrent, &network, &interrupt).await?;
        let mut builder = self.options.builder(&network, output)?;
        let folder = self.temporary.then(tempfile::tempdir).transpose();
        let folder = folder.map_err(|error| Failure::file(&std::env::temp_dir(), &error))?;
        if let Some(folder) = &folder {
            self.output = folder.path().to_owned();
            builder = builder.state(StateLocation::Memory);
        }
        let session = builder.start().await?;
        let reporting = tokio::spawn(report::report(&session, output));
        let following = tokio::spawn(self.options.follow_port(&session, output));
        let since = Instant::now();
        let added = tokio::select! {
            added = self.add(&session, source, peers, output) => added,
            () = interrupt.wait() => Err(Failure::interrupted()),
        };
        let (result, handle) = match added {
            Err(failure) => (Err(failure), None),
            Ok((handle, file)) => {
                let drawing = draw(&handle, &network, output);
                let result = tokio::select! {
                    result = self.play(&handle, file, output) => result,
                    failure = self.fails(&handle, &network) => Err(failure),
                    () = interrupt.wait() => Err(Failure::interrupted()),
                };
                drawing.end().await;
                (result, Some(handle))
            }
        };
        session.shutdown().await;
        if let Some(handle) = handle {
            output.value(&session::summary(&handle, since));
        }
        reporting.abort();
        following.abort();
        drop(folder);
        result
    }

    fn refuse_what_makes_no_sense(&self, output: Output) -> Result<(), Failure> {
        if let Some(addr) = self.http {
            let stays = addr.ip().is_loopback() || self.allow_remote;
            return if stays {
                Ok(())
            } else {
                let message = format!("--http={addr}: other machines could read the file there");
                Err(Failure::usage(message).advise("--allow-remote lets them"))
            };
        }
        if output.json {
            let message = "--json has no place beside the file on standard output";
            return Err(Failure::usage(message).advise("use --http, or leave --json out"));
        }
        if io::stdout().is_terminal() {
            let message = "standard output is a terminal, which can't show the file";
            return Err(Failure::usage(message).advise("pipe it into a player, or use --http"));
        }
        Ok(())
    }

    async fn add(
        &self,
        session: &Session,
        source: Source,
        peers: Vec<SocketAddr>,
        output: Output,
    ) -> Result<(TorrentHandle, usize), Failure> {
        let (info, request) = match source {
            Source::Torrent(torrent) => {
                (torrent.info.clone(), AddTorrent::new(torrent, &self.output))
            }
            Source::Magnet(link) => {
                let request = FollowMagnet::new(link)
                    .peers(peers.iter().copied())
                    .use_trackers(!self.options.no_tracker);
                let patience = Patience::of(self.wait_peers).with(session.network());
                let found = magnet::find(session, request, patience, output).await?;
                (found.torrent.info.clone(), found.into_request(&self.output))
            }
        };
        let file = FileChoice::new(self.file.as_deref()).of(&info)?;
        let request = request
            .peers(peers)
            .use_trackers(!self.options.no_tracker)
            .wanted(info.pieces_of_file(file).collect());
        let handle = session.add(self.placing.apply(request)).await?;
        tell(&info, file, output);
        Ok((handle, file))
    }

    async fn play(
        &self,
        handle: &TorrentHandle,
        file: usize,
        output: Output,
    ) -> Result<(), Failure> {
        let Some(addr) = self.http else {
            return copy(handle.reader(file)?).await;
        };
        let server = FileServer::bind(addr, handle, file).map_err(|error| {
            Failure::other(format!("can't serve on {addr}: {error}"))
                .advise("choose another address or port with --http=ADDR:PORT")
        })?;
        let streaming = json!({ "event": "streaming", "url": server.url(), "file": file });
        output.value(&session::named(streaming, &handle.torrent().info_hashes));
        output.line(server.url());
        output.note("serving until Ctrl-C");
        // The beginning is what a player asks for first.
        let mut beginning = handle.reader(file)?;
        let _ = beginning.read(&mut [0]).await; // whoever plays it hears of errors
        drop(beginning);
        std::future::pending().await
    }

    /// When nobody has it, or the torrent ends.
    async fn fails(&self, handle: &TorrentHandle, network: &Network) -> Failure {
        let patience = Patience::of(self.wait_peers).with(network);
        match session::complete(handle, &patience).await {
            Err(failure) => failure,
            Ok(()) => std::future::pending().await, // all of it is there
        }
    }
}

fn tell(info: &Info, file: usize, output: Output) {
    let Some(entry) = info.files().get(file) else { return };
    let (path, size) = (untrusted(&entry.path.display()), format::bytes(entry.length));
    output.note(format_args!("file {file}: {path}, {size}"));
}

/// Sends all of it to standard output. A reader that has had enough is nothing wrong.
async fn copy(mut reader: FileReader) -> Result<(), Failure> {
    let (mut stdout, mut buffer) = (tokio::io::stdout(), vec![0; COPY_BYTES]);
    loop {
        let count = reader.read(&mut buffer).await.map_err(unreadable)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let written =
            if bytes.is_empty() { stdout.flush().await } else { stdout.write_all(bytes).await };
        match written {
            Ok(()) if bytes.is_empty() => return Ok(()),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Failure::new(Code::Disk, format!("can't write to stdout: {error}")));
            }
        }
    }
}

/// What a reader failed with, as any other command would report it.
fn unreadable(error: io::Error) -> Failure {
    let said = error.to_string();
    let inner = error.into_inner().and_then(|inner| inner.downcast::<TorrentError>().ok());
    inner.map_or_else(|| Failure::new(Code::Disk, said), |inner| Failure::from(*inner))
}
