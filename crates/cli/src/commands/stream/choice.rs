//! Which file of a torrent a person means: by number, by pattern, or the largest.

use engine::metainfo::{FileEntry, Info};

use crate::exit::Failure;
use crate::format::untrusted;

/// What was said.
pub(super) enum FileChoice<'a> {
    Largest,
    Number(usize),
    Pattern(&'a str),
}

impl<'a> FileChoice<'a> {
    pub(super) fn new(text: Option<&'a str>) -> Self {
        match text.map(|text| (text, text.parse())) {
            None => Self::Largest,
            Some((_, Ok(number))) => Self::Number(number),
            Some((text, Err(_))) => Self::Pattern(text),
        }
    }

    /// The number of that file.
    pub(super) fn of(&self, info: &Info) -> Result<usize, Failure> {
        let real = |file: &FileEntry| !file.attributes.pad && !file.attributes.symlink;
        let files = info.files().iter().enumerate().filter(|(_, file)| real(file));
        let chosen = files.filter(|(number, file)| match self {
            Self::Largest => true,
            Self::Number(wanted) => number == wanted,
            Self::Pattern(pattern) => matches(pattern, file),
        });
        // Of equals the first.
        let chosen = chosen.max_by_key(|(number, file)| (file.length, std::cmp::Reverse(*number)));
        chosen.map(|(number, _)| number).ok_or_else(|| {
            let message = match self {
                Self::Largest => "the torrent has no file".into(),
                Self::Number(wanted) => format!("the torrent has no file {wanted}"),
                Self::Pattern(pattern) => {
                    format!("no file of the torrent matches `{}`", untrusted(pattern))
                }
            };
            Failure::usage(message).advise("`peerless info` lists the files; numbers begin with 0")
        })
    }
}

/// Whether the pattern is that of the file's name, or of its path within the torrent.
fn matches(pattern: &str, file: &FileEntry) -> bool {
    let parts = file.path.components().map(String::from_utf8_lossy);
    let parts: Vec<_> = parts.collect();
    let name = parts.last().map_or("", |name| name);
    let within = parts.get(1..).unwrap_or_default().join("/");
    [name, &within, &parts.join("/")].into_iter().any(|text| glob(pattern, text))
}

/// `*` stands for anything, `?` for any one character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None; // the last `*`, and how much of the text it stands for
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, stands_for)) = star else { return false };
                star = Some((at, stands_for + 1));
                p = at + 1;
                t = stands_for + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("*", ""),
            ("*.mkv", "film.mkv"),
            ("f?lm.*", "film.mkv"),
            ("*a*b*", "xxaxxbxx"),
            ("S01/*", "S01/film.mkv"),
            ("größe*", "größe ✓"),
            ("?", "✓"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("*.mkv", "film.mkv.txt"), ("?", ""), ("a*b", "abc"), ("film", "Film")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)), "and it takes no time");
    }
}
