//! UDP tracker exchanges (BEP 15): any datagrams, in any order, some with the transaction id that
//! was asked with. It always ends, and always has something to do until then.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metainfo::InfoHash;
use tracker::udp::{Exchange, ExchangeConfig, Family, Outcome, Patience, Query, Step};
use tracker::{AnnounceRequest, Event, INTERVAL_MAX, INTERVAL_MIN};

fuzz_target!(|input: &[u8]| {
    let Some((&flags, mut rest)) = input.split_first() else {
        return;
    };
    let family = if flags & 1 == 0 { Family::V4 } else { Family::V6 };
    let query = if flags & 2 == 0 {
        Query::Announce(AnnounceRequest {
            info_hash: InfoHash([1; 20]),
            peer_id: [2; 20],
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: 1,
            event: Event::Started,
            key: 3,
            numwant: 50,
            tracker_id: None,
        })
    } else {
        Query::Scrape(vec![InfoHash([1; 20]); usize::from(flags)])
    };
    let mut now = Duration::ZERO;
    let config = ExchangeConfig {
        query,
        family,
        url_data: "/announce?key=1".into(),
        connection: None,
        patience: Patience::default(),
        seed: 7,
    };
    let mut exchange = Exchange::new(now, config);
    // Each side of the loop is bounded: by the input, and by the retries of BEP 15.
    for _ in 0..10_000 {
        match exchange.poll(now) {
            Step::Finished => panic!("finished without an outcome"),
            Step::Failed(_) => return,
            Step::Wait(until) => {
                assert!(until > now, "waiting makes progress");
                now = until;
            }
            Step::Send(request) => {
                let Some((&how, datagram)) = rest.split_first() else {
                    continue;
                };
                let length = usize::from(how >> 2).min(datagram.len());
                let (datagram, after) = datagram.split_at(length);
                rest = after;
                let mut answer = Vec::new();
                if how & 1 == 0 {
                    // Action and transaction id as asked for; the rest of it is anything.
                    answer.extend_from_slice(&request[8..16]);
                }
                answer.extend_from_slice(datagram);
                match exchange.handle(now, &answer) {
                    None => {}
                    Some(Ok(Outcome::Announce(reply))) => {
                        assert!((INTERVAL_MIN..=INTERVAL_MAX).contains(&reply.interval));
                        assert!(reply.peers.iter().all(|peer| peer.port() != 0));
                        return;
                    }
                    Some(Ok(Outcome::Scrape(_)) | Err(_)) => return,
                }
            }
        }
    }
    panic!("an exchange that never ends");
});
