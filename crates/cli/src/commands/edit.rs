//! `peerless edit`: other trackers, web seeds and words in a .torrent, which stays the same torrent.

use std::fs;
use std::path::{Path, PathBuf};

use engine::metainfo::{Change, Edit, InfoHash, Torrent};
use serde_json::json;

use super::STDIN;
use crate::exit::Failure;
use crate::format::untrusted;
use crate::output::Output;
use crate::result_file;

/// Bytes of the longest URL that is read back.
const URL_BYTES_MAX: usize = 2048;

/// Change the trackers, web seeds, comment, creator or date of a .torrent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless edit movie.torrent --add-tracker https://new.example/announce
  peerless edit movie.torrent --replace-tracker http://old.example/a https://new.example/a
  peerless edit movie.torrent -o public.torrent --no-trackers --comment 'for everybody'

Tiers count from 1, as `peerless info` shows them. The info hash stays what it is, and so does \
everything that is not named here.")]
pub(crate) struct Args {
    /// The .torrent file; it is replaced by the changed one unless -o is given.
    #[arg(value_name = "FILE")]
    torrent: String,
    /// Write the changed one here and leave FILE alone.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing output file.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    trackers: Trackers,
    #[command(flatten)]
    web_seeds: WebSeeds,
    #[command(flatten)]
    hints: Hints,
    #[command(flatten)]
    words: Words,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Hints of the same files (BEP 38)")]
struct Hints {
    /// This torrent may have the same files, instead of all said so far outside of `info`; again for
    /// more.
    #[arg(long, value_name = "HASH", value_parser = super::create::similar,
        conflicts_with = "no_similar")]
    similar: Vec<InfoHash>,
    /// No similar torrents outside of `info`.
    #[arg(long)]
    no_similar: bool,
    /// This collection instead of all outside of `info`; again for more.
    #[arg(long, value_name = "NAME", conflicts_with = "no_collections")]
    collection: Vec<String>,
    /// No collections outside of `info`.
    #[arg(long)]
    no_collections: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trackers")]
