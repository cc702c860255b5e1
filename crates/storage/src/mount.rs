//! Whose memory holds what is not on the disk yet: this boot's kernel, for as long as the file system is
//! mounted. A disk that was pulled out and is back is mounted anew, and what was on its way to it is gone.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::resume::boot_id;

/// A mount as no other is called in this boot (Linux 6.8 and later), or that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mount(u64);

const UNKNOWN: Mount = Mount(0);

impl Mount {
    /// One that was not looked for.
    pub(crate) fn unknown() -> Self {
        UNKNOWN
    }

    /// The one that an open folder is on.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(folder: impl AsFd) -> Self {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        /// `STATX_MNT_ID_UNIQUE` (`linux/stat.h`).
        const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
        let found = statx(folder, "", AtFlags::EMPTY_PATH, UNIQUE);
        let known = found.ok().filter(|found| found.stx_mask & UNIQUE.bits() != 0);
        known.map_or(UNKNOWN, |found| Self(found.stx_mnt_id))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: impl AsFd) -> Self {
        UNKNOWN
    }

    /// Names this boot of the system and this mount, as [`boot_id`] does the one.
    pub(crate) fn boot_id(self) -> Arc<str> {
        // One for all torrents of a mount: there are many.
        static KNOWN: LazyLock<Mutex<HashMap<Mount, Arc<str>>>> = LazyLock::new(Mutex::default);
        let boot = boot_id();
        if self == UNKNOWN || boot.is_empty() {
            return boot;
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(self).or_insert_with(|| format!("{boot} {}", self.0).into()))
    }
}

/// Whether the system is one that names mounts.
#[cfg(test)]
pub(crate) fn are_named() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    cfg!(target_os = "linux") && (next(), next()) >= (6, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_one_name_in_a_boot() {
        let open = |path: &str| std::fs::File::open(path).unwrap();
        let (root, proc) = (Mount::of(open("/")), Mount::of(open("/proc")));
        assert_eq!(root, Mount::of(open("/")));
        assert!(root != UNKNOWN || !are_named());
        assert_eq!(root == proc, root == UNKNOWN, "another mount is another");
        assert!(Arc::ptr_eq(&root.boot_id(), &root.boot_id()));
        assert!(root.boot_id().starts_with(&*boot_id()));
        assert_eq!(UNKNOWN.boot_id(), boot_id());
        assert_eq!(root.boot_id() == boot_id(), root == UNKNOWN);
    }
}
