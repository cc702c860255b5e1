//! Peer exchange (BEP 11): what is taken of any bytes is bounded, can be dialled, and survives a round
//! trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::PexMessage;

fuzz_target!(|input: &[u8]| {
    let Ok(message) = PexMessage::decode(input) else { return };
    assert!(message.added.len() <= 200 && message.dropped.len() <= 200);
    for (addr, _) in &message.added {
        assert!(addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast());
    }
    assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
});