struct Trackers {
    /// This instead of all trackers; again for more, each in a tier of its own.
    #[arg(long, value_name = "URL", value_parser = url, conflicts_with = "no_trackers")]
    tracker: Vec<String>,
    /// No trackers.
    #[arg(id = "no_trackers", long = "no-trackers")]
    none: bool,
    /// One that must be there goes; again for more.
    #[arg(long, value_name = "URL")]
    remove_tracker: Vec<String>,
    /// NEW in the place of OLD, which must be there; again for more.
    #[arg(long, value_names = ["OLD", "NEW"], num_args = 2)]
    replace_tracker: Vec<String>,
    /// One more, in a tier of its own behind the others, or in a tier that there is; again for more.
    #[arg(long, value_name = "[TIER=]URL", value_parser = tracker)]
    add_tracker: Vec<(Option<usize>, String)>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Web seeds")]
struct WebSeeds {
    /// This instead of all web seeds; again for more.
    #[arg(long, value_name = "URL", value_parser = url, conflicts_with = "no_web_seeds")]
    web_seed: Vec<String>,
    /// No web seeds.
    #[arg(id = "no_web_seeds", long = "no-web-seeds")]
    none: bool,
    /// One that must be there goes; again for more.
    #[arg(long, value_name = "URL")]
    remove_web_seed: Vec<String>,
    /// One more; again for more.
    #[arg(long, value_name = "URL", value_parser = url)]
    add_web_seed: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Words")]
struct Words {
    /// Free text.
    #[arg(long, conflicts_with = "no_comment")]
    comment: Option<String>,
    /// No comment.
    #[arg(long)]
    no_comment: bool,
    /// The program that made it.
    #[arg(long, value_name = "NAME", conflicts_with = "no_created_by")]
    created_by: Option<String>,
    /// Not who made it.
    #[arg(long)]
    no_created_by: bool,
    /// Creation date in seconds since 1970.
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_date")]
    date: Option<i64>,
    /// No date.
    #[arg(long)]
    no_date: bool,
}

/// The URL of a tracker or a web seed.
pub(super) fn url(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.contains("://") || text.len() > URL_BYTES_MAX {
        return Err("a URL, such as https://example.org/name".into());
    }
    Ok(text.into())
}

fn tracker(text: &str) -> Result<(Option<usize>, String), String> {
    match text.split_once('=') {
        Some((tier, rest)) if !tier.is_empty() && tier.bytes().all(|b| b.is_ascii_digit()) => {
            let tier = tier.parse().ok().filter(|tier| *tier > 0);
            Ok((Some(tier.ok_or("tiers count from 1")?), url(rest)?))
        }
        _ => Ok((None, url(text)?)),
    }
}

impl Args {
    pub(crate) fn run(self, output: Output) -> Result<(), Failure> {
        if self.torrent == STDIN && self.output.is_none() {
            return Err(Failure::usage("standard input can't be replaced").advise("give -o FILE"));
        }
        let bytes = super::read_torrent_file(&self.torrent)?;
        let before =
            Torrent::parse(&bytes).map_err(|error| Failure::torrent(&self.torrent, &error))?;
        let edit = Edit {
            trackers: self.trackers.change(&before.trackers)?,
            web_seeds: self.web_seeds.change(&before.web_seeds)?,
            similar: listed(self.hints.similar, self.hints.no_similar),
            collections: listed(self.hints.collection, self.hints.no_collections),
            comment: change(self.words.comment, self.words.no_comment),
            created_by: change(self.words.created_by, self.words.no_created_by),
            creation_date: change(self.words.date, self.words.no_date),
        };
        if edit == Edit::default() {
            return Err(Failure::usage("there is nothing to change")
                .advise("`peerless edit --help` shows what can be"));
        }
        let bytes = edit.apply(&bytes).map_err(|error| Failure::torrent(&self.torrent, &error))?;
        let target = match &self.output {
            Some(output) => {
                result_file::write(output, &bytes, self.force)?;
                output.clone()
            }
            None => replace(Path::new(&self.torrent), &bytes)?,
        };
        let after =
            Torrent::parse(&bytes).map_err(|error| Failure::torrent(&self.torrent, &error))?;
        output.value(&json!({
            "output": target.display().to_string(),
            "info_hash": after.info_hash.to_string(),
            "info_hash_v1": after.info_hashes.v1().map(|hash| hash.to_string()),
            "info_hash_v2": after.info_hashes.v2().map(|hash| hash.to_string()),
            "trackers": after.trackers,
            "web_seeds": after.web_seeds,
            "similar": super::info::similar(&after),
            "collections": after.hints().collections,
            "comment": after.comment,
            "created_by": after.created_by,
            "creation_date": after.creation_date,
            "magnet": after.magnet(),
        }));
        output.line(format_args!("Wrote:     {}", untrusted(&target.display().to_string())));
        output.line(format_args!("Info hash: {}, as before", after.info_hash));
        Ok(())
    }
}

/// The file itself where the path is a link to it, with its permissions.
fn replace(path: &Path, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let target = path.canonicalize().map_err(|error| Failure::file(path, &error))?;
    let found = fs::metadata(&target).map_err(|error| Failure::file(path, &error))?;
    result_file::write(&target, bytes, true)?;
    fs::set_permissions(&target, found.permissions())
        .map_err(|error| Failure::file(path, &error))?;
    Ok(target)
}

fn change<T>(new: Option<T>, gone: bool) -> Change<T> {
    match new {
        Some(new) => Change::Set(new),
        None if gone => Change::Remove,
        None => Change::Keep,
    }
}

/// All of a list, if it changes.
fn listed<T>(new: Vec<T>, gone: bool) -> Option<Vec<T>> {
    (gone || !new.is_empty()).then_some(new)
}

impl Trackers {
    /// All tiers, if they change.
    fn change(&self, before: &[Vec<String>]) -> Result<Option<Vec<Vec<String>>>, Failure> {
        let mut tiers = before.to_vec();
        if self.none || !self.tracker.is_empty() {
            tiers = self.tracker.iter().map(|url| vec![url.clone()]).collect();
        }
        for url in &self.remove_tracker {
            let (tier, place) = find(&tiers, url)?;
            tiers[tier].remove(place);
        }
        for pair in self.replace_tracker.chunks(2) {
            let [old, new] = pair else { continue };
            let (tier, place) = find(&tiers, old)?;
            tiers[tier][place] = url(new).map_err(Failure::usage)?;
        }
        for (tier, url) in &self.add_tracker {
            if tiers.iter().flatten().any(|known| known == url) {
                return Err(Failure::usage(format!("the torrent has the tracker {url} already")));
            }
            match tier {
                None => tiers.push(vec![url.clone()]),
                Some(number) => {
                    let count = tiers.len();
                    let there = tiers.get_mut(number - 1).ok_or_else(|| {
                        Failure::usage(format!(
                            "there is no tier {number}: the torrent has {count}"
                        ))
                    })?;
                    there.push(url.clone());
                }
            }
        }
        tiers.retain(|tier| !tier.is_empty());
        let asked = self.none
            || !(self.tracker.is_empty()
                && self.remove_tracker.is_empty()
                && self.replace_tracker.is_empty()
                && self.add_tracker.is_empty());
        Ok(asked.then_some(tiers))
    }
}

fn find(tiers: &[Vec<String>], url: &str) -> Result<(usize, usize), Failure> {
    let places = tiers
        .iter()
        .enumerate()
        .filter_map(|(tier, urls)| Some((tier, urls.iter().position(|known| known == url)?)));
    let mut places = places;
    places.next().ok_or_else(|| {
        Failure::usage(format!("the torrent has no tracker {url}"))
            .advise("`peerless info` shows those that it has")
    })
}

impl WebSeeds {
    /// All of them, if they change.
    fn change(&self, before: &[String]) -> Result<Option<Vec<String>>, Failure> {
        let mut urls = before.to_vec();
        if self.none || !self.web_seed.is_empty() {
            urls.clone_from(&self.web_seed);
        }
        for url in &self.remove_web_seed {
            let place = urls.iter().position(|known| known == url).ok_or_else(|| {
                Failure::usage(format!("the torrent has no web seed {url}"))
                    .advise("`peerless info` shows those that it has")
            })?;
            urls.remove(place);
        }
        for url in &self.add_web_seed {
            if urls.contains(url) {
                return Err(Failure::usage(format!("the torrent has the web seed {url} already")));
            }
            urls.push(url.clone());
        }
        let asked = self.none
            || !(self.web_seed.is_empty()
                && self.remove_web_seed.is_empty()
                && self.add_web_seed.is_empty());
        Ok(asked.then_some(urls))
    }
}
