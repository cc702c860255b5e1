//! Data sets out for the disk while more of it comes, so that the sync at the end finds little left.
//!
//! A system begins by itself after half a minute, or when a tenth of its memory is to be written: most of a
//! fast download would be left for the sync that who stops it waits for.

use std::sync::atomic::Ordering;

use super::FileStore;

/// New data of one file that is worth setting out: enough for a disk to write it in long runs.
pub(crate) const FRESH_BYTES: u64 = 32 * 1024 * 1024;

impl FileStore {
    pub(crate) fn count_fresh(&self, file: usize, bytes: u64) {
        let mut changes = self.changes();
        let fresh = changes.fresh.entry(file).or_default();
        *fresh += bytes;
        if *fresh >= FRESH_BYTES {
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
            if let Some(Err(error)) = open.map(|open| sys::begin_write_back(&open)) {
                let path = self.file_path(file);
                tracing::debug!(%error, path = %path.display(), "write-back did not begin");
            }
        }
    }
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
    fn what_was_synced_need_not_set_out() {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::single(1);
        let store = sample.open(dir.path());
        sample.write_all(&store);
        store.sync().unwrap();
        assert!(store.changes().fresh.is_empty());
    }
}
