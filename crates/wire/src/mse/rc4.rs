//! RC4 as MSE uses it: the first 1,024 bytes of the key stream are thrown away.
//!
//! Our own, because it is a dozen lines. A crate for it is no faster and brings five more.

// An index is one byte, and the table has a place for each.
#![allow(clippy::indexing_slicing)]

use std::fmt;

/// Bytes that everybody skips: RC4's first are the weakest.
const DISCARDED_BYTES: usize = 1024;

/// One direction's key stream.
#[derive(Clone)]
pub struct Rc4 {
    table: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// The stream of `key`, after what everybody skips.
    pub(super) fn new(key: &[u8]) -> Self {
        let mut table = [0; 256];
        (0..=255).zip(&mut table).for_each(|(number, place)| *place = number);
        let mut j = 0_u8;
        for (i, key) in (0..=255_u8).zip(key.iter().cycle()) {
            j = j.wrapping_add(table[usize::from(i)]).wrapping_add(*key);
            table.swap(usize::from(i), usize::from(j));
        }
        let mut stream = Self { table, i: 0, j: 0 };
        stream.apply(&mut [0; DISCARDED_BYTES]);
        stream
    }

    /// Encrypts or decrypts `bytes` where they are.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let Self { table, .. } = self;
        let (mut i, mut j) = (self.i, self.j);
        for byte in bytes {
            i = i.wrapping_add(1);
            let at_i = table[usize::from(i)];
            j = j.wrapping_add(at_i);
            let at_j = table[usize::from(j)];
            table[usize::from(i)] = at_j;
            table[usize::from(j)] = at_i;
            *byte ^= table[usize::from(at_i.wrapping_add(at_j))];
        }
        (self.i, self.j) = (i, j);
    }
}

impl fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rc4") // its state is a key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a key's stream.
    fn stream(key: &[u8]) -> [u8; 16] {
        let mut bytes = [0; 16];
        Rc4::new(key).apply(&mut bytes);
        bytes
    }

    /// RFC 6229 lists the stream at offset 1,024.
    #[test]
    fn published_vectors() {
        assert_eq!(
            u128::from_be_bytes(stream(&[1, 2, 3, 4, 5])),
            0x30ab_bcc7_c20b_0160_9f23_ee2d_5f6b_b7df
        );
        assert_eq!(
            u128::from_be_bytes(stream(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])),
            0xbdf0_324e_6083_dcc6_d3ce_dd3c_a8c5_3c16
        );
    }

    #[test]
    fn it_makes_no_difference_how_the_bytes_are_cut() {
        let mut whole = [7; 100];
        Rc4::new(b"key").apply(&mut whole);
        let (mut parts, mut stream) = ([7; 100], Rc4::new(b"key"));
        for part in parts.chunks_mut(7) {
            stream.apply(part);
        }
        assert_eq!(parts, whole);
        Rc4::new(b"key").apply(&mut whole);
        assert_eq!(whole, [7; 100]);
    }
}
