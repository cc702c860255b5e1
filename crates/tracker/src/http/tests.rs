//! Announce and scrape URLs and bodies: the customary replies, and what trackers send instead.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::announce::Event;
use crate::{INTERVAL_MIN, udp_target};

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash(
            *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
        ),
        peer_id: *b"-PL0100-a b&c=d+e%f~",
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Event::None,
        key: 0xbeef,
        numwant: 80,
        tracker_id: None,
    }
}

fn url(base: &str) -> String {
    announce_url(base, &request()).unwrap()
}

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn hash_and_peer_id_are_percent_encoded_raw_bytes() {
    assert_eq!(
        url("http://tracker.example/announce"),
        "http://tracker.example/announce\
         ?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
         &peer_id=-PL0100-a%20b%26c%3Dd%2Be%25f~\
         &port=6881&uploaded=1&downloaded=2&left=3&compact=1&numwant=80&key=0000beef"
    );
}

#[test]
fn event_and_tracker_id_only_when_there_is_one() {
    let full = AnnounceRequest {
        event: Event::Completed,
        tracker_id: Some(b"a&b\xff".to_vec()),
        ..request()
    };
    let url = announce_url("http://t.example/announce", &full).unwrap();
    assert!(url.ends_with("&key=0000beef&event=completed&trackerid=a%26b%FF"), "{url}");
    for (event, name) in
        [(Event::Started, "started"), (Event::Stopped, "stopped"), (Event::Paused, "paused")]
    {
        let url = announce_url("http://t/", &AnnounceRequest { event, ..request() }).unwrap();
        assert!(url.ends_with(&format!("&event={name}")), "{url}");
    }
}

#[test]
fn passkeys_and_queries_of_the_base_are_kept() {
    for (base, start) in [
        (
            "http://t.example/announce?passkey=a%2Fb",
            "http://t.example/announce?passkey=a%2Fb&info_hash=%12",
        ),
        ("http://t.example/announce?", "http://t.example/announce?info_hash=%12"),
        ("http://t.example/a?x&", "http://t.example/a?x&info_hash=%12"),
        ("http://t.example/0123abcd/announce", "http://t.example/0123abcd/announce?info_hash=%12"),
        ("https://t.example:8443", "https://t.example:8443/?info_hash=%12"),
        ("http://t.example/announce#top", "http://t.example/announce?info_hash=%12"),
        ("http://t.example/an nounce\r\n", "http://t.example/an%20nounce?info_hash=%12"),
    ] {
        assert!(url(base).starts_with(start), "{base}: {}", url(base));
    }
}

#[test]
fn announce_urls_only_for_http() {
    for base in ["udp://t.example:80", "ftp://t.example/", "wss://t.example/"] {
        let refused = announce_url(base, &request());
        assert!(matches!(refused, Err(UrlError::Scheme { .. })), "{base}");
    }
    assert!(udp_target("udp://t.example:80").is_ok());
}

#[test]
fn scrape_only_where_the_last_part_starts_with_announce() {
    let hash = [InfoHash([b'a'; 20])];
    let query = format!("info_hash={}", "a".repeat(20));
    for (base, expected) in [
        ("http://t/announce", Some(format!("http://t/scrape?{query}"))),
        ("http://t/x/announce", Some(format!("http://t/x/scrape?{query}"))),
        ("http://t/announce.php", Some(format!("http://t/scrape.php?{query}"))),
        ("http://t/announce?k=1", Some(format!("http://t/scrape?k=1&{query}"))),
        ("http://t/announce/x", None),
        ("http://t/x?announce", None),
        ("http://t/a", None),
        ("http://t/x/tracker-announce", None),
        ("udp://t:80/announce", None),
    ] {
        assert_eq!(scrape_url(base, &hash), expected, "{base}");
    }
    let two = scrape_url("http://t/announce", &[InfoHash([0; 20]), InfoHash([b'b'; 20])]);
    let expected =
        format!("http://t/scrape?info_hash={}&info_hash={}", "%00".repeat(20), "b".repeat(20));
    assert_eq!(two, Some(expected));
}

const HEAD: &str =
    "d8:completei3e10:downloadedi2e10:incompletei0e8:intervali1803e12:min intervali1800e";

