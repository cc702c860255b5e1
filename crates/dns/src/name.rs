//! Names of hosts: labels of at most 63 bytes, 255 bytes in all (RFC 1035, 2.3.4).

use std::fmt;

/// Bytes of a label, and of a whole name with the lengths of its labels.
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 255;

/// A host's name: its labels in lower case, without the root's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(Vec<Vec<u8>>);

/// Why a text is no host's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It is empty, or has an empty label.
    Empty,
    /// It is above 255 bytes, or a label above 63.
    TooLong,
    /// It has a character that is in no host's name; names beyond ASCII come as `xn--…`.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name has an empty part"),
            Self::TooLong => f.write_str("the name is too long"),
            Self::Character(character) => write!(f, "{character:?} can't be part of a name"),
        }
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// Of `tracker.example.org`, with or without a dot at its end.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(strange) = text.chars().find(|c| !fits(c)) {
            return Err(NameError::Character(strange));
        }
        let labels = text.split('.').map(|label| label.to_ascii_lowercase().into_bytes());
        Self::of(labels.collect())
    }

    /// Of labels that were read.
    pub(crate) fn of(mut labels: Vec<Vec<u8>>) -> Result<Self, NameError> {
        let too_long = |label: &Vec<u8>| label.len() > LABEL_BYTES_MAX;
        let bytes: usize = labels.iter().map(|label| label.len().saturating_add(1)).sum();
        if labels.iter().any(too_long) || bytes >= NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if labels.is_empty() || labels.iter().any(Vec::is_empty) {
            return Err(NameError::Empty);
        }
        labels.iter_mut().for_each(|label| label.make_ascii_lowercase());
        Ok(Self(labels))
    }

    /// This name below another: a name of the local network.
    pub fn below(&self, other: &Self) -> Result<Self, NameError> {
        Self::of(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Whether it has more than one part, and so is likely whole.
    pub fn has_dot(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether it means this machine, whatever servers say (RFC 6761, 6.3).
    pub fn is_localhost(&self) -> bool {
        self.0.last().is_some_and(|label| label == b"localhost")
    }

    /// Appends it as it travels.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for label in &self.0 {
            out.push(u8::try_from(label.len()).unwrap_or(0)); // at most 63
            out.extend_from_slice(label);
        }
        out.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{}", label.escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let name = Name::parse("Tracker.Example.org.").unwrap();
        assert_eq!(name.to_string(), "tracker.example.org");
        let mut bytes = Vec::new();
        name.write(&mut bytes);
        assert_eq!(bytes, b"\x07tracker\x07example\x03org\0");
        assert!(name.has_dot() && !name.is_localhost());
        assert!(Name::parse("a.localhost").unwrap().is_localhost());
        let home = Name::parse("lan").unwrap();
        assert_eq!(Name::parse("nas").unwrap().below(&home).unwrap().to_string(), "nas.lan");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for empty in ["", ".", "a..b", ".a"] {
            assert_eq!(Name::parse(empty), Err(NameError::Empty), "{empty}");
        }
        assert_eq!(Name::parse("a b"), Err(NameError::Character(' ')));
        assert_eq!(Name::parse("münchen.de"), Err(NameError::Character('ü')));
        assert!(Name::parse(&"a".repeat(63)).is_ok());
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::TooLong));
        // 253 characters are the most: 255 bytes with the first length and the root.
        let parts = |last: usize| format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(last));
        assert!(Name::parse(&parts(61)).is_ok());
        assert_eq!(Name::parse(&parts(62)), Err(NameError::TooLong));
    }
}
