//! `peerless create`: a .torrent of a file or folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::CreateError;
use engine::metainfo::{CreateOptions, Format, InfoHash, InfoHashV2, Torrent};
use engine::storage::{Payload, Symlinks};
use serde_json::json;

use super::info;
use super::remarks::Remarks;
use crate::exit::{Code, Failure};
use crate::format::{self, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::Progress;
use crate::result_file;

/// Make a .torrent of a file or folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless create ./folder --tracker https://tracker.example/announce
  peerless create movie.mkv -o movie.torrent --piece-length 1M --private
  peerless create ./folder --format hybrid --symlinks

A v1 torrent works with every client and tracker. A hybrid can be used by v2 clients too, which find \
bad data sooner and the same file in several torrents; older clients show its padding as files, and \
trackers may refuse it. One that is v2 only is for v2 clients alone.

The same input and options give the same bytes: no date is added unless --date is given.")]
pub(crate) struct Args {
    /// The file or folder.
    path: PathBuf,
    /// Where to write; default: the payload's name with `.torrent`, in the current folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Which BitTorrent versions can use it.
    #[arg(long, value_enum, default_value_t)]
    format: TorrentFormat,
    /// Keep symbolic links that stay in the folder, instead of leaving them out.
    #[arg(long)]
    symlinks: bool,
    /// Replace an existing output file.
    #[arg(long)]
    force: bool,
}

/// What `--format` may be.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum TorrentFormat {
    /// SHA-1 of each piece.
    #[default]
    V1,
    /// A SHA-256 hash tree for each file.
    V2,
    /// Both.
    Hybrid,
}

impl From<TorrentFormat> for Format {
    fn from(format: TorrentFormat) -> Self {
        match format {
            TorrentFormat::V1 => Self::V1,
            TorrentFormat::V2 => Self::V2,
            TorrentFormat::Hybrid => Self::Hybrid,
        }
    }
}

/// What may be said in a .torrent besides the payload.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// Announce URL; again for more, each in a tier of its own.
    #[arg(long, value_name = "URL", value_parser = super::edit::url)]
    tracker: Vec<String>,
    /// Bytes in a piece, such as 256K or 1M: a power of two; default: chosen by size.
    #[arg(long, value_name = "N", value_parser = piece_length)]
    piece_length: Option<u32>,
    /// Peers come from the trackers only.
    #[arg(long)]
    private: bool,
    /// HTTP source of the same files; again for more.
    #[arg(long, value_name = "URL", value_parser = super::edit::url)]
    web_seed: Vec<String>,
    /// A torrent that may have the same files, by its info hash (BEP 38); again for more.
    #[arg(long, value_name = "HASH", value_parser = similar)]
    similar: Vec<InfoHash>,
    /// A collection that it belongs to, by name: torrents of one may have the same files (BEP 38);
    /// again for more.
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    /// Free text.
    #[arg(long)]
    comment: Option<String>,
    /// Creation date in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    date: Option<i64>,
}

/// An info hash of v1, or of v2, which is cut to 20 bytes as on the wire.
pub(super) fn similar(text: &str) -> Result<InfoHash, String> {
    let v2 = |_| text.parse::<InfoHashV2>().map(|hash| hash.truncated());
    text.parse().or_else(v2).map_err(|_| "an info hash of 40 or 64 hexadecimal digits".into())
}

fn piece_length(text: &str) -> Result<u32, String> {
    const MIN: u64 = 16 * 1024;
    const MAX: u64 = 16 * 1024 * 1024;
    let bytes = format::parse_bytes(text)?;
    if !bytes.is_power_of_two() || !(MIN..=MAX).contains(&bytes) {
        return Err("a power of two from 16K to 16M".into());
    }
    u32::try_from(bytes).map_err(|error| error.to_string())
}

