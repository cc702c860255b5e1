//! Magnet links (BEP 9, 53): any text is a link with bounded hints, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metainfo::Magnet;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    assert!(magnet.hashes.v1().is_some() || magnet.hashes.v2().is_some());
    for hints in [magnet.trackers.len(), magnet.web_seeds.len(), magnet.peers.len()] {
        assert!(hints <= 200);
    }
    assert!(magnet.peers.iter().all(|(host, port)| !host.is_empty() && *port != 0));
    assert!(magnet.files.iter().all(|range| !range.is_empty()));
});
