//! What the allocator keeps for later and a process at rest does not need.

/// Gives memory that was freed and that the allocator still holds back to the system. It costs a walk
/// over the free memory, with each of the allocator's locks taken in turn: some milliseconds at most,
/// for a time when nobody waits. Does nothing where the allocator is not glibc's, which alone needs it.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "the allocator has no other door")]
    // SAFETY: `malloc_trim` takes any number, may be called at any time from any thread (POSIX safety
    // MT-Safe), and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Bytes of memory that only this process has.
    fn resident() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = maps.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn freed_memory_goes_back_though_something_beside_it_stays() {
        // Below the size that the allocator maps by itself, and each followed by one that stays.
        let (freed, stays): (Vec<_>, Vec<_>) =
            (0..1000).map(|_| (vec![1_u8; 64 * 1024], vec![1_u8; 64])).unzip();
        drop(freed);
        let before = resident();
        trim();
        let after = resident();
        assert!(before > after + 32 * 1024 * 1024, "{before} bytes before, {after} after");
        drop(stays);
    }
}
