//! Which files of a torrent somebody wants: by number as in magnet links (BEP 53), or by pattern.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::Info;

/// How much a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum FilePriority {
    /// Not at all: it does not appear on the disk.
    Skip,
    /// After the others.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Parts of a choice taken: more come from no person.
const PARTS_MAX: usize = 10_000;

/// A list such as `0,3-5,*.mkv`: numbers and ranges, counted from 0 as `peerless info` shows them,
/// and patterns. In a pattern `*` stands for any characters and `?` for one; one without `/` is
/// compared with the file's name, any other with its path below the torrent's folder, or where that fits
/// none, with its path from that folder on, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileChoice {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Range(RangeInclusive<u32>),
    Pattern(String),
}

/// Why a text is no choice of files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// A range that ends before it begins.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
    /// Too long.
    #[error("more than {PARTS_MAX} parts in a choice of files")]
    TooMany,
    /// Nothing in it.
    #[error("an empty choice of files")]
    Empty,
    /// A part that is no file's.
    #[error("no file is `{part}`; there are {count}, counted from 0")]
    NoSuchFile {
        /// The number, range or pattern.
        part: String,
        /// Files of the torrent.
        count: usize,
    },
}

impl FromStr for FileChoice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let mut parts = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if parts.len() >= PARTS_MAX {
                return Err(ChoiceError::TooMany);
            }
            parts.push(match range(part) {
                Some(range) if range.is_empty() => {
                    return Err(ChoiceError::Backwards(part.into()));
                }
                Some(range) => Part::Range(range),
                None => Part::Pattern(part.into()),
            });
        }
        if parts.is_empty() { Err(ChoiceError::Empty) } else { Ok(Self { parts }) }
    }
}

fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(first) && digits(last)).then_some(())?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

impl FileChoice {
    /// The numbers of a magnet link (BEP 53).
    pub fn numbers(ranges: &[RangeInclusive<u32>]) -> Self {
        Self { parts: ranges.iter().cloned().map(Part::Range).take(PARTS_MAX).collect() }
    }

    /// For each file of a torrent, whether it is chosen. Numbers past the last are left out.
    pub fn of(&self, info: &Info) -> Vec<bool> {
        let mut chosen = vec![false; info.files().len()];
        for part in &self.parts {
            part.mark(info, &mut chosen);
        }
        chosen
    }

    /// The same, for who wrote the list by hand: every part must choose something.
    ///
    /// # Errors
    /// [`ChoiceError::NoSuchFile`] names the part that does not.
    pub fn of_strict(&self, info: &Info) -> Result<Vec<bool>, ChoiceError> {
        let mut chosen = vec![false; info.files().len()];
        for part in &self.parts {
            if !part.mark(info, &mut chosen) {
                return Err(ChoiceError::NoSuchFile { part: part.text(), count: chosen.len() });
            }
        }
        Ok(chosen)
    }
}

