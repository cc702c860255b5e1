//! Bytes to a tape of tokens.

use std::ops::Range;

/// What a document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers within containers. Real torrents nest 5 deep; v2 file trees as deep as paths.
    pub depth: usize,
    /// Values in all, keys included.
    pub tokens: usize,
    /// Bytes of input.
    pub bytes: usize,
}

impl Default for Limits {
    /// For .torrent files: the largest seen are about 25 MB with 170,000 files.
    fn default() -> Self {
        Self { depth: 100, tokens: 3_000_000, bytes: 64 * 1024 * 1024 }
    }
}

impl Limits {
    /// For replies and messages from the network.
    pub fn network() -> Self {
        Self { depth: 32, tokens: 100_000, bytes: 4 * 1024 * 1024 }
    }
}

/// Why input is not one bencoded value. Offsets count from the start of the input, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside a value.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// A byte that no value can have there.
    #[error("unexpected byte {byte:#04x} at offset {offset}")]
    Unexpected {
        /// The byte.
        byte: u8,
        /// Where.
        offset: usize,
    },
    /// An integer or a length that does not fit 64 bits.
    #[error("a number that is too large at offset {offset}")]
    Overflow {
        /// Where.
        offset: usize,
    },
    /// The same key twice in one dictionary.
    #[error("a duplicate key at offset {offset}")]
    DuplicateKey {
        /// Where the second one is.
        offset: usize,
    },
    /// Bytes after the value.
    #[error("{count} bytes after the end of the data")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// More containers within containers than allowed.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values than allowed.
    #[error("more than {limit} values")]
    TooManyTokens {
        /// The limit.
        limit: usize,
    },
    /// More input than allowed.
    #[error("{bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// Input bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// The four kinds of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `i…e`
    Int,
    /// `n:…`
    Bytes,
    /// `l…e`
    List,
    /// `d…e`
    Dict,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    /// Where the value begins and ends in the input.
    start: usize,
    end: usize,
    /// Strings: where the content begins. Containers: the tape index after the last child.
    extra: usize,
}

/// A decoded document, borrowing the input.
#[derive(Debug)]
pub struct Tape<'a> {
    input: &'a [u8],
    tokens: Vec<Token>,
    canonical: bool,
}

/// One value of a document.
#[derive(Debug, Clone, Copy)]
pub struct Node<'t, 'a> {
    tape: &'t Tape<'a>,
    index: usize,
}

/// Decodes the whole input as one value.
///
/// # Errors
/// [`Error`], with the offset where there is one.
pub fn parse(input: &[u8], limits: Limits) -> Result<Tape<'_>, Error> {
    if input.len() > limits.bytes {
        return Err(Error::TooLong { bytes: input.len(), limit: limits.bytes });
    }
    let (tape, used) = parse_prefix(input, limits)?;
    match input.len().saturating_sub(used) {
        0 => Ok(tape),
        count => Err(Error::Trailing { count }),
    }
}

/// Decodes one value at the front of the input and tells how many bytes it took (BEP 9 messages
/// carry raw data behind their dictionary).
///
/// # Errors
/// As [`parse`], but for bytes that follow.
pub fn parse_prefix(input: &[u8], limits: Limits) -> Result<(Tape<'_>, usize), Error> {
    let mut parser = Parser { input, at: 0, limits, tokens: Vec::new(), canonical: true };
    parser.run()?;
    let used = parser.at;
    Ok((Tape { input, tokens: parser.tokens, canonical: parser.canonical }, used))
}

