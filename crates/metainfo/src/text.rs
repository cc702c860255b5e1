//! Text that crosses a border: bytes into URLs (RFC 3986), strangers' words onto a screen.

use std::fmt::Write;

/// Appends `bytes`, all but RFC 3986's unreserved characters as `%XX`.
pub fn percent_encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // a String takes everything
        }
    }
}

/// Whether a character changes how the text around it is shown instead of being shown: control
/// and bidi characters.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