impl Part {
    /// Marks the files that it chooses; false when there are none, or fewer than it names.
    fn mark(&self, info: &Info, chosen: &mut [bool]) -> bool {
        match self {
            Self::Range(range) => {
                let (first, last) = (*range.start() as usize, *range.end() as usize);
                let is_whole = last < chosen.len();
                let end = last.saturating_add(1).min(chosen.len());
                chosen.get_mut(first..end).unwrap_or_default().fill(true);
                is_whole
            }
            Self::Pattern(pattern) => {
                let below = usize::from(!info.is_single_file());
                mark_pattern(pattern, below, info, chosen)
                    || below > 0 && pattern.contains('/') && mark_pattern(pattern, 0, info, chosen)
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Range(range) if range.start() == range.end() => range.start().to_string(),
            Self::Range(range) => format!("{}-{}", range.start(), range.end()),
            Self::Pattern(pattern) => pattern.clone(),
        }
    }
}

/// Marks the files that a pattern fits, whose paths are compared without their first names.
fn mark_pattern(pattern: &str, without: usize, info: &Info, chosen: &mut [bool]) -> bool {
    let mut any = false;
    for (entry, chosen) in info.files().iter().zip(chosen) {
        let names: Vec<&[u8]> = entry.path.components().skip(without).collect();
        let is_match = if pattern.contains('/') {
            matches(pattern.as_bytes(), &names.join(&b'/'))
        } else {
            names.last().is_some_and(|name| matches(pattern.as_bytes(), name))
        };
        if is_match && !entry.attributes.pad {
            *chosen = true;
            any = true;
        }
    }
    any
}

/// Whether a pattern fits all of a name. Takes no more steps than their lengths multiplied.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0_usize, 0_usize);
    // Where to go on after the last star, if what follows it does not fit.
    let mut again: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match (pattern.get(at), name.get(in_name)) {
            (Some(b'*'), _) => {
                at = at.saturating_add(1);
                again = Some((at, in_name));
                continue;
            }
            (Some(b'?'), Some(_)) => {
                // One character, which may be several bytes.
                in_name = in_name.saturating_add(1);
                while name.get(in_name).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    in_name = in_name.saturating_add(1);
                }
                at = at.saturating_add(1);
                continue;
            }
            (Some(expected), Some(got)) if expected == got => {
                at = at.saturating_add(1);
                in_name = in_name.saturating_add(1);
                continue;
            }
            _ => {}
        }
        let Some((after_star, from)) = again else { return false };
        let from = from.saturating_add(1);
        again = Some((after_star, from));
        (at, in_name) = (after_star, from);
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Torrent;
    use crate::bencode::Encoder;

    fn info(paths: &[&str]) -> std::sync::Arc<Info> {
        let mut out = Encoder::new();
        out.begin_dict().key(b"info").begin_dict().key(b"files").begin_list();
        for path in paths {
            out.begin_dict();
            if path.contains(".pad") {
                out.key(b"attr").bytes(b"p");
            }
            out.key(b"length").int(1);
            out.key(b"path").begin_list();
            for name in path.split('/') {
                out.bytes(name.as_bytes());
            }
            out.end().end();
        }
        out.end().key(b"name").bytes(b"t").key(b"piece length").int(16_384);
        out.key(b"pieces").bytes(&[0; 20]).end().end();
        Torrent::parse(&out.finish()).unwrap().info
    }

    fn chosen(text: &str, paths: &[&str]) -> Vec<usize> {
        let choice: FileChoice = text.parse().unwrap();
        let of = choice.of(&info(paths));
        (0..of.len()).filter(|file| of[*file]).collect()
    }

    #[test]
    fn numbers_ranges_and_patterns() {
        let paths = ["a.mkv", "b.srt", "x/c.mkv", "x/y/d.txt", "é.mkv", ".pad/3"];
        assert_eq!(chosen("0", &paths), [0]);
        assert_eq!(chosen(" 1 , 3-4", &paths), [1, 3, 4]);
        assert_eq!(chosen("*.mkv", &paths), [0, 2, 4]);
        assert_eq!(chosen("?.mkv", &paths), [0, 2, 4], "a character, not a byte");
        assert_eq!(chosen("x/*", &paths), [2, 3]);
        assert_eq!(chosen("x/?.mkv,*.srt", &paths), [1, 2]);
        assert_eq!(chosen("*", &paths), [0, 1, 2, 3, 4], "no pattern means padding");
        assert_eq!(chosen("4-4000000000", &paths), [4, 5]);
        assert_eq!(chosen("t/x/*,t/a.mkv", &paths), [0, 2, 3], "paths as they are shown");
        assert_eq!(chosen("t/*", &["t/a", "b"]), [0], "below the folder first");
        assert_eq!(chosen("t/*", &["x/t/a", "b"]), [0, 1]);
    }

    #[test]
    fn what_chooses_nothing_is_named() {
        let info = info(&["a", "b"]);
        for (text, part) in [("0,7", "7"), ("1-2", "1-2"), ("*.mkv", "*.mkv")] {
            let choice: FileChoice = text.parse().unwrap();
            let error = ChoiceError::NoSuchFile { part: part.into(), count: 2 };
            assert_eq!(choice.of_strict(&info), Err(error));
        }
        let choice: FileChoice = "0-1".parse().unwrap();
        assert_eq!(choice.of_strict(&info), Ok(vec![true, true]));
        assert_eq!("3-1".parse::<FileChoice>(), Err(ChoiceError::Backwards("3-1".into())));
        assert_eq!(" , ".parse::<FileChoice>(), Err(ChoiceError::Empty));
        assert_eq!("1,".repeat(20_000).parse::<FileChoice>(), Err(ChoiceError::TooMany));
    }

    /// The plainest way to say what a pattern means.
    fn model(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                (0..=name.len()).any(|skipped| model(rest, &name[skipped..]))
            }
            (Some((b'?', rest)), Some((_, name))) => model(rest, name),
            (Some((a, rest)), Some((b, name))) if a == b => model(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_the_model_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let expected = model(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected);
        }

        #[test]
        fn any_text_is_a_choice_or_an_error(text in ".{0,40}") {
            if let Ok(choice) = text.parse::<FileChoice>() {
                prop_assert_eq!(choice.of(&info(&["a", "b/c"])).len(), 2);
            }
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "*a".repeat(2000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
    }
}
