//! What strangers ask our own tracker, and what strangers name as a tracker's URL.
#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tracker::server::{Registry, ServerLimits};
use tracker::{http, may_contact, udp_target};

fuzz_target!(|input: &str| {
    let limits = ServerLimits { torrents_max: 3, ..ServerLimits::default() };
    let mut registry = Registry::new(limits, 1);
    for (n, line) in input.lines().enumerate() {
        let remote = SocketAddr::from(([10, 0, 0, n as u8], 1000));
        let (status, body) = registry.handle_http(Duration::from_secs(n as u64), remote, line);
        assert!(matches!(status, 200 | 404 | 414));
        if status == 200 {
            // What it says is an answer or a refusal that our own client understands.
            let known = http::parse_announce(&body).is_ok() || http::parse_scrape(&body).is_ok();
            assert!(known || body.starts_with(b"d14:failure reason"), "{}", body.escape_ascii());
        }
        if let Ok(target) = udp_target(line) {
            assert!(target.port != 0 && !target.host.is_empty());
        }
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if may_contact(line, loopback, false).is_ok() {
            assert!(
                !line.contains('?') || line.contains('#'),
                "a query to a private address: {line}"
            );
        }
    }
});
