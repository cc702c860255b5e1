//! A peer's disk: what programs read (the page cache) and what a power cut leaves (the platter),
//! block by block, with every way in which disks fail.

use std::collections::BTreeSet;
use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Info};
use storage::{FileSeen, Observed};

use crate::content::{Content, scramble};

/// Why a disk does not do what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// ENOSPC.
    Full,
    /// EIO.
    Broken,
    /// ENOENT: somebody took the file away.
    Missing,
}

/// What is wrong with a disk at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// It takes nothing more.
    pub full: bool,
    /// Writes fail.
    pub write_errors: bool,
    /// Reads fail.
    pub read_errors: bool,
    /// What each operation takes longer.
    pub delay: Duration,
}

#[derive(Debug, Clone, Copy)]
struct File {
    /// Blocks of the torrent, from and up to.
    first: u32,
    end: u32,
    seen: Option<FileSeen>,
    /// What of that a power cut leaves.
    durable: Option<FileSeen>,
    /// The running program saw it: it makes no new one in its place.
    known: bool,
}

/// One peer's disk.
#[derive(Debug, Clone)]
pub struct Disk {
    cache: Vec<Content>,
    platter: Vec<Content>,
    dirty: BTreeSet<u32>,
    files: Vec<File>,
    /// Blocks that somebody else destroyed, which nobody can know until they are read.
    tampered: BTreeSet<u32>,
    /// What is wrong with it.
    pub trouble: Trouble,
}

impl Disk {
    /// An empty one for that torrent.
    pub fn new(info: &Info) -> Self {
        let length = u64::from(BLOCK_LENGTH);
        let blocks = info.geometry().end().div_ceil(length) as usize;
        let file = |entry: &metainfo::FileEntry| File {
            first: (entry.offset / length) as u32,
            end: ((entry.offset + entry.length) / length) as u32,
            seen: None,
            durable: None,
            known: false,
        };
        Self {
            cache: vec![0; blocks],
            platter: vec![0; blocks],
            dirty: BTreeSet::new(),
            files: info.files().iter().map(file).collect(),
            tampered: BTreeSet::new(),
            trouble: Trouble::default(),
        }
    }

