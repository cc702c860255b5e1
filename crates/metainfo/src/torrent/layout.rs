//! Where pieces lie in files, and files in pieces.

use std::ops::Range;

use crate::{BLOCK_LENGTH, PieceIndex, Segment};

use super::Info;

/// Pad blocks that are named; what lies beyond, which no honest torrent has, is fetched like data.
const PAD_BLOCKS_MAX: usize = 4_000_000;

impl Info {
    /// Names of files, by number, as the torrent has them where [`super::FileEntry::path`] had to be
    /// another: what a web server calls them.
    pub fn names_as_written(&self) -> Vec<(usize, Vec<Vec<u8>>)> {
        let Ok(tape) = crate::bencode::parse(&self.bytes, crate::bencode::Limits::default()) else {
            return Vec::new();
        };
        super::files::as_written(tape.root(), &self.files)
    }

    /// The runs of files that `begin..begin + length` of `piece` covers, in order. Empty files are
    /// skipped, and what lies past the piece's end is left out.
    pub fn segments(
        &self,
        piece: PieceIndex,
        begin: u32,
        length: u32,
    ) -> impl Iterator<Item = Segment> + use<'_> {
        let size = self.geometry.piece_size(piece);
        let length = length.min(size.saturating_sub(begin));
        let mut at = self.geometry.piece_offset(piece).saturating_add(u64::from(begin));
        let end = at.saturating_add(u64::from(length));
        let mut next = self.first_file_past(0, at);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            if self.files.get(next)?.length == 0 {
                next = self.first_file_past(next, at); // however many empty files come in a row
            }
            let entry = self.files.get(next)?;
            let length = end.min(entry.end()).saturating_sub(at);
            let segment = Segment { file: next, offset: at.saturating_sub(entry.offset), length };
            at = at.saturating_add(length);
            next = next.saturating_add(1);
            Some(segment)
        })
    }

    /// The files that `piece` has bytes of, and the empty ones between them.
    pub fn files_of_piece(&self, piece: PieceIndex) -> Range<usize> {
        let start = self.geometry.piece_offset(piece);
        let end = start.saturating_add(u64::from(self.geometry.piece_size(piece)));
        let first = self.first_file_past(0, start);
        let last = self.files.partition_point(|file| file.offset < end);
        first..last.max(first)
    }

    /// The pieces that hold bytes of a file; none for an empty one.
    pub fn pieces_of_file(&self, file: usize) -> Range<PieceIndex> {
        match self.files.get(file).filter(|entry| entry.length > 0) {
            Some(entry) => self.pieces_of(entry.offset, entry.end()),
            None => 0..0,
        }
    }

    /// The file whose bytes `piece` holds, and which of the file's pieces that is: in a v2 torrent, where
    /// no two files share one. `None` in others, and for a piece of padding alone.
    pub fn file_of_piece(&self, piece: PieceIndex) -> Option<(usize, PieceIndex)> {
        let start = self.geometry.piece_offset(piece);
        let file = self.first_file_past(0, start);
        let entry = self.files.get(file).filter(|entry| self.has_v2() && entry.root.is_some())?;
        let within = start.checked_sub(entry.offset)?;
        let number = within.checked_div(u64::from(self.geometry.piece_length()))?;
        Some((file, u32::try_from(number).ok()?))
    }

    /// Bytes of `piece` that its hash tree covers, those of its one file: fewer than
    /// [`crate::Geometry::piece_size`] where a hybrid has padding in it. Zero in v1 torrents.
    pub fn tree_bytes(&self, piece: PieceIndex) -> u32 {
        let file = self.file_of_piece(piece).and_then(|(file, _)| self.files.get(file));
        let left =
            file.map_or(0, |file| file.end().saturating_sub(self.geometry.piece_offset(piece)));
        left.min(u64::from(self.geometry.piece_length())) as u32
    }

    /// Blocks, by number, that lie wholly in pad files: known to be zeros, never requested.
    pub fn pad_blocks(&self) -> impl Iterator<Item = (PieceIndex, u32)> + use<'_> {
        let blocks = self.pad_runs().flat_map(move |(start, end)| {
            self.pieces_of(start, end).flat_map(move |piece| {
                self.whole_blocks(piece, start, end).map(move |block| (piece, block))
            })
        });
        blocks.take(PAD_BLOCKS_MAX)
    }

    /// Where each unbroken run of pad files begins and ends.
    fn pad_runs(&self) -> impl Iterator<Item = (u64, u64)> + use<'_> {
        let mut pads = self.files.iter().filter(|f| f.attributes.pad && f.length > 0).peekable();
        std::iter::from_fn(move || {
            let first = pads.next()?;
            let mut end = first.end();
            while let Some(next) = pads.next_if(|next| next.offset == end) {
                end = next.end();
            }
            Some((first.offset, end))
        })
    }

    /// The blocks of `piece` that have no byte outside `start..end`.
    fn whole_blocks(&self, piece: PieceIndex, start: u64, end: u64) -> Range<u32> {
        let (offset, size) = (self.geometry.piece_offset(piece), self.geometry.piece_size(piece));
        let inside = |at: u64| at.saturating_sub(offset).min(u64::from(size)) as u32;
        let first = inside(start).div_ceil(BLOCK_LENGTH);
        let last = match inside(end) {
            end if end == size => self.geometry.block_count(piece), // with its short last block
            end => end.checked_div(BLOCK_LENGTH).unwrap_or(0),
        };
        first..last
    }

    /// The pieces with a byte of `start..end`, which is not empty.
    fn pieces_of(&self, start: u64, end: u64) -> Range<PieceIndex> {
        let piece_length = u64::from(self.geometry.piece_length());
        let at = |offset: u64| offset.checked_div(piece_length).unwrap_or(0) as PieceIndex;
        at(start)..at(end.saturating_sub(1)).saturating_add(1)
    }

    /// The first file, from number `from` on, that ends after `at`: never an empty one before it.
    fn first_file_past(&self, from: usize, at: u64) -> usize {
        let files = self.files.get(from..).unwrap_or_default();
        from.saturating_add(files.partition_point(|file| file.end() <= at))
    }
}
