//! The one way from a torrent's names to paths on a disk.
//!
//! Names are bytes from a stranger. A [`SafePath`] is made of components that stay under whatever
//! root they are joined to, on the platform whose rules were given; there is no other constructor.
//! What it does not know is what lies on the disk: whoever opens files must not follow symbolic
//! links found there.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::text::is_deceptive;

/// Bytes of the longest file name that common file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of an extension worth keeping when a name is cut, dot included.
const EXTENSION_BYTES_MAX: usize = 16;
/// Bytes of the hash that keeps cut names apart: 64 bits, no accident makes two alike.
const MARK_BYTES: usize = 8;
/// Bytes of the longest ` (number)`.
const NUMBER_BYTES_MAX: usize = 13;

/// Which names a platform can't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathRules {
    /// Byte-exact but for `/`, NUL, `\`, control and bidi characters.
    Posix,
    /// As POSIX, and no device names, no `<>:"|?*`, no trailing dot or space; names that differ
    /// only in case are one.
    Windows,
}

impl PathRules {
    /// The rules of the platform this is compiled for.
    pub const NATIVE: Self = if cfg!(windows) { Self::Windows } else { Self::Posix };
}

/// A relative path that can't leave its root: no component is empty, `.` or `..`, or holds a
/// separator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SafePath(Box<[u8]>); // components joined by `/`, which none of them holds

impl SafePath {
    /// Makes names safe under `rules`; byte-exact where they already are. Empty names, `.` and
    /// `..` are left out; characters that mislead or separate become `_`; names over 255 bytes are
    /// cut before their extension and marked with a hash of the whole. `None` when nothing is
    /// left.
    pub fn new(
        components: impl IntoIterator<Item = impl AsRef<[u8]>>,
        rules: PathRules,
    ) -> Option<Self> {
        let mut joined = Vec::new();
        for component in components {
            if let Some(name) = safe_name(component.as_ref(), rules) {
                if !joined.is_empty() {
                    joined.push(b'/');
                }
                joined.extend_from_slice(&name);
            }
        }
        (!joined.is_empty()).then(|| Self(joined.into_boxed_slice()))
    }

    /// The names, outermost first; there is at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == b'/')
    }

    /// The folders, joined by `/`, and the last name.
    pub(crate) fn split_last(&self) -> (&[u8], &[u8]) {
        let slash = self.0.iter().rposition(|byte| *byte == b'/');
        let split = slash.and_then(|slash| self.0.split_at_checked(slash));
        match split.and_then(|(folders, rest)| Some((folders, rest.split_first()?.1))) {
            Some(parts) => parts,
            None => (&[], &self.0),
        }
    }

    /// The path under `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        let mut path = root.to_path_buf();
        path.extend(self.components().map(native));
        path
    }

    /// For people: lossy where a name is not UTF-8.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(unix)]
fn native(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

#[cfg(not(unix))]
fn native(name: &[u8]) -> std::ffi::OsString {
    String::from_utf8_lossy(name).into_owned().into()
}

/// What a file system of these rules compares names by.
pub(crate) fn folded(name: &[u8], rules: PathRules) -> Cow<'_, [u8]> {
    match rules {
        PathRules::Posix => Cow::Borrowed(name),
        PathRules::Windows => Cow::Owned(lower_case(name)),
    }
}

/// Lossy as [`native`] is there, so that names which would become one are seen as one.
fn lower_case(name: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(name).to_lowercase().into_bytes()
}

/// A name with ` (number)` before its extension, and what all its numbered names have in common.
/// Every number finds the same room, so one count serves for all names with a common cut.
pub(crate) fn numbered(name: &[u8]) -> (Vec<u8>, impl Fn(u32) -> Vec<u8>) {
    let (stem, extension) = split_extension(name);
    let room = NAME_BYTES_MAX.saturating_sub(NUMBER_BYTES_MAX).saturating_sub(extension.len());
    let stem = cut(stem, room);
    let with = move |number: u32| [stem, format!(" ({number})").as_bytes(), extension].concat();
    ([stem, b"/", extension].concat(), with)
}

/// `None` for names that are only structure.
fn safe_name(name: &[u8], rules: PathRules) -> Option<Cow<'_, [u8]>> {
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let mut safe = Cow::Borrowed(name);
    if name.utf8_chunks().any(|chunk| chunk.valid().chars().any(|c| is_unsafe(c, rules))) {
        safe = Cow::Owned(replaced(name, rules));
    }
    if rules == PathRules::Windows {
        windows(&mut safe);
    }
    if safe.len() > NAME_BYTES_MAX {
        safe = Cow::Owned(shortened(&safe));
    }
    Some(safe)
}

/// Bytes that are no UTF-8 stay: they are somebody's name in another encoding.
fn replaced(name: &[u8], rules: PathRules) -> Vec<u8> {
    let mut safe = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            let kept = if is_unsafe(character, rules) { '_' } else { character };
            safe.extend_from_slice(kept.encode_utf8(&mut [0; 4]).as_bytes());
        }
        safe.extend_from_slice(chunk.invalid());
    }
    safe
}

fn is_unsafe(character: char, rules: PathRules) -> bool {
    let reserved = matches!(character, '<' | '>' | ':' | '"' | '|' | '?' | '*');
    matches!(character, '/' | '\\')
        || is_deceptive(character)
        || (reserved && rules == PathRules::Windows)
}

