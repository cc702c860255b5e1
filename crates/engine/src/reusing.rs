//! Where a torrent that is added may find its files: in folders that a person named, and among the whole
//! files of other torrents, of this session and of those that the state remembers (BEP 38, 52).
//!
//! A torrent's author is a stranger, and whoever has the torrent sees at once which of its files we have. So
//! what it names is looked for only where it may be seen anyway: in public torrents, whose files are
//! served to anybody. A private torrent's files are given to no other torrent, by whatever hash, and a
//! folder is looked into only when a person named it. `AddTorrent::search` switches the search off.

use std::collections::HashSet;
use std::path::PathBuf;

use metainfo::merkle::MerkleHash;
use metainfo::{Hints, Info, Torrent};
use storage::{FileStore, Reused, SHELF_FILES_MAX, Search, Shelf, ShelfFile, Source, Wanted};
use wire::Bitfield;

use crate::events::Event;
use crate::handle::TorrentShared;
use crate::resume::{self, Findings};
use crate::session::SessionShared;
use crate::shelving;

/// Files that are looked at, at most, for one torrent.
const SOURCES_MAX: usize = 10_000;

/// Where to look besides the files of other torrents.
pub(crate) struct Elsewhere {
    /// Below these.
    pub(crate) folders: Vec<PathBuf>,
}

impl Elsewhere {
    /// Takes what is found of what is missing, and learns from what is there what peers need not tell.
    /// Waits for the disk.
    pub(crate) fn look(
        &self,
        session: &SessionShared,
        shared: &TorrentShared,
        findings: &mut Findings,
    ) {
        self.take_files(session, shared, findings);
        find_layers(shared, findings);
    }

    fn take_files(&self, session: &SessionShared, shared: &TorrentShared, findings: &mut Findings) {
        if shared.seed_only || !shared.search && self.folders.is_empty() {
            return;
        }
        let store = &shared.store;
        let missing = findings.missing(store.info());
        if missing.is_empty() {
            return;
        }
        let sources = if shared.search { sources(session, shared, &missing) } else { Vec::new() };
        let progress = |done, total| shared.set_check_progress(done, total);
        let cancel = &*shared.cancelled;
        let search = Search { folders: &self.folders, sources, cancel, progress: &progress };
        let reused = storage::reuse(store, &missing, search);
        shared.set_check_progress(0, 0);
        let files: Vec<usize> = reused.iter().map(|one| one.file).collect();
        let info_hash = shared.info_hash();
        for Reused { file, from, is_reflink } in reused {
            session.events.send(Event::FileTaken { info_hash, file, from, is_reflink });
        }
        if !files.is_empty() {
            findings.appeared(store, &files);
        }
    }
}

/// A v2 file that is there whole proves its own layer: nobody has to be asked for it (BEP 52).
fn find_layers(shared: &TorrentShared, findings: &mut Findings) {
    let store = &shared.store;
    if !store.info().has_v2() {
        return;
    }
    let lacked: Vec<usize> = store.layers().missing(store.info()).collect();
    if lacked.is_empty() {
        return;
    }
    let progress = |done, total| shared.set_check_progress(done, total);
    store.find_layers(findings.observed(), &shared.cancelled, &progress);
    shared.set_check_progress(0, 0);
    let known = store.layers();
    let found = lacked.into_iter().filter(|file| known.of_file(store.info(), *file).is_some());
    let found: Vec<usize> = found.collect();
    if !found.is_empty() {
        findings.doubt(store.info(), found.into_iter());
        findings.remember(resume::to_remember(&shared.torrent, &known));
    }
}

/// Files of other torrents that may be the missing ones.
fn sources(session: &SessionShared, shared: &TorrentShared, missing: &[usize]) -> Vec<Source> {
    let files = missing.iter().filter_map(|file| shared.torrent.info.files().get(*file));
    let wanted = Wanted {
        names: shared.names().collect(),
        hints: shared.torrent.hints().clone(),
        files: files.map(|entry| (entry.length, entry.root)).collect(),
    };
    let lengths: HashSet<u64> = wanted.files.iter().map(|(length, _)| *length).collect();
    let roots: HashSet<MerkleHash> = wanted.files.iter().filter_map(|(_, root)| *root).collect();
    let mut found = Vec::new();
    for other in session.all() {
        if other.info_hash() == shared.info_hash() || other.torrent.info.is_private() {
            continue;
        }
        let hinted = are_hinted(&shared.torrent, &other.torrent);
        if !hinted && (roots.is_empty() || !other.torrent.info.has_v2()) {
            continue;
        }
        let may_be = |source: &Source| {
            lengths.contains(&source.length)
                && (hinted || source.root.is_some_and(|root| roots.contains(&root)))
        };
        let have = other.have();
        let files = whole_files(&other.torrent.info, &have, &other.store);
        found.extend(files.map(|file| file.source).filter(may_be));
    }
    shelving::enter_remembered(session);
    match session.state.sources(&wanted) {
        Ok(sources) => found.extend(sources),
        Err(error) => tracing::warn!(%error, "can't look for files of other torrents"),
    }
    found.truncate(SOURCES_MAX);
    found
}

/// Whether one of two torrents names the other, or both belong to a collection (BEP 38).
fn are_hinted(one: &Torrent, other: &Torrent) -> bool {
    let names = |hints: &Hints, torrent: &Torrent| {
        let v1 = torrent.info_hashes.v1();
        let v2 = torrent.info_hashes.v2().map(|hash| hash.truncated());
        v1.into_iter().chain(v2).any(|name| hints.similar.contains(&name))
    };
    let (a, b) = (one.hints(), other.hints());
    names(a, other)
        || names(b, one)
        || a.collections.iter().any(|collection| b.collections.contains(collection))
}

/// The files of which every piece is there, in this place.
fn whole_files<'a>(
    info: &'a Info,
    have: &'a Bitfield,
    store: &'a FileStore,
) -> impl Iterator<Item = ShelfFile> + 'a {
    let entries = info.files().iter().enumerate();
    entries.filter_map(move |(file, entry)| {
        let is_data = entry.length > 0 && !entry.attributes.pad && !entry.attributes.symlink;
        let is_whole = is_data && info.pieces_of_file(file).all(|piece| have.has(piece));
        is_whole.then(|| ShelfFile {
            file,
            source: Source { path: store.file_path(file), length: entry.length, root: entry.root },
        })
    })
}

/// Has the state remember which whole files it has, and where: when that is another.
pub(crate) fn shelve(shared: &TorrentShared) {
    if let (Some(record), Some(shelf)) = (shared.record.get(), shelf(shared, &shared.store)) {
        record.shelve(shelf);
    }
}

/// Its whole files as they are in this place, for the state to remember.
pub(crate) fn shelf(shared: &TorrentShared, store: &FileStore) -> Option<Shelf> {
    shelf_of(&shared.torrent, &shared.have(), store)
}

/// The same of one that has these pieces. `None` when it has nothing to offer.
pub(crate) fn shelf_of(torrent: &Torrent, have: &Bitfield, store: &FileStore) -> Option<Shelf> {
    if torrent.info.is_private() {
        return None;
    }
    let files: Vec<_> = whole_files(&torrent.info, have, store).take(SHELF_FILES_MAX).collect();
    if files.is_empty() {
        return None;
    }
    let v1 = torrent.info_hashes.v1();
    let v2 = torrent.info_hashes.v2().map(|hash| hash.truncated());
    let names = v1.into_iter().chain(v2).collect();
    Some(Shelf { names, hints: torrent.hints().clone(), files })
}
