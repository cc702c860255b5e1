//! Values to bytes, canonical by construction.

/// Writes bencode. Calls chain; the caller keeps dictionaries sorted, which debug builds check.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    /// The last key of each open container; `None` for a list.
    open: Vec<Option<Vec<u8>>>,
}

impl Encoder {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a dictionary; [`Self::end`] closes it.
    pub fn begin_dict(&mut self) -> &mut Self {
        self.bytes.push(b'd');
        self.open.push(Some(Vec::new()));
        self
    }

    /// Opens a list; [`Self::end`] closes it.
    pub fn begin_list(&mut self) -> &mut Self {
        self.bytes.push(b'l');
        self.open.push(None);
        self
    }

    /// A key, to be followed by its value. Keys come in byte order.
    pub fn key(&mut self, key: &[u8]) -> &mut Self {
        if let Some(Some(last)) = self.open.last_mut() {
            debug_assert!(last.is_empty() || last.as_slice() < key, "keys come sorted");
            *last = key.to_vec();
        }
        self.bytes(key)
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.bytes.extend_from_slice(format!("i{value}e").as_bytes());
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(format!("{}:", value.len()).as_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    /// A whole value that is bencoded already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// Closes the innermost list or dictionary.
    pub fn end(&mut self) -> &mut Self {
        let closed = self.open.pop();
        debug_assert!(closed.is_some(), "nothing is open");
        self.bytes.push(b'e');
        self
    }

    /// The document.
    pub fn finish(&mut self) -> Vec<u8> {
        debug_assert!(self.open.is_empty(), "something is still open");
        std::mem::take(&mut self.bytes)
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
}
