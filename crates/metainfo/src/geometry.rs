//! How a torrent's bytes divide into pieces and blocks (BEP 3, 52).

use std::sync::Arc;

/// Index of a piece, from zero.
pub type PieceIndex = u32;

/// Bytes in every block but a piece's last: what every client requests (16 KiB, BEP 3).
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// Sizes of a torrent's pieces and blocks. Cheap to clone; every index is checked by the caller
/// against [`Geometry::piece_count`] before it is used here.
///
/// In a torrent that is v2 only, each file begins a piece and leaves its last one short (BEP 52): the
/// pieces then have gaps between them that no file has bytes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Where the last file ends: bytes and gaps.
    span: u64,
    piece_length: u32,
    /// Nearly all torrents have none.
    gaps: Option<Arc<Gaps>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Gaps {
    /// Bytes of all pieces.
    total_length: u64,
    /// Pieces before the last that are shorter than the others, and their bytes, by index.
    short: Box<[(PieceIndex, u32)]>,
}

impl Geometry {
    /// Pieces without gaps. `None` when `piece_length` is zero or there would be more than `u32::MAX`
    /// pieces.
    pub fn new(total_length: u64, piece_length: u32) -> Option<Self> {
        if piece_length == 0 {
            return None;
        }
        u32::try_from(total_length.div_ceil(u64::from(piece_length))).ok()?;
        Some(Self { span: total_length, piece_length, gaps: None })
    }

    /// The pieces of files of these lengths, each of which begins a piece. `None` as for
    /// [`Self::new`].
    pub fn aligned(lengths: impl IntoIterator<Item = u64>, piece_length: u32) -> Option<Self> {
        let (mut span, mut total, mut short) = (0_u64, 0_u64, Vec::new());
        for length in lengths.into_iter().filter(|length| *length > 0) {
            let start = Self::new(span, piece_length)?.piece_count();
            if let Some(rest) = span.checked_rem(u64::from(piece_length)).filter(|rest| *rest > 0) {
                short.push((start.saturating_sub(1), rest as u32));
            }
            span = u64::from(start).checked_mul(u64::from(piece_length))?.checked_add(length)?;
            total = total.checked_add(length)?;
        }
        let gaps = Gaps { total_length: total, short: short.into() };
        let gaps = (!gaps.short.is_empty()).then(|| Arc::new(gaps));
        Some(Self { gaps, ..Self::new(span, piece_length)? })
    }

    /// Bytes of all pieces, pad files included.
    pub fn total_length(&self) -> u64 {
        self.gaps.as_ref().map_or(self.span, |gaps| gaps.total_length)
    }

    /// Where the last file ends: bytes and gaps.
    pub fn end(&self) -> u64 {
        self.span
    }

    /// Bytes in every piece but the last, and but those at the end of a file in a v2 torrent.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces; zero for a torrent of only empty files.
    pub fn piece_count(&self) -> u32 {
        self.span.div_ceil(u64::from(self.piece_length)) as u32
    }

    /// Bytes in `piece`; zero when there is no such piece.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        if let Some(gaps) = &self.gaps
            && let Ok(at) = gaps.short.binary_search_by_key(&piece, |(piece, _)| *piece)
        {
            return gaps.short.get(at).map_or(0, |(_, size)| *size);
        }
        let left = self.span.saturating_sub(self.piece_offset(piece));
        left.min(u64::from(self.piece_length)) as u32
    }

    /// Offset of `piece`'s first byte in the torrent, gaps included.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece).saturating_mul(u64::from(self.piece_length))
    }

    /// Number of blocks in `piece`.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_LENGTH)
    }

    /// Bytes in block number `block` (not byte offset) of `piece`; zero when there is none.
    pub fn block_size(&self, piece: PieceIndex, block: u32) -> u32 {
        let begin = u64::from(block).saturating_mul(u64::from(BLOCK_LENGTH));
        let left = u64::from(self.piece_size(piece)).saturating_sub(begin);
        left.min(u64::from(BLOCK_LENGTH)) as u32
    }

    /// Whether `begin..begin + length` is a non-empty range inside `piece`.
    pub fn contains(&self, piece: PieceIndex, begin: u32, length: u32) -> bool {
        length > 0
            && u64::from(begin).saturating_add(u64::from(length))
                <= u64::from(self.piece_size(piece))
    }
}

/// A run of bytes in one file: what a piece range maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Index into [`crate::Info::files`].
    pub file: usize,
    /// Byte offset in that file.
    pub offset: u64,
    /// Bytes; never zero.
    pub length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_last_piece_and_block() {
        let geometry = Geometry::new(100_000, 32_768).unwrap();
        assert_eq!(geometry.piece_count(), 4);
        assert_eq!(geometry.piece_size(3), 100_000 - 3 * 32_768);
        assert_eq!(geometry.block_count(0), 2);
        assert_eq!(geometry.block_count(3), 1);
        assert_eq!(geometry.block_size(3, 0), 1_696);
        assert_eq!(geometry.block_size(3, 1), 0);
        assert_eq!(geometry.piece_size(4), 0);
    }

    #[test]
    fn exact_multiple_has_no_empty_piece() {
        let geometry = Geometry::new(65_536, 32_768).unwrap();
        assert_eq!(geometry.piece_count(), 2);
        assert_eq!(geometry.piece_size(1), 32_768);
    }

    #[test]
    fn limits() {
        assert_eq!(Geometry::new(1, 0), None);
        assert_eq!(Geometry::new(u64::from(u32::MAX) + 1, 1), None);
        assert_eq!(Geometry::new(0, 1).unwrap().piece_count(), 0);
    }

    #[test]
    fn each_file_of_a_v2_torrent_begins_a_piece() {
        let geometry = Geometry::aligned([40_000, 0, 32_768, 1, 16_385], 32_768).unwrap();
        assert_eq!((geometry.piece_count(), geometry.total_length()), (5, 89_154));
        let sizes: Vec<u32> = (0..6).map(|piece| geometry.piece_size(piece)).collect();
        assert_eq!(sizes, [32_768, 7_232, 32_768, 1, 16_385, 0]);
        assert_eq!((geometry.block_count(1), geometry.block_count(4)), (1, 2));
        assert_eq!((geometry.block_size(1, 0), geometry.block_size(4, 1)), (7_232, 1));
        assert!(geometry.contains(3, 0, 1) && !geometry.contains(3, 0, 2));
        assert_eq!(geometry.piece_offset(4), 4 * 32_768);
        assert_eq!(Geometry::aligned([98_304, 5], 32_768), Geometry::new(98_309, 32_768));
        assert_eq!(Geometry::aligned([u64::MAX, 1], 1 << 30), None);
        assert_eq!(Geometry::aligned([1], 0), None);
        assert_eq!(Geometry::aligned([], 16_384), Geometry::new(0, 16_384));
    }

    #[test]
    fn ranges_never_wrap() {
        let geometry = Geometry::new(100, 64).unwrap();
        assert!(geometry.contains(0, 0, 64));
        assert!(!geometry.contains(0, 0, 65));
        assert!(!geometry.contains(0, u32::MAX, u32::MAX));
        assert!(!geometry.contains(0, 0, 0));
        assert!(!geometry.contains(u32::MAX, 0, 1));
    }
}