/// A container whose end has not been seen.
struct Open {
    index: usize,
    /// The last key, when this is a dictionary that has one.
    key: Option<Range<usize>>,
    /// Keys so far were in order, so a duplicate can only be the neighbour.
    sorted: bool,
    value_next: bool,
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    limits: Limits,
    tokens: Vec<Token>,
    canonical: bool,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let byte = self.peek()?;
            let in_dict = open.last().is_some_and(|open| {
                self.tokens.get(open.index).is_some_and(|t| t.kind == Kind::Dict)
            });
            if byte == b'e' {
                let Some(done) = open.pop() else {
                    return Err(self.unexpected(byte));
                };
                if done.value_next {
                    return Err(self.unexpected(byte)); // a key without a value
                }
                self.advance(1);
                self.close(&done)?;
            } else {
                let expects_key = in_dict && open.last().is_some_and(|open| !open.value_next);
                if expects_key && !byte.is_ascii_digit() {
                    return Err(self.unexpected(byte));
                }
                match byte {
                    b'i' => self.int()?,
                    b'l' | b'd' => {
                        if open.len() >= self.limits.depth {
                            return Err(Error::TooDeep { limit: self.limits.depth });
                        }
                        let kind = if byte == b'l' { Kind::List } else { Kind::Dict };
                        let start = self.at;
                        let index = self.push(Token { kind, start, end: start, extra: 0 })?;
                        self.advance(1);
                        open.push(Open { index, key: None, sorted: true, value_next: false });
                        continue;
                    }
                    b'0'..=b'9' => self.string()?,
                    other => return Err(self.unexpected(other)),
                }
                if expects_key {
                    self.key(open.last_mut())?;
                    continue;
                }
            }
            match open.last_mut() {
                None => return Ok(()),
                Some(parent) => parent.value_next = false,
            }
        }
    }

    /// The token just read is a key of the innermost dictionary.
    fn key(&mut self, open: Option<&mut Open>) -> Result<(), Error> {
        let (Some(open), Some(token)) = (open, self.tokens.last()) else {
            return Ok(());
        };
        let key = token.extra..token.end;
        if let Some(last) = open.key.take() {
            let last = self.input.get(last);
            let this = self.input.get(key.clone());
            if last == this {
                return Err(Error::DuplicateKey { offset: token.start });
            }
            if last > this {
                open.sorted = false;
                self.canonical = false;
            }
        }
        open.key = Some(key);
        open.value_next = true;
        Ok(())
    }

    fn close(&mut self, done: &Open) -> Result<(), Error> {
        let (end, extra) = (self.at, self.tokens.len());
        if let Some(token) = self.tokens.get_mut(done.index) {
            token.end = end;
            token.extra = extra;
        }
        if !done.sorted {
            self.refuse_duplicates(done.index)?;
        }
        Ok(())
    }

    /// Unsorted keys: sort them once, so that a hostile dictionary costs n log n.
    fn refuse_duplicates(&self, index: usize) -> Result<(), Error> {
        let mut keys: Vec<(&[u8], usize)> = Vec::new();
        let end = self.tokens.get(index).map_or(0, |token| token.extra);
        let mut at = index.saturating_add(1);
        while at < end {
            let Some(key) = self.tokens.get(at) else {
                break;
            };
            keys.push((self.input.get(key.extra..key.end).unwrap_or_default(), key.start));
            at = next_index(&self.tokens, at.saturating_add(1));
        }
        keys.sort_unstable();
        let duplicate = keys.iter().zip(keys.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        duplicate.map_or(Ok(()), |(_, second)| Err(Error::DuplicateKey { offset: second.1 }))
    }

    fn int(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.advance(1);
        let negative = self.peek()? == b'-';
        if negative {
            self.advance(1);
        }
        let digits = self.at;
        let mut value: i64 = 0;
        loop {
            let byte = self.peek()?;
            match byte {
                b'0'..=b'9' => {
                    let digit = i64::from(byte.wrapping_sub(b'0'));
                    let digit = if negative { digit.checked_neg() } else { Some(digit) };
                    value = digit
                        .and_then(|digit| value.checked_mul(10)?.checked_add(digit))
                        .ok_or(Error::Overflow { offset: start })?;
                    self.advance(1);
                }
                b'e' if self.at > digits => break,
                other => return Err(self.unexpected(other)),
            }
        }
        let leading_zero = self.input.get(digits) == Some(&b'0');
        if leading_zero && (negative || self.at.saturating_sub(digits) > 1) {
            self.canonical = false;
        }
        self.advance(1);
        let end = self.at;
        // The value is read again on demand: a tape of spans stays small.
        self.push(Token { kind: Kind::Int, start, end, extra: digits }).map(drop)
    }

    fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut length: usize = 0;
        loop {
            let byte = self.peek()?;
            match byte {
                b'0'..=b'9' => {
                    length = length
                        .checked_mul(10)
                        .and_then(|length| length.checked_add(usize::from(byte.wrapping_sub(b'0'))))
                        .ok_or(Error::Overflow { offset: start })?;
                    self.advance(1);
                }
                b':' => break,
                other => return Err(self.unexpected(other)),
            }
        }
        if self.input.get(start) == Some(&b'0') && self.at.saturating_sub(start) > 1 {
            self.canonical = false;
        }
        self.advance(1);
        let content = self.at;
        let end = content.checked_add(length).ok_or(Error::Overflow { offset: start })?;
        if end > self.input.len() {
            return Err(Error::Truncated);
        }
        self.at = end;
        self.push(Token { kind: Kind::Bytes, start, end, extra: content }).map(drop)
    }

    fn push(&mut self, token: Token) -> Result<usize, Error> {
        if self.tokens.len() >= self.limits.tokens {
            return Err(Error::TooManyTokens { limit: self.limits.tokens });
        }
        self.tokens.push(token);
        Ok(self.tokens.len().saturating_sub(1))
    }

    fn peek(&self) -> Result<u8, Error> {
        if self.at >= self.limits.bytes {
            return Err(Error::TooLong { bytes: self.input.len(), limit: self.limits.bytes });
        }
        self.input.get(self.at).copied().ok_or(Error::Truncated)
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn unexpected(&self, byte: u8) -> Error {
        Error::Unexpected { byte, offset: self.at }
    }
}

