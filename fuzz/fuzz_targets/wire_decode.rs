//! The peer wire: a stream of any bytes is followed to its end or refused, whatever pieces it
//! arrives in, and every message decoded encodes to the bytes it came from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Decoded, HANDSHAKE_LENGTH, Handshake, Limits, decode, encode_block_head};

const LIMITS: Limits = Limits { bitfield_bytes: 64, block_bytes: 16 * 1024, extended_bytes: 1024 };

fuzz_target!(|input: &[u8]| {
    if let Some(head) = input.first_chunk::<HANDSHAKE_LENGTH>() {
        if let Ok(handshake) = Handshake::decode(head) {
            assert_eq!(&handshake.encode(), head);
            let _ = (handshake.reserved.names(), handshake.peer_id.client_name());
            assert!(Handshake::check_prefix(&head[..20]).is_ok());
        }
    }
    let mut rest = input;
    loop {
        match decode(rest, &LIMITS) {
            Err(_) => return,
            Ok(Decoded::Incomplete { need }) => {
                assert!(need > rest.len(), "a whole message is decoded");
                assert!(need <= 5 + 48 + 32 * 8240, "no more than the limits");
                return;
            }
            Ok(Decoded::Message { message, consumed }) => {
                assert!((4..=rest.len()).contains(&consumed));
                if let wire::Message::HashRequest(request) = message {
                    let inside = request.is_sound(20);
                    assert!(!inside || request.length <= wire::HASHES_MAX && request.uncles() < 20);
                }
                let mut again = Vec::new();
                message.encode(&mut again);
                if !matches!(message, wire::Message::Unknown { .. }) {
                    assert_eq!(again, rest[..consumed]);
                }
                rest = &rest[consumed..];
            }
            Ok(Decoded::BlockHead { block, consumed }) => {
                assert!(block.length <= LIMITS.block_bytes);
                assert_eq!(encode_block_head(block), rest[..consumed]);
                let after = &rest[consumed..];
                rest = &after[after.len().min(block.length as usize)..];
            }
        }
    }
});
