//! Which files of a torrent to fetch, and in which order: the options of `peerless get`.

use engine::metainfo::{FileChoice, FilePriority};
use engine::{AddTorrent, PieceOrder};

use crate::exit::Failure;

/// Files are named by numbers, ranges and patterns, such as `0,3-5,*.mkv`; `peerless info` shows the
/// numbers. What was chosen is remembered for the next run.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Choosing files")]
pub(crate) struct Choosing {
    /// Fetch only these files, such as 0,3-5,*.mkv; `peerless info` shows the numbers.
    #[arg(long, value_name = "LIST")]
    files: Option<FileChoice>,
    /// Don't fetch these files.
    #[arg(long, value_name = "LIST")]
    exclude: Option<FileChoice>,
    /// Fetch these files before the others.
    #[arg(long, value_name = "LIST")]
    high: Option<FileChoice>,
    /// Fetch these files after the others.
    #[arg(long, value_name = "LIST")]
    low: Option<FileChoice>,
    /// Fetch pieces in order, not the rarest first.
    #[arg(long)]
    sequential: bool,
    /// Fetch the first and the last piece of each file first.
    #[arg(long)]
    first_last: bool,
}

impl Choosing {
    /// The request with what was chosen. Without a word about it, it stays as it was before.
    pub(crate) fn apply(&self, mut request: AddTorrent) -> Result<AddTorrent, Failure> {
        if self.sequential || self.first_last {
            let (sequential, first_last) = (self.sequential, self.first_last);
            request = request.piece_order(PieceOrder { sequential, first_last });
        }
        let lists = [&self.files, &self.exclude, &self.high, &self.low];
        if lists.iter().all(|list| list.is_none()) {
            return Ok(request);
        }
        let info = &request.torrent().info;
        let count = info.files().len();
        let chosen = |list: &FileChoice| {
            list.of_strict(info).map_err(|error| {
                let message = format!("{}: {error}", info.name());
                Failure::usage(message).advise("`peerless info` shows the files and their numbers")
            })
        };
        // A link may have chosen already (BEP 53).
        let mut priorities = request.priorities().map_or_else(Vec::new, <[_]>::to_vec);
        priorities.resize(count, FilePriority::Normal);
        if let Some(list) = &self.files {
            let skipped = |chosen| if chosen { FilePriority::Normal } else { FilePriority::Skip };
            priorities = chosen(list)?.into_iter().map(skipped).collect();
        }
        let changes = [
            (&self.high, FilePriority::High),
            (&self.low, FilePriority::Low),
            (&self.exclude, FilePriority::Skip),
        ];
        for (list, priority) in changes {
            let Some(list) = list else { continue };
            for (slot, chosen) in priorities.iter_mut().zip(chosen(list)?) {
                if chosen && *slot != FilePriority::Skip {
                    *slot = priority;
                }
            }
        }
        let files = info.files().iter().zip(&priorities);
        if !files.into_iter().any(|(file, it)| *it > FilePriority::Skip && !file.attributes.pad) {
            let message = format!("{}: no file is left to fetch", info.name());
            return Err(Failure::usage(message).advise("choose at least one"));
        }
        Ok(request.file_priorities(priorities))
    }
}
