//! What travels (BEP 29): a header of 20 bytes, extensions, payload.

use crate::seq::Seq;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 20;
/// The longest selective ack: its length is a byte, and a multiple of four.
pub const SACK_BYTES_MAX: usize = 252;

const VERSION: u8 = 1;
const SACK: u8 = 1;
/// An extension that no version of the protocol knows and every one skips.
const PADDING: u8 = 0x70;
/// Bytes of an extension's head: the type of the next one, and a length.
const EXTENSION_HEAD: usize = 2;
/// A packet has two extensions at most in practice, and a padded one seven.
const EXTENSIONS_MAX: usize = 16;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Carries payload.
    Data,
    /// The last packet.
    Fin,
    /// Acknowledges, and has no number of its own.
    State,
    /// There is no such connection.
    Reset,
    /// Opens a connection.
    Syn,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Data,
            1 => Self::Fin,
            2 => Self::State,
            3 => Self::Reset,
            4 => Self::Syn,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Fin => 1,
            Self::State => 2,
            Self::Reset => 3,
            Self::Syn => 4,
        }
    }
}

/// The fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// The connection, as the receiver names it; in a SYN and in some resets, as the sender does.
    pub connection: u16,
    /// The sender's clock in microseconds.
    pub sent_at: u32,
    /// How long the last packet from the receiver took to the sender, by both clocks.
    pub delay: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// Its number.
    pub seq: Seq,
    /// The last number up to which the sender has everything.
    pub ack: Seq,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part.
    pub header: Header,
    /// A selective ack: bit 0 of byte 0 stands for `ack + 2`. Empty when there is none.
    pub sack: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for what is no packet of version 1 or ends inside an extension.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [
            first,
            mut next,
            c0,
            c1,
            t0,
            t1,
            t2,
            t3,
            d0,
            d1,
            d2,
            d3,
            w0,
            w1,
            w2,
            w3,
            s0,
            s1,
            a0,
            a1,
        ] = *head;
        if first & 0xf != VERSION {
            return None;
        }
        let header = Header {
            kind: Kind::from_number(first >> 4)?,
            connection: u16::from_be_bytes([c0, c1]),
            sent_at: u32::from_be_bytes([t0, t1, t2, t3]),
            delay: u32::from_be_bytes([d0, d1, d2, d3]),
            window: u32::from_be_bytes([w0, w1, w2, w3]),
            seq: Seq(u16::from_be_bytes([s0, s1])),
            ack: Seq(u16::from_be_bytes([a0, a1])),
        };
        let mut sack: &[u8] = &[];
        for _ in 0..EXTENSIONS_MAX {
            if next == 0 {
                return Some(Self { header, sack, payload: rest });
            }
            let (&[after, length], body) = rest.split_first_chunk::<EXTENSION_HEAD>()?;
            let (body, behind) = body.split_at_checked(usize::from(length))?;
            if next == SACK && !body.is_empty() && body.len().is_multiple_of(4) {
                sack = body;
            }
            (next, rest) = (after, behind);
        }
        None
    }
}

impl Header {
    fn bytes(&self, extension: u8) -> [u8; HEADER_BYTES] {
        let [c0, c1] = self.connection.to_be_bytes();
        let [t0, t1, t2, t3] = self.sent_at.to_be_bytes();
        let [d0, d1, d2, d3] = self.delay.to_be_bytes();
        let [w0, w1, w2, w3] = self.window.to_be_bytes();
        let ([s0, s1], [a0, a1]) = (self.seq.0.to_be_bytes(), self.ack.0.to_be_bytes());
        let first = self.kind.number() << 4 | VERSION;
        [first, extension, c0, c1, t0, t1, t2, t3, d0, d1, d2, d3, w0, w1, w2, w3, s0, s1, a0, a1]
    }

