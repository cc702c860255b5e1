//! Memory that the kernel copies into and out of at full speed.
//!
//! A copy whose target lies 16 bytes behind its source, both counted within their pages, takes four
//! times as long as any other: the processor takes each load to depend on the store before it.
//! Pages of files begin where pages begin, and the system's allocator puts every large buffer 16
//! bytes behind that. So buffers for files and sockets begin at a cache line instead.

use std::ops::{Deref, DerefMut};

const CACHE_LINE: usize = 64;

/// Bytes that begin at a cache line.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Zeros.
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0_u8; length + CACHE_LINE].into_boxed_slice();
        // Where no alignment is to be had, the buffer is only slower.
        let start = bytes.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE);
        Self { bytes, start, length }
    }

    /// Makes it at least this long; what was in it may be gone.
    pub(crate) fn reserve(&mut self, length: usize) {
        if self.length < length {
            *self = Self::new(length);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_at_a_cache_line() {
        for length in [0, 1, 100, 16 * 1024, 1 << 20] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.len(), length);
            assert!(length == 0 || buffer.as_ptr().addr().is_multiple_of(CACHE_LINE));
            buffer.reserve(length + 1);
            assert_eq!(buffer.len(), length + 1);
            buffer.reserve(length);
            assert_eq!(buffer.len(), length + 1, "it does not shrink");
        }
    }
}
