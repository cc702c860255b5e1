//! BEP 15 and 41 against a scripted tracker in simulated time.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([0x11; 20]),
        peer_id: *b"-PL0100-abcdefghijkl",
        port: 6881,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event: Event::Started,
        key: 0xdead_beef,
        numwant: 200,
        tracker_id: None,
    }
}

fn config(query: Query) -> ExchangeConfig {
    ExchangeConfig {
        query,
        family: Family::V4,
        url_data: String::new(),
        connection: None,
        patience: Patience::default(),
        seed: 7,
    }
}

fn announce() -> Exchange {
    Exchange::new(at(0), config(Query::Announce(request())))
}

fn sent(exchange: &mut Exchange, now: Duration) -> Vec<u8> {
    match exchange.poll(now) {
        Step::Send(packet) => packet,
        other => panic!("{other:?} at {now:?}"),
    }
}

fn u32_at(packet: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(packet[offset..offset + 4].try_into().unwrap())
}

/// An answer to `packet` with another action.
fn reply_as(action: u32, packet: &[u8], body: &[u8]) -> Vec<u8> {
    [&action.to_be_bytes(), &packet[12..16], body].concat()
}

fn reply(packet: &[u8], body: &[u8]) -> Vec<u8> {
    reply_as(u32_at(packet, 8), packet, body)
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn connect(exchange: &mut Exchange, now: Duration, id: u64) {
    let packet = sent(exchange, now);
    assert_eq!(u32_at(&packet, 8), ACTION_CONNECT);
    assert_eq!(exchange.handle(now, &reply(&packet, &id.to_be_bytes())), None);
}

#[test]
fn connect_request_is_sixteen_bytes() {
    let packet = sent(&mut announce(), at(0));
    assert_eq!(packet.len(), 16);
    assert_eq!(packet[..8], [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80]);
    assert_eq!(packet[8..12], [0; 4]);
}

#[test]
fn announce_request_layout() {
    let mut exchange = announce();
    connect(&mut exchange, at(0), 0x0102_0304_0506_0708);
    let packet = sent(&mut exchange, at(0));
    assert_eq!(packet.len(), 98);
    assert_eq!(packet[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(u32_at(&packet, 8), ACTION_ANNOUNCE);
    assert_eq!(packet[16..36], [0x11; 20]);
    assert_eq!(&packet[36..56], b"-PL0100-abcdefghijkl");
    assert_eq!(packet[56..64], 1_u64.to_be_bytes(), "downloaded");
    assert_eq!(packet[64..72], 2_u64.to_be_bytes(), "left");
    assert_eq!(packet[72..80], 3_u64.to_be_bytes(), "uploaded");
    assert_eq!(u32_at(&packet, 80), 2, "started");
    assert_eq!(u32_at(&packet, 84), 0, "the ip field stays 0");
    assert_eq!(u32_at(&packet, 88), 0xdead_beef);
    assert_eq!(u32_at(&packet, 92), 200);
    assert_eq!(packet[96..98], 6881_u16.to_be_bytes());
}

#[test]
fn events_have_the_numbers_of_bep_15() {
    let numbers =
        [(Event::None, 0), (Event::Completed, 1), (Event::Started, 2), (Event::Stopped, 3)];
    for (event, number) in numbers {
        let mut packet = Vec::new();
        write_announce(&mut packet, &AnnounceRequest { event, numwant: u32::MAX, ..request() });
        assert_eq!(u32_at(&packet, 80 - 16), number);
        assert_eq!(u32_at(&packet, 92 - 16), i32::MAX as u32, "numwant is signed");
    }
}

#[test]
fn announce_reply_v4() {
    let mut exchange = announce();
    connect(&mut exchange, at(0), 1);
    let packet = sent(&mut exchange, at(1));
    let mut body = numbers(&[1_800, 5, 9]);
    body.extend([192, 0, 2, 1, 0x1a, 0xe1, 192, 0, 2, 2, 0, 0]); // the second has port 0
    let Some(Ok(Outcome::Announce(reply))) = exchange.handle(at(2), &reply(&packet, &body)) else {
        panic!("no reply");
    };
    assert_eq!(reply.interval, at(1_800));
    assert_eq!((reply.leechers, reply.seeders), (Some(5), Some(9)));
    assert_eq!(reply.peers, ["192.0.2.1:6881".parse().unwrap()]);
    assert_eq!(exchange.poll(at(3)), Step::Finished);
}

#[test]
fn peer_size_follows_the_socket_family() {
    let mut body = numbers(&[1_800, 0, 1]);
    body.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1]);
    let mut config = config(Query::Announce(request()));
    config.family = Family::V6;
    let mut exchange = Exchange::new(at(0), config);
    connect(&mut exchange, at(0), 1);
    let packet = sent(&mut exchange, at(1));
    assert_eq!(u32_at(&packet, 84), 0, "the ip field stays 0");
    let Some(Ok(Outcome::Announce(reply))) = exchange.handle(at(2), &reply(&packet, &body)) else {
        panic!("no reply");
    };
    assert_eq!(reply.peers, ["[2001:db8::1]:6881".parse().unwrap()]);
}

#[test]
fn unknown_counts_and_silly_intervals() {
    let mut exchange = announce();
    connect(&mut exchange, at(0), 1);
    let packet = sent(&mut exchange, at(0));
    let body = numbers(&[u32::MAX, u32::MAX, 0]);
    let Some(Ok(Outcome::Announce(reply))) = exchange.handle(at(0), &reply(&packet, &body)) else {
        panic!("no reply");
    };
    assert_eq!(reply.interval, crate::INTERVAL_MAX);
    assert_eq!((reply.leechers, reply.seeders), (None, Some(0)));
}

#[test]
fn longer_packets_are_fine_shorter_ones_ignored() {
    let mut exchange = announce();
    let packet = sent(&mut exchange, at(0));
    let full = reply(&packet, &[0; 8]);
    for length in 0..16 {
        assert_eq!(exchange.handle(at(0), &full[..length]), None);
        assert_eq!(exchange.connection(), None);
    }
    assert_eq!(exchange.handle(at(0), &[&full[..], b"more"].concat()), None);
    assert!(exchange.connection().is_some());
    let packet = sent(&mut exchange, at(0));
    let full = reply(&packet, &numbers(&[1_800, 0, 0]));
    for length in 0..20 {
        assert_eq!(exchange.handle(at(0), &full[..length]), None);
    }
    let odd = [&full[..], &[192, 0, 2, 1, 0, 80, 1, 2, 3]].concat();
    let Some(Ok(Outcome::Announce(reply))) = exchange.handle(at(0), &odd) else {
        panic!("no reply");
    };
    assert_eq!(reply.peers, ["192.0.2.1:80".parse().unwrap()]);
}

#[test]
fn wrong_transaction_or_action_is_ignored() {
    let mut exchange = announce();
    let packet = sent(&mut exchange, at(0));
    let mut wrong = reply(&packet, &[0; 8]);
    wrong[7] ^= 1;
    assert_eq!(exchange.handle(at(0), &wrong), None);
    for action in [ACTION_ANNOUNCE, ACTION_SCRAPE, 4, u32::MAX] {
        assert_eq!(exchange.handle(at(0), &reply_as(action, &packet, &[0; 90])), None);
    }
    assert_eq!(exchange.connection(), None);
    assert_eq!(exchange.poll(at(0)), Step::Wait(at(15)));
    // Before anything was sent there is nothing to answer.
    assert_eq!(announce().handle(at(0), &reply(&packet, &[0; 8])), None);
    // Once connected, another connection id answers nothing.
    exchange.handle(at(0), &reply(&packet, &[0; 8]));
    let (asked, connection) = (sent(&mut exchange, at(0)), exchange.connection());
    assert_eq!(exchange.handle(at(0), &reply_as(ACTION_CONNECT, &asked, &[7; 8])), None);
    assert_eq!(exchange.connection(), connection);
    assert_eq!(exchange.poll(at(0)), Step::Wait(at(15)));
}

#[test]
fn transaction_ids_differ_between_seeds_and_requests() {
    let mut exchange = announce();
    let packet = sent(&mut exchange, at(0));
    let id = u32_at(&packet, 12);
    exchange.handle(at(0), &reply(&packet, &[0; 8]));
    assert_ne!(u32_at(&sent(&mut exchange, at(0)), 12), id);
    let other = ExchangeConfig { seed: 8, ..config(Query::Announce(request())) };
    assert_ne!(u32_at(&sent(&mut Exchange::new(at(0), other), at(0)), 12), id);
}

#[test]
fn retries_double_and_end_after_the_eighth() {
    let mut exchange = announce();
    let mut now = at(0);
    let mut waits = Vec::new();
    let error = loop {
        match exchange.poll(now) {
            Step::Send(_) => {}
            Step::Wait(until) => {
                waits.push(until.saturating_sub(now).as_secs());
                assert_eq!(exchange.poll(until.saturating_sub(SECOND)), Step::Wait(until));
                now = until;
            }
            Step::Failed(error) => break error,
            Step::Finished => panic!("finished"),
        }
    };
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1_920, 3_840]);
    assert_eq!(error, UdpError::TimedOut { sent: 9 });
    assert_eq!(exchange.poll(now), Step::Failed(error));
}

