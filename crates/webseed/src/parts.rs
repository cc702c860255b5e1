//! A run of bytes of a torrent, cut into what one request can ask for: a part of one file (BEP 19)
//! or of one piece (BEP 17). Pad files are zeros that no server has.

use metainfo::{Info, PieceIndex};

use crate::Kind;

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Zeros: nothing is asked for.
    Pad,
    /// A file, by number, from this byte on.
    File {
        /// Which.
        file: usize,
        /// First byte.
        offset: u64,
    },
    /// A piece from this byte on.
    Piece {
        /// Which.
        piece: PieceIndex,
        /// First byte.
        begin: u32,
    },
}

/// So many bytes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where from.
    pub place: Place,
    /// How many; never none.
    pub length: u64,
}

impl Part {
    /// What is left of it behind its first bytes; `None` when that is nothing.
    pub fn after(&self, bytes: u64) -> Option<Self> {
        let length = self.length.checked_sub(bytes).filter(|left| *left > 0)?;
        let place = match self.place {
            Place::Pad => Place::Pad,
            Place::File { file, offset } => {
                Place::File { file, offset: offset.saturating_add(bytes) }
            }
            Place::Piece { piece, begin } => {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                Place::Piece { piece, begin: begin.saturating_add(bytes) }
            }
        };
        Some(Self { place, length })
    }
}

/// The parts of `start..end` of the torrent, in order. What lies past its end is left out.
pub fn parts(info: &Info, kind: Kind, start: u64, end: u64) -> Vec<Part> {
    let geometry = info.geometry();
    let piece_length = u64::from(geometry.piece_length()).max(1);
    let mut parts: Vec<Part> = Vec::new();
    let mut at = start;
    while at < end.min(geometry.end()) {
        let Ok(piece) = PieceIndex::try_from(at / piece_length) else { break };
        let begin = (at % piece_length) as u32;
        let there = u64::from(geometry.piece_size(piece).saturating_sub(begin));
        let length = there.min(end.saturating_sub(at)) as u32;
        if length == 0 {
            break;
        }
        match kind {
            Kind::Pieces => {
                parts.push(Part { place: Place::Piece { piece, begin }, length: length.into() });
            }
            Kind::Files => {
                for segment in info.segments(piece, begin, length) {
                    add_segment(&mut parts, info, segment);
                }
            }
        }
        at = at.saturating_add(u64::from(length));
    }
    parts
}

/// Goes on with the last part where it is of the same file.
fn add_segment(parts: &mut Vec<Part>, info: &Info, segment: metainfo::Segment) {
    let is_pad = info.files().get(segment.file).is_some_and(|file| file.attributes.pad);
    let place = if is_pad {
        Place::Pad
    } else {
        Place::File { file: segment.file, offset: segment.offset }
    };
    match (parts.last_mut(), place) {
        (Some(last), Place::Pad) if last.place == Place::Pad => {
            last.length = last.length.saturating_add(segment.length);
        }
        (Some(last), Place::File { file, .. }) if matches!(last.place, Place::File { file: before, .. } if before == file) =>
        {
            last.length = last.length.saturating_add(segment.length);
        }
        _ => parts.push(Part { place, length: segment.length }),
    }
}
