//! Bencode (BEP 3): a bounded, iterative decoder over borrowed bytes, and an encoder.
//!
//! The decoder makes a flat tape of tokens, one pass, no recursion and no allocation per value.
//! Every value knows the exact bytes it came from, which is what an info hash is computed over.
//! Input that other clients accept but that is not canonical (unsorted keys, leading zeros) is
//! accepted and flagged; input that has no one meaning (duplicate keys, integers beyond 64 bits,
//! trailing bytes) is refused.

mod encode;
mod node;
mod parse;
mod tape;
#[cfg(test)]
mod tests;

pub use encode::Encoder;
pub use node::Node;
pub use parse::{Error, Limits, parse, parse_prefix};
pub use tape::{Kind, Tape};
