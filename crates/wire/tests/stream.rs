//! Framing as a receiver meets it: split anywhere, hostile, or both.

use proptest::prelude::*;
use wire::{
    BlockRequest, Decoded, FrameError, HashRequest, Limits, Message, decode, encode_block_head,
};

const LIMITS: Limits = Limits { bitfield_bytes: 100, block_bytes: 16 * 1024, extended_bytes: 300 };

fn block(piece: u32, begin: u32, length: u32) -> BlockRequest {
    BlockRequest { piece, begin, length }
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..100);
    (0u8..19, any::<u32>(), any::<u32>(), body).prop_map(|(kind, a, b, body)| {
        let request = block(a, b, 16_384);
        let [first, ..] = b.to_be_bytes();
        let wanted = HashRequest {
            root: [first; 32],
            base_layer: a,
            index: b,
            length: a ^ b,
            proof_layers: !a,
        };
        let hashes = vec![[first; 32]; body.len() + 1];
        let message = match kind {
            0 => Message::KeepAlive,
            1 => Message::Choke,
            2 => Message::Unchoke,
            3 => Message::Interested,
            4 => Message::NotInterested,
            5 => Message::Have(a),
            6 => Message::Bitfield(&body),
            7 => Message::Request(request),
            8 => Message::Cancel(request),
            9 => Message::Port(a as u16),
            10 => Message::SuggestPiece(a),
            11 => Message::HaveAll,
            12 => Message::HaveNone,
            13 => Message::RejectRequest(request),
            14 => Message::AllowedFast(a),
            15 => Message::HashRequest(wanted),
            16 => Message::Hashes { request: wanted, hashes: &hashes },
            17 => Message::HashReject(wanted),
            _ => Message::Extended { id: b as u8, payload: &body },
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let Ok(Decoded::Message { message: decoded, consumed }) = decode(&bytes, &LIMITS) else {
            panic!("{message:?} does not decode");
        };
        assert_eq!((decoded, consumed), (message, bytes.len()));
        bytes
    })
}

/// Decodes a stream that arrives in steps; gives each message's debug text and the end.
fn receive(stream: &[u8], step: usize) -> (Vec<String>, Result<usize, FrameError>) {
    let (mut seen, mut at, mut have) = (Vec::new(), 0, 0);
    loop {
        match decode(&stream[at..have], &LIMITS) {
            Ok(Decoded::Incomplete { need }) => {
                assert!(need > have - at, "asks for what is there");
                if have == stream.len() {
                    return (seen, Ok(at));
                }
                have = (have + step).min(stream.len());
            }
            Ok(Decoded::Message { message, consumed }) => {
                seen.push(format!("{message:?}"));
                at += consumed;
            }
            Ok(Decoded::BlockHead { block, consumed }) => {
                seen.push(format!("{block:?}"));
                at += consumed + block.length as usize;
                have = have.max(at);
                if at > stream.len() {
                    return (seen, Ok(stream.len()));
                }
            }
            Err(error) => return (seen, Err(error)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_gives_the_same_messages(messages in proptest::collection::vec(any_message(), 1..8)) {
        let stream = messages.concat();
        let whole = receive(&stream, stream.len());
        prop_assert_eq!(whole.0.len(), messages.len());
        for step in [1, 3, 7] {
            prop_assert_eq!(&receive(&stream, step), &whole);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_understood(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        let whole = receive(&stream, 200);
        prop_assert_eq!(&receive(&stream, 1), &whole);
    }
}

#[test]
fn a_block_is_announced_by_its_thirteen_bytes() {
    let head = encode_block_head(block(7, 16_384, 16_384));
    let expected = Decoded::BlockHead { block: block(7, 16_384, 16_384), consumed: 13 };
    assert_eq!(decode(&head, &LIMITS), Ok(expected));
    assert_eq!(decode(&head[..12], &LIMITS), Ok(Decoded::Incomplete { need: 13 }));
}

#[test]
fn lengths_are_judged_before_bodies_arrive() {
    let refused = |bytes: &[u8]| decode(bytes, &LIMITS).unwrap_err();
    // 2^32 - 1, from the prefix alone
    assert!(matches!(refused(&[0xff; 4]), FrameError::TooLong { length: 0xffff_fffe, .. }));
    let of = |length: u32, id: u8| [&length.to_be_bytes()[..], &[id]].concat();
    assert_eq!(refused(&of(102, 5)), FrameError::TooLong { id: 5, length: 101, limit: 100 });
    assert!(matches!(refused(&of(16_384 + 10, 7)), FrameError::TooLong { .. }));
    assert!(matches!(refused(&of(400, 99)), FrameError::TooLong { id: 99, .. }));
    let hashes = 1 + 48 + 32 * 8240;
    assert_eq!(
        decode(&of(hashes, 22), &LIMITS),
        Ok(Decoded::Incomplete { need: hashes as usize + 4 })
    );
    assert!(matches!(refused(&of(hashes + 32, 22)), FrameError::TooLong { .. }));
    assert_eq!(refused(&of(9, 7)), FrameError::WrongLength { id: 7, length: 8 });
    for (id, length) in [
        (0, 2),
        (4, 4),
        (6, 12),
        (6, 14),
        (9, 2),
        (14, 2),
        (17, 1),
        (20, 1),
        (21, 48),
        (22, 49),
        (22, 82),
        (23, 50),
    ] {
        assert!(
            matches!(refused(&of(length, id)), FrameError::WrongLength { .. }),
            "{id} {length}"
        );
    }
}

#[test]
fn unknown_messages_are_skipped() {
    let stream = [0, 0, 0, 3, 99, 1, 2, 0, 0, 0, 1, 1];
    let (seen, end) = receive(&stream, 1);
    assert_eq!(seen, ["Unknown { id: 99 }", "Unchoke"]);
    assert_eq!(end, Ok(stream.len()));
}
