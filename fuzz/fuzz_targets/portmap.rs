//! Port mapping: whatever a gateway sends, nothing it says leads to another host, and what is taken for
//! an answer is as long as one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libfuzzer_sys::fuzz_target;
use portmap::igd::{self, Call};
use portmap::ssdp::{self, Location};
use portmap::{Protocol, default_gateway_v4, default_gateway_v6, natpmp, pcp};

const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    // Over both: what is the gateway's over IPv6 has the number of its link.
    let hosts = [SocketAddr::new(HOST, 1900), SocketAddrV6::new(LINK, 1900, 0, 3).into()];
    let host = hosts[usize::from(kind / 5 % 2)];
    let is_its_own = |mut addr: SocketAddr| {
        addr.set_port(1900);
        addr == host
    };
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
                client: host.ip(),
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
            if let Ok(location) = ssdp::answer(input, host) {
                assert!(is_its_own(location.addr));
                assert!(!location.path.contains(['\r', '\n', ' ']));
            }
        }
        3 => {
            let base = Location { addr: host, path: "/root.xml".into() };
            let (services, firewalls) = (igd::services(input, &base), igd::firewalls(input, &base));
            assert!(services.len() <= 4 && firewalls.len() <= 4);
            for service in services.into_iter().chain(firewalls) {
                assert!(is_its_own(service.control.addr));
                assert!(!service.control.path.contains(['\r', '\n', ' ']));
                let _ = service.body(Call::ExternalAddress);
            }
            let _ = (igd::external_address(200, input), igd::firewall_status(200, input));
            let hole =
                igd::Pinhole { protocol: Protocol::Udp, client: LINK, port: 6881, seconds: 3600 };
            let _ = igd::opened(hole, 200, input);
        }
        _ => {
            let text = String::from_utf8_lossy(input);
            let _ = (default_gateway_v4(&text, None), default_gateway_v6(&text, Some("eth0")));
        }
    }
});