#[test]
fn patience_ends_earlier() {
    let mut config = config(Query::Announce(request()));
    config.patience = Patience { retries_max: 8, deadline: Some(at(20)) };
    let mut exchange = Exchange::new(at(100), config.clone());
    sent(&mut exchange, at(100));
    assert_eq!(exchange.poll(at(100)), Step::Wait(at(115)));
    sent(&mut exchange, at(115));
    assert_eq!(exchange.poll(at(115)), Step::Wait(at(120)), "the deadline comes first");
    assert_eq!(exchange.poll(at(120)), Step::Failed(UdpError::TimedOut { sent: 2 }));

    config.patience = Patience { retries_max: 0, deadline: None };
    let mut exchange = Exchange::new(at(0), config);
    let packet = sent(&mut exchange, at(0));
    assert_eq!(exchange.poll(at(15)), Step::Failed(UdpError::TimedOut { sent: 1 }));
    assert_eq!(exchange.handle(at(15), &reply(&packet, &[0; 8])), None, "too late");
}

#[test]
fn bep_15_example_of_an_announce_that_times_out() {
    let mut exchange = announce();
    let packet = sent(&mut exchange, at(0));
    exchange.handle(at(1), &reply(&packet, &[9; 8]));
    for (secs, action) in [
        (2, ACTION_ANNOUNCE),
        (17, ACTION_ANNOUNCE),
        (47, ACTION_ANNOUNCE),
        (107, ACTION_CONNECT), // the connection id has expired
        (227, ACTION_CONNECT),
    ] {
        assert_eq!(u32_at(&sent(&mut exchange, at(secs)), 8), action, "at {secs} s");
    }
}