#[test]
fn reply_without_peers() {
    let body = [
        b"d8:completei3e10:downloadedi2e11:external ip4:\x01\x02\x03\x04".as_slice(),
        b"10:incompletei0e8:intervali1803e12:min intervali1800e5:peers0:e",
    ];
    let reply = parse_announce(&body.concat()).unwrap();
    assert_eq!(reply.interval, Duration::from_secs(1_803));
    assert_eq!(reply.min_interval, Some(Duration::from_mins(30)));
    assert_eq!((reply.seeders, reply.leechers), (Some(3), Some(0)));
    assert_eq!(reply.external_ip, Some([1, 2, 3, 4].into()));
    assert_eq!((reply.peers, reply.named_peers), (vec![], vec![]));
    assert_eq!((reply.warning, reply.tracker_id), (None, None));
}

#[test]
fn compact_peers() {
    let body = [HEAD.as_bytes(), b"5:peers12:\x7f\0\0\x01\xfc\x27\x08\x08\x04\x04\0\x35e"].concat();
    let reply = parse_announce(&body).unwrap();
    assert_eq!(reply.peers, addrs(&["127.0.0.1:64551", "8.8.4.4:53"]));
}

#[test]
fn peers6_beside_or_without_peers() {
    let v6 = b"6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1";
    let both = [b"d8:intervali1800e5:peers6:\x01\x02\x03\x04\0\x50".as_slice(), v6, b"e"].concat();
    let reply = parse_announce(&both).unwrap();
    assert_eq!(reply.peers, addrs(&["1.2.3.4:80", "[2001:db8::1]:6881"]));
    let alone = [b"d".as_slice(), v6, b"e"].concat();
    assert_eq!(parse_announce(&alone).unwrap().peers, addrs(&["[2001:db8::1]:6881"]));
}

#[test]
fn listed_peers_though_compact_was_asked_for() {
    let body = format!(
        "{HEAD}5:peersld2:ip7:8.8.4.47:peer id20:-XX300Z-0123456789AB4:porti53ee\
         d2:ip11:2001:db8::14:porti80eed2:ip12:peer.example4:porti81eee6:peers60:e"
    );
    let reply = parse_announce(body.as_bytes()).unwrap();
    assert_eq!(reply.peers, addrs(&["8.8.4.4:53", "[2001:db8::1]:80"]));
    assert_eq!(reply.named_peers, [("peer.example".to_owned(), 81)]);
}

#[test]
fn one_bad_listed_peer_does_not_spoil_the_others() {
    let bad = [
        "i1e",
        "de",
        "d2:ip7:1.1.1.1e",
        "d2:ip7:1.1.1.14:porti0ee",
        "d2:ip7:1.1.1.14:porti65536ee",
        "d2:ip7:1.1.1.14:porti-1ee",
        "d2:ip7:1.1.1.14:port2:80e",
        "d2:ipi1e4:porti80ee",
        "d2:ip0:4:porti80ee",
        "d2:ip5:a b/c4:porti80ee",
        "d2:ip4:a..b4:porti80ee",
        "d2:ip6:a@b:224:porti80ee",
    ];
    let body = format!("d5:peersl{}d2:ip7:8.8.4.44:porti53eeee", bad.concat());
    let reply = parse_announce(body.as_bytes()).unwrap();
    assert_eq!(reply.peers, addrs(&["8.8.4.4:53"]));
    assert_eq!(reply.named_peers, []);
}

#[test]
fn host_names_are_capped() {
    let body = format!("d5:peersl{}ee", "d2:ip1:a4:porti80ee".repeat(NAMED_PEERS_MAX + 9));
    let reply = parse_announce(body.as_bytes()).unwrap();
    assert_eq!(reply.named_peers.len(), NAMED_PEERS_MAX);
}

#[test]
fn peer_lists_must_be_whole_records() {
    let wrong = |key, length, record| Err(ReplyError::WrongLength { key, length, record });
    assert_eq!(parse_announce(b"d5:peers7:1234567e"), wrong("peers", 7, 6));
    assert_eq!(parse_announce(b"d6:peers66:123456e"), wrong("peers6", 6, 18));
    let error = parse_announce(b"d5:peers5:12345e").unwrap_err();
    assert_eq!(error.to_string(), "a `peers` list of 5 bytes is no multiple of 6");
}

#[test]
fn port_zero_is_skipped() {
    let body = b"d5:peers12:\x01\x02\x03\x04\0\0\x01\x02\x03\x05\0\x50e";
    assert_eq!(parse_announce(body).unwrap().peers, addrs(&["1.2.3.5:80"]));
}

