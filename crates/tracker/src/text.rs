//! A tracker's words, made fit to show: no control characters that could drive a terminal, no
//! marks that reorder text, and never long.

/// Characters kept of a reason or warning: enough for any sentence, too few to flood a screen.
const TEXT_CHARS_MAX: usize = 500;

/// `bytes` as UTF-8 with every unprintable character replaced, cut to `TEXT_CHARS_MAX`.
pub(crate) fn printable(bytes: &[u8]) -> String {
    // A character has at most four bytes, so the rest of a huge text need not be looked at.
    let enough = bytes.len().min(TEXT_CHARS_MAX.saturating_mul(4));
    let text = String::from_utf8_lossy(bytes.get(..enough).unwrap_or_default());
    let mut chars = text.trim().chars().map(|c| match c {
        '\t' | '\n' | '\r' => ' ',
        c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    let mut shown: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() || enough < bytes.len() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// What reorders or drives, and what hides: no tracker has a reason for either.
fn is_unprintable(c: char) -> bool {
    metainfo::is_deceptive(c)
        || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays() {
        assert_eq!(
            printable("torrent nicht gefunden – schade".as_bytes()),
            "torrent nicht gefunden – schade"
        );
    }

    #[test]
    fn terminal_and_bidi_tricks_are_defused() {
        assert_eq!(printable(b"\x1b[31mred\nline\x00"), "\u{fffd}[31mred line\u{fffd}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(printable(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn long_text_is_shortened() {
        let shown = printable(&vec![b'x'; 1 << 20]);
        assert_eq!(shown.chars().count(), TEXT_CHARS_MAX);
        assert!(shown.ends_with('…'));
        assert_eq!(printable(&[b'x'; TEXT_CHARS_MAX]), "x".repeat(TEXT_CHARS_MAX));
    }
}
