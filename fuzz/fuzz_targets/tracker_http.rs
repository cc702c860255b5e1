//! HTTP tracker answers: bounded and clean whatever they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracker::{INTERVAL_MAX, INTERVAL_MIN, http};

fuzz_target!(|input: &[u8]| {
    if let Ok(reply) = http::parse_announce(input) {
        assert!((INTERVAL_MIN..=INTERVAL_MAX).contains(&reply.interval));
        assert!(reply.min_interval.is_none_or(|min| min <= INTERVAL_MAX));
        assert!(reply.peers.iter().all(|peer| peer.port() != 0));
        let warning = reply.warning.unwrap_or_default();
        assert!(!warning.chars().any(char::is_control));
    }
    if let Ok(reply) = http::parse_scrape(input) {
        assert!(reply.iter().all(|(hash, _)| reply.get(&hash).is_some()));
    }
    let refusal = http::refusal(500, input).to_string();
    assert!(!refusal.chars().any(char::is_control));
});
