//! The 20-byte name of a torrent: SHA-1 over the raw bytes of its `info` value (BEP 3).

use std::fmt;
use std::str::FromStr;

/// SHA-1 of the raw, never re-encoded, `info` bytes (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

/// Text that is not 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an info hash is 40 hexadecimal digits")]
pub struct ParseInfoHashError;

impl InfoHash {
    /// The raw bytes, as trackers and handshakes carry them.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl FromStr for InfoHash {
    type Err = ParseInfoHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 20 || !rest.is_empty() {
            return Err(ParseInfoHashError);
        }
        let mut hash = [0; 20];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let digit = |d: &u8| char::from(*d).to_digit(16).ok_or(ParseInfoHashError);
            *byte = (digit(high)? << 4 | digit(low)?) as u8;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip() {
        let text = "0123456789abcdef0123456789ABCDEF01234567";
        let hash: InfoHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text.to_lowercase());
    }

    #[test]
    fn refuses_what_is_not_forty_hex_digits() {
        for text in ["", "zz", &"0".repeat(39), &"0".repeat(41), &"g".repeat(40)] {
            assert_eq!(text.parse::<InfoHash>(), Err(ParseInfoHashError), "{text}");
        }
    }
}
