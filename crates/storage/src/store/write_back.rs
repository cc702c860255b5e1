//! Data sets out for the disk while more of it comes, so that the sync at the end finds little left.
//!
//! A system begins by itself after half a minute, or when a tenth of its memory is to be written: most of a
//! fast download would be left for the sync that who stops it waits for.

use std::io;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::FileStore;
use super::open::errno;
use super::sync::let_go_of_ghosts;

/// New data of one file that is worth setting out: enough for a disk to write it in long runs.
pub(crate) const FRESH_BYTES: u64 = 32 * 1024 * 1024;

impl FileStore {
    pub(crate) fn count_fresh(&self, file: usize, bytes: u64) {
        let mut changes = self.changes();
        let fresh = changes.fresh.entry(file).or_default();
        let before = *fresh;
        *fresh = before.saturating_add(bytes);
        // Once: what follows before it set out needs no turn of its own, however long others take theirs.
        if before < FRESH_BYTES && *fresh >= FRESH_BYTES {
            self.write_back_is_due.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is time for [`Self::begin_write_back`]. True once: who asked sees to it.
    pub(crate) fn is_write_back_due(&self) -> bool {
        self.write_back_is_due.load(Ordering::Relaxed)
            && self.write_back_is_due.swap(false, Ordering::Relaxed)
    }

    /// Has the system begin to write what is new in files that have much of it. May wait for the disk
    /// to take it, though not for its end, and makes nothing durable.
    pub(crate) fn begin_write_back(&self) {
        let is_much = |_: &usize, bytes: &mut u64| *bytes >= FRESH_BYTES;
        let files: Vec<(usize, u64)> = self.changes().fresh.extract_if(.., is_much).collect();
        for (file, _) in files {
            // One that was closed again is left to the next sync, which says what is wrong with it.
            let open = self.handles.peek(self.key(file));
            let Some(open) = open else { continue };
            if let Err(error) = sys::begin_write_back(&open)
                && self.did_not_set_out(file, &error)
            {
                let_go_of_ghosts(&open);
            }
        }
    }

    /// The system may have dropped the data that it could not write, and say so here alone: then no
    /// later sync of the file says that it is on the disk. False when nothing was tried.
    fn did_not_set_out(&self, file: usize, error: &io::Error) -> bool {
        let path = self.file_path(file);
        if nothing_was_tried(error) {
            tracing::debug!(%error, path = %path.display(), "write-back did not begin");
            return false;
        }
        tracing::warn!(%error, path = %path.display(), "data did not get to the disk");
        self.changes().not_durable.insert(file, error.to_string());
        true
    }
}

/// The file or its system knows no such call, a sandbox refuses it, or there was no memory to begin with.
pub(super) fn nothing_was_tried(error: &io::Error) -> bool {
    let harmless =
        [Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::SPIPE, Errno::PERM, Errno::NOMEM];
    harmless.contains(&errno(error))
}

#[cfg(test)]
impl FileStore {
    pub(crate) fn fresh_bytes(&self) -> u64 {
        self.changes().fresh.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::StorageError;
    use crate::store::testing::Sample;

    #[test]
    fn write_back_is_due_once_for_each_32_mib_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::single(1);
        let store = sample.open(dir.path());
        sample.write_all(&store);
        let count = |file, bytes| {
            store.count_fresh(file, bytes);
            store.is_write_back_due()
        };
        let first = store.changes().fresh[&0];
        assert_eq!(first, 32 * 1024, "counted by the write itself");
        assert!(!count(1, FRESH_BYTES - 1), "another file");
        assert!(!count(0, FRESH_BYTES - first - 1));
        assert!(count(0, 1));
        assert!(!store.is_write_back_due(), "once");
        store.begin_write_back();
        assert_eq!(store.changes().fresh, BTreeMap::from([(1, FRESH_BYTES - 1)]));
        assert!(!count(0, FRESH_BYTES - 1) && count(0, 1), "and again");
    }

    #[test]
    fn what_is_written_while_it_waits_to_set_out_needs_no_second_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = Sample::single(1).open(dir.path());
        store.count_fresh(0, FRESH_BYTES);
        assert!(store.is_write_back_due());
        for _ in 0..3 {
            store.count_fresh(0, FRESH_BYTES);
            assert!(!store.is_write_back_due(), "it waits for its turn");
        }
        store.begin_write_back();
        store.count_fresh(0, FRESH_BYTES);
        assert!(store.is_write_back_due());
    }

    #[test]
    fn data_that_was_lost_on_its_way_never_counts_as_durable() {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::single(1);
        let store = sample.open(dir.path());
        sample.write_all(&store);
        let fails = |errno: Errno| store.did_not_set_out(0, &errno.into());
        for errno in [Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOMEM, Errno::PERM] {
            assert!(!fails(errno), "{errno}: what is cached is let be");
        }
        store.sync().unwrap();
        for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
            let store = sample.open(dir.path());
            assert!(store.did_not_set_out(0, &errno.into()));
            let result = store.sync();
            assert!(matches!(result, Err(StorageError::NotDurable { .. })), "{errno}: {result:?}");
            assert!(store.sync().is_err(), "for as long as it is open");
        }
    }

    #[test]
    fn what_was_synced_need_not_set_out() {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::single(1);
        let store = sample.open(dir.path());
        sample.write_all(&store);
        store.sync().unwrap();
        assert!(store.changes().fresh.is_empty());
    }
}