    /// Appends a header without extensions; the payload follows.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes(0));
    }

    /// Appends a header with a selective ack, whose length must be a multiple of four and at most
    /// [`SACK_BYTES_MAX`]. What is empty, or no such length, is left out.
    pub fn encode_sack(&self, sack: &[u8], to: &mut Vec<u8>) {
        match u8::try_from(sack.len()) {
            Ok(length) if length > 0 && length.is_multiple_of(4) => {
                to.extend_from_slice(&self.bytes(SACK));
                to.extend_from_slice(&[0, length]);
                to.extend_from_slice(sack);
            }
            _ => self.encode(to),
        }
    }

    /// Appends a header and `padding` bytes of extensions that say nothing, two at least.
    pub(crate) fn encode_padded(&self, padding: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes(PADDING));
        let mut left = padding.max(EXTENSION_HEAD);
        while left > 0 {
            let mut whole = left.min(EXTENSION_HEAD.saturating_add(usize::from(u8::MAX)));
            if left.saturating_sub(whole) == 1 {
                whole = whole.saturating_sub(1); // one byte is too few for the next
            }
            left = left.saturating_sub(whole);
            let body = whole.saturating_sub(EXTENSION_HEAD);
            to.extend_from_slice(&[if left > 0 { PADDING } else { 0 }, body as u8]);
            to.resize(to.len().saturating_add(body), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: Kind) -> Header {
        Header {
            kind,
            connection: 0x1234,
            sent_at: 0x0102_0304,
            delay: 0x0506_0708,
            window: 0x090a_0b0c,
            seq: Seq(0xfffe),
            ack: Seq(0x8001),
        }
    }

    #[test]
    fn a_header_is_as_the_bep_draws_it() {
        let mut bytes = Vec::new();
        header(Kind::Syn).encode(&mut bytes);
        let drawn =
            [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff, 0xfe, 0x80, 0x01];
        assert_eq!(bytes, drawn);
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet, Packet { header: header(Kind::Syn), sack: &[], payload: &[] });
    }

    #[test]
    fn extensions_are_skipped_but_for_a_sack() {
        let mut bytes = Vec::new();
        header(Kind::State).encode(&mut bytes);
        bytes[1] = 2; // extension bits
        bytes.extend([1, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([3, 4, 0b101, 0, 0, 0x80]);
        bytes.extend([0, 0]); // a close reason without one
        bytes.extend(b"data");
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!((packet.sack, packet.payload), (&[0b101, 0, 0, 0x80][..], &b"data"[..]));
        for length in HEADER_BYTES..bytes.len() - 4 {
            assert_eq!(Packet::decode(&bytes[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_sack_of_an_odd_length_is_none() {
        for length in [0, 1, 3, 5, 253] {
            let mut bytes = Vec::new();
            header(Kind::State).encode(&mut bytes);
            bytes[1] = SACK;
            bytes.extend([0, length]);
            bytes.resize(bytes.len() + usize::from(length), 0xff);
            assert_eq!(Packet::decode(&bytes).unwrap().sack, &[] as &[u8]);
        }
    }

    #[test]
    fn no_endless_chain_of_extensions() {
        let mut bytes = Vec::new();
        header(Kind::Data).encode(&mut bytes);
        bytes[1] = 9;
        (0..100).for_each(|_| bytes.extend([9, 0]));
        bytes.extend([0, 0]);
        assert_eq!(Packet::decode(&bytes), None);
    }

    #[test]
    fn other_versions_and_types_are_no_packets() {
        let mut bytes = Vec::new();
        header(Kind::Data).encode(&mut bytes);
        for first in [0x00, 0x02, 0x51, 0xf1, b'd'] {
            bytes[0] = first;
            assert_eq!(Packet::decode(&bytes), None);
        }
        bytes[0] = 0x01;
        assert_eq!(Packet::decode(&bytes[..19]), None);
    }

    proptest! {
        #[test]
        fn padding_is_as_long_as_asked_for_and_skipped(padding in 2_usize..2000, body in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            header(Kind::Data).encode_padded(padding, &mut bytes);
            prop_assert_eq!(bytes.len(), HEADER_BYTES + padding);
            bytes.extend(&body);
            let packet = Packet::decode(&bytes).unwrap();
            prop_assert_eq!(packet.header, header(Kind::Data));
            prop_assert_eq!(packet.payload, &body[..]);
        }

        #[test]
        fn what_is_encoded_is_decoded(words in 0_usize..=63, seed in any::<u64>()) {
            let mut sack = vec![0; words * 4];
            fastrand::Rng::with_seed(seed).fill(&mut sack);
            let mut bytes = Vec::new();
            header(Kind::State).encode_sack(&sack, &mut bytes);
            let packet = Packet::decode(&bytes).unwrap();
            prop_assert_eq!(packet.sack, &sack[..]);
            prop_assert!(packet.payload.is_empty());
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in any::<Vec<u8>>()) {
            let _ = Packet::decode(&bytes);
        }
    }
}
