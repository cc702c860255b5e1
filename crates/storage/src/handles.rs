//! Open files, over all torrents: few enough to stay under the process's limit.
//!
//! A torrent of thousands of files, or thousands of torrents, must not use up the descriptors that
//! sockets need. Handles are opened when first used and the least recently used is closed when the
//! cache is full; a torrent at rest holds none.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Resource, getrlimit, setrlimit};

/// More open files than this buys no speed.
const HANDLES_MAX: u64 = 512;
/// Fewer than this thrash with a handful of torrents, and fit under any limit that lets us run.
const HANDLES_MIN: u64 = 16;
/// The share of the process's descriptors that files may have; sockets get the rest.
const LIMIT_FRACTION: u64 = 4;

/// Raises this process's limit on open files as far as the system lets it. Returns the new limit.
///
/// # Errors
/// What the system said; the old limit stays.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    /// How it is read by who must not wait, once somebody tried.
    pub(crate) promptly: OnceLock<Promptly>,
}

/// How to read a file without waiting for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promptly {
    /// The kernel says when it can't (`RWF_NOWAIT`).
    WhatIsCached,
    /// As any other file: it is in memory and nowhere else.
    All,
    /// Not at all.
    Nothing,
}

impl From<File> for OpenFile {
    fn from(file: File) -> Self {
        Self { file, promptly: OnceLock::new() }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Names a file over all torrents: the store's number and the file's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HandleKey {
    pub(crate) store: u64,
    pub(crate) file: usize,
}

/// A bounded set of open files, shared by all torrents of a process.
#[derive(Debug)]
pub struct HandleCache {
    entries: Mutex<Entries>,
    handles_max: usize,
}

#[derive(Debug, Default)]
struct Entries {
    open: HashMap<HandleKey, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<OpenFile>,
    writable: bool,
    used: u64,
}

impl HandleCache {
    /// Keeps at most `handles_max` files open, and at least one.
    pub fn new(handles_max: usize) -> Self {
        Self { entries: Mutex::default(), handles_max: handles_max.max(1) }
    }

    /// As many as a quarter of this process's limit on open files, and at most 512.
    pub fn for_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new((limit / LIMIT_FRACTION).clamp(HANDLES_MIN, HANDLES_MAX) as usize)
    }

    /// Files open at the moment.
    pub fn open_files(&self) -> usize {
        self.lock().open.len()
    }

    /// The open file, or the one `open` gives. A file that is to be written replaces a read-only
    /// one. `open` runs without the lock: a slow disk delays only who asked for it.
    pub(crate) fn get<E>(
        &self,
        key: HandleKey,
        writable: bool,
        open: impl FnOnce() -> Result<File, E>,
    ) -> Result<Arc<OpenFile>, E> {
        if let Some(file) = self.lock().hit(key, writable) {
            return Ok(file);
        }
        let file = Arc::new(OpenFile::from(open()?));
        // Closing may wait for a disk too, so what leaves the cache is dropped after the lock.
        let mut leaving = Vec::new();
        let mut entries = self.lock();
        if let Some(first) = entries.hit(key, writable) {
            return Ok(first); // another thread opened it meanwhile
        }
        entries.clock += 1;
        let entry = Entry { file: Arc::clone(&file), writable, used: entries.clock };
        leaving.extend(entries.open.insert(key, entry));
        while entries.open.len() > self.handles_max {
            leaving.extend(entries.remove_oldest());
        }
        drop(entries);
        Ok(file)
    }

    /// The file if it is open.
    pub(crate) fn peek(&self, key: HandleKey) -> Option<Arc<OpenFile>> {
        self.lock().hit(key, false)
    }

    /// Closes one file.
    pub(crate) fn forget(&self, key: HandleKey) {
        let leaving = self.lock().open.remove(&key);
        drop(leaving);
    }

    /// Closes all files of a store.
    pub(crate) fn forget_store(&self, store: u64) {
        let mut entries = self.lock();
        let keys: Vec<HandleKey> =
            entries.open.keys().filter(|key| key.store == store).copied().collect();
        let leaving: Vec<Option<Entry>> = keys.iter().map(|key| entries.open.remove(key)).collect();
        drop(entries);
        drop(leaving);
    }

    /// Each change is one insertion or removal, so the map is whole whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn hit(&mut self, key: HandleKey, writable: bool) -> Option<Arc<OpenFile>> {
        self.clock += 1;
        let entry = self.open.get_mut(&key).filter(|entry| entry.writable || !writable)?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.file))
    }

    /// A walk over at most 512 entries costs less than the `open` that made it necessary.
    fn remove_oldest(&mut self) -> Option<Entry> {
        let oldest = *self.open.iter().min_by_key(|(_, entry)| entry.used)?.0;
        self.open.remove(&oldest)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    fn key(file: usize) -> HandleKey {
        HandleKey { store: 0, file }
    }

    #[test]
    fn the_least_recently_used_is_closed() {
        let cache = HandleCache::new(2);
        let opens = Cell::new(0);
        let get = |file, writable| {
            let open = || {
                opens.set(opens.get() + 1);
                Ok::<_, Infallible>(tempfile::tempfile().unwrap())
            };
            cache.get(key(file), writable, open).unwrap()
        };
        get(1, false);
        get(2, false);
        get(1, false);
        get(3, false); // closes 2
        assert_eq!((opens.get(), cache.open_files()), (3, 2));
        get(1, false);
        assert_eq!(opens.get(), 3, "1 was used after 2");
        get(2, false);
        assert_eq!(opens.get(), 4);
    }

    #[test]
    fn a_read_only_handle_is_replaced_to_write_and_not_the_reverse() {
        let cache = HandleCache::new(4);
        let open = || Ok::<_, Infallible>(tempfile::tempfile().unwrap());
        let read = cache.get(key(1), false, open).unwrap();
        let write = cache.get(key(1), true, open).unwrap();
        assert!(!Arc::ptr_eq(&read, &write));
        assert!(Arc::ptr_eq(&write, &cache.get(key(1), false, open).unwrap()));
        assert_eq!(cache.open_files(), 1);
    }

    #[test]
    fn a_store_is_forgotten_whole() {
        let cache = HandleCache::new(8);
        let (a, b) = (1, 2);
        let open = || Ok::<_, Infallible>(tempfile::tempfile().unwrap());
        for (store, file) in [(a, 0), (a, 1), (b, 0)] {
            cache.get(HandleKey { store, file }, false, open).unwrap();
        }
        cache.forget_store(a);
        assert_eq!(cache.open_files(), 1);
        cache.forget(HandleKey { store: b, file: 0 });
        assert_eq!(cache.open_files(), 0);
    }

    #[test]
    fn the_size_follows_the_process_limit() {
        let limit = raise_file_limit().unwrap();
        let cache = HandleCache::for_this_process();
        assert!(cache.handles_max as u64 <= HANDLES_MAX.max(limit / 4));
        assert!(cache.handles_max as u64 >= HANDLES_MIN);
    }
}