#[test]
fn connection_id_is_reused_until_sixty_seconds_old() {
    let mut exchange = announce();
    connect(&mut exchange, at(10), 42);
    let connection = exchange.connection().unwrap();
    assert_eq!(connection, ConnectionId { id: 42, expires: at(70) });
    let mut config = config(Query::Announce(request()));
    config.connection = Some(connection);
    let mut fresh = Exchange::new(at(69), config.clone());
    assert_eq!(sent(&mut fresh, at(69))[..8], 42_u64.to_be_bytes());
    let mut stale = Exchange::new(at(70), config);
    assert_eq!(u32_at(&sent(&mut stale, at(70)), 8), ACTION_CONNECT);
}

#[test]
fn waits_begin_anew_at_the_first_connection_only() {
    let mut exchange = announce();
    sent(&mut exchange, at(0));
    connect(&mut exchange, at(15), 1);
    sent(&mut exchange, at(16));
    assert_eq!(exchange.poll(at(16)), Step::Wait(at(31)), "anew");
    sent(&mut exchange, at(31));
    sent(&mut exchange, at(61));
    connect(&mut exchange, at(121), 2);
    sent(&mut exchange, at(122));
    assert_eq!(exchange.poll(at(122)), Step::Wait(at(242)), "going on");
}

#[test]
fn late_answer_to_an_earlier_copy_counts() {
    let mut exchange = announce();
    connect(&mut exchange, at(0), 1);
    let first = sent(&mut exchange, at(0));
    let second = sent(&mut exchange, at(15));
    assert_eq!(first, second);
    let answer = reply(&first, &numbers(&[60, 0, 0]));
    assert!(matches!(exchange.handle(at(16), &answer), Some(Ok(_))));
    assert_eq!(exchange.handle(at(16), &answer), None, "only once");
}

#[test]
fn error_action_gives_the_text() {
    let mut exchange = announce();
    let packet = sent(&mut exchange, at(0));
    let answer = reply_as(ACTION_ERROR, &packet, b"banned\x1b[2J");
    let Some(Err(error)) = exchange.handle(at(0), &answer) else {
        panic!("no error");
    };
    assert_eq!(error.to_string(), "the tracker refused: banned\u{fffd}[2J");
    assert_eq!(exchange.poll(at(1)), Step::Finished);
}

