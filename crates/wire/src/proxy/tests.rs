//! What SOCKS5 and HTTP proxies are told, and answers of every kind, cut anywhere.

use proptest::prelude::*;

use super::*;

fn name(text: &str, port: u16) -> ProxyTarget {
    ProxyTarget::new(text, port).unwrap()
}

fn login() -> Option<Credentials> {
    Credentials::new("user", "secret")
}

/// Answers in turn; gives what was sent at each step, and how it ended.
fn run(
    mut machine: Socks5,
    answers: &[&[u8]],
) -> (Vec<Vec<u8>>, Result<Option<Reply>, SocksError>) {
    let mut sent = vec![machine.output()];
    let mut last = Ok(None);
    for answer in answers {
        assert_eq!(machine.need(), answer.len());
        last = machine.input(answer);
        sent.push(machine.output());
    }
    (sent, last)
}

fn connect(target: ProxyTarget, credentials: Option<Credentials>) -> Socks5 {
    Socks5::new(Request::Connect(target), credentials)
}

#[test]
fn a_name_goes_to_the_proxy_as_a_name() {
    let machine = connect(name("tracker.example", 6969), None);
    let (sent, last) = run(machine, &[&[5, 0], &[5, 0, 0, 1, 192], &[0, 2, 9, 0x1a, 0xe1]]);
    assert_eq!(sent[0], [5, 1, 0]);
    let asked = [&[5, 1, 0, 3, 15][..], b"tracker.example", &6969u16.to_be_bytes()].concat();
    assert_eq!(sent[1], asked);
    assert_eq!(last, Ok(Some(Reply { bound: Some("192.0.2.9:6881".parse().unwrap()) })));
}

#[test]
fn the_password_is_shown_to_who_asks_for_it_alone() {
    let target: ProxyTarget = "[2001:db8::1]:80".parse::<SocketAddr>().unwrap().into();
    let (sent, _) = run(connect(target.clone(), login()), &[&[5, 0]]);
    assert_eq!(sent[0], [5, 2, 0, 2]);
    assert!(!sent.concat().windows(6).any(|window| window == b"secret"));
    let (sent, last) = run(connect(target, login()), &[&[5, 2], &[1, 0]]);
    assert_eq!(sent[1], b"\x01\x04user\x06secret");
    assert_eq!(sent[2][..4], [5, 1, 0, 4]);
    assert_eq!((sent[2].len(), last), (4 + 16 + 2, Ok(None)));
    assert_eq!(format!("{:?}", login()), "Some(Credentials)");
}

#[test]
fn every_refusal_has_words() {
    let to = || name("a.example", 1);
    let refused = |answers: &[&[u8]], credentials| run(connect(to(), credentials), answers).1;
    assert_eq!(refused(&[&[5, 2]], None), Err(SocksError::NoMethod));
    assert_eq!(refused(&[&[5, 0xff]], None), Err(SocksError::NoMethod));
    assert_eq!(refused(&[&[5, 0xff]], login()), Err(SocksError::NoMethodWithPassword));
    assert_eq!(refused(&[&[5, 2], &[1, 9]], login()), Err(SocksError::Login));
    assert_eq!(refused(&[&[4, 0]], None), Err(SocksError::NotSocks5));
    assert_eq!(refused(&[b"HT"], None), Err(SocksError::NotSocks5));
    assert_eq!(refused(&[&[5, 0], &[4, 0, 0, 1, 0]], None), Err(SocksError::NotSocks5));
    let kind = Err(SocksError::AddressKind(9));
    assert_eq!(refused(&[&[5, 0], &[5, 0, 0, 9, 0]], None), kind);
    let mut words = std::collections::HashSet::new();
    for code in 1..=9 {
        let error = refused(&[&[5, 0], &[5, code, 0, 1, 0]], None).unwrap_err();
        assert_eq!(error, SocksError::Refused(code));
        assert!(words.insert(error.to_string()), "{error}");
        assert_eq!(error.is_about_target(), (3..=6).contains(&code));
    }
}

#[test]
fn an_address_by_name_is_read_to_its_end_and_not_believed() {
    let name_of_255 = vec![b'a'; 255];
    let rest = [&name_of_255[..], &[0, 80]].concat();
    let machine = connect(name("a.example", 1), None);
    let (_, last) = run(machine, &[&[5, 0], &[5, 0, 0, 3, 255], &rest]);
    assert_eq!(last, Ok(Some(Reply { bound: None })));
}