    /// Writes blocks from `first` on. A write that fails may have written a part.
    ///
    /// # Errors
    /// When the disk has trouble.
    pub fn write(
        &mut self,
        now: Duration,
        first: u32,
        blocks: &[Content],
        rng: &mut fastrand::Rng,
    ) -> Result<(), DiskError> {
        let failure = match self.trouble {
            Trouble { full: true, .. } => Some(DiskError::Full),
            Trouble { write_errors: true, .. } => Some(DiskError::Broken),
            _ if self.is_gone(first..first + blocks.len() as u32) => {
                return Err(DiskError::Missing);
            }
            _ => None,
        };
        let count = failure.map_or(blocks.len(), |_| rng.usize(0..blocks.len().max(1)));
        for (block, content) in (first..).zip(&blocks[..count]) {
            self.put(now, block, *content);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether a file that was there is not there any more: a new one would be zeros that pass for
    /// pieces, so storage refuses to make it.
    fn is_gone(&self, blocks: std::ops::Range<u32>) -> bool {
        let touched = |file: &&File| file.first < blocks.end && blocks.start < file.end;
        self.files.iter().filter(touched).any(|file| file.known && file.seen.is_none())
    }

    /// Another program looks at the files, and knows nothing of those that were there.
    pub fn reopen(&mut self) {
        self.files.iter_mut().for_each(|file| file.known = file.seen.is_some());
    }

    fn put(&mut self, now: Duration, block: u32, content: Content) {
        self.cache[block as usize] = content;
        self.dirty.insert(block);
        self.tampered.remove(&block);
        if let Some(file) =
            self.files.iter_mut().find(|file| (file.first..file.end).contains(&block))
        {
            let length = u64::from(block + 1 - file.first) * u64::from(BLOCK_LENGTH);
            let before = file.seen.map_or(0, |seen| seen.length);
            file.known = true;
            file.seen =
                Some(FileSeen { length: before.max(length), modified_ns: now.as_nanos() as i64 });
        }
    }

    /// Reads a block.
    ///
    /// # Errors
    /// When the disk has trouble, or the file is not there.
    pub fn read(&self, block: u32) -> Result<Content, DiskError> {
        if self.trouble.read_errors {
            return Err(DiskError::Broken);
        }
        let file = self.files.iter().find(|file| (file.first..file.end).contains(&block));
        match file.and_then(|file| file.seen.map(|seen| (file, seen))) {
            Some((file, seen))
                if u64::from(block - file.first) * u64::from(BLOCK_LENGTH) < seen.length =>
            {
                Ok(self.cache[block as usize])
            }
            _ => Err(DiskError::Missing),
        }
    }

    /// What a program would read there.
    pub fn cached(&self, blocks: std::ops::Range<usize>) -> &[Content] {
        &self.cache[blocks]
    }

    /// What a power cut would leave there.
    pub fn durable(&self, blocks: std::ops::Range<usize>) -> &[Content] {
        &self.platter[blocks]
    }

    /// Whether somebody else destroyed one of the blocks.
    pub fn is_tampered(&self, blocks: std::ops::Range<usize>) -> bool {
        self.tampered.range(blocks.start as u32..blocks.end as u32).next().is_some()
    }

    /// What a sync that begins now will bring to the platter.
    pub fn dirty(&self) -> BTreeSet<u32> {
        self.dirty.clone()
    }

    /// A sync ends, that began with these blocks dirty.
    ///
    /// # Errors
    /// When the disk has trouble; nothing is promised then.
    pub fn synced(&mut self, blocks: &BTreeSet<u32>) -> Result<(), DiskError> {
        if self.trouble.write_errors {
            return Err(DiskError::Broken);
        }
        for block in blocks {
            self.platter[*block as usize] = self.cache[*block as usize];
            self.dirty.remove(block);
        }
        self.files.iter_mut().for_each(|file| file.durable = file.seen);
        Ok(())
    }

    /// Fills it with the whole torrent, as if it had been there for long.
    pub fn fill(&mut self, content: impl Fn(u32) -> Option<Content>) {
        for block in 0..self.cache.len() as u32 {
            if let Some(content) = content(block) {
                self.put(Duration::from_nanos(1), block, content);
            }
        }
        let all = self.dirty();
        let _ = self.synced(&all); // a new disk has no trouble
    }

    /// The power goes. Of what was not synced some is there, some is not, and some is torn; so it
    /// is with what the file system knows about lengths and times.
    pub fn power_loss(&mut self, rng: &mut fastrand::Rng) {
        for block in std::mem::take(&mut self.dirty) {
            let at = block as usize;
            match rng.u8(0..3) {
                0 => self.platter[at] = self.cache[at],
                1 => self.platter[at] = scramble(self.cache[at] ^ self.platter[at]),
                _ => {}
            }
        }
        self.cache.clone_from(&self.platter);
        for file in &mut self.files {
            let last = (file.first..file.end).rev().find(|block| self.cache[*block as usize] != 0);
            let there =
                last.map_or(0, |last| u64::from(last + 1 - file.first) * u64::from(BLOCK_LENGTH));
            let times = if rng.bool() { file.seen } else { file.durable.or(file.seen) };
            let length = file.durable.map_or(0, |durable| durable.length).max(there);
            file.seen = times.filter(|_| length > 0).map(|seen| FileSeen { length, ..seen });
            file.durable = file.seen;
        }
    }

    /// Somebody deletes a file.
    pub fn vanish(&mut self, file: usize) {
        let Some(file) = self.files.get_mut(file) else { return };
        file.seen = None;
        file.durable = None;
        for block in file.first..file.end {
            self.cache[block as usize] = 0;
            self.platter[block as usize] = 0;
            self.dirty.remove(&block);
            self.tampered.insert(block);
        }
    }

    /// How the files look.
    pub fn observe(&self) -> Observed {
        Observed {
            root_device: Some(1),
            files: self.files.iter().map(|file| file.seen).collect(),
            apart: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Data;
    use crate::plan::Plan;

    fn disk() -> (Disk, fastrand::Rng) {
        let plan = Plan { pieces: 4, blocks_per_piece: 2, files: 2, ..Plan::default() };
        (Disk::new(&Data::new(&plan).info), fastrand::Rng::with_seed(3))
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let (mut disk, mut rng) = disk();
        disk.write(Duration::from_secs(1), 0, &[11, 12], &mut rng).unwrap();
        let begun = disk.dirty();
        disk.write(Duration::from_secs(2), 2, &[13, 14], &mut rng).unwrap();
        disk.synced(&begun).unwrap();
        assert_eq!(disk.durable(0..4), [11, 12, 0, 0]);
        let mut outcomes = BTreeSet::new();
        for seed in 0..50 {
            let mut cut = disk.clone();
            cut.power_loss(&mut fastrand::Rng::with_seed(seed));
            assert_eq!(cut.cached(0..2), [11, 12]);
            outcomes.insert(cut.cached(2..4).to_vec());
        }
        assert!(outcomes.contains(&vec![0, 0]) && outcomes.contains(&vec![13, 14]));
        assert_eq!(outcomes.len(), 9, "each of two blocks is there, gone or torn");
    }

    #[test]
    fn trouble_is_reported_and_may_leave_a_part() {
        let (mut disk, mut rng) = disk();
        disk.trouble.full = true;
        assert_eq!(disk.write(Duration::ZERO, 0, &[1, 2], &mut rng), Err(DiskError::Full));
        disk.trouble = Trouble { write_errors: true, ..Trouble::default() };
        assert_eq!(disk.write(Duration::ZERO, 0, &[1, 2], &mut rng), Err(DiskError::Broken));
        assert_eq!(disk.synced(&BTreeSet::new()), Err(DiskError::Broken));
        disk.trouble = Trouble::default();
        disk.write(Duration::ZERO, 0, &[1, 2], &mut rng).unwrap();
        assert_eq!(disk.read(1), Ok(2));
        assert_eq!(disk.read(2), Err(DiskError::Missing), "past the end of the file");
        disk.vanish(0);
        assert_eq!(disk.read(1), Err(DiskError::Missing));
        assert!(disk.is_tampered(0..2));
        assert_eq!(disk.observe().files, [None, None]);
        assert_eq!(disk.write(Duration::ZERO, 2, &[3], &mut rng), Err(DiskError::Missing));
        disk.reopen();
        assert_eq!(disk.write(Duration::ZERO, 2, &[3], &mut rng), Ok(()));
    }
}