#[test]
fn failure_reason_with_or_without_success() {
    let body = b"d8:completei3e14:failure reason6:foobar8:intervali1803e5:peers0:e";
    let refused = ReplyError::refused(b"foobar", Retry::Default);
    assert_eq!(parse_announce(body), Err(refused.clone()));
    assert_eq!(refusal(403, body), refused);
    assert_eq!(refused.to_string(), "the tracker refused: foobar");
    assert_eq!(parse_scrape(body), Err(refused.clone()));
    assert_eq!(parse_scrape(b"d14:failure_reason6:foobare"), Err(refused));
    let status = ReplyError::Status { status: 502 };
    assert_eq!(refusal(502, b"<html>Bad Gateway</html>"), status);
    assert_eq!(refusal(502, b""), status);
    assert_eq!(refusal(502, b"d8:intervali1800ee"), status);
}

#[test]
fn reasons_are_printable_and_short() {
    let reason = format!("\x1b[2J{}", "x".repeat(10_000));
    let body = format!("d14:failure reason{}:{reason}e", reason.len());
    let Err(ReplyError::Refused { reason, .. }) = parse_announce(body.as_bytes()) else {
        panic!("not refused");
    };
    assert!(reason.starts_with("\u{fffd}[2Jxxx") && reason.ends_with('…'));
    assert_eq!(reason.chars().count(), 500);
}

#[test]
fn retry_in_minutes_or_never() {
    let retry = |value: &str| {
        let body = format!("d14:failure reason1:x8:retry in{value}e");
        parse_announce(body.as_bytes()).unwrap_err().retry()
    };
    assert_eq!(retry("i15e"), Retry::After(Duration::from_mins(15)));
    assert_eq!(retry("2:15"), Retry::After(Duration::from_mins(15)));
    assert_eq!(retry("5:never"), Retry::Never);
    assert_eq!(retry("i9000000000000000000e"), Retry::After(INTERVAL_MAX));
    for nonsense in ["i0e", "i-5e", "4:soon", "le"] {
        assert_eq!(retry(nonsense), Retry::Default, "{nonsense}");
    }
}

#[test]
fn external_ip_of_both_families() {
    let of = |bytes: &[u8]| {
        let length = bytes.len().to_string();
        let body = [b"d11:external ip", length.as_bytes(), b":", bytes, b"e"].concat();
        parse_announce(&body).unwrap().external_ip
    };
    assert_eq!(of(&[203, 0, 113, 9]), Some("203.0.113.9".parse().unwrap()));
    let v6: std::net::Ipv6Addr = "2001:db8::9".parse().unwrap();
    assert_eq!(of(&v6.octets()), Some(v6.into()));
    assert_eq!(of(b"203.0.113.9"), None);
}

#[test]
fn intervals_are_clamped() {
    let interval = |text: &str| {
        let body = format!("d8:interval{text}12:min interval{text}e");
        let reply = parse_announce(body.as_bytes()).unwrap();
        (reply.interval, reply.min_interval)
    };
    let zero = Some(Duration::ZERO);
    assert_eq!(interval("i0e"), (INTERVAL_MIN, zero));
    assert_eq!(interval("i-5e"), (INTERVAL_MIN, zero));
    assert_eq!(interval("i2147483648e"), (INTERVAL_MAX, Some(INTERVAL_MAX)));
    assert_eq!(interval("3:abc"), (INTERVAL_DEFAULT, None));
}

#[test]
fn warning_and_tracker_id() {
    let reply = parse_announce(b"d10:tracker id3:\xff\x00a15:warning message5:old\x07!e").unwrap();
    assert_eq!(reply.tracker_id.as_deref(), Some(&b"\xff\x00a"[..]));
    assert_eq!(reply.warning.as_deref(), Some("old\u{fffd}!"));
    let huge = TRACKER_ID_BYTES_MAX + 1;
    let body = format!("d10:tracker id{huge}:{}e", "x".repeat(huge));
    assert_eq!(parse_announce(body.as_bytes()).unwrap().tracker_id, None);
    assert_eq!(parse_announce(b"d10:tracker id0:e").unwrap().tracker_id, None);
}

#[test]
fn counts_never_wrap() {
    let body = b"d8:completei9223372036854775807e10:incompletei-1ee";
    let reply = parse_announce(body).unwrap();
    assert_eq!((reply.seeders, reply.leechers), (Some(1_000_000_000), None));
}

