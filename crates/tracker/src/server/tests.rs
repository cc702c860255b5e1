//! The small tracker, asked and answered with this crate's own client half.

use proptest::prelude::*;

use super::*;
use crate::announce::{AnnounceReply, AnnounceRequest, Event, ReplyError};
use crate::http::{announce_url, parse_announce, parse_scrape, scrape_url};

const HASH: InfoHash = InfoHash([0xab; 20]);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn open() -> Registry {
    Registry::new(ServerLimits { open: true, ..ServerLimits::default() }, 1)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn request(port: u16, left: u64, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: [b'p'; 20],
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        key: 0,
        numwant: 50,
        tracker_id: None,
    }
}

/// Sends `request` from `ip` at `now` and reads the answer.
fn ask(
    registry: &mut Registry,
    now: Duration,
    ip: &str,
    request: &AnnounceRequest,
) -> Result<AnnounceReply, ReplyError> {
    let url = announce_url("http://t/announce", request).unwrap();
    let target = url.strip_prefix("http://t").unwrap();
    let remote = SocketAddr::new(ip.parse().unwrap(), 50_000);
    let (status, body) = registry.handle_http(now, remote, target);
    assert_eq!(status, 200);
    parse_announce(&body)
}

fn leech(registry: &mut Registry, now: Duration, ip: &str, port: u16) -> AnnounceReply {
    ask(registry, now, ip, &request(port, 9, Event::Started)).unwrap()
}

fn counts(reply: &AnnounceReply) -> (u32, u32) {
    (reply.seeders.unwrap(), reply.leechers.unwrap())
}

