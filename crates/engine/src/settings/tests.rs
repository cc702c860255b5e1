//! What a proxy leaves of a session's settings.

use super::*;
use crate::net::NetworkOptions;

fn behind(url: &str, transport: Transport) -> Result<Settings, StartError> {
    let options = NetworkOptions::default().proxy(url.parse().unwrap());
    let network = Network::new(options);
    let settings = Settings { network, transport, local_discovery: true, ..Settings::default() };
    Settings { port_mapping: true, ..settings }.behind_proxy()
}

#[test]
fn a_proxy_leaves_what_goes_through_it() {
    for (url, relays) in [("socks5://192.0.2.1:1080", true), ("http://192.0.2.1:8080", false)] {
        let settings = behind(url, Transport::Both).unwrap();
        let off = [settings.listen, settings.local_discovery, settings.port_mapping];
        assert_eq!(off, [false; 3], "{url}");
        assert_eq!(settings.dht, relays, "{url}");
        assert_eq!(settings.transport == Transport::Both, relays, "{url}");
        assert_eq!(settings.transport == Transport::Tcp, !relays, "{url}");
    }
    assert_eq!(behind("socks5://192.0.2.1:1", Transport::Utp).unwrap().transport, Transport::Utp);
    let error = behind("http://192.0.2.1:1", Transport::Utp).unwrap_err();
    assert!(error.to_string().contains("uTP can't go through the proxy"), "{error}");
}

#[test]
fn datagrams_are_shorter_by_the_head_of_a_relay() {
    let settings = behind("socks5://192.0.2.1:1080", Transport::Both).unwrap();
    assert_eq!(settings.utp(1).datagram_bytes_max, [1_452 - 10, 1_452 - 22]);
    assert!(!settings.utp(1).accept);
    assert_eq!(Settings::default().utp(1).datagram_bytes_max, [1_472, 1_452]);
}
