//! Memory for many buffers of one size, in pages as large as the system has.
//!
//! The first touch of a page costs a fault, which takes several microseconds where the machine is a
//! virtual one. A buffer of 16 KiB from the allocator is four of them. A slab is one huge page, if
//! the system gives it one, and as many small ones as before if it does not.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a slab: one huge page of `x86_64`, and of 64-bit ARM with pages of 4 KiB.
pub const SLAB_BYTES: usize = 2 * 1024 * 1024;

/// A part of a slab: memory of its own, of zeros at first. The slab goes back to the system when the
/// last of its parts is dropped.
pub struct Part {
    slab: Arc<MmapRaw>,
    /// Where it begins in the slab. `start + length` is at most the slab's length, and no two parts
    /// of a slab overlap: [`slab`] alone makes parts, once for each slab, and they can't be cloned.
    start: usize,
    length: usize,
}

/// A new slab, in parts of `part_bytes`; what is left over at its end is not used.
///
/// # Errors
/// When the system has no memory, or the address space is full.
///
/// # Panics
/// When `part_bytes` is 0 or more than [`SLAB_BYTES`].
pub fn slab(part_bytes: usize) -> io::Result<impl ExactSizeIterator<Item = Part>> {
    assert!((1..=SLAB_BYTES).contains(&part_bytes), "a slab has no parts of {part_bytes} bytes");
    let memory = MmapOptions::new().len(SLAB_BYTES).map_anon()?;
    // Where there are no huge pages, small ones do.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    let slab = Arc::new(MmapRaw::from(memory));
    let part = move |index| Part {
        slab: Arc::clone(&slab),
        start: index * part_bytes,
        length: part_bytes,
    };
    Ok((0..SLAB_BYTES / part_bytes).map(part))
}

impl Deref for Part {
    type Target = [u8];

    #[allow(unsafe_code, reason = "a part of a mapping has no other type")]
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in the mapping (`start`), which lives as long as `slab` does, is
        // readable, and was initialised by the kernel. Nobody writes to it while it is borrowed:
        // no other part has these bytes, and `deref_mut` takes this one exclusively.
        unsafe { slice::from_raw_parts(self.slab.as_ptr().add(self.start), self.length) }
    }
}

impl DerefMut for Part {
    #[allow(unsafe_code, reason = "a part of a mapping has no other type")]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the mapping is writable, since it was made as a `MmapMut`, and
        // `&mut self` is the only way to these bytes.
        unsafe { slice::from_raw_parts_mut(self.slab.as_mut_ptr().add(self.start), self.length) }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_memory_of_its_own() {
        for length in [1000, 16 * 1024, SLAB_BYTES] {
            let mark = |number: usize| (number % 251 + 1) as u8;
            let mut parts: Vec<Part> = slab(length).unwrap().collect();
            assert_eq!(parts.len(), SLAB_BYTES / length);
            for (number, part) in parts.iter_mut().enumerate() {
                assert_eq!(part.len(), length);
                assert!(part.iter().all(|byte| *byte == 0));
                part.fill(mark(number));
            }
            for (number, part) in parts.iter().enumerate() {
                assert!(part.iter().all(|byte| *byte == mark(number)));
            }
        }
    }

    #[test]
    fn a_part_outlives_the_others_and_its_thread() {
        let mut last = slab(16 * 1024).unwrap().last().unwrap();
        std::thread::scope(|scope| scope.spawn(|| last.fill(7)).join()).unwrap();
        assert!(last.iter().all(|byte| *byte == 7));
    }

    #[test]
    #[should_panic(expected = "no parts of 0 bytes")]
    fn parts_of_nothing_are_refused() {
        let _ = slab(0);
    }
}
