//! How much memory this process may count on: the machine's, or its container's if that is less.

use std::fs;
use std::path::{Path, PathBuf};

/// Assumed where the system does not say: small enough for any machine this runs on.
const MEMORY_UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Bytes of memory the system and the control group leave this process.
pub fn memory_total() -> u64 {
    let limits = limit_files().into_iter().filter_map(|path| limit(&path));
    limits.chain([physical()]).min().unwrap_or(MEMORY_UNKNOWN)
}

#[cfg(target_os = "linux")]
fn physical() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}

#[cfg(not(target_os = "linux"))]
fn physical() -> u64 {
    MEMORY_UNKNOWN
}

/// Files that may hold a limit: the control group's own and every one above it (version 2), and
/// where version 1 mounts a container's.
fn limit_files() -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let base = Path::new("/sys/fs/cgroup");
    let above = base.join(own);
    let above = above.ancestors().take_while(|path| path.starts_with(base));
    let mut files: Vec<PathBuf> = above.map(|path| path.join("memory.max")).collect();
    files.push(base.join("memory/memory.limit_in_bytes"));
    files
}

/// `None` for a file that is not there or says `max`.
fn limit(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory_and_no_more_than_the_machine_has() {
        assert!((1 << 20..=physical()).contains(&memory_total()));
    }

    #[test]
    fn limits_are_numbers_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.max");
        assert_eq!(limit(&file), None);
        fs::write(&file, "max\n").unwrap();
        assert_eq!(limit(&file), None);
        fs::write(&file, "268435456\n").unwrap();
        assert_eq!(limit(&file), Some(256 << 20));
    }
}