#[test]
fn association_and_its_datagrams() {
    let (sent, last) = run(
        Socks5::new(Request::Associate, None),
        &[&[5, 0], &[5, 0, 0, 1, 0], &[0, 0, 0, 0x30, 0x39]],
    );
    assert_eq!(sent[1], [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(last.unwrap().unwrap().bound, Some("0.0.0.0:12345".parse().unwrap()));

    let v4: SocketAddr = "192.0.2.1:6881".parse().unwrap();
    assert_eq!(datagram_head(&v4.into()), [0, 0, 0, 1, 192, 0, 2, 1, 0x1a, 0xe1]);
    let to_name = datagram_head(&name("t.example", 80));
    assert_eq!(to_name, b"\0\0\0\x03\x09t.example\0\x50");
    assert_eq!(
        open_datagram(&[&datagram_head(&v4.into())[..], b"d1:"].concat()),
        Some((v4, &b"d1:"[..]))
    );
    assert_eq!(open_datagram(&to_name), None, "nobody is called by name here");
    assert_eq!(open_datagram(&[0, 0, 1, 1, 192, 0, 2, 1, 0, 1, 7]), None, "a fragment");
    assert_eq!(open_datagram(&[0, 0, 0, 1, 192, 0, 2, 1, 0]), None, "cut short");
}

#[test]
fn connect_by_http() {
    let request = HttpConnect::request(&name("tracker.example", 443), login().as_ref());
    let text = "CONNECT tracker.example:443 HTTP/1.1\r\nHost: tracker.example:443\r\n\
                Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n";
    assert_eq!(String::from_utf8(request).unwrap(), text);
    let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    assert!(HttpConnect::request(&v6.into(), None).starts_with(b"CONNECT [2001:db8::1]:80 HTTP"));
}

/// All bytes but those behind the head are taken.
fn answered(answer: &[u8]) -> Result<usize, HttpProxyError> {
    let mut machine = HttpConnect::default();
    for (taken, byte) in answer.iter().enumerate() {
        if machine.input(*byte)? {
            return Ok(taken + 1);
        }
    }
    Ok(0)
}

#[test]
fn answers_by_http() {
    let good = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nbytes of the target";
    assert_eq!(answered(good), Ok(good.len() - 19));
    assert_eq!(answered(b"HTTP/1.0 200\r\n\r\n"), Ok(16));
    for status in [&b"HTTP/1.1 407 Auth\r\n\r\n"[..], b"HTTP/1.0 401 No\r\n\r\n"] {
        assert_eq!(answered(status), Err(HttpProxyError::Login));
    }
    let refused = answered(b"HTTP/1.1 403 For\x1b[2Jbidden\r\n\r\n").unwrap_err();
    assert!(
        refused.to_string().starts_with("it answered with status 403 (For[2Jbidden); its rules")
    );
    assert!(answered(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap_err().is_about_target());
    for nonsense in
        [&b"\x05\x00"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2000 x\r\n\r\n", b"HTTP/1.1 \n\n"]
    {
        assert_eq!(answered(nonsense), Err(HttpProxyError::NotHttp), "{nonsense:?}");
    }
    let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &b"a".repeat(20_000)].concat();
    assert_eq!(answered(&endless), Err(HttpProxyError::TooLong));
}

#[test]
fn what_no_proxy_can_be_told() {
    let long = "a".repeat(256);
    for host in ["", &long, "a b", "a\r\nX: y", "a/b", "ä.example", "a@b", "[::1"] {
        assert_eq!(ProxyTarget::new(host, 1), None, "{host:?}");
    }
    assert_eq!(name("::1", 1), ProxyTarget::Address("[::1]:1".parse().unwrap()));
    assert!(
        Credentials::new("", "x").is_none() && Credentials::new("x", "y".repeat(256)).is_none()
    );
}

proptest! {
    /// Whatever the proxy says, the machine asks for little, and ends.
    #[test]
    fn any_proxy(bytes: Vec<u8>, password: bool, associate: bool) {
        let request = if associate { Request::Associate } else { Request::Connect(name("x.example", 9)) };
        let mut machine = Socks5::new(request, login().filter(|_| password));
        let mut rest = &bytes[..];
        let mut steps = 0;
        loop {
            machine.output();
            let need = machine.need();
            prop_assert!((1..=257).contains(&need), "{need}");
            let Some((now, later)) = rest.split_at_checked(need) else { break };
            rest = later;
            steps += 1;
            if !matches!(machine.input(now), Ok(None)) {
                prop_assert_eq!(machine.need(), 0);
                break;
            }
        }
        prop_assert!(steps <= 4);
        let _ = answered(&bytes);
    }

    #[test]
    fn datagrams_come_back(ip: std::net::IpAddr, port: u16, bytes: Vec<u8>) {
        let addr = SocketAddr::new(ip.to_canonical(), port);
        let head = datagram_head(&addr.into());
        prop_assert!(head.len() <= DATAGRAM_HEAD_BYTES_MAX);
        let datagram = [head, bytes.clone()].concat();
        prop_assert_eq!(open_datagram(&datagram), Some((addr, &bytes[..])));
    }

    #[test]
    fn any_datagram_is_opened_or_not(bytes: Vec<u8>) {
        if let Some((_, inside)) = open_datagram(&bytes) {
            prop_assert!(inside.len() + 10 <= bytes.len());
        }
    }
}
