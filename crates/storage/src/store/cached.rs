//! Reading for who must not wait: what the kernel has in memory.
//!
//! `RWF_NOWAIT` has it say when it has not all of it. File systems that are memory don't know that flag and
//! don't need it, as long as there is no swap that their pages may have gone to.

use std::fs::File;

use metainfo::PieceIndex;

use super::FileStore;
use crate::handles::{OpenFile, Promptly};

impl FileStore {
    /// As [`Self::read`], for who must not wait: only where the files are open and the kernel has
    /// all of it in memory. `false` says nothing about what is on the disk.
    pub(crate) fn read_cached(&self, piece: PieceIndex, begin: u32, mut out: &mut [u8]) -> bool {
        let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
        if !self.info.geometry().contains(piece, begin, length) {
            return false;
        }
        // Who must not wait does not wait for a file on its way out of the part store either.
        let Ok(_in_place) = self.placing.try_read() else { return false };
        let segments = self.info.segments(piece, begin, length);
        for segment in segments.flat_map(|segment| self.places(segment)) {
            let (now, rest) = out.split_at_mut(segment.length as usize);
            out = rest;
            if self.entry(segment.file).is_ok_and(|entry| entry.attributes.pad) {
                now.fill(0);
                continue;
            }
            let Some(file) = self.handles.peek(self.key(segment.file)) else { return false };
            if !read_promptly(&file, now, segment.offset) {
                return false;
            }
        }
        true
    }
}

/// Whether it could be had without waiting. The first who asks finds out how the file is read.
fn read_promptly(file: &OpenFile, out: &mut [u8], offset: u64) -> bool {
    match *file.promptly.get_or_init(|| way_to_read(file)) {
        Promptly::WhatIsCached => system::read(file, out, offset, true),
        Promptly::All => system::read(file, out, offset, false),
        Promptly::Nothing => false,
    }
}

fn way_to_read(file: &File) -> Promptly {
    if system::tells_what_is_cached(file) {
        Promptly::WhatIsCached
    } else if system::is_in_memory(file) {
        Promptly::All
    } else {
        Promptly::Nothing
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;

    use rustix::fs::fstatfs;
    use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};
    use rustix::system::sysinfo;

    /// `f_type` of `tmpfs` and `ramfs` (`linux/magic.h`).
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;

    /// Fills `out`, if that takes no waiting or the file is one that never makes wait.
    pub(super) fn read(file: &File, mut out: &mut [u8], mut offset: u64, asking: bool) -> bool {
        let flags = if asking { ReadWriteFlags::NOWAIT } else { ReadWriteFlags::empty() };
        while !out.is_empty() {
            match preadv2(file, &mut [IoSliceMut::new(out)], offset, flags) {
                Ok(0) => return false, // cut short: who may wait finds out
                Ok(read) => {
                    out = &mut out[read..];
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(_) => return false, // not in memory
            }
        }
        true
    }

    pub(super) fn tells_what_is_cached(file: &File) -> bool {
        let read = preadv2(file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT);
        !matches!(read, Err(Errno::OPNOTSUPP | Errno::NOSYS))
    }

    /// Whether what it holds is in memory and can be nowhere else.
    pub(super) fn is_in_memory(file: &File) -> bool {
        fstatfs(file).is_ok_and(|found| stays_in_memory(found.f_type as u32, sysinfo().totalswap))
    }

    /// Files of `tmpfs` go to the swap; those of `ramfs` never do.
    pub(super) fn stays_in_memory(file_system: u32, swap: u64) -> bool {
        file_system == RAMFS || (file_system == TMPFS && swap == 0)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;

    pub(super) fn read(_: &File, _: &mut [u8], _: u64, _: bool) -> bool {
        false
    }

    pub(super) fn tells_what_is_cached(_: &File) -> bool {
        false
    }

    pub(super) fn is_in_memory(_: &File) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::testing::Sample;

    const MEMORY: &str = "/dev/shm";

    #[test]
    fn a_file_is_read_in_the_way_that_was_found_for_it() {
        for (way, is_read) in [(Promptly::All, true), (Promptly::Nothing, false)] {
            let dir = tempfile::tempdir().unwrap();
            let sample = Sample::single(2);
            let store = sample.open(dir.path());
            sample.write_all(&store);
            let file = store.handles.peek(store.key(0)).unwrap();
            file.promptly.set(way).unwrap();
            let mut out = vec![0; 1000];
            assert_eq!(store.read_cached(1, 100, &mut out), is_read, "{way:?}");
            assert_eq!(out == sample.piece(1)[100..1100], is_read, "{way:?}");
            file.set_len(0).unwrap();
            assert!(!store.read_cached(1, 100, &mut out), "{way:?}, cut short");
        }
    }

    #[test]
    fn only_what_can_be_nowhere_else_stays_in_memory() {
        let (tmpfs, ramfs, ext4) = (0x0102_1994, 0x8584_58f6, 0xef53);
        let swap = [0, 4096];
        assert_eq!(swap.map(|swap| system::stays_in_memory(tmpfs, swap)), [true, false]);
        assert_eq!(swap.map(|swap| system::stays_in_memory(ramfs, swap)), [true, true]);
        assert_eq!(swap.map(|swap| system::stays_in_memory(ext4, swap)), [false, false]);
    }

    #[test]
    fn files_in_memory_are_read_at_once_where_there_is_no_swap() {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        if !mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq([MEMORY, "tmpfs"])) {
            return; // no such place here
        }
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap();
        let has_swap = swaps.lines().count() > 1; // below the heading
        let dir = tempfile::tempdir_in(Path::new(MEMORY)).unwrap();
        let sample = Sample::single(2);
        let store = sample.open(dir.path());
        sample.write_all(&store);
        let mut out = vec![0; 1000];
        assert_eq!(store.read_cached(1, 100, &mut out), !has_swap);
        assert_eq!(out == sample.piece(1)[100..1100], !has_swap);
    }
}