#[test]
fn refusal_of_an_old_connection_id_asks_for_a_new_one_once() {
    let mut config = config(Query::Announce(request()));
    config.connection = Some(ConnectionId { id: 1, expires: at(60) });
    let mut exchange = Exchange::new(at(0), config);
    let packet = sent(&mut exchange, at(0));
    let answer = reply_as(ACTION_ERROR, &packet, b"unknown connection");
    assert_eq!(exchange.handle(at(0), &answer), None);
    connect(&mut exchange, at(1), 2);
    let packet = sent(&mut exchange, at(1));
    let answer = reply_as(ACTION_ERROR, &packet, b"unknown torrent");
    assert!(matches!(exchange.handle(at(1), &answer), Some(Err(UdpError::Reply(_)))));
}

#[test]
fn scrape_asks_for_at_most_74_and_reads_what_came() {
    let hashes: Vec<InfoHash> = (0..80).map(|n| InfoHash([n; 20])).collect();
    let mut exchange = Exchange::new(at(0), config(Query::Scrape(hashes)));
    connect(&mut exchange, at(0), 1);
    let packet = sent(&mut exchange, at(0));
    assert_eq!(packet.len(), 16 + 20 * 74);
    assert_eq!(u32_at(&packet, 8), ACTION_SCRAPE);
    assert_eq!(exchange.handle(at(0), &reply(&packet, &[0; 11])), None, "short");
    let body = numbers(&[1, 2, 3, 4, 5, u32::MAX, 7]);
    let Some(Ok(Outcome::Scrape(reply))) = exchange.handle(at(0), &reply(&packet, &body)) else {
        panic!("no reply");
    };
    let counts =
        |complete, downloaded, incomplete| ScrapeCounts { complete, downloaded, incomplete };
    assert_eq!(reply.get(&InfoHash([0; 20])), Some(counts(Some(1), Some(2), Some(3))));
    assert_eq!(reply.get(&InfoHash([1; 20])), Some(counts(Some(4), Some(5), None)));
    assert_eq!(reply.get(&InfoHash([2; 20])), None);
}

#[test]
fn url_data_is_split_at_255_bytes() {
    let mut config = config(Query::Announce(request()));
    config.url_data = format!("/announce?{}", "k".repeat(300));
    let data = config.url_data.clone().into_bytes();
    let mut exchange = Exchange::new(at(0), config);
    connect(&mut exchange, at(0), 1);
    let packet = sent(&mut exchange, at(0));
    let options = &packet[98..];
    assert_eq!(options[..2], [2, 255]);
    assert_eq!(options[2..257], data[..255]);
    assert_eq!(options[257..259], [2, 55]);
    assert_eq!(options[259..], data[255..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever arrives and however time jumps: no panic, no packet before its time, and an end.
    #[test]
    fn any_traffic(
        seed: u64,
        v6: bool,
        scrape: bool,
        events in prop::collection::vec((0_u64..200, 0_u32..5, prop::collection::vec(any::<u8>(), 0..64)), 0..60),
    ) {
        let query = if scrape { Query::Scrape(vec![InfoHash([1; 20])]) } else { Query::Announce(request()) };
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mut exchange = Exchange::new(at(0), ExchangeConfig { family, seed, ..config(query) });
        let mut now = at(0);
        let mut last: Option<(Duration, Vec<u8>)> = None;
        let mut over = false;
        for (secs, action, body) in events {
            now += at(secs);
            match exchange.poll(now) {
                Step::Send(packet) => {
                    prop_assert!(!over);
                    if let Some((before, old)) = &last {
                        prop_assert!(*old != packet || now >= *before + RETRY_FIRST);
                    }
                    last = Some((now, packet));
                }
                Step::Wait(until) => prop_assert!(until > now && !over),
                Step::Failed(_) => over = true,
                Step::Finished => prop_assert!(over),
            }
            // Raw noise, then the same as an answer that carries the right transaction id.
            exchange.handle(now, &body);
            let answer = last.as_ref().map(|(_, packet)| reply_as(action, packet, &body));
            if let Some(result) = answer.and_then(|answer| exchange.handle(now, &answer)) {
                prop_assert!(!over);
                over = true;
                let right = if scrape { ACTION_SCRAPE } else { ACTION_ANNOUNCE };
                prop_assert_eq!(result.is_ok(), action == right);
            }
        }
        // Silence from here: it ends within the sum of all waits.
        for _ in 0..40 {
            match exchange.poll(now) {
                Step::Wait(until) => now = until,
                Step::Send(_) => {}
                Step::Failed(_) | Step::Finished => return Ok(()),
            }
        }
        prop_assert!(false, "never ends");
    }
}