/// The tape index after the value at `index`.
fn next_index(tokens: &[Token], index: usize) -> usize {
    match tokens.get(index) {
        Some(Token { kind: Kind::List | Kind::Dict, extra, .. }) => *extra,
        _ => index.saturating_add(1),
    }
}

impl<'a> Tape<'a> {
    /// The outermost value.
    pub fn root(&self) -> Node<'_, 'a> {
        Node { tape: self, index: 0 }
    }

    /// Whether encoding the values again would give the same bytes: keys sorted, no leading zeros.
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }
}

impl<'t, 'a> Node<'t, 'a> {
    fn token(&self) -> Option<&'t Token> {
        self.tape.tokens.get(self.index)
    }

    /// What this is.
    pub fn kind(&self) -> Kind {
        self.token().map_or(Kind::Bytes, |token| token.kind)
    }

    /// The exact input bytes of this value, markers included.
    pub fn raw(&self) -> &'a [u8] {
        self.token()
            .and_then(|token| self.tape.input.get(token.start..token.end))
            .unwrap_or_default()
    }

    /// The integer, when this is one.
    pub fn as_int(&self) -> Option<i64> {
        let token = self.token().filter(|token| token.kind == Kind::Int)?;
        let digits = self.tape.input.get(token.start.checked_add(1)?..token.end.checked_sub(1)?)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The string's bytes, when this is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let token = self.token().filter(|token| token.kind == Kind::Bytes)?;
        self.tape.input.get(token.extra..token.end)
    }

    /// The string, when this is one and is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The elements, when this is a list.
    pub fn list(&self) -> Option<impl Iterator<Item = Node<'t, 'a>> + use<'t, 'a>> {
        self.children(Kind::List)
    }

    /// Keys and values in the order of the input, when this is a dictionary.
    pub fn dict(&self) -> Option<impl Iterator<Item = (&'a [u8], Node<'t, 'a>)> + use<'t, 'a>> {
        let mut children = self.children(Kind::Dict)?;
        Some(std::iter::from_fn(move || {
            let key = children.next()?.as_bytes()?;
            Some((key, children.next()?))
        }))
    }

    /// The value of `key`, when this is a dictionary that has it.
    pub fn get(&self, key: &[u8]) -> Option<Node<'t, 'a>> {
        self.dict()?.find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    fn children(&self, kind: Kind) -> Option<impl Iterator<Item = Node<'t, 'a>> + use<'t, 'a>> {
        let token = self.token().filter(|token| token.kind == kind)?;
        let (tape, end) = (self.tape, token.extra);
        let mut at = self.index.saturating_add(1);
        Some(std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let node = Node { tape, index: at };
            at = next_index(&tape.tokens, at);
            Some(node)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(input: &[u8]) -> Error {
        parse(input, Limits::default()).unwrap_err()
    }

    #[test]
    fn every_kind_with_its_span() {
        let input = b"d1:ai-12e1:bl3:xyzdee1:c0:e";
        let tape = parse(input, Limits::default()).unwrap();
        let root = tape.root();
        assert!(tape.is_canonical());
        assert_eq!(root.get(b"a").unwrap().as_int(), Some(-12));
        assert_eq!(root.get(b"b").unwrap().raw(), b"l3:xyzdee");
        let list: Vec<_> = root.get(b"b").unwrap().list().unwrap().map(|n| n.kind()).collect();
        assert_eq!(list, [Kind::Bytes, Kind::Dict]);
        assert_eq!(root.get(b"c").unwrap().as_str(), Some(""));
        assert!(root.get(b"d").is_none());
        assert_eq!(root.raw(), input);
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        assert_eq!(error(b"i9223372036854775808e"), Error::Overflow { offset: 0 });
        assert_eq!(error(b"99999999999999999999:a"), Error::Overflow { offset: 0 });
        assert_eq!(error(b"18446744073709551615:a"), Error::Overflow { offset: 0 });
        assert_eq!(error(b"d1:ai0e1:ai0ee"), Error::DuplicateKey { offset: 7 });
        assert_eq!(error(b"d1:bi0e1:ai0e1:bi0ee"), Error::DuplicateKey { offset: 13 });
        assert_eq!(error(b"i0ei0e"), Error::Trailing { count: 3 });
        for bad in [&b"ie"[..], b"i-e", b"i1-e", b"e", b"d1:ae", b"di0ei0ee", b"x", b"1x", b"i 1e"]
        {
            assert!(matches!(error(bad), Error::Unexpected { .. }), "{bad:?}");
        }
    }

    #[test]
    fn truncated_at_every_byte() {
        let input = b"d1:ai-12e1:bl3:xyzdee1:c0:e";
        for end in 0..input.len() {
            assert_eq!(error(&input[..end]), Error::Truncated, "{end}");
        }
    }

    #[test]
    fn what_others_write_is_taken_and_flagged() {
        for odd in [&b"i-0e"[..], b"i03e", b"03:abc", b"d1:bi0e1:ai0ee"] {
            assert!(!parse(odd, Limits::default()).unwrap().is_canonical(), "{odd:?}");
        }
        assert_eq!(parse(b"i03e", Limits::default()).unwrap().root().as_int(), Some(3));
        assert_eq!(
            parse(b"i-9223372036854775808e", Limits::default()).unwrap().root().as_int(),
            Some(i64::MIN)
        );
    }

    #[test]
    fn limits_hold() {
        let nested = vec![b'l'; 1_000_000];
        assert_eq!(error(&nested), Error::TooDeep { limit: 100 });
        let limits = Limits { tokens: 3, ..Limits::default() };
        assert_eq!(parse(b"li0ei0ei0ee", limits).unwrap_err(), Error::TooManyTokens { limit: 3 });
        let limits = Limits { bytes: 2, ..Limits::default() };
        assert!(matches!(parse(b"i0e", limits), Err(Error::TooLong { .. })));
    }

    #[test]
    fn a_prefix_says_how_long_it_is() {
        let (tape, used) = parse_prefix(b"d1:ai1eeRAW", Limits::network()).unwrap();
        assert_eq!((used, tape.root().get(b"a").unwrap().as_int()), (8, Some(1)));
    }
}
