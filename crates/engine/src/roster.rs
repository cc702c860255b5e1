//! Which torrents a session has, and on which shard each runs. Every operation but the listing of all
//! costs the same however many there are.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use metainfo::InfoHash;
use wire::mse::torrent_mark;

use crate::add::AddError;
use crate::handle::TorrentShared;

pub(crate) struct Roster {
    torrents: HashMap<InfoHash, Entry>,
    /// Hybrids by their other name, which is the first 20 bytes of their v2 hash.
    others: HashMap<InfoHash, InfoHash>,
    /// Hashes of the folder and name under which each torrent has its files, so that only those
    /// that may share a file are compared.
    homes: BTreeSet<(u64, InfoHash)>,
    /// Torrents by the names that they have within MSE.
    marks: HashMap<[u8; 20], InfoHash>,
    hasher: RandomState,
    /// Torrents on each shard.
    loads: Vec<usize>,
}

struct Entry {
    shard: usize,
    home: u64,
    shared: Arc<TorrentShared>,
}

impl Roster {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            torrents: HashMap::new(),
            others: HashMap::new(),
            homes: BTreeSet::new(),
            marks: HashMap::new(),
            hasher: RandomState::new(),
            loads: vec![0; shards],
        }
    }

    /// A torrent, by either of its names, and the number of its shard.
    pub(crate) fn find(&self, info_hash: &InfoHash) -> Option<(&Arc<TorrentShared>, usize)> {
        let info_hash = self.others.get(info_hash).unwrap_or(info_hash);
        self.torrents.get(info_hash).map(|entry| (&entry.shared, entry.shard))
    }

    /// The torrent that has this name within MSE.
    pub(crate) fn find_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        self.marks.get(mark).copied()
    }

    /// Puts a torrent on the shard with the fewest. No torrent comes in twice, and no two may write
    /// one file.
    pub(crate) fn add(&mut self, shared: &Arc<TorrentShared>) -> Result<(), AddError> {
        let info_hash = shared.info_hash();
        if let Some((there, _)) = shared.names().find_map(|name| self.find(&name)) {
            return Err(AddError::Duplicate(there.torrent.info_hashes));
        }
        let home = self.hasher.hash_one(shared.home());
        let first = InfoHash([0; 20]);
        let neighbours = self.homes.range((home, first)..).take_while(|(other, _)| *other == home);
        for (_, other) in neighbours {
            let Some(entry) = self.torrents.get(other) else { continue };
            if let Some(file) = shared.shares_file_with(&entry.shared) {
                let path = shared.store.file_path(file);
                return Err(AddError::PathInUse { path, other: *other });
            }
        }
        let shard = (0..self.loads.len()).min_by_key(|shard| self.loads.get(*shard)).unwrap_or(0);
        self.loads.get_mut(shard).into_iter().for_each(|load| *load += 1);
        self.homes.insert((home, info_hash));
        for name in shared.names() {
            self.marks.insert(torrent_mark(&name), name);
            if name != info_hash {
                self.others.insert(name, info_hash);
            }
        }
        self.torrents.insert(info_hash, Entry { shard, home, shared: Arc::clone(shared) });
        Ok(())
    }

    pub(crate) fn remove(&mut self, info_hash: &InfoHash) {
        if let Some(entry) = self.torrents.remove(info_hash) {
            self.homes.remove(&(entry.home, *info_hash));
            for name in entry.shared.names() {
                self.marks.remove(&torrent_mark(&name));
                self.others.remove(&name);
            }
            self.loads.get_mut(entry.shard).into_iter().for_each(|load| *load -= 1);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<TorrentShared>> {
        self.torrents.values().map(|entry| &entry.shared)
    }
}