#[test]
fn peers_find_each_other_but_not_themselves() {
    let mut registry = open();
    let first = leech(&mut registry, at(0), "192.0.2.1", 1_001);
    assert_eq!((first.peers.as_slice(), counts(&first)), (&[][..], (0, 1)));
    assert_eq!(first.external_ip, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(first.interval, ServerLimits::default().interval);
    assert_eq!(first.min_interval, Some(ServerLimits::default().min_interval));
    let second = leech(&mut registry, at(1), "192.0.2.2", 1_002);
    assert_eq!(second.peers, [addr("192.0.2.1:1001")]);
    assert_eq!(counts(&second), (0, 2));
    let again = ask(&mut registry, at(2), "192.0.2.2", &request(1_002, 9, Event::None)).unwrap();
    assert_eq!(counts(&again), (0, 2), "the same peer");
}

#[test]
fn both_families_in_one_answer() {
    let mut registry = open();
    leech(&mut registry, at(0), "2001:db8::1", 1_001);
    leech(&mut registry, at(0), "::ffff:192.0.2.1", 1_002);
    let mut peers = leech(&mut registry, at(0), "192.0.2.9", 1_003).peers;
    peers.sort();
    assert_eq!(peers, [addr("192.0.2.1:1002"), addr("[2001:db8::1]:1001")]);
}

#[test]
fn stopped_leaves_and_brings_no_peers() {
    let mut registry = open();
    leech(&mut registry, at(0), "192.0.2.1", 1_001);
    leech(&mut registry, at(0), "192.0.2.2", 1_002);
    let stopped = request(1_001, 9, Event::Stopped);
    let reply = ask(&mut registry, at(1), "192.0.2.1", &stopped).unwrap();
    assert_eq!((reply.peers.as_slice(), counts(&reply)), (&[][..], (0, 1)));
    // Somebody else cannot remove it, whatever it claims.
    ask(&mut registry, at(1), "192.0.2.3", &request(1_002, 9, Event::Stopped)).unwrap();
    assert_eq!(registry.peers(at(1), &HASH), [addr("192.0.2.2:1002")]);
}

#[test]
fn completed_counts_once_and_turns_a_leecher_into_a_seed() {
    let mut registry = open();
    leech(&mut registry, at(0), "192.0.2.1", 1_001);
    for _ in 0..2 {
        let done = request(1_001, 0, Event::Completed);
        let reply = ask(&mut registry, at(1), "192.0.2.1", &done).unwrap();
        assert_eq!(counts(&reply), (1, 0));
    }
    // One who was never seen incomplete has downloaded nothing.
    ask(&mut registry, at(1), "192.0.2.2", &request(1_002, 0, Event::Completed)).unwrap();
    let url = scrape_url("http://t/announce", &[HASH, InfoHash([0; 20])]).unwrap();
    let (_, body) = registry.handle_http(at(2), addr("192.0.2.9:1"), &url["http://t".len()..]);
    let reply = parse_scrape(&body).unwrap();
    let scraped = reply.get(&HASH).unwrap();
    assert_eq!(
        (scraped.complete, scraped.downloaded, scraped.incomplete),
        (Some(2), Some(1), Some(0))
    );
    assert_eq!(reply.get(&InfoHash([0; 20])), None);
}

#[test]
fn seeds_are_not_told_of_seeds() {
    let mut registry = open();
    leech(&mut registry, at(0), "192.0.2.1", 1_001);
    ask(&mut registry, at(0), "192.0.2.2", &request(1_002, 0, Event::Started)).unwrap();
    let seed = ask(&mut registry, at(0), "192.0.2.3", &request(1_003, 0, Event::Started)).unwrap();
    assert_eq!(seed.peers, [addr("192.0.2.1:1001")]);
}

#[test]
fn numwant_is_obeyed_and_capped() {
    let mut registry = open();
    for n in 0..250_u8 {
        leech(&mut registry, at(0), &format!("192.0.2.{n}"), 1_000);
    }
    for (numwant, expected) in [(0, 0), (7, 7), (10_000, 200)] {
        let asked = AnnounceRequest { numwant, ..request(1_000, 9, Event::None) };
        let reply = ask(&mut registry, at(1), "198.51.100.1", &asked).unwrap();
        let distinct: std::collections::BTreeSet<_> = reply.peers.iter().collect();
        assert_eq!((reply.peers.len(), distinct.len()), (expected, expected));
    }
}

#[test]
fn peers_expire_after_two_missed_announces() {
    let mut registry = open();
    leech(&mut registry, at(0), "192.0.2.1", 1_001);
    assert_eq!(registry.peers(at(299), &HASH).len(), 1);
    let reply = leech(&mut registry, at(300), "192.0.2.2", 1_002);
    assert_eq!((reply.peers.as_slice(), counts(&reply)), (&[][..], (0, 1)));
    registry.sweep(at(10_000));
    assert!(registry.torrents.is_empty(), "empty torrents go");
}

#[test]
fn closed_trackers_serve_only_what_is_allowed() {
    let mut registry = Registry::new(ServerLimits::default(), 1);
    let asked = request(1_001, 9, Event::Started);
    let refused = ask(&mut registry, at(0), "192.0.2.1", &asked).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the tracker refused: this tracker does not serve that torrent"
    );
    registry.allow(HASH);
    registry.sweep(at(100_000));
    assert!(ask(&mut registry, at(100_000), "192.0.2.1", &asked).is_ok());
    registry.forget(&HASH);
    assert!(ask(&mut registry, at(100_000), "192.0.2.1", &asked).is_err());
    assert!(registry.torrents.is_empty());
}

#[test]
fn our_own_entry_stays() {
    let mut registry = Registry::new(ServerLimits::default(), 1);
    registry.list_own(HASH, [1; 20], addr("192.0.2.1:1001"), true);
    registry.sweep(at(1_000_000));
    ask(&mut registry, at(1_000_000), "192.0.2.1", &request(1_001, 9, Event::Stopped)).unwrap();
    let reply = leech(&mut registry, at(1_000_000), "192.0.2.2", 1_002);
    assert_eq!(reply.peers, [addr("192.0.2.1:1001")]);
    assert_eq!(counts(&reply), (1, 1));
}

#[test]
fn dictionary_form_when_compact_is_refused() {
    let mut registry = open();
    leech(&mut registry, at(0), "192.0.2.1", 1_001);
    let encoded = "%ab".repeat(20);
    for (extra, has_id) in [("", true), ("&no_peer_id=1", false)] {
        let target = format!(
            "/announce?info_hash={encoded}&peer_id={}&port=1002&left=1&compact=0{extra}",
            "q".repeat(20)
        );
        let (_, body) = registry.handle_http(at(1), addr("192.0.2.2:1"), &target);
        assert_eq!(parse_announce(&body).unwrap().peers, [addr("192.0.2.1:1001")]);
        let text = String::from_utf8_lossy(&body);
        assert_eq!(text.contains("7:peer id20:pppppppppppppppppppp"), has_id, "{text}");
    }
}

