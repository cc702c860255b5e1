//! Values to bytes, canonical by construction.

use std::io::Write;
use std::ops::Range;

/// Writes bencode. Calls chain; the caller keeps dictionaries sorted and gives every key a value,
/// which debug builds check.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    open: Vec<Open>,
}

#[derive(Debug)]
enum Open {
    List,
    Dict {
        /// Where the last key's content is in the output.
        last: Option<Range<usize>>,
        value_next: bool,
    },
}

impl Encoder {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a dictionary; [`Self::end`] closes it.
    pub fn begin_dict(&mut self) -> &mut Self {
        self.value();
        self.bytes.push(b'd');
        self.open.push(Open::Dict { last: None, value_next: false });
        self
    }

    /// Opens a list; [`Self::end`] closes it.
    pub fn begin_list(&mut self) -> &mut Self {
        self.value();
        self.bytes.push(b'l');
        self.open.push(Open::List);
        self
    }

    /// A key, to be followed by its value. Keys come in byte order.
    pub fn key(&mut self, key: &[u8]) -> &mut Self {
        let content = self.string(key);
        let Some(Open::Dict { last, value_next }) = self.open.last_mut() else {
            debug_assert!(false, "a key outside a dictionary");
            return self;
        };
        debug_assert!(!*value_next, "a key where a value belongs");
        let before = last.replace(content).and_then(|last| self.bytes.get(last));
        debug_assert!(before.is_none_or(|before| before < key), "keys come sorted");
        *value_next = true;
        self
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.value();
        let _ = write!(self.bytes, "i{value}e"); // a Vec takes everything
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.value();
        self.string(value);
        self
    }

    /// A whole value that is bencoded already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        debug_assert!(!value.is_empty(), "a value has at least two bytes");
        self.value();
        self.bytes.extend_from_slice(value);
        self
    }

    /// Closes the innermost list or dictionary.
    pub fn end(&mut self) -> &mut Self {
        let closed = self.open.pop();
        debug_assert!(
            matches!(closed, Some(Open::List | Open::Dict { value_next: false, .. })),
            "nothing is open, or a key has no value"
        );
        self.bytes.push(b'e');
        self
    }

    /// The document; the encoder is empty again.
    pub fn finish(&mut self) -> Vec<u8> {
        debug_assert!(self.open.is_empty(), "something is still open");
        std::mem::take(&mut self.bytes)
    }

    /// A value comes next: in a dictionary a key must have asked for it.
    fn value(&mut self) {
        if let Some(Open::Dict { value_next, .. }) = self.open.last_mut() {
            debug_assert!(*value_next, "a value without a key");
            *value_next = false;
        }
    }

    /// Writes a string and tells where its content is.
    fn string(&mut self, content: &[u8]) -> Range<usize> {
        let _ = write!(self.bytes, "{}:", content.len()); // a Vec takes everything
        let start = self.bytes.len();
        self.bytes.extend_from_slice(content);
        start..self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_kind() {
        let mut encoder = Encoder::new();
        encoder.begin_dict().key(b"a").int(-5).key(b"b").begin_list().bytes(b"xyz").raw(b"i0e");
        assert_eq!(encoder.end().end().finish(), b"d1:ai-5e1:bl3:xyzi0eee");
    }

    #[test]
    #[should_panic(expected = "keys come sorted")]
    fn unsorted_keys_are_a_bug_of_the_caller() {
        Encoder::new().begin_dict().key(b"b").int(0).key(b"a");
    }

    #[test]
    #[should_panic(expected = "keys come sorted")]
    fn a_key_twice_is_a_bug_of_the_caller() {
        Encoder::new().begin_dict().key(b"").int(0).key(b"");
    }

    #[test]
    #[should_panic(expected = "a value without a key")]
    fn a_value_without_a_key_is_a_bug_of_the_caller() {
        Encoder::new().begin_dict().int(0);
    }

    #[test]
    #[should_panic(expected = "a key has no value")]
    fn a_key_without_a_value_is_a_bug_of_the_caller() {
        Encoder::new().begin_dict().key(b"a").end();
    }
}
