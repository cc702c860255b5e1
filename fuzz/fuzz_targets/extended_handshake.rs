//! The extended handshake (BEP 10): what was understood of one survives being sent on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{ExtendedHandshake, Extension, PeerExtensions};

fuzz_target!(|input: &[u8]| {
    let Ok(handshake) = ExtendedHandshake::decode(input) else {
        return;
    };
    let mut peer = PeerExtensions::default();
    peer.update(&handshake);
    for extension in [Extension::UploadOnly, Extension::DontHave] {
        assert_ne!(peer.id_of(extension), Some(0), "0 switches an extension off");
    }
    let again = ExtendedHandshake::decode(&handshake.encode()).expect("what we send is bencode");
    assert_eq!(again.yourip, handshake.yourip);
    assert_eq!(again.reqq, handshake.reqq);
    assert_eq!(again.port, handshake.port);
    assert_eq!(again.upload_only, handshake.upload_only);
    assert_eq!(again.metadata_size, handshake.metadata_size);
    let mut later = PeerExtensions::default();
    later.update(&again);
    for extension in [Extension::UploadOnly, Extension::DontHave] {
        assert_eq!(later.id_of(extension), peer.id_of(extension));
    }
});
