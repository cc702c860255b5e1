//! One value of a document: what the rest of the code reads bencode through.

use super::tape::{Kind, Tape, Token, next_index, span};

/// One value of a document. Asking for a kind that it is not gives `None`, so hostile types cost
/// the caller one branch.
#[derive(Debug, Clone, Copy)]
pub struct Node<'t, 'a> {
    pub(super) tape: &'t Tape<'a>,
    pub(super) index: usize,
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
        self.token().map_or(&[], |token| span(self.tape.input, token.start, token.end))
    }

    /// The integer, when this is one.
    pub fn as_int(&self) -> Option<i64> {
        let token = self.token().filter(|token| token.kind == Kind::Int)?;
        let digits = span(self.tape.input, token.start.checked_add(1)?, token.end.checked_sub(1)?);
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The string's bytes, when this is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let token = self.token().filter(|token| token.kind == Kind::Bytes)?;
        Some(span(self.tape.input, token.extra, token.end))
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
        let (tape, end) = (self.tape, token.extra as usize);
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
