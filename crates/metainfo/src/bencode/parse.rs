//! Bytes to a tape of tokens.

use std::cmp::Ordering;

use super::tape::{Kind, Tape, Token, next_index, span};

/// The tape keeps offsets in 32 bits, so no limit reaches further.
const BYTES_MAX: usize = u32::MAX as usize;
/// As above, for places on the tape.
const TOKENS_MAX: usize = u32::MAX as usize;

/// What a document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers within containers. Real torrents nest 5 deep; v2 file trees as deep as paths.
    pub depth: usize,
    /// Values in all, keys included; each costs 16 bytes of memory.
    pub tokens: usize,
    /// Bytes of input.
    pub bytes: usize,
}

impl Default for Limits {
    /// For .torrent files: the largest seen are about 25 MB with 170,000 files.
    fn default() -> Self {
        Self { depth: 100, tokens: 3_000_000, bytes: crate::TORRENT_BYTES_MAX }
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

/// Decodes the whole input as one value.
///
/// # Errors
/// [`Error`], with the offset where there is one.
pub fn parse(input: &[u8], limits: Limits) -> Result<Tape<'_>, Error> {
    let limit = limits.bytes.min(BYTES_MAX);
    if input.len() > limit {
        return Err(Error::TooLong { bytes: input.len(), limit });
    }
    let (tape, used) = parse_prefix(input, limits)?;
    match input.len().saturating_sub(used) {
        0 => Ok(tape),
        count => Err(Error::Trailing { count }),
    }
}

/// Decodes one value at the front of the input and tells how many bytes it took (BEP 9 messages
/// carry raw data behind their dictionary). What follows the value may be longer than the limit.
///
/// # Errors
/// As [`parse`], but for bytes that follow.
pub fn parse_prefix(input: &[u8], limits: Limits) -> Result<(Tape<'_>, usize), Error> {
    let allowed = input.get(..limits.bytes.min(BYTES_MAX)).unwrap_or(input);
    let mut parser = Parser {
        input: allowed,
        given: input.len(),
        at: 0,
        limits,
        tokens: Vec::new(),
        canonical: true,
    };
    parser.run()?;
    let used = parser.at;
    Ok((Tape { input: allowed, tokens: parser.tokens, canonical: parser.canonical }, used))
}

/// A container whose end has not been seen.
struct Open {
    /// Its place on the tape.
    index: usize,
    is_dict: bool,
    /// The place of the last key, when this is a dictionary that has one.
    last_key: Option<usize>,
    /// Keys so far were in order, so a duplicate can only be the neighbour.
    sorted: bool,
    /// A key was read and its value is due.
    value_next: bool,
}

struct Parser<'a> {
    /// No longer than the limit, and than offsets of 32 bits reach.
    input: &'a [u8],
    /// Bytes there were before the limit cut them.
    given: usize,
    at: usize,
    limits: Limits,
    tokens: Vec<Token>,
    canonical: bool,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut open: Vec<Open> = Vec::new(); // no longer than the depth limit
        loop {
            let byte = self.peek()?;
            let key_next = open.last().is_some_and(|open| open.is_dict && !open.value_next);
            match byte {
                b'e' => {
                    let done = open.pop().filter(|done| !done.value_next);
                    let done = done.ok_or(self.unexpected(byte))?;
                    self.advance(1);
                    self.close(&done)?;
                }
                b'0'..=b'9' => self.string()?,
                _ if key_next => return Err(self.unexpected(byte)),
                b'i' => self.int()?,
                b'l' | b'd' => {
                    if open.len() >= self.limits.depth {
                        return Err(Error::TooDeep { limit: self.limits.depth });
                    }
                    open.push(self.open(byte == b'd')?);
                    continue;
                }
                _ => return Err(self.unexpected(byte)),
            }
            match open.last_mut() {
                None => return Ok(()),
                Some(dict) if key_next && byte != b'e' => self.key(dict)?,
                Some(parent) => parent.value_next = false,
            }
        }
    }

    fn open(&mut self, is_dict: bool) -> Result<Open, Error> {
        let kind = if is_dict { Kind::Dict } else { Kind::List };
        let index = self.tokens.len();
        self.push(kind, self.at, 0)?;
        self.advance(1);
        Ok(Open { index, is_dict, last_key: None, sorted: true, value_next: false })
    }

    /// The token just read is a key of the innermost dictionary.
    fn key(&mut self, dict: &mut Open) -> Result<(), Error> {
        let index = self.tokens.len().saturating_sub(1);
        let key = self.content(index);
        if let Some(last) = dict.last_key.replace(index) {
            match self.content(last).cmp(key) {
                Ordering::Less => {}
                Ordering::Equal => return Err(self.duplicate(index)),
                Ordering::Greater => {
                    dict.sorted = false;
                    self.canonical = false;
                }
            }
        }
        dict.value_next = true;
        Ok(())
    }

    fn close(&mut self, done: &Open) -> Result<(), Error> {
        let (end, extra) = (self.at as u32, self.tokens.len() as u32);
        if let Some(token) = self.tokens.get_mut(done.index) {
            token.end = end;
            token.extra = extra;
        }
        if done.sorted { Ok(()) } else { self.refuse_duplicates(done.index) }
    }

    /// Unsorted keys: sort them once, so that a hostile dictionary costs n log n.
    fn refuse_duplicates(&self, dict: usize) -> Result<(), Error> {
        let mut keys: Vec<(&[u8], usize)> = Vec::new();
        let end = next_index(&self.tokens, dict);
        let mut at = dict.saturating_add(1);
        while at < end {
            keys.push((self.content(at), at));
            at = next_index(&self.tokens, at.saturating_add(1));
        }
        keys.sort_unstable();
        let duplicate = keys.iter().zip(keys.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        duplicate.map_or(Ok(()), |(_, second)| Err(self.duplicate(second.1)))
    }

    /// The value is read again on demand: a tape of spans stays small.
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
                _ => return Err(self.unexpected(byte)),
            }
        }
        let leading_zero = self.input.get(digits) == Some(&b'0');
        if leading_zero && (negative || self.at.saturating_sub(digits) > 1) {
            self.canonical = false;
        }
        self.advance(1);
        self.push(Kind::Int, start, digits)
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
                _ => return Err(self.unexpected(byte)),
            }
        }
        if self.input.get(start) == Some(&b'0') && self.at.saturating_sub(start) > 1 {
            self.canonical = false;
        }
        self.advance(1);
        let content = self.at;
        let end = content.checked_add(length).ok_or(Error::Overflow { offset: start })?;
        if end > self.input.len() {
            return Err(self.cut_short());
        }
        self.at = end;
        self.push(Kind::Bytes, start, content)
    }

    /// A token that ends where the parser is.
    fn push(&mut self, kind: Kind, start: usize, extra: usize) -> Result<(), Error> {
        if self.tokens.len() >= self.limits.tokens.min(TOKENS_MAX) {
            return Err(Error::TooManyTokens { limit: self.limits.tokens.min(TOKENS_MAX) });
        }
        let (start, end, extra) = (start as u32, self.at as u32, extra as u32);
        self.tokens.push(Token { kind, start, end, extra });
        Ok(())
    }

    /// The content of the string at a place of the tape.
    fn content(&self, index: usize) -> &[u8] {
        let token = self.tokens.get(index);
        token.map_or(&[], |token| span(self.input, token.extra, token.end))
    }

    fn peek(&self) -> Result<u8, Error> {
        self.input.get(self.at).copied().ok_or_else(|| self.cut_short())
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn unexpected(&self, byte: u8) -> Error {
        Error::Unexpected { byte, offset: self.at }
    }

    fn duplicate(&self, index: usize) -> Error {
        Error::DuplicateKey { offset: self.tokens.get(index).map_or(0, |key| key.start as usize) }
    }

    /// The input ended, or the limit cut it.
    fn cut_short(&self) -> Error {
        if self.given > self.input.len() {
            return Error::TooLong { bytes: self.given, limit: self.input.len() };
        }
        Error::Truncated
    }
}
