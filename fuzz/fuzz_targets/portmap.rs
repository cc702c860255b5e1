//! Port mapping: whatever a gateway sends, nothing it says leads to another host, and what is taken for
//! an answer is as long as one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use portmap::igd::{self, Call};
use portmap::ssdp::{self, Location};
use portmap::{Protocol, default_gateway_v4, default_gateway_v6, natpmp, pcp};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    match kind % 5 {
        0 => {
            let map = natpmp::Request::Map {
                protocol: Protocol::Tcp,
                internal_port: 6881,
                external_port: 6881,
                seconds: 3600,
            };
            let taken = map.decode(input).is_ok();
            assert!(!taken || input.len() >= 16);
            let taken = natpmp::Request::ExternalAddress.decode(input).is_ok();
            assert!(!taken || input.len() >= 12);
        }
        1 => {
            let request = pcp::Request {
                client: HOST,
                nonce: *b"twelve bytes",
                protocol: Protocol::Udp,
                internal_port: 6881,
                external_port: 6881,
                seconds: 3600,
            };
            let taken = request.decode(input).is_ok();
            assert!(!taken || input.len() >= 60);
        }
        2 => {
            if let Ok(location) = ssdp::answer(input, HOST) {
                assert_eq!(location.addr.ip(), HOST);
                assert!(!location.path.contains(['\r', '\n', ' ']));
            }
        }
        3 => {
            let base = Location { addr: (HOST, 5000).into(), path: "/root.xml".into() };
            let services = igd::services(input, &base);
            assert!(services.len() <= 4);
            for service in services {
                assert_eq!(service.control.addr.ip(), HOST);
                assert!(!service.control.path.contains(['\r', '\n', ' ']));
                let _ = service.body(Call::ExternalAddress);
            }
            let _ = igd::external_address(200, input);
        }
        _ => {
            let text = String::from_utf8_lossy(input);
            let _ = (default_gateway_v4(&text, None), default_gateway_v6(&text, Some("eth0")));
        }
    }
});