#[test]
fn memory_is_bounded() {
    let limits = ServerLimits {
        open: true,
        torrents_max: 3,
        peers_per_torrent_max: 10,
        peers_per_address_max: 4,
        ..ServerLimits::default()
    };
    let mut registry = Registry::new(limits, 1);
    for port in 1..100 {
        leech(&mut registry, at(0), "192.0.2.1", port);
    }
    assert_eq!(registry.peers(at(0), &HASH).len(), 4, "one address");
    for n in 2..100 {
        leech(&mut registry, at(0), &format!("192.0.2.{n}"), 1);
    }
    assert_eq!(registry.peers(at(0), &HASH).len(), 10, "all");
    let mut answers = Vec::new();
    for n in 0..5 {
        let asked =
            AnnounceRequest { info_hash: InfoHash([n; 20]), ..request(1, 9, Event::Started) };
        answers.push(ask(&mut registry, at(0), "192.0.2.1", &asked).is_ok());
    }
    assert_eq!(answers, [true, true, false, false, false]);
}

#[test]
fn bad_requests_get_a_reason() {
    let mut registry = open();
    let hash = "a".repeat(20);
    for (target, reason) in [
        ("/announce", "`info_hash`"),
        ("/announce?info_hash=short&peer_id=x", "`info_hash`"),
        (&format!("/announce?info_hash={hash}a&peer_id={hash}&port=1"), "`info_hash`"),
        (&format!("/announce?info_hash=%zz{hash}&peer_id={hash}&port=1"), "`info_hash`"),
        (&format!("/announce?info_hash={hash}"), "`peer_id`"),
        (&format!("/announce?info_hash={hash}&peer_id={hash}"), "`port`"),
        (&format!("/announce?info_hash={hash}&peer_id={hash}&port=0"), "`port`"),
        (&format!("/announce?info_hash={hash}&peer_id={hash}&port=70000"), "`port`"),
        ("/scrape", "`info_hash`"),
        ("/scrape?info_hash=%", "`info_hash`"),
    ] {
        let (status, body) = registry.handle_http(at(0), addr("192.0.2.1:1"), target);
        assert_eq!(status, 200);
        let error = parse_announce(&body).unwrap_err().to_string();
        assert!(error.contains(reason), "{target}: {error}");
    }
    assert!(registry.torrents.is_empty());
    assert_eq!(registry.handle_http(at(0), addr("192.0.2.1:1"), "/").0, 404);
    let long = format!("/announce?{}", "x".repeat(TARGET_BYTES_MAX));
    assert_eq!(registry.handle_http(at(0), addr("192.0.2.1:1"), &long).0, 414);
}

#[test]
fn claimed_addresses_are_ignored() {
    let mut registry = open();
    let target = format!(
        "/announce?ip=203.0.113.5&info_hash={}&peer_id={}&port=5&ipv6=2001:db8::5",
        "%AB".repeat(20),
        "q".repeat(20)
    );
    registry.handle_http(at(0), addr("192.0.2.1:1"), &target);
    assert_eq!(registry.peers(at(0), &HASH), [addr("192.0.2.1:5")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_target(targets in prop::collection::vec("(/announce|/scrape|/)?\\??(&?(info_hash|peer_id|port|left|numwant|compact)=(a{20}|%[0-9a-g]{2}|[0-9]{1,6}|\\PC{0,5})){0,6}", 1..20)) {
        let mut registry = open();
        for (n, target) in (0..).zip(&targets) {
            let (status, body) = registry.handle_http(at(n), addr("192.0.2.1:1"), target);
            prop_assert!(matches!(status, 200 | 404));
            if status == 200 {
                let fine = matches!(parse_announce(&body), Ok(_) | Err(ReplyError::Refused { .. }));
                prop_assert!(fine, "{target}");
            }
        }
    }

    #[test]
    fn every_hash_survives_the_way(hash: [u8; 20], peer_id: [u8; 20]) {
        let mut registry = open();
        let asked = AnnounceRequest { info_hash: InfoHash(hash), peer_id, ..request(7, 1, Event::None) };
        ask(&mut registry, at(0), "192.0.2.1", &asked).unwrap();
        prop_assert_eq!(registry.peers(at(0), &InfoHash(hash)), [addr("192.0.2.1:7")]);
    }
}