impl Options {
    fn with_trackers(&self, tiers: Vec<Vec<String>>) -> CreateOptions {
        CreateOptions {
            format: Format::V1,
            piece_length: self.piece_length,
            trackers: tiers,
            web_seeds: self.web_seed.clone(),
            comment: self.comment.clone(),
            created_by: None,
            creation_date: self.date,
            private: self.private,
            similar: self.similar.clone(),
            collections: self.collection.clone(),
        }
    }
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let tiers = self.options.tracker.iter().map(|url| vec![url.clone()]).collect();
        let target = self.output.clone().map_or_else(|| default_output(&self.path), Ok)?;
        result_file::refuse_existing(&target, self.force)?;
        let options =
            CreateOptions { format: self.format.into(), ..self.options.with_trackers(tiers) };
        let symlinks = if self.symlinks { Symlinks::Keep } else { Symlinks::Skip };
        let Made { bytes, payload } = create_with(&self.path, symlinks, options, output).await?;
        result_file::write(&target, &bytes, self.force)?;
        let torrent = Torrent::parse(&bytes).map_err(Failure::other)?;
        let remarks = Remarks::of(&payload, &torrent);
        let geometry = torrent.info.geometry();
        let mut document = json!({
            "output": target.display().to_string(),
            "name": torrent.info.name(),
            "info_hash": torrent.info_hash.to_string(),
            "info_hash_v1": torrent.info_hashes.v1().map(|hash| hash.to_string()),
            "info_hash_v2": torrent.info_hashes.v2().map(|hash| hash.to_string()),
            "total_length": geometry.total_length(),
            "payload_length": info::payload_length(&torrent.info),
            "piece_length": geometry.piece_length(),
            "piece_count": geometry.piece_count(),
            "magnet": torrent.magnet(),
        });
        remarks.add_to(&mut document, &self.path);
        output.value(&document);
        output.line(format_args!("Wrote:     {}", untrusted(&target.display().to_string())));
        if let Some(v1) = torrent.info_hashes.v1() {
            output.line(format_args!("Info hash: {v1}"));
        }
        if let Some(v2) = torrent.info_hashes.v2() {
            output.line(format_args!("v2 hash:   {v2}"));
        }
        let size = format::bytes(info::payload_length(&torrent.info));
        let piece = format::bytes(u64::from(geometry.piece_length()));
        output.line(format_args!(
            "Size:      {size} in {} pieces of {piece}",
            geometry.piece_count()
        ));
        remarks.tell(&self.path, output);
        Ok(())
    }
}

/// A .torrent, and what it was made of.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    pub(crate) payload: Payload,
}

/// Hashes a payload with progress; Ctrl-C ends it.
pub(crate) async fn create(
    path: &Path,
    options: CreateOptions,
    output: Output,
) -> Result<Made, Failure> {
    create_with(path, Symlinks::Skip, options, output).await
}

async fn create_with(
    path: &Path,
    symlinks: Symlinks,
    options: CreateOptions,
    output: Output,
) -> Result<Made, Failure> {
    let cancel = Arc::new(AtomicBool::new(false));
    let progress = Progress::new(output, &path.display().to_string());
    let hashing = {
        let (path, cancel) = (path.to_path_buf(), Arc::clone(&cancel));
        tokio::task::spawn_blocking(move || {
            let shown = |now: engine::storage::CheckProgress| {
                progress.set(now.done_bytes, now.total_bytes, &format::bytes(now.done_bytes));
            };
            let payload = Payload::walk(&path, symlinks).map_err(CreateError::from);
            payload.and_then(|payload| {
                let bytes = engine::create_of(&payload, &options, shown, &cancel)?;
                Ok(Made { bytes, payload })
            })
        })
    };
    let interrupt = Interrupt::listen();
    let mut hashing = hashing;
    let made = tokio::select! {
        made = &mut hashing => made,
        () = interrupt.wait() => {
            cancel.store(true, Ordering::Relaxed);
            hashing.await
        }
    };
    made.map_err(Failure::other)?.map_err(|error| match error {
        error if error.is_cancelled() => Failure::interrupted(),
        CreateError::Files(error) => Failure::new(Code::Disk, error.to_string()),
        other => Failure::usage(other.to_string()),
    })
}

fn default_output(path: &Path) -> Result<PathBuf, Failure> {
    let whole = path.canonicalize().map_err(|error| Failure::file(path, &error))?;
    let name =
        whole.file_name().ok_or_else(|| Failure::usage("give a file or folder, not a root"))?;
    let mut name = name.to_os_string();
    name.push(".torrent");
    Ok(name.into())
}
