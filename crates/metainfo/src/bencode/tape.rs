//! The tape: every token of a document, flat, in the order of the input.

use super::Node;

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

/// Sixteen bytes, so that the largest document allowed costs less than its own input. Offsets
/// count input bytes; the decoder takes no input that they can't address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where the value begins and ends in the input, markers included.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Strings: where the content begins. Containers: the tape index after the last child.
    pub(super) extra: u32,
}

/// A decoded document, borrowing the input.
#[derive(Debug)]
pub struct Tape<'a> {
    pub(super) input: &'a [u8],
    pub(super) tokens: Vec<Token>,
    pub(super) canonical: bool,
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

/// The tape index after the value at `index`, whatever is in it.
pub(super) fn next_index(tokens: &[Token], index: usize) -> usize {
    match tokens.get(index) {
        Some(Token { kind: Kind::List | Kind::Dict, extra, .. }) => *extra as usize,
        _ => index.saturating_add(1),
    }
}

/// The bytes from `start` to `end`; empty when there are none such.
pub(super) fn span(input: &[u8], start: u32, end: u32) -> &[u8] {
    input.get(start as usize..end as usize).unwrap_or_default()
}
