//! What a proxy answers, by SOCKS5 and HTTP, and what comes through it in datagrams: little is asked for
//! at a time, and it ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::proxy::{
    Credentials, HttpConnect, ProxyTarget, Request, Socks5, datagram_head, open_datagram,
};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let target = ProxyTarget::new("host.example", 80).expect("a name");
    let request = if choice & 1 == 0 { Request::Connect(target) } else { Request::Associate };
    let credentials = Credentials::new("user", "password").filter(|_| choice & 2 == 0);
    let mut machine = Socks5::new(request, credentials);
    let (mut rest, mut steps) = (bytes, 0);
    loop {
        assert!(machine.output().len() <= 600 && (1..=257).contains(&machine.need()) && steps < 4);
        let Some((now, later)) = rest.split_at_checked(machine.need()) else { break };
        (rest, steps) = (later, steps + 1);
        if !matches!(machine.input(now), Ok(None)) {
            break;
        }
    }
    let mut http = HttpConnect::default();
    for byte in bytes {
        if !matches!(http.input(*byte), Ok(false)) {
            break;
        }
    }
    if let Some((from, inside)) = open_datagram(bytes) {
        let again = [datagram_head(&from.into()), inside.to_vec()].concat();
        assert_eq!(open_datagram(&again), Some((from, inside)));
    }
});