#[test]
fn bodies_that_are_no_reply_say_what_they_are() {
    assert_eq!(parse_announce(b"<!DOCTYPE html><html>"), Err(ReplyError::Html));
    assert_eq!(parse_announce(b"\n  <html>"), Err(ReplyError::Html));
    assert_eq!(parse_announce(b""), Err(ReplyError::Empty));
    assert_eq!(parse_announce(b" \r\n"), Err(ReplyError::Empty));
    assert_eq!(parse_announce(b"i5e"), Err(ReplyError::NotDictionary));
    assert_eq!(parse_announce(b"le"), Err(ReplyError::NotDictionary));
    for body in [&b"hello"[..], b"{\"peers\":[]}", b"d8:interval", b"\x1f\x8b\x08"] {
        assert!(matches!(parse_announce(body), Err(ReplyError::NotBencode(_))), "{body:?}");
    }
    let deep = [b"d1:a".as_slice(), &vec![b'l'; 100_000]].concat();
    assert!(matches!(parse_announce(&deep), Err(ReplyError::NotBencode(_))));
    assert_eq!(parse_scrape(b"de"), Err(ReplyError::NoFiles));
    assert_eq!(parse_scrape(b"d5:filesi1ee"), Err(ReplyError::NoFiles));
}

#[test]
fn line_ends_around_the_reply_are_ignored() {
    let reply = parse_announce(b"\r\nd8:intervali1800e5:peers0:e\r\n").unwrap();
    assert_eq!(reply.interval, Duration::from_mins(30));
}

fn counts(complete: u32, downloaded: u32, incomplete: u32) -> ScrapeCounts {
    ScrapeCounts {
        complete: Some(complete),
        downloaded: Some(downloaded),
        incomplete: Some(incomplete),
    }
}

#[test]
fn scrape_of_several_with_unexpected_and_missing_ones() {
    let torrent = |name: &str, [c, i, d]: [u32; 3]| {
        let hash = name.repeat(20);
        format!("20:{hash}d8:completei{c}e10:incompletei{i}e10:downloadedi{d}ee")
    };
    let body = format!(
        "d5:filesd{}{}{}5:shortd8:completei1eee5:flagsd20:min_request_intervali900eee",
        torrent("a", [1, 2, 3]),
        torrent("c", [7, 8, 9]),
        torrent("d", [7, 8, 9]),
    );
    let reply = parse_scrape(body.as_bytes()).unwrap();
    let of = |name: u8| reply.get(&InfoHash([name; 20]));
    assert_eq!(of(b'a'), Some(counts(1, 3, 2)));
    assert_eq!(of(b'b'), None);
    assert_eq!(of(b'c'), Some(counts(7, 9, 8)));
    assert_eq!(reply.iter().count(), 3);
    let body = format!("d5:filesd20:{}d8:completei5eeee", "e".repeat(20));
    let partial = parse_scrape(body.as_bytes()).unwrap().get(&InfoHash([b'e'; 20])).unwrap();
    assert_eq!((partial.complete, partial.incomplete), (Some(5), None));
}

/// Bencode that often looks like a reply.
fn reply_like() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![
        Just("complete"),
        Just("external ip"),
        Just("failure reason"),
        Just("files"),
        Just("interval"),
        Just("peers"),
        Just("peers6"),
        Just("retry in"),
        Just("tracker id"),
    ];
    let value = prop_oneof![
        any::<i64>().prop_map(|n| format!("i{n}e").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| [
            format!("{}:", bytes.len()).as_bytes(),
            &bytes
        ]
        .concat()),
        Just(b"ld2:ip7:1.2.3.44:porti80eee".to_vec()),
        Just(b"de".to_vec()),
    ];
    prop::collection::btree_map(key, value, 0..6).prop_map(|entries| {
        let mut body = b"d".to_vec();
        for (key, value) in entries {
            body.extend(format!("{}:{key}", key.len()).into_bytes());
            body.extend(value);
        }
        body.push(b'e');
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_body(body in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), reply_like()], cut in 0_usize..300) {
        for body in [&body[..], &body[..cut.min(body.len())]] {
            let _ = parse_scrape(body);
            let _ = refusal(404, body);
            if let Ok(reply) = parse_announce(body) {
                prop_assert!((INTERVAL_MIN..=INTERVAL_MAX).contains(&reply.interval));
                prop_assert!(reply.min_interval.is_none_or(|min| min <= INTERVAL_MAX));
                prop_assert!(reply.peers.iter().all(|peer| peer.port() != 0));
            }
        }
    }

    #[test]
    fn any_base_url(base in "(http|https|udp)://[a-z.]{1,9}(:[0-9]{1,4})?/\\PC{0,20}(\\?\\PC{0,20})?", hash: [u8; 20]) {
        let info_hash = InfoHash(hash);
        if let Ok(url) = announce_url(&base, &AnnounceRequest { info_hash, ..request() }) {
            prop_assert!(url.bytes().all(|b| b.is_ascii_graphic()), "{url}");
            let (_, query) = url.split_once('?').unwrap();
            prop_assert!(query.contains("&port=6881&"), "{url}");
        }
        let _ = scrape_url(&base, &[info_hash]);
        let _ = udp_target(&base);
    }
}
