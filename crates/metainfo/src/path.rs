//! The one way from a torrent's names to paths on a disk.
//!
//! Names are bytes from a stranger. A [`SafePath`] is made of components that stay under whatever
//! root they are joined to, on the platform whose rules were given; there is no other constructor.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Bytes of the longest file name that common file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of an extension worth keeping when a name is cut.
const EXTENSION_BYTES_MAX: usize = 16;

/// Which names a platform can't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathRules {
    /// Byte-exact but for `/`, NUL, `\`, control and bidi characters.
    Posix,
    /// As POSIX, and no reserved names, no `<>:"|?*`, no trailing dot or space.
    Windows,
}

impl PathRules {
    /// The rules of the platform this is compiled for.
    pub const NATIVE: Self = if cfg!(windows) { Self::Windows } else { Self::Posix };
}

/// A relative path that can't leave its root: no component is empty, `.` or `..`, or holds a
/// separator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafePath(Vec<Box<[u8]>>);

impl SafePath {
    /// Makes names safe under `rules`; byte-exact where they already are. `None` when nothing is
    /// left: no components, or only empty ones and dots.
    pub fn new(
        components: impl IntoIterator<Item = impl AsRef<[u8]>>,
        rules: PathRules,
    ) -> Option<Self> {
        let safe: Vec<Box<[u8]>> = components
            .into_iter()
            .filter_map(|component| safe_name(component.as_ref(), rules))
            .map(Vec::into_boxed_slice)
            .collect();
        (!safe.is_empty()).then_some(Self(safe))
    }

    /// The names, outermost first.
    pub fn components(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.0.iter().map(|component| &**component)
    }

    /// The path under `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        let mut path = root.to_path_buf();
        path.extend(self.components().map(native));
        path
    }

    /// For people: lossy where a name is not UTF-8.
    pub fn display(&self) -> String {
        let names: Vec<_> = self.components().map(String::from_utf8_lossy).collect();
        names.join("/")
    }

    /// The same path with its last name made different by `number`, before the extension.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        let mut path = self.clone();
        if let Some(last) = path.0.last_mut() {
            let (stem, extension) = split_extension(last);
            let suffix = format!(" ({number})");
            let room = NAME_BYTES_MAX.saturating_sub(suffix.len()).saturating_sub(extension.len());
            let stem = cut(stem, room);
            *last = [stem, suffix.as_bytes(), extension].concat().into_boxed_slice();
        }
        path
    }

    /// What two paths share when a file system would take them for one.
    pub(crate) fn collision_key(&self, rules: PathRules) -> Vec<u8> {
        let joined: Vec<&[u8]> = self.components().collect();
        let joined = joined.join(&b'/');
        match rules {
            PathRules::Posix => joined,
            PathRules::Windows => String::from_utf8_lossy(&joined).to_lowercase().into_bytes(),
        }
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

/// `None` for names that are only structure.
fn safe_name(name: &[u8], rules: PathRules) -> Option<Vec<u8>> {
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let mut safe = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            let kept = if is_unsafe(character, rules) { '_' } else { character };
            safe.extend_from_slice(kept.encode_utf8(&mut [0; 4]).as_bytes());
        }
        safe.extend_from_slice(chunk.invalid());
    }
    if rules == PathRules::Windows {
        windows(&mut safe);
    }
    Some(if safe.len() > NAME_BYTES_MAX { shortened(&safe) } else { safe })
}

fn is_unsafe(character: char, rules: PathRules) -> bool {
    let separators = matches!(character, '/' | '\\');
    let bidi = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let reserved = matches!(character, '<' | '>' | ':' | '"' | '|' | '?' | '*');
    separators || bidi || character.is_control() || (reserved && rules == PathRules::Windows)
}

fn windows(name: &mut Vec<u8>) {
    if let Some(last) = name.last_mut().filter(|last| matches!(last, b'.' | b' ')) {
        *last = b'_'; // the system would drop it, and two names would be one
    }
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default().to_ascii_uppercase();
    let device = matches!(&*stem, b"CON" | b"PRN" | b"AUX" | b"NUL")
        || matches!(&*stem, [b'C', b'O', b'M', b'1'..=b'9'] | [b'L', b'P', b'T', b'1'..=b'9']);
    if device {
        name.insert(0, b'_');
    }
}

/// Cuts a long name, keeps its extension, and adds a hash of the whole so that two long names stay
/// two.
fn shortened(name: &[u8]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new(); // fixed keys: the same name is always cut the same way
    name.hash(&mut hasher);
    let mark = format!("~{:016x}", hasher.finish());
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
        assert!(a.len() <= 255 && a.rfind(".mkv") == Some(a.len() - 4) && !a.contains('\u{fffd}'));
    }

    #[test]
    fn numbered_names_keep_their_extension() {
        let path = SafePath::new(["dir", "file.txt"], PathRules::Posix).unwrap();
        assert_eq!(path.numbered(2).display(), "dir/file (2).txt");
    }
}