fn windows(name: &mut Cow<'_, [u8]>) {
    if name.ends_with(b".") || name.ends_with(b" ") {
        // The system would drop it, and two names would be one.
        if let Some(last) = name.to_mut().last_mut() {
            *last = b'_';
        }
    }
    if is_device(name) {
        name.to_mut().insert(0, b'_');
    }
}

/// Names that Windows takes for a device whatever their extension, in any folder.
fn is_device(name: &[u8]) -> bool {
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default().trim_ascii_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = stem.strip_prefix(b"COM").or_else(|| stem.strip_prefix(b"LPT"));
    matches!(&*stem, b"CON" | b"PRN" | b"AUX" | b"NUL" | b"CONIN$" | b"CONOUT$")
        || numbered.is_some_and(|number| {
            // Digits, and the superscripts of Latin-1 in UTF-8.
            matches!(number, [b'0'..=b'9'] | [0xc2, 0xb9 | 0xb2 | 0xb3])
        })
}

/// Cuts a long name, keeps its extension, and adds a hash of the whole so that two long names stay
/// two. The hash is one that never changes: a later version must find the files of this one.
fn shortened(name: &[u8]) -> Vec<u8> {
    let mut mark = String::from("~");
    for byte in Sha1::digest(name).iter().take(MARK_BYTES) {
        let _ = write!(mark, "{byte:02x}"); // a String takes everything
    }
    let (stem, extension) = split_extension(name);
    let room = NAME_BYTES_MAX.saturating_sub(mark.len()).saturating_sub(extension.len());
    [cut(stem, room), mark.as_bytes(), extension].concat()
}

/// Stem and extension (with its dot); a long or missing one is part of the stem.
fn split_extension(name: &[u8]) -> (&[u8], &[u8]) {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    match dot.and_then(|dot| name.split_at_checked(dot)) {
        Some((stem, extension)) if extension.len() <= EXTENSION_BYTES_MAX => (stem, extension),
        _ => (name, &[]),
    }
}

/// At most `room` bytes, not in the middle of a character.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let mut end = room.min(name.len());
    while end < name.len() && name.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end = end.saturating_sub(1);
    }
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posix(components: &[&[u8]]) -> Option<String> {
        SafePath::new(components, PathRules::Posix).map(|path| path.display())
    }

    fn windows(name: &str) -> String {
        SafePath::new([name], PathRules::Windows).unwrap().display()
    }

    #[test]
    fn climbing_stays_under_the_root() {
        assert_eq!(posix(&[b"..", b"..", b"etc", b"passwd"]).as_deref(), Some("etc/passwd"));
        assert_eq!(posix(&[b".", b"", b".."]), None);
        assert_eq!(posix(&[b"a", b"", b"b"]).as_deref(), Some("a/b"));
        assert_eq!(posix(&[b"/etc/passwd"]).as_deref(), Some("_etc_passwd"));
        assert_eq!(posix(&[b"..\\..\\x"]).as_deref(), Some(".._.._x"));
        assert_eq!(posix(&[b"a\0b"]).as_deref(), Some("a_b"));
        assert_eq!(posix(&["evil\u{202e}gpj.exe".as_bytes()]).as_deref(), Some("evil_gpj.exe"));
    }

    #[test]
    fn posix_names_are_byte_exact() {
        for name in [&b"a:b*c?"[..], b"CON", b"dot.", b"\xff\xfe", "\u{e9}".as_bytes(), b"..."] {
            let path = SafePath::new([name], PathRules::Posix).unwrap();
            assert_eq!(path.components().collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn windows_names_avoid_devices_and_trailing_dots() {
        assert_eq!(windows("con.txt"), "_con.txt");
        assert_eq!(windows("LPT1"), "_LPT1");
        assert_eq!(windows("nul .tar.gz"), "_nul .tar.gz");
        assert_eq!(windows("COM\u{b9}.log"), "_COM\u{b9}.log");
        assert_eq!(windows("lpt\u{b2}"), "_lpt\u{b2}");
        assert_eq!(windows("com\u{b3}"), "_com\u{b3}");
        assert_eq!(windows("COM10"), "COM10");
        assert_eq!(windows("console"), "console");
        assert_eq!(windows("..."), ".._");
        assert_eq!(windows("C:"), "C_");
        assert_eq!(windows("name. "), "name._");
        assert_eq!(windows("a<b>|c"), "a_b__c");
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = |last: char| format!("{}{last}.mkv", "é".repeat(200));
        let cut = |name: String| SafePath::new([name], PathRules::Posix).unwrap().display();
        let (a, b) = (cut(long('a')), cut(long('b')));
        assert_ne!(a, b);
        assert_eq!(a, cut(long('a')), "always the same");
        let odd = cut(format!("x{}", long('a')));
        assert!(odd.len() < 255 && !odd.contains('\u{fffd}'), "no half characters");
        assert_eq!(cut("x".repeat(255)), "x".repeat(255));
        assert!(a.len() <= 255 && a.rfind(".mkv") == Some(a.len() - 4) && !a.contains('\u{fffd}'));
    }

    #[test]
    fn numbered_names_keep_their_extension() {
        let (_, with) = numbered(b"file.txt");
        assert_eq!(with(2), b"file (2).txt");
        assert_eq!(numbered(b".hidden").1(2), b".hidden (2)");
        let long = [&[b'x'; 250][..], b".txt"].concat();
        let (_, with) = numbered(&long);
        assert!(with(u32::MAX).len() <= NAME_BYTES_MAX && with(2).ends_with(b"x (2).txt"));
    }
}
